"""Cells that are not ideal: docs/fidelity.md's numbers, a plain reading of it, and adc where all is off."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from isa.cells import ArrayCells, Plane, array_cells, blocks_of, code_offset, code_range, digits_of, planes_of
from isa.device import Device, ideal
from isa.printer import to_text
from isa.program import Array, Crossbar, Program, Target
from runtime import noise, noisy, noisy_strips, rounds, run, sampled
from runtime.analog import AnalogGroup, Sample
from runtime.converted import ConvertedGroup
from runtime.converted_fast import Converters
from runtime.counters import Losses
from runtime.sampled_tiles import Strip
from tests.runtime.devices import device, devices
from tests.runtime.programs import deconvolution
from tests.runtime.strategies import programs, random_inputs
from tests.runtime.strips import assert_converted, random_strip
from tests.runtime.test_converted import BY_HAND, ONE_BIT, crossbars, weights_for

WEIGHTS, LINES = np.array([[3], [2]], np.int8), np.array([3, 2])


def fired(group: ConvertedGroup, lines: Array, layer: int = 0, number: int = 0) -> tuple[Array, Losses]:
    """The products of one fire with every row band of every sub-crossbar driven."""
    group.latched[...] = lines.reshape(group.latched.shape)
    x = group.crossbar
    group.round({i: range(x.row_bands) for i in range(x.count)}, layer)(number)
    return group.products, group.take_losses()


def by_hand(effects: dict[str, Any], **changes: Any) -> tuple[int, Losses]:
    target = replace(ONE_BIT, **changes)
    group = AnalogGroup(BY_HAND, target, WEIGHTS, 0, Sample(device(1, **effects), 0))
    found, losses = fired(group, LINES)
    return found.item(), losses


def test_the_page_s_example_of_an_on_off_ratio() -> None:
    assert by_hand({"leak": 0.25}) == (13, Losses())
    assert by_hand({"leak": 0.25}, encoding="offset") == (15, Losses(0, 8))


def test_the_page_s_example_of_stuck_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell, and all positive ones, put by hand."""
    group = AnalogGroup(BY_HAND, ONE_BIT, WEIGHTS, 0, Sample(ideal(1), 0))
    cells, reference = group.cells_of(0, group.arrays[0][0])
    broken = cells.copy()
    broken[0, 1, 1] = 0
    monkeypatch.setattr(group, "cells_of", lambda *_: (broken, reference))
    assert fired(group, LINES)[0].item() == 9
    broken[0] = noise.UNIT
    assert fired(group, LINES)[0].item() == 15


