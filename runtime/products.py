"""Exact integer matrix products, by the fastest means that is proven exact.

In order of preference:

1. onnxruntime's MatMulInteger, uint8 by int8: several times faster than float32 BLAS, but on
   CPUs without a dot-product instruction its kernel saturates.  A probe with the largest
   operands decides once per process; where it fails, uint8 by uint8 is tried the same way.
   A session takes longer to make and to ask than a `small` product takes: that goes to BLAS.
2. float32 BLAS, where every partial sum stays below 2^24.
3. float64 BLAS, below 2^53.
4. int64, which numpy multiplies without BLAS: slow, and only for sums that need it.

Each product bounds its partial sums from its own weights, so the choice is made per matrix.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from isa.program import Array
from runtime.onnx_bytes import matmul_integer
from runtime.threads import CORES


@dataclass(frozen=True, slots=True)
class Operand:
    """How a product wants its left operand: its dtype, what to subtract from a code, and the pad.

    The left operand holds `(code + shift)` in `dtype`; `pad` is the entry that stands for zero.
    """

    dtype: np.dtype[Any]
    shift: int
    pad: int


class Product(Protocol):
    """`left @ weights` for a fixed matrix.

    bound  no partial sum, in any order, exceeds it in magnitude
    alone  it uses all cores, whatever `threads` said
    """

    @property
    def operand(self) -> Operand: ...
    @property
    def bound(self) -> int: ...
    @property
    def alone(self) -> bool: ...
    def __call__(self, left: Array) -> Array: ...


def make_product(
    weights: Array, low: int, high: int, zero: int, *, threads: int = CORES, small: bool = False
) -> Product:
    """The product of codes in [low, high], less `zero`, with an integer matrix.

    threads  that one multiplication may use
    small    what is multiplied takes no longer than a call of a session
    weights  (K, N), or (G, K, N) for G products side by side; the left operand is then
             (G, rows, K)
    """
    positive, negative = _column_sums(weights)
    bound = _bound(positive, negative, low - zero, high - zero)
    fits_byte = high - low <= 255 and weights.dtype == np.int8
    raw = 255 * int((positive + negative).max(initial=0))
    if not small and weights.ndim == 2 and weights.size and fits_byte and max(raw, bound) < 2**31:
        shift = 0 if low >= 0 else 128
        for form in (_signed, _unsigned):
            if _exact_here(form):
                session = _session(form(weights), zero + shift, threads)
                return _Integer(session, Operand(np.dtype(np.uint8), shift, zero + shift), bound)
    for dtype, largest in ((np.float32, 2**24), (np.float64, 2**53)):
        if bound < largest:
            return _Matrix(weights.astype(dtype), Operand(np.dtype(dtype), -zero, 0), bound)
    return _Matrix(weights.astype(np.int64), Operand(np.dtype(np.int64), -zero, 0), bound)


BOUND_ROWS = 64
"""Rows of a matrix that are summed at a time, as int64."""


def partial_bound(weights: Array, low: int, high: int) -> int:
    """The largest magnitude any sum of some rows of `x @ weights` can take, low <= x <= high."""
    return _bound(*_column_sums(weights), low, high)


def _column_sums(weights: Array) -> tuple[Array, Array]:
    """The sums of the positive entries of each column, and of the negative ones' magnitudes: Python's
    integers where int64 might not hold them."""
    shape = (*weights.shape[:-2], weights.shape[-1])
    if not _fits(weights, weights.shape[-2]):
        exact = weights.astype(object)
        return np.maximum(exact, 0).sum(axis=-2), np.maximum(-exact, 0).sum(axis=-2)
    positive, total = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for first in range(0, weights.shape[-2], BOUND_ROWS):
        wide = weights[..., first : first + BOUND_ROWS, :].astype(np.int64)
        total += wide.sum(axis=-2)
        positive += np.maximum(wide, 0, out=wide).sum(axis=-2)
    return positive, positive - total


def _fits(values: Array, times: int) -> bool:
    """Whether any sum of `times` of the values fits int64."""
    narrow = values.dtype.itemsize * 8 + max(1, times).bit_length() <= 64
    return narrow or max(-int(values.min(initial=0)), int(values.max(initial=0))) * times < 2**63


def _bound(positive: Array, negative: Array, low: int, high: int) -> int:
    if not _fits(positive + negative, max(high, 0) - min(low, 0)):
        positive, negative = positive.astype(object), negative.astype(object)
    up = int((positive * max(high, 0) - negative * min(low, 0)).max(initial=0))
    down = int((negative * max(high, 0) - positive * min(low, 0)).max(initial=0))
    return max(up, down)


@dataclass(frozen=True, eq=False, slots=True)
class _Matrix:
    """numpy's own product, exact because `bound` fits the dtype's integers."""

    weights: Array
    operand: Operand
    bound: int
    alone: ClassVar[bool] = True

    def __call__(self, left: Array) -> Array:
        result: Array = np.matmul(left, self.weights)
        return result


@dataclass(frozen=True, eq=False, slots=True)
class _Integer:
    """onnxruntime's MatMulInteger, int32 out."""

    session: Any
    operand: Operand
    bound: int
    alone: ClassVar[bool] = False

    def __call__(self, left: Array) -> Array:
        result: Array = self.session.run(_OUTPUT, {"x": left})[0]
        return result


_OUTPUT = ["y"]


def _signed(weights: Array) -> Array:
    return weights


def _unsigned(weights: Array) -> Array:
    """The same matrix as uint8 with zero point 128."""
    return weights.view(np.uint8) ^ np.uint8(128)


MOST_POOLS = 256
"""Sessions alive at once that have threads of their own: a network of 100,000 layers has one each."""
_pools: weakref.WeakSet[Any] = weakref.WeakSet()


def _session(weights: Array, zero: int, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads if len(_pools) < MOST_POOLS else 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A pool that spins between runs would take the core that numpy works on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            matmul_integer(np.ascontiguousarray(weights), zero), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises its own classes, all direct Exceptions
        if "bad_alloc" in str(error):
            raise MemoryError from error
        raise
    if threads > 1:
        _pools.add(session)
    return session


@functools.cache
def _exact_here(form: Callable[[Array], Array]) -> bool:
    """Whether MatMulInteger gets the hardest sums right on this CPU: all operands extreme.

    A kernel that adds pairs of products in 16 bits saturates at the first pair of 255 * 127.
    """
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    depth, columns = 192, 48
    signs = np.where(np.arange(depth)[:, None] // (1 + np.arange(columns)) % 2, 127, -127)
    weights = signs.astype(np.int8)
    weights[:, 0], weights[:, 1] = 127, -128
    session = _session(form(weights), 0, 1)
    for rows in (1, 3, 40):
        left = np.full((rows, depth), 255, np.uint8)
        left[rows // 2, ::2] = 0
        exact = left.astype(np.int64) @ weights.astype(np.int64)
        if not np.array_equal(session.run(_OUTPUT, {"x": left})[0], exact):
            return False
    return True
