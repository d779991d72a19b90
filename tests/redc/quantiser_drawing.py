"""Random operators between quantisers: every one that moves or computes, its inputs' codes and its output's
each with scales of their own, zero points present or left out."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.redc.quantised_drawing import model_of

KINDS = {
    np.uint8: TensorProto.UINT8,
    np.int8: TensorProto.INT8,
    np.uint16: TensorProto.UINT16,
    np.int16: TensorProto.INT16,
}
MOVES = {
    "Concat": ({}, []),
    "Split": ({"axis": 1}, [np.array([1, 3])]),
    "MaxPool": ({"kernel_shape": [2, 3], "pads": [1, 1, 0, 1], "ceil_mode": 1}, []),
    "Transpose": ({"perm": [0, 2, 3, 1]}, []),
    "Resize": ({"coordinate_transformation_mode": "asymmetric"}, ["", np.array([1, 1, 2, 2], np.float32)]),
    "Slice": ({}, [np.array([1]), np.array([4]), np.array([2]), np.array([2])]),
    "Pad": ({}, [np.array([0, 0, 1, 0, 0, 1, 0, 2]), np.float32(0.5)]),
    "Gather": ({"axis": 1}, [np.array([1, 0, 1])]),
    "DepthToSpace": ({"blocksize": 2}, []),
}
FUNCTIONS = {
    "Relu": ({}, []),
    "Clip": ({}, [np.float32(-1), np.float32(1.5)]),
    "Tanh": ({}, []),
    "Sigmoid": ({}, []),
    "LeakyRelu": ({"alpha": 0.1}, []),
    "HardSwish": ({}, []),
    "AveragePool": ({"kernel_shape": [2, 3], "strides": [2, 1], "ceil_mode": 1, "count_include_pad": 1}, []),
    "GlobalAveragePool": ({}, []),
    "Add": ({}, [np.linspace(-1, 1, 5, dtype=np.float32)]),
    "Mul": ({}, [np.linspace(-2, 2, 20, dtype=np.float32).reshape(4, 1, 5)]),
    "Max": ({}, [np.linspace(-0.5, 0.5, 60, dtype=np.float32).reshape(4, 3, 5)]),
}
PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


class Between:
    """x between QuantizeLinear and DequantizeLinear of one type, an operator, and the same again."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.kind = draw(st.sampled_from(list(KINDS)))
        self.nodes, self.constants = [], {}

    def constant(self, value) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def node(self, op, inputs, count=1, **named):
        outputs = [f"t{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, inputs, outputs, f"{op}{len(self.nodes)}", **named))
        return outputs if count > 1 else outputs[0]

    def codes(self, span):
        """Names of a scale and a zero point for values of about +-span; without one, where it is 0."""
        info = np.iinfo(self.kind)
        scale = np.float32(span * self.draw(st.sampled_from([0.7, 1, 1.3])) * 2 / (info.max - info.min))
        middle = (info.max + info.min + 1) // 2
        zero = self.draw(st.sampled_from([None, middle, middle + 9, int(info.min)]))
        return [self.constant(scale)] + ([] if zero is None else [self.constant(self.kind(zero))])

    def quantised(self, x, codes):
        named = {} if len(codes) > 1 or self.kind is np.uint8 else {"output_dtype": KINDS[self.kind]}
        return self.node("QuantizeLinear", [x, *codes], **named)

    def weight(self, shape, axis):
        """A dequantised weight of 7 bits, one scale or one for each index of `axis`."""
        kind = self.draw(st.sampled_from([np.int8, np.uint8]))
        low = 0 if kind is np.uint8 else -64
        size = self.draw(st.sampled_from([(), (shape[axis],)]))
        inputs = [self.rng.integers(low, low + 128, shape).astype(kind)]
        inputs.append(self.rng.uniform(0.004, 0.02, size).astype(np.float32))
        if self.draw(st.booleans()):
            inputs.append((self.rng.integers(0, 9, size) + low + 60).astype(kind))
        along = self.draw(st.sampled_from([axis, axis - len(shape)]))
        return self.node("DequantizeLinear", [self.constant(v) for v in inputs], axis=along), inputs[1]

    def product(self, op, a, scale):
        shape, axis, x = {
            "Conv": ((4, 4, 2, 3), 0, (2, 4, 3, 5)),
            "ConvTranspose": ((4, 3, 2, 3), 1, (2, 4, 3, 5)),
            "MatMul": ((5, 3), 1, (2, 4, 3, 5)),
            "Gemm": ((3, 5), 0, (4, 5)),
        }[op]
        if self.draw(st.booleans()) and shape[0] == shape[1]:
            axis = 1 - axis
        weight, steps = self.weight(shape, axis)
        inputs = [a, weight]
        outputs = shape[{"Conv": 0, "Gemm": 0}.get(op, 1)]
        if op != "MatMul" and self.draw(st.booleans()):
            step = scale * (steps if steps.size in (1, outputs) else steps[:1].reshape(()))
            step = np.asarray(step * self.draw(st.sampled_from([1, 1, 2, 0.3])), np.float32)
            codes = self.rng.integers(-900, 900, outputs).astype(np.int32)
            inputs.append(self.node("DequantizeLinear", [self.constant(codes), self.constant(step)], axis=0))
        named = {"transB": 1, "alpha": self.draw(st.sampled_from([1.0, 0.5]))} if op == "Gemm" else {}
        return self.node(op, inputs, **named), x


@st.composite
def operators_between_quantisers(draw):
    """(model, inputs, name of the operator)."""
    net = Between(draw)
    op = draw(st.sampled_from([*MOVES, *FUNCTIONS, *PRODUCTS]))
    given = net.codes(4.0)
    a = net.node("DequantizeLinear", [net.quantised("x", given), *given])
    shape = (2, 4, 3, 5)
    if op in PRODUCTS:
        made, shape = net.product(op, a, net.constants[given[0]])
        if draw(st.booleans()):
            made = net.node("Relu", [made])
    else:
        named, more = (MOVES | FUNCTIONS)[op]
        inputs = [a, *(v if isinstance(v, str) else net.constant(v) for v in more)]
        if op == "Concat":
            other = net.codes(3.0)
            inputs.append(net.node("DequantizeLinear", [net.quantised("x", other), *other]))
            named = {"axis": draw(st.sampled_from([0, 1, -1]))}
        made = net.node(op, inputs, 2 if op == "Split" else 1, **named)
    outputs = {}
    for name in [made] if isinstance(made, str) else made:
        same = op in MOVES and draw(st.booleans())
        codes = given if same else net.codes(8.0 if op in PRODUCTS else 4.0)
        out = net.quantised(name, codes)
        if draw(st.booleans()):
            outputs[net.node("DequantizeLinear", [out, *codes])] = TensorProto.FLOAT
        else:
            outputs[out] = KINDS[net.kind]
    inputs = {"x": (net.rng.standard_normal(shape) * 2).astype(np.float32)}
    return model_of(net.nodes, net.constants, inputs, outputs, opset=21), inputs, op
