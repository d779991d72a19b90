"""Which buffers an instruction reads and writes, for the clock: what is written is waited for.

A read waits where its buffer was written in the same window, whatever the addresses (decision
0021).  An `accum` does not wait for another: both go through the write port, in order.
"""

from __future__ import annotations

from collections.abc import Iterator

from isa.analysis import operand_kinds
from isa.instructions import INSTRUCTIONS, Kind
from isa.program import Address, BufferRef, Instruction, Layer, Loop, Node

Names = frozenset[str]
NOTHING: Names = frozenset()


def reads_and_writes(instruction: Instruction) -> tuple[Names, Names]:
    """The buffers that one instruction reads, and those that it writes."""
    spec = INSTRUCTIONS[instruction.mnemonic]
    if not any(isinstance(operand, Address | BufferRef) for operand in instruction.operands):
        return NOTHING, NOTHING
    inputs = instruction.attribute("inputs", 0)
    reads, writes, ports = set(), set(), 0
    for kind, operand in zip(
        operand_kinds(spec, len(instruction.operands)), instruction.operands, strict=True
    ):
        if kind in (Kind.READ, Kind.SOURCE):
            reads.add(_name(operand))
        elif kind in (Kind.WRITE, Kind.TARGET):
            writes.add(_name(operand))
        elif kind is Kind.PORT:
            (reads if ports < inputs else writes).add(_name(operand))
            ports += 1
    return frozenset(reads), frozenset(writes)


def hazards(layer: Layer) -> Names:
    """The buffers that a layer both writes and reads."""
    touched = [reads_and_writes(instruction) for instruction in _instructions(layer.body)]
    return NOTHING.union(*(reads for reads, _ in touched)) & NOTHING.union(*(w for _, w in touched))


def _name(operand: object) -> str:
    if isinstance(operand, Address):
        return operand.buffer
    assert isinstance(operand, BufferRef)
    return operand.name


def _instructions(nodes: tuple[Node, ...]) -> Iterator[Instruction]:
    for node in nodes:
        if isinstance(node, Loop):
            yield from _instructions(node.body)
        else:
            yield node
