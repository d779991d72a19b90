"""The fast engine against onnxruntime's float time: floats in, floats out, one loaded program.

    python tests/bench/bench_fast.py [--runs 60] [--mapping pixel-wise] [NAME ...]

Both sides run the same layer in the same process, in turn, on all cores; the figure is the ratio
of medians.  A pool of onnxruntime spins for a while after a run, which would slow whoever comes
next: the sides take turns in blocks, and each block starts with a run that is not counted.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime

import models
import redc
import runtime

NAMES = ("GAN_Deconv1", "GAN_Deconv2", "GAN_Deconv3", "GAN_Deconv4", "FCN_Deconv2", "dcgan_face64")
BATCH = 8  # of dcgan_face64; the layers alone have batch 1
BLOCK = 10


def seconds(run: Callable[[], object], times: int) -> list[float]:
    """`times` timings after one run that does not count."""
    run()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found


def compare(name: str, runs: int, options: Mapping[str, Any]) -> tuple[float, float]:
    """Median seconds of (fast, onnxruntime)."""
    model = models.load(name)
    inputs = models.samples(name, BATCH if name == "dcgan_face64" else 1, 1)
    assert inputs is not None
    shapes = {key: value.shape for key, value in inputs.items()}
    loaded = runtime.load(redc.compile(model, calibrate=inputs, shapes=shapes, **options))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ours: list[float] = []
    theirs: list[float] = []
    while len(ours) < runs:
        ours += seconds(lambda: loaded.run(inputs, buffers=False), BLOCK)
        theirs += seconds(lambda: session.run(None, dict(inputs)), BLOCK)
    return statistics.median(ours), statistics.median(theirs)


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
