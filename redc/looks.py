"""Looking at what tensors take in one run of a model after the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from redc.errors import UserError
from redc.ranges import Range

Array = npt.NDArray[Any]

PENDING = 1 << 27
"""Bytes of values that wait for those of later runs: one look at many is cheaper than many at few."""
SMALL = 1 << 14
"""Bytes of the values that wait; more are looked at at once."""


class Looks:
    """The ranges of tensors, from what each of them took in one run after the other."""

    def __init__(self, axes: Mapping[str, int], saturating: Collection[str], title: str, hint: str) -> None:
        self.axes, self.saturating, self.title, self.hint = axes, saturating, title, hint
        self._ranges: dict[str, Range] = {}
        self._waiting: dict[tuple[str, int], list[Array]] = {}
        self._bytes = 0

    def add(self, name: str, value: Array, count: int) -> None:
        """The values of a run of `count` samples."""
        value = self._finite(name, value)
        if value.nbytes > SMALL or self.axes.get(name) == 0:  # where the channels are, no samples can be
            self.merge(name, self.range_of(name, value, count))
            return
        self._waiting.setdefault((name, _samples(value, count)), []).append(value)
        self._bytes += value.nbytes
        if self._bytes > PENDING:
            self._look()

    def _look(self) -> None:
        """At all that waits."""
        for (name, samples), values in self._waiting.items():
            axis = self.axes.get(name)
            stacked = np.stack(values)
            axis = None if axis is None else axis + 1
            self.merge(name, self._range_of(name, stacked, samples * len(values), axis))
        self._waiting, self._bytes = {}, 0

    def merge(self, name: str, found: Range) -> None:
        """The range of other samples."""
        self._ranges[name] = self._ranges[name].merge(found) if name in self._ranges else found

    def ranges(self) -> dict[str, Range]:
        """Of all tensors that were looked at."""
        self._look()
        return self._ranges

    def range_of(self, name: str, value: Array, count: int) -> Range:
        """What a tensor took in one run of `count` samples."""
        value = self._finite(name, value)
        return self._range_of(name, value, _samples(value, count), self.axes.get(name))

    def _finite(self, name: str, value: Array) -> Array:
        return _without_infinities(value) if name in self.saturating else value

    def _range_of(self, name: str, values: Array, samples: int, axis: int | None) -> Range:
        try:
            return Range.of(values, samples, axis)
        except ValueError as error:
            raise UserError(
                f"it takes a value that is {error} on a calibration sample",
                place=f"{self.title}: tensor {name!r}",
                hint=self.hint,
            ) from error


def _samples(value: Array, count: int) -> int:
    """How many samples are told apart along axis 0 in a run of `count`."""
    return count if value.ndim > 0 and len(value) % count == 0 else 1


def _without_infinities(values: Array) -> Array:
    """Infinities, such as log(0), saturate: they ask for no more range than what is finite."""
    infinite = np.isinf(values)
    if not infinite.any() or np.isnan(values).any() or infinite.all():
        return values
    finite = values[~infinite]
    clipped: Array = np.clip(values, finite.min(), finite.max())
    return clipped
