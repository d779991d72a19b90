"""What a quantised model computes in float between its codes is so fine that these are a step off at most."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

import redc
import runtime
from redc.diff import diff
from tests.redc.quantised_drawing import model_of
from tests.redc.quantiser_drawing import KINDS, Between
from tests.redc.test_quantisers import as_the_file_says

FUNCTIONS = ["HardSwish", "HardSigmoid", "Softplus", "Gelu", "Erf", "Neg", "Sigmoid", "Elu"]
ARITHMETIC = ["Add", "Sub", "Mul", "Max"]
POOLS = ["MaxPool", "AveragePool", "Concat"]


@st.composite
def floats_between_codes(draw):
    """(model, inputs): a layer of 8-bit weights, two or three operators in float, codes of 8 or 16 bits."""
    net = Between(draw)
    net.kind = draw(st.sampled_from([np.uint8, np.int8]))
    given_codes, others = net.codes(4.0), net.codes(4.0)
    at, shape = net.product(
        "Conv", net.node("DequantizeLinear", ["x", *given_codes]), net.constants[given_codes[0]]
    )
    x = {"x": net.rng.integers(np.iinfo(net.kind).min, np.iinfo(net.kind).max + 1, shape).astype(net.kind)}
    for op in draw(st.lists(st.sampled_from(FUNCTIONS + ARITHMETIC), min_size=1, max_size=2)):
        other = []
        if op in ARITHMETIC:
            wide = draw(st.sampled_from([(), (4, 1, 1), (4, 2, 3)]))
            other = [net.constant((net.rng.standard_normal(wide) * 2).astype(np.float32))]
        at = net.node(op, [at, *other])
    last = draw(st.sampled_from([None, *POOLS]))
    if last == "Concat":
        z = {"z": net.rng.integers(0, 100, (2, 1, 2, 3)).astype(net.kind)}
        at, x = net.node("Concat", [at, net.node("DequantizeLinear", ["z", *others])], axis=1), x | z
    elif last:
        at = net.node(last, [at], kernel_shape=[2, 2])
    net.kind = draw(st.sampled_from(list(KINDS)))
    out = net.quantised(at, net.codes(draw(st.sampled_from([1.0, 8.0]))))
    return model_of(net.nodes, net.constants, x, {out: KINDS[net.kind]}, opset=21), x


@given(floats_between_codes())
def test_codes_behind_floats_are_a_step_from_the_files_at_most(drawn):
    model, inputs = drawn
    program = redc.compile(model, calibrate=inputs, host=False)
    report = diff(model, program, inputs)
    assert report.passed, report.table()
    got = runtime.run(program, inputs).outputs
    for name, wanted in as_the_file_says(model, inputs).items():
        assert np.abs(got[name].astype(np.int64) - wanted).max() <= 1


def test_what_a_host_part_may_quantise_reaches_it_in_24_bits():
    """In 16 bits some bytes come out otherwise, and the next layer makes hundreds of steps of one."""
    constants = {"s": np.float32(0.04), "z": np.uint8(128)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Softplus", ["a"], ["b"]),
        helper.make_node("DynamicQuantizeLinear", ["b"], ["y", "scale", "zero"]),
    ]
    inputs = {"x": np.arange(256, dtype=np.uint8).reshape(1, 256)}
    model = model_of(nodes, constants, inputs, {"y": TensorProto.UINT8})
    program = redc.compile(model, calibrate=inputs)
    assert [b.type.bits for b in program.buffers.values() if b.tensor == "b"] == [24]
    np.testing.assert_array_equal(
        runtime.run(program, inputs).outputs["y"], as_the_file_says(model, inputs)["y"]
    )
