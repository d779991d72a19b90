"""Host parts, end to end: any network compiles, runs and is compared."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import pytest

import isa
import redc
import runtime
from redc.cli import main
from redc.errors import NeedsValue, UserError
from redc.frontend import import_graph
from redc.ir.graph import CrossbarOp, Graph, HostOp
from redc.ir.verify import verify_graph

Array = npt.NDArray[Any]
RNG = np.random.default_rng(7)


def weight(name: str, *shape: int) -> str:
    values = np.random.default_rng(len(name)).uniform(-1, 1, shape).ravel()
    return f"float[{', '.join(map(str, shape))}] {name} = {{{', '.join(f'{v:.3f}' for v in values)}}}"


def parse(ports: str, body: str, *constants: str, opset: int = 17) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]> g {ports} <{", ".join(constants)}> {{ {body} }}'
    )


def imported(model: onnx.ModelProto) -> Graph:
    graph = import_graph(model, hosts=True)
    verify_graph(graph)
    return graph


def hosts(graph: Graph) -> list[tuple[str, ...]]:
    return [op.nodes for op in graph.ops if isinstance(op, HostOp)]


def compared(model: onnx.ModelProto, inputs: dict[str, Array], **options: Any) -> Any:
    """The report of `diff`, passed, with both engines and the static counts in agreement."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", redc.AssumedInputs)
        program = redc.compile(model, calibrate=inputs, **options)
    report = redc.diff(model, program=program, inputs=inputs)
    assert report.passed, report.table()
    fast, step = (runtime.run(program, inputs, engine=engine) for engine in ("fast", "step"))
    assert fast.counters == step.counters
    for name, value in fast.outputs.items():
        np.testing.assert_array_equal(value, step.outputs[name])
    return report


X = RNG.standard_normal((1, 3, 6, 6)).astype(np.float32)
W3 = weight("w", 4, 3, 3, 3)
W4 = weight("v", 4, 4, 1, 1)


def test_an_operator_between_crossbars_runs_on_the_host() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)",
        "a = Conv(x, w) b = Softmax<axis = 1>(a) c = Sinh(b) y = Conv(c, v)", W3, W4,
    )  # fmt: skip
    assert hosts(imported(model)) == [("b", "c")]
    report = compared(model, {"x": X})
    assert [layer.kind for layer in report.layers] == ["crossbar", "host", "crossbar"]
    assert [layer.integer_exact for layer in report.layers] == [True, None, True]
    assert report.layers[1].closeness.sqnr_db > 20
    assert report.layers[1].host_s > 0
    totals = report.as_dict()["totals"]
    assert totals["macs"] == {
        "crossbar": pytest.approx(1984 / 2112), "vector": 0, "host": pytest.approx(128 / 2112),
    }  # fmt: skip


def test_host_nodes_of_one_depth_are_one_part() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)",
        """a = Conv(x, w) p = Sinh(a) q = Asinh(a) r = Conv(p, v) s = Sinh(r)
           z = Asinh(q) t = Mean(s, z) y = Conv(t, v)""", W3, W4,
    )  # fmt: skip
    assert hosts(imported(model)) == [("p", "q", "z"), ("s",)]
    compared(model, {"x": X})


def test_integers_and_booleans_enter_and_leave_as_they_are() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x, int64[2] n, bool flag) => (float[1, 4, 4, 4] y, int64 m, float[1, 4, 4, 4] z)",
        "a = Conv(x, w) m = ReduceSum<keepdims = 0>(n) f = CastLike(flag, a) z = Mean(a, f) y = Relu(a)", W3,
    )  # fmt: skip
    inputs = {"x": X, "n": np.array([4, -9]), "flag": np.array(True)}
    report = compared(model, inputs)
    assert {o.name: o.sqnr_db for o in report.outputs}["m"] == np.inf


def test_control_flow_captures_what_the_accelerator_makes() -> None:
    body = """
        a = Conv(x, w)
        s = ReduceSum<keepdims = 0>(x)
        c = Greater(s, s)
        b = If (c) <then_branch = t () => (float[1, 4, 4, 4] o) { o = Identity(a) },
                    else_branch = e () => (float[1, 4, 4, 4] o) { o = Neg(a) }>
        y = Conv(b, v)"""
    model = parse("(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)", body, W3, W4, opset=13)
    graph = imported(model)
    (part,) = [op for op in graph.ops if isinstance(op, HostOp) and "b" in op.nodes]
    assert "a" in part.inputs
    compared(model, {"x": X})


