"""Whatever way a network is quantised, its products run on crossbars and its integers are onnxruntime's.

Weights have 7 bits here where a test asks onnxruntime's own integer kernels: on CPUs without VNNI these
saturate sums of two products, and 8 bits would be wrong there.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from redc.diff import diff
from redc.oracle import run_model
from tests.redc.layers_alone import layers_apart
from tests.redc.quantised_networks import NETWORKS, SYMMETRIC, Form, quantised

TYPES = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8, np.float32: TensorProto.FLOAT}


@pytest.mark.parametrize("network", ["cnn", "transformer"])
@pytest.mark.parametrize(
    ("form", "share"),
    [
        (Form("QDQ", "QUInt8", "QInt8", reduce_range=True), 0.75),
        (Form("QDQ", "QInt16", "QInt8", True, reduce_range=True), 0.75),
        (Form("QDQ", "QUInt8", "QInt4", True), 0.75),
        (Form("QOperator", "QUInt8", "QInt8", reduce_range=True), 0.8),
        (Form("QOperator", "QInt8", "QInt8", True, reduce_range=True, options=SYMMETRIC), 0.8),
        (Form("dynamic", "QUInt8", "QUInt8"), 0.65),
    ],
    ids=str,
)
def test_what_onnxruntimes_tools_make_runs_on_crossbars_a_step_away_at_most(network, form, share):
    model = quantised(network, form)
    inputs = NETWORKS[network]().sample(50)
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    assert report.work["crossbar"] > share * sum(report.work.values())
    apart = layers_apart(model, redc.compile(model, calibrate=inputs), inputs)
    assert max((one.steps for one in apart if one.given), default=0) <= 1
    integers = [
        n for n in model.graph.node if n.op_type in ("ConvInteger", "MatMulInteger", "QGemm", "QLinearConv")
    ]
    crossbars = {row.name for row in report.layers if row.kind == "crossbar"}
    assert {n.name for n in integers} <= crossbars


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
            self.at = self.node("QGemm", inputs, "com.microsoft", transB=1)
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


EXACT = ("Conv", "Gemm", "MaxPool", "Transpose", "Slice", "Pad", "Resize")


@given(networks())
@settings(max_examples=40)
def test_random_quantised_networks_stay_in_integers_a_step_away_at_most(drawn):
    model, inputs = drawn
    program = redc.compile(model, calibrate=inputs, host=False)
    assert {buffer.type.bits for buffer in program.buffers.values() if buffer.scale is not None} == {8}
    report = diff(model, program, inputs)
    assert report.passed, report.table()
    apart = layers_apart(model, program, inputs)
    assert apart
    for one in apart:
        assert one.steps <= (0 if one.op in EXACT else 1), one
    (output,) = (v.name for v in model.graph.output)
    got, wanted = runtime.run(program, inputs).outputs[output], run_model(model, model.graph, inputs)[output]
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)


@st.composite
def integer_products(draw):
    """ConvInteger or MatMulInteger of every mixture of types and zero points, and what follows it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    conv, source = draw(st.booleans()), draw(st.sampled_from(["dynamic", "static", "integers"]))
    x_kind = np.uint8 if source == "dynamic" else draw(st.sampled_from([np.uint8, np.int8]))
    w_kind = draw(st.sampled_from([np.uint8, np.int8]))
    node = helper.make_node
    shape, w_shape = ((2, 3, 5, 4), (4, 3, 3, 2)) if conv else ((2, 3, 6), (6, 5))
    low = 0 if w_kind is np.uint8 else -32
    constants = {"w": rng.integers(low, low + 64, w_shape).astype(w_kind)}
    x = rng.standard_normal(shape).astype(np.float32)
    inputs, nodes = {"x": x}, []
    names = ["q", "w", "zero", ""]
    if source == "dynamic":
        nodes.append(node("DynamicQuantizeLinear", ["x"], ["q", "step", "zero"]))
    elif source == "static":
        constants |= {"zero": x_kind(draw(st.sampled_from([0, 17]))), "xs": np.float32(0.02)}
        nodes.append(node("QuantizeLinear", ["x", "xs", "zero"], ["q"]))
    else:
        names[0] = "x"
        inputs = {"x": rng.integers(np.iinfo(x_kind).min, np.iinfo(x_kind).max + 1, shape).astype(x_kind)}
        constants |= {"zero": x_kind(99)}
        names[2] = draw(st.sampled_from(["", "zero"]))
    if draw(st.booleans()):
        per_column = not conv and draw(st.booleans())
        constants["wz"] = rng.integers(0, 9, 5 if per_column else ()).astype(w_kind)
        names[3] = "wz"
    nodes.append(node("ConvInteger" if conv else "MatMulInteger", names, ["sums"], "product"))
    tail = draw(st.sampled_from(["integers", "real", "scaled"]))
    if tail == "integers":
        return model_of(nodes, constants, inputs, {"sums": TensorProto.INT32}), inputs, 0
    nodes.append(node("Cast", ["sums"], ["real"], to=TensorProto.FLOAT))
    if tail == "real":
        return model_of(nodes, constants, inputs, {"real": TensorProto.FLOAT}), inputs, 0
    constants |= {
        "ws": np.float32(0.01),
        "b": rng.standard_normal((4, 1, 1) if conv else 5).astype(np.float32),
    }
    if source == "dynamic":
        nodes.append(node("Mul", ["step", "ws"], ["scale"]))
    else:
        constants["scale"] = np.float32(0.013)
    nodes += [node("Mul", ["real", "scale"], ["scaled"]), node("Add", ["scaled", "b"], ["y"])]
    return model_of(nodes, constants, inputs, {"y": TensorProto.FLOAT}), inputs, 1e-3


