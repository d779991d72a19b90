"""Cells that are not what was written to them, conversions with noise on them: docs/fidelity.md, "Analog".

This is the definition that the fast engine is held to, so it is written to be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isa.cells import ArrayCells
from isa.device import Device
from isa.geometry import geometry
from isa.program import Array, Crossbar, Target
from runtime.converted import Columns, ConvertedGroup
from runtime.errors import InputError
from runtime.noise import UNIT, Words, hashed, hashed_range, scale, scaled

NORMAL, LOGNORMAL, STUCK, DRIFT, READ = 1, 2, 3, 4, 5
"""What a hash is for."""

LARGEST = 1 << 62
"""No sum may come near it, in 1/4096 level steps."""

BLOCK = 1 << 16
"""Cells that are sampled at a time: hashes of so many stay in a processor's cache."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One machine out of many that are built alike: what its cells are like, and which it is."""

    device: Device
    seed: int


def sampled(levels: Array, sample: Sample, *place: int) -> Array:
    """Conductances of cells that should hold `levels` [rows, columns], in 1/4096 level steps; int64.

    `place` is crossbar, array, polarity and slice.
    """
    found = np.empty(levels.shape, np.int64)
    tall = max(1, BLOCK // max(1, levels.shape[1]))
    starts = {effect: hashed(sample.seed, effect, *place) for effect in (NORMAL, LOGNORMAL, STUCK, DRIFT)}
    for row in range(0, len(levels), tall):
        part = range(row, min(len(levels), row + tall))
        hashes = {
            effect: _Hashes(hashed_range(start, part), levels.shape[1]) for effect, start in starts.items()
        }
        found[row : part.stop] = _conductances(levels[row : part.stop], sample.device, hashes)
    return found


class _Hashes:
    """The hashes of an effect for some rows of cells, made when they are asked for."""

    def __init__(self, rows: Words, columns: int) -> None:
        self.rows, self.columns = rows, columns

    def __call__(self) -> Words:
        """[rows, columns]"""
        return hashed_range(self.rows, range(self.columns))


def _conductances(levels: Array, device: Device, hashes: Mapping[int, _Hashes]) -> Array:
    found = levels.astype(np.int64) * UNIT + device.leak
    if any(device.normal):
        found += scaled(np.array(device.normal)[levels], hashes[NORMAL]())
        np.maximum(found, 0, out=found)
    exponents: Array | int = 0
    if any(device.lognormal):
        exponents = scaled(np.array(device.lognormal)[levels], hashes[LOGNORMAL]())
    if any(device.drift):
        exponents = exponents - np.array(device.drift)[levels]
    if any(device.drift_spread):
        exponents = exponents - scaled(np.array(device.drift_spread)[levels], hashes[DRIFT]())
    if isinstance(exponents, np.ndarray):
        found = scale(found, exponents)
    if device.stuck_on or device.stuck_off:
        fate = hashes[STUCK]() >> np.uint64(32)
        top = len(device.normal) - 1
        found[fate < device.stuck_on + device.stuck_off] = device.leak
        found[fate < device.stuck_on] = top * UNIT + device.leak
    return found


class AnalogGroup(ConvertedGroup):
    """As `ConvertedGroup`, of a machine whose cells and conversions are not ideal.

    `number` is the position of the `.xbar` in the program.
    """

    unit = UNIT

    def __init__(
        self, crossbar: Crossbar, target: Target, weights: Array, number: int, sample: Sample
    ) -> None:
        super().__init__(crossbar, target, weights)
        self.number, self.sample = number, sample
        self.slices = geometry(crossbar, target).slices
        self._held: dict[int, tuple[Array, Array]] = {}
        self.now = hashed(sample.seed, READ)

    def cells_of(self, number: int, array: ArrayCells) -> tuple[Array, Array]:
        """What the cells of an array conduct: (as its `levels`; of the reference column, [rows])."""
        if number not in self._held:
            polarities, slices, rows, _ = array.levels.shape
            cells = np.empty(array.levels.shape, np.int64)
            for polarity, slice_ in np.ndindex(polarities, slices):
                place = self.number, number, polarity, slice_
                cells[polarity, slice_] = sampled(array.levels[polarity, slice_], self.sample, *place)
            ones = np.ones((rows, 1), np.int32)
            reference = sampled(ones, self.sample, self.number, number, 0, slices)[:, 0]
            most = max(cells.sum(axis=2, dtype=np.float64).max(initial=0), float(reference.sum()))
            digit = max(max(plane.high, -plane.low) for plane in self.steps)
            if most * digit >= LARGEST:
                raise InputError(
                    f"@{self.crossbar.name}: sums in 1/{UNIT} level steps do not fit 64 bits",
                    place="--fidelity analog",
                    hint="fewer bits per cell and DAC, or fewer rows in an array",
                )
            if most < 1 << 31:
                cells = cells.astype(np.int32)
            self._held[number] = cells, reference
        return self._held[number]

    def begin(self, layer: int, number: int) -> None:
        self.now = hashed(self.sample.seed, READ, layer, number)

    def noise(self, columns: Columns, plane: int, conversions: int) -> Array | int:
        sigma = self.sample.device.read_noise
        if not sigma:
            return 0
        found = np.empty((conversions, self.slices, len(columns.chosen)), np.int64)
        for polarity, slice_ in np.ndindex(found.shape[:2]):
            start = hashed(columns.number, plane, polarity, slice_, start=self.now)
            found[polarity, slice_] = scaled(sigma, hashed_range(start, columns.chosen))
        return found

    def reference_noise(self, columns: Columns, plane: int) -> int:
        sigma = self.sample.device.read_noise
        if not sigma:
            return 0
        one = hashed(columns.number, plane, 0, self.slices, start=self.now)
        return int(scaled(sigma, hashed_range(one, range(1)))[0])
