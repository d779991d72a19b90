"""The graph IR evaluated in float64 by its definition, and onnxruntime to hold it against.

A deconvolution is o = stride * i + dilation * k - pad, pixel by pixel; nothing of the compiler's
formula, mappings or layouts is used.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from redc.errors import UserError
from redc.frontend import import_graph
from redc.ir.graph import Activation, CrossbarOp, Graph, StencilOp, Tensor, VectorOp
from redc.ir.verify import verify_graph
from redc.passes.fold import fold_batchnorm_and_add
from redc.passes.fuse import fuse_activations

F64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


def evaluate(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, F64]:
    """Every tensor of `graph`, in ONNX's layout."""
    values = {name: np.asarray(value, np.float64) for name, value in feeds.items()}
    values |= {name: tensor.value for name, tensor in graph.tensors.items() if tensor.value is not None}
    for op in graph.ops:
        x, out = values[op.inputs[0]], graph.tensors[op.output]
        if isinstance(op, CrossbarOp):
            last = np.moveaxis(x, graph.tensors[op.input].axis, -1)
            y = np.moveaxis(_crossbar(op, last, out.buffer_shape), -1, out.axis)
        elif isinstance(op, VectorOp):
            if op.combine == "div" and len(op.inputs) == 1:
                terms = [_spread(op.factors[0], out), x]
            else:
                terms = [_spread(f, out) * values[n] for f, n in zip(op.factors, op.inputs, strict=True)]
            y = functools.reduce(COMBINE[op.combine], terms)
            y = (y if op.sign is None else _spread(op.sign, out) * y) + _spread(op.bias, out)
        elif isinstance(op, StencilOp):
            lasts = [np.moveaxis(values[n], graph.tensors[n].axis, -1) for n in op.inputs]
            y = np.moveaxis(_stencil(op, lasts, out.buffer_shape), -1, out.axis)
        else:
            y = x.reshape(out.shape)
        if not isinstance(op, CrossbarOp | VectorOp) or op.activation is None:
            values[op.output] = y
        else:
            values[op.output] = _activate(op.activation, y)
        assert values[op.output].shape == out.shape
    return values


def _spread(per_channel: F64, tensor: Tensor) -> F64:
    shape = [1] * len(tensor.shape)
    shape[tensor.axis] = -1
    return per_channel.reshape(shape)


COMBINE = {"sum": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum, "div": np.divide}


def _stencil(op: StencilOp, inputs: list[F64], shape: tuple[int, ...]) -> F64:
    """Pixel by pixel, as `Run` and `Region` say."""
    y = np.full(shape, np.nan)
    for region in op.regions:
        for i in np.ndindex(*(run.count for run in region.runs)):
            place = tuple(r.to * n + r.first for r, n in zip(region.runs, i, strict=True))
            read = (
                [] if region.input is not None else [np.full(shape[-1], region.fill)[slice(*region.target)]]
            )
            for taps in itertools.product(*(r.taps for r in region.runs)) if region.input is not None else ():
                at = list(region.base)
                for run, n, (offset, _) in zip(region.runs, i, taps, strict=True):
                    at[run.axis] += run.step * n + offset
                assert min(at, default=0) >= 0
                pixel = inputs[region.input][tuple(at)][slice(*region.source)]
                read.append(pixel * math.prod(weight for _, weight in taps))
            y[(*place, slice(*region.target))] = np.max(read, 0) if op.reduction == "max" else sum(read)
    return y


def _crossbar(op: CrossbarOp, x: F64, shape: tuple[int, ...]) -> F64:
    """`x` and the result have their channels last; `shape` is the result's."""
    rank = len(op.kernel)
    batch, outside = x.shape[: x.ndim - 1 - rank], shape[len(shape) - 1 - rank : -1]
    x = x.reshape(-1, *x.shape[len(batch) :])
    y = np.zeros((x.shape[0], *outside, op.out_channels))
    inside = x.shape[1:-1]
    for k in np.ndindex(op.kernel):
        matrix = _dense(op, k)
        for i in np.ndindex(inside if op.op == "ConvTranspose" else outside):
            other = tuple(
                s * a + d * b - p for s, a, d, b, p in zip(op.stride, i, op.dilation, k, op.pads, strict=True)
            )
            if op.op == "ConvTranspose" and all(0 <= o < n for o, n in zip(other, outside, strict=True)):
                y[(slice(None), *other)] += x[(slice(None), *i)] @ matrix
            if op.op != "ConvTranspose" and all(0 <= o < n for o, n in zip(other, inside, strict=True)):
                y[(slice(None), *i)] += x[(slice(None), *other)] @ matrix
    return (y + op.bias).reshape(shape)


def _dense(op: CrossbarOp, k: tuple[int, ...]) -> F64:
    """The whole matrix of kernel pixel k: block diagonal where the operator has groups."""
    dense = np.zeros((op.in_channels, op.out_channels))
    rows, columns = op.in_channels // op.groups, op.out_channels // op.groups
    for g in range(op.groups):
        inputs = slice(g * rows, (g + 1) * rows)
        dense[inputs, g * columns : (g + 1) * columns] = op.weight[k][inputs]
    return dense


def _activate(activation: Activation, x: F64) -> F64:
    if activation.function is not None:
        return activation.function(x)
    functions: dict[str, Callable[[F64], F64]] = {
        "relu": lambda v: np.maximum(v, 0),
        "leaky": lambda v: np.where(v < 0, activation.alpha * v, v),
        "clip": lambda v: np.clip(v, activation.low, activation.high),
        "tanh": np.tanh,
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    }
    return functions[activation.kind](x)


def run_onnx(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The graph outputs by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def random_feeds(graph: Graph, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {n: rng.standard_normal(graph.tensors[n].shape).astype(np.float32) for n in graph.inputs}


def agree(
    model: onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    feeds: Mapping[str, Array] | None = None,
) -> Graph:
    """Import, fold and fuse `model`; at every step it computes what onnxruntime does."""
    graph = import_graph(model, shapes)
    feeds = feeds or random_feeds(graph)
    expected = run_onnx(model, feeds)
    for step in (graph, folded := fold_batchnorm_and_add(graph), fuse_activations(folded)):
        verify_graph(step)
        values = evaluate(step, feeds)
        assert step.outputs == tuple(expected)
        for name, value in expected.items():
            assert values[name].shape == value.shape
            np.testing.assert_allclose(values[name], value, rtol=1e-4, atol=1e-4)
        graph = step
    return graph


def judged_alike(model: onnx.ModelProto) -> bool:
    """Whether onnxruntime runs `model`; the frontend says the same, and computes the same."""
    inputs = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    feeds = {name: np.ones(shape, np.float32) for name, shape in inputs.items()}
    try:
        run_onnx(model, feeds)
    except Exception as error:  # onnxruntime's errors share no public base
        try:
            import_graph(model)
        except UserError:
            return False
        raise AssertionError(f"onnxruntime rejects what the frontend takes: {error}") from error
    agree(model)
    return True
