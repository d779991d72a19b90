"""Whatever the layer (auto_pad, output_shape, convolutions), the compiled one is integer-exact."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from redc.diff import diff
from tests.redc.random_layers import layers

ACTIVATIONS = [None, "Relu", "LeakyRelu", "Tanh", "Sigmoid"]
MAPPINGS = [
    {"mapping": "pixel-wise"},
    {"mapping": "pixel-wise", "fold": 2},
    {"mapping": "pixel-wise", "fold": 5},
    {"mapping": "zero-padding"},
    {"mapping": "padding-free"},
]


def network(op, attributes, x_shape, w_shape, activation, rng):
    """One layer with a bias, and an activation where there is one."""
    width = w_shape[0] if op == "Conv" else w_shape[1] * attributes["group"]
    values = {"w": rng.standard_normal(w_shape), "b": rng.standard_normal(width)}
    nodes = [helper.make_node(op, ["x", "w", "b"], ["t" if activation else "y"], name="layer", **attributes)]
    if activation:
        nodes.append(helper.make_node(activation, ["t"], ["y"], name="last"))
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("op", ["ConvTranspose", "Conv"])
@given(data=st.data())
def test_a_random_layer_is_integer_exact(op, data):
    attributes, x_shape, w_shape = data.draw(layers(op))
    activation = data.draw(st.sampled_from(ACTIVATIONS))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    model = network(op, attributes, x_shape, w_shape, activation, rng)
    inputs = {"x": rng.standard_normal(x_shape).astype(np.float32)}
    if data.draw(st.booleans()):  # what a layer after a Relu sees: unsigned codes
        inputs["x"] = np.abs(inputs["x"])
    bits = {key: data.draw(st.integers(2, 16)) for key in ("weight_bits", "input_bits")}
    report = diff(model, inputs=inputs, **bits, **data.draw(st.sampled_from(MAPPINGS)))
    assert report.passed, report.table()
    assert [row.integer_exact for row in report.layers if row.kind == "crossbar"] == [True]
