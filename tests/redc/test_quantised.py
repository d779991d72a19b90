"""Models that arrive quantised are taken as they are.

Where onnxruntime computes in integers (QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger) the
result is equal; where it computes in float, codes differ by one step at most.
"""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from redc.diff import diff
from redc.oracle.network import run_model

OPSET = 21


def model_of(nodes, constants, x_shape, opset=OPSET):
    values = [
        t if isinstance(t, onnx.TensorProto) else numpy_helper.from_array(np.asarray(t), n)
        for n, t in constants.items()
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "quantised", [x], [y], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def samples(model, seed=0):
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return {"x": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def steps_apart(model, scale):
    """Output codes that differ from onnxruntime's, and by how much, after `redc diff` has passed."""
    inputs = samples(model)
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    program = redc.compile(model, calibrate=inputs)
    got = runtime.run(program, inputs).outputs["y"]
    wanted = run_model(model, model.graph, inputs)["y"]
    assert got.shape == wanted.shape
    return np.abs(np.rint((got - wanted) / np.float32(scale)))


def codes(rng, dtype, shape):
    kind = np.iinfo(dtype)
    return rng.integers(kind.min, kind.max + 1, shape).astype(dtype)


def ports(y_scale, y_zero):
    """QuantizeLinear of x to `q`, DequantizeLinear of `r` to y."""
    node = helper.make_node
    first = node("QuantizeLinear", ["x", "xs", "xz"], ["q"])
    return first, node("DequantizeLinear", ["r", "ys", "yz"], ["y"]), {"ys": y_scale, "yz": y_zero}


@pytest.mark.parametrize("x_type", [np.uint8, np.int8])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("zero", [0, 3])
def test_qlinear_conv_equals_onnxruntime(x_type, per_channel, zero):
    """Zero points on both sides of zero, weights down to the lowest code, an int32 bias, groups."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        w_type = np.uint8 if zero and x_type is np.uint8 else np.int8
        groups, m = (2, 6) if seed % 2 else (1, 5)
        w = codes(rng, w_type, (m, 4 // groups, 3, 2))
        w.flat[0] = np.iinfo(w_type).min
        w_scale = rng.uniform(0.001, 0.01, m if per_channel else ()).astype(np.float32)
        w_zero = 131 if w_type is np.uint8 else 0
        y_zero = x_type(np.iinfo(x_type).min + 100 * zero % 256)
        first, last, constants = ports(np.float32(0.037), y_zero)
        constants |= {
            "xs": np.float32(0.021),
            "xz": x_type(np.iinfo(x_type).min + 100),
            "w": w,
            "ws": w_scale,
            "wz": np.full(w_scale.shape, w_zero, w_type),
            "b": rng.integers(-4000, 4000, m).astype(np.int32),
        }
        conv = helper.make_node(
            "QLinearConv",
            ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"],
            ["r"],
            "conv",
            group=groups,
            strides=[2, 1],
            pads=[1, 0, 0, 1],
        )
        model = model_of([first, conv, last], constants, (2, 4, 7, 6))
        assert steps_apart(model, 0.037).max() == 0


@pytest.mark.parametrize("per_column", [False, True])
def test_qlinear_matmul_equals_onnxruntime(per_column):
    rng = np.random.default_rng(1)
    scale = rng.uniform(0.001, 0.01, 5 if per_column else ()).astype(np.float32)
    first, last, constants = ports(np.float32(0.05), np.uint8(120))
    constants |= {
        "xs": np.float32(0.03),
        "xz": np.uint8(130),
        "w": codes(rng, np.int8, (6, 5)),
        "ws": scale,
        "wz": np.zeros(scale.shape, np.int8),
    }
    product = helper.make_node("QLinearMatMul", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["r"])
    model = model_of([first, product, last], constants, (3, 4, 6))
    assert steps_apart(model, 0.05).max() == 0


@pytest.mark.parametrize("op", ["ConvInteger", "MatMulInteger"])
@pytest.mark.parametrize("x_zero", [0, 117])
def test_integer_operators_equal_onnxruntime(op, x_zero):
    """Their sums leave as they are: 16 bits hold every one of them."""
    rng = np.random.default_rng(2)
    w = codes(rng, np.uint8, (3, 2, 2, 2) if op == "ConvInteger" else (4, 3)) // 8
    constants = {
        "xs": np.float32(0.1),
        "xz": np.uint8(x_zero),
        "w": w,
        "wz": np.uint8(15),
        "ys": np.float32(1),
        "yz": np.int16(5),
    }
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        node(op, ["q", "w", "xz", "wz"], ["i"], "mac", **({"pads": [1, 1, 0, 0]} if op[0] == "C" else {})),
        node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        node("QuantizeLinear", ["f", "ys", "yz"], ["r"]),
        node("DequantizeLinear", ["r", "ys", "yz"], ["y"]),
    ]
    model = model_of(nodes, constants, (2, 2, 5, 4))
    assert steps_apart(model, 1.0).max() == 0


def deconvolution(w, scale, zero, *, axis=1, after=(), x_type=np.int8, bias=True):
    """x -> Q -> DQ -> ConvTranspose -> `after` -> Q -> DQ -> y; the weight behind a DequantizeLinear."""
    node = helper.make_node
    step = np.float32(0.02) * np.asarray(scale, np.float32)
    constants = {
        "xs": np.float32(0.02),
        "xz": x_type(-3),
        "w": w,
        "ws": np.asarray(scale, np.float32),
        "wz": zero,
        "ys": np.float32(0.04),
        "yz": np.int8(-100 if after else 7),
        "b": np.arange(-3, 3, dtype=np.int32) * 500,
        "bs": np.broadcast_to(step, (6,)).copy(),
    }
    inputs = ["xd", "wd", "bd"] if bias else ["xd", "wd"]
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        node("DequantizeLinear", ["q", "xs", "xz"], ["xd"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=axis),
        node("DequantizeLinear", ["b", "bs"], ["bd"], axis=0),
        node("ConvTranspose", inputs, ["t0"], "ct", strides=[2, 2], pads=[1, 0, 0, 1]),
    ]
    for i, op in enumerate(after):
        nodes.append(node(op, [f"t{i}"], [f"t{i + 1}"], op.lower()))
    nodes += [
        node("QuantizeLinear", [f"t{len(after)}", "ys", "yz"], ["r"]),
        node("DequantizeLinear", ["r", "ys", "yz"], ["y"]),
    ]
    return model_of(nodes, constants, (2, 4, 5, 4))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("after", [(), ("Relu",), ("LeakyRelu",), ("Tanh",)])
def test_a_deconvolution_between_quantisers_is_one_layer_one_step_off_at_most(per_channel, after):
    rng = np.random.default_rng(3)
    scale = rng.uniform(0.004, 0.02, 6 if per_channel else ())
    zero = np.zeros(scale.shape, np.int8)
    model = deconvolution(codes(rng, np.int8, (4, 6, 3, 3)), scale, zero, after=after)
    assert len(redc.compile(model).layers) == 1
    apart = steps_apart(model, 0.04)
    assert apart.max() <= 1
    assert (apart == 0).mean() > (0.9 if after == ("Tanh",) else 0.999)


@pytest.mark.parametrize(
    ("kind", "bits"), [("INT4", 5), ("UINT4", 5), ("INT8", 9), ("UINT8", 9), ("INT16", 17), ("UINT16", 17)]
)
def test_every_code_of_every_type_has_its_place(kind, bits):
    """Differential pairs lose the lowest code, so a weight that uses it takes one bit more."""
    rng = np.random.default_rng(4)
    width = int(kind.lstrip("UINT"))
    low = 0 if kind[0] == "U" else -(1 << (width - 1))
    values = rng.integers(low, low + (1 << width), (4, 6, 3, 3))
    values.flat[:2] = low, low + (1 << width) - 1
    element = getattr(TensorProto, kind)
    zero = helper.make_tensor("wz", element, (), [0])
    w = helper.make_tensor("w", element, values.shape, values.ravel().tolist())
    model = deconvolution(w, 0.3 / (1 << width), zero)
    program = redc.compile(model)
    assert {x.weight_type.bits for x in program.crossbars.values()} == {bits}
    assert steps_apart(model, 0.04).max() <= 1


def small_network():
    """Deconvolutions, a residual Add, a Gemm: what a quantiser may meet."""
    rng = np.random.default_rng(5)
    node = helper.make_node
    weights = {
        "w0": (4, 6, 4, 4),
        "b0": (6,),
        "w1": (6, 6, 3, 3),
        "b1": (6,),
        "w2": (6 * 64, 10),
        "b2": (10,),
    }
    nodes = [
        node("ConvTranspose", ["x", "w0", "b0"], ["t0"], "up", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["t0"], ["t1"], "relu"),
        node("Conv", ["t1", "w1", "b1"], ["t2"], "conv", pads=[1, 1, 1, 1]),
        node("Add", ["t2", "t1"], ["t3"], "residual"),
        node("Flatten", ["t3"], ["t4"], "flat"),
        node("Gemm", ["t4", "w2", "b2"], ["y"], "head"),
    ]
    constants = {n: (rng.standard_normal(s) * 0.3).astype(np.float32) for n, s in weights.items()}
    return model_of(nodes, constants, (1, 4, 4, 4), opset=17)


@functools.cache
def statically_quantised(format_, activation):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.feeds = iter([samples(small_network(), seed) for seed in range(4)])

        def get_next(self):
            return next(self.feeds, None)

    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "quantised.onnx")
        onnx.save(small_network(), source)
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat[format_],
            per_channel=True,
            activation_type=QuantType[activation],
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)


@pytest.mark.parametrize("activation", ["QInt8", "QUInt8"])
def test_onnxruntimes_own_quantised_models_stay_in_integers(activation):
    """Every buffer has the file's codes, every layer the file's values to a step."""
    model = statically_quantised("QDQ", activation)
    inputs = samples(model, 9)
    program = redc.compile(model)  # nothing to calibrate: nothing is assumed
    assert {buffer.type.bits for buffer in program.buffers.values()} == {8}
    report = diff(model, program, inputs)
    assert report.passed, report.table()
    assert report.outputs[0].sqnr_db is None or report.outputs[0].sqnr_db > 30


def test_the_oracle_reads_scales_from_the_file():
    """A program with another scale than the file's, consistently used, does not pass."""
    from dataclasses import replace

    rng = np.random.default_rng(3)
    model = deconvolution(codes(rng, np.int8, (4, 6, 3, 3)), 0.01, np.int8(0))
    program = redc.compile(model)
    buffers = {
        name: replace(b, scale=b.scale * 1.01) if b.kind == "output" else b
        for name, b in program.buffers.items()
    }
    report = diff(model, replace(program, buffers=buffers), samples(model))
    assert not report.passed
    assert "the file says" in report.table()


def test_other_bits_than_the_models_own_are_an_error():
    rng = np.random.default_rng(3)
    model = deconvolution(codes(rng, np.int8, (4, 6, 3, 3)), 0.01, np.int8(0))
    redc.compile(model, weight_bits=8, input_bits=8)
    for option in ("weight_bits", "input_bits"):
        with pytest.raises(
            redc.UserError, match="6 bits are asked for, but the model arrives quantised to 8"
        ):
            redc.compile(model, **{option: 6})


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("q, s, z = DynamicQuantizeLinear(x)\n y = DequantizeLinear(q, s, z)", "DynamicQuantizeLinear"),
        ("q = QuantizeLinear(x, many)\n y = DequantizeLinear(q, many)", "one scale per tensor"),
        ("q = QuantizeLinear(x, negative)\n y = DequantizeLinear(q, one)", "not a positive number"),
        ("q = QuantizeLinear(x, one)\n y = Relu(q)", "computes with integers"),
    ],
)
def test_what_cannot_be_kept_as_it_is_says_so(nodes, expected):
    text = f"""<ir_version: 10, opset_import: ["": 17]>
        g (float[1, 2, 3, 4] x) => (float[N, C, H, W] y)
        <float[2] many = {{0.5, 0.25}}, float one = {{1.0}}, float negative = {{-1.0}}>
        {{ {nodes} }}"""
    with pytest.raises(redc.UserError, match=expected):
        redc.compile(onnx.parser.parse_model(text), host=False)
