"""The verifier of the graph IR: what every pass may rely on, checked.

Fields that no pass has filled yet are passed over, so the same check holds after each pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from isa.program import REAL_TYPES
from redc.errors import InternalError
from redc.ir.graph import (
    F64,
    Codes,
    CrossbarOp,
    Graph,
    HostOp,
    Op,
    Requantise,
    ReshapeOp,
    StencilOp,
    Tensor,
    VectorOp,
)
from redc.mapping.check import MappingError, check
from redc.mapping.formula import kernel_pixels
from redc.mapping.schedule import Problem


def verify_graph(graph: Graph) -> None:
    """Raise InternalError, naming the operator, if `graph` is not well formed.

    Wiring: operator names are unique, every tensor is defined once, before it is read, and none
    is left over.  Operators: shapes, channel axes and weights fit together.  Passes: codes lie in
    their bits, kernel pixels and schedules obey the formula, accumulators and codes agree.
    """
    _check_wiring(graph)
    touched = {n for op in graph.ops if not isinstance(op, HostOp) for n in (*op.inputs, *op.outputs)}
    for tensor in graph.tensors.values():
        _check_tensor(tensor, host_only=tensor.name not in touched)
    for op in graph.ops:
        inputs = [graph.tensors[name] for name in op.inputs]
        if isinstance(op, HostOp):
            continue
        output = graph.tensors[op.output]
        for tensor in (*inputs, output):
            host_only = tensor.raw or (tensor.dtype not in REAL_TYPES and tensor.given is None)
            _need(not host_only, op, f"only a host can touch {tensor.name!r} ({tensor.dtype})")
        if isinstance(op, CrossbarOp):
            _check_crossbar(op, inputs[0], output)
        elif isinstance(op, VectorOp):
            _check_vector(op, inputs, output)
        elif isinstance(op, StencilOp):
            _check_stencil(op, inputs, output)
        else:
            _check_reshape(op, inputs[0], output)


def _need(holds: bool, where: Op | str, broken: str) -> None:
    if not holds:
        who = where if isinstance(where, str) else f"operator {where.name!r} ({where.op})"
        raise InternalError(f"{who}: {broken}")


# ---------------------------------------------------------------- wiring


def _check_wiring(graph: Graph) -> None:
    defined = {*graph.inputs, *graph.constants}
    _need(len(set(graph.inputs)) == len(graph.inputs), "graph", "an input is listed twice")
    names: set[str] = set()
    for op in graph.ops:
        _need(op.name not in names, op, "another operator has this name")
        names.add(op.name)
        _need(bool(op.inputs) or isinstance(op, HostOp), op, "it has no input")
        _need(bool(op.outputs), op, "it has no output")
        for name in op.inputs:
            _need(name in defined, op, f"it reads {name!r}, which nothing before it makes")
        for name in op.outputs:
            _need(name not in defined, op, f"it makes {name!r}, which exists already")
            defined.add(name)
    _need(bool(graph.outputs), "graph", "it has no outputs")
    for name in graph.outputs:
        _need(name in defined and name not in graph.inputs, f"graph output {name!r}", "no operator makes it")
    missing, left = sorted(defined - set(graph.tensors)), sorted(set(graph.tensors) - defined)
    _need(not missing, "graph", f"tensors without a shape: {missing}")
    _need(not left, "graph", f"tensors that nothing makes: {left}")


def _check_tensor(tensor: Tensor, *, host_only: bool) -> None:
    where = f"tensor {tensor.name!r}"
    _need(not (tensor.raw and tensor.codes), where, "it is raw and has codes")
    if host_only:
        return
    _need(all(size >= 1 for size in tensor.shape), where, f"shape {tensor.shape}")
    rank = len(tensor.shape or (1,))
    _need(0 <= tensor.axis < rank, where, f"axis {tensor.axis} of shape {tensor.shape}")
    if tensor.value is not None:
        fits = tensor.value.shape == tensor.shape and bool(np.isfinite(tensor.value).all())
        _need(fits, where, "its value has another shape, or is not finite")
    codes = tensor.codes
    if codes is not None:
        _need(math.isfinite(codes.scale) and codes.scale > 0, where, f"scale {codes.scale}")
        _need(codes.low <= codes.zero <= codes.high, where, f"zero point {codes.zero} is no code")
        whole = len(codes.steps) in (0, tensor.buffer_shape[-1]) and min(codes.steps, default=1) > 0
        _need(whole, where, "its steps are not one whole number per channel")
        _need(tensor.given in (None, codes), where, "its codes are not those that the model gives")


# ---------------------------------------------------------------- operators


def _check_crossbar(op: CrossbarOp, x: Tensor, y: Tensor) -> None:
    rank, channels, outputs = len(op.kernel), op.in_channels, op.out_channels
    _need(op.weight.ndim == rank + 2 and op.weight.shape[:rank] == op.kernel, op, "kernel and weight differ")
    _need(op.weight.size > 0, op, "it has no weights")
    for name in ("stride", "dilation", "pads"):
        values, least = getattr(op, name), 0 if name == "pads" else 1
        _need(len(values) == rank and all(v >= least for v in values), op, f"{name} is {values}")
    _need(rank == 0 or op.op in ("ConvTranspose", "Conv"), op, f"it has a kernel {op.kernel}")
    _need(op.groups >= 1 and channels % op.groups == 0, op, f"{channels} channels in {op.groups} groups")
    _need(op.bias.shape == (outputs,), op, f"bias of shape {op.bias.shape}, expected ({outputs},)")
    _need(op.weight.dtype == op.bias.dtype == np.float64, op, "weight and bias are not float64")
    _need(bool(np.isfinite(op.weight).all() and np.isfinite(op.bias).all()), op, "NaN or infinity")
    _need(x.buffer_shape[-1] == channels, op, f"its input has {x.buffer_shape[-1]} channels, not {channels}")
    _need(y.buffer_shape[-1] == outputs, op, f"its output has {y.buffer_shape[-1]} channels, not {outputs}")
    batch = len(x.buffer_shape) - 1 - rank
    _need(
        len(y.shape) == len(x.shape) and batch >= 0 and x.buffer_shape[:batch] == y.buffer_shape[:batch],
        op,
        f"input {x.buffer_shape} and output {y.buffer_shape} differ in their batch axes",
    )
    _check_weight_codes(op)
    _check_codes_of(op, outputs, y)
    _check_mapping(op, x.buffer_shape[batch:-1], y.buffer_shape[batch:-1])


def _check_weight_codes(op: CrossbarOp) -> None:
    codes, bits = op.weight_codes, op.weight_bits
    _need((codes is None) == (bits is None), op, "weight codes and their bits come together")
    if codes is None or bits is None:
        return
    _need(
        codes.dtype.kind == "i" and codes.shape == op.weight.shape, op, "weight codes do not fit the weight"
    )
    bound = (1 << (bits - 1)) - 1  # the lowest code has no place on a differential pair
    largest = max(abs(int(codes.min())), abs(int(codes.max())))
    _need(largest <= bound, op, f"weight code {largest} exceeds {bits} bits (at most {bound})")


def _check_mapping(op: CrossbarOp, size: tuple[int, ...], output_size: tuple[int, ...]) -> None:
    if op.pixels is None:
        _need(op.schedule is None, op, "it has a schedule but no kernel pixels")
        return
    transposed = op.op == "ConvTranspose"
    stride = op.stride if transposed else (1,) * len(op.kernel)
    expected = kernel_pixels(op.kernel, stride, op.dilation, op.pads)
    _need(op.pixels == expected, op, "its kernel pixels do not obey the formula")
    table = op.schedule
    if table is None:
        return
    for seat in table.placements:
        inside = (
            0 <= seat.array < math.prod(table.index_shape)
            and 0 <= seat.row_band < table.row_bands
            and 0 <= seat.column_band < table.column_bands
            and 0 <= seat.turn < table.turns
        )
        _need(inside, op, f"kernel pixel {seat.pixel.index} has a seat outside its schedule")
    try:
        check(table, Problem(op.pixels, op.kernel, op.stride, size, output_size), transposed=transposed)
    except MappingError as error:
        raise InternalError(f"operator {op.name!r} ({op.op}): {error}") from error
    _need(op.place is None or op.place >= 0, op, f"placed at array {op.place}")


def _check_vector(op: VectorOp, inputs: Sequence[Tensor], y: Tensor) -> None:
    width = y.buffer_shape[-1]
    _need(len(op.factors) == len(inputs), op, f"{len(op.factors)} factors for {len(inputs)} inputs")
    for name, values in (*((f"factor {i}", f) for i, f in enumerate(op.factors)), ("bias", op.bias)):
        _need(values.shape in ((), (width,)), op, f"{name} has the shape {values.shape}")
        _need(
            values.dtype == np.float64 and bool(np.isfinite(values).all()),
            op,
            f"{name} is not finite float64",
        )
    if op.sign is not None:
        fits = op.sign.shape == (width,) and bool((np.abs(op.sign) == 1).all())
        _need(fits and op.combine == "max", op, "its sign is not 1 or -1 per channel of a maximum")
    if op.combine == "div":
        alone = not op.bias.any() and (len(inputs) == 1 or (len(inputs) == 2 and _ones(op.factors)))
        _need(alone, op, "a quotient of more than two, or with factors or a bias")
    for x in inputs:
        fits = len(x.shape) == len(y.shape) and all(
            size == whole or (size == 1 and axis != y.axis)
            for axis, (size, whole) in enumerate(zip(x.shape, y.shape, strict=True))
        )
        _need(fits and x.axis == y.axis, op, f"input {x.name!r} does not broadcast to its output")
    spread = tuple(max(sizes) for sizes in zip(*(x.shape for x in inputs), strict=True))
    _need(spread == y.shape, op, f"its output has the shape {y.shape}, its inputs give {spread}")
    if op.multipliers is not None:
        _need(len(op.multipliers) == len(inputs), op, "multipliers and inputs differ in number")
        for codes in op.multipliers:
            _need(codes.dtype == np.int64 and codes.shape in ((), (1,), (width,)), op, "a bad multiplier")
    _check_codes_of(op, width, y)


def _ones(factors: Sequence[F64]) -> bool:
    return all(bool((factor == 1).all()) for factor in factors)


def _check_stencil(op: StencilOp, inputs: Sequence[Tensor], y: Tensor) -> None:
    covered = np.zeros(y.buffer_shape, np.int8)
    for region in op.regions:
        _need(len(region.runs) == len(y.shape) - 1, op, "a region has another rank than its output")
        where = (*(np.array(run.targets()) for run in region.runs), np.arange(*region.target))
        inside = all(
            w.size and w.min() >= 0 and w.max() < n for w, n in zip(where, covered.shape, strict=True)
        )
        _need(inside, op, "a region leaves its output")
        covered[np.ix_(*where)] += 1
        if region.input is None:
            continue
        _need(region.source[1] - region.source[0] == region.target[1] - region.target[0], op, "parts differ")
        shape = inputs[region.input].buffer_shape
        _need(region.source[0] >= 0 and region.source[1] <= shape[-1], op, "a part leaves its input's vector")
        low, high = list(region.base), list(region.base)
        for run in region.runs:
            read = [at + step for at, _ in run.taps for step in (0, run.step * (run.count - 1))]
            _need(bool(read), op, "a region of an input reads nothing")
            low[run.axis], high[run.axis] = low[run.axis] + min(read), high[run.axis] + max(read)
        reads = all(a >= 0 and b < n for a, b, n in zip(low, high, shape[:-1], strict=True))
        _need(reads, op, "a region leaves its input")
    _need(bool((covered == 1).all()), op, "its regions do not cover its output once")
    _need(op.codes is None or len(op.codes) == len(op.regions), op, "codes and regions differ in number")


def _check_reshape(op: ReshapeOp, x: Tensor, y: Tensor) -> None:
    _need(math.prod(x.shape) == math.prod(y.shape), op, f"{x.shape} and {y.shape} differ in size")
    _need(x.codes == y.codes, op, "input and output have different codes")


# ---------------------------------------------------------------- what `quantise` fills


def _check_codes_of(op: CrossbarOp | VectorOp, width: int, y: Tensor) -> None:
    bias, requantise = op.bias_codes, op.requantise
    if bias is not None:
        fits = bias.dtype == np.int64 and bias.shape in ((), (1,), (width,))
        _need(fits, op, "bias codes do not fit the bias")
    if requantise is None:
        return
    scale = requantise.scale
    _need(scale.dtype == np.float32 and scale.shape in ((), (1,), (width,)), op, "a bad requantisation scale")
    _need(bool(np.isfinite(scale).all() and (scale >= 0).all()), op, "a requantisation scale is not finite")
    _need(requantise.low <= requantise.high, op, f"saturates to [{requantise.low}, {requantise.high}]")
    if y.codes is not None:
        _check_output(op, requantise, y.codes)


def _check_output(op: Op, requantise: Requantise, codes: Codes) -> None:
    """Whatever comes out is a code of the output."""
    table = requantise.table
    for piece in requantise.pieces or (() if table is None else (table,)):
        last = ((piece.high - piece.low) >> piece.shift) + (1 if piece.shift else 0)
        _need(last < piece.entries.size, op, "its table is too short")
    if requantise.then is not None:
        _need(bool(np.isfinite(requantise.then).all()), op, "its second requantisation is not finite")
        return
    if requantise.pieces:
        (table,) = requantise.pieces
    elif table is None:
        inside = codes.low <= requantise.low and requantise.high <= codes.high
        _need(inside, op, f"saturates to [{requantise.low}, {requantise.high}], beyond its output's codes")
        _need(requantise.zero == codes.zero, op, "its zero point is not its output's")
        return
    _need((table.low, table.high) == (requantise.low, requantise.high), op, "its table has other bounds")
    results = (table.entries + ((1 << table.fraction) >> 1)) >> table.fraction
    inside = codes.low <= int(results.min()) and int(results.max()) <= codes.high
    _need(inside, op, "its table holds more than its output's codes")
