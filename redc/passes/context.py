"""What the passes know besides the graph: the user's options, the target, the observed ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from isa.costs import Costs
from isa.program import Target
from redc.ranges import Method, Range

Merge = Literal["digital", "analog"]
Origin = Literal["auto", "0", "pad"]
Minimise = Literal["cycles", "energy", "area", "edp"]
MERGES = get_args(Merge)
ORIGINS = get_args(Origin)
MINIMISE = get_args(Minimise)
AUTO = "auto"
"""Not a mapping: the cheapest of all, layer by layer."""


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of `redc compile`.  All but the bits speak of ConvTranspose.

    Bits that nobody asked for are None: see `quantise`.
    """

    mapping: str = "pixel-wise"
    fold: int = 1
    weight_bits: int | None = None
    input_bits: int | None = None
    merge: Merge = "digital"
    origin: Origin = "auto"
    minimise: Minimise = "cycles"
    calibration: Method = "mse"
    vector_bits: int | None = None
    bias_correction: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """`observe` gives the ranges of tensors on the calibration samples, and of each channel of those
    whose axis it is told; only `quantise` asks.

    `costs` are the target's, where it has any; only `--minimise` asks.
    """

    options: Options
    target: Target
    observe: Callable[[tuple[str, ...], Mapping[str, int]], Mapping[str, Range]]
    costs: Costs | None = None
