"""`--mapping auto`: the cheapest mapping of one layer, judged by the machine's own counters.

Each candidate becomes a program of that one layer, and `runtime` counts it without running it:
the compiler has no cost rules of its own that could drift from the machine's (decision 0012).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, get_args

from isa.costs import Costs
from isa.geometry import arrays_of
from isa.program import Program
from redc.errors import UserError
from redc.ir.graph import CrossbarOp, Graph
from redc.mapping.mappings import DECONVOLUTION_MAPPINGS, origins
from redc.mapping.schedule import Choice, Problem, Schedule
from redc.passes.context import Context, Merge, Minimise

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


def cheapest(graph: Graph, op: CrossbarOp, tables: Iterator[Schedule], context: Context) -> Schedule:
    """The table of least price; of equals the first.  Raises UserError if none fits the target."""
    price = _PRICES[context.options.minimise]
    best: tuple[Price, Schedule] | None = None
    problem: UserError | None = None
    for table in tables:
        try:
            program = _alone(graph, op, table, context)
        except UserError as error:  # more arrays than there are: another mapping may need fewer
            problem = error
            continue
        found = price(program, context.costs)
        if best is None or found < best[0]:
            best = found, table
    if best is None:
        assert problem is not None
        raise problem
    return best[1]


def _alone(graph: Graph, op: CrossbarOp, table: Schedule, context: Context) -> Program:
    """A program of this layer alone."""
    from dataclasses import replace

    from redc.backend.emit import emit
    from redc.passes.allocate import allocate_buffers
    from redc.passes.place import place_on_arrays

    tensors = {name: graph.tensors[name] for name in (op.input, op.output)}
    layer = Graph(op.name, (op.input,), (op.output,), tensors, (replace(op, schedule=table),))
    return emit(allocate_buffers(place_on_arrays(layer, context), context), context.target)[0]


def _cycles(program: Program, costs: Costs | None) -> Price:
    """Clock cycles, then arrays, then ADC conversions."""
    from runtime.count import count

    [(_, counters)] = count(program)
    arrays = sum(arrays_of(x, program.target) for x in program.crossbars.values())
    return counters.cycles, arrays, counters.conversions


def _energy(program: Program, costs: Costs | None) -> Price:
    """Attojoules of the layer alone on its machine, leakage included; then cycles."""
    cost = _cost(program, costs)
    return _published(cost.energy, "energy"), cost.cycles


def _area(program: Program, costs: Costs | None) -> Price:
    """Square nanometres of a machine for this layer alone; then cycles."""
    cost = _cost(program, costs)
    return _published(cost.total_area, "area"), cost.cycles


def _energy_delay(program: Program, costs: Costs | None) -> Price:
    """Attojoules x cycles."""
    cost = _cost(program, costs)
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


_PRICES: dict[Minimise, Callable[[Program, Costs | None], Price]] = {
    "cycles": _cycles,
    "energy": _energy,
    "area": _area,
    "edp": _energy_delay,
}
