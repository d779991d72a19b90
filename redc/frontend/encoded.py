"""Constants of models that arrive quantised: integers, a scale, a zero point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from redc.frontend.rejected import Rejected

Array = npt.NDArray[Any]
F64 = npt.NDArray[np.float64]

KINDS = {f"{'' if signed else 'u'}int{bits}": (bits, signed) for bits in (4, 8, 16) for signed in (0, 1)}
"""Bits and sign of the types that QuantizeLinear makes, by numpy's name."""


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """real = scale * codes: integers less their zero point, of a type of `bits` bits; `scale` is
    float64 and broadcast to their shape."""

    codes: Array
    scale: F64
    bits: int

    @property
    def real(self) -> F64:
        return self.codes * self.scale

    def map(self, move: Callable[[Array], Array]) -> Encoded:
        """The same constant, its values moved about."""
        return Encoded(move(self.codes), move(self.scale), self.bits)


def encoded(values: Array, scale: Array, zero: Array | None, axis: int, block: int = 0) -> Encoded:
    """What DequantizeLinear makes of constants.  Raises Rejected where they do not fit together."""
    if values.dtype.name not in (*KINDS, "int32"):
        raise Rejected(f"its input is {values.dtype.name}; integers of 4, 8, 16 or 32 bits are supported")
    bits = KINDS.get(values.dtype.name, (32, True))[0]
    codes = values.astype(np.int64)
    if zero is not None:
        codes = codes - spread(zero.astype(np.int64), codes.shape, axis, block, "zero point")
    return Encoded(
        codes.astype(np.int32) if bits < 32 else codes,
        spread(checked(scale), codes.shape, axis, block, "scale"),
        bits,
    )


def checked(scale: Array) -> F64:
    """A scale as float64.  Raises Rejected unless it is positive and finite."""
    real: F64 = np.asarray(scale).astype(np.float64)
    if not (np.isfinite(real) & (real > 0)).all():
        raise Rejected("its scale is not a positive number")
    return real


def spread(value: Array, shape: tuple[int, ...], axis: int, block: int, what: str) -> Array:
    """One number, one per index of `axis`, or one per block along it, for every element of `shape`."""
    if value.size == 1:
        return np.broadcast_to(value.reshape(()), shape)
    if not -len(shape) <= axis < len(shape):
        raise Rejected(f"its axis is {axis}, its input has {len(shape)}")
    axis %= len(shape)
    if value.ndim == 1 and not block:
        value = value.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    elif block and value.ndim == len(shape):
        value = np.repeat(value, block, axis=axis)[(slice(None),) * axis + (slice(shape[axis]),)]
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        raise Rejected(
            f"its {what} has the shape {value.shape}, which does not fit {shape} on axis {axis}"
        ) from None


def quantised(values: Array, scale: Array, zero: Array, axis: int, block: int = 0) -> Array:
    """What QuantizeLinear makes of constants, in float32 as onnxruntime does."""
    if zero.dtype.name not in KINDS:
        raise Rejected(f"it makes {zero.dtype.name}; integers of 4, 8 or 16 bits are supported")
    bits, signed = KINDS[zero.dtype.name]
    step = spread(checked(scale), values.shape, axis, block, "scale").astype(np.float32)
    whole = np.rint(values.astype(np.float32) / step).astype(np.float64)
    whole = whole + spread(zero.astype(np.float64), values.shape, axis, block, "zero point")
    low = -(1 << (bits - 1)) if signed else 0
    codes: Array = np.clip(whole, low, low + (1 << bits) - 1).astype(zero.dtype)
    return codes
