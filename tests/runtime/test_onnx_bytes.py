"""The hand-written protocol buffer is the model it claims to be: `onnx` reads it and finds nothing wrong."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from runtime.onnx_bytes import matmul_integer


@pytest.mark.parametrize(("dtype", "zero"), [(np.int8, 0), (np.int8, 200), (np.uint8, 3)])
def test_onnx_reads_what_was_written_by_hand(dtype: type, zero: int) -> None:
    weights = np.random.default_rng(0).integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (300, 5), dtype)
    model = onnx.load_from_string(matmul_integer(weights, zero))
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert node.op_type == "MatMulInteger"
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(held["w"], weights)
    assert held["zero"] == zero
    assert held.get("weight_zero", 0) == (128 if dtype is np.uint8 else 0)
