"""Scales are found on some samples and meet others: what a trained generator keeps then."""

from __future__ import annotations

import numpy as np
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
