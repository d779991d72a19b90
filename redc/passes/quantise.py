"""Pass: real numbers become integer codes.

The rules are written down in docs/quantisation.md; `redc.oracle` implements them a second time,
with its own code, and `redc diff` holds one against the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

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
from redc.passes.bits import DIVIDEND_BITS
from redc.passes.codes import Chooser
from redc.passes.context import Context, Options
from redc.passes.correct import mean_drives, mean_error
from redc.passes.fineness import SMALL
from redc.passes.pieces import pieces
from redc.passes.stencil_codes import stencil_codes
from redc.passes.tables import GRID, SAMPLED_BITS, SATURATING, build_table, finer, saturates, tabulate
from redc.passes.terms import TERM_BITS, common_terms, window

TABLE_BITS = 12
"""A function of values of at most so many bits is tabled code by code."""

DIRECT_BITS = 24
"""Entries of a table that is looked up without pieces have at most so many before the point."""

QUOTIENT_BITS = 62
"""A dividend with the bits below the point of its quotient has fewer."""

ZERO_CHANNEL_SCALE = np.float32(2.0**-16)
"""Weight scale of a channel that holds only zeros: it just has to carry the bias."""

BIAS_BITS = 22
"""A bias takes at most as many bits more than a weight: of a channel whose weights training has
all but removed, they give way."""


def quantise(graph: Graph, context: Context) -> Graph:
    """Choose codes for every tensor, quantise weights and biases, derive requantisation.

    What a crossbar streams has the bits of `--input-bits`, everything else more (`Chooser`).
    A reshaped tensor keeps its source's codes, and so does what only moves values of one tensor,
    if those are narrow enough; what feeds only such an operator takes the codes that it asks for.
    A tensor that only hosts touch is `raw` and has none.  Post: every other tensor in use has
    `codes`; every CrossbarOp its weight, bias and requantisation (none, where the model asks for
    the sums); every VectorOp its multipliers, every StencilOp its codes.  Raises UserError if a
    range is missing, or bits are asked of a model that has its own.

    What a model that arrives quantised gives is taken as it is.  What it leaves in float gets
    FLOAT_BITS, unless the options say otherwise: it is to stay as near to float as can be.
    """
    _check_bits(graph, context.options)
    graph = _without_raw(graph)
    chooser = Chooser(graph, context)
    codes: dict[str, Codes] = {}
    made_outside = [name for op in graph.ops if isinstance(op, HostOp) for name in op.outputs]
    for name in (*graph.inputs, *made_outside):
        if not graph.tensors[name].raw:
            codes[name] = chooser.outside(name)
    codes |= {name: chooser.constant(name) for name in graph.constants}
    with np.errstate(over="ignore"):  # a factor that float32 does not hold is refused with the program
        ops = tuple(_quantised(op, graph, chooser, codes) for op in graph.ops)
    tensors = {name: replace(tensor, codes=codes.get(name)) for name, tensor in graph.tensors.items()}
    return replace(graph, tensors=tensors, ops=ops)


def _quantised(op: Op, graph: Graph, chooser: Chooser, codes: dict[str, Codes]) -> Op:
    """One operator, and into `codes` those of what it makes."""
    if isinstance(op, HostOp):
        return op
    if isinstance(op, ReshapeOp):
        codes[op.output] = codes[op.input]
        return op
    if isinstance(op, StencilOp):
        codes[op.output] = chooser.moved(op, codes)
        return stencil_codes(op, codes)
    codes[op.output] = chooser.made(op.output)
    if isinstance(op, VectorOp):
        return _vector(op, codes)
    drives = _drives(op, chooser.mean(op.input), graph, codes[op.input])
    done = _crossbar(op, codes, chooser.bits_of_weights(op), drives)
    return replace(done, requantise=None) if graph.tensors[op.output].plain else done


def _without_raw(graph: Graph) -> Graph:
    """Mark every tensor as raw that no operator of the accelerator touches."""
    touched = {name for op in graph.ops if not isinstance(op, HostOp) for name in (*op.inputs, *op.outputs)}
    tensors = {name: replace(t, raw=name not in touched) for name, t in graph.tensors.items()}
    return replace(graph, tensors=tensors)


def _check_bits(graph: Graph, options: Options) -> None:
    """A model that arrives quantised has its own bits; other ones cannot be had."""
    weights = {op.given.bits for op in graph.ops if isinstance(op, CrossbarOp) and op.given}
    inputs = {tensor.given.bits for tensor in graph.tensors.values() if tensor.given and not tensor.plain}
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


def _drives(op: CrossbarOp, mean: F64 | None, graph: Graph, codes: Codes) -> F64 | None:
    """What each kernel pixel meets on average, where the channels' `mean` is known."""
    if mean is None:
        return None
    x, y = (graph.tensors[name].buffer_shape for name in (op.input, op.output))
    batch = len(x) - 1 - len(op.kernel)
    return mean_drives(op, mean, codes, x[batch:-1], y[batch:-1])


