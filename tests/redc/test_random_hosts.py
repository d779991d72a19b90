"""Random networks of crossbars, vector unit and host, several inputs and outputs, any batch."""

from __future__ import annotations

from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper

import redc
import runtime
from tests.redc.passes.test_random_networks import Net, extend

Array = npt.NDArray[Any]

NEAR = 2e-3
"""Of the largest value of an output: so far from onnxruntime may 16 bits take it."""

HOSTED = ("Asinh", "Softmax", "CumSum", "Double", "Norm", "If", "Topmost", "Sequence")


class Mixed(Net):
    """A network of two inputs, the first axis of which is open if `batch` is a name."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        super().__init__(shape, seed)
        self.tensors.append(("z", shape))

    def hosted(self, draw: st.DrawFn) -> None:
        """One more node, or a few, that only a host runs."""
        name, shape = draw(st.sampled_from(self.tensors[-3:]))
        kind = draw(st.sampled_from(HOSTED))
        if kind == "CumSum":
            self.node(kind, [name, self.integers((len(shape) - 1,))], shape)
        elif kind == "Double":
            wide = self.bare("Cast", [name], to=TensorProto.DOUBLE)
            self.node("Cast", [self.bare("Neg", [wide])], shape, to=TensorProto.FLOAT)
        elif kind == "Norm":
            self.node("ReduceL1", [name], (*shape[:-1], 1), axes=[-1], keepdims=1)
        elif kind == "Topmost":
            count = draw(st.integers(1, shape[-1]))
            self.node("TopK", [name, self.integers((count,))], (*shape[:-1], count))
            self.nodes[-1].output.append(f"{self.nodes[-1].output[0]}.at")
        elif kind == "Sequence":
            parts = self.bare("SplitToSequence", [name], axis=0)
            self.node("ConcatFromSequence", [parts], shape, axis=0)
        elif kind == "If":
            flag = self.bare("Equal", [self.integers((1,)), self.integers((1,))])
            inner = [
                helper.make_graph([helper.make_node(op, [name], ["o"])], op, [], [_port("o", None)])
                for op in ("Asinh", "Neg")
            ]
            self.node("If", [flag], shape, then_branch=inner[0], else_branch=inner[1])
        else:
            self.node(kind, [name], shape)

    def bare(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """A node whose output no random node may read."""
        name = f"h{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def mixed(self, outputs: list[str], *, open_batch: bool) -> onnx.ModelProto:
        (_, shape), sizes = self.tensors[0], dict(self.tensors)
        declared = ["N", *shape[1:]] if open_batch else list(shape)
        graph = helper.make_graph(
            self.nodes, "mixed",
            [_port(name, declared) for name in ("x", "z")],
            [_port(n, [None] * len(sizes[n]) if open_batch else sizes[n]) for n in dict.fromkeys(outputs)],
            self.weights,
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _port(name: str, shape: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@st.composite
def networks(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, Array]]:
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=2, max_size=4)))
    net = Mixed(shape, draw(st.integers(0, 99)))
    for _ in range(draw(st.integers(1, 8))):
        net.hosted(draw) if draw(st.integers(0, 2)) == 0 else extend(draw, net)
    hypothesis.assume(len(net.tensors) > 2)
    made = [name for name, _ in net.tensors[2:]]
    outputs = [made[-1], *draw(st.lists(st.sampled_from(made), max_size=2))]
    model = net.mixed(outputs, open_batch=draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    used = {name for node in model.graph.node for name in (*node.input, *_captured(node))}
    for port in [p for p in model.graph.input if p.name not in used]:
        model.graph.input.remove(port)
    return model, {p.name: rng.standard_normal(shape).astype(np.float32) for p in model.graph.input}


def _captured(node: onnx.NodeProto) -> list[str]:
    return [name for a in node.attribute for inner in a.g.node for name in inner.input]


@hypothesis.given(networks())
@hypothesis.settings(max_examples=2 * hypothesis.settings().max_examples)
def test_any_mixture_runs_near_onnxruntime_and_its_crossbars_are_exact(
    case: tuple[onnx.ModelProto, dict[str, Array]],
) -> None:
    model, inputs = case
    hypothesis.note(onnx.printer.to_text(model))
    shapes = {name: value.shape for name, value in inputs.items()}
    options: dict[str, Any] = {"weight_bits": 16, "input_bits": 16}
    program = redc.compile(model, calibrate=inputs, shapes=shapes, **options)
    report = redc.diff(model, program=program, inputs=inputs)
    assert report.passed, report.verdict()
    slow, fast = (runtime.run(program, inputs, engine=engine) for engine in ("step", "fast"))
    assert fast.counters == slow.counters
    for output in report.outputs:
        np.testing.assert_array_equal(fast.outputs[output.name], slow.outputs[output.name])
        assert output.shape == fast.outputs[output.name].shape
        largest = float(np.abs(fast.outputs[output.name]).max(initial=0))
        assert output.max_abs_err <= NEAR * max(largest, 1.0), report.table()
