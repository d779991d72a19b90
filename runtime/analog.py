"""Cells that are not what was written to them, conversions with noise on them: docs/fidelity.md, "Analog".

This is the definition that the fast engine is held to, so it is written to be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isa.cells import ArrayCells
from isa.device import Device
from isa.geometry import geometry
from isa.program import Array, Crossbar, Target
from runtime.converted import Columns, ConvertedGroup
from runtime.errors import InputError
from runtime.noise import UNIT, Words, hashed, hashed_range, met, scale, scaled

NORMAL, LOGNORMAL, STUCK, DRIFT, MOMENT, PLACE = 1, 2, 3, 4, 5, 6
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


def sampled(levels: Array, sample: Sample, crossbar: int, array: int, first_slice: int = 0) -> Array:
    """Conductances of an array's cells that should hold `levels`, in 1/4096 level steps; int64.

    `levels` are [polarities, slices, rows, columns]; slices count from `first_slice`.
    """
    polarities, slices, rows, columns = levels.shape
    found = np.empty(levels.shape, np.int64)
    tall = max(1, BLOCK * rows // max(1, levels.size))
    starts = {}
    for effect in (NORMAL, LOGNORMAL, STUCK, DRIFT):
        start = hashed_range(hashed(sample.seed, effect, crossbar, array), range(polarities))
        starts[effect] = hashed_range(start, range(first_slice, first_slice + slices))
    for row in range(0, rows, tall):
        part = range(row, min(rows, row + tall))
        here = slice(part.start, part.stop)

        def hashes(effect: int, part: range = part) -> Words:
            return hashed_range(hashed_range(starts[effect], part), range(columns))

        found[:, :, here] = _conductances(levels[:, :, here], sample.device, hashes)
    return found


def _conductances(levels: Array, device: Device, hashes: Callable[[int], Words]) -> Array:
    found = levels.astype(np.int64) * UNIT + device.leak
    if any(device.normal):
        found += scaled(np.array(device.normal)[levels], hashes(NORMAL))
        np.maximum(found, 0, out=found)
    exponents: Array | int = 0
    if any(device.lognormal):
        exponents = scaled(np.array(device.lognormal)[levels], hashes(LOGNORMAL))
    if any(device.drift):
        exponents = exponents - np.array(device.drift)[levels]
    if any(device.drift_spread):
        exponents = exponents - scaled(np.array(device.drift_spread)[levels], hashes(DRIFT))
    if isinstance(exponents, np.ndarray):
        found = scale(found, exponents)
    if device.stuck_on or device.stuck_off:
        fate = hashes(STUCK) >> np.uint64(32)
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
        self.moment, self.place = hashed(sample.seed, MOMENT), hashed(sample.seed, PLACE)

    def cells_of(self, number: int, array: ArrayCells) -> tuple[Array, Array]:
        """What the cells of an array conduct: (as its `levels`; of the reference column, [rows])."""
        if number not in self._held:
            _, slices, rows, _ = array.levels.shape
            cells = sampled(array.levels, self.sample, self.number, number)
            ones = np.ones((1, 1, rows, 1), np.int32)
            reference = sampled(ones, self.sample, self.number, number, slices)[0, 0, :, 0]
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

    def forget(self) -> None:
        """Let go of conductances; they can be sampled again."""
        self._held.clear()

    def begin(self, layer: int, number: int) -> None:
        self.moment = hashed(self.sample.seed, MOMENT, layer, number)

    def places(self, array: int, polarity: int, slice_: int, columns: range | Array) -> Words:
        """The hashes of where columns are."""
        return hashed_range(hashed(array, polarity, slice_, start=self.place), columns)

    def noise(self, columns: Columns, plane: int, conversions: int) -> Array | int:
        sigma = self.sample.device.read_noise
        if not sigma:
            return 0
        now = np.uint64(hashed(plane, start=self.moment))
        found = np.empty((conversions, self.slices, len(columns.chosen)), np.int64)
        for polarity, slice_ in np.ndindex(found.shape[:2]):
            here = self.places(columns.number, polarity, slice_, columns.chosen)
            found[polarity, slice_] = scaled(sigma, met(now, here))
        return found

    def reference_noise(self, columns: Columns, plane: int) -> int:
        sigma = self.sample.device.read_noise
        if not sigma:
            return 0
        now = np.uint64(hashed(plane, start=self.moment))
        return int(scaled(sigma, met(now, self.places(columns.number, 0, self.slices, range(1))))[0])
