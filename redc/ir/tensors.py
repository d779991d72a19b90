"""Tensors of the graph IR, the codes they are stored in, and the functions that end operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from isa.program import IntType, smallest_type

F64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Codes:
    """How a tensor is stored: integer codes of `bits` bits; real = scale * (code - zero).

    With `steps`, one whole number per channel, real = scale * steps[c] * (code - zero).
    """

    bits: int
    signed: bool
    scale: float
    zero: int = 0
    steps: tuple[int, ...] = ()

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def scales(self) -> F64:
        """The real size of a step: of every channel, or () where it is one for all."""
        return self.scale * np.asarray(self.steps or 1, np.float64)

    def of(self, first: int, last: int) -> Codes:
        """The codes of the channels from `first` to before `last`."""
        return replace(self, steps=self.steps[first:last])

    @property
    def drive_type(self) -> IntType:
        """The type of what a drive streams, `code - zero`."""
        return smallest_type(self.low - self.zero, self.high - self.zero)


@dataclass(frozen=True, slots=True)
class Tensor:
    """An ONNX tensor: static shape, and the axis that lies last in the accelerator's buffers.

    `axis` is 1 for images (N, C, spatial...), the last axis where MatMul works on it.
    `given` are the codes that a model which arrives quantised gives it; nothing may change them.
    `dtype` is the ONNX element type.  A tensor of integers with given codes holds those codes; other
    tensors than f32 only hosts touch.  `raw` is set by `quantise` where only hosts touch a tensor: it
    is then handed on as it is and has no codes.
    A tensor with a `value` is a constant, which nothing makes.  `like` names the tensor of the model
    whose range serves for one that the model does not have.  `port` is the name it has as an output
    where that is another than its own: that of a graph input which is an output too.
    """

    name: str
    shape: tuple[int, ...]
    axis: int
    given: Codes | None = None
    codes: Codes | None = None
    buffer: str | None = None
    dtype: str = "f32"
    raw: bool = False
    value: F64 | None = field(default=None, compare=False)
    like: str | None = None
    port: str | None = None

    @property
    def onnx_name(self) -> str:
        """The tensor of the model that it is."""
        return self.port or self.name

    @property
    def plain(self) -> bool:
        """Whether its integers stand for themselves: the accumulators of ConvInteger, say."""
        return self.given is not None and self.dtype == "i32"

    @property
    def buffer_shape(self) -> tuple[int, ...]:
        """`shape` with `axis` moved to the end; of a scalar a vector of one value."""
        if not self.shape:
            return (1,)
        rest = tuple(d for i, d in enumerate(self.shape) if i != self.axis)
        return (*rest, self.shape[self.axis])


@dataclass(frozen=True, slots=True)
class Activation:
    """A scalar function at the end of an operator.

    relu; leaky (slope `alpha`); clip (to [`low`, `high`]); tanh; sigmoid; function: any other,
    given by `function`, which no operator but an activation alone may end in.
    """

    kind: Literal["relu", "leaky", "clip", "tanh", "sigmoid", "function"]
    alpha: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    function: Callable[[F64], F64] | None = None
