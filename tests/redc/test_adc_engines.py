"""Whatever the layer and the machine, `fast` converts as `step` does, and counts the same losses."""

from __future__ import annotations

import dataclasses
import math
import sys

import numpy as np
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

import redc
import runtime
from isa.program import Target
from runtime.converted_fast import WITHOUT, Converters
from tests.redc.random_layers import layers
from tests.redc.test_diff_random import MAPPINGS, network
from tests.runtime.devices import devices

EXAMPLES = max(30, settings().max_examples // 2)


@st.composite
def machines(draw):
    """Arrays, encodings and converters of any sort."""
    return Target(
        "random",
        rows=draw(st.one_of(st.none(), st.integers(1, 200))),
        columns=draw(st.one_of(st.none(), st.integers(40, 200))),
        cell=draw(st.integers(1, 4)),
        encoding=draw(st.sampled_from(["differential", "offset", "flip"])),
        pair=draw(st.sampled_from(["shared", "separate"])),
        dac=draw(st.integers(1, 3)),
        adc=draw(st.integers(1, 12)),
        lsb=draw(st.integers(1, 5)),
    )


@st.composite
def cases(draw, op):
    """A program of one layer, on a random machine, and its input."""
    attributes, x_shape, w_shape = draw(layers(op))
    assume(math.prod(x_shape[2:]) <= 30)  # or step would take seconds
    wide = draw(st.sampled_from([1, 1, 5, 17]))
    x_shape = (x_shape[0], x_shape[1] * wide, *x_shape[2:])
    w_shape = (w_shape[0] * wide, *w_shape[1:]) if op == "ConvTranspose" else w_shape
    if op == "Conv":
        w_shape = (w_shape[0], w_shape[1] * wide, *w_shape[2:])
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    inputs = {"x": rng.standard_normal(x_shape).astype(np.float32)}
    if draw(st.booleans()):
        inputs["x"] = np.abs(inputs["x"])
    bits = {key: draw(st.integers(2, 12)) for key in ("weight_bits", "input_bits")}
    options = draw(st.sampled_from([*MAPPINGS, {"mapping": "packed"}]))
    model = network(op, attributes, x_shape, w_shape, None, rng)
    program = redc.compile(model, calibrate=inputs, shapes={"x": x_shape}, **bits, **options)
    return dataclasses.replace(program, target=draw(machines())), inputs


def losses_and_buffers(program, inputs, engine, fidelity="adc", **options):
    result = runtime.run(program, inputs, engine=engine, fidelity=fidelity, verify=False, **options)
    return result.losses, {name: codes.tolist() for name, codes in result.buffers.items()}


@pytest.mark.parametrize("op", ["ConvTranspose", "Conv"])
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_a_random_layer_on_a_random_machine_is_converted_alike(op, data):
    program, inputs = data.draw(cases(op))
    note(str(program.target))
    expected = losses_and_buffers(program, inputs, "step")
    assert losses_and_buffers(program, inputs, "fast") == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Converters, "packed", lambda *_: None)
        assert losses_and_buffers(program, inputs, "fast") == expected, "in numpy alone"


@pytest.mark.parametrize("op", ["ConvTranspose", "Conv"])
@settings(max_examples=EXAMPLES // 2)
@given(data=st.data())
def test_the_same_with_cells_that_are_not_ideal(op, data):
    program, inputs = data.draw(cases(op))
    device, seed = data.draw(devices(program.target.cell)), data.draw(st.integers(0, 2**64 - 1))
    note(str(program.target))
    options = {"fidelity": "analog", "device": device, "seed": seed}
    expected = losses_and_buffers(program, inputs, "step", **options)
    assert losses_and_buffers(program, inputs, "fast", **options) == expected


def test_without_the_compiler_the_result_is_the_same_and_a_note_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "runtime.packed", None)
    program = redc.compile("FCN_Deconv1@3x3", target="isaac")
    program = dataclasses.replace(program, target=dataclasses.replace(program.target, adc=1))
    buffer = program.inputs[0]
    x = np.random.default_rng(1).standard_normal(buffer.onnx_shape).astype(np.float32)
    result = runtime.run(program, {buffer.tensor: x}, fidelity="adc", verify=False)
    assert WITHOUT in result.notes
    monkeypatch.undo()
    again = runtime.run(program, {buffer.tensor: x}, fidelity="adc", verify=False)
    assert again.losses == result.losses
    assert again.losses[0].saturated
    assert again.notes == ()
    for name, codes in result.buffers.items():
        np.testing.assert_array_equal(again.buffers[name], codes)