def test_a_dynamic_shape_stays_on_the_host_with_all_between() -> None:
    """The indices of NonZero cannot cross; the Conv between their maker and reader goes along."""
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 6, 6] y)",
        """i = NonZero(x) k = ReduceMax<keepdims = 0>(i) f = Cast<to = 1>(k) a = Conv(x, u)
           b = Mul(a, f) j = Shape(i) g = Cast<to = 1>(j) h = ReduceMax<keepdims = 0>(g)
           d = Mean(b, h) y = Conv(d, v)""",
        weight("u", 4, 3, 1, 1), W4,
    )  # fmt: skip
    graph = imported(model)
    assert sum(isinstance(op, CrossbarOp) for op in graph.ops) >= 1
    for op in graph.ops:
        if isinstance(op, HostOp):
            assert ("i" in op.nodes) == ("j" in op.nodes)
    compared(model, {"x": X})


def test_sequences_and_strings_stay_on_the_host() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)",
        """a = Conv(x, w) q = SequenceConstruct(a, a) r = Conv(a, v) z = Constant<value_int = 1>()
           p = SequenceAt(q, z) y = Mean(p, r)""", W3, W4,
    )  # fmt: skip
    parts = hosts(imported(model))
    assert [part for part in parts if "q" in part] == [part for part in parts if "p" in part]
    compared(model, {"x": X})


def test_weights_computed_at_run_time_go_to_the_host_and_say_so() -> None:
    model = parse("(float[2, 3] x, float[3, 3] z) => (float[2, 3] y)", "s = Softmax(z) y = MatMul(x, s)")
    (part,) = [op for op in imported(model).ops if isinstance(op, HostOp)]
    assert part.nodes == ("s", "y")
    assert "its weight is computed by node 0 (Softmax" in part.reasons[1]


def test_weights_that_are_inputs_are_to_be_bound_not_hosted() -> None:
    model = parse("(float[2, 3] x, float[3, 3] z) => (float[2, 3] y)", "s = MatMul(x, z) y = Sinh(s)")
    with pytest.raises(NeedsValue, match="its weight is a graph input"):
        import_graph(model, hosts=True)


def test_weights_that_constant_nodes_compute_are_folded() -> None:
    model = parse(
        "(float[2, 3] x) => (float[2, 3] y)", "t = Mul(m, k) s = Sinh(t) y = MatMul(x, s)",
        weight("m", 3, 3), "float k = {2.0}",
    )  # fmt: skip
    assert hosts(imported(model)) == []
    compared(model, {"x": X[0, 0, :2, :3]})


def test_shape_arithmetic_is_folded() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 108] y)",
        "s = Shape(x) p = ReduceProd<keepdims = 1>(s) q = Concat<axis = 0>(o, p) y = Reshape(x, q)",
        "int64[1] o = {1}",
    )  # fmt: skip
    assert hosts(imported(model)) == []


def test_what_only_moves_values_between_hosts_stays_there() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 108] y)",
        "a = Sinh(x) b = Flatten(a) y = Asinh(b)",
    )
    assert hosts(imported(model)) == [("a", "b", "y")]
    assert compared(model, {"x": X}).outputs[0].sqnr_db == np.inf


def test_an_output_of_a_dynamic_shape_takes_that_of_a_sample() -> None:
    model = parse("(float[3] x) => (int64[1, k] y)", "y = NonZero(x)")
    program = redc.compile(model)
    assert [b.shape for b in program.outputs] == [(1, 3)]
    with pytest.raises(runtime.InputError, match=r"int64\[1, 1\] for these inputs"):
        runtime.run(program, {"x": np.array([0, 0, 1], np.float32)})


def test_a_custom_operator_is_named() -> None:
    model = parse("(float[3] x) => (float[3] y)", "y = my.domain.Magic(x)")
    model.opset_import.append(onnx.helper.make_opsetid("my.domain", 1))
    with pytest.raises(UserError) as caught:
        redc.compile(model)
    (error,) = caught.value.errors
    assert "(my.domain.Magic, unnamed, makes 'y')" in str(error)
    what = "neither the accelerator nor onnxruntime has the operator Magic of domain 'my.domain'"
    assert error.message == what
    assert error.hint


def test_functions_of_the_models_own_are_seen_through() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["": 17, "own": 1]>
        g (float[1, 3, 6, 6] x) => (float[1, 3, 6, 6] y, float[1, 3, 6, 6] z)
        { y = own.twice(x) z = Round(y) }
        <domain: "own", opset_import: ["": 17]>
        twice (a) => (b) { b = Add(a, a) }""")
    assert [layer.kind for layer in compared(model, {"x": X}).layers] == ["vector", "host"]
    assert hosts(imported(model)) == [("y", "z")], "as they stand, a host runs them"


def test_functions_that_call_each_other_for_ever_are_an_error() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["": 17, "own": 1]>
        g (float[3] x) => (float[3] y) { y = own.one(x) }
        <domain: "own", opset_import: ["": 17, "own": 1]> one (a) => (b) { b = own.two(a) }
        <domain: "own", opset_import: ["": 17, "own": 1]> two (a) => (b) { b = own.one(a) }""")
    with pytest.raises(UserError, match="neither the accelerator nor onnxruntime runs it"):
        redc.compile(model)


