"""From where values lie to the codes that hold them: interval, scale, zero point."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from isa.instructions import F32_EXACT
from redc.ir.graph import F64, Codes, Op
from redc.passes.tables import saturating
from redc.ranges import Range

WHOLE_UNIT = 64
"""Steps that 1.0 must span before it is made a whole number of them: it costs at most 1/64 of the
resolution (0.14 dB)."""

JUDGED = 1 << 20
"""Values of a constant that say which of some scales rounds it least."""

NOTHING = 2.0**-90
"""Below this a tensor's extent is rounding noise of float32, and its scale would overflow."""


def round_scale(scale: float) -> float:
    """To 12 significant digits, so that different CPUs calibrate to the same bytes."""
    return float(f"{scale:.11e}")


def choose_codes(seen: Range, bits: int) -> Codes:
    """Codes for values in the observed range.

    Unsigned with zero 0 where nothing is negative; signed with zero 0 where both sides reach
    about as far; else unsigned with the zero point that uses every code (one more bit plane).
    """
    low, high = seen.bounds(bits)
    if low >= 0:
        return Codes(bits, False, scale_of(high, (1 << bits) - 1))
    top = (1 << (bits - 1)) - 1
    bound = max(-low, high)
    if high - low > 1.5 * bound:
        return Codes(bits, True, scale_of(bound, top))
    codes = (1 << bits) - 1
    scale = scale_of(high - low, codes)
    return Codes(bits, False, scale, zero=int(np.clip(np.rint(-low / scale), 0, codes)))


def codes_of(value: F64, bits: int) -> Codes:
    """Codes for a constant: of some scales that hold it, the one at which its values round least.

    Those are the finest power of two, the finest, the finest at which 1.0 is a whole number of steps, and
    the finest at which the smallest value is one.
    """
    low, high = min(0.0, float(value.min())), max(0.0, float(value.max()))
    signed = low < 0
    steps = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
    extent = max(-low, high)
    if extent <= NOTHING:
        return Codes(bits, signed, 1.0)
    magnitudes = np.abs(value[value != 0])
    smallest = float(magnitudes.min())
    finest = round_scale(extent / steps)
    power = 2.0 ** math.ceil(math.log2(extent / steps))
    scales = [
        power,
        finest,
        scale_of(extent, steps),
        round_scale(smallest / max(1, math.floor(smallest / finest))),
    ]

    some = magnitudes[:: -(-magnitudes.size // JUDGED)]

    def error(scale: float) -> float:
        return float(np.square(some / scale - np.rint(some / scale)).sum()) * scale**2

    best = min((scale for scale in scales if extent / scale <= steps + 0.5), key=error)
    return Codes(bits, signed, best)


def scale_of(extent: float, steps: int) -> float:
    """One step of `steps` over `extent`; a tensor that is zero, or all but, counts as 1.0 wide.

    Where 1.0 spans enough steps, it is made a whole number of them: whole numbers (pixels, counts,
    masks) are then codes exactly, and the range only grows.
    """
    if extent <= NOTHING:
        extent = 1.0
    per_unit = math.floor(steps / extent * (1 + 1e-9))
    if WHOLE_UNIT <= per_unit <= WHOLE_UNIT << 16:
        return round_scale(1 / per_unit)
    return round_scale(extent / steps)


def widened(codes: Codes, bits: int) -> Codes:
    """With `bits` bits for the same interval; around zero, with one more, where float32, in which a zero
    point is added, could not tell the codes apart."""
    more = bits - codes.bits
    scale, zero = codes.scale / (1 << more), codes.zero << more
    if not zero or 1 << bits <= F32_EXACT:
        return replace(codes, bits=bits, scale=scale, zero=zero)
    reach = max(codes.high - codes.zero, codes.zero - codes.low) << more
    return Codes(reach.bit_length() + 1, True, scale)


def cut(codes: Codes, bounds: tuple[float, float]) -> Codes:
    """As many codes of no more than what lies within `bounds`."""
    low = max((codes.low - codes.zero) * codes.scale, bounds[0])
    high = min((codes.high - codes.zero) * codes.scale, bounds[1])
    extent, signed = max(-low, high), low < 0
    if extent <= NOTHING:
        return codes
    return Codes(codes.bits, signed, scale_of(extent, (1 << codes.bits - signed) - 1))


def binary(codes: Codes) -> Codes:
    """For the same interval, with the next larger step that is a power of two: floats of other such steps
    become these codes, and products of a float32's the float32 that they are, without rounding."""
    scale = 2.0 ** math.ceil(math.log2(codes.scale))
    return replace(codes, scale=scale, zero=round(codes.zero * (codes.scale / scale)))


def saturated_codes(op: Op | None, bits: int) -> Codes | None:
    """Codes that span what a tanh or sigmoid can give."""
    function = saturating(op)
    if function is None:
        return None
    if function.low < 0:
        return Codes(bits, True, scale_of(1.0, (1 << (bits - 1)) - 1))
    return Codes(bits, False, scale_of(1.0, (1 << bits) - 1))


def signed_bits(reach: float) -> int:
    """Of signed codes that go so far."""
    return 1 + math.ceil(math.log2(max(reach, 1.0)))
