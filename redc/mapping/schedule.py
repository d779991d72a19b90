"""A mapping as data: where each kernel pixel sits, what it reads and writes, and when.

Every mapping is a function that fills one table (`Schedule`, see redc/mapping/mappings.py); one
piece of machinery turns any table into a program, and `check` holds every row of it to the
formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Choice:
    """The knobs of a deconvolution's mapping.  A mapping reads those it has.

    fold    pixel-wise: kernel pixels (merged analog: phases) that share an array in turns
    merge   pixel-wise: where kernel pixels of one phase are added, on the bit line or after
            the ADC
    origin  packed: blocks start at `-origin`, 0 <= origin < stride per axis; () is 0 everywhere
    """

    fold: int = 1
    merge: Literal["analog", "digital"] = "digital"
    origin: Coordinates = ()
