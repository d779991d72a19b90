"""A loop nest as formulas: what each store writes, as an expression over the loop variables.

Registers and products live inside one iteration (the verifier sees to it), so symbolic execution
of a block's body, once, says what every iteration does.  The fast engine then evaluates each
expression for all iterations at a time.  A nest whose iterations may depend on one another
through a buffer has no such formulas: `nest_formulas` gives the reason instead.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isa.instructions import INSTRUCTIONS
from isa.program import (
    Address,
    ConstRef,
    Instruction,
    Loop,
    Matrix,
    Node,
    Operand,
    Program,
    Register,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """The vector at `source` times one block of one sub-crossbar."""

    source: Address
    matrix: Matrix  # band: the column band
    row_band: int


@dataclass(frozen=True, slots=True)
class Product:
    """What fire number `fire` of a nest left on one column band of one sub-crossbar."""

    fire: int
    matrix: Matrix  # band: the column band


@dataclass(frozen=True, slots=True)
class Linear:
    """A sum in normal form: products, other expressions, constants.

    The products stand there twice: as the `pieces` they are made of, where a sum is all that
    counts, and as the `products` of fires, which pass through converters one by one.
    """

    pieces: tuple[Piece, ...]
    products: tuple[Product, ...]
    others: tuple[Expression, ...]
    constants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Load:
    source: Address


@dataclass(frozen=True, slots=True)
class Apply:
    """A value instruction of one argument and one constant: mul, div, quant, lookup."""

    mnemonic: str
    argument: Expression
    constant: str
    attributes: tuple[tuple[str, int | float], ...]


@dataclass(frozen=True, slots=True)
class Combine:
    """A value instruction of arguments, in order, and constants whose place does not matter: max, min,
    mul; of arguments alone: div."""

    mnemonic: str
    arguments: tuple[Expression, ...]
    constants: tuple[str, ...]
    attributes: tuple[tuple[str, int | float], ...]


Expression = Linear | Load | Apply | Combine


@dataclass(frozen=True, slots=True)
class Store:
    """`target` receives (`accumulate`: adds) `value` in every iteration of `loops`."""

    target: Address
    value: Expression
    accumulate: bool


@dataclass(frozen=True, slots=True)
class Fire:
    """A `fire` in every iteration of `loops`.

    `driven` names, for each sub-crossbar driven for it, the row bands and what drives them.
    Before it, its layer executes `number` fires, and of each loop's variable as many times its
    entry of `steps`.
    """

    group: str
    loops: tuple[Loop, ...]
    driven: Mapping[tuple[int, ...], tuple[tuple[int, Address], ...]]
    number: int
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """The stores directly in one block, in program order, and the loops around it."""

    loops: tuple[Loop, ...]
    stores: tuple[Store, ...]


@dataclass(frozen=True, slots=True)
class Formulas:
    """A nest: its blocks that hold stores, and its fires, each known by its position."""

    blocks: list[Block]
    fires: list[Fire]


def fires_of(node: Node) -> int:
    """How many fires one execution of a node executes."""
    if isinstance(node, Loop):
        return node.count * sum(map(fires_of, node.body))
    return int(node.mnemonic == "fire")


def nest_formulas(node: Loop, number: int = 0) -> Formulas | str:
    """What a nest does before which its layer executes `number` fires; or why its iterations are
    not independent."""
    reason = _dependence(node)
    if reason:
        return reason
    formulas = Formulas([], [])
    _loop(node, (), {}, {}, formulas, Count(number, ()))
    return formulas


@dataclass(frozen=True, slots=True)
class Count:
    """How many fires a layer executes before some place in a nest, see `Fire`."""

    number: int
    steps: tuple[int, ...]


def _dependence(nest: Loop) -> str | None:
    """Why the order of iterations may matter: a buffer that is used in two ways."""
    read: set[str] = set()
    added: set[str] = set()
    stored: dict[str, set[int]] = {}
    parts: dict[str, set[tuple[int, float]]] = {}

    def visit(loop: Loop) -> None:
        for node in loop.body:
            if isinstance(node, Loop):
                visit(node)
                continue
            for operand in node.operands:
                if isinstance(operand, Address):
                    if node.mnemonic == "store":
                        stored.setdefault(operand.buffer, set()).add(id(loop))
                        parts.setdefault(operand.buffer, set()).add(operand.part or (0, math.inf))
                    elif node.mnemonic == "accum":
                        added.add(operand.buffer)
                    else:
                        read.add(operand.buffer)

    visit(nest)
    for name, blocks in stored.items():
        if name in read:
            return f"it both reads and writes %{name}"
        if name in added:
            return f"it both stores to and adds to %{name}"
        if len(blocks) > 1:
            return f"it stores to %{name} from two loops"
        ordered = sorted(parts[name])
        if any(one[1] > other[0] for one, other in itertools.pairwise(ordered)):
            return f"it stores to overlapping parts of %{name}"
    both = sorted(read & added)
    return f"it both reads and adds to %{both[0]}" if both else None


Registers = dict[int, Expression]
Fired = dict[str, tuple[int, Fire]]
"""Group -> its last fire and that fire's position among those of the nest."""