def _crossbar(op: CrossbarOp, codes: Mapping[str, Codes], bits: int, drives: F64 | None = None) -> CrossbarOp:
    """Weights and bias on their scales; with `drives` the bias makes up for the weights' mean error."""
    if op.given is not None:
        return _given(op, op.given, codes)
    top = (1 << (bits - 1)) - 1
    steps = codes[op.input].steps
    real = op.weight * np.asarray(steps)[..., None] if steps else op.weight  # of one step of the scale
    weight = np.moveaxis(real, -1, 0)  # (M / groups, *kernel, C)
    split = weight.reshape(*weight.shape[:-1], op.groups, -1)  # (M / groups, *kernel, groups, C / groups)
    others = (*range(1, split.ndim - 2), split.ndim - 1)
    largest = np.maximum(split.max(axis=others), -split.min(axis=others))  # (M / groups, groups)
    per_channel = largest.T.ravel()  # (M,)
    least = np.abs(op.bias) / (codes[op.input].scale * 2.0 ** (bits + BIAS_BITS))
    scale = np.where(per_channel > 0, np.maximum(per_channel / top, least), 0.0).astype(np.float32)
    scale = np.where(scale > 0, scale, ZERO_CHANNEL_SCALE)
    per_weight = np.repeat(
        scale.astype(np.float64).reshape(op.groups, -1), op.in_channels // op.groups, axis=0
    )  # (C, M / groups)
    exact = real / per_weight
    quantised = np.rint(exact)
    np.clip(quantised, -top, top, out=quantised)
    step = codes[op.input].scale * scale.astype(np.float64)
    correction = np.zeros(op.out_channels, np.int64)
    if drives is not None:
        correction = mean_error(exact - quantised, drives, op.groups)
    return replace(
        op,
        weight_codes=quantised.astype(np.int8 if bits <= 8 else np.int16 if bits <= 16 else np.int32),
        weight_bits=bits,
        bias_codes=_bias_codes(op, op.bias, step) + correction,
        correction=correction,
        requantise=_requantise(op.activation, step, codes[op.output]),
    )


def _given(op: CrossbarOp, given: GivenWeight, codes: Mapping[str, Codes]) -> CrossbarOp:
    """Weights as the model gives them; requantisation in float32, as onnxruntime's kernels do it."""
    largest = int(np.abs(given.codes.astype(np.int64)).max())
    bits = max(given.bits, largest.bit_length() + 1)
    x, y = codes[op.input], codes[op.output]
    step = x.scale * given.scale
    fraction = _fraction(op, given, step, x, y)
    one = 1 << fraction
    requantise = _requantise(op.activation, step / one, y)
    if requantise.table is None:
        scale = np.float32(x.scale) * given.scale.astype(np.float32) / np.float32(y.scale)
        requantise = replace(requantise, scale=scale / np.float32(one))
    return replace(
        op,
        weight_codes=given.codes.astype(np.int8 if bits <= 8 else np.int16 if bits <= 16 else np.int32),
        weight_bits=bits,
        fraction=fraction,
        bias_codes=_bias_codes(op, op.bias, step / one),
        requantise=requantise,
    )


