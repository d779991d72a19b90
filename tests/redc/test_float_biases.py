"""A float bias on integer weights shows in no codes, however fine these are beside the sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import redc
import runtime
from isa.printer import to_text
from redc.diff import diff
from tests.redc.quantised_drawing import model_of
from tests.redc.quantiser_drawing import KINDS
from tests.redc.test_quantisers import as_the_file_says

SHAPES = {
    "Conv": ((6, 2, 3, 2), 0, (2, 4, 5, 4)),
    "ConvTranspose": ((4, 3, 3, 2), 1, (2, 4, 4, 3)),
    "MatMul": ((5, 6), 1, (2, 3, 5)),
    "Gemm": ((5, 6), 1, (4, 5)),
}
"""Of the weight, its channel axis, and of the input; two groups and six output channels."""
WINDOWED = ("Conv", "ConvTranspose")


def network(op, x_kind, y_kind, form="input", function=None, ratio=20.0, per_channel=True, seed=0, **named):
    """(model, inputs): one layer on 8-bit integers, whose output codes are `ratio` times finer than its
    sums.  Its bias is floats, as its own `input` or in an `Add`, what a `BatchNormalization` makes of
    them, or `integers` on a scale of their own, or on that of the `sums`."""
    rng = np.random.default_rng(seed)
    shape, axis, x_shape = SHAPES[op]
    info, out = np.iinfo(x_kind), np.iinfo(y_kind)
    steps = rng.uniform(0.01, 0.03, shape[axis] if per_channel else ()).astype(np.float32)
    constants = {
        "xs": np.float32(0.0173),
        "xz": x_kind(info.min // 2 + 97),
        "w": rng.integers(-128, 128, shape).astype(np.int8),
        "ws": steps,
        "ys": np.float32(0.0173 * np.max(steps) / ratio),
        "yz": y_kind((out.min + out.max + 1) // 2),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "ws"], ["v"], axis=axis),
    ]
    if form in ("integers", "sums"):
        own = 0.00031 if form == "integers" else np.tile(steps * 0.0173, 6 // steps.size)
        constants |= {"c": rng.integers(-90, 90, 6).astype(np.int32), "cs": np.asarray(own, np.float32)}
        nodes.append(helper.make_node("DequantizeLinear", ["c", "cs"], ["b"], axis=0))
    else:
        wide = (6, 1, 1) if form == "Add" and op in WINDOWED else 6
        constants["b"] = (rng.standard_normal(wide) * 0.01).astype(np.float32)
    within = ["b"] if form != "Add" and op != "MatMul" else []
    more = {"group": 2, "strides": [2, 1]} if op in WINDOWED else {}
    nodes.append(helper.make_node(op, ["a", "v", *within], ["t"], "layer", **more))
    after = [] if within else [("Add", ["b"], {})]
    if form == "BatchNormalization" and within:
        names = ["gamma", "beta", "mean", "variance"]
        constants |= {name: rng.uniform(0.5, 1.5, 6).astype(np.float32) for name in names}
        after.append((form, names, {}))
    for kind, inputs, attributes in [*after, *([(function, [], named)] if function else [])]:
        nodes.append(helper.make_node(kind, [nodes[-1].output[0], *inputs], [f"after_{kind}"], **attributes))
    nodes.append(helper.make_node("QuantizeLinear", [nodes[-1].output[0], "ys", "yz"], ["y"]))
    x = {"x": rng.integers(info.min, info.max + 1, x_shape).astype(x_kind)}
    return model_of(nodes, constants, x, {"y": KINDS[y_kind]}, opset=21), x


@given(
    op=st.sampled_from(list(SHAPES)),
    x_kind=st.sampled_from([np.uint8, np.int8]),
    y_kind=st.sampled_from([np.uint16, np.int16]),
    form=st.sampled_from(["input", "Add", "BatchNormalization", "integers", "sums"]),
    end=st.sampled_from([None, "Relu", "LeakyRelu", "Steep", "Tanh"]),
    ratio=st.sampled_from([2.5, 20.0, 300.0]),
    per_channel=st.booleans(),
    mapping=st.sampled_from(["pixel-wise", "packed", "zero-padding", "padding-free"]),
    seed=st.integers(0, 999),
)
def test_fine_codes_behind_a_float_bias_are_a_step_from_the_files_at_most(
    op, x_kind, y_kind, form, end, ratio, per_channel, mapping, seed
):
    function, named = ("LeakyRelu", {"alpha": 3.0}) if end == "Steep" else (end, {})
    model, inputs = network(op, x_kind, y_kind, form, function, ratio, per_channel, seed, **named)
    program = redc.compile(model, mapping=mapping, host=False)
    report = diff(model, program, inputs)
    assert report.passed, report.table()
    got = runtime.run(program, inputs).outputs["y"].astype(np.int64)
    assert np.abs(got - as_the_file_says(model, inputs)["y"]).max() <= 1
    stepped = runtime.run(program, inputs, engine="step")
    np.testing.assert_array_equal(stepped.outputs["y"], got)


@pytest.mark.parametrize(
    ("form", "ratio", "factor"), [("input", 20.0, 128), ("input", 0.1, None), ("sums", 20.0, None)]
)
def test_sums_are_raised_only_where_rounding_the_bias_would_show(form, ratio, factor):
    program = redc.compile(network("Conv", np.uint8, np.int16, form, ratio=ratio)[0])
    raised = 'mul v0, v0, "layer.factor"' in to_text(program)
    assert (int(program.constant("layer.factor")[0]) if raised else None) == factor


@pytest.mark.parametrize("fidelity", ["adc", "analog"])
def test_converters_and_devices_see_the_same_sums(fidelity):
    model, inputs = network("ConvTranspose", np.uint8, np.int16)
    program = redc.compile(model)
    fast, step = (runtime.run(program, inputs, engine=e, fidelity=fidelity) for e in ("fast", "step"))
    np.testing.assert_array_equal(fast.outputs["y"], step.outputs["y"])
    assert fast.total == step.total
