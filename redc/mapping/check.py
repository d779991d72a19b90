"""A mapping is checked, not trusted: every row of its table against the formula."""

from __future__ import annotations

from redc.mapping.schedule import Line, Placement, Problem, Schedule


class MappingError(Exception):
    """A table that does not compute the layer.  Always a fault of the mapping, never of a user."""


def check(schedule: Schedule, problem: Problem, *, transposed: bool) -> None:
    """Prove that `schedule` computes the (de)convolution `problem`.

    (1) Each kernel pixel has one seat, and pixels of different outputs never share a column
    band while both are driven.  (2) For each, the formula holds between the pixel it reads and
    the pixel it writes, in every round.  (3) The rounds reach every input (or output) pixel.
    Raises MappingError.
    """
    if sorted(p.pixel.index for p in schedule.placements) != sorted(k.index for k in problem.pixels):
        raise MappingError(f"{schedule.mapping}: the kernel pixels are not each placed once")
    rows: dict[tuple[int, int], tuple[int, tuple[Line, ...]]] = {}
    columns: dict[tuple[int, int, int], tuple[Line, ...]] = {}
    for seat in schedule.placements:
        for axis in range(len(schedule.rounds)):
            _check_formula(schedule, problem, seat, axis, transposed)
        drive = (seat.turn, seat.reads)
        if rows.setdefault((seat.array, seat.row_band), drive) != drive:
            raise MappingError(f"{schedule.mapping}: one row band for two input pixels")
        column = (seat.array, seat.column_band, seat.turn)
        if columns.setdefault(column, seat.writes) != seat.writes:
            raise MappingError(f"{schedule.mapping}: one column band for two output pixels")
    for axis, size in enumerate(problem.output_size):
        reached = {
            line[axis].coefficient * r + line[axis].constant
            for line in schedule.outputs
            for r in range(schedule.rounds[axis])
        }
        if not schedule.overlap and not reached.issuperset(range(size)):
            raise MappingError(f"{schedule.mapping}: an output pixel of axis {axis} is never written")
        if schedule.overlap and schedule.rounds[axis] != problem.input_size[axis]:
            raise MappingError(f"{schedule.mapping}: an input pixel of axis {axis} is never read")


def _check_formula(
    schedule: Schedule, problem: Problem, seat: Placement, axis: int, transposed: bool
) -> None:
    """(b*r + c)/d against f*r + g: o = s*i + e, or i = s*o + e, for every round r."""
    read, write = seat.reads[axis], seat.writes[axis]
    stride, reach = problem.stride[axis], seat.pixel.reach[axis]
    if not transposed:
        holds = (read.coefficient, read.constant, read.divisor) == (
            stride * write.coefficient,
            stride * write.constant + reach,
            1,
        )
    else:
        holds = (
            write.coefficient * read.divisor == stride * read.coefficient
            and write.constant * read.divisor == stride * read.constant + reach * read.divisor
        )
    if not holds:
        raise MappingError(
            f"{schedule.mapping}: kernel pixel {seat.pixel.index} reads {read} and writes {write}, "
            f"which is not the formula for stride {stride} and reach {reach}"
        )
