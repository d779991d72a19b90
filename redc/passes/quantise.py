"""Pass: real numbers become integer codes.

The rules are written down in docs/quantisation.md; `redc.oracle` implements them a second time,
with its own code, and `redc diff` holds one against the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from redc.calibration import Range
from redc.errors import UserError
from redc.ir.graph import (
    F64,
    Activation,
    Array,
    Codes,
    CrossbarOp,
    GivenWeight,
    Graph,
    HostOp,
    Op,
    Requantise,
    ReshapeOp,
    StencilOp,
    Table,
    VectorOp,
)
from redc.passes.context import Context, Options
from redc.passes.stencil_codes import kept_codes, stencil_codes
from redc.passes.tables import SATURATING, build_table, tabulate

DEFAULT_BITS = 8
FLOAT_BITS = 16
"""Of tensors that a quantised model leaves in float."""

TABLE_BITS = 12
"""A function of values of at most so many bits is tabled code by code."""

ZERO_CHANNEL_SCALE = np.float32(2.0**-16)
"""Weight scale of a channel that holds only zeros: it just has to carry the bias."""

WHOLE_UNIT = 64
"""Steps that 1.0 must span before it is made a whole number of them: it costs at most 1/64 of the
resolution (0.14 dB)."""

NOTHING = 1e-20
"""Below this a tensor's extent is rounding noise of float32, and its scale would overflow."""


def quantise(graph: Graph, context: Context) -> Graph:
    """Choose codes for every tensor, quantise weights and biases, derive requantisation.

    A reshaped tensor keeps its source's codes, and so does what only moves values of one tensor.
    What feeds only a Concat takes the codes of its output; a tensor that only hosts touch is
    `raw` and has none.  Post: every other tensor in use has `codes`; every CrossbarOp its weight,
    bias and requantisation; every VectorOp its multipliers, every StencilOp its codes.  Raises
    UserError if a range is missing, or bits are asked of a model that has its own.

    What a model that arrives quantised gives is taken as it is.  What it leaves in float gets
    FLOAT_BITS, unless the options say otherwise: it is to stay as near to float as can be.
    """
    _check_bits(graph, context.options)
    graph = _without_raw(graph)
    given = {name: tensor.given for name, tensor in graph.tensors.items() if tensor.given is not None}
    bits = context.options.input_bits or (FLOAT_BITS if given else DEFAULT_BITS)
    weight_bits = context.options.weight_bits or DEFAULT_BITS
    ranges = _ranges(graph, given, context)
    codes: dict[str, Codes] = {}
    made_outside = [name for op in graph.ops if isinstance(op, HostOp) for name in op.outputs]
    for name in (*graph.inputs, *made_outside):
        if not graph.tensors[name].raw:
            codes[name] = given.get(name) or choose_codes(_range(ranges, name), bits)
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, ReshapeOp):
            codes[op.output] = codes[op.input]
            ops.append(op)
        elif isinstance(op, HostOp):
            ops.append(op)
        elif isinstance(op, StencilOp):
            kept = given.get(op.output) or kept_codes(op, codes)
            codes[op.output] = kept or choose_codes(_range(ranges, op.output), bits)
            ops.append(stencil_codes(op, codes))
        else:
            like = _joined(graph, op.output)
            own = given.get(op.output) or given.get(like)
            codes[op.output] = own or _output_codes(op, ranges, bits, like)
            if isinstance(op, CrossbarOp):
                ops.append(_crossbar(op, codes, weight_bits))
            else:
                ops.append(_vector(op, codes))
    tensors = {name: replace(tensor, codes=codes.get(name)) for name, tensor in graph.tensors.items()}
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _without_raw(graph: Graph) -> Graph:
    """Mark every tensor as raw that no operator of the accelerator touches."""
    touched = {name for op in graph.ops if not isinstance(op, HostOp) for name in (*op.inputs, *op.outputs)}
    tensors = {name: replace(t, raw=name not in touched) for name, t in graph.tensors.items()}
    return replace(graph, tensors=tensors)


def _check_bits(graph: Graph, options: Options) -> None:
    """A model that arrives quantised has its own bits; other ones cannot be had."""
    weights = {op.given.bits for op in graph.ops if isinstance(op, CrossbarOp) and op.given}
    inputs = {tensor.given.bits for tensor in graph.tensors.values() if tensor.given}
    for flag, asked, own in (
        ("--weight-bits", options.weight_bits, weights),
        ("--input-bits", options.input_bits, inputs),
    ):
        if asked is not None and own - {asked}:
            raise UserError(
                f"{asked} bits are asked for, but the model arrives quantised to "
                f"{', '.join(map(str, sorted(own)))}",
                place=flag,
                hint="leave the option out, or give the float model",
            )


def _saturates(op: Op) -> bool:
    """Whether the function itself bounds the output."""
    activation = op.activation if isinstance(op, CrossbarOp | VectorOp) else None
    return activation is not None and activation.kind in SATURATING


