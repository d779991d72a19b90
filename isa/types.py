"""Element types: the integers that buffers and constants hold, and those of ONNX tensors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class IntType:
    """An integer type of 1 to 64 bits, written `u8`, `i12`, ...  Signed types are two's complement."""

    signed: bool
    bits: int

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest numpy type that holds every value."""
        return _dtype(self.signed, self.bits)

    def __str__(self) -> str:
        return f"{'i' if self.signed else 'u'}{self.bits}"


@functools.cache
def _dtype(signed: bool, bits: int) -> np.dtype[Any]:
    container = next(size for size in (8, 16, 32, 64) if bits <= size)
    return np.dtype(f"{'int' if signed else 'uint'}{container}")


REAL_TYPES = ("f16", "f32", "f64")
"""Element types of ONNX tensors whose values are real numbers, for which codes stand in float32."""

RAW_TYPES: Mapping[str, str] = MappingProxyType(
    {
        **{name: f"float{name[1:]}" for name in REAL_TYPES},
        **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
        **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
        "bool": "bool",
    }
)
"""Element types of ONNX tensors that a raw buffer may hold -> their numpy names."""

CODED_TYPES: Mapping[str, IntType | None] = MappingProxyType(
    {
        **dict.fromkeys(REAL_TYPES),
        **{name: IntType(name[0] == "i", int(name[1:])) for name in RAW_TYPES if name[0] in "iu"},
    }
)
"""Element types of ONNX tensors that lie in buffers as codes: real ones, and integers, which are the codes
themselves, with the type that holds them."""


def smallest_type(low: int, high: int) -> IntType:
    """The narrowest integer type that holds every value of [low, high]."""
    if low >= 0:
        return IntType(False, max(1, high.bit_length()))
    return IntType(True, 1 + max(high.bit_length() if high > 0 else 0, (-low - 1).bit_length()))


def parse_type(text: str) -> IntType:
    """`u8` -> IntType(False, 8).  Raises ValueError for anything else."""
    if text[:1] not in ("u", "i") or not text[1:].isdecimal() or not 1 <= int(text[1:]) <= 64:
        raise ValueError(f"{text!r} is no integer type: u1 to u64 or i1 to i64")
    return IntType(text[0] == "i", int(text[1:]))