def _fraction(op: CrossbarOp, given: GivenWeight, step: F64, x: Codes, y: Codes) -> int:
    """The least number of bits below the point of the sums, whose steps the file gives, at which
    rounding the bias moves the output by SMALL steps at most; fewer where the sums would not fit."""
    unit, _ = window(y, op.activation)
    whole = op.bias / step
    pixels = np.abs(given.codes.astype(np.int64)).sum(axis=-2)  # (*kernel, M / groups)
    reach = max(x.high - x.zero, x.zero - x.low)
    most = float(pixels.max(axis=-1).sum()) * reach + float(np.abs(whole).max())
    fraction = 0
    while max(most, 2.0**31) * 2.0 ** (fraction + 1) <= 2.0**TERM_BITS:
        codes = whole * 2.0**fraction
        if (np.abs(np.rint(codes) - codes) * (step / 2.0**fraction) <= SMALL * unit).all():
            break
        fraction += 1
    return fraction


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
    """Integer multipliers on a step of their own per channel, or a table, or a quotient."""
    direct = _direct(op, codes)
    if direct is not None:
        return direct
    if op.activation is not None and op.activation.kind == "function":
        return _function(op, op.activation, codes[op.inputs[0]], codes[op.output])
    if op.combine == "div":
        return _quotient(op, codes)
    if op.combine == "mul":
        product = np.asarray(math.prod(codes[name].scales for name in op.inputs))
        ones = (np.ones((), np.int64),) * len(op.inputs)
        requantise = _requantise(op.activation, product, codes[op.output])
        return replace(op, multipliers=ones, bias_codes=np.zeros((), np.int64), requantise=requantise)
    real = [f * codes[name].scales for f, name in zip(op.factors, op.inputs, strict=True)]
    out, sources = codes[op.output], [codes[name] for name in op.inputs]
    terms = common_terms(op.combine, real, op.bias, sources, out, op.activation)
    return replace(
        op,
        multipliers=terms.multipliers,
        bias_codes=_bias_codes(op, terms.bias, terms.step),
        requantise=_requantise(op.activation, terms.step, out),
    )


def _quotient(op: VectorOp, codes: Mapping[str, Codes]) -> VectorOp:
    """So many bits below the point that a step of the quotient is small beside one of the output."""
    *above, below = (codes[name] for name in op.inputs)
    if above:
        numerator, step = above[0], above[0].scales
        bits = max(numerator.high - numerator.zero, numerator.zero - numerator.low).bit_length()
        multipliers: tuple[Array, ...] = (np.ones((), np.int64),) * 2
    else:
        largest = float(np.abs(op.factors[0]).max())
        bits, step = DIVIDEND_BITS, np.asarray((largest or 1.0) / (1 << DIVIDEND_BITS))
        multipliers = (np.rint(op.factors[0] / step).astype(np.int64),)
    unit = step / below.scales
    out = codes[op.output]
    wanted = math.ceil(math.log2(float((unit / out.scales).max()) * GRID))
    fraction = min(max(wanted, 0), QUOTIENT_BITS - bits - 1)
    requantise = _requantise(op.activation, unit / 2.0**fraction, out)
    return replace(
        op,
        multipliers=multipliers,
        bias_codes=np.zeros((), np.int64),
        fraction=fraction,
        requantise=requantise,
    )


def _direct(op: VectorOp, codes: Mapping[str, Codes]) -> VectorOp | None:
    """A function of few codes, one entry for each: exact.  None where that does not fit."""
    x, y = codes[op.inputs[0]], codes[op.output]
    factor, bias = op.factors[0], op.bias
    if not saturates(op) or len(op.inputs) > 1 or op.combine != "sum":
        return None
    if factor.size != 1 or bias.size != 1 or x.bits > TABLE_BITS:
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
    """A scalar function: one table over every code of the input; where channels of the output have
    steps of their own, or a line between so many codes might cross the knee at which the output
    saturates, it is finer than those, and requantised."""
    assert activation.function is not None
    then = None
    if out.steps or max(source.bits - SAMPLED_BITS, out.bits - DIRECT_BITS) > 0:
        fine = finer(out)
        parts = pieces(activation.function, source, fine)
        then = (fine.scale / out.scales).astype(np.float32)
    elif source.bits <= TABLE_BITS:
        parts = (tabulate(activation.function, source, out, line=0.0, fraction=0),)
    else:
        parts = (tabulate(activation.function, source, out),)
    bounds = source.low - source.zero, source.high - source.zero
    requantise = Requantise(np.ones((1,), np.float32), 0, *bounds, pieces=parts, then=then)
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
    return Requantise((step / out.scales).astype(np.float32), out.zero, low, high, slope)
