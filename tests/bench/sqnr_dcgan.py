"""SQNR of the trained generator against its float model, over bits.

    python tests/bench/sqnr_dcgan.py [BITS ...]

Calibrated on 64 samples of default_rng(0); tested on 8 samples of each of default_rng(1..12).
Prints the table of docs/quantisation.md: the median and minimum over the twelve sets.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime

import models
import redc
import runtime

NAME, BATCH = "dcgan_face64", 8


def sqnr(bits: int) -> list[float]:
    """Decibels of each test set."""
    model = models.load(NAME)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    program = redc.compile(
        model,
        weight_bits=bits,
        input_bits=bits,
        shapes={"z": (BATCH, 100, 1, 1)},
        calibrate=models.samples(NAME, 64, 0),
    )
    loaded = runtime.load(program)
    found = []
    for seed in range(1, 13):
        inputs = models.samples(NAME, BATCH, seed)
        assert inputs is not None
        wanted = session.run(["image"], dict(inputs))[0].astype(np.float64)
        error = loaded.run(inputs).outputs["image"] - wanted
        found.append(10 * np.log10((wanted**2).sum() / (error**2).sum()))
    return found


if __name__ == "__main__":
    print("| bits (weights/inputs) | median dB | minimum dB |\n| --- | --- | --- |")
    for bits in [int(word) for word in sys.argv[1:]] or [4, 6, 8, 10, 12, 16]:
        found = sqnr(bits)
        print(f"| {bits}/{bits} | {np.median(found):.1f} | {min(found):.1f} |")
