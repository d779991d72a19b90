"""What docs/paper.md speaks of: the paper's layers under every design on every target, counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from isa.program import Program
from isa.targets import TargetFile, load_target_file, target_names
from redc.compare import TARGETS, options_of
from redc.compiler import Variants
from redc.passes import Options
from redc.shelf import needed_shelf
from runtime.cost import Cost, cost_of
from runtime.count import count
from runtime.counters import Counters

Counted = list[tuple[str, Counters]]
LAYERS = ("GAN_Deconv1", "GAN_Deconv2", "GAN_Deconv3", "GAN_Deconv4", "FCN_Deconv1", "FCN_Deconv2")
DESIGNS: Mapping[str, str] = {
    "zero-padding": "zero-padding",
    "padding-free": "padding-free",
    "RED, digital": "pixel-wise",
    "RED, analog": "pixel-wise:merge=analog",
    "RED, folded by 2": "pixel-wise:fold=2",
    "packed": "packed",
}
BASE, RED, FOLDED = "zero-padding", "RED, digital", "RED, folded by 2"


@dataclass(frozen=True, slots=True)
class Study:
    """Every layer under every design on every target, compiled and counted.

    timed   every target: all have cycles
    files   those with costs
    """

    timed: tuple[str, ...]
    files: Mapping[str, TargetFile]
    found: Mapping[tuple[str, str, str], tuple[Program, Counted, Cost]]
    stride: Mapping[str, int]

    def cost(self, layer: str, design: str, target: str) -> Cost:
        return self.found[layer, design, target][2]

    def speedup(self, layer: str, design: str, target: str) -> float:
        return self.cost(layer, BASE, target).cycles / self.cost(layer, design, target).cycles

    def saving(self, layer: str, design: str, target: str) -> float:
        """1 - energy / zero-padding's."""
        return 1 - energy_of(self.cost(layer, design, target)) / energy_of(self.cost(layer, BASE, target))

    def expected(self, layer: str, design: str) -> int:
        return self.stride[layer] // (2 if design == FOLDED else 1)


NARROW = Options(vector_bits=8)
"""A layer's output feeds the next layer's crossbars, so it is as wide as inputs are."""


def study() -> Study:
    """Compile and count everything; nothing is run."""
    files = {name: load_target_file(name) for name in (*TARGETS, *target_names())}
    found = {}
    stride = {row["name"]: math.prod(row["stride"]) for row in needed_shelf().catalogue.red_layers()}
    for layer in LAYERS:
        variants = Variants(layer)
        for design, mapping in DESIGNS.items():
            for target, file in files.items():
                program = variants.compile(options_of(mapping, NARROW), file)
                counters = count(program)
                found[layer, design, target] = program, counters, cost_of(program, counters, file.costs)
    costed = {name: file for name, file in files.items() if file.costs.frequency.amount is not None}
    return Study(tuple(files), costed, found, stride)


def energy_of(cost: Cost) -> int:
    """Attojoules of a run on a target with costs."""
    assert cost.energy is not None
    return cost.energy


def claimed(layer: str) -> str:
    """RED as the paper builds it: FCN_Deconv2 is folded by 2."""
    return FOLDED if layer == "FCN_Deconv2" else RED


def percent(share: float) -> str:
    """`12.3 %`."""
    return f"{100 * share:.1f} %".replace("-0.0 %", "0.0 %")
