"""Step, the living definition, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.analysis import instruction_sizes
from isa.program import (
    Array,
    Buffer,
    BufferRef,
    Constant,
    ConstRef,
    Crossbar,
    Instruction,
    IntType,
    Layer,
    Loop,
    Matrix,
    Program,
    Register,
    Target,
    walk,
)
from runtime import Counters, Memory, load, run
from runtime.count import count
from runtime.crossbar import Group
from runtime.step import StepEngine
from tests.runtime.programs import I8, I32, U8, at, deconvolution, op, program, var
from tests.runtime.strategies import programs, random_inputs


def test_a_deconvolution_by_hand() -> None:
    """2 x 2 input, kernel [[1, 2], [3, 4]], stride 2: each block is a pixel times the kernel."""
    x = np.array([[[1, 2], [3, 4]]], np.float32)
    result = run(deconvolution(), {"x": x}, engine="step", verify=False, observe=True)
    expected = np.array([[1, 2, 2, 4], [3, 4, 6, 8], [3, 6, 4, 8], [9, 12, 12, 16]])
    assert (result.buffers["y"][:, :, 0] == expected).all()
    assert (result.outputs["y"] == expected[None] * np.float32(0.5)).all()
    assert (result.accumulators["y"][:, :, 0] == expected).all()


def test_the_counters_of_that_deconvolution_by_hand() -> None:
    """4 rounds of 4 sub-crossbars, u8 in (8 planes), i8 weights (4 slices of 2 bits, differential)."""
    x = np.zeros((1, 2, 2), np.float32)
    result = run(deconvolution(), {"x": x}, engine="step", verify=False)
    assert result.total == Counters(
        cycles=1 + 3 * 64 + (64 + 4),  # a drive; fires of 8 planes x 8 columns; the last 4 stores
        instructions=4 * (4 + 1 + 3 * 4),
        rounds=4,
        fire_cycles=4 * 64,
        drives=4 * 4 * 8,
        activations=4 * 4 * 8,
        cell_reads=4 * 4 * 8 * 4 * 2,  # 4 slices, two cells of a pair
        register_writes=4 * 4 * 8 + 4 * 4 * (8 + 8),  # inputs of 8 bits; products of 8 + 8 bits, one row
        conversions=4 * 4 * 8 * 4,
        shift_adds=4 * 4 * 8 * 4,
        buffer_reads=4 * 4 * 8,
        buffer_writes=4 * 4 * 8,
        vector_ops=4 * 4,
    )
    assert [result.total] == [counters for _, counters in result.counters]


def test_a_loaded_program_runs_again_and_again() -> None:
    loaded = load(deconvolution(), engine="step", verify=False)
    first = loaded.run({"x": np.ones((1, 2, 2), np.float32)})
    second = loaded.run({"x": np.zeros((1, 2, 2), np.float32)})
    assert first.buffers["y"].any()
    assert not second.buffers["y"].any()
    assert first.counters == second.counters
    assert loaded.run({"x": np.ones((1, 2, 2), np.float32)}, buffers=False).buffers == {}


def test_outside_and_between_pixels_read_zero_and_are_counted_apart() -> None:
    one = Crossbar("m", (), 1, 1, 1, 1, 1, I8, U8, "w", 0)
    v0 = Register(0)
    body = (
        op("drive", Matrix("m"), at("x", var("q", 1, -1, 2), outside=True)),
        op("fire", Matrix("m")),
        op("sum", v0, Matrix("m")),
        op("store", at("y", var("q")), v0),
    )
    x = Buffer("x", "input", U8, (3, 1), 1.0)
    y = Buffer("y", "output", I32, (8, 1))
    weight = Constant("w", "i8", (1, 1), (10,))
    hand = program(
        Layer("l", (Loop("q", 0, 8, body),)), buffers=[x, y], crossbars=(one,), constants=(weight,)
    )
    result = run(hand, {"x": np.array([[1], [2], [3]], np.float32)}, engine="step", verify=False)
    # (q - 1) / 2 for q = 0..7: outside, 0, between, 1, between, 2, outside, outside
    assert result.buffers["y"][:, 0].tolist() == [0, 10, 0, 20, 0, 30, 0, 0]
    total = result.total
    assert (total.drives, total.inserted_zeros, total.gated_drives) == (3 * 8, 2 * 8, 3 * 8)
    assert total.buffer_reads == 3 * 8
    assert count(hand) == list(result.counters)


def test_the_zero_point_is_subtracted_before_driving_and_outside_is_zero() -> None:
    one = Crossbar("m", (), 1, 2, 1, 1, 1, I8, IntType(True, 9), "w", 0)
    v0 = Register(0)
    body = (
        op("drive", Matrix("m"), at("x", var("q"), outside=True)),
        op("fire", Matrix("m")),
        op("sum", v0, Matrix("m")),
        op("store", at("y", var("q")), v0),
    )
    x = Buffer("x", "input", U8, (2, 2), 1.0, 128)
    y = Buffer("y", "output", I32, (3, 1))
    weights = Constant("w", "i8", (2, 1), (-3, 100))
    hand = program(
        Layer("l", (Loop("q", 0, 3, body),)), buffers=[x, y], crossbars=(one,), constants=(weights,)
    )
    result = run(hand, {"x": np.array([[-128, 127], [5, -1]], np.float32)}, engine="step", verify=False)
    assert result.buffers["y"][:, 0].tolist() == [384 + 12700, -15 - 100, 0]


def test_bands_that_were_not_driven_contribute_nothing() -> None:
    """Two row bands take turns on one array (folding): each fire sees only its own."""
    two = Crossbar("m", (), 2, 1, 1, 1, 1, I8, U8, "w", 0)
    v0, v1 = Register(0), Register(1)
    body = (
        op("drive", Matrix("m", (), 0), at("x")),
        op("fire", Matrix("m")),
        op("sum", v0, Matrix("m")),
        op("drive", Matrix("m", (), 1), at("x")),
        op("fire", Matrix("m")),
        op("sum", v1, Matrix("m")),
        op("store", at("y", var("n", 0)), v0),
        op("store", at("y", var("n", 0, 1)), v1),
    )
    x, y = Buffer("x", "input", U8, (1,), 1.0), Buffer("y", "output", I32, (2, 1))
    weights = Constant("w", "i8", (2, 1), (10, 100))
    hand = program(Layer("l", body), buffers=[x, y], crossbars=(two,), constants=(weights,))
    result = run(hand, {"x": np.array([7], np.float32)}, engine="step", verify=False)
    assert result.buffers["y"][:, 0].tolist() == [70, 700]


def test_a_register_keeps_a_product_that_the_next_fire_replaces() -> None:
    one = Crossbar("m", (), 1, 1, 1, 1, 1, I8, U8, "w", 0)
    v0 = Register(0)
    fire = (op("drive", Matrix("m"), at("x", var("n", 0))), op("fire", Matrix("m")))
    again = (op("drive", Matrix("m"), at("x", var("n", 0, 1))), op("fire", Matrix("m")))
    body = (*fire, op("sum", v0, Matrix("m")), *again, op("store", at("y"), v0))
    x, y = Buffer("x", "input", U8, (2, 1), 1.0), Buffer("y", "output", I32, (1,))
    hand = program(
        Layer("l", body), buffers=[x, y], crossbars=(one,), constants=(Constant("w", "i8", (1, 1), (3,)),)
    )
    result = run(hand, {"x": np.array([[5], [9]], np.float32)}, engine="step", verify=False)
    assert result.buffers["y"].tolist() == [15]


@pytest.mark.parametrize("dac", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [1, 5, 8, 9, 16, 20])
@pytest.mark.parametrize("weight_bits", [2, 8, 16, 40])
def test_planes_add_up_to_the_integer_product(dac: int, signed: bool, bits: int, weight_bits: int) -> None:
    """Bands, diagonal blocks and index dimensions; float32, float64 and int64 conversions."""
    kind, weight = IntType(signed, bits), IntType(True, weight_bits)
    crossbar = Crossbar("m", (2, 3), 2, 4, 3, 6, 2, weight, kind, "w", 0)
    rng = np.random.default_rng(bits)
    weights = rng.integers(weight.low + 1, weight.high + 1, crossbar.data_shape)
    group = Group(crossbar, Target("t", dac=dac), weights)
    vectors = rng.integers(kind.low, kind.high + 1, (2, 3, 2, 4))
    for index in np.ndindex(2, 3):
        for band in range(2):
            group.word_lines(index, band)[...] = vectors[index][band].reshape(2, 2)
    group.round(dict.fromkeys(range(6), (0, 1)))(0)
    for index in np.ndindex(2, 3):
        for band in range(3):
            for column in range(6):
                block, c = divmod(column, 3)  # of 2 diagonal blocks: 2 rows and 3 columns of each band
                rows = weights[index].reshape(2, 2, 2, 3, 3)[:, block, :, band, c]
                driven = vectors[index].reshape(2, 2, 2)[:, block, :]
                assert group.bit_lines(index, band)[column] == (rows * driven).sum()
    assert not group.latched.any()


def test_reshape_keeps_the_order_of_the_onnx_tensors() -> None:
    x = Buffer("x", "input", U8, (2, 2, 3), 1.0, tensor="x", onnx_shape=(3, 2, 2), axis=0)
    y = Buffer("y", "output", U8, (2, 6), 1.0, tensor="y", onnx_shape=(2, 6), axis=1)
    hand = program(Layer("r", (op("reshape", BufferRef("y"), BufferRef("x")),)), buffers=[x, y])
    values = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    result = run(hand, {"x": values}, engine="step", verify=False)
    assert (result.outputs["y"] == values.reshape(2, 6)).all()
    assert result.total == Counters(cycles=96 // 8, instructions=1, buffer_reads=96, buffer_writes=96)


def test_cells_that_are_never_written_hold_the_zero_code() -> None:
    x = Buffer("x", "input", U8, (1,), 1.0)
    y = Buffer("y", "output", U8, (2, 1), 1.0, 7)
    body = (op("load", Register(0), at("x")), op("store", at("y", var("n", 0, 1)), Register(0)))
    hand = program(Layer("l", body), buffers=[x, y])
    assert run(hand, {"x": [3]}, engine="step", verify=False).buffers["y"][:, 0].tolist() == [7, 3]


def test_observation_sees_through_lookups_and_not_through_sums() -> None:
    x = Buffer("x", "input", I8, (2,), 1.0)
    outputs = [Buffer(name, "output", I8, (2,), 1.0) for name in ("a", "b", "c")]
    v0, v1, v2 = Register(0), Register(1), Register(2)
    body = (
        op("load", v0, at("x")),
        op("quant", v1, v0, ConstRef("s"), low=0, high=3),
        op("lookup", v2, v1, ConstRef("t")),
        op("quant", v0, v0, ConstRef("s"), low=-9, high=9),
        op("store", at("a"), v2),
        op("store", at("b"), v0),
        op("sum", v0, v0, v2),
        op("store", at("c"), v0),
    )
    constants = (Constant("s", "f32", (1,), (0.5,)), Constant("t", "i8", (4,), (5, 6, 7, 8)))
    hand = program(Layer("l", body), buffers=[x, *outputs], constants=constants)
    result = run(hand, {"x": [5, -4]}, engine="step", verify=False, observe=True)
    assert result.buffers["a"].tolist() == [7, 5]
    assert result.buffers["b"].tolist() == [2, -2]
    assert {name: a.tolist() for name, a in result.accumulators.items()} == {"a": [5, -4], "b": [5, -4]}


def test_the_trace_tells_cycle_instruction_operands_and_values() -> None:
    lines: list[str] = []

    def note(cycle: int, layer: str, what: Instruction, operands: tuple[str, ...], value: Any) -> None:
        shown = None if value is None else value.tolist()
        lines.append(f"{cycle} {layer} {what.mnemonic} {' '.join(operands)} {shown}")

    x = np.array([[[1, 2], [3, 4]]], np.float32)
    run(deconvolution(), {"x": x}, engine="step", verify=False, trace=note)
    assert lines[0] == "0 ct drive @k[0, 0] %x[0, 0] [1]"
    assert lines[4] == "1 ct fire @k None"
    assert lines[5:8] == [
        "1 ct sum v0 @k[0, 0] [1]",
        '1 ct quant v0 v0 "s" [1]',
        "1 ct store %y[0, 0] v0 [1]",
    ]
    assert lines[-1] == "193 ct store %y[3, 3] v0 [16]"
    assert len(lines) == 4 * 17


@settings(max_examples=60)
@given(programs(), st.integers(0, 2**32 - 1))
def test_vectors_are_as_long_as_the_analysis_says(drawn: Program, seed: int) -> None:
    """Events are computed from static sizes; the vectors that really flow have them."""
    sizes = instruction_sizes(drawn)

    def check(_: int, __: str, what: Instruction, ___: tuple[str, ...], value: Array | None) -> None:
        if value is not None:
            assert len(value) == sizes[id(what)].length

    run(drawn, random_inputs(drawn, seed), engine="step", trace=check)


@settings(max_examples=60)
@given(programs(), st.integers(0, 2**32 - 1))
def test_one_node_at_a_time_is_the_whole_layer(drawn: Program, seed: int) -> None:
    """What `fast` relies on when it hands a nest to step."""
    whole, pieces = Memory.of(drawn, observe=True), Memory.of(drawn, observe=True)
    rng = np.random.default_rng(seed)
    for buffer in drawn.inputs:
        codes = rng.integers(buffer.type.low, buffer.type.high + 1, buffer.shape)
        whole.codes[buffer.name][...] = pieces.codes[buffer.name][...] = codes
    with np.errstate(over="ignore"):
        StepEngine(drawn, observe=True).execute(whole)
        step = StepEngine(drawn, observe=True)
        step.bind(pieces)
        for number, layer in enumerate(drawn.layers):
            for node in range(len(layer.body)):
                step.execute_node(number, node)
    for name, codes in whole.codes.items():
        np.testing.assert_array_equal(pieces.codes[name], codes)
    for name, values in whole.accumulators.items():
        np.testing.assert_array_equal(pieces.accumulators[name], values)


def test_a_loop_longer_than_an_address_table_computes_its_addresses() -> None:
    from runtime.address import TABLE_LIMIT

    size = TABLE_LIMIT + 3
    body = (
        op("load", Register(0), at("x", var("q"))),
        op("store", at("y", var("q", -1, size - 1)), Register(0)),
    )
    x, y = Buffer("x", "input", U8, (size, 1), 1.0), Buffer("y", "output", U8, (size, 1), 1.0)
    hand = program(Layer("l", (Loop("q", 0, size, body),)), buffers=[x, y])
    values = (np.arange(size) % 251).astype(np.float32)[:, None]
    result = run(hand, {"x": values}, engine="step", verify=False)
    assert (result.outputs["y"] == values[::-1]).all()


def test_several_layers_report_in_order() -> None:
    base = deconvolution()
    twice = replace(base, layers=(base.layers[0], Layer("again", base.layers[0].body)))
    result = run(twice, {"x": np.ones((1, 2, 2), np.float32)}, engine="step", verify=False)
    assert [name for name, _ in result.counters] == ["ct", "again"]
    assert result.total == 2 * result.counters[0][1]
    assert len(list(walk(base.layers[0].body))) == 17


def test_a_store_that_is_not_requantised_leaves_no_accumulator_behind() -> None:
    """Also where it comes from another nest: the record follows the last store of each cell."""
    x = Buffer("x", "input", I8, (1,), 1.0)
    y = Buffer("y", "output", I8, (2, 1), 1.0)
    v0 = Register(0)
    load = op("load", v0, at("x"))
    first = Loop(
        "q",
        0,
        2,
        (load, op("quant", v0, v0, ConstRef("s"), low=-9, high=9), op("store", at("y", var("q")), v0)),
    )
    second = Loop("q", 1, 2, (load, op("store", at("y", var("q")), v0)))
    scale = Constant("s", "f32", (1,), (1.0,))
    hand = program(Layer("l", (first, second)), buffers=[x, y], constants=(scale,))
    result = run(hand, {"x": [5]}, engine="step", verify=False, observe=True)
    assert result.buffers["y"].tolist() == [[5], [5]]
    assert result.accumulators["y"].tolist() == [[5], [0]]
