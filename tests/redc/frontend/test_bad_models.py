"""Every fault of a model is one clear error that names its place."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import onnx
import pytest

from redc.errors import UserError, UserErrors
from redc.frontend import import_graph
from tests.redc.frontend.test_operators import FIRST, parse


def error_of(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None, title: str = "m.onnx"
) -> str:
    """The whole text of the error that importing `model` raises."""
    with pytest.raises(UserError) as caught:
        import_graph(model, shapes, title=title)
    for entry in caught.value.as_dicts():
        assert set(entry) == {"message", "place", "hint"}
        assert entry["place"] is not None
        assert entry["place"].startswith(title)
    return str(caught.value)


def named(model: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    return model


# ---------------------------------------------------------------- operators


def test_unsupported_operators_are_one_error_that_names_every_node() -> None:
    pool = "LpPool<kernel_shape = [1, 1]>"
    body = f"a = {pool}(x)\n b = Relu(a)\n c = {pool}(b)\n y = Softplus(c)"
    model = named(parse(body), "pool", "act", "", "soft")
    model.graph.node[3].domain = "com.acme"
    assert error_of(model).splitlines()[:4] == [
        "m.onnx: 3 nodes have operators that the accelerator does not run:",
        "    LpPool: 'pool' (node 0), 'c' (node 2)",
        "    com.acme.Softplus: 'soft' (node 3)",
        error_of(model).splitlines()[3],
    ]
    assert "a host runs them if it may: leave out --no-host, or in Python give host=True" in error_of(model)


def test_unsupported_operators_come_before_open_dimensions() -> None:
    assert "Softmax" in error_of(parse("y = Softmax(x)", x="float[1, 3, H, W] x"))


def test_control_flow_is_an_unsupported_operator() -> None:
    branch = onnx.helper.make_graph([], "branch", [], [])
    model = parse("y = Relu(x)")
    del model.graph.node[:]
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))
    assert "If: 'y' (node 0)" in error_of(model)


@pytest.mark.parametrize(
    ("body", "constants", "expected"),
    [
        ("y = ConvTranspose(x, x)", "", "weight is a graph input.*before the program runs"),
        ("a = Relu(x)\n y = ConvTranspose(x, a)", "", r"weight is computed by .*Relu.*'a'"),
        ("y = Conv(w, w)", FIRST, "it is a constant"),
        ("y = Relu(w)", FIRST, "it is a constant"),
        ("y = Add(w, w)", FIRST, "it is a constant"),
        ("y = ConvTranspose(x, w)", "int8[2, 2, 1, 1] w = {1, 2, 3, 4}", "int8, not floats"),
        ("y = ConvTranspose(x, w)", "float[3, 2, 1, 1] w = {1, 2, 3, 4, 5, 6}",
         "for 3 channels, its input has 2"),
        ("y = ConvTranspose<group = 3>(x, w)", FIRST, "do not divide into 3 groups"),
        ("y = ConvTranspose<group = 0>(x, w)", FIRST, "group is 0"),
        ("y = ConvTranspose(x, w)", "float[2, 2, 1] w = {1, 2, 3, 4}", "weight has rank 3, its input rank 4"),
        ("y = ConvTranspose(x, w, b)", f"{FIRST}, float[3] b = {{1, 2, 3}}",
         r"bias has shape \(3,\), expected \(2,\)"),
        ("y = ConvTranspose<strides = [0, 1]>(x, w)", FIRST, "strides is .0, 1., but must be at least 1"),
        ("y = ConvTranspose<strides = [2]>(x, w)", FIRST, "strides has 1 numbers, expected 2"),
        ("y = ConvTranspose<pads = [-1, 0, 0, 0]>(x, w)", FIRST, "at least 0"),
        ("y = ConvTranspose<pads = [9, 9, 9, 9]>(x, w)", FIRST, "nothing is left"),
        ("y = ConvTranspose<stride = [2, 2]>(x, w)", FIRST,
         "no attribute 'stride'.*\n.*did you mean 'strides'"),
        ("y = ConvTranspose<strides = 2>(x, w)", FIRST, "'strides' is of type int, expected ints"),
        ("y = ConvTranspose<kernel_shape = [2, 2]>(x, w)", FIRST, "kernel_shape"),
        ("y = ConvTranspose<output_padding = [1, 0]>(x, w)", FIRST, "not below the stride 1"),
        ("y = ConvTranspose<output_shape = [9, 9]>(x, w)", FIRST, "out of reach: 3 is the largest"),
        ('y = ConvTranspose<auto_pad = "FULL">(x, w)', FIRST, "auto_pad is 'FULL'"),
        ('y = ConvTranspose<auto_pad = "VALID", pads = [1, 1, 1, 1]>(x, w)', FIRST, "exclude each other"),
        ("y = ConvTranspose(x)", "", "1 inputs, expected 2 to 3"),
        ("y = ConvTranspose(x, )", "", "left out|1 inputs"),
        ("y = Conv(x, w)", "float[2, 1, 1, 1] w = {1, 2}", "1 x 1 groups = 1 channels, its input has 2"),
        ("y = Conv<group = 2>(x, w)", "float[3, 1, 1, 1] w = {1, 2, 3}", "3 output channels do not divide"),
        ("y = Conv(x, w)", "float[1, 2, 5, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}", "nothing is left"),
        ("y = Conv(x, w)", "float[0, 2, 1, 1] w = {}", "no elements"),
        ("y = MatMul(w, x)", "float[2, 2] w = {1, 2, 3, 4}", "left operand is the constant"),
        ("y = MatMul(x, x)", "", "weight is a graph input"),
        ("y = MatMul(x, w)", "float[3, 1] w = {1, 2, 3}", "3 rows, its input 4 columns"),
        ("y = MatMul(x, w)", "float[4] w = {1, 2, 3, 4}", "expected a matrix"),
        ("f = Flatten(x)\n y = Gemm<transA = 1>(f, w)", "float[1, 1] w = {1}", "transA=1"),
        ("y = Gemm(x, w)", "float[4, 1] w = {1, 2, 3, 4}", "rank 4, expected 2"),
        ("f = Flatten<axis = 2>(x)\n y = Gemm(f, w, c)", "float[12, 1] w = {1,2,3,4,5,6,7,8,9,10,11,12}, "
         "float[2, 1] c = {1, 2}", r"its C has the shape \(2, 1\)"),
        ("f = Flatten<axis = 2>(x)\n t = Reshape(f, to)\n y = Gemm(t, w, c)", "int64[2] to = {2, 12}, "
         "float[12, 2] w = {1,2,3,4,5,6,7,8,9,10,11,12,1,2,3,4,5,6,7,8,9,10,11,12}, float[2, 1] c = {1, 2}",
         r"its C has the shape \(2, 1\)"),
        ("y, mask = Dropout(x, r, t)", "float r = {0.5}, bool u = {1}", "nothing makes it"),
        ("a, m = Dropout(x)\n y, mask = Dropout(x, r, m)", "float r = {0.5}", "its output 'm' is read"),
        ("y = LeakyRelu<alpha = -0.5>(x)", "", "below 0"),
        ("y = Clip(x, c)", "float[2] c = {1, 2}", "expected one number"),
        ("y = Clip(x, x)", "", "its min is a graph input"),
        ("y = PRelu(x, c)", "float[2, 1, 1, 4] c = {1, 2, 3, 4, 5, 6, 7, 8}", "larger"),
        ("y = Div(x, c)", "float[2] c = {1, 0}", "divides by zero"),
        ("y = Add(x, c)", "float[5] c = {1, 2, 3, 4, 5}", "do not broadcast"),
        ("y = Reshape(x, to)", "int64[1] to = {5}", "cannot reshape 1x2x3x4"),
        ("y = Reshape(x, to)", "int64[2] to = {5, -1}", "do not divide"),
        ("y = Reshape(x, to)", "int64[2] to = {-1, -1}", "is no shape"),
        ("y = Reshape(x, to)", "int64[5] to = {1, 1, 1, 1, 0}", "copies an axis"),
        ("y = Reshape(x, x)", "", "target shape is a graph input"),
        ("y = Reshape(x, to)", "float[1] to = {24}", "not a list of integers"),
        ("y = Flatten<axis = 9>(x)", "", "out of range"),
        ("y = Squeeze(x, i)", "int64[1] i = {1}", "cannot be squeezed"),
        ("y = Unsqueeze(x, i)", "int64[1] i = {7}", "not distinct axes"),
        ("y = BatchNormalization<training_mode = 1>(x, s, s, s, s)", "float[2] s = {1, 1}",
         "no attribute|training"),
        ("y = BatchNormalization(x, s, s, s, v)", "float[2] s = {1, 1}, float[2] v = {1, -1}",
         "not positive"),
        ("y = BatchNormalization(x, s, s, s, v)", "float[2] s = {1, 1}, float[3] v = {1, 1, 1}",
         "variance has shape"),
        ("y, mask = Dropout(x, r, t)", "float r = {0.5}, bool t = {1}", "training"),
        ("a, y = Dropout(x)", "", "its output 'y' is read"),
        ("y = Constant<value_string = \"hi\">()", "", "only dense numbers"),
        ("y = Constant<value_float = 1.0>()", "", "it is a constant"),
        ("y = Cast<to = 10>(x)", "", "only a cast of what ConvInteger"),
        ("s = Squeeze(o)\n y = Relu(s)", "float[1] o = {1}", "constant"),
    ],
)  # fmt: skip
def test_a_node_that_cannot_be_imported_names_itself(body: str, constants: str, expected: str) -> None:
    message = error_of(parse(body, constants=constants))
    assert re.search(expected, message), message


def test_an_error_names_node_operator_and_tensor() -> None:
    model = named(parse("y = ConvTranspose(x, w)", constants=FIRST), "ct1")
    model.graph.initializer[0].float_data[1] = math.nan
    model.graph.initializer[0].float_data[3] = math.inf
    assert error_of(model).splitlines() == [
        "m.onnx: node 'ct1' (ConvTranspose), tensor 'w': 2 of its 4 values are NaN or infinite, "
        "the first at [0, 1, 0, 0]",
        "  hint: the model's weights are broken: look at its training or conversion",
    ]


def test_an_unnamed_node_goes_by_what_it_makes() -> None:
    message = error_of(parse("y = ConvTranspose(x, x)"))
    assert message.startswith("m.onnx: node 0 (ConvTranspose, unnamed, makes 'y'), tensor 'x': its weight")


def test_independent_errors_are_reported_together_and_what_depends_on_them_is_not() -> None:
    first = "a = ConvTranspose(x, x)\n b = Relu(a)\n c = Conv(x, x)"
    body = f"{first}\n d = Shape(a)\n e = Reshape(b, d)\n y = Add(c, e)"
    with pytest.raises(UserErrors) as caught:
        import_graph(parse(body))
    assert [e["place"] for e in caught.value.as_dicts()] == [
        "g: node 0 (ConvTranspose, unnamed, makes 'a'), tensor 'x'",
        "g: node 2 (Conv, unnamed, makes 'c'), tensor 'x'",
    ]


@pytest.mark.parametrize("op", ["scale", "B", "mean", "var"])
def test_nan_in_batch_normalization(op: str) -> None:
    names = {"scale": "s", "B": "b", "mean": "m", "var": "v"}
    constants = ", ".join(f"float[2] {n} = {{1, 1}}" for n in names.values())
    model = parse("y = BatchNormalization(x, s, b, m, v)", constants=constants)
    tensor = next(t for t in model.graph.initializer if t.name == names[op])
    tensor.float_data[0] = math.nan
    assert f"tensor '{names[op]}': 1 of its 2 values" in error_of(model)


# ---------------------------------------------------------------- ports and shapes


def test_open_dimensions_are_listed_with_input_and_axis() -> None:
    model = parse("y = Add(x, z)", x="float[N, 3, H, W] x, float[1, 3, H, 4] z")
    assert error_of(model).splitlines() == [
        "m.onnx: not every dimension is known: input 'x' leaves open axis 2 ('H'), axis 3 ('W'); "
        "input 'z' leaves open axis 2 ('H')",
        "  hint: give --shape x=1,3,<H>,<W> --shape z=1,3,<H>,4 with numbers for the names in <>",
    ]


def test_a_symbol_settled_once_is_settled_everywhere() -> None:
    model = parse("y = Add(x, z)", x="float[N, 3, H, W] x, float[N, 3, H, W] z")
    graph = import_graph(model, {"x": (2, 3, 5, 7)})
    assert graph.tensors["z"].shape == (2, 3, 5, 7)


def test_an_open_batch_counts_one() -> None:
    assert import_graph(parse("y = Relu(x)", x="float[N, 3] x")).tensors["y"].shape == (1, 3)


def test_an_open_only_axis_is_no_batch() -> None:
    assert "axis 0 ('N')" in error_of(parse("y = Relu(x)", x="float[N] x"))


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"xx": (1, 2, 3, 4)}, "'xx', which is no input.*'x'\n.*did you mean 'x'"),
        ({"x": (1, 2, 3)}, "has 3 axes, not 4"),
        ({"x": (1, 5, 3, 4)}, "axis 1 is 2 in the model, but 5 was given"),
        ({"x": (0, 2, 3, 4)}, "no elements"),
        ({"x": ()}, "has 0 axes, not 4"),
    ],
)
def test_given_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], expected: str) -> None:
    message = error_of(parse("y = Relu(x)", x="float[N, 2, 3, 4] x"), shapes)
    assert re.search(expected, message), message


def test_an_input_without_a_shape_wants_one() -> None:
    model = parse("y = Relu(x)")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "input 'x' has no shape at all" in error_of(model)
    assert import_graph(model, {"x": (1, 2)}).tensors["y"].shape == (1, 2)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ("float16[1, 2] x", "it is float16; the accelerator's ports speak float32"),
        ("double[1, 2] x", "it is double"),
        ("int64[1, 2] x", "it is int64"),
        ("string[1, 2] x", "it is string"),
        ("seq(float[1, 2]) x", "of type sequence"),
        ("optional(float[1, 2]) x", "of type optional"),
        ("float[1, 0] x", "1x0 has no elements"),
        ("float[] x", "it is a scalar|no shape at all"),
        ("float x", "it is a scalar"),
    ],
)
def test_ports_the_accelerator_does_not_have(port: str, expected: str) -> None:
    message = error_of(parse("y = Relu(x)", x=port))
    assert re.search(expected, message), message
    assert "graph input 'x'" in message or "input 'x'" in message


def test_an_output_of_another_type() -> None:
    assert "graph output 'y': it is float16" in error_of(parse("y = Relu(x)", y="float16[1, 2, 3, 4] y"))


def test_a_scalar_on_the_way() -> None:
    """Where an operator needs an axis of channels; what broadcasts needs none."""
    message = error_of(parse("s = Squeeze(x)\n y = Softmax(s)", x="float[1, 1] x"))
    assert "Softmax" in message
    message = error_of(parse("s = Squeeze(x)\n y = Transpose(s)", x="float[1, 1] x"))
    assert "tensor 's': it is a scalar, without an axis of channels" in message


# ---------------------------------------------------------------- wiring


def test_a_cycle_is_shown() -> None:
    message = error_of(parse("a = Add(x, c)\n b = Relu(a)\n c = Tanh(b)\n y = Relu(c)"))
    assert re.search(r"cycle: 'a' -> 'b' -> 'c' -> 'a'", message), message


def test_a_missing_tensor_suggests_a_near_one() -> None:
    message = error_of(parse("hidden = Relu(x)\n y = Tanh(hiden)"))
    assert "tensor 'hiden' is read, but nothing makes it" in message
    assert "did you mean 'hidden'?" in message


def test_a_tensor_made_twice() -> None:
    message = error_of(parse("a = Relu(x)\n a = Tanh(x)\n y = Relu(a)"))
    assert "tensor 'a' is made twice" in message
    assert "an input or initializer" in error_of(parse("x = Relu(x)\n y = Relu(x)"))


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ("float[1] gone", "graph output 'gone': nothing makes it"),
        ("float[1, 2, 3, 4] x", "graph output 'x': it is a graph input: there is nothing to compute"),
        ("float[2, 2, 1, 1] w", "graph output 'w': it is a constant"),
    ],
)
def test_outputs_that_are_none(outputs: str, expected: str) -> None:
    assert expected in error_of(parse("y = Conv(x, w)", y=outputs, constants=FIRST))


def test_a_graph_without_outputs() -> None:
    model = parse("y = Relu(x)")
    del model.graph.output[:]
    assert "no outputs" in error_of(model)


@pytest.mark.parametrize(
    ("opset", "expected"), [(6, "too old: 7 to"), (1000, "newer than onnx"), (None, "does not say which")]
)
def test_operator_sets_out_of_range(opset: int | None, expected: str) -> None:
    model = parse("y = Relu(x)")
    del model.opset_import[:]
    if opset:
        model.opset_import.append(onnx.helper.make_opsetid("", opset))
    assert expected in error_of(model)


@pytest.mark.parametrize("version", [0, onnx.IR_VERSION + 1])
def test_ir_versions_out_of_range(version: int) -> None:
    model = parse("y = Relu(x)")
    model.ir_version = version
    assert f"its ONNX IR version is {version}; onnx" in error_of(model)


def test_damaged_weights() -> None:
    model = parse("y = ConvTranspose(x, w)", constants=FIRST)
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.raw_data = b"\0" * 7
    assert "cannot be read" in error_of(model)


def test_sparse_weights() -> None:
    model = parse("y = ConvTranspose(x, w)", constants=FIRST)
    model.graph.sparse_initializer.add().values.name = "thin"
    assert "sparse initializers are not supported: 'thin'" in error_of(model)


@pytest.mark.parametrize(
    ("nodes", "more", "error"),
    [
        ("y = ConvTranspose<strides = [2, 2], output_shape = [20, 20]>(x, w)", "float[2, 1, 2, 2] w",
         "out of reach"),
        ("a = Slice(x, zero, one, axis)\n y = Concat<axis = 1>(x, a)",
         "int64[1] zero = {0}, int64[1] one = {1}, int64[1] axis = {2}, float[2, 1, 2, 2] w", "do not join"),
        ("y = Max(x, , x)", "float[2, 1, 2, 2] w", "left out"),
        ("y = Reshape(x, shape)", "int64[1] shape = {5}, float[2, 1, 2, 2] w", "cannot reshape"),
    ],
)  # fmt: skip
def test_what_no_side_could_run_is_one_error_with_hosts_too(nodes: str, more: str, error: str) -> None:
    model = parse(nodes, constants=more.replace("w", "w = {1, 2, 3, 4, 5, 6, 7, 8}"))
    with pytest.raises(UserError) as caught:
        import_graph(model, hosts=True)
    assert len(caught.value.errors) == 1
    assert error in str(caught.value)
