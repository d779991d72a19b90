"""What an instruction works on: registers, matrices, addresses, buffers, constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Affine:
    """`(sum of coefficient * loop variable + constant) / divisor`.

    Where the division leaves a remainder the address names an *inserted zero*: a position
    between two pixels of a stride-`divisor` grid.  `terms` is sorted by variable name and
    holds no zero coefficient.
    """

    terms: tuple[tuple[str, int], ...] = ()
    constant: int = 0
    divisor: int = 1

    @staticmethod
    def of(coefficients: Mapping[str, int], constant: int = 0, divisor: int = 1) -> Affine:
        terms = tuple(sorted((name, c) for name, c in coefficients.items() if c))
        return Affine(terms, constant, divisor)


@dataclass(frozen=True, slots=True)
class Register:
    """A vector register `v7`: a vector of int64 values, its length set by whoever writes it."""

    number: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """One sub-crossbar `@name[i, j]` and one of its bands, `.band`.

    The band is a row band where the operand is driven, a column band where it is summed.
    A `fire` names the whole group: no index, band 0.
    """

    name: str
    index: tuple[int, ...] = ()
    band: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """The vector at `%buffer[e0, e1, ...]`: one expression per axis but the last.

    With `?` (`outside` True) the address may leave the buffer, and then reads as zero and
    writes nowhere.  `part` (first, last) names the values first <= c < last of the vector
    alone, `%buffer[e0, 16:48]`; None is all of them.
    """

    buffer: str
    indices: tuple[Affine, ...]
    outside: bool = False
    part: tuple[int, int] | None = None

    def length(self, vector: int) -> int:
        """Values that the address names, in a buffer whose vectors have `vector`."""
        return vector if self.part is None else self.part[1] - self.part[0]

    def columns(self, vector: int) -> slice:
        """Where in the vector they lie."""
        return slice(0, vector) if self.part is None else slice(*self.part)


@dataclass(frozen=True, slots=True)
class BufferRef:
    """A whole buffer, `%name`."""

    name: str


@dataclass(frozen=True, slots=True)
class ConstRef:
    """A constant, `"name"`: inline (`.const`) or in the data file."""

    name: str


Operand = Register | Matrix | Address | BufferRef | ConstRef
