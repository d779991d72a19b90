"""`--trace`: what each executed instruction read, made or wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from isa.program import Address, Affine, Array, BufferRef, ConstRef, Instruction, Matrix, Operand, Register
from runtime.address import LoopVariable

if TYPE_CHECKING:
    from runtime.step import StepEngine


def traced(
    engine: StepEngine,
    layer: str,
    instruction: Instruction,
    loops: Mapping[str, LoopVariable],
    step: Callable[[], None],
) -> Callable[[], None]:
    """`step`, followed by a call of the engine's tracer; `step` itself where there is none."""
    trace = engine.trace
    if trace is None:
        return step
    slots = {name: loop.slot for name, loop in loops.items()}
    value = subject(engine, instruction)

    def run() -> None:
        step()
        now = {name: engine.values[slot] for name, slot in slots.items()}
        operands = tuple(describe(operand, now) for operand in instruction.operands)
        trace(engine.clock.cycles, layer, instruction, operands, value())

    return run


def subject(engine: StepEngine, instruction: Instruction) -> Callable[[], Array | None]:
    """How to get the vector that an instruction is about, once it was executed."""
    operands = instruction.operands
    register = next((operand for operand in operands if isinstance(operand, Register)), None)
    if register is not None:
        number = register.number
        return lambda: engine.register(number).copy()
    if isinstance(operands[0], Matrix) and len(operands) > 1:
        lines = engine.groups[operands[0].name].word_lines(operands[0].index, operands[0].band)
        return lambda: lines.ravel().copy()
    return lambda: None


def describe(operand: Operand, loops: Mapping[str, int]) -> str:
    """An operand as the assembly writes it, its address evaluated."""
    if isinstance(operand, Register):
        return f"v{operand.number}"
    if isinstance(operand, BufferRef):
        return f"%{operand.name}"
    if isinstance(operand, ConstRef):
        return f'"{operand.name}"'
    if isinstance(operand, Matrix):
        index = f"[{', '.join(map(str, operand.index))}]" if operand.index else ""
        return f"@{operand.name}{index}" + (f".{operand.band}" if operand.band else "")
    assert isinstance(operand, Address)
    where = ", ".join(evaluate(affine, loops) for affine in operand.indices)
    if operand.part is not None:
        where += f"{', ' if where else ''}{operand.part[0]}:{operand.part[1]}"
    return f"%{operand.buffer}{'?' if operand.outside else ''}[{where}]"


def evaluate(affine: Affine, loops: Mapping[str, int]) -> str:
    """A number, or a fraction for a position between two pixels."""
    value = affine.constant + sum(factor * loops[name] for name, factor in affine.terms)
    if affine.divisor == 1:
        return str(value)
    pixel, remainder = divmod(value, affine.divisor)
    return str(pixel) if remainder == 0 else f"{value}/{affine.divisor}"
