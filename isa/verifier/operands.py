"""Rules about single operands: every name exists, every index is inside, nothing is read unwritten."""

from __future__ import annotations

from isa.analysis import Interval
from isa.diagnostics import did_you_mean
from isa.printer import operand_text
from isa.program import (
    Address,
    Array,
    Buffer,
    BufferRef,
    ConstRef,
    Crossbar,
    Instruction,
    Matrix,
    Operand,
    Register,
)
from isa.verifier.addresses import NO_LOOP, address_problems
from isa.verifier.facts import INT64, Facts, fits
from isa.verifier.scope import UNKNOWN, Scope, Value


class Operands:
    """Looks operands up at the current point of the program, and reports those that are wrong.

    `loops` holds the variables of the enclosing loops with their values, `written` the names of
    the buffers that hold something.  `doubtful`: some instruction could not be understood.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.buffers = facts.program.buffers
        self.crossbars = facts.program.crossbars
        self.loops: dict[str, Interval] = {}
        self.written = {b.name for b in self.buffers.values() if b.kind == "input" or b.holds}
        self.doubtful = False
        self.said: set[str] = set()

    def doubt(self, scope: Scope) -> None:
        """After an instruction that could not be understood: nobody knows what it did."""
        scope.doubtful = self.doubtful = True

    def fail_once(self, node: Instruction, message: str, operand: Operand, hint: str | None) -> None:
        """As `fail`, for a name that nothing declares: once in a layer."""
        if message not in self.said:
            self.said.add(message)
            self.fail(node, message, operand, hint)

    def fail(
        self, node: Instruction, message: str, operand: Operand | None = None, hint: str | None = None
    ) -> None:
        self.facts.error(node, message, hint, operand)

    def buffer(self, node: Instruction, name: str, operand: Operand) -> Buffer | None:
        found = self.buffers.get(name)
        if found is None:
            hint = did_you_mean(name, self.buffers, "%")
            self.fail_once(node, f"no buffer is named %{name}", operand, hint)
        return found

    def codes(self, node: Instruction, name: str, operand: Operand) -> Buffer | None:
        """A buffer that the machine itself reads or writes: one of codes."""
        found = self.buffer(node, name, operand)
        if found is not None and found.raw:
            self.fail(node, f"%{name} is a raw buffer; only `host` touches it", operand)
            return None
        return found

    def address(self, node: Instruction, address: Address) -> Buffer | None:
        """The buffer of an address; None if its name or its indices are wrong."""
        buffer = self.codes(node, address.buffer, address)
        if buffer is None:
            return None
        good = True
        for message, hint in address_problems(address, buffer, self.loops):
            told = self.fail_once if message.startswith(NO_LOOP) else self.fail
            told(node, message, address, hint)
            good = False
        return buffer if good else None

    def note_read(self, node: Instruction, name: str, operand: Operand) -> None:
        if name not in self.written and not self.doubtful:
            self.fail(node, f"%{name} is read before anything is written to it", operand)
        self.written.add(name)

    def note_write(self, node: Instruction, buffer: Buffer, operand: Operand) -> None:
        if buffer.kind == "input":
            self.fail(node, f"%{buffer.name} is an input; it is not written", operand)
        if buffer.holds is not None:
            self.fail(node, f"%{buffer.name} holds a constant; it is not written", operand)
        self.written.add(buffer.name)

    def crossbar(self, node: Instruction, matrix: Matrix, bands: str | None) -> Crossbar | None:
        """The group of an operand; `bands` is which of its sizes limits the band (None: a group)."""
        found = self.crossbars.get(matrix.name)
        if found is None:
            hint = did_you_mean(matrix.name, self.crossbars, "@")
            self.fail_once(node, f"no crossbar is named @{matrix.name}", matrix, hint)
            return None
        if bands is None:
            if matrix.index or matrix.band:
                self.fail(node, "all sub-crossbars of a group fire together", matrix, f"fire @{matrix.name}")
                return None
            return found
        inside = len(matrix.index) == len(found.index_shape) and all(
            0 <= i < size for i, size in zip(matrix.index, found.index_shape, strict=True)
        )
        if not inside:
            shape = f"is one of {list(found.index_shape)}" if found.index_shape else "takes no index"
            self.fail(node, f"no sub-crossbar {operand_text(matrix)}: @{found.name} {shape}", matrix)
            return None
        count = found.row_bands if bands == "row" else found.column_bands
        if not 0 <= matrix.band < count:
            self.fail(node, f"@{found.name} has {bands} bands 0 to {count - 1}, not {matrix.band}", matrix)
            return None
        return found

    def register(self, node: Instruction, register: Register, scope: Scope) -> Value:
        value = scope.registers.get(register.number)
        if value is not None:
            return value
        lost = scope.lost.get(register.number)
        hint = None
        if lost is not None:
            hint = f"the loop {f'in line {lost.span.line} ' if lost.span.line else ''}over {lost.variable} "
            hint += "writes it; neither its next iteration nor the code behind it may read that"
        if not scope.doubtful:
            self.fail(node, f"v{register.number} is read before it is written", register, hint)
        scope.registers[register.number] = UNKNOWN
        return UNKNOWN

    def array(self, node: Instruction, operand: ConstRef, kinds: str, what: str) -> Array | None:
        """A constant that is a vector; None if there is no such, or it cannot be seen."""
        known = self.facts.constant(operand.name)
        if known is None:
            self.facts.missing_constant(node, operand.name, operand)
            return None
        good = known.dtype.kind in kinds if kinds != "f" else known.dtype == "float32"
        if not good or len(known.shape) != 1 or not known.shape[0]:
            self.fail(node, f"expected {what}, {operand.name!r} is {known.dtype}{list(known.shape)}", operand)
            return None
        if known.low is not None and known.high is not None and not fits(known.low, known.high, INT64):
            self.fail(node, f"{operand.name!r} holds values beyond 64-bit signed integers", operand)
            return None
        return self.facts.program.constant(operand.name)

    def whole(self, node: Instruction, position: int) -> Buffer | None:
        operand = node.operands[position]
        assert isinstance(operand, BufferRef)
        if self.loops and position == 0:
            self.fail(node, f"{node.mnemonic} takes whole buffers and stands outside of loops")
        return self.codes(node, operand.name, operand)

    def forget(self, instruction: Instruction, scope: Scope) -> None:
        """After an error: what the instruction may have written is unknown, not undefined."""
        for operand in instruction.operands:
            if isinstance(operand, Register):
                scope.registers.setdefault(operand.number, UNKNOWN)
            elif isinstance(operand, (Address, BufferRef)):
                name = operand.buffer if isinstance(operand, Address) else operand.name
                self.written.add(name)
