"""`redc diff` on whole networks: what may stand around and between crossbar layers, and wrong wiring."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import redc
from isa.program import Address, BufferRef, Instruction, Loop
from redc.diff import diff

GAN = """g (float[N,6] z) => (float[N,2,8,8] y) {
    a = Gemm<transB=1>(z, w, b)
    n = BatchNormalization(a, gamma, beta, mean, var)
    p = Relu(n)
    r = Reshape(p, shape)
    c = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(r, w2)
    d = Identity(c)
    e = Add(d, k)
    f = Dropout(e)
    y = Tanh(f)
}"""
SEQUENCE = """g (float[2,5,7] x) => (float[2,4,7] y) {
    a = MatMul(x, w)
    b = Add(a, bias)
    c = LeakyRelu<alpha=0.2>(b)
    d = Conv<pads=[1,1]>(c, w1)
    e = ConvTranspose(d, w2)
    y = Sigmoid(e)
}"""
RESIDUAL = """g (float[1,3,6,6] x) => (float[1,3,6,6] y, float[1,108] f) {
    a = Conv<pads=[1,1,1,1]>(x, w)
    b = Relu(a)
    c = Add(b, x)
    d = Conv(c, w1)
    y = Clip(d, low, high)
    f = Flatten(c)
}"""
RESHAPES_WITHIN = """g (float[1,3,6] x) => (float[1,2,6] y) {
    a = Conv(x, w)
    r = Reshape(a, shape)
    q = Add(r, k)
    s = Unsqueeze(q, axes)
    t = Squeeze(s, axes)
    y = Relu(t)
}"""
RESHAPE_BEFORE_RELU = """g (float[1,3,6] x) => (float[1,12] y) {
    a = Conv(x, w)
    r = Reshape(a, shape)
    y = Relu(r)
}"""
TWO_INPUTS = """g (float[1,4] x, float[1,4] u) => (float[1,3] y) {
    a = Gemm<alpha=0.7, beta=0.3>(x, w, b)
    c = Gemm(u, w)
    y = Add(a, c)
}"""
OUTPUTS_WITHIN = """g (float[5,4] x) => (float[5,3] a, float[5,3] y, float[5,3] i) {
    a = Gemm(x, w)
    y = Relu(a)
    i = Identity(y)
}"""


def floats(*shape):
    return np.random.default_rng(shape).standard_normal(shape) * 0.5


NETWORKS = {
    "gan": (
        GAN,
        {
            "w": floats(48, 6), "b": floats(48), "gamma": floats(48), "beta": floats(48), "mean": floats(48),
            "var": floats(48) ** 2 + 0.5, "shape": np.array([-1, 3, 4, 4]), "w2": floats(3, 2, 4, 4),
            "k": floats(2, 1, 1),
        },
        ["a", "c"],
    ),
    "sequence": (
        SEQUENCE,
        {"w": floats(7, 7), "bias": floats(7), "w1": floats(3, 5, 3), "w2": floats(3, 4, 1)},
        ["a", "d", "e"],
    ),
    "residual": (
        RESIDUAL,
        {"w": floats(3, 3, 3, 3), "w1": floats(3, 3, 1, 1), "low": np.float64(-0.3), "high": np.float64(0.7)},
        ["a", "d"],
    ),
    "reshapes within": (
        RESHAPES_WITHIN,
        {"w": floats(2, 3, 1), "shape": np.array([0, 2, 6]), "k": floats(2, 1), "axes": np.array([0])},
        ["a"],
    ),
    "reshape before relu": (RESHAPE_BEFORE_RELU, {"w": floats(2, 3, 1), "shape": np.array([1, 12])}, ["a"]),
    "two inputs": (TWO_INPUTS, {"w": floats(4, 3), "b": floats(1, 3)}, ["a", "c"]),
    "outputs within": (OUTPUTS_WITHIN, {"w": floats(4, 3)}, ["a"]),
}  # fmt: skip


def network(name) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    text, constants, _ = NETWORKS[name]
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')
    for key, value in constants.items():
        kind = np.int64 if value.dtype.kind == "i" else np.float32
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, kind), key))
    shapes = {v.name: [d.dim_value or 3 for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    return model, {key: floats(*shape).astype(np.float32) for key, shape in shapes.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_crossbar_layer_is_exact_and_outputs_are_close(name):
    model, inputs = network(name)
    report = diff(model, inputs=inputs, min_sqnr=25)
    assert report.passed, report.table()
    found = [row.nodes[0] for row in report.layers if row.kind == "crossbar"]
    assert found == NETWORKS[name][2]
    assert all(row.integer_exact for row in report.layers if row.kind == "crossbar")
    assert all(row.integer_exact is None for row in report.layers if row.kind == "vector")


@pytest.fixture
def two():
    model, inputs = network("two inputs")
    return model, inputs, redc.compile(model, calibrate=inputs)


def rewired(program, mnemonic, change):
    def rewrite(nodes):
        return tuple(
            dataclasses.replace(node, body=rewrite(node.body))
            if isinstance(node, Loop)
            else (change(node) if node.mnemonic == mnemonic else node)
            for node in nodes
        )

    layers = tuple(dataclasses.replace(layer, body=rewrite(layer.body)) for layer in program.layers)
    return dataclasses.replace(program, layers=layers)


def test_a_layer_that_reads_another_tensor_is_named(two):
    """Both inputs are alike, so only the wiring can tell."""
    model, inputs, program = two
    assert program.buffers["x"].type == program.buffers["u"].type

    def swap(drive: Instruction):
        band, source = drive.operands
        assert isinstance(source, Address)
        return dataclasses.replace(drive, operands=(band, dataclasses.replace(source, buffer="u")))

    report = diff(model, rewired(program, "drive", swap), inputs)
    assert not report.passed
    assert "layer 'Gemm_a': Gemm of 'a' reads tensor 'x', but" in report.verdict()
    assert "buffer %u, which holds 'u'" in report.verdict()


def test_a_reshape_of_another_tensor_is_a_failure():
    model, inputs = network("gan")
    inputs = {"z": inputs["z"]}
    program = redc.compile(model, calibrate=inputs, shapes={"z": (3, 6)})
    (layer,) = (layer for layer in program.layers if layer.op == "Reshape")
    target, source = layer.body[0].operands
    assert isinstance(target, BufferRef)
    made_by_hand = dataclasses.replace(program.buffers[source.name], name="other", tensor="n")
    buffers = {**program.buffers, "other": made_by_hand}

    def swap(reshape: Instruction):
        return dataclasses.replace(reshape, operands=(target, BufferRef("other")))

    clear = dataclasses.replace(layer.body[0], mnemonic="clear", operands=(BufferRef("other"),))
    wrong = rewired(dataclasses.replace(program, buffers=buffers), "reshape", swap)
    layers = tuple(
        dataclasses.replace(other, body=(clear, *other.body)) if other.name == layer.name else other
        for other in wrong.layers
    )
    report = diff(model, dataclasses.replace(wrong, layers=layers), inputs)
    assert "copies %other to %r, but not the values of 'r'" in report.verdict()
    assert not report.passed


def test_a_fault_of_a_vector_layer_shows_in_its_sqnr(two):
    """No integer promise is made for the vector unit: its layers are compared in float."""
    model, inputs, program = two
    factor = next(name for name in program.data if "factor0" in name)
    wrong = dataclasses.replace(program, data={**program.data, factor: program.data[factor] // 2})
    report = diff(model, wrong, inputs, min_sqnr=25)
    assert not report.passed
    assert "first below: layer 'Add_y'" in report.verdict()
