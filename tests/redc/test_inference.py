"""Of operators that onnxruntime alone knows: shapes for the accelerator, work for the share."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from redc.diff import diff
from redc.work import operations


def test_what_stands_behind_an_operator_of_onnxruntimes_own_stays_on_the_crossbars() -> None:
    """ONNX infers no shape for it, and onnxruntime does; and its work is counted."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((1, 8, 16)), "v": rng.standard_normal((6, 4, 4, 4))}
    graph = helper.make_graph(
        [
            helper.make_node("FusedMatMul", ["x", "w"], ["a"], domain="com.microsoft"),
            helper.make_node("Reshape", ["a", "shape"], ["b"]),
            helper.make_node("ConvTranspose", ["b", "v"], ["y"], strides=[2, 2]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
        + [numpy_helper.from_array(np.array([1, 6, 4, 4]), "shape")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    report = diff(model)
    assert report.passed, report.table()
    assert [row.op for row in report.layers if row.kind == "crossbar"] == ["ConvTranspose"]
    assert report.work["crossbar"] == 6 * 4 * 4 * 4 * 4 * 4
    assert report.work["host"] == 6 * 16 * 8


def test_attention_is_counted_with_its_products() -> None:
    query, key = (2, 3, 8), (2, 5, 8)
    node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["y"], domain="com.microsoft", num_heads=2)
    shapes = {"q": query, "k": key, "v": key, "y": query}
    assert operations(node, shapes) == 2 * 3 * 8 + 2 * 3 * 5 * 8 * 2
    node = helper.make_node("Attention", ["x", "w", "b"], ["y"], domain="com.microsoft", num_heads=2)
    shapes = {"x": query, "w": (8, 24), "b": (24,), "y": query}
    assert operations(node, shapes) == 2 * 3 * 8 + 2 * 3 * 8 * 24 + 2 * 3 * 3 * 8 * 2
