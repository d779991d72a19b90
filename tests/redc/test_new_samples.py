"""Scales are found on some samples and meet others: what a trained generator keeps then."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import models
import redc
import runtime


def drawn(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 100, 1, 1)).astype(np.float32)


@pytest.mark.parametrize(("bits", "least"), [(8, 26.0), (16, 74.0)])
def test_a_generator_calibrated_on_64_samples_keeps_its_bits_on_others(bits: int, least: float) -> None:
    model = models.load("dcgan_face64")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    program = redc.compile(
        model, calibrate={"z": drawn(0, 64)}, shapes={"z": (8, 100, 1, 1)}, weight_bits=bits, input_bits=bits
    )
    loaded = runtime.Session(program)
    for seed in (1, 2, 3, 4):
        z = drawn(seed, 8)
        wanted = session.run(None, {"z": z})[0].astype(np.float64)
        error = loaded.run(None, {"z": z})[0] - wanted
        assert 10 * np.log10((wanted**2).sum() / (error**2).sum()) >= least


def test_a_perceptron_calibrated_on_one_sample_is_no_noise_on_others() -> None:
    """Half the hidden channels are off in that sample, and others in the next."""
    rng = np.random.default_rng(0)
    shapes = {"a": (32, 64), "b": (64, 64), "c": (64, 8)}
    weights = {name: (rng.standard_normal(s) / s[0] ** 0.5).astype(np.float32) for name, s in shapes.items()}
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> perceptron (float[1, 32] x) => (float[1, 8] y)
        { p = MatMul(x, a) q = Relu(p) r = MatMul(q, b) s = Relu(r) y = MatMul(s, c) }"""
    )
    model.graph.initializer.extend(onnx.numpy_helper.from_array(w, name) for name, w in weights.items())
    one, *others = rng.standard_normal((21, 1, 32)).astype(np.float32)
    session = runtime.Session(redc.compile(model, calibrate={"x": one}))
    found = []
    for x in others:
        hidden = np.maximum(np.maximum(x @ weights["a"], 0) @ weights["b"], 0)
        wanted = hidden @ weights["c"]
        error = session.run(None, {"x": x})[0] - wanted
        found.append(10 * np.log10((wanted**2).sum() / (error**2).sum()))
    assert np.median(found) > 10


def test_samples_of_several_inputs_are_as_many_of_each() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> sum (float[1, 4] a, float[1, 4] b) => (float[1, 4] y)
        { y = Add(a, b) }"""
    )
    samples = {"a": np.ones((8, 4), np.float32), "b": np.ones((3, 4), np.float32)}
    with pytest.raises(redc.UserError, match="for 8 runs of 'a', for 3 of 'b'"):
        redc.compile(model, calibrate=samples)
