"""The fast engine against onnxruntime's float time: floats in, floats out, one loaded program.

    python tests/bench/bench_fast.py [--runs 60] [--mapping pixel-wise] [NAME ...]

The figure is the ratio of medians (tests/bench/measuring.py).
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from measuring import float_session, measure, prepared

import redc
import runtime

NAMES = ("GAN_Deconv1", "GAN_Deconv2", "GAN_Deconv3", "GAN_Deconv4", "FCN_Deconv2", "dcgan_face64")
BLOCK = 10


def compare(name: str, runs: int, options: Mapping[str, Any]) -> tuple[float, float]:
    """Median seconds of (fast, onnxruntime)."""
    model, inputs = prepared(name)
    shapes = {key: value.shape for key, value in inputs.items()}
    loaded = runtime.load(redc.compile(model, calibrate=inputs, shapes=shapes, **options))
    return measure(loaded, float_session(model), inputs, runs, BLOCK)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--mapping", default="pixel-wise")
    given = parser.parse_args()
    ratios = []
    print(f"numpy {np.__version__}, onnxruntime {onnxruntime.__version__}, mapping {given.mapping}")
    print(f"{'layer':<14} {'fast':>10} {'float':>10} {'ratio':>6}")
    for name in given.names:
        fast, float_ = compare(name, given.runs, {"mapping": given.mapping})
        ratios.append(fast / float_)
        print(f"{name:<14} {fast * 1e3:>7.3f} ms {float_ * 1e3:>7.3f} ms {ratios[-1]:>6.2f}")
    print(f"geometric mean {math.exp(statistics.mean(map(math.log, ratios))):.2f}, largest {max(ratios):.2f}")


if __name__ == "__main__":
    main()