def test_stuck_cells_stay_whatever_else_happens_to_them() -> None:
    effects = {"normal": 0.5, "lognormal": 0.3, "drift": 2.0, "leak": 0.25}
    for key, level in (("stuck_on", 3), ("stuck_off", 0)):
        group = AnalogGroup(
            BY_HAND, replace(ONE_BIT, cell=2), WEIGHTS, 0, Sample(device(2, **effects, **{key: 1}), 7)
        )
        for part in group.cells_of(0, group.arrays[0][0]):
            assert (part == level * noise.UNIT + noise.UNIT // 4).all()


# ------------------------------------------------------------ a plain reading


def h(*words: int) -> int:
    z = 0
    for w in words:
        z = (z + (w + 1) * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        z ^= z >> 31
    return z


def m(z: int) -> int:
    z = (z ^ z >> 16) * 0x7FEB352D % 2**32
    z = (z ^ z >> 15) * 0x846CA68B % 2**32
    return z ^ z >> 16


def met(moment: int, place: int) -> int:
    z = moment ^ place
    a = m(z % 2**32)
    return 2**32 * a + m(a ^ z >> 32)


def gauss(sigma: int, hashed: int) -> int:
    e = m((hashed + (hashed >> 32)) % 2**32)
    t = 1024 * (hashed >> 1).bit_count() + (e >> 2) % 1024 + (e >> 12) % 1024 + (e >> 22)
    return math.floor((sigma * (2 * t - 67581) + 2**12) / 2**13)


def conductance(d: Device, level: int, seed: int, *place: int) -> int:
    top = len(d.normal) - 1
    fate = h(seed, 3, *place) >> 32
    if fate < d.stuck_on:
        return 4096 * top + d.leak
    if fate < d.stuck_on + d.stuck_off:
        return d.leak
    g = max(0, 4096 * level + d.leak + gauss(d.normal[level], h(seed, 1, *place)))
    e = gauss(d.lognormal[level], h(seed, 2, *place)) - d.drift[level]
    e -= gauss(d.drift_spread[level], h(seed, 4, *place))
    shift = 20 - e // 4096
    return (g * int(noise.OCTAVE[e % 4096]) * 2 + 2**shift) // 2 ** (shift + 1)


@dataclass(frozen=True)
class Plain:
    """docs/fidelity.md, "A cell, a conversion", one number at a time."""

    target: Target
    device: Device
    seed: int
    crossbar: int
    layer: int
    round: int

    def adc(self, s: int, plane: Plane, lsb: int) -> int:
        step = 4096 * lsb
        code, left = divmod(s, step)
        code += 2 * left > step or (2 * left == step and code % 2)
        low, high = code_range(self.target, plane)
        return lsb * min(max(code, low), high)

    def total(self, digits: list[int], levels: list[int], *place: int) -> int:
        """Sum of conductances; `place` is array, polarity, slice, column."""
        *where, column = place
        return sum(
            digit * conductance(self.device, level, self.seed, self.crossbar, *where, row, column)
            for row, (digit, level) in enumerate(zip(digits, levels, strict=True))
        )

    def noise(self, array: int, plane: int, *place: int) -> int:
        """`place` is polarity, slice, column."""
        moment = h(self.seed, 5, self.layer, self.round, plane)
        return gauss(self.device.read_noise, met(moment, h(self.seed, 6, array, *place)))

    def value(self, cells: ArrayCells, array: int, p: int, plane: Plane, digits: list[int]) -> list[int]:
        """What the conversions of a plane make of every column, and of the reference column."""
        polarities, slices, rows, columns = cells.levels.shape
        one = self.total(digits, [1] * rows, array, 0, slices, 0) + self.noise(array, p, 0, slices, 0)
        reference, top, found = self.adc(one, plane, 1), (1 << self.target.cell) - 1, [0] * columns
        for k, c in np.ndindex(slices, columns):
            levels = cells.levels[:, k, :, c].tolist()
            sides = [self.total(digits, levels[q], array, q, k, c) for q in range(polarities)]
            noises = [self.noise(array, p, q, k, c) for q in range(polarities)]
            if self.target.encoding != "differential":
                v = self.adc(sides[0] + noises[0], plane, self.target.lsb)
                v = top * reference - v if cells.flipped[k, c] else v
            elif self.target.pair == "shared":
                v = self.adc(sides[0] - sides[1] + noises[0], plane, self.target.lsb)
            else:
                v = self.adc(sides[0] + noises[0], plane, self.target.lsb) - self.adc(
                    sides[1] + noises[1], plane, self.target.lsb
                )
            found[c] += v << self.target.cell * k
        return [*found, reference]


def plainly(crossbar: Crossbar, weights: Array, lines: Array, plain: Plain) -> Array:
    """One fire; lines and result as in `tests.runtime.test_converted.plainly`."""
    target, blocks = plain.target, blocks_of(crossbar, weights)
    planes = planes_of(crossbar.input_type, target.dac)
    found = np.zeros((*blocks.shape[:2], blocks.shape[3]), np.int64)
    array = 0
    for s in range(len(blocks)):
        for cells in array_cells(crossbar, target, blocks[s]):
            here = lines[s, cells.blocks.start : cells.blocks.stop, cells.rows.start : cells.rows.stop]
            for p, (plane, digits) in enumerate(zip(planes, digits_of(here.ravel(), planes), strict=True)):
                *values, reference = plain.value(cells, array, p, plane, digits.tolist())
                if target.encoding != "differential":
                    values = [v - code_offset(crossbar.weight_type) * reference for v in values]
                for c, v in enumerate(values):
                    block, column = divmod(c, len(cells.columns))
                    found[s, cells.blocks[block], cells.columns[column]] += plane.weight * v
            array += 1
    return found


@settings(max_examples=max(60, settings().max_examples))
@given(st.data(), crossbars(), st.integers(0, 2**64 - 1))
def test_a_fire_is_what_the_page_says(data: Any, case: tuple[Crossbar, Target], seed: int) -> None:
    crossbar, target = case
    rng = np.random.default_rng(seed)
    weights, d = weights_for(crossbar, rng), data.draw(devices(target.cell))
    kind, rows = crossbar.input_type, crossbar.row_bands * crossbar.rows // crossbar.groups
    lines = rng.integers(kind.low, kind.high + 1, (crossbar.count, crossbar.groups, rows))
    found, _ = fired(AnalogGroup(crossbar, target, weights, 3, Sample(d, seed)), lines, layer=2, number=11)
    expected = plainly(crossbar, weights, lines, Plain(target, d, seed, 3, 2, 11))
    by_band = expected.reshape(crossbar.count, crossbar.groups, crossbar.column_bands, -1)
    np.testing.assert_array_equal(found, by_band.swapaxes(1, 2).reshape(found.shape))


# ------------------------------------------------------------ programs


@given(programs(), st.integers(0, 2**32 - 1))
def test_with_all_off_analog_is_adc(program: Program, seed: int) -> None:
    note(to_text(program))
    inputs = random_inputs(program, seed)
    adc = run(program, inputs, engine="step", fidelity="adc")
    quiet = ideal(program.target.cell)
    analog = run(program, inputs, engine="step", fidelity="analog", device=quiet, seed=seed)
    for name, codes in adc.buffers.items():
        np.testing.assert_array_equal(analog.buffers[name], codes, err_msg=f"buffer %{name}")
    assert analog.counters == adc.counters
    assert analog.losses == adc.losses


@settings(max_examples=max(100, settings().max_examples))
@given(st.data(), programs(), st.integers(0, 2**32 - 1))
def test_fast_and_step_agree_in_analog(data: Any, program: Program, seed: int) -> None:
    note(to_text(program))
    inputs, d = random_inputs(program, seed), data.draw(devices(program.target.cell))
    options: dict[str, Any] = {"fidelity": "analog", "device": d, "seed": seed, "observe": True}
    slow = run(program, inputs, engine="step", **options)
    fast = run(program, inputs, engine="fast", **options)
    for name, codes in slow.buffers.items():
        np.testing.assert_array_equal(fast.buffers[name], codes, err_msg=f"buffer %{name}")
    for name, sums in slow.accumulators.items():
        np.testing.assert_array_equal(fast.accumulators[name], sums, err_msg=f"accumulators of %{name}")
    assert fast.counters == slow.counters
    assert fast.losses == slow.losses


def test_a_seed_is_a_machine_and_every_fire_has_its_own_noise() -> None:
    """The same again and again from one seed, other values from another."""
    program = deconvolution()
    d = device(program.target.cell, read_noise=3.0)
    inputs = {"x": np.zeros((1, 2, 2), np.float32)}

    def accumulators(seed: int) -> Array:
        options: dict[str, Any] = {"fidelity": "analog", "device": d, "seed": seed, "observe": True}
        return next(iter(run(program, inputs, engine="step", **options).accumulators.values()))

    first = accumulators(1)
    np.testing.assert_array_equal(accumulators(1), first)
    assert (accumulators(2) != first).any()
    assert len(np.unique(first)) > 4, "fires share no noise"


# ------------------------------------------------------------ the tables


def test_hashes_are_splitmix64_s() -> None:
    assert noise.hashed(0) == 0xE220A8397B1DCDAF == h(0)
    assert noise.hashed(1, 2, 3) == h(1, 2, 3) == int(noise.hashed_range(h(1, 2), range(4))[3])


def test_normal_numbers_are_whole_and_meet_as_the_page_says() -> None:
    moments, places = noise.hashed_range(h(5), range(3)), noise.hashed_range(h(6), range(4))
    found = noise.met(moments[:, None], places)
    assert found.tolist() == [[met(int(a), int(b)) for b in places] for a in moments]
    for sigma in (1, 983, 40_000):
        assert noise.scaled(sigma, found).tolist() == [[gauss(sigma, int(x)) for x in row] for row in found]


def test_the_page_s_example_of_noise() -> None:
    moment, place = h(0, 5, 0, 0, 1), h(0, 6, 0, 0, 1, 0)
    assert (
        f"{moment:x} {place:x} {met(moment, place):x}" == "47a7dd29237b2a7b 1bf17d1b4352d385 2554f4d6d851a0bc"
    )
    assert gauss(983, met(moment, place)) == -187


def test_octaves_are_the_same_on_every_cpu() -> None:
    assert hashlib.sha256(noise.OCTAVE.astype("<i8").tobytes()).hexdigest()[:16] == "7a5b7817f8312ed5"
    np.testing.assert_array_equal(noise.OCTAVE, np.rint(2.0**20 * np.exp2(np.arange(4096) / 4096)))


# ------------------------------------------------------------ the fast engine


@settings(max_examples=20)
@given(st.data(), programs(), st.integers(0, 2**32 - 1))
def test_neither_the_compiled_kernel_nor_chunks_change_a_bit(data: Any, program: Program, seed: int) -> None:
    inputs, d = random_inputs(program, seed), data.draw(devices(program.target.cell))
    options: dict[str, Any] = {"fidelity": "analog", "device": d, "seed": seed, "observe": True}
    whole = run(program, inputs, engine="fast", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Converters, "kernels", lambda _: None)
        patch.setattr(rounds, "CHUNK_BYTES", 1)
        patch.setattr(sampled, "BLOCK_BYTES", 1)
        pieces = run(program, inputs, engine="fast", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noisy_strips, "BLOCK_BYTES", 1)
        blocks = run(program, inputs, engine="fast", **options)
    for cut in (pieces, blocks):
        for name, codes in whole.buffers.items():
            np.testing.assert_array_equal(cut.buffers[name], codes, err_msg=f"buffer %{name}")
        assert cut.losses == whole.losses


@pytest.mark.parametrize("kind", [np.int16, np.float32])
@pytest.mark.parametrize(("lsb", "sigma"), [(1, 0), (1, 900), (3, 0), (3, 5000), (8, noisy.SIGMA_REACH)])
def test_the_kernel_converts_as_numpy_does(kind: type, lsb: int, sigma: int) -> None:
    strip = random_strip(kind, lsb, sigma)
    assert_converted(strip, *strip.converted())


def test_the_kernel_leaves_what_32_bits_do_not_hold() -> None:
    """Noise, sums and codes a little below and above what it converts."""
    kind = np.dtype(np.float32)
    one = np.ones(4, np.int64)

    def converts(most: int, sigma: int, high: int, kind: np.dtype[Any] = kind) -> bool:
        strip = Strip(np.zeros((4, 2), kind), kind, most, one.astype(np.uint64), one, one, 2)
        return noisy_strips.converts(strip, [(0, high, 1), (0, high, -2)], sigma)

    assert converts(1 << 24, noisy.SIGMA_REACH, 255)
    assert not converts(1 << 24, noisy.SIGMA_REACH + 1, 255)
    assert converts(noisy.REACH - 1, 0, 255)
    assert not converts(noisy.REACH, 0, 255)
    assert converts(noisy.REACH - 1, 0, 357_913_941)  # 2^31 / 6 is what three lsb of 2 go into
    assert not converts(noisy.REACH - 1, 0, 357_913_942)
    assert not converts(1 << 24, 0, 255, np.dtype(np.float64))
