"""What is known at one point of the program: registers, products, pending drives, accumulators."""

from __future__ import annotations

from dataclasses import dataclass, field

from isa.analysis import Interval, operand_kinds
from isa.instructions import INSTRUCTIONS, Kind
from isa.program import Instruction, Loop, Matrix, Node, Register
from isa.verifier.products import Band


@dataclass(frozen=True, slots=True)
class Value:
    """A vector of integers: its length, and bounds of its values.  None: unknown, after an error."""

    length: int | None = None
    interval: Interval | None = None


UNKNOWN = Value()


@dataclass(slots=True)
class Drive:
    """A latched row band, waiting for its `fire`."""

    instruction: Instruction
    interval: Interval | None


@dataclass(slots=True)
class Products:
    """What the last `fire` of a group made.  `bounds` is filled in when it is first read.

    drives    None: unknown, after an error
    """

    drives: dict[Band, Interval | None] | None
    bounds: dict[Band, Interval] | None = None


@dataclass(slots=True)
class Tally:
    """Bounds of an accumulator buffer since it was cleared.

    Any value is one that was stored (or the zero of the `clear`) plus some of what was added.
    """

    stored: Interval = (0, 0)
    added: Interval = (0, 0)

    @property
    def interval(self) -> Interval:
        return self.stored[0] + self.added[0], self.stored[1] + self.added[1]


@dataclass(slots=True)
class Scope:
    """One block: the body of a layer or of a loop.

    `lost` holds registers and groups that a loop took away, with the loop that did.  `doubtful`:
    an instruction here, or in a block around, could not be understood, so nobody knows what it
    drove, fired or wrote; what is missing behind it is not reported.
    """

    registers: dict[int, Value] = field(default_factory=dict)
    products: dict[str, Products] = field(default_factory=dict)
    pending: dict[str, dict[Band, Drive]] = field(default_factory=dict)
    lost: dict[int | str, Loop] = field(default_factory=dict)
    doubtful: bool = False

    def enter(self, loop: Loop, writes: frozenset[int | str]) -> Scope:
        """The scope of the body of `loop`, which writes the registers and fires the groups `writes`.

        What the body writes is gone from this scope as well: an iteration may not read what the
        last one wrote, nor may the code behind the loop.
        """
        for key in writes:
            if isinstance(key, int):
                self.registers.pop(key, None)
            else:
                self.products.pop(key, None)
            self.lost[key] = loop
        return Scope(dict(self.registers), dict(self.products), {}, dict(self.lost), self.doubtful)


class Writes:
    """The registers that a loop writes and the groups that it fires, at any depth."""

    def __init__(self) -> None:
        self._known: dict[int, frozenset[int | str]] = {}

    def of(self, loop: Loop) -> frozenset[int | str]:
        """Register numbers and names of groups."""
        if id(loop) not in self._known:
            found: set[int | str] = set()
            for node in loop.body:
                found |= self.of(node) if isinstance(node, Loop) else _written(node)
            self._known[id(loop)] = frozenset(found)
        return self._known[id(loop)]


def _written(instruction: Instruction) -> set[int | str]:
    spec = INSTRUCTIONS.get(instruction.mnemonic)
    found: set[int | str] = set()
    if spec is None:
        return found
    kinds = operand_kinds(spec, len(instruction.operands))
    for kind, operand in zip(kinds, instruction.operands, strict=True):
        if kind is Kind.RESULT and isinstance(operand, Register):
            found.add(operand.number)
        elif kind is Kind.GROUP and isinstance(operand, Matrix):
            found.add(operand.name)
    return found


def depth(nodes: tuple[Node, ...], limit: int) -> int:
    """How deep the loops go, or `limit` if that is less: safe for any program."""
    level, current = 0, [n for n in nodes if isinstance(n, Loop)]
    while current and level < limit:
        level += 1
        current = [n for loop in current for n in loop.body if isinstance(n, Loop)]
    return level
