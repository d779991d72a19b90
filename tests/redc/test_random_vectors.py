"""The vector unit's operators over odd ranks, shapes, axes, broadcasts and operator sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redc.frontend import import_graph
from tests.redc.test_vector_operators import STEPS, check, floats, ints, model

ACTIVATIONS: dict[str, tuple[int, dict[str, float]]] = {
    "Relu": (7, {}),
    "LeakyRelu": (7, {"alpha": 0.3}),
    "Sigmoid": (7, {}),
    "Tanh": (7, {}),
    "HardSigmoid": (7, {"alpha": 0.3, "beta": 0.4}),
    "HardSwish": (14, {}),
    "Elu": (7, {"alpha": 0.5}),
    "Erf": (9, {}),
    "Gelu": (20, {}),
}
NEWEST = 23


@st.composite
def shapes(draw: st.DrawFn, least: int = 1) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(1, 4), min_size=least, max_size=5)))


@st.composite
def activations(draw: st.DrawFn) -> onnx.ModelProto:
    op = draw(st.sampled_from([*ACTIVATIONS, "Clip", "PRelu"]))
    shape = draw(shapes())
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    if op == "Clip":
        bounds = [None if draw(st.booleans()) else floats(v).reshape(()) for v in (-0.5, 0.75)]
        if draw(st.booleans()):
            return model(op, [shape], opset=10, min=-0.25, max=1.5)
        return model(op, [shape, *bounds], opset=draw(st.integers(12, NEWEST)))
    if op == "PRelu":
        slope = tuple(size if draw(st.booleans()) else 1 for size in shape)
        values = rng.uniform(*draw(st.sampled_from([(1.1, 2), (-0.5, 1), (0, 2)])), slope)
        return model(op, [shape, values.astype(np.float32)], opset=draw(st.integers(9, NEWEST)))
    first, attributes = ACTIVATIONS[op]
    return model(op, [shape], opset=draw(st.integers(first, NEWEST)), **attributes)


@st.composite
def arithmetic(draw: st.DrawFn) -> onnx.ModelProto:
    """Two tensors, or a tensor and a constant, that broadcast to one shape."""
    op = draw(st.sampled_from(["Add", "Sub", "Mul", "Max", "Min", "Div"]))
    shape = draw(shapes())
    parts: list[Any] = []
    for _ in range(2):
        part = tuple(size if draw(st.integers(0, 2)) else 1 for size in shape)
        parts.append(part[draw(st.integers(0, len(part) - 1)) :])
    if op == "Div" or (draw(st.booleans()) and op in ("Add", "Sub", "Mul")):
        axis = draw(st.integers(0, len(shape) - 1))
        along = tuple(size if at == axis else 1 for at, size in enumerate(shape))
        constant = np.random.default_rng(0).uniform(0.5, 2, along[draw(st.integers(0, axis)) :])
        parts = [shape, constant.astype(np.float32)]
        if op != "Div" and draw(st.booleans()):
            parts.reverse()
    return model(op, parts, opset=draw(st.integers(8, NEWEST)))


@st.composite
def moves(draw: st.DrawFn) -> onnx.ModelProto:
    shape = draw(shapes())
    rank = len(shape)
    axis = draw(st.integers(-rank, rank - 1))
    size = shape[axis]
    match draw(
        st.sampled_from(["Concat", "Slice", "Split", "Pad", "Transpose", "Reshape", "Flatten", "Unsqueeze"])
    ):
        case "Concat":
            other = tuple(3 if at == axis % rank else n for at, n in enumerate(shape))
            return model("Concat", [shape, other, shape], axis=axis, opset=draw(st.integers(7, NEWEST)))
        case "Slice":
            step = draw(st.sampled_from([1, 2, -1, -2]))
            first, last = (0, 99) if step > 0 else (-1, -99)
            return model("Slice", [shape, ints(first), ints(last), ints(axis), ints(step)])
        case "Split" if size > 1:
            cut = draw(st.integers(1, size - 1))
            return model("Split", [shape, ints(cut, size - cut)], axis=axis, outputs=2)
        case "Pad":
            pads = ints(*(draw(st.integers(0, 2)) for _ in range(2 * rank)))
            return model("Pad", [shape, pads, floats(draw(st.sampled_from([0.0, -0.5]))).reshape(())])
        case "Transpose":
            return model("Transpose", [shape], perm=draw(st.permutations(range(rank))))
        case "Flatten":
            return model("Flatten", [shape], axis=draw(st.integers(0, rank)))
        case "Unsqueeze":
            return model("Unsqueeze", [shape, ints(draw(st.integers(0, rank)))])
        case _:
            return model("Reshape", [shape, ints(-1, *draw(st.sampled_from([(), (1,)])))])


def _on_the_accelerator(proto: onnx.ModelProto) -> None:
    """An output may have finer steps than what it is made of (a difference, a clip)."""
    import_graph(proto)  # raises where an operator is not the accelerator's
    check(proto, steps=2 * STEPS, coarsest=True)


@settings(max_examples=60)
@given(activations())
def test_activations(proto: onnx.ModelProto) -> None:
    _on_the_accelerator(proto)


@settings(max_examples=60)
@given(arithmetic())
def test_arithmetic_that_broadcasts(proto: onnx.ModelProto) -> None:
    _on_the_accelerator(proto)


@settings(max_examples=60)
@given(moves())
def test_moves(proto: onnx.ModelProto) -> None:
    _on_the_accelerator(proto)


@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 1, 1, 0]])
def test_average_pools_count_pads_as_asked(ceil: int, include: int, pads: list[int]) -> None:
    attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": pads}
    check(
        model(
            "AveragePool", [(1, 2, 6, 7)], opset=19, ceil_mode=ceil, count_include_pad=include, **attributes
        )
    )