def test_a_host_part_that_no_protocol_buffer_holds_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redc.frontend.parts.LARGEST", 1000)
    model = parse("(int64[2] i) => (float[2, 30] y)", "y = Gather(w, i)", weight("w", 10, 30))
    (tensor,) = model.graph.initializer
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), "w"))
    with pytest.raises(UserError, match="one protocol buffer holds 2 GiB"):
        redc.compile(model)


def test_no_host_lists_the_nodes(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(parse("(float[3] x) => (float[3] y)", "a = Sinh(x) y = Asinh(a)"), path)
    assert main(["compile", str(path), "-o", str(tmp_path / "m.red"), "--no-host", "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert "2 nodes have operators that the accelerator does not run" in error["message"]
    assert "Sinh: 'a' (node 0)" in error["message"]


def test_compile_names_the_parts_and_their_reasons(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(parse("(float[3] x) => (float[3] y)", "a = Sinh(x) y = Asinh(a)"), path)
    assert main(["compile", str(path), "-o", str(tmp_path / "m.red"), "--json"]) == 0
    (part,) = json.loads(capsys.readouterr().out)["hosts"]
    assert part["nodes"] == ["a", "y"]
    assert "the accelerator does not have this operator" in part["reasons"][0]


def test_a_chain_of_many_nodes_partitions_in_bounded_time() -> None:
    nodes = [
        onnx.helper.make_node(("Sinh", "Relu")[i % 50 == 0], [f"t{i}"], [f"t{i + 1}"]) for i in range(5000)
    ]
    ports = [onnx.helper.make_tensor_value_info(name, 1, [2, 3]) for name in ("t0", "t5000")]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "long", ports[:1], ports[1:]),
        opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    graph = imported(model)
    assert sum(map(len, hosts(graph))) == 4900


@pytest.mark.parametrize(
    "name", ["a b", "q\"uo'te", "ünï→", "new\nline", "%x", "; c", "\u2028", "\r", "\x01", "loop"]
)
def test_names_of_any_characters_go_through_the_text(name: str, tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Conv", [name, "w"], [name + "1"], name=name),
        onnx.helper.make_node("Round", [name + "1"], [name + "2"], name=name + "!"),
    ]
    ports = [onnx.helper.make_tensor_value_info(n, 1, None) for n in (name, name + "2")]
    ports[0].CopyFrom(onnx.helper.make_tensor_value_info(name, 1, [1, 2, 3, 3]))
    w = onnx.numpy_helper.from_array(np.ones((1, 2, 1, 1), np.float32), "w")
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "g", ports[:1], ports[1:], [w]),
        opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    x = {name: np.arange(18, dtype=np.float32).reshape(1, 2, 3, 3)}
    isa.save(redc.compile(model, calibrate=x), tmp_path / "p.red")
    assert redc.diff(model, tmp_path / "p.red", x).passed


def test_a_clip_without_bounds_is_no_operator() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 2, 6, 6] y, float[1, 3, 6, 6] z)",
        "a = Conv(x, w) b = Clip(a, , most) y = Relu(b) z = Clip(x)",
        weight("w", 2, 3, 1, 1), "float most = {3.4028235e38}",
    )  # fmt: skip
    assert [layer.kind for layer in compared(model, {"x": X}).layers] == ["crossbar", "vector"]


