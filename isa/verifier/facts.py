"""What the parts of the verifier share: the program, its constants, and where errors go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from isa.diagnostics import Report, did_you_mean
from isa.printer import declaration_text, instruction_text, loop_text
from isa.program import (
    NOWHERE,
    Array,
    Buffer,
    Constant,
    Crossbar,
    Instruction,
    IntType,
    Layer,
    Loop,
    Operand,
    Program,
    Span,
    Target,
)

INT64 = IntType(True, 64)
"""What registers and adders hold."""


class Declared(Protocol):
    """Anything with a span."""

    @property
    def span(self) -> Span: ...


@dataclass(frozen=True, slots=True)
class ConstantFacts:
    """A constant, inline or from the data file.  low and high: of integers; None for floats."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    low: int | None
    high: int | None


class Facts:
    """A program, and what was found out about it.

    `contents` is False where the data file is not at hand: then names that may stand in it are
    believed, and nothing is known of their arrays.
    """

    def __init__(self, program: Program, contents: bool) -> None:
        self.program = program
        self.contents = contents
        self.report = Report(program.source, program.path)
        self.arrays: dict[str, int] = {}
        self.layer: str | None = None
        """The layer whose code is being checked."""
        self._constants: dict[str, ConstantFacts | None] = {}
        self._missing: set[str] = set()

    @property
    def believes(self) -> bool:
        """May a constant that cannot be seen stand in the data file?"""
        return not self.contents and self.program.data_file is not None

    def error(
        self, node: Declared, message: str, hint: str | None = None, operand: Operand | None = None
    ) -> None:
        """Report an error at a node of the program, or at one operand of an instruction."""
        span = node.span
        if operand is not None and isinstance(node, Instruction):
            for position, candidate in enumerate(node.operands):
                if candidate is operand and position < len(node.operand_spans):
                    span = node.operand_spans[position]
        layer = node.name if isinstance(node, Layer) else self.layer
        self.report.error(span, message, hint, _text(node) if span == NOWHERE else None, layer)

    def problem(self, message: str, hint: str | None = None) -> None:
        """Report an error about the whole program."""
        self.report.error(NOWHERE, message, hint)

    def constant(self, name: str) -> ConstantFacts | None:
        """What is known of a constant; None if there is none of that name (or it cannot be seen)."""
        if name not in self._constants:
            self._constants[name] = self._look(name)
        return self._constants[name]

    def _look(self, name: str) -> ConstantFacts | None:
        array: Array
        if name in self.program.constants:
            constant = self.program.constants[name]
            try:
                array = constant.array()
            except (ValueError, OverflowError, TypeError):
                return None  # its declaration is wrong, and reported
        elif name in self.program.data:
            array = self.program.data[name]
        else:
            return None
        low = high = None
        if array.dtype.kind in "iu" and array.size:
            low, high = int(array.min()), int(array.max())
        return ConstantFacts(array.shape, array.dtype, low, high)

    def missing_constant(self, node: Declared, name: str, operand: Operand | None = None) -> None:
        """Report, once, that `name` names no constant, unless it may stand in an unseen data file."""
        if self.believes or name in self.program.constants or name in self._missing:
            return
        self._missing.add(name)
        known = [*self.program.constants, *self.program.data]
        hint = did_you_mean(name, known)
        where = "" if self.program.data_file or self.program.data else "; the program has no data file"
        self.error(node, f"no constant is named {name!r}{where}", hint, operand)


def _text(node: Declared) -> str | None:
    """The text of a node that no file holds."""
    if isinstance(node, Instruction):
        return instruction_text(node)
    if isinstance(node, Loop):
        return loop_text(node)
    if isinstance(node, (Buffer, Crossbar, Constant, Layer, Target)):
        try:
            return declaration_text(node)
        except ValueError:  # it holds a NaN
            return repr(node)[:200]
    return None


def fits(low: int, high: int, type_: IntType) -> bool:
    """Does every value of [low, high] have a code in `type_`?"""
    return type_.low <= low and high <= type_.high
