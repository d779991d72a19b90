"""What `runtime/sampled.py` works on: the columns of a fire's arrays, laid out tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isa.cells import code_offset
from isa.program import Array
from runtime.analog import AnalogGroup
from runtime.converted import Columns
from runtime.crossbar import exact_type
from runtime.noise import Words, added, mixed

TALL = 4
"""Columns that a kernel multiplies at a time."""

Member = tuple[Columns, Array]
"""Columns of an array, and the columns of the products that they add to."""


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Columns that are converted with one lsb.

    cells     [columns, lines]: what a line adds to the sum, in 1/4096 level steps; rows of zeros follow
              up to a multiple of TALL
    parts     int64 [segments, 3]: array, polarity and slice of neighbouring columns
    segments  int64 [columns]: in `parts`, ascending
    words     uint64 [columns]: what the column's word adds to the hash
    factors   int64 [columns]: what a level step is worth in the result
    rows      int64 [columns]: the result it adds to
    """

    cells: Array
    parts: Array
    segments: Array
    words: Words
    factors: Array
    rows: Array
    lsb: int


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """What is converted on one tile of lines.

    strip       columns that hold weights; their results are products, by seat
    references  the reference columns, one for each array; None in differential encoding
    shared      (references, seats, factors): what a reference's level step is worth in a product
    weights     [seats, lines]: the ideal products, which the results are to differ from; rows as `cells`
    seats       of `weights`
    """

    number: int
    strip: Strip
    references: Strip | None
    shared: tuple[Array, Array, Array]
    weights: Array
    seats: Array


def tile_of(number: int, group: AnalogGroup, members: Sequence[Member]) -> Tile:
    """Lay out one tile."""
    target, lines = group.target, members[0][0].sums.shape[2]
    top, offset = (1 << target.cell) - 1, code_offset(group.crossbar.weight_type)
    worth = 1 << target.cell * np.arange(group.slices, dtype=np.int64)[:, None]
    parts, words, factors, rows, counts = [], [], [], [], []
    shared, weights = [], []
    for columns, where in members:
        polarities = len(columns.sums)
        parts += [(columns.number, *part) for part in np.ndindex(polarities, group.slices)]
        counts += [len(where)] * (polarities * group.slices)
        words.append(np.tile(added(columns.chosen), polarities * group.slices))
        positive = np.where(columns.flipped, -worth, worth)
        factors.append(np.stack([positive, -positive][:polarities]).ravel())
        rows.append(np.tile(where, polarities * group.slices))
        shared.append(top * (columns.flipped * worth).sum(axis=0) - offset)
        weights.append(_weights(columns, top, offset, worth))
    strip = Strip(
        _joined([c.sums.swapaxes(2, 3).reshape(-1, lines) for c, _ in members]),
        np.array(parts, np.int64),
        np.repeat(np.arange(len(parts)), counts),
        np.concatenate(words),
        np.concatenate(factors),
        np.concatenate(rows),
        target.lsb,
    )
    seats = np.concatenate([where for _, where in members])
    ideal, places = _by_seat(np.concatenate(weights), seats)
    kind = group.crossbar.input_type
    most = int(np.abs(ideal).sum(axis=1).max(initial=0)) * max(kind.high, -kind.low)
    numbers = np.repeat(np.arange(len(members)), [len(where) for _, where in members])
    references, factors_of = None, np.zeros(0, np.int64)
    if target.encoding != "differential":
        references = _references(group, [columns for columns, _ in members])
        factors_of = np.concatenate(shared)
    return Tile(
        number,
        strip,
        references,
        (numbers, seats, factors_of),
        _joined([ideal.astype(exact_type(most))]),
        places,
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


def _references(group: AnalogGroup, columns: Sequence[Columns]) -> Strip:
    cells = np.stack([one.reference for one in columns])
    digit = max(max(plane.high, -plane.low) for plane in group.steps)
    most = int(cells.sum(axis=1).max(initial=0)) * digit
    count = len(columns)
    return Strip(
        _joined([cells.astype(exact_type(most))]),
        np.array([(one.number, 0, group.slices) for one in columns], np.int64),
        np.arange(count),
        np.repeat(added(range(1)), count),
        np.ones(count, np.int64),
        np.arange(count),
        1,
    )


def _joined(cells: Sequence[Array]) -> Array:
    """In the narrowest type that is exact for all; zeros to a multiple of TALL."""
    types = [np.dtype(kind) for kind in (np.int64, np.float64, np.float32)]
    kind = next(kind for kind in types if any(each.dtype == kind for each in cells))
    count = sum(map(len, cells))
    found = np.zeros((-(-count // TALL) * TALL, cells[0].shape[1]), kind)
    np.concatenate(cells, out=found[:count], casting="unsafe")
    return found


def starts_of(parts: Array, planes: int, now: Words) -> Words:
    """The hashes of parts and planes, to which a column's word is added: [parts, planes, iterations].

    parts  int64 [parts, 3], as in `Strip`
    now    uint64 [iterations]: the hashes of their rounds
    """
    arrays, inverse = np.unique(parts[:, 0], return_inverse=True)
    z = mixed(now + added(arrays)[:, None])
    z = mixed(z[:, None] + added(range(planes))[:, None])[inverse]
    for place in (1, 2):
        z += added(parts[:, place])[:, None, None]
        mixed(z)
    return z
