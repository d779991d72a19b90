"""Quantised operators of onnxruntime's that no crossbar runs: the host's, equal, and named as such."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import redc
import runtime
from redc.oracle import run_model
from tests.redc.quantised_drawing import model_of

RNG = np.random.default_rng(0)


def weight(*shape):
    return RNG.integers(-64, 64, shape).astype(np.int8)


def one(op, constants, x, kind, order, count=1, **named):
    """A model of this one operator, whose inputs are x and `constants` in `order`."""
    outputs = ["y", *(f"y{i}" for i in range(1, count))]
    node = helper.make_node(op, order.split(","), outputs, "it", domain="com.microsoft", **named)
    return model_of([node], constants, {"x": x}, {"y": kind}, opset=21), {"x": x}


def softmax():
    constants = {"s": np.float32(0.05), "z": np.uint8(3), "t": np.float32(1 / 256), "o": np.uint8(0)}
    x = RNG.integers(0, 256, (2, 3, 5)).astype(np.uint8)
    return one("QLinearSoftmax", constants, x, TensorProto.UINT8, "x,s,z,t,o", axis=-1, opset=13)


def where():
    constants = {"c": RNG.random((2, 3)) < 0.5, "b": RNG.integers(0, 256, (2, 3)).astype(np.uint8)}
    constants |= {"s": np.float32(0.05), "z": np.uint8(3), "t": np.float32(0.04), "u": np.float32(0.06)}
    x = RNG.integers(0, 256, (2, 3)).astype(np.uint8)
    return one("QLinearWhere", constants, x, TensorProto.UINT8, "c,x,s,z,b,t,z,u,z")


def lstm():
    constants = {"w": weight(1, 4, 12), "r": weight(1, 3, 12), "b": np.zeros((1, 24), np.float32)}
    constants |= {"s": np.full(1, 0.01, np.float32), "z": np.zeros(1, np.int8)}
    x = RNG.standard_normal((5, 2, 4)).astype(np.float32)
    order = "x,w,r,b,,,,,s,z,s,z"
    return one("DynamicQuantizeLSTM", constants, x, TensorProto.FLOAT, order, 3, hidden_size=3)


def attention():
    constants = {"w": weight(8, 24), "b": np.zeros(24, np.float32), "s": np.float32(0.02)}
    constants |= {"z": np.uint8(128), "o": np.int8(0)}
    x = RNG.integers(0, 256, (1, 4, 8)).astype(np.uint8)
    return one("QAttention", constants, x, TensorProto.FLOAT, "x,w,b,s,s,,z,o", num_heads=2)


FORMS = {
    "QLinearSoftmax": softmax,
    "QLinearWhere": where,
    "DynamicQuantizeLSTM": lstm,
    "QAttention": attention,
}


@pytest.mark.parametrize("op", FORMS)
def test_what_only_onnxruntime_has_is_the_hosts_and_says_so(op):
    model, inputs = FORMS[op]()
    program = redc.compile(model, calibrate=inputs)
    assert [layer.op for layer in program.layers] == ["host"]
    wanted = run_model(model, model.graph, inputs, ["y"])["y"]
    np.testing.assert_array_equal(runtime.run(program, inputs).outputs["y"], wanted)
    with pytest.raises(redc.UserError, match=op):
        redc.compile(model, calibrate=inputs, host=False)