def _loop(
    loop: Loop,
    around: tuple[Loop, ...],
    registers: Registers,
    fired: Fired,
    formulas: Formulas,
    before: Count,
) -> None:
    loops = (*around, loop)
    registers, fired = dict(registers), dict(fired)
    driven: dict[str, dict[tuple[int, ...], list[tuple[int, Address]]]] = {}
    stores: list[Store] = []
    steps = (*before.steps, sum(map(fires_of, loop.body)))
    number = before.number - loop.first * steps[-1]
    for node in loop.body:
        if isinstance(node, Loop):
            _loop(node, loops, registers, fired, formulas, Count(number, steps))
            number += fires_of(node)
        elif node.mnemonic == "fire":
            group = node.operands[0]
            assert isinstance(group, Matrix)
            seats = {index: tuple(bands) for index, bands in driven.pop(group.name, {}).items()}
            fired[group.name] = (len(formulas.fires), Fire(group.name, loops, seats, number, steps))
            number += 1
            formulas.fires.append(fired[group.name][1])
        else:
            _execute(node, registers, fired, driven, stores)
    if stores:
        formulas.blocks.append(Block(loops, tuple(stores)))


def _execute(
    node: Instruction,
    registers: Registers,
    fired: Fired,
    driven: dict[str, dict[tuple[int, ...], list[tuple[int, Address]]]],
    stores: list[Store],
) -> None:
    match node.mnemonic, node.operands:
        case "drive", (Matrix() as matrix, Address() as source):
            seats = driven.setdefault(matrix.name, {}).setdefault(matrix.index, [])
            seats.append((matrix.band, source))
        case "sum", (Register() as result, *terms):
            registers[result.number] = _sum(terms, registers, fired)
        case "load", (Register() as result, Address() as source):
            registers[result.number] = Load(source)
        case "store" | "accum", (Address() as target, Register() as value):
            stores.append(Store(target, registers[value.number], node.mnemonic == "accum"))
        case "max" | "min" | "mul" | "div", (Register() as result, *terms) if node.mnemonic in (
            "max",
            "min",
        ) or not isinstance(terms[-1], ConstRef):
            registers[result.number] = Combine(
                node.mnemonic,
                tuple(registers[term.number] for term in terms if isinstance(term, Register)),
                tuple(term.name for term in terms if isinstance(term, ConstRef)),
                node.attributes,
            )
        case mnemonic, (Register() as result, Register() as value, ConstRef() as constant):
            registers[result.number] = Apply(
                mnemonic, registers[value.number], constant.name, node.attributes
            )
        case _:
            raise AssertionError(f"{node.mnemonic} in a loop: the verifier lets none through")


def _sum(terms: list[Operand], registers: Registers, fired: Fired) -> Linear:
    pieces: list[Piece] = []
    products: list[Product] = []
    others: list[Expression] = []
    constants: list[str] = []
    for term in terms:
        if isinstance(term, ConstRef):
            constants.append(term.name)
        elif isinstance(term, Matrix):
            number, fire = fired[term.name]
            pieces += [Piece(source, term, row_band) for row_band, source in fire.driven[term.index]]
            products.append(Product(number, term))
        else:
            assert isinstance(term, Register)
            value = registers[term.number]
            if isinstance(value, Linear):
                pieces += value.pieces
                products += value.products
                others += value.others
                constants += value.constants
            else:
                others.append(value)
    return Linear(tuple(pieces), tuple(products), tuple(others), tuple(constants))


def attributes_of(value: Apply | Combine) -> dict[str, Any]:
    """Those that are written, and the defaults of the others."""
    return {a.name: a.default for a in INSTRUCTIONS[value.mnemonic].attributes} | dict(value.attributes)


def divided(program: Program, block: Block) -> dict[str, int]:
    """Per loop variable, the period after which the remainders of divided addresses repeat."""
    periods: dict[str, int] = {}
    for store in block.stores:
        for address in addresses(store.value):
            for index in address.indices:
                if index.divisor > 1:
                    for name, coefficient in index.terms:
                        period = index.divisor // math.gcd(coefficient, index.divisor)
                        periods[name] = math.lcm(periods.get(name, 1), period)
    return periods


def addresses(value: Expression) -> list[Address]:
    """Every address the expression reads, products' included."""
    if isinstance(value, Load):
        return [value.source]
    if isinstance(value, Apply):
        return addresses(value.argument)
    if isinstance(value, Combine):
        return [address for argument in value.arguments for address in addresses(argument)]
    found = [piece.source for piece in value.pieces]
    for other in value.others:
        found += addresses(other)
    return found


def loads_in(value: Expression) -> list[Address]:
    """Every address the expression loads from."""
    if isinstance(value, Load):
        return [value.source]
    if isinstance(value, Apply):
        return loads_in(value.argument)
    arguments = value.arguments if isinstance(value, Combine) else value.others
    return [address for argument in arguments for address in loads_in(argument)]


def sums_in(value: Expression) -> list[Linear]:
    """Every sum in an expression, inner ones included."""
    if isinstance(value, Load):
        return []
    if isinstance(value, Apply):
        return sums_in(value.argument)
    if isinstance(value, Combine):
        return [found for argument in value.arguments for found in sums_in(argument)]
    return [value, *(found for other in value.others for found in sums_in(other))]


def shape_of(value: Expression) -> object:
    """What two expressions must share to be evaluated side by side, their weights apart."""
    if isinstance(value, Load):
        return value
    if isinstance(value, Apply):
        return (value.mnemonic, shape_of(value.argument), value.constant, value.attributes)
    if isinstance(value, Combine):
        arguments = tuple(map(shape_of, value.arguments))
        return (value.mnemonic, arguments, value.constants, value.attributes)
    pieces = sorted(Counter(_seat(p) for p in value.pieces).items(), key=repr)
    return (tuple(pieces), tuple(map(shape_of, value.others)), value.constants)


def _seat(piece: Piece) -> tuple[str, Address]:
    return (piece.matrix.name, piece.source)
