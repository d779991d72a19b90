"""`--mapping auto`: the cheapest mapping of each layer, judged by the machine's own counters.

Each candidate becomes a program of that one layer, and `runtime` counts it without running it:
the compiler has no cost rules of its own that could drift from the machine's (decision 0012).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from isa.costs import COMPONENTS, Costs
from isa.geometry import arrays_of
from isa.program import Program
from redc.errors import UserError
from redc.ir.graph import CrossbarOp, Graph
from redc.mapping.mappings import DECONVOLUTION_MAPPINGS, origins
from redc.mapping.schedule import Choice, Problem, Schedule
from redc.passes.context import Context, Merge, Minimise
from redc.passes.mapped import problem_of, table_of, with_tables

if TYPE_CHECKING:
    from runtime.cost import Cost

Price = tuple[int, ...]
"""What is minimised, then what breaks ties."""


def candidates(problem: Problem) -> Iterator[tuple[str, Choice]]:
    """Every mapping of a deconvolution that can be different: packed from each origin worth a try,
    pixel-wise under both merges and folded to every number of arrays."""
    for mapping in DECONVOLUTION_MAPPINGS:
        if mapping == "packed":
            yield from ((mapping, Choice(origin=origin)) for origin in origins(problem))
        elif mapping == "pixel-wise":
            for merge in get_args(Merge):
                yield from ((mapping, Choice(fold, merge)) for fold in folds(problem, merge))
        else:
            yield mapping, Choice()


def folds(problem: Problem, merge: Merge) -> Iterator[int]:
    """The smallest fold for each number of arrays that folding can give, most arrays first."""
    shared = len({pixel.phase for pixel in problem.pixels}) if merge == "analog" else len(problem.pixels)
    arrays = shared + 1
    for fold in range(1, shared + 1):
        if -(-shared // fold) < arrays:
            arrays = -(-shared // fold)
            yield fold


@dataclass(frozen=True, slots=True)
class Candidate:
    """A table of one layer and what it costs alone: its price, and, where the target says,
    attojoules without leakage, attowatts that leak, clock cycles."""

    table: Schedule
    price: Price
    dynamic: int
    power: int
    cycles: int


def choose(graph: Graph, context: Context) -> dict[int, Schedule]:
    """For each deconvolution, by its position in `graph.ops`, the table of least price; of equals
    the first.  Raises UserError where none fits the target.

    Cycles and area add up over layers, so each layer's best is the network's.  Energy does not:
    what one layer needs leaks while the others run.  So layers are then changed one by one as
    long as that lowers what is minimised for the whole network.
    """
    found = {
        position: list(weighed(graph, op, context))
        for position, op in enumerate(graph.ops)
        if isinstance(op, CrossbarOp) and op.op == "ConvTranspose"
    }
    chosen = {position: min(those, key=lambda c: c.price) for position, those in found.items()}
    if chosen and len(graph.ops) > 1 and context.options.minimise in ("energy", "edp"):
        chosen = _together(graph, found, chosen, context)
    return {position: candidate.table for position, candidate in chosen.items()}


def weighed(graph: Graph, op: CrossbarOp, context: Context) -> Iterator[Candidate]:
    """Every candidate that fits the target.  Raises UserError if none does."""
    price, fits = _PRICES[context.options.minimise], False
    problem: UserError | None = None
    for each in candidates(problem_of(graph, op)):
        table = table_of(graph, op, *each)
        try:
            program = _alone(graph, op, table, context)
        except UserError as error:  # more arrays than there are: another mapping may need fewer
            problem = error
            continue
        fits = True
        cost = _cost(program, context.costs)
        dynamic, power = _sum(cost.dynamic.values()), _leaking(cost, context.costs)
        yield Candidate(table, price(program, cost), dynamic, power, cost.cycles)
    if not fits:
        assert problem is not None
        raise problem


def _together(
    graph: Graph, found: dict[int, list[Candidate]], chosen: dict[int, Candidate], context: Context
) -> dict[int, Candidate]:
    """`chosen`, changed layer by layer to what is cheapest with all others as they are.

    Parts that layers share (lanes of adders and vector unit) are taken as if each had its own.
    """
    assert context.costs is not None
    tables = {position: candidate.table for position, candidate in chosen.items()}
    try:
        program = _program(with_tables(graph, tables, context), context)
    except UserError:
        return chosen  # it does not fit: the pass that places it says so
    whole, frequency = _cost(program, context.costs), context.costs.frequency.amount
    if frequency is None:
        return chosen
    dynamic, power, cycles = _sum(whole.dynamic.values()), _leaking(whole, context.costs), whole.cycles

    def price(new: Candidate, old: Candidate) -> int:
        time = cycles + new.cycles - old.cycles
        leaked = (power + new.power - old.power) * time // frequency
        energy = dynamic + new.dynamic - old.dynamic + leaked
        return energy * time if context.options.minimise == "edp" else energy

    changed = True
    while changed:  # each change lowers the price, of which there are finitely many
        changed = False
        for position, those in found.items():
            old = chosen[position]
            new = min(those, key=lambda candidate: price(candidate, old))
            if price(new, old) < price(old, old):
                dynamic += new.dynamic - old.dynamic
                power += new.power - old.power
                cycles += new.cycles - old.cycles
                chosen, changed = {**chosen, position: new}, True
    return chosen


def _sum(amounts: Iterable[int | None]) -> int:
    return sum(amount for amount in amounts if amount is not None)


def _leaking(cost: Cost, costs: Costs | None) -> int:
    """Attowatts of everything that a program needs."""
    leakage = {part: costs.amount(part, "leakage") if costs else None for part in COMPONENTS}
    return sum(cost.inventory.parts[part] * (leakage[part] or 0) for part in COMPONENTS)


def _alone(graph: Graph, op: CrossbarOp, table: Schedule, context: Context) -> Program:
    """A program of this layer alone."""
    tensors = {name: graph.tensors[name] for name in (op.input, op.output)}
    layer = Graph(op.name, (op.input,), (op.output,), tensors, (replace(op, schedule=table),))
    return _program(layer, context)


def _program(graph: Graph, context: Context) -> Program:
    from redc.backend.emit import emit
    from redc.passes.allocate import allocate_buffers
    from redc.passes.place import place_on_arrays

    return emit(allocate_buffers(place_on_arrays(graph, context), context), context.target)[0]


def _cycles(program: Program, cost: Cost) -> Price:
    """Clock cycles, then arrays, then ADC conversions."""
    from runtime.count import count

    [(_, counters)] = count(program)
    arrays = sum(arrays_of(x, program.target) for x in program.crossbars.values())
    return counters.cycles, arrays, counters.conversions


def _energy(program: Program, cost: Cost) -> Price:
    """Attojoules of the layer alone on its machine, leakage included; then cycles."""
    return _published(cost.energy, "energy"), cost.cycles


def _area(program: Program, cost: Cost) -> Price:
    """Square nanometres of a machine for this layer alone; then cycles."""
    return _published(cost.total_area, "area"), cost.cycles


def _energy_delay(program: Program, cost: Cost) -> Price:
    """Attojoules x cycles."""
    return _published(cost.energy, "energy") * cost.cycles, cost.cycles


def _cost(program: Program, costs: Costs | None) -> Cost:
    from runtime.cost import cost_of
    from runtime.count import count

    return cost_of(program, count(program), costs)


def _published(amount: int | None, what: str) -> int:
    if amount is None:
        raise UserError(
            f"no {what} of this target is published",
            place="--minimise",
            hint="--minimise cycles works; or give a target with costs (redc targets NAME shows them)",
        )
    return amount


_PRICES: dict[Minimise, Callable[[Program, Cost], Price]] = {
    "cycles": _cycles,
    "energy": _energy,
    "area": _area,
    "edp": _energy_delay,
}