def _ranges(graph: Graph, given: Mapping[str, Codes], context: Context) -> dict[str, Range]:
    """What was observed of every tensor that codes are chosen for.

    A tensor that the model does not have, for a node became several operators, takes the range
    of its reshaped copy.
    """
    own = [op for op in graph.ops if not isinstance(op, ReshapeOp) and not _saturates(op)]
    made = [name for op in own for name in op.outputs]
    copies = {op.input: op.output for op in graph.ops if isinstance(op, ReshapeOp)}
    stencils = [op.output for op in graph.ops if isinstance(op, StencilOp) and op.output in copies]
    wanted = (*graph.inputs, *made, *(copies[name] for name in stencils))
    unknown = tuple(name for name in wanted if name not in given and not graph.tensors[name].raw)
    ranges = dict(context.observe(unknown)) if unknown else {}
    for name in stencils:
        if name not in ranges and copies[name] in ranges:
            ranges[name] = ranges[copies[name]]
    return {name: replace(seen, method=context.options.calibration) for name, seen in ranges.items()}


def _joined(graph: Graph, tensor: str) -> str:
    """The tensor whose codes `tensor` takes: the Concat's that it feeds alone, or its own."""
    readers = graph.consumers(tensor)
    if len(readers) == 1 and not graph.is_output(tensor):
        reader = readers[0]
        if isinstance(reader, StencilOp) and reader.moves and len(set(reader.inputs)) > 1:
            return reader.output
    return tensor


def round_scale(scale: float) -> float:
    """To 12 significant digits, so that different CPUs calibrate to the same bytes."""
    return float(f"{scale:.11e}")


def choose_codes(seen: Range, bits: int) -> Codes:
    """Codes for values in the observed range.

    Unsigned with zero 0 where nothing is negative; signed with zero 0 where both sides reach
    about as far; else unsigned with the zero point that uses every code (one more bit plane).
    """
    low, high = seen.bounds(bits)
    if low >= 0:
        return Codes(bits, False, _scale(high, (1 << bits) - 1))
    top = (1 << (bits - 1)) - 1
    bound = max(-low, high)
    if high - low > 1.5 * bound:
        return Codes(bits, True, _scale(bound, top))
    codes = (1 << bits) - 1
    scale = _scale(high - low, codes)
    return Codes(bits, False, scale, zero=int(np.clip(np.rint(-low / scale), 0, codes)))


def _scale(extent: float, steps: int) -> float:
    """One step of `steps` over `extent`; a tensor that is zero, or all but, counts as 1.0 wide.

    Where 1.0 spans enough steps, it is made a whole number of them: whole numbers (pixels, counts,
    masks) are then codes exactly, and the range only grows.
    """
    if extent <= NOTHING:
        extent = 1.0
    per_unit = math.floor(steps / extent * (1 + 1e-9))
    if WHOLE_UNIT <= per_unit <= WHOLE_UNIT << 16:
        return round_scale(1 / per_unit)
    return round_scale(extent / steps)


def _range(ranges: Mapping[str, Range], tensor: str) -> Range:
    if tensor not in ranges:
        raise UserError(
            f"no calibration value was seen for tensor {tensor!r}",
            place=f"tensor {tensor!r}",
            hint="give samples with --calibrate FILE.npz",
        )
    return ranges[tensor]


def _output_codes(op: CrossbarOp | VectorOp, ranges: Mapping[str, Range], bits: int, like: str) -> Codes:
    kind = op.activation.kind if op.activation else ""
    if kind in SATURATING:
        if SATURATING[kind].low < 0:
            return Codes(bits, True, _scale(1.0, (1 << (bits - 1)) - 1))
        return Codes(bits, False, _scale(1.0, (1 << bits) - 1))
    return choose_codes(_range(ranges, like), bits)


def _crossbar(op: CrossbarOp, codes: Mapping[str, Codes], bits: int) -> CrossbarOp:
    if op.given is not None:
        return _given(op, op.given, codes)
    top = (1 << (bits - 1)) - 1
    weight = np.moveaxis(op.weight, -1, 0)  # (M / groups, *kernel, C)
    split = weight.reshape(*weight.shape[:-1], op.groups, -1)  # (M / groups, *kernel, groups, C / groups)
    largest = np.abs(split).max(axis=(*range(1, split.ndim - 2), split.ndim - 1))  # (M / groups, groups)
    per_channel = largest.T.ravel()  # (M,)
    scale = (per_channel / top).astype(np.float32)
    scale = np.where(scale > 0, scale, ZERO_CHANNEL_SCALE)
    per_weight = np.repeat(
        scale.astype(np.float64).reshape(op.groups, -1), op.in_channels // op.groups, axis=0
    )  # (C, M / groups)
    quantised = np.clip(np.rint(op.weight / per_weight), -top, top)
    step = codes[op.input].scale * scale.astype(np.float64)
    return replace(
        op,
        weight_codes=quantised.astype(np.int8 if bits <= 8 else np.int16),
        weight_bits=bits,
        bias_codes=_bias_codes(op, op.bias, step),
        requantise=_requantise(op.activation, step, codes[op.output]),
    )


