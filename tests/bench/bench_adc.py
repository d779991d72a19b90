"""Fidelity adc in the fast engine against onnxruntime's float time: floats in, floats out.

    python tests/bench/bench_adc.py [--runs 20] [--adc 8 6] [--lsb 1] [--encoding ...] [NAME ...]

8-bit weights and inputs, 2-bit cells, one-bit DACs, arrays of 128 x 128.  The figure is the ratio of
medians (tests/bench/measuring.py).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from typing import Any

import numpy as np
import onnxruntime
from measuring import float_session, measure, prepared

import redc
import runtime

NAMES = ("GAN_Deconv1", "GAN_Deconv2", "GAN_Deconv3", "GAN_Deconv4", "FCN_Deconv2", "dcgan_face64")
ENCODINGS = ("differential", "offset")
MACHINE: dict[str, Any] = {"rows": 128, "columns": 128, "arrays": None, "cell": 2, "dac": 1}
BLOCK = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--mapping", default="pixel-wise")
    parser.add_argument("--adc", type=int, nargs="+", default=[8, 6])
    parser.add_argument("--lsb", type=int, nargs="+", default=[1])
    parser.add_argument("--encoding", nargs="+", default=ENCODINGS)
    given = parser.parse_args()
    print(f"numpy {np.__version__}, onnxruntime {onnxruntime.__version__}, mapping {given.mapping}")
    print(
        f"{'layer':<14} {'encoding':<12} adc lsb {'adc':>10} {'float':>10} {'ratio':>6} {'load':>7} "
        f"{'conversions':>12} {'saturated':>10} {'rounded':>10}"
    )
    for name in given.names:
        model, inputs = prepared(name)
        shapes = {key: value.shape for key, value in inputs.items()}
        program = redc.compile(model, calibrate=inputs, shapes=shapes, target="isaac", mapping=given.mapping)
        session = float_session(model)
        for encoding, adc, lsb in itertools.product(given.encoding, given.adc, given.lsb):
            target = dataclasses.replace(program.target, **MACHINE, encoding=encoding, adc=adc, lsb=lsb)
            start = time.perf_counter()
            loaded = runtime.load(dataclasses.replace(program, target=target), fidelity="adc", verify=False)
            took = time.perf_counter() - start
            result = loaded.run(inputs)
            ours, theirs = measure(loaded, session, inputs, given.runs, BLOCK)
            saturated = sum(layer.saturated for layer in result.losses)
            rounded = sum(layer.rounded for layer in result.losses)
            print(
                f"{name:<14} {encoding:<12} {adc:>3} {lsb:>3} {ours * 1e3:>7.2f} ms {theirs * 1e3:>7.3f} ms "
                f"{ours / theirs:>6.2f} {took:>5.1f} s {result.total.conversions:>12,} {saturated:>10,} "
                f"{rounded:>10,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
