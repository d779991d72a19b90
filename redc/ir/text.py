"""The graph IR as text, for `--print-after`: one line per operator, and what passes added below it."""

from __future__ import annotations

from collections.abc import Iterator

from redc.ir.graph import (
    Activation,
    Array,
    Codes,
    CrossbarOp,
    Graph,
    HostOp,
    Op,
    Requantise,
    StencilOp,
    Tensor,
    VectorOp,
)
from redc.mapping.schedule import Line, Schedule


def to_text(graph: Graph) -> str:
    """`graph` as text: stable, one line per port and operator, details indented.

    Arrays show shape, minimum and maximum only.
    """
    lines = [f"graph {graph.name!r}"]
    lines += [f"  input   {_tensor(graph.tensors[name])}" for name in graph.inputs]
    outputs = (graph.tensors[name] for name in graph.outputs)
    lines += [f"  output  {_tensor(t)}" + (f" as {t.port}" if t.port else "") for t in outputs]
    lines += [f"  note    {note}" for note in graph.notes]
    constants = (graph.tensors[name] for name in graph.constants)
    lines += [
        f"  holds   {_tensor(tensor)} {_array(tensor.value)}"
        for tensor in constants
        if tensor.value is not None
    ]
    for op in graph.ops:
        lines.append("")
        made = ", ".join(_tensor(graph.tensors[name]) for name in op.outputs)
        lines.append(f"  {made} = {op.op}({', '.join(op.inputs)})")
        lines += [f"      {detail}" for detail in _details(op)]
    return "\n".join(lines) + "\n"


def _tensor(tensor: Tensor) -> str:
    text = f"{tensor.name} [{', '.join(map(str, tensor.shape))}] axis {tensor.axis}"
    if tensor.dtype != "f32" or tensor.raw:
        text += f" {'raw ' if tensor.raw else ''}{tensor.dtype}"
    if tensor.codes:
        text += f" {_codes(tensor.codes)}"
    elif tensor.given:
        text += f" given {_codes(tensor.given)}"
    return text + (f" in %{tensor.buffer}" if tensor.buffer else "")


def _codes(codes: Codes) -> str:
    steps = f" steps {min(codes.steps)}..{max(codes.steps)}" if codes.steps else ""
    kind = "i" if codes.signed else "u"
    return f"{kind}{codes.bits} scale {codes.scale:.6g}{steps} zero {codes.zero}"


def _details(op: Op) -> Iterator[str]:
    yield f"name {op.name}" + (f", nodes {', '.join(op.nodes)}" if op.nodes else "")
    if isinstance(op, HostOp):
        yield f"model of {len(op.model)} bytes"
        yield from op.reasons
    elif isinstance(op, CrossbarOp):
        yield from _crossbar(op)
    elif isinstance(op, VectorOp):
        yield f"{op.combine} of factors " + ", ".join(map(_array, op.factors)) + f"; bias {_array(op.bias)}"
        if op.sign is not None:
            yield f"sign {_array(op.sign)}"
    elif isinstance(op, StencilOp):
        yield from _stencil(op)
    if isinstance(op, CrossbarOp | VectorOp):
        if op.activation:
            yield f"activation {_activation(op.activation)}"
        if isinstance(op, VectorOp) and op.multipliers is not None:
            yield "multipliers " + ", ".join(map(_array, op.multipliers))
        if op.bias_codes is not None:
            fraction = f", {op.fraction} bits below the point" if op.fraction else ""
            yield f"bias codes {_array(op.bias_codes)}{fraction}"
        if op.requantise is not None:
            yield f"requantise {_requantise(op.requantise)}"
    if isinstance(op, CrossbarOp):
        yield from _placed(op)


