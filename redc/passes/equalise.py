"""Which whole number of steps each channel of a driven tensor takes (docs/quantisation.md).

One step for all channels is right for the widest of them alone.  With a step of its own a narrow
channel keeps its resolution, and the weights that read it take the step into their own codes; but
a channel whose step is large for what it holds wastes nothing, while its weights, times that step,
may outgrow the others and coarsen them; and a new sample that goes beyond what was seen of one
channel saturates, where one step for all left it room.  So the steps go with a power of the
channels' ranges, and the power is the one that leaves the layers which read the tensor the least
expected error, on samples that the steps' interval was not taken from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from redc.ir.graph import F64, CrossbarOp
from redc.ranges import Range

Int64 = npt.NDArray[np.int64]

POWERS = (0.25, 0.5, 0.75, 1.0)
"""Of a channel's range; 0 is one step for all."""
WORTH = 0.5
"""Decibels: what gains less is not worth steps per channel."""
TINY = 1e-30
"""Noise over signal: less is none."""
DIGITS = 5
"""Binary digits of a step: rounding it up costs at most 1/16 of a channel's resolution."""
SPREAD = 2.0**-14
"""The least range of a channel that counts, as a part of the widest one's."""


@dataclass(frozen=True, eq=False, slots=True)
class Reader:
    """A layer that reads the tensor.  `largest` (groups, C / groups, M / groups) are the largest
    weights of its kernel pixels, of which there are `pixels`; `gain` (C,) is the sum of the squares
    of the weights that read a channel; weights have `bits` bits.
    """

    largest: F64
    gain: F64
    pixels: int
    bits: int

    @staticmethod
    def of(op: CrossbarOp, bits: int) -> Reader:
        weight = op.weight.reshape(-1, op.groups, op.in_channels // op.groups, op.weight.shape[-1])
        gain = (weight**2).sum(axis=(0, 3)).reshape(-1)
        return Reader(np.abs(weight).max(axis=0), gain, len(weight), bits)

    def noise(self, steps: F64, power: F64, beyond: F64) -> F64:
        """The expected noise over the expected signal, both summed over the layer's outputs, for
        each of `beyond` (samples, C).

        A code errs by a twelfth of its step squared, and by `beyond`, the mean square of what
        saturates; a weight by a twelfth of its step squared, which is that of its output channel's
        largest.  Channels have the mean square `power` and are taken as independent.
        """
        signal = float(self.gain @ power)
        if signal == 0:
            return np.zeros(len(beyond))
        own = steps.reshape(len(self.largest), -1, 1)
        weights = (self.largest * own).max(axis=1) / ((1 << (self.bits - 1)) - 1)  # (groups, M / groups)
        read = self.pixels * (power.reshape(own.shape) / own**2).sum(axis=1)
        fixed = float(self.gain @ steps**2) + float((weights**2 * read).sum())
        noise: F64 = (fixed / 12 + beyond @ self.gain) / signal
        return noise


def steps_per_channel(
    seen: Range, readers: Iterable[CrossbarOp], bits: int, weight_bits: int
) -> Int64 | None:
    """Steps for the channels of a tensor that `readers` drive; None where one for all serves."""
    reach, channels = seen.reaches(bits), seen.channels
    assert channels is not None
    if reach.max(initial=0.0) <= 0 or len(reach) < 2:
        return None
    if channels.values < 2 and not seen.own:
        return None  # the one value of a channel is no range of it
    found = [Reader.of(op, weight_bits) for op in readers]

    def decibels(power: float) -> tuple[float, float]:
        """The expected noise on a new sample: its mean, and the worst."""
        steps = _steps(reach, power)
        low, high = seen.interval(steps, bits)
        real = steps * (high - low) / ((1 << bits) - 1)
        beyond = seen.beyond(lambda some: _steps(some, power), bits)
        errors = np.sum([reader.noise(real, channels.power, beyond) for reader in found], axis=0)
        noise = 10 * np.log10(np.maximum(errors, TINY))
        return float(noise.mean()), float(noise.max())

    mean, worst = decibels(0.0)
    best = None
    for power in POWERS:
        own, own_worst = decibels(power)
        if own < mean - (WORTH if best is None else 0) and own_worst <= worst:
            best, mean = power, own
    return None if best is None else _steps(reach, best)


def _steps(reach: F64, power: float) -> Int64:
    """Steps for channels of these ranges, which go with that power of them."""
    widest = float(reach.max(initial=0.0))
    if widest <= 0:
        return np.ones(len(reach), np.int64)
    return whole_steps(np.maximum(reach / widest, SPREAD) ** power)


def whole_steps(relative: F64) -> Int64:
    """`relative` as whole numbers of DIGITS binary digits, rounded up; 2^(DIGITS - 1) the least."""
    ratio = relative / relative.min()
    exponents = np.floor(np.log2(ratio) + 1e-6)
    mantissas = np.ceil(np.ldexp(ratio, (DIGITS - 1 - exponents).astype(np.int64)) - 1e-6)
    steps = np.ldexp(mantissas, exponents.astype(np.int64)).astype(np.int64)
    whole: Int64 = steps // math.gcd(*map(int, steps))
    return whole
