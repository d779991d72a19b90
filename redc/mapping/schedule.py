"""A mapping as data: where each kernel pixel sits, what it reads and writes, and when.

Every mapping is a function that fills one table (`Schedule`); one piece of machinery turns any
table into a program, and `check` holds every row of it to the formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from redc.mapping.formula import Coordinates, KernelPixel


@dataclass(frozen=True, slots=True)
class Line:
    """The coordinate `(coefficient * round + constant) / divisor` along one axis.

    `round` is the loop variable of that axis.  Where the division leaves a remainder there is
    no pixel, only an inserted zero.
    """

    coefficient: int
    constant: int
    divisor: int = 1


@dataclass(frozen=True, slots=True)
class Placement:
    """One kernel pixel's seat, and its two pixels.

    `array` is the sub-crossbar, `row_band` the word lines that its input pixel (`reads`)
    drives, `column_band` the bit lines that feed its output pixel (`writes`), `turn` the
    round of a folded block in which it is driven.
    """

    pixel: KernelPixel
    array: int
    row_band: int
    column_band: int
    turn: int
    reads: tuple[Line, ...]
    writes: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The table of one layer, and the loop nest whose iterations are its rounds.

    mapping      its name
    index_shape  the sub-crossbars' index ranges; `array` counts them in row-major order
    variable     prefix of the loop variables: q blocks, o output pixels, i input pixels
    rounds       loop counts; one iteration takes `turns` rounds
    outputs      the output pixels one iteration finishes, as lines (empty where `overlap`)
    overlap      True where outputs of several iterations add up (padding-free): products are
                 accumulated in a buffer and finished afterwards
    """

    mapping: str
    index_shape: Coordinates
    row_bands: int
    column_bands: int
    turns: int
    variable: str
    rounds: Coordinates
    outputs: tuple[tuple[Line, ...], ...]
    overlap: bool
    placements: tuple[Placement, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What a mapping needs to know of a deconvolution: its pixels, stride and spatial sizes."""

    pixels: tuple[KernelPixel, ...]
    kernel: Coordinates
    stride: Coordinates
    input_size: Coordinates
    output_size: Coordinates


def _block_line(stride: int, phase: int) -> Line:
    return Line(stride, phase)


def pixel_wise(problem: Problem, fold: int) -> Schedule:
    """RED: a sub-crossbar per kernel pixel, one s x s block of outputs per round.

    Folded by F, kernel pixels are ordered by phase and dealt out so that A = ceil(K / F)
    arrays hold F of them each, in F row bands driven in turn; neighbours in the order share a
    turn, so an array's pixels belong to different phases wherever a phase has at most A.
    """
    order = list(problem.pixels)
    if fold > 1:
        order.sort(key=lambda pixel: pixel.phase)  # stable: taps keep their order
    arrays = -(-len(order) // fold)
    placements = [
        Placement(
            pixel,
            array=position % arrays,
            row_band=position // arrays,
            column_band=0,
            turn=position // arrays,
            reads=tuple(Line(1, -t) for t in pixel.tap),
            writes=tuple(map(_block_line, problem.stride, pixel.phase)),
        )
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


def zero_padding(problem: Problem, fold: int) -> Schedule:
    """PRIME, ISAAC, ReGAN: a convolution over the zero-inserted input, one output pixel a round.

    All kernel pixels stack in one matrix and merge on its bit lines.
    """
    own = tuple(Line(1, 0) for _ in problem.stride)
    return Schedule(
        mapping="zero-padding",
        index_shape=(),
        row_bands=len(problem.pixels),
        column_bands=1,
        turns=1,
        variable="o",
        rounds=problem.output_size,
        outputs=(own,),
        overlap=False,
        placements=tuple(
            Placement(
                pixel,
                array=0,
                row_band=band,
                column_band=0,
                turn=0,
                reads=tuple(Line(1, -e, s) for e, s in zip(pixel.reach, problem.stride, strict=True)),
                writes=own,
            )
            for band, pixel in enumerate(problem.pixels)
        ),
    )


def padding_free(problem: Problem, fold: int) -> Schedule:
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
    own = tuple(Line(1, 0) for _ in problem.stride)
    return Schedule(
        mapping="im2col",
        index_shape=(),
        row_bands=len(problem.pixels),
        column_bands=1,
        turns=1,
        variable="o",
        rounds=problem.output_size,
        outputs=(own,),
        overlap=False,
        placements=tuple(
            Placement(
                pixel,
                array=0,
                row_band=band,
                column_band=0,
                turn=0,
                reads=tuple(map(Line, problem.stride, pixel.reach)),
                writes=own,
            )
            for band, pixel in enumerate(problem.pixels)
        ),
    )


DECONVOLUTION_MAPPINGS: Mapping[str, Callable[[Problem, int], Schedule]] = {
    "pixel-wise": pixel_wise,
    "zero-padding": zero_padding,
    "padding-free": padding_free,
}
"""Name -> mapping of a ConvTranspose.  Only `pixel-wise` can be folded."""


def _blocks(problem: Problem) -> Coordinates:
    return tuple(-(-o // s) for o, s in zip(problem.output_size, problem.stride, strict=True))


def _phases(problem: Problem) -> tuple[tuple[Line, ...], ...]:
    """Every output pixel of one block, those that no kernel pixel reaches included."""
    phases: list[tuple[Line, ...]] = [()]
    for stride, size in zip(problem.stride, problem.output_size, strict=True):
        phases = [(*head, _block_line(stride, a)) for head in phases for a in range(min(stride, size))]
    return tuple(phases)
