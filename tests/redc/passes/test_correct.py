"""Bias correction: what it does, what it declares, and what `redc diff` makes of a wrong one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import isa
import redc
import runtime
from isa.program import Program
from redc.oracle import run_model
from tests.redc.layers import deconvolution


def samples(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Far from zero mean, as what follows a Relu is."""
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(3).uniform(0.5, 1.0, (8 * shape[0], *shape[1:]))
    return {model.graph.input[0].name: x.astype(np.float32)}


def convolution() -> onnx.ModelProto:
    weight = np.random.default_rng(5).standard_normal((6, 2, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="c", group=2, pads=[2, 0, 1, 1], strides=[1, 2])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 5, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 6, 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def product() -> onnx.ModelProto:
    weight = np.random.default_rng(6).standard_normal((20, 7)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 20])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 7])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


LAYERS = {
    "deconvolution of one pixel": lambda: deconvolution((1, 8, 1, 1), (8, 3, 4, 4)),
    "strided deconvolution": lambda: deconvolution((1, 4, 4, 3), (4, 3, 3, 4), strides=[2, 3], group=2),
    "padded grouped convolution": convolution,
    "matrix product": product,
}


def mean_errors(model: onnx.ModelProto, program: Program) -> np.ndarray:
    """Of each output channel, on the calibration samples."""
    (name, values), loaded = next(iter(samples(model).items())), runtime.load(program)
    batch, errors = program.inputs[0].onnx_shape[0], []
    for start in range(0, len(values), batch):
        feeds = {name: values[start : start + batch]}
        (output,) = run_model(model, model.graph, feeds, ["y"]).values()
        errors.append(loaded.run(feeds).outputs["y"] - output)
    error = np.moveaxis(np.concatenate(errors), 1, -1)
    return np.asarray(error.reshape(-1, error.shape[-1]).mean(axis=0))


@pytest.mark.parametrize("layer", LAYERS)
def test_the_mean_error_of_coarse_weights_all_but_vanishes(layer: str) -> None:
    model = LAYERS[layer]()
    found = []
    for correct in (False, True):
        program = redc.compile(
            model, weight_bits=4, input_bits=12, calibrate=samples(model), bias_correction=correct
        )
        assert (program.layers[0].correction is not None) == correct
        found.append(float(np.sqrt(np.mean(mean_errors(model, program) ** 2))))
    assert found[1] < found[0] / 4


@pytest.mark.parametrize("layer", LAYERS)
def test_a_corrected_program_stays_integer_exact_and_says_so(layer: str) -> None:
    model = LAYERS[layer]()
    options = {"weight_bits": 4, "calibrate": samples(model), "bias_correction": True}
    name, values = next(iter(samples(model).items()))
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    report = redc.diff(model, inputs={name: values[:batch]}, **options)
    assert report.passed, report.table()
    assert "note: bias corrections that the program declares: layers" in report.table()


def corrected() -> tuple[onnx.ModelProto, Program]:
    model = LAYERS["strided deconvolution"]()
    return model, redc.compile(model, weight_bits=4, calibrate=samples(model), bias_correction=True)


def test_the_correction_stands_in_the_text_and_the_same_samples_give_the_same_one() -> None:
    (_, program), (_, again) = corrected(), corrected()
    text = isa.to_text(program)
    assert f'correction "{program.layers[0].correction}"' in text
    assert isa.to_text(again) == text
    assert isa.to_text(isa.parse(text)) == text
    assert all(np.array_equal(program.data[name], again.data[name]) for name in program.data)


def test_a_correction_that_nothing_declares_is_found() -> None:
    model, program = corrected()
    layers = tuple(replace(layer, correction=None) for layer in program.layers)
    report = redc.diff(model, replace(program, layers=layers))
    assert not report.passed
    assert "accumulators" in str(report.layers[0].trouble)


@pytest.mark.parametrize("also_in_the_bias", [False, True])
def test_a_declared_correction_beyond_what_rounding_can_need_is_found(also_in_the_bias: bool) -> None:
    model, program = corrected()
    name = program.layers[0].correction
    assert name is not None
    data = {**program.data, name: program.data[name].astype(np.int32) + 100_000}
    if also_in_the_bias:
        (bias,) = (key for key in data if key.endswith(".bias"))
        data[bias] = data[bias].astype(np.int32) + 100_000
    report = redc.diff(model, replace(program, data=data))
    assert not report.passed
    assert "bias correction" in str(report.layers[0].trouble)


def test_a_correction_that_the_bias_does_not_hold_is_found() -> None:
    model, program = corrected()
    name = program.layers[0].correction
    assert name is not None
    data = {**program.data, name: program.data[name] - np.sign(program.data[name])}
    assert not redc.diff(model, replace(program, data=data)).passed


@pytest.mark.parametrize(
    "values", [np.zeros(3, np.float32), np.zeros((3, 1), np.int16), None], ids=["float", "matrix", "missing"]
)
def test_a_correction_is_a_vector_of_integers(values: np.ndarray | None) -> None:
    _, program = corrected()
    name = program.layers[0].correction
    assert name is not None
    data = {key: value for key, value in program.data.items() if key != name}
    with pytest.raises(isa.ProgramError, match=r"a correction is integers|no constant is named"):
        isa.verify(replace(program, data=data if values is None else {**data, name: values}))
