"""Nothing is counted twice and nothing is lost: events equal closed formulas, under every mapping."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import redc
from isa.program import Target
from runtime.count import count
from tests.redc.closed_form import Layer
from tests.redc.layers import deconvolutions, feed
from tests.redc.test_mappings import MAPPINGS, SIX, compiled

PER_VALUE: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "zero-padding": ({"mapping": "zero-padding"}, (100, 100, 64, 64, 3, 42)),
    "pixel-wise": ({}, (25, 25, 16, 16, 4, 4)),
    "pixel-wise, merged analog": ({"merge": "analog"}, (25, 25, 16, 16, 1, 1)),
    "packed": ({"mapping": "packed"}, (25, 25, 16, 16, 1, 1)),
}
"""Issue 4: ADC conversions per output value, plane and slice, on arrays of 128 rows."""


@st.composite
def targets(draw: st.DrawFn) -> Target:
    """Small arrays, so that bands are cut anywhere; both encodings."""
    return Target(
        "random",
        rows=draw(st.none() | st.integers(1, 9)),
        columns=draw(st.none() | st.integers(17, 40)),
        cell=draw(st.integers(1, 4)),
        encoding=draw(st.sampled_from(["differential", "offset", "flip"])),
        pair=draw(st.sampled_from(["shared", "separate"])),
        dac=draw(st.integers(1, 3)),
    )


@given(deconvolutions(), targets(), st.integers(2, 9))
@settings(max_examples=60)
def test_drives_cell_reads_array_reads_and_conversions_are_those_of_the_formula(
    model: onnx.ModelProto, target: Target, weight_bits: int
) -> None:
    for options in MAPPINGS:
        program = redc.compile(
            model, target=target, calibrate=feed(model), weight_bits=weight_bits, **options
        )
        [(_, counters)] = count(program)
        (crossbar,) = program.crossbars.values()
        layer = Layer.of(model, program.outputs[0].shape[1:-1])
        expected = layer.counts(
            target,
            planes=-(-crossbar.input_type.bits // target.dac),
            weight_bits=weight_bits,
            shape=(crossbar.row_bands, crossbar.column_bands),
            **options,
        )
        assert {name: counters.as_dict()[name] for name in expected} == expected, options


@pytest.mark.parametrize(("zero", "bits"), [(0, 8), (1, 9), (127, 9), (128, 8), (129, 9), (255, 9)])
@pytest.mark.parametrize("dac", [1, 2])
def test_a_zero_point_is_streamed_in_the_planes_of_code_less_zero(zero: int, bits: int, dac: int) -> None:
    """Codes 0 to 255 less their zero: 8 bits as -128 to 127 or 0 to 255, else 9."""
    target = Target("z", rows=7, columns=23, dac=dac)
    model = quantised(zero)
    for options in MAPPINGS:
        program = redc.compile(model, target=target, **options)
        counters = next(c for _, c in count(program) if c.rounds)
        (crossbar,) = program.crossbars.values()
        layer = Layer(1, 4, 3, 1, (3, 3), (2, 2), (1, 1), (1, 0), (4, 3), (8, 7))
        expected = layer.counts(
            target,
            planes=-(-bits // dac),
            weight_bits=8,
            shape=(crossbar.row_bands, crossbar.column_bands),
            **options,
        )
        assert {name: counters.as_dict()[name] for name in expected} == expected, options


def quantised(zero: int) -> onnx.ModelProto:
    """QuantizeLinear, DequantizeLinear, ConvTranspose of 4 to 3 channels, k3 s2, 4 x 3 to 8 x 7."""
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.5),
        "z": np.uint8(zero),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "ws": np.float32(0.25),
        "wz": np.int8(0),
    }
    node = onnx.helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["xd"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        node("ConvTranspose", ["xd", "wd"], ["t"], "ct", strides=[2, 2], pads=[1, 0, 0, 0]),
        node("QuantizeLinear", ["t", "s", "z"], ["r"]),
        node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "zero",
        [value("x", onnx.TensorProto.FLOAT, (1, 4, 4, 3))],
        [value("y", onnx.TensorProto.FLOAT, (1, 3, 8, 7))],
        [onnx.numpy_helper.from_array(v, name) for name, v in constants.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@given(deconvolutions())
@settings(max_examples=20)
def test_every_word_line_of_every_round_is_driven_or_gated_or_an_inserted_zero(
    model: onnx.ModelProto,
) -> None:
    """On arrays without limit zero-padding drives exactly the pairs that matter, and every word
    line of every round is a drive, a gated drive or an inserted zero."""
    target = Target("any")
    for options in MAPPINGS:
        program = redc.compile(model, target=target, calibrate=feed(model), **options)
        [(_, counters)] = count(program)
        (crossbar,) = program.crossbars.values()
        layer = Layer.of(model, program.outputs[0].shape[1:-1])
        pulses = counters.drives + counters.gated_drives + counters.inserted_zeros
        bands = sum(fired.fires * len(fired.inside) for fired in layer.fired(**options))
        assert pulses == layer.batch * bands * layer.c * crossbar.input_type.bits
        if options["mapping"] == "zero-padding":
            needed = sum(map(layer.pairs, layer.reaches()))
            assert counters.drives == layer.batch * needed * layer.c * crossbar.input_type.bits
        else:
            assert not counters.inserted_zeros


@pytest.mark.parametrize("name", PER_VALUE)
def test_conversions_per_output_value_on_arrays_of_128_rows(name: str) -> None:
    options, expected = PER_VALUE[name]
    for layer, wanted in zip(SIX, expected, strict=True):
        program = compiled(layer, target="isaac", **options)
        [(_, counters)] = count(program)
        (crossbar,) = program.crossbars.values()
        (output,) = program.outputs
        assert program.target.encoding == "flip"
        values = counters.conversions - counters.activations  # less one reference column per array read
        height, width, channels = output.shape[1:]
        planes, slices = crossbar.input_type.bits, -(-8 // program.target.cell)
        assert values == wanted * planes * slices * height * width * channels, layer


def test_a_folded_array_converts_only_the_rows_of_its_turn() -> None:
    """512 rows are 4 tiles: folding stacks two bands, and each turn converts one of them."""
    whole, folded = (compiled("GAN_Deconv1", target="isaac", fold=fold) for fold in (1, 2))
    once, twice = (count(program)[0][1] for program in (whole, folded))
    assert once.conversions == twice.conversions
    assert once.activations == twice.activations
    assert twice.rounds == 2 * once.rounds


def test_blanks_take_no_array() -> None:
    """k5 s2: 25 of 36 places hold a kernel pixel, each of 4 row tiles x 256 columns."""
    from isa.geometry import arrays_of

    program = compiled("GAN_Deconv1", target="isaac", mapping="packed", origin="0")
    (crossbar,) = program.crossbars.values()
    assert (crossbar.row_bands, crossbar.column_bands, len(crossbar.blank)) == (9, 4, 11)
    full = arrays_of(replace(crossbar, blank=()), program.target)
    assert arrays_of(crossbar, program.target) < full * 0.75
