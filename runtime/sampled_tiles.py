"""What `runtime/sampled.py` works on: the columns of a fire's arrays, laid out tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isa.cells import code_offset
from isa.program import Array
from runtime.analog import AnalogGroup
from runtime.converted import Columns
from runtime.crossbar import exact_type
from runtime.noise import Words

TALL = 4
"""Columns that a kernel multiplies at a time."""

NARROW = (1 << 15) - 1
"""What 16 bits hold, of either sign."""

Shared = tuple[Array, Array, Array, Array]
"""References, seats, factors, edges: what a reference's level step is worth in a product, by
ascending seat; one seat's go from edge to edge."""

Member = tuple[Columns, Array]
"""Columns of an array, and the columns of the products that they add to."""


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Columns that are converted with one lsb.

    cells    [columns, lines]: what a line adds to the sum, in 1/4096 level steps; int16 where they fit,
             else of `kind`; zeros follow, rows up to a multiple of TALL, of int16 an even number of lines
    kind     the type in which products with the lines are exact
    most     no sum exceeds it in magnitude
    places   uint64 [columns]: the hash of where a column is
    factors  int64 [columns]: what a level step is worth in the result
    rows     int64 [columns]: the result it adds to
    """

    cells: Array
    kind: np.dtype[Any]
    most: int
    places: Words
    factors: Array
    rows: Array
    lsb: int


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """What is converted on one tile of lines.

    strip       columns that hold weights; their results are products, by seat
    references  the reference columns, one for each array; None in differential encoding
    shared      of `references`
    weights     [seats, lines]: the ideal products, which the results are to differ from; rows as `cells`
    seats       of `weights`
    """

    number: int
    strip: Strip
    references: Strip | None
    shared: Shared
    weights: Array
    seats: Array


def tile_of(number: int, group: AnalogGroup, members: Sequence[Member]) -> Tile:
    """Lay out one tile."""
    target, lines = group.target, members[0][0].sums.shape[2]
    top, offset = (1 << target.cell) - 1, code_offset(group.crossbar.weight_type)
    worth = 1 << target.cell * np.arange(group.slices, dtype=np.int64)[:, None]
    places, factors, rows = [], [], []
    shared, weights = [], []
    for columns, where in members:
        shape = len(columns.sums), group.slices
        places += [group.places(columns.number, q, k, columns.chosen) for q, k in np.ndindex(shape)]
        positive = np.where(columns.flipped, -worth, worth)
        factors.append(np.stack([positive, -positive][: shape[0]]).ravel())
        rows.append(np.tile(where, shape[0] * shape[1]))
        shared.append(top * (columns.flipped * worth).sum(axis=0) - offset)
        weights.append(_weights(columns, top, offset, worth))
    digit = max(max(plane.high, -plane.low) for plane in group.steps)
    strip = _strip(
        [c.sums.swapaxes(2, 3).reshape(-1, lines) for c, _ in members],
        digit,
        np.concatenate(places),
        np.concatenate(factors),
        np.concatenate(rows),
        target.lsb,
    )
    seats = np.concatenate([where for _, where in members])
    ideal, named = _by_seat(np.concatenate(weights), seats)
    kind = group.crossbar.input_type
    most = int(np.abs(ideal).sum(axis=1).max(initial=0)) * max(kind.high, -kind.low)
    numbers = np.repeat(np.arange(len(members)), [len(where) for _, where in members])
    references, order = None, np.argsort(seats, kind="stable")
    edges, factors_of = np.flatnonzero(np.diff(seats[order], prepend=-1)), np.zeros(len(seats), np.int64)
    if target.encoding != "differential":
        references = _references(group, [columns for columns, _ in members], digit)
        factors_of = np.concatenate(shared)
    return Tile(
        number,
        strip,
        references,
        (numbers[order], seats[order], factors_of[order], edges),
        _padded([ideal], exact_type(most)),
        named,
    )


def _weights(columns: Columns, top: int, offset: int, worth: Array) -> Array:
    """The weights that the cells of some columns stand for: int64 [columns, lines]."""
    levels = columns.array.levels[..., columns.chosen].astype(np.int64)
    if len(levels) == 1:
        levels[0] = np.where(columns.flipped[:, None], top - levels[0], levels[0])
    codes = (levels * worth[:, :, None]).sum(axis=1)
    found: Array = codes[0] - (codes[1] if len(codes) == 2 else offset)
    return found.T


def _by_seat(weights: Array, seats: Array) -> tuple[Array, Array]:
    """Columns of one seat as one: [seats, lines], and the seats."""
    unique, inverse = np.unique(seats, return_inverse=True)
    found = np.zeros((len(unique), weights.shape[1]), np.int64)
    np.add.at(found, inverse, weights)
    return found, unique


def _references(group: AnalogGroup, columns: Sequence[Columns], digit: int) -> Strip:
    count = len(columns)
    return _strip(
        [np.stack([one.reference for one in columns])],
        digit,
        np.concatenate([group.places(one.number, 0, group.slices, range(1)) for one in columns]),
        np.ones(count, np.int64),
        np.arange(count),
        1,
    )


def _strip(cells: Sequence[Array], digit: int, places: Words, factors: Array, rows: Array, lsb: int) -> Strip:
    """`cells` are [columns, lines] one below the other, `digit` the largest of a plane in magnitude."""
    most = digit * max(int(np.abs(part).sum(axis=1, dtype=np.float64).max(initial=0)) for part in cells)
    kind = np.dtype(exact_type(most))
    ends = [end for part in cells for end in (part.min(initial=0), part.max(initial=0), digit)]
    narrow = max(-min(ends), *ends) <= NARROW and most < 1 << 31
    return Strip(_padded(cells, np.int16 if narrow else kind), kind, most, places, factors, rows, lsb)


def _padded(cells: Sequence[Array], kind: npt.DTypeLike) -> Array:
    """Rows of zeros up to a multiple of TALL; of int16, an even number of lines."""
    count, lines = sum(map(len, cells)), cells[0].shape[1]
    even = lines % 2 if kind == np.int16 else 0
    found = np.zeros((-(-count // TALL) * TALL, lines + even), kind)
    np.concatenate(cells, out=found[:count, :lines], casting="unsafe")
    return found
