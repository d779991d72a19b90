"""The mappings: each fills the table of a layer (`redc/mapping/schedule.py`) in its own way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

from redc.mapping.formula import Coordinates, KernelPixel
from redc.mapping.schedule import Choice, Line, Placement, Problem, Schedule


def pixel_wise(problem: Problem, choice: Choice) -> Schedule:
    """RED: a sub-crossbar per kernel pixel, one s x s block of outputs per round.

    Merged *digital*, every kernel pixel has bit lines of its own and those of one phase are
    added after the ADC.  Folded by F, kernel pixels are ordered by phase and dealt out so that
    A = ceil(K / F) arrays hold F of them each, in F row bands driven in turn; neighbours in the
    order share a turn, so an array's pixels belong to different phases wherever a phase has at
    most A.

    Merged *analog*, the kernel pixels of one phase are stacked in one sub-crossbar and merge on
    its bit lines.  Folded by F, F phases share one, stacked and driven in turn.
    """
    if choice.merge == "analog":
        return _merged(problem, choice)
    order = list(problem.pixels)
    fold = min(choice.fold, len(order))
    if fold > 1:
        order.sort(key=lambda pixel: pixel.phase)  # stable: taps keep their order
    arrays = -(-len(order) // fold)
    placements = [
        _block_seat(problem, pixel, position % arrays, row_band=position // arrays, turn=position // arrays)
        for position, pixel in enumerate(order)
    ]
    turns = placements[-1].turn + 1
    return Schedule(
        mapping="pixel-wise",
        index_shape=problem.kernel if fold == 1 else (arrays,),
        row_bands=turns,
        column_bands=1,
        turns=turns,
        variable="q",
        rounds=_blocks(problem),
        outputs=_phases(problem),
        overlap=False,
        placements=tuple(placements),
    )


def _merged(problem: Problem, choice: Choice) -> Schedule:
    """Pixel-wise, merged analog: a sub-crossbar per phase, or per F phases in turns."""
    phases = sorted({pixel.phase for pixel in problem.pixels})
    arrays = -(-len(phases) // min(choice.fold, len(phases)))
    height = [0] * arrays
    placements = []
    for number, phase in enumerate(phases):
        array = number % arrays
        for pixel in problem.pixels:
            if pixel.phase == phase:
                placements.append(
                    _block_seat(problem, pixel, array, row_band=height[array], turn=number // arrays)
                )
                height[array] += 1
    return Schedule(
        mapping="pixel-wise analog",
        index_shape=(arrays,),
        row_bands=max(height),
        column_bands=1,
        turns=-(-len(phases) // arrays),
        variable="q",
        rounds=_blocks(problem),
        outputs=_phases(problem),
        overlap=False,
        placements=tuple(placements),
    )


def packed(problem: Problem, choice: Choice) -> Schedule:
    """Ours: one matrix, a row band per tap and a column band per phase, one block per round.

    Kernel pixels of equal tap read the same input pixel and share word lines; kernel pixels of
    equal phase feed the same output pixel and merge on its bit lines.  A tap and a phase
    without a kernel pixel in common leave a blank: zero cells.

    Blocks that start at `-origin` shift every reach by it: fewer distinct taps, for at most one
    more block per axis.
    """
    origin = choice.origin or (0,) * len(problem.stride)
    pixels = [pixel.seen_from(origin, problem.stride) for pixel in problem.pixels]
    taps = {tap: band for band, tap in enumerate(sorted({pixel.tap for pixel in pixels}))}
    phases = {phase: band for band, phase in enumerate(sorted({pixel.phase for pixel in pixels}))}
    return Schedule(
        mapping="packed",
        index_shape=(),
        row_bands=len(taps),
        column_bands=len(phases),
        turns=1,
        variable="q",
        rounds=_blocks(problem, origin),
        outputs=_phases(problem, origin),
        overlap=False,
        placements=tuple(
            Placement(
                pixel,
                array=0,
                row_band=taps[moved.tap],
                column_band=phases[moved.phase],
                turn=0,
                reads=tuple(Line(1, -t) for t in moved.tap),
                writes=tuple(
                    Line(s, a - g) for s, a, g in zip(problem.stride, moved.phase, origin, strict=True)
                ),
            )
            for pixel, moved in zip(problem.pixels, pixels, strict=True)
        ),
    )


def zero_padding(problem: Problem, choice: Choice) -> Schedule:
    """PRIME, ISAAC, ReGAN: a convolution over the zero-inserted input, one output pixel a round.

    All kernel pixels stack in one matrix and merge on its bit lines.
    """
    return _stacked(
        "zero-padding",
        problem,
        lambda pixel: tuple(Line(1, -e, s) for e, s in zip(pixel.reach, problem.stride, strict=True)),
    )


def padding_free(problem: Problem, choice: Choice) -> Schedule:
    """FCN-Engine: one input pixel times the whole kernel a round, then overlap-add and crop."""
    own = tuple(Line(1, 0) for _ in problem.stride)
    return Schedule(
        mapping="padding-free",
        index_shape=(),
        row_bands=1,
        column_bands=len(problem.pixels),
        turns=1,
        variable="i",
        rounds=problem.input_size,
        outputs=(),
        overlap=True,
        placements=tuple(
            Placement(
                pixel,
                array=0,
                row_band=0,
                column_band=band,
                turn=0,
                reads=own,
                writes=tuple(map(Line, problem.stride, pixel.reach)),
            )
            for band, pixel in enumerate(problem.pixels)
        ),
    )


def im2col(problem: Problem) -> Schedule:
    """A convolution (or, with one kernel pixel, a matrix product): one output pixel a round."""
    return _stacked("im2col", problem, lambda pixel: tuple(map(Line, problem.stride, pixel.reach)))


def _stacked(mapping: str, problem: Problem, reads: Callable[[KernelPixel], tuple[Line, ...]]) -> Schedule:
    """One matrix with a row band per kernel pixel: each round drives all and makes one output pixel."""
    own = tuple(Line(1, 0) for _ in problem.stride)
    return Schedule(
        mapping=mapping,
        index_shape=(),
        row_bands=len(problem.pixels),
        column_bands=1,
        turns=1,
        variable="o",
        rounds=problem.output_size,
        outputs=(own,),
        overlap=False,
        placements=tuple(
            Placement(pixel, array=0, row_band=band, column_band=0, turn=0, reads=reads(pixel), writes=own)
            for band, pixel in enumerate(problem.pixels)
        ),
    )


DECONVOLUTION_MAPPINGS: Mapping[str, Callable[[Problem, Choice], Schedule]] = {
    "pixel-wise": pixel_wise,
    "packed": packed,
    "zero-padding": zero_padding,
    "padding-free": padding_free,
}
"""Name -> mapping of a ConvTranspose."""


def pad_origin(problem: Problem) -> Coordinates:
    """Blocks that start where the uncropped output does, at -pad_begin."""
    return tuple(-e % s for e, s in zip(problem.pixels[0].reach, problem.stride, strict=True))


def origins(problem: Problem) -> Iterator[Coordinates]:
    """The origins worth a try: per axis 0, with the fewest blocks, and the one with the fewest taps."""

    def taps(axis: int, origin: int) -> int:
        return len({(p.reach[axis] + origin) // problem.stride[axis] for p in problem.pixels})

    axes = []
    for axis, stride in enumerate(problem.stride):
        best = min(range(stride), key=lambda origin, axis=axis: taps(axis, origin))  # type: ignore[misc]
        axes.append(sorted({0, best}))
    yield from itertools.product(*axes)


def _block_seat(problem: Problem, pixel: KernelPixel, array: int, *, row_band: int, turn: int) -> Placement:
    """A kernel pixel on column band 0, reading and writing as the formula says in block q."""
    return Placement(
        pixel,
        array,
        row_band,
        column_band=0,
        turn=turn,
        reads=tuple(Line(1, -t) for t in pixel.tap),
        writes=tuple(map(Line, problem.stride, pixel.phase)),
    )


def _blocks(problem: Problem, origin: Coordinates = ()) -> Coordinates:
    origin = origin or (0,) * len(problem.stride)
    return tuple(
        -(-(o + g) // s) for o, s, g in zip(problem.output_size, problem.stride, origin, strict=True)
    )


def _phases(problem: Problem, origin: Coordinates = ()) -> tuple[tuple[Line, ...], ...]:
    """Every output pixel of one block that lies in the output in some block, those that no
    kernel pixel reaches included."""
    origin = origin or (0,) * len(problem.stride)
    axes = [
        [Line(stride, phase - start) for phase in range(stride) if (phase - start) % stride < size]
        for stride, size, start in zip(problem.stride, problem.output_size, origin, strict=True)
    ]
    return tuple(itertools.product(*axes))