def test_diff_says_why_nodes_are_on_the_host_and_the_warning_comes_first(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(parse("(float[3] x) => (float[3] y)", "a = Sinh(x) b = Asinh(a) y = Relu(b)"), path)
    monkeypatch.setattr("sys.stderr", sys.stdout)
    assert main(["diff", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("warning: no calibration samples")
    assert "  node 0 (Sinh, unnamed, makes 'a'): the accelerator does not have this operator" in lines
    assert main(["diff", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert len(document["hosts"][0]["reasons"]) == 2
    program = str(tmp_path / "m.red")
    assert main(["compile", str(path), "-o", program]) == 0
    capsys.readouterr()
    assert main(["diff", str(path), "--program", program, "--json"]) == 0
    (part,) = json.loads(capsys.readouterr().out)["hosts"]
    assert part == document["hosts"][0] | {"reasons": None}  # a program does not tell them


def test_compare_and_map_know_hosts(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    body = "a = Conv(x, w) b = Round(a) y = Conv(b, v)"
    constants = weight("w", 2, 3, 1, 1), weight("v", 2, 2, 1, 1)
    onnx.save(parse("(float[1, 3, 6, 6] x) => (float[1, 2, 6, 6] y)", body, *constants), path)
    assert main(["compare", str(path), "--mappings", "red", "--targets", "isaac", "--json"]) == 0
    assert main(["map", str(path)]) == 0
    assert main(["compare", str(path), "--no-host"]) == 2
    assert "Round: 'b' (node 1)" in capsys.readouterr().err


def test_a_host_part_is_judged_by_its_worst_output() -> None:
    """Not by whichever of them happens to be the first: `a` comes exact from x, `q` from codes."""
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 3, 6, 6] a, float[1, 4, 4, 4] q, int64[1, 1, 4, 4] m)",
        "a = Sinh(x) c = Conv(x, w) q = Sinh(c) m = ArgMax<axis = 1>(c)", W3,
    )  # fmt: skip
    report = compared(model, {"x": X})
    for layer in report.layers:
        if layer.kind == "host":
            near = {o.name: o.sqnr_db for o in report.outputs if o.name in layer.nodes}
            assert layer.closeness.sqnr_db == min(near.values())
            assert near[layer.tensor] == min(near.values())
    part = next(layer for layer in report.layers if "q" in layer.nodes)
    assert part.compared == 2
    assert "lowest SQNR" in report.table()


@pytest.mark.parametrize("other", ["", "z = Mul(n, n)"])
def test_outputs_may_be_inputs_and_constants_and_stand_twice(other: str) -> None:
    """Whether anything else reads the input or not, codes or integers."""
    more = ", int64[2] z" if other else ""
    ports = "float[1, 4, 4, 4] y, float[1, 3, 6, 6] x, float[1, 4, 4, 4] y, int64[2] n, float[4, 3, 3, 3] w"
    model = parse(f"(float[1, 3, 6, 6] x, int64[2] n) => ({ports}{more})", f"y = Conv(x, w) {other}", W3)
    report = compared(model, {"x": X, "n": np.array([4, -9])})
    near = {o.name: o.sqnr_db for o in report.outputs}
    assert list(near) == ["y", "x", "n", "w", *(["z"] if other else [])]
    assert near["n"] == near["w"] == np.inf
    assert near["x"] > 35  # in codes, for the Conv reads it as well
    assert report.macs["host"] == (0 if not other else pytest.approx(2 / 1730))


@pytest.mark.parametrize("output", ["float[1, 3, 6, 6] x", "float[4, 3, 3, 3] w"])
def test_a_network_may_have_no_nodes_at_all(output: str) -> None:
    report = compared(parse(f"(float[1, 3, 6, 6] x) => ({output})", "", W3), {"x": X})
    assert report.outputs[0].sqnr_db == np.inf


def test_reasons_say_which_tensor_what_it_is_and_who_makes_it() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x, float s) => (float[1, 4, 4, 4] y, float z, float[k] q)",
        """a = Conv(x, w) [top] i = ArgMax<axis = 1>(a) j = Mul(i, i) f = Cast<to = 1>(j) y = Add(a, f)
           z = Transpose(s) p = NonZero(x) c = Cast<to = 1>(p) d = Relu(c)
           q = ReduceMean<axes = [0], keepdims = 0>(d)""",
        W3,
    )  # fmt: skip
    parts = [op for op in imported(model).ops if isinstance(op, HostOp)]
    reasons = "\n".join(reason for part in parts for reason in part.reasons)
    assert (
        "(Mul, unnamed, makes 'j'), tensor 'i': it is i64, not f32; node 'top' (ArgMax) makes it" in reasons
    )
    assert "tensor 's': it is a scalar, without an axis of channels; it is a graph input" in reasons
    assert "tensor 'c': its shape is known only in the run; node 7 (Cast) makes it" in reasons


def test_a_wrong_shape_is_told_in_the_models_own_words() -> None:
    model = parse("(float[N, 3, H, 6] x) => (float[N, 4, P, 4] y)", "y = Conv(x, w)", W3)
    with pytest.raises(UserError, match=r"its shape is \[1, 2, 6, 6\], the model takes \[N, 3, H, 6\]"):
        redc.diff(model, inputs={"x": X[:, :2]})


def test_without_hosts_every_node_of_theirs_is_listed() -> None:
    """Attention: a Softmax that the accelerator lacks, and two products of computed matrices."""
    model = parse(
        "(float[1, 7, 8] x) => (float[1, 7, 8] y)",
        "q = MatMul(x, a) k = MatMul(x, b) t = Transpose<perm = [0, 2, 1]>(k) s = MatMul(q, t)"
        "p = Softmax(s) y = MatMul(p, k)",
        weight("a", 8, 8),
        weight("b", 8, 8),
    )
    with pytest.raises(UserError) as caught:
        redc.compile(model, host=False)
    softmax, first, second = map(str, caught.value.errors)
    assert "Softmax: 'p'" in softmax
    assert "makes 's'" in first
    assert "makes 'y'" in second
