"""`--mapping auto` is the cheapest there is: held against every mapping, merge, origin and fold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import redc
from isa.program import Program
from isa.targets import load_target_file
from redc.compiler import Variants
from redc.passes.context import Options
from runtime.cost import Cost, cost_of
from runtime.count import count
from tests.redc.layers import deconvolutions, feed

PRICES = {
    "cycles": lambda cost: cost.cycles,
    "energy": lambda cost: cost.energy,
    "area": lambda cost: cost.total_area,
    "edp": lambda cost: cost.energy * cost.cycles,
}


def every(pixels: int) -> Iterator[dict[str, Any]]:
    """All options of a layer of so many kernel pixels."""
    for merge in ("digital", "analog"):
        yield from ({"mapping": "pixel-wise", "merge": merge, "fold": n} for n in range(1, pixels + 1))
    yield from ({"mapping": "packed", "origin": origin} for origin in ("0", "pad", "auto"))
    yield from ({"mapping": name} for name in ("zero-padding", "padding-free"))


def cost(program: Program, target: str) -> Cost:
    return cost_of(program, count(program), load_target_file(target).costs)


@given(deconvolutions(), st.sampled_from(["red-65nm", "isaac"]))
@settings(max_examples=5)
def test_auto_costs_no_more_than_anything_else(model: onnx.ModelProto, target: str) -> None:
    inputs = feed(model)
    pixels = min(12, math.prod(model.graph.initializer[0].dims[2:]))
    others = [
        cost(redc.compile(model, calibrate=inputs, target=target, **options), target)
        for options in every(pixels)
    ]
    for minimise, price in PRICES.items():
        chosen = redc.compile(model, calibrate=inputs, target=target, mapping="auto", minimise=minimise)
        assert price(cost(chosen, target)) <= min(map(price, others)), minimise


@cache
def network() -> Variants:
    return Variants("dcgan_face64")


@pytest.mark.parametrize("target", ["red-65nm", "isaac"])
def test_every_layer_of_a_network_takes_the_fewest_cycles(target: str) -> None:
    file = load_target_file(target)

    def layers(**options: Any) -> list[int]:
        program = network().compile(Options(**options), file)
        return [counted.cycles for _, counted in count(program)]

    others = [layers(**options) for options in every(2)]
    best = [min(cycles) for cycles in zip(*others, strict=True)]
    assert layers(mapping="auto") <= best
    assert all(a <= b for a, b in zip(layers(mapping="auto"), best, strict=True))


@pytest.mark.parametrize("target", ["red-65nm", "isaac"])
@pytest.mark.parametrize("minimise", ["energy", "edp"])
def test_the_energy_of_a_network_is_less_than_under_any_one_mapping(target: str, minimise: Any) -> None:
    """What one layer needs leaks while the others run: the best of each alone is not the network's."""
    file, price = load_target_file(target), PRICES[minimise]

    def of(**options: Any) -> int:
        return price(cost(network().compile(Options(**options), file), target))

    ours = of(mapping="auto", minimise=minimise)
    assert ours < of(mapping="auto")
    assert ours < min(of(**options) for options in every(2))


def test_a_folded_layer_is_taken_where_arrays_are_what_costs() -> None:
    """Area on isaac: the 256 kernel pixels of 21 x 21 six to an array, where one each would leave
    nine tenths of it empty."""
    program = redc.compile("FCN_Deconv2", target="isaac", mapping="auto", minimise="area")
    (crossbar,) = program.crossbars.values()
    assert program.layers[0].mapping == "pixel-wise"
    assert (crossbar.count, crossbar.row_bands) == (43, 6)
