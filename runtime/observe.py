"""What observation watches: the accumulator behind every requantised value that is stored.

`redc diff` compares, per layer, not only the codes but the integers before requantisation.
Whenever a register made by `quant`, possibly through later `lookup`s, is stored into a buffer,
the int64 value that was the quant's source at that moment is recorded at the same cell of an
array of the buffer's shape.  A store of any other value into such a buffer records 0, and so do
cells that no store hit.  Both engines do so.
"""

from __future__ import annotations

from isa.program import Address, Program, Register, walk


def observed_buffers(program: Program) -> tuple[str, ...]:
    """Names of the buffers that a `store` writes from a quantised register, as declared.

    The definition that reaches a use is the last one in program order: the verifier forbids
    registers that live on from one iteration to the next.
    """
    names: set[str] = set()
    for layer in program.layers:
        quantised: set[Register] = set()
        for instruction in walk(layer.body):
            first = instruction.operands[0]
            if isinstance(first, Register):
                through = instruction.mnemonic == "lookup" and instruction.operands[1] in quantised
                if instruction.mnemonic == "quant" or through:
                    quantised.add(first)
                else:
                    quantised.discard(first)
            elif instruction.mnemonic == "store" and instruction.operands[1] in quantised:
                assert isinstance(first, Address)
                names.add(first.buffer)
    return tuple(name for name in program.buffers if name in names)
