"""What ends an operator: a register of accumulators, or of codes, becomes codes of the output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isa.instructions import bound_of
from isa.program import Array, ConstRef, Instruction, Operand, Register
from redc.ir.graph import Codes, Requantise, Table

Constant = Callable[[str, Array], ConstRef]
"""Puts an array into the data file under a name."""


def requantised(
    requantise: Requantise, value: Register, source: Codes, out: Codes, constant: Constant, word: str
) -> list[Instruction]:
    """The instructions that leave codes of `out` in `value`; `source` are those of what the operator
    reads first, and names of constants begin with `word`."""
    if requantise.pieces:
        body = _summed_pieces(requantise.pieces, value, source, constant, word)
    else:
        scale = constant(f"{word}.scale", requantise.scale)
        body = [Instruction("quant", (value, value, scale), _bounds(requantise))]
    if requantise.table is not None:
        body.append(
            _looked_up(value, value, constant(f"{word}.table", requantise.table.entries), requantise.table)
        )
    if requantise.then is not None:
        scale = constant(f"{word}.scale", requantise.then)
        bounds = _bounds(Requantise(requantise.then, out.zero, out.low, out.high))
        body.append(Instruction("quant", (value, value, scale), bounds))
    return body


def _summed_pieces(
    pieces: tuple[Table, ...], value: Register, source: Codes, constant: Constant, word: str
) -> list[Instruction]:
    """The sum of what the pieces of a function make of a register of codes, each moved into its bounds."""
    if len(pieces) == 1:
        return _piece(pieces[0], value, value, source, constant, word)
    parts = [Register(value.number + 1 + number) for number in range(len(pieces))]
    body: list[Instruction] = []
    for number, (piece, part) in enumerate(zip(pieces, parts, strict=True)):
        body += _piece(piece, part, value, source, constant, f"{word}.piece{number}")
    return [*body, Instruction("sum", (value, *parts))]


def _piece(
    piece: Table, result: Register, value: Register, source: Codes, constant: Constant, word: str
) -> list[Instruction]:
    body: list[Instruction] = []
    held = value
    ends = (("max", piece.low, source.low - source.zero), ("min", piece.high, source.high - source.zero))
    for combine, bound, furthest in ends:
        if bound != furthest:
            end = constant(f"{word}.{combine}", np.array(bound))
            body.append(Instruction(combine, (result, held, end)))
            held = result
    return [*body, _looked_up(result, held, constant(f"{word}.table", piece.entries), piece)]


def _looked_up(result: Register, value: Operand, entries: ConstRef, table: Table) -> Instruction:
    attributes = (("fraction", table.fraction), ("low", table.low), ("shift", table.shift))
    return Instruction("lookup", (result, value, entries), attributes)


def _bounds(requantise: Requantise) -> tuple[tuple[str, int | float], ...]:
    attributes: dict[str, int | float] = {"high": bound_of(requantise.high), "low": bound_of(requantise.low)}
    if requantise.slope != 1.0:
        attributes["slope"] = requantise.slope
    if requantise.zero:
        attributes["zero"] = requantise.zero
    return tuple(sorted(attributes.items()))
