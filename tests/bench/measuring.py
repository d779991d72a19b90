"""What the benchmarks share: a model with its inputs, and two sides timed in turn.

Both sides run the same model in the same process, on all cores; the figures are medians.  A pool
of onnxruntime spins for a while after a run, which would slow whoever comes next: the sides take
turns in blocks, and each block starts with a run that is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnxruntime

import models

BATCH = 8  # of dcgan_face64; the layers alone have batch 1


def prepared(name: str) -> tuple[onnx.ModelProto, Mapping[str, Any]]:
    """The model `name`, one of `redc models`, and its inputs."""
    inputs = models.samples(name, BATCH if name == "dcgan_face64" else 1, 1)
    assert inputs is not None
    return models.load(name), inputs


def float_session(model: onnx.ModelProto | str) -> onnxruntime.InferenceSession:
    """What we are measured against."""
    source = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


def measure(
    loaded: Any, session: Any, inputs: Mapping[str, Any], runs: int, block: int
) -> tuple[float, float]:
    """Median seconds of (the loaded program, onnxruntime), floats in, floats out, in at least `runs` runs
    each, `block` at a time."""
    ours: list[float] = []
    theirs: list[float] = []
    while len(ours) < runs:
        ours += _seconds(lambda: loaded.run(inputs, buffers=False), block)
        theirs += _seconds(lambda: session.run(None, dict(inputs)), block)
    return statistics.median(ours), statistics.median(theirs)


def _seconds(run: Callable[[], object], times: int) -> list[float]:
    """`times` timings after one run that does not count."""
    run()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found