def _given(op: CrossbarOp, given: GivenWeight, codes: Mapping[str, Codes]) -> CrossbarOp:
    """Weights as the model gives them; requantisation in float32, as onnxruntime's kernels do it."""
    largest = int(np.abs(given.codes.astype(np.int64)).max())
    bits = max(given.bits, largest.bit_length() + 1)
    x, y = codes[op.input], codes[op.output]
    step = x.scale * given.scale
    requantise = _requantise(op.activation, step, y)
    if requantise.table is None:
        scale = np.float32(x.scale) * given.scale.astype(np.float32) / np.float32(y.scale)
        requantise = replace(requantise, scale=scale)
    return replace(
        op,
        weight_codes=given.codes.astype(np.int8 if bits <= 8 else np.int16 if bits <= 16 else np.int32),
        weight_bits=bits,
        bias_codes=_bias_codes(op, op.bias, step),
        requantise=requantise,
    )


def _bias_codes(op: CrossbarOp | VectorOp, bias: F64, step: F64) -> Array:
    codes = np.asarray(np.rint(bias / step))
    if np.abs(codes).max(initial=0.0) >= 2.0**62:
        raise UserError(
            "the bias does not fit the accumulators",
            place=f"layer {op.name!r}",
            hint="it is over 10^18 times larger than the weights' smallest step",
        )
    return codes.astype(np.int64)


def _vector(op: VectorOp, codes: Mapping[str, Codes]) -> VectorOp:
    """Integer multipliers of 15 bits and sign, on a step of their own per channel."""
    direct = _direct(op, codes)
    if direct is not None:
        return direct
    if op.activation is not None and op.activation.kind == "function":
        return _function(op, op.activation, codes[op.inputs[0]], codes[op.output])
    if op.combine == "mul":
        product = np.asarray(math.prod(codes[name].scale for name in op.inputs))
        ones = (np.ones((), np.int64),) * len(op.inputs)
        requantise = _requantise(op.activation, product, codes[op.output])
        return replace(op, multipliers=ones, bias_codes=np.zeros((), np.int64), requantise=requantise)
    real = [f * codes[name].scale for f, name in zip(op.factors, op.inputs, strict=True)]
    largest = np.maximum.reduce([np.abs(r) for r in np.broadcast_arrays(*real, op.bias)[:-1]])
    step = np.where(largest > 0, largest / (1 << 15), float(ZERO_CHANNEL_SCALE))
    return replace(
        op,
        multipliers=tuple(np.rint(r / step).astype(np.int64) for r in real),
        bias_codes=_bias_codes(op, op.bias, step),
        requantise=_requantise(op.activation, np.asarray(step), codes[op.output]),
    )


def _direct(op: VectorOp, codes: Mapping[str, Codes]) -> VectorOp | None:
    """A function of few codes, one entry for each: exact.  None where that does not fit."""
    x, y = codes[op.inputs[0]], codes[op.output]
    factor, bias = op.factors[0], op.bias
    if not _saturates(op) or len(op.inputs) > 1 or factor.size != 1 or bias.size != 1 or x.bits > TABLE_BITS:
        return None
    assert op.activation is not None
    values = np.arange(x.low, x.high + 1) - x.zero
    real = SATURATING[op.activation.kind].function(values * x.scale * factor.reshape(()) + bias.reshape(()))
    entries = np.clip(np.rint(real / y.scale) + y.zero, y.low, y.high).astype(np.int64)
    low, high = int(values[0]), int(values[-1])
    return replace(
        op,
        multipliers=(np.ones((), np.int64),),
        bias_codes=np.zeros((), np.int64),
        requantise=Requantise(
            np.ones((), np.float32), 0, low, high, table=Table(low, high, 0, 0, entries, 0.0)
        ),
    )


def _function(op: VectorOp, activation: Activation, source: Codes, out: Codes) -> VectorOp:
    """A scalar function: one table over every code of the input."""
    assert activation.function is not None
    table = tabulate(activation.function, source, out)
    requantise = Requantise(np.ones((1,), np.float32), 0, table.low, table.high, 1.0, table)
    one, none = np.ones((), np.int64), np.zeros((), np.int64)
    return replace(op, multipliers=(one,), bias_codes=none, requantise=requantise)


def _requantise(activation: Activation | None, step: F64, out: Codes) -> Requantise:
    """From accumulators of real size `step` (per channel) to the codes `out`."""
    low, high, slope = out.low, out.high, 1.0
    if activation is None:
        pass
    elif activation.kind in SATURATING:
        table, grid = build_table(activation.kind, out)
        return Requantise((step / grid).astype(np.float32), 0, table.low, table.high, 1.0, table)
    elif activation.kind == "relu":
        low = max(low, out.zero)
    elif activation.kind == "leaky":
        slope = float(np.float32(activation.alpha))
    elif activation.kind == "clip":
        low = int(np.clip(np.rint(activation.low / out.scale) + out.zero, out.low, out.high))
        high = int(np.clip(np.rint(activation.high / out.scale) + out.zero, low, out.high))
    return Requantise((step / out.scale).astype(np.float32), out.zero, low, high, slope)
