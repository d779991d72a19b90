"""What conversions do to sums: docs/fidelity.md's numbers, a plain reading of it, and the exact product."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from isa.cells import adc_bits_needed, array_cells, blocks_of, code_offset, digits_of, planes_of
from isa.geometry import geometry
from isa.printer import to_text
from isa.program import Array, Crossbar, IntType, Program, Target
from runtime import run
from runtime.converted import ConvertedGroup, convert
from runtime.counters import Losses
from tests.runtime.programs import deconvolution
from tests.runtime.strategies import programs, random_inputs

BY_HAND = Crossbar("k", (), 1, 2, 1, 1, 1, IntType(True, 3), IntType(False, 2), "w", 0)
ONE_BIT = Target("hand", cell=1, dac=1, adc=8)


def fired(crossbar: Crossbar, target: Target, weights: Array, lines: Array) -> tuple[Array, Losses]:
    """The products of one fire with every row band of every sub-crossbar driven."""
    group = ConvertedGroup(crossbar, target, weights)
    group.latched[...] = lines.reshape(group.latched.shape)
    group.round({i: range(crossbar.row_bands) for i in range(crossbar.count)})(0)
    assert not group.latched.any(), "the latches are spent"
    return group.products, group.take_losses()


@pytest.mark.parametrize(
    ("changes", "product", "losses"),
    [
        ({}, 13, Losses(0, 0)),
        ({"adc": 2}, 9, Losses(1, 0)),
        ({"lsb": 2}, 8, Losses(0, 3)),
        ({"encoding": "offset"}, 13, Losses(0, 0)),
        ({"encoding": "offset", "adc": 1}, 9, Losses(3, 0)),
        ({"encoding": "flip"}, 13, Losses(0, 0)),
        ({"pair": "separate"}, 13, Losses(0, 0)),
        ({"pair": "separate", "adc": 1}, 9, Losses(1, 0)),
    ],
)
def test_the_page_s_example(changes: dict[str, object], product: int, losses: Losses) -> None:
    target = replace(ONE_BIT, **changes)  # type: ignore[arg-type]
    weights, lines = np.array([[3], [2]], np.int8), np.array([3, 2])
    found, lost = fired(BY_HAND, target, weights, lines)
    assert (found.item(), lost) == (product, losses)


def test_halves_go_to_the_even_code() -> None:
    sums = np.array([-7, -6, -5, -3, -2, -1, 0, 1, 2, 3, 5, 6, 7, 40])
    values, losses = convert(sums, 2, -3, 3)
    assert values.tolist() == [-6, -6, -4, -4, -2, 0, 0, 0, 2, 4, 4, 6, 6, 6]
    assert losses == Losses(3, 6)  # -7, 7 and 40 would be codes -4, 4 and 20


# ------------------------------------------------------------ a plain reading


@st.composite
def crossbars(draw: st.DrawFn) -> tuple[Crossbar, Target]:
    """A group of up to two sub-crossbars on a small array, of any encoding."""
    groups = draw(st.integers(1, 3))
    crossbar = Crossbar(
        "x",
        draw(st.sampled_from([(), (2,)])),
        draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 3)),
        draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        groups,
        IntType(draw(st.booleans()), draw(st.integers(2, 9))),
        IntType(draw(st.booleans()), draw(st.integers(1, 9))),
        "w",
        0,
    )
    target = Target(
        "small",
        rows=draw(st.sampled_from([None, 2, 3, 8])),
        columns=draw(st.sampled_from([None, 20, 64])),
        cell=draw(st.integers(1, 4)),
        encoding=draw(st.sampled_from(["differential", "offset", "flip"])),
        pair=draw(st.sampled_from(["shared", "separate"])),
        dac=draw(st.integers(1, 3)),
        adc=draw(st.integers(1, 12)),
        lsb=draw(st.sampled_from([1, 1, 2, 3, 4])),
    )
    return crossbar, target


def weights_for(crossbar: Crossbar, rng: np.random.Generator) -> Array:
    kind = crossbar.weight_type
    low = -kind.high if kind.signed else 0  # a differential pair has no lowest code
    return rng.integers(low, kind.high + 1, crossbar.data_shape)


def plainly(crossbar: Crossbar, target: Target, weights: Array, lines: Array) -> Array:
    """docs/fidelity.md in loops over Python integers: every row of every array driven.

    lines [sub-crossbars, groups, rows of a block]; returns [sub-crossbars, groups, columns of a block].
    """
    blocks = blocks_of(crossbar, weights)
    count, groups, rows, columns = blocks.shape
    g = geometry(crossbar, target)
    bits, cell_top = crossbar.weight_type.bits, (1 << target.cell) - 1
    offset = (1 << bits - 1) if crossbar.weight_type.signed else 0
    found = np.zeros((count, groups, columns), np.int64)

    def adc(total: int, signed: bool, lsb: int = target.lsb) -> int:
        code, left = divmod(total, lsb)
        if 2 * left > lsb or (2 * left == lsb and code % 2):
            code += 1
        low, high = (
            (-(2 ** (target.adc - 1)), 2 ** (target.adc - 1) - 1) if signed else (0, 2**target.adc - 1)
        )
        return lsb * min(max(code, low), high)

    step = min(target.dac, crossbar.input_type.bits)
    for s in range(count):
        for first in range(0, groups, g.together):
            held = range(first, min(groups, first + g.together))
            for top in range(0, rows, g.array_rows):
                cells = [(b, r) for b in held for r in range(top, min(rows, top + g.array_rows))]
                for block in held:
                    for column in range(columns):
                        column_weights = [int(blocks[s, b, r, column]) if b == block else 0 for b, r in cells]
                        for plane in range(g.planes):
                            last = plane == g.planes - 1
                            left = crossbar.input_type.bits - step * plane
                            digits = []
                            for b, r in cells:
                                digit = (int(lines[s, b, r]) >> step * plane) & ((1 << min(step, left)) - 1)
                                if last and crossbar.input_type.signed and left > 1 and digit >> left - 1:
                                    digit -= 1 << left
                                digits.append(digit)
                            both = last and crossbar.input_type.signed and left > 1
                            worth = 1 << step * plane
                            if last and crossbar.input_type.signed and left == 1:
                                worth = -worth
                            reference = adc(sum(digits), both, lsb=1)
                            merged = 0
                            for k in range(g.slices):

                                def level(code: int, k: int = k) -> int:
                                    return (code >> target.cell * k) & cell_top

                                if target.encoding == "differential":
                                    pos = sum(
                                        d * level(max(w, 0))
                                        for d, w in zip(digits, column_weights, strict=True)
                                    )
                                    neg = sum(
                                        d * level(max(-w, 0))
                                        for d, w in zip(digits, column_weights, strict=True)
                                    )
                                    value = (
                                        adc(pos - neg, True)
                                        if target.pair == "shared"
                                        else adc(pos, both) - adc(neg, both)
                                    )
                                else:
                                    levels = [level(w + offset) for w in column_weights]
                                    flip = target.encoding == "flip" and 2 * sum(levels) > cell_top * len(
                                        levels
                                    )
                                    levels = [cell_top - x for x in levels] if flip else levels
                                    value = adc(sum(d * x for d, x in zip(digits, levels, strict=True)), both)
                                    value = cell_top * reference - value if flip else value
                                merged += value << target.cell * k
                            if target.encoding != "differential":
                                merged -= offset * reference
                            found[s, block, column] += worth * merged
    return found


@given(crossbars(), st.integers(0, 2**32 - 1))
def test_a_fire_is_what_the_page_says(case: tuple[Crossbar, Target], seed: int) -> None:
    crossbar, target = case
    rng = np.random.default_rng(seed)
    weights = weights_for(crossbar, rng)
    kind = crossbar.input_type
    rows = crossbar.row_bands * crossbar.rows // crossbar.groups
    lines = rng.integers(kind.low, kind.high + 1, (crossbar.count, crossbar.groups, rows))
    found, _ = fired(crossbar, target, weights, lines)
    expected = plainly(crossbar, target, weights, lines)
    by_band = expected.reshape(crossbar.count, crossbar.groups, crossbar.column_bands, -1)
    np.testing.assert_array_equal(found, by_band.swapaxes(1, 2).reshape(found.shape))


@given(crossbars(), st.integers(0, 2**32 - 1))
def test_cells_and_digits_hold_weights_and_inputs(case: tuple[Crossbar, Target], seed: int) -> None:
    crossbar, target = case
    weights = weights_for(crossbar, np.random.default_rng(seed))
    for blocks in blocks_of(crossbar, weights):
        for array in array_cells(crossbar, target, blocks):
            top = (1 << target.cell) - 1
            assert array.levels.min() >= 0
            assert array.levels.max() <= top
            levels = np.where(array.flipped[:, None], top - array.levels, array.levels)
            codes = (levels << target.cell * np.arange(levels.shape[1])[:, None, None]).sum(axis=1)
            held = codes[0] - (codes[1] if len(codes) == 2 else code_offset(crossbar.weight_type))
            here = len(array.rows), len(array.columns)
            for n, block in enumerate(array.blocks):
                tile = held[n * here[0] : (n + 1) * here[0], n * here[1] : (n + 1) * here[1]]
                wanted = blocks[block][array.rows.start : array.rows.stop]
                assert (tile == wanted[:, array.columns.start : array.columns.stop]).all()
    values = np.arange(crossbar.input_type.low, crossbar.input_type.high + 1)
    planes = planes_of(crossbar.input_type, target.dac)
    digits = digits_of(values, planes)
    assert all((p.low <= d).all() and (d <= p.high).all() for p, d in zip(planes, digits, strict=True))
    assert (sum(p.weight * d for p, d in zip(planes, digits, strict=True)) == values).all()


# ------------------------------------------------------------ enough bits


@given(crossbars(), st.integers(0, 2**32 - 1))
def test_the_fewest_bits_lose_nothing_and_fewer_lose_something(
    case: tuple[Crossbar, Target], seed: int
) -> None:
    """The worst inputs of every column are driven; one bit less saturates on some of them."""
    crossbar, target = case
    crossbar = replace(crossbar, index_shape=(), row_bands=1, column_bands=1, groups=1)
    weights = weights_for(crossbar, np.random.default_rng(seed))
    bits = adc_bits_needed(crossbar, replace(target, lsb=1), weights)
    kind = crossbar.input_type
    ends = np.array([kind.low, kind.high, -1 if kind.signed else 0])
    signs = np.sign(weights)
    worst = [ends[choice] for choice in range(3)]
    inputs = [np.full(crossbar.rows, value) for value in worst]
    for column in signs.T:
        for up in worst:
            for down in worst:
                inputs.append(np.where(column > 0, up, down))
    lost = dict.fromkeys((bits, bits - 1), 0)
    for count in lost:
        for lines in inputs:
            if count:
                chosen = replace(target, lsb=1, adc=count)
                lost[count] += fired(crossbar, chosen, weights, lines)[1].saturated
    assert lost[bits] == 0
    # Over one slice the worst input of a column is among these; over several it need not be.
    if bits > 1 and geometry(crossbar, target).slices == 1 and target.encoding == "differential":
        assert lost[bits - 1] > 0


def enough(program: Program) -> Program:
    """The same with an ADC that loses nothing."""
    needed = [
        adc_bits_needed(x, program.target, program.constant(x.data)) for x in program.crossbars.values()
    ]
    return replace(program, target=replace(program.target, adc=max(needed, default=1), lsb=1))


@settings(max_examples=max(100, settings().max_examples))
@given(programs(), st.integers(0, 2**32 - 1))
def test_with_enough_bits_adc_is_exact(program: Program, seed: int) -> None:
    program = enough(program)
    note(to_text(program))
    inputs = random_inputs(program, seed)
    exact = run(program, inputs, engine="step")
    adc = run(program, inputs, engine="step", fidelity="adc")
    for name, codes in exact.buffers.items():
        np.testing.assert_array_equal(adc.buffers[name], codes, err_msg=f"buffer %{name}")
    assert adc.counters == exact.counters
    assert sum(adc.losses, Losses()) == Losses()
    assert exact.losses == ()


@settings(max_examples=max(100, settings().max_examples))
@given(programs(), st.integers(0, 2**32 - 1))
def test_fast_and_step_agree_in_adc(program: Program, seed: int) -> None:
    note(to_text(program))
    inputs = random_inputs(program, seed)
    slow = run(program, inputs, engine="step", fidelity="adc", observe=True)
    fast = run(program, inputs, engine="fast", fidelity="adc", observe=True)
    for name, codes in slow.buffers.items():
        np.testing.assert_array_equal(fast.buffers[name], codes, err_msg=f"buffer %{name}")
    for name, sums in slow.accumulators.items():
        np.testing.assert_array_equal(fast.accumulators[name], sums, err_msg=f"accumulators of %{name}")
    assert fast.counters == slow.counters
    assert fast.losses == slow.losses


def test_losses_are_counted_by_layer() -> None:
    """The kernel [[1, 2], [3, 4]] on pixels of 0 to 3, converted with one signed bit: -1 or 0.

    Slices of 2 bits: weights 1, 2, 3 lie in the first, 4 in the second.  Every 1 on a line is a
    sum of 1 or more, which saturates: per one, one conversion in each of the four sub-crossbars.
    """
    program = deconvolution()
    program = replace(program, target=replace(program.target, adc=1))
    x = np.array([[[0, 1], [2, 3]]], np.float32)
    result = run(program, {"x": x}, engine="step", fidelity="adc")
    assert result.losses == (Losses(saturated=4 * 4, rounded=0),)
    assert not result.outputs["y"].any()
