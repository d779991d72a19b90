"""What is known of a program before it runs: vector lengths, event sizes, ranges of addresses.

Everything here is closed form: no loop is ever executed.  The functions take *verified*
programs (`isa.verify`); on others they raise KeyError or ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from isa.geometry import NO_DRIVE, NO_FIRE, drive_of, fire_of, geometry
from isa.instructions import INSTRUCTIONS, Kind, Sizes, Spec
from isa.program import (
    Address,
    Affine,
    BufferRef,
    ConstRef,
    Instruction,
    Loop,
    Matrix,
    Node,
    Operand,
    Program,
    Register,
)

Driven = dict[str, list[tuple[tuple[int, ...], int]]]
"""Crossbar group -> (index of a sub-crossbar, row band) of its drives since its last fire."""

Interval = tuple[int, int]
"""Both ends included."""


def operand_kinds(spec: Spec, count: int) -> tuple[Kind, ...]:
    """The kind of each of `count` operands; the last parameter repeats where it may."""
    kinds = tuple(param.kind for param in spec.params[:count])
    return kinds + kinds[-1:] * (count - len(kinds))


def affine_interval(affine: Affine, loops: Mapping[str, Interval]) -> Interval:
    """The values of the numerator of `affine`, each loop variable within `loops[name]`."""
    low = high = affine.constant
    for name, coefficient in affine.terms:
        first, last = loops[name]
        if coefficient > 0:
            low += coefficient * first
            high += coefficient * last
        else:
            low += coefficient * last
            high += coefficient * first
    return low, high


def instruction_sizes(program: Program) -> dict[int, Sizes]:
    """The `Sizes` of every instruction of a verified program, keyed by `id(instruction)`.

    `length` is the vector length of the instruction: what it drives, reads, writes or
    computes (for `clear` and `reshape`: values of the whole destination); `firing` is what
    the sub-crossbars driven for a `fire` do.  The keys are object identities: keep `program`
    alive as long as the result.

    Raises ValueError where one Instruction object stands in two places and means different
    sizes there (the verifier reports it; a parsed program shares no objects).
    """
    found: dict[int, Sizes] = {}
    for layer in program.layers:
        _walk(program, layer.body, {}, found)
    return found


def _walk(
    program: Program,
    nodes: tuple[Node, ...],
    lengths: dict[int, int],
    found: dict[int, Sizes],
) -> None:
    """One block.  `lengths` maps register numbers to vector lengths; a copy goes into loops."""
    pending: Driven = {}
    for node in nodes:
        if isinstance(node, Loop):
            _walk(program, node.body, dict(lengths), found)
            continue
        sizes = _sizes(program, node, lengths, pending)
        if found.setdefault(id(node), sizes) != sizes:
            raise ValueError(f"one {node.mnemonic!r} object stands in two places and means two sizes")
        result = node.operands[0]
        if isinstance(result, Register) and INSTRUCTIONS[node.mnemonic].params[0].kind is Kind.RESULT:
            lengths[result.number] = sizes.length


def _sizes(
    program: Program,
    instruction: Instruction,
    lengths: Mapping[int, int],
    pending: Driven,
) -> Sizes:
    length = bits = from_bits = terms = planes = cycles = moved = 0
    drive, firing = NO_DRIVE, NO_FIRE
    kinds = operand_kinds(INSTRUCTIONS[instruction.mnemonic], len(instruction.operands))
    for kind, operand in zip(kinds, instruction.operands, strict=True):
        if isinstance(operand, Address):
            buffer = program.buffers[operand.buffer]
            length, bits = operand.length(buffer.vector), buffer.type.bits
        elif isinstance(operand, BufferRef):
            buffer = program.buffers[operand.name]
            if kind is Kind.PORT:
                moved += math.prod(buffer.shape) * buffer.type.bits
            elif kind is Kind.TARGET:
                length, bits = math.prod(buffer.shape), buffer.type.bits
            else:
                from_bits = buffer.type.bits
        elif kind is Kind.ROW_BAND and isinstance(operand, Matrix):
            pending.setdefault(operand.name, []).append((operand.index, operand.band))
            crossbar = program.crossbars[operand.name]
            planes = geometry(crossbar, program.target).planes
            drive = drive_of(crossbar, program.target, operand.index, operand.band)
        elif kind is Kind.GROUP and isinstance(operand, Matrix):
            crossbar = program.crossbars[operand.name]
            shape = geometry(crossbar, program.target)
            planes, cycles = shape.planes, shape.fire_cycles
            firing = fire_of(crossbar, program.target, pending.pop(operand.name, ()))
        elif kind in (Kind.TERM, Kind.EITHER):
            terms += 1
            length = max(length, term_length(program, operand, lengths))
        elif kind is Kind.VALUE and isinstance(operand, Register):
            length = max(length, lengths[operand.number])
    return Sizes(length, bits, from_bits, terms, planes, drive, firing, cycles, moved)


def term_length(program: Program, term: Operand, lengths: Mapping[int, int]) -> int:
    """Values in one term of a `sum`: a register, a column band or a constant."""
    if isinstance(term, Register):
        return lengths[term.number]
    if isinstance(term, Matrix):
        return program.crossbars[term.name].columns
    if isinstance(term, ConstRef):
        if term.name in program.constants:
            return math.prod(program.constants[term.name].shape)
        return int(program.data[term.name].size)
    raise ValueError(f"{term!r} is no term of a sum")