def _stencil(op: StencilOp) -> Iterator[str]:
    for number, region in enumerate(op.regions):
        sizes = _sizes(tuple(run.count for run in region.runs))
        target = f"{region.target[0]}:{region.target[1]}"
        if region.input is None:
            text = f"fill {region.fill:.6g}"
        else:
            taps = len(list(region.taps()))
            text = f"{op.reduction} of {taps} of {op.inputs[region.input]}"
            text += f", channels {region.source[0]}:{region.source[1]}"
        if op.codes is not None:
            scale = op.codes[number].scale
            text += ", same codes" if scale is None else f", scale {_array(scale)}"
        yield f"region {sizes}, channels {target}: {text}"


def _crossbar(op: CrossbarOp) -> Iterator[str]:
    if op.kernel:
        yield (
            f"kernel {_sizes(op.kernel)} stride {_sizes(op.stride)} dilation {_sizes(op.dilation)} "
            f"pads {_sizes(op.pads)} groups {op.groups}"
        )
    yield f"weight {_array(op.weight)}; bias {_array(op.bias)}"
    if op.weight_codes is not None:
        yield f"weight codes i{op.weight_bits} {_array(op.weight_codes)}"


def _placed(op: CrossbarOp) -> Iterator[str]:
    if op.pixels is not None:
        phases = len({pixel.phase for pixel in op.pixels})
        taps = len({pixel.tap for pixel in op.pixels})
        yield f"pixels {len(op.pixels)}, phases {phases}, taps {taps}"
    if op.schedule is not None:
        yield _schedule(op.schedule)
        for seat in op.schedule.placements:
            yield (
                f"  pixel {_indices(seat.pixel.index)} at array {seat.array} row band {seat.row_band} "
                f"column band {seat.column_band} turn {seat.turn}: "
                f"reads {coordinate_text(seat.reads, op.schedule)} "
                f"writes {coordinate_text(seat.writes, op.schedule)}"
            )
    if op.place is not None:
        yield f"place from array {op.place}"


def _schedule(table: Schedule) -> str:
    overlap = ", outputs overlap" if table.overlap else ""
    return (
        f"mapping {table.mapping}: arrays {_sizes(table.index_shape)}, "
        f"bands {table.row_bands} x {table.column_bands}, "
        f"rounds {_sizes(table.rounds)} x {table.turns} turns{overlap}"
    )


def coordinate_text(lines: tuple[Line, ...], table: Schedule) -> str:
    """A pixel in terms of the rounds' loop variables: `[q0, q1-1]`."""
    return "[" + ", ".join(_line(line, f"{table.variable}{axis}") for axis, line in enumerate(lines)) + "]"


def _line(line: Line, variable: str) -> str:
    coefficient = "" if line.coefficient == 1 else f"{line.coefficient}*"
    text = f"{coefficient}{variable}" + (f"{line.constant:+d}" if line.constant else "")
    return text if line.divisor == 1 else f"({text})/{line.divisor}"


def _activation(activation: Activation) -> str:
    if activation.kind == "leaky":
        return f"leaky slope {activation.alpha:.6g}"
    if activation.kind == "clip":
        return f"clip to [{activation.low:.6g}, {activation.high:.6g}]"
    return activation.kind


def _requantise(requantise: Requantise) -> str:
    text = f"scale {_array(requantise.scale)} zero {requantise.zero} to [{requantise.low}, {requantise.high}]"
    if requantise.slope != 1.0:
        text += f" slope {requantise.slope:.6g}"
    for table in (requantise.table, *requantise.pieces):
        if table is None:
            continue
        text += (
            f", table of {table.entries.size} entries 2^{table.shift} apart, error {table.error:.3g} steps"
        )
    return text


def _array(values: Array) -> str:
    """`float64[4, 4, 512] -0.21..0.34`, or the number alone."""
    if values.size == 1:
        return f"{values.reshape(-1)[0]:.6g}"
    shape = ", ".join(map(str, values.shape))
    return f"{values.dtype}[{shape}] {values.min():.6g}..{values.max():.6g}"


def _sizes(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes)) or "1"


def _indices(index: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, index)) + "]"
