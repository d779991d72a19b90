"""Random networks in onnxruntime's QOperator format."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

TYPES = {
    np.uint8: TensorProto.UINT8,
    np.int8: TensorProto.INT8,
    np.int16: TensorProto.INT16,
    np.float32: TensorProto.FLOAT,
}


def model_of(nodes, constants, inputs, outputs, opset=17):
    values = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    ports = [helper.make_tensor_value_info(n, TYPES[v.dtype.type], v.shape) for n, v in inputs.items()]
    results = [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()]
    graph = helper.make_graph(nodes, "quantised", ports, results, values)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


class Drawing:
    """A network under construction: integers `at`, of scale and zero point `codes`."""

    def __init__(self, draw):
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.nodes, self.constants, self.made = [], {}, 0
        self.at = "x"
        self.shape = (2, self.draw(st.integers(1, 4)), 5, 4)
        self.kind = draw(st.sampled_from([np.uint8, np.int8]))

    def node(self, op, inputs, domain="", **named):
        self.made += 1
        out = f"t{self.made}"
        self.nodes.append(helper.make_node(op, inputs, [out], f"{op}{self.made}", domain=domain, **named))
        return out

    def constant(self, value):
        self.made += 1
        self.constants[f"c{self.made}"] = value
        return f"c{self.made}"

    def codes(self):
        zero = self.draw(st.sampled_from([0, 3, 100 if self.kind is np.int8 else 200]))
        scale = self.draw(st.sampled_from([0.02, 0.031, 0.05]))
        return [self.constant(np.float32(scale)), self.constant(self.kind(zero))]

    def weight(self, *shape, axis=0):
        """Name of 7-bit integers, of their scale and of their zero point."""
        kind = self.draw(st.sampled_from([np.int8, np.uint8])) if self.kind is np.uint8 else np.int8
        values = self.rng.integers(0, 128, shape) if kind is np.uint8 else self.rng.integers(-64, 64, shape)
        size = (shape[axis],) if self.draw(st.booleans()) else ()
        zero = np.full(size, 64 if kind is np.uint8 else 0, kind)
        scale = self.rng.uniform(0.004, 0.01, size).astype(np.float32)
        return [self.constant(v) for v in (values.astype(kind), scale, zero)]

    def product(self):
        """QLinearConv or QGemm."""
        given, to = self.held, self.codes()
        if len(self.shape) == 4:
            groups = self.draw(st.sampled_from([1, self.shape[1]]))
            outputs = groups * self.draw(st.integers(1, 3))
            weight = self.weight(outputs, self.shape[1] // groups, 3, 2)
            bias = self.constant(self.rng.integers(-500, 500, outputs).astype(np.int32))
            self.at = self.node(
                "QLinearConv", [self.at, *given, *weight, *to, bias], group=groups, pads=[1, 1, 1, 0]
            )
            self.shape = (2, outputs, *self.shape[2:])
        else:
            columns = self.draw(st.integers(1, 6))
            weight = self.weight(columns, self.shape[1])
            bias = self.constant(self.rng.integers(-500, 500, columns).astype(np.int32))
            inputs = [self.at, *given, *weight, bias, *to]
            alpha = self.draw(st.sampled_from([1.0, 1.0, 0.5, 1.7]))
            self.at = self.node("QGemm", inputs, "com.microsoft", transB=1, alpha=alpha)
            self.shape = (2, columns)
        self.held = to

    def pointwise(self):
        """What onnxruntime has for integers."""
        given, to = self.held, self.codes()
        op = self.draw(st.sampled_from(["Sigmoid", "LeakyRelu", "Add", "Mul", "Concat"]))
        if op in ("Sigmoid", "LeakyRelu"):
            self.at = self.node(f"QLinear{op}", [self.at, *given, *to], "com.microsoft")
        elif op == "Concat":
            self.at = self.node("QLinearConcat", [*to, *[self.at, *given] * 2], "com.microsoft", axis=1)
            self.shape = (2, 2 * self.shape[1], *self.shape[2:])
        else:
            other = [self.at, *given]
            if self.draw(st.booleans()):
                other = [self.constant(self.kind(57)), *self.codes()]
            self.at = self.node(f"QLinear{op}", [self.at, *given, *other, *to], "com.microsoft")
        self.held = to

    def moving(self):
        """What keeps codes."""
        op = self.draw(
            st.sampled_from(["MaxPool", "Transpose", "Flatten", "Average", "Slice", "Pad", "Resize"])
        )
        if len(self.shape) == 2:
            op = "Slice"
        if op == "MaxPool":
            self.at = self.node(op, [self.at], kernel_shape=[2, 2], pads=[1, 0, 0, 1])
        elif op == "Transpose":
            self.at = self.node(op, [self.at], perm=[0, 1, 3, 2])
            self.shape = (*self.shape[:2], self.shape[3], self.shape[2])
        elif op == "Pad":
            pads = self.constant(np.array([0, 0, 1, 2, 0, 0, 0, 1]))
            value = [self.constant(self.kind(7))] if self.draw(st.booleans()) else []
            self.at = self.node(op, [self.at, pads, *value])
            self.shape = (*self.shape[:2], self.shape[2] + 1, self.shape[3] + 3)
        elif op == "Resize":
            scales = self.constant(np.array([1, 1, 2, 2], np.float32))
            self.at = self.node(op, [self.at, "", scales], coordinate_transformation_mode="asymmetric")
            self.shape = (*self.shape[:2], 2 * self.shape[2], 2 * self.shape[3])
        elif op == "Flatten":
            self.at = self.node(op, [self.at])
            self.shape = (2, int(np.prod(self.shape[1:])))
        elif op == "Average":
            to = self.codes()
            self.at = self.node("QLinearGlobalAveragePool", [self.at, *self.held, *to], "com.microsoft")
            self.shape, self.held = (*self.shape[:2], 1, 1), to
        else:
            ends = [self.constant(np.array(v)) for v in ([0], [max(1, self.shape[1] - 1)], [1])]
            self.at = self.node(op, [self.at, *ends])
            self.shape = (2, max(1, self.shape[1] - 1), *self.shape[2:])


@st.composite
def networks(draw):
    """(model, inputs): integers in or quantised, some operators, integers out or real."""
    net = Drawing(draw)
    x = net.rng.standard_normal(net.shape).astype(np.float32) * 2
    net.held = net.codes()
    inputs = {"x": x}
    if draw(st.booleans()):
        bounds = np.iinfo(net.kind)
        inputs = {"x": net.rng.integers(bounds.min, bounds.max + 1, net.shape).astype(net.kind)}
    else:
        net.at = net.node("QuantizeLinear", ["x", *net.held])
    net.product()
    for step in draw(
        st.lists(st.sampled_from([Drawing.product, Drawing.pointwise, Drawing.moving]), max_size=4)
    ):
        step(net)
    kind = TYPES[net.kind]
    if draw(st.booleans()):
        net.at, kind = net.node("DequantizeLinear", [net.at, *net.held]), TensorProto.FLOAT
    return model_of(net.nodes, net.constants, inputs, {net.at: kind}), inputs
