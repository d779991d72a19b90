"""The reference computes what the file says, where onnxruntime's integer kernels would not."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import redc
import runtime
from redc.diff import diff
from redc.oracle.reference import misread, run_model
from tests.redc.quantised_drawing import model_of


def as_the_file_says(model, inputs):
    """Each operator by itself, in floats."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, inputs)[0]


def between_quantisers(node, constants, x, more=()):
    """QuantizeLinear of x to `a`, `node`, which makes `b`, and QuantizeLinear to y, of bytes."""
    constants = {"xs": np.float32(0.04), "xz": np.uint8(120), "ys": np.float32(0.08), **constants}
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        make("DequantizeLinear", ["q", "xs", "xz"], ["a"]),
        *more,
        node,
        make("QuantizeLinear", ["b", "ys", "xz"], ["y"]),
    ]
    inputs = {"x": x}
    return model_of(nodes, constants, inputs, {"y": TensorProto.UINT8}, opset=21), inputs


def product(op, bias_scale=None, axis=None, zero=True, **named):
    """A product of an int8 weight, 6 x 6: with several scales along `axis`, and a bias on `bias_scale`
    times the scale of its sums."""
    rng = np.random.default_rng(3)
    shape = (6, 6, 1, 1) if op == "Conv" else (6, 6)
    constants = {
        "w": rng.integers(-64, 64, shape).astype(np.int8),
        "ws": np.float32(0.01) if axis is None else rng.uniform(0.002, 0.02, 6).astype(np.float32),
        **({"wz": np.zeros(() if axis is None else 6, np.int8)} if zero else {}),
    }
    make = helper.make_node
    names = ["w", "ws", "wz"] if zero else ["w", "ws"]
    more = [make("DequantizeLinear", names, ["v"], **({} if axis is None else {"axis": axis}))]
    if bias_scale is not None:
        constants |= {
            "c": rng.integers(-2000, 2000, 6).astype(np.int32),
            "cs": np.asarray(bias_scale * np.float32(0.04) * constants["ws"], np.float32),
        }
        more.append(make("DequantizeLinear", ["c", "cs"], ["bias"], axis=0))
    inputs = ["a", "v"] + (["bias"] if bias_scale is not None and op != "MatMul" else [])
    last = make(op, inputs, ["b"], **named)
    if op == "MatMul" and bias_scale is not None:
        more.append(make(op, inputs, ["m"]))
        last = make("Add", ["m", "bias"], ["b"])
    x = rng.standard_normal((2, 6, 3, 3) if op == "Conv" else (4, 6)).astype(np.float32) * 2
    return between_quantisers(last, constants, x, more)


def pool():
    node = helper.make_node(
        "AveragePool", ["a"], ["b"], kernel_shape=[2, 3], strides=[2, 2], pads=[1, 1, 0, 1],
        ceil_mode=1, count_include_pad=1,
    )  # fmt: skip
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 6)).astype(np.float32) + 2
    return between_quantisers(node, {}, x)


MISREAD = {
    "Gemm, a bias twice as coarse": lambda: product("Gemm", 2),
    "Gemm, alpha before a bias": lambda: product("Gemm", 1, alpha=0.5),
    "MatMul and Add, a finer bias": lambda: product("MatMul", 0.25),
    "MatMul, a scale for each row": lambda: product("MatMul", axis=0),
    "Gemm, a scale for each row": lambda: product("Gemm", axis=0),
    "Gemm transposed, a scale for each column": lambda: product("Gemm", axis=1, transB=1),
    "Conv, a scale for each input channel": lambda: product("Conv", axis=1),
    "AveragePool beyond the padding": pool,
}
READ = {
    "Gemm": lambda: product("Gemm", 1),
    "Gemm, a scale for each column": lambda: product("Gemm", 1, axis=1),
    "Gemm transposed, a scale for each row": lambda: product("Gemm", 1, axis=0, transB=1),
    "MatMul and Add": lambda: product("MatMul", 1),
    "MatMul, a scale for each column": lambda: product("MatMul", axis=-1),
    "Conv": lambda: product("Conv", 1),
    "Conv, a scale for each output channel": lambda: product("Conv", axis=0),
    "Conv, scales without zero points": lambda: product("Conv", axis=0, zero=False),
}


@pytest.mark.parametrize("name", [*MISREAD, *READ])
def test_the_reference_is_a_step_from_what_the_file_says_at_most(name):
    model, inputs = (MISREAD | READ)[name]()
    assert misread(model.graph) == (name in MISREAD)
    wanted = as_the_file_says(model, inputs).astype(int)
    assert np.abs(run_model(model, model.graph, inputs)["y"].astype(int) - wanted).max() <= 1
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    program = redc.compile(model, calibrate=inputs, host=False)
    assert np.abs(runtime.run(program, inputs).outputs["y"].astype(int) - wanted).max() <= 1
