"""What the passes know besides the graph: the user's options, the target, the observed ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isa.program import Target
from redc.calibration import Range


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of `redc compile`.  `fold` and `mapping` speak of ConvTranspose."""

    mapping: str = "pixel-wise"
    fold: int = 1
    weight_bits: int = 8
    input_bits: int = 8


@dataclass(frozen=True, slots=True)
class Context:
    """`observe` gives the ranges of tensors on the calibration samples; only `quantise` asks."""

    options: Options
    target: Target
    observe: Callable[[tuple[str, ...]], Mapping[str, Range]]
