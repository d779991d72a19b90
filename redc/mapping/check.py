"""A mapping is checked, not trusted: every row of its table against the formula."""

from __future__ import annotations

import itertools

from redc.mapping.schedule import Line, Placement, Problem, Schedule


class MappingError(Exception):
    """A table that does not compute the layer.  Always a fault of the mapping, never of a user."""


def check(schedule: Schedule, problem: Problem, *, transposed: bool) -> None:
    """Prove that `schedule` computes the (de)convolution `problem`.

    (1) Each kernel pixel has one seat, and no two share one.  (2) For each, the formula holds
    between the pixel it reads and the pixel it writes, in every round.  (3) A row band is driven
    in one turn by one input pixel, and in each turn a column band feeds one output pixel: so
    pixels may share bands, and every product on a bit line belongs there.  (4) The rounds finish
    every output pixel once and drop no product that lies in the output (where outputs overlap:
    read every input pixel once).
    Raises MappingError.
    """
    name = schedule.mapping
    if sorted(p.pixel.index for p in schedule.placements) != sorted(k.index for k in problem.pixels):
        raise MappingError(f"{name}: the kernel pixels are not each placed once")
    rows: dict[tuple[int, int], tuple[int, tuple[Line, ...]]] = {}
    columns: dict[tuple[int, int, int], tuple[Line, ...]] = {}
    seats: set[tuple[int, int, int]] = set()
    for seat in schedule.placements:
        for axis in range(len(schedule.rounds)):
            _check_formula(schedule, problem, seat, axis, transposed)
        drive = (seat.turn, seat.reads)
        if rows.setdefault((seat.array, seat.row_band), drive) != drive:
            raise MappingError(f"{name}: one row band for two input pixels")
        column = (seat.array, seat.column_band, seat.turn)
        if columns.setdefault(column, seat.writes) != seat.writes:
            raise MappingError(f"{name}: one column band for two output pixels")
        cell = (seat.array, seat.row_band, seat.column_band)
        if cell in seats:
            raise MappingError(f"{name}: two kernel pixels in one seat")
        seats.add(cell)
    if schedule.overlap:
        _check_inputs(schedule, problem)
    else:
        _check_outputs(schedule, problem)


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


def _pixels(line: Line, rounds: int, size: int) -> list[int]:
    """What a line without divisor names inside an axis, over all rounds."""
    named = (line.coefficient * r + line.constant for r in range(rounds))
    return [pixel for pixel in named if 0 <= pixel < size]


def _check_outputs(schedule: Schedule, problem: Problem) -> None:
    """The outputs are a grid of lines that names every pixel once; what a seat writes is one of
    them, or never lies in the output."""
    axes = [
        sorted({lines[axis] for lines in schedule.outputs}, key=repr) for axis in range(len(schedule.rounds))
    ]
    if sorted(schedule.outputs, key=repr) != sorted(itertools.product(*axes), key=repr):
        raise MappingError(f"{schedule.mapping}: the outputs of a round are no grid")
    for axis, (lines, rounds, size) in enumerate(
        zip(axes, schedule.rounds, problem.output_size, strict=True)
    ):
        named = sorted(pixel for line in lines for pixel in _pixels(line, rounds, size))
        if len(named) != len(set(named)):
            raise MappingError(f"{schedule.mapping}: an output pixel of axis {axis} is finished twice")
        if named != list(range(size)):
            raise MappingError(f"{schedule.mapping}: an output pixel of axis {axis} is never written")
    finished = set(schedule.outputs)
    for seat in schedule.placements:
        if seat.writes not in finished and all(
            map(_pixels, seat.writes, schedule.rounds, problem.output_size)
        ):
            raise MappingError(
                f"{schedule.mapping}: kernel pixel {seat.pixel.index} feeds no output of a round"
            )


def _check_inputs(schedule: Schedule, problem: Problem) -> None:
    """Outputs that overlap: every seat reads every input pixel, once."""
    for seat in schedule.placements:
        for axis, (rounds, size) in enumerate(zip(schedule.rounds, problem.input_size, strict=True)):
            if seat.reads[axis].divisor != 1 or sorted(_pixels(seat.reads[axis], rounds, size)) != list(
                range(size)
            ):
                raise MappingError(f"{schedule.mapping}: an input pixel of axis {axis} is never read")
