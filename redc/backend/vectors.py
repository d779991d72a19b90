"""The code of a `VectorOp`: load every input, scale it to the common step, combine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isa.program import (
    Address,
    Affine,
    Array,
    Buffer,
    ConstRef,
    Instruction,
    Node,
    Operand,
    Register,
)
from redc.ir.graph import VectorOp

Loops = list[tuple[str, int]]


def combined(
    op: VectorOp,
    inputs: tuple[Buffer, ...],
    output: Buffer,
    constant: Callable[[str, Array], ConstRef],
    word: str,
) -> tuple[Loops, list[Node], tuple[Affine, ...]]:
    """(loops, body, index): in every iteration the body leaves in v0 what belongs at `index` of the
    output, before requantisation.  `constant` puts an array into the data file; `word` begins its
    name."""
    assert op.multipliers is not None
    assert op.bias_codes is not None
    loops: Loops = [(f"d{axis}", count) for axis, count in enumerate(output.shape[:-1])]
    own = tuple(Affine.of({variable: 1}) for variable, _ in loops)

    def load(register: Register, source: Buffer) -> Instruction:
        indices = zip(source.shape[:-1], own, strict=True)
        spread = tuple(Affine() if size == 1 else index for size, index in indices)
        return Instruction("load", (register, Address(source.name, spread)))

    value = Register(0)
    if op.combine == "div":
        return loops, [*_divided(op, inputs, output, load, constant, word)], own
    body: list[Node] = []
    terms: list[Operand] = []
    for number, (source, factor) in enumerate(zip(inputs, op.multipliers, strict=True)):
        register = Register(number)
        body.append(load(register, source))
        if factor.size > 1 or int(factor.reshape(-1)[0]) != 1:
            body.append(Instruction("mul", (register, register, constant(f"{word}.factor{number}", factor))))
        terms.append(register)
    if op.bias_codes.any():
        terms.append(constant(f"{word}.bias", op.bias_codes))
    if op.combine == "mul":
        body += [Instruction("mul", (value, value, other)) for other in terms[1:]]
    elif len(terms) > 1:
        body.append(Instruction(op.combine, (value, *terms)))
    if op.sign is not None:
        body.append(Instruction("mul", (value, value, constant(f"{word}.sign", op.sign))))
    return loops, body, own


def _divided(
    op: VectorOp,
    inputs: tuple[Buffer, ...],
    output: Buffer,
    load: Callable[[Register, Buffer], Instruction],
    constant: Callable[[str, Array], ConstRef],
    word: str,
) -> list[Node]:
    """One input by another, or a constant by the only one."""
    assert op.multipliers is not None
    value, below = Register(0), Register(1)
    if len(inputs) > 1:
        above: Node = load(value, inputs[0])
    else:
        dividend = np.broadcast_to(op.multipliers[0], (output.vector,))
        above = Instruction("sum", (value, constant(f"{word}.dividend", dividend)))
    attributes = (("fraction", op.fraction),) if op.fraction else ()
    return [above, load(below, inputs[-1]), Instruction("div", (value, value, below), attributes)]
