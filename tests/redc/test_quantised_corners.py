"""Quantised models at the edges of what a file may hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quantize import quantize_dynamic

import redc
import runtime
from redc.diff import diff
from redc.oracle import run_model
from tests.redc.quantised_drawing import model_of

RNG = np.random.default_rng(5)
X = RNG.standard_normal((1, 8, 8)).astype(np.float32)


def attention() -> onnx.ModelProto:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> attention (float[1, 8, 8] x) => (float[1, 8, 8] y)
        { q = MatMul(x, v) k = MatMul(x, w) t = Transpose<perm = [0, 2, 1]>(k) y = MatMul(q, t) }"""
    )
    for name in ("v", "w"):
        value = RNG.standard_normal((8, 8)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return model


def read_by_conv(scale: float, weight_scale: float, bias: float) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]> g (uint8[1, 1, 3, 3] x) => (uint8[1, 1, 3, 3] y)
        <float s = {{{scale}}}, uint8 z = {{128}}, int8[1, 1, 1, 1] w = {{77}}, float v = {{{weight_scale}}},
         float[1] b = {{{bias}}}, float t = {{0.001}}>
        {{ a = DequantizeLinear(x, s, z) k = DequantizeLinear(w, v) c = Conv(a, k, b)
           y = QuantizeLinear(c, t, z) }}"""
    )


@pytest.mark.parametrize(("scale", "weight_scale", "bias"), [(0.1, 1e9, 0.01), (0.1, 1e12, 1e-3)])
def test_a_bias_that_is_nothing_beside_the_sums_changes_nothing(
    scale: float, weight_scale: float, bias: float
) -> None:
    x = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3) * 2 + 119  # no sum is 0
    report = redc.diff(read_by_conv(scale, weight_scale, bias), inputs={"x": x})
    assert report.passed, report.verdict()
    assert all(output["exact"] for output in report.as_dict()["outputs"])


@pytest.mark.parametrize("scale", [0.0, -0.1])
def test_codes_with_a_scale_that_is_none_are_the_hosts(scale: float) -> None:
    x = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3) + 124
    report = redc.diff(read_by_conv(scale, 0.01, 0.5), inputs={"x": x})
    assert report.passed, report.verdict()


def test_dynamically_quantised_products_of_computed_tensors_compile(tmp_path: Path) -> None:
    onnx.save(attention(), tmp_path / "a.onnx")
    options = {"MatMulConstBOnly": False}
    quantize_dynamic(tmp_path / "a.onnx", tmp_path / "b.onnx", extra_options=options)
    report = redc.diff(tmp_path / "b.onnx", inputs={"x": X})
    assert report.passed, report.verdict()


@pytest.mark.parametrize("opset", [17, 21])
def test_weights_of_four_bits_that_the_file_quantises_are_folded(opset: int, tmp_path: Path) -> None:
    class Reader(CalibrationDataReader):
        feeds = iter([{"x": X}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    model = attention()
    model.opset_import[0].version = opset
    onnx.save(model, tmp_path / "a.onnx")
    quantize_static(
        tmp_path / "a.onnx", tmp_path / "b.onnx", Reader(), quant_format=QuantFormat.QDQ,
        weight_type=QuantType.QInt4, extra_options={"AddQDQPairToWeight": True},
    )  # fmt: skip
    report = redc.diff(tmp_path / "b.onnx", inputs={"x": X})
    assert report.passed, report.verdict()


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_codes_of_4_bits_between_layers_are_compared(kind):
    """onnxruntime hands none of them to Python, and its integer kernels make something else of them."""
    rng = np.random.default_rng(0)
    constants = {"s": np.float32(0.03), "z": np.int8(0), "t": np.float32(0.3), "u": np.float32(0.01)}
    constants |= {
        name: rng.integers(-60, 60, shape).astype(np.int8)
        for name, shape in (("w", (8, 3, 3, 3)), ("r", (4, 8, 1, 1)))
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["b"]),
        helper.make_node("DequantizeLinear", ["w", "u", "z"], ["v"]),
        helper.make_node("Conv", ["b", "v"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("QuantizeLinear", ["d", "t"], ["e"], output_dtype=kind),
        helper.make_node("DequantizeLinear", ["e", "t"], ["f"]),
        helper.make_node("DequantizeLinear", ["r", "u", "z"], ["q"]),
        helper.make_node("Conv", ["f", "q"], ["g"]),
        helper.make_node("QuantizeLinear", ["g", "s", "z"], ["h"]),
        helper.make_node("DequantizeLinear", ["h", "s", "z"], ["y"]),
    ]
    x = {"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)}
    model = model_of(nodes, constants, x, {"y": TensorProto.FLOAT}, opset=21)
    report = diff(model, redc.compile(model, calibrate=x), x)
    assert report.passed, report.table()
    assert report.layers[0].closeness.max_abs_err <= np.float32(0.3) * 1.001  # a step of the 4 bits


@pytest.mark.parametrize(("low", "high"), [(-128, 127), (-7, 7), (0, 15), (None, 5)])
def test_codes_that_a_clip_narrows_stay_on_the_accelerator(low, high):
    """As Brevitas and QONNX write codes of other widths; a Clip of integers was the host's."""
    rng = np.random.default_rng(0)
    constants = {"s": np.float32(0.3), "z": np.int8(1), "t": np.float32(0.5), "u": np.float32(0.01)}
    constants |= {"low": np.int8(low or 0), "high": np.int8(high)}
    constants |= {"w": (rng.standard_normal((8, 3, 3, 3)) * 0.05).astype(np.float32)}
    constants |= {"r": rng.integers(-60, 60, (4, 8, 1, 1)).astype(np.int8)}
    bounds = ["low" if low is not None else "", "high"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Clip", ["a", *bounds], ["b"]),
        helper.make_node("DequantizeLinear", ["b", "s", "z"], ["c"]),
        helper.make_node("QuantizeLinear", ["w", "u", "z"], ["v"]),
        helper.make_node("Clip", ["v", *bounds], ["n"]),
        helper.make_node("DequantizeLinear", ["n", "u", "z"], ["m"]),
        helper.make_node("Conv", ["c", "m"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("QuantizeLinear", ["e", "t", "z"], ["f"]),
        helper.make_node("Clip", ["f", *bounds], ["g"]),
        helper.make_node("DequantizeLinear", ["g", "t", "z"], ["h"]),
        helper.make_node("DequantizeLinear", ["r", "u"], ["q"]),
        helper.make_node("Conv", ["h", "q"], ["k"]),
        helper.make_node("QuantizeLinear", ["k", "s", "z"], ["y"]),
    ]
    read = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in constants.items() if name in read}
    x = {"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)}
    model = model_of(nodes, constants, x, {"y": TensorProto.INT8}, opset=21)
    program = redc.compile(model, calibrate=x, host=False)
    report = diff(model, program, x)
    assert report.passed, report.table()
    got = runtime.run(program, x).outputs["y"].astype(int)
    wanted = run_model(model, model.graph, x)["y"].astype(int)
    assert np.abs(got - wanted).max() <= 1
    assert len(np.unique(wanted)) > 3