@given(integer_products())
@settings(max_examples=40)
def test_sums_of_integer_operators_equal_onnxruntimes(drawn):
    model, inputs, tolerance = drawn
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    assert [row.kind for row in report.layers if "product" in row.nodes] == ["crossbar"]
    program = redc.compile(model, calibrate=inputs)
    (output,) = (v.name for v in model.graph.output)
    got, wanted = runtime.run(program, inputs).outputs[output], run_model(model, model.graph, inputs)[output]
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    assert np.abs(got.astype(np.float64) - wanted).max() <= tolerance * np.abs(wanted).max()


def test_a_wrong_weight_below_a_computed_zero_point_is_named():
    """The oracle takes the difference that the host makes, and finds the sums anew."""
    model = quantised("mlp", Form("dynamic", "QUInt8", "QUInt8"))
    inputs = NETWORKS["mlp"]().sample(0)
    program = redc.compile(model, calibrate=inputs)
    name = next(iter(program.crossbars.values())).data
    weights = program.constant(name).copy()
    weights.flat[0] += 1
    report = diff(model, dataclasses.replace(program, data={**program.data, name: weights}), inputs)
    assert not report.passed


def test_another_tensor_in_place_of_a_difference_is_found():
    model = quantised("mlp", Form("dynamic", "QUInt8", "QUInt8"))
    inputs = NETWORKS["mlp"]().sample(0)
    program = redc.compile(model, calibrate=inputs)
    buffers = {
        name: dataclasses.replace(b, tensor="other") if b.tensor and " - " in b.tensor else b
        for name, b in program.buffers.items()
    }
    report = diff(model, dataclasses.replace(program, buffers=buffers), inputs)
    assert not report.passed
    assert "holds no tensor of the model" in report.table()


def test_another_zero_point_than_the_files_is_found():
    """Consistently used, it makes sums that are right for it."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(0, 64, (6, 5)).astype(np.uint8), "zero": np.uint8(99)}
    nodes = [helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"], "product")]
    inputs = {"x": rng.integers(0, 256, (3, 6)).astype(np.uint8)}
    model = model_of(nodes, constants, inputs, {"y": TensorProto.INT32})
    program = redc.compile(model, calibrate=inputs, host=False)
    assert diff(model, program, inputs).passed
    buffers = {n: dataclasses.replace(b, zero=98) if b.zero == 99 else b for n, b in program.buffers.items()}
    crossbars = {
        n: dataclasses.replace(x, input_type=buffers["x"].drive_type) for n, x in program.crossbars.items()
    }
    report = diff(model, dataclasses.replace(program, buffers=buffers, crossbars=crossbars), inputs)
    assert not report.passed
    assert "has the zero 98, the file says 99" in report.table()


def test_sums_that_may_leave_32_bits_stay_with_onnxruntime():
    """There they wrap, and crossbars do not."""
    rows = 2**17
    weight = np.full((rows, 1), 255, np.uint8)
    nodes = [helper.make_node("MatMulInteger", ["x", "w"], ["y"], "product")]
    inputs = {"x": np.full((1, rows), 1, np.uint8)}
    model = model_of(nodes, {"w": weight}, inputs, {"y": TensorProto.INT32})
    assert [layer.op for layer in redc.compile(model, calibrate=inputs).layers] == ["host"]
    with pytest.raises(redc.UserError, match="its sums may leave 32 bits"):
        redc.compile(model, calibrate=inputs, host=False)


def test_integers_of_a_host_are_read_as_codes_and_codes_leave_as_integers():
    """Between a Softmax of the host and the crossbars, and back, only bytes travel."""
    model = quantised("transformer", Form("QOperator", "QUInt8", "QInt8", reduce_range=True))
    program = redc.compile(model, calibrate=NETWORKS["transformer"]().sample(0))
    touched = {
        ref.name
        for layer in program.layers
        for i in layer.body
        if getattr(i, "mnemonic", "") == "host"
        for ref in i.operands[1:]
    }
    held = [b for name, b in program.buffers.items() if name in touched and not b.raw]
    assert held
    assert {(b.onnx_type, str(b.type)) for b in held if b.kind == "buffer"} >= {("u8", "u8")}


def test_the_model_onnxruntime_sees_is_the_files():
    """Its optimiser would round float weights between quantisers to 8 bits, and inputs of 16 bits to 8."""
    model = quantised("cnn", Form("QOperator", "QUInt8", "QInt8", reduce_range=True))
    assert isinstance(model, onnx.ModelProto)
    (up,) = (n for n in model.graph.node if n.op_type == "ConvTranspose")
    inputs = NETWORKS["cnn"]().sample(3)
    values = run_model(model, model.graph, inputs, [up.input[0], up.output[0], "t0_quantized"])
    scale, zero = (
        numpy_helper.to_array(t)
        for n in ("t0_scale", "t0_zero_point")
        for t in model.graph.initializer
        if t.name == n
    )
    real = np.clip(np.rint(values[up.output[0]] / scale) + zero, 0, 255)
    assert (real == values["t0_quantized"]).mean() > 0.99


@pytest.mark.parametrize("blocks", [False, True])
def test_weights_of_several_scales_for_one_column_count_as_float_ones(blocks):
    """A column of a crossbar has one scale; with 16 bits the codes after it are a step away at most."""
    rng = np.random.default_rng(0)
    shape = (3, 5) if blocks else (6,)
    constants = {
        "s": np.float32(0.02),
        "z": np.uint8(120),
        "w": rng.integers(-128, 128, (6, 5)).astype(np.int8),
        "ws": rng.uniform(0.002, 0.01, shape).astype(np.float32),
        "wz": np.zeros(shape, np.int8),
        "ys": np.float32(0.05),
    }
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["v"], axis=0, **({"block_size": 2} if blocks else {})),
        node("MatMul", ["a", "v"], ["c"], "product"),
        node("QuantizeLinear", ["c", "ys", "z"], ["r"]),
        node("DequantizeLinear", ["r", "ys", "z"], ["y"]),
    ]
    inputs = {"x": rng.standard_normal((4, 6)).astype(np.float32)}
    model = model_of(nodes, constants, inputs, {"y": TensorProto.FLOAT}, opset=21)
    program = redc.compile(model, host=False)
    assert diff(model, program, inputs).passed
    apart = layers_apart(model, program, inputs)
    assert [one.op for one in apart] == ["MatMul"]
    assert apart[0].steps <= 1


def test_outputs_of_integers_are_compared_as_what_they_mean():
    model, inputs = (
        quantised("mlp", Form("QOperator", "QUInt8", "QInt8", reduce_range=True)),
        NETWORKS["mlp"]().sample(0),
    )
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y_quantized", TensorProto.UINT8, None))
    (row,) = diff(model, inputs=inputs).outputs
    assert row.sqnr_db is None or row.sqnr_db > 30


def test_half_floats_between_quantisers_leave_for_no_host():
    """Scales of float16 make float16; what a host reads of it, the host makes."""
    rng = np.random.default_rng(0)
    half = np.float16
    constants = {
        "s": half(0.02),
        "z": np.uint8(120),
        "w": rng.integers(-64, 64, (6, 5)).astype(np.int8),
        "ws": half(0.01),
        "ys": half(0.05),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("QuantizeLinear", ["h", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        node("DequantizeLinear", ["w", "ws"], ["v"]),
        node("MatMul", ["a", "v"], ["c"], "product"),
        node("QuantizeLinear", ["c", "ys", "z"], ["r"]),
        node("DequantizeLinear", ["r", "ys", "z"], ["d"]),
        node("Relu", ["d"], ["e"]),
        node("Softmax", ["e"], ["f"]),
        node("Cast", ["f"], ["y"], to=TensorProto.FLOAT),
        node("Transpose", ["d"], ["t"], perm=[1, 0]),
    ]
    inputs = {"x": rng.standard_normal((4, 6)).astype(np.float32)}
    outputs = {"y": TensorProto.FLOAT, "t": TensorProto.FLOAT16}
    model = model_of(nodes, constants, inputs, outputs, opset=19)
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    assert [row.nodes[0] for row in report.layers if row.kind == "crossbar"] == ["product"]
    got = runtime.run(redc.compile(model, calibrate=inputs), inputs).outputs
    assert {name: value.dtype for name, value in got.items()} == {"y": np.float32, "t": np.float16}
