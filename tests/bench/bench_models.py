"""A model of any size: `fast`, `exact` against onnxruntime's float time, and the memory of one run.

    python tests/bench/bench_models.py MODEL.onnx IO.npz [--runs 10]
    python tests/bench/bench_models.py MODEL.onnx IO.npz --settle 1000
    python tests/bench/bench_models.py MODEL.onnx IO.npz --limit 4

IO.npz holds the model's inputs by name (or as `in_NAME`); without either, a model of the zoo.
The figure is the ratio of medians (tests/bench/measuring.py).  The kernels of a network of small
layers are compiled in the course of some hundred runs: `--settle` lets those pass.
`--limit` compiles and runs once under so many GiB of address space (RLIMIT_AS, which counts what
is mapped as well as what is used).
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from measuring import float_session, measure

import models
import redc
import runtime

BLOCK = 3
ZOO = Path(models.__file__).parent / "zoo"


def read_inputs(path: str, names: list[str]) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(path) as file:
        return {name: file[name] if name in file else file[f"in_{name}"] for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", nargs="?", default=str(ZOO / "ppocrv4_db_head.onnx"))
    parser.add_argument("inputs", nargs="?", default=str(ZOO / "ppocrv4_db_head.io.npz"))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--settle", type=int, default=0, help="runs before any is timed")
    parser.add_argument("--limit", type=float, help="GiB of address space")
    given = parser.parse_args()
    if given.limit:
        most = int(given.limit * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    graph = onnx.load(given.model).graph
    held = {tensor.name for tensor in graph.initializer}
    inputs = read_inputs(given.inputs, [value.name for value in graph.input if value.name not in held])
    shapes = {name: value.shape for name, value in inputs.items()}
    start = time.perf_counter()
    program = redc.compile(given.model, calibrate=inputs, shapes=shapes)
    print(f"compile {time.perf_counter() - start:.1f} s, {len(program.layers)} layers, {shapes}")
    start = time.perf_counter()
    loaded = runtime.load(program)
    loaded.run(inputs, buffers=False)
    print(f"load and first run {time.perf_counter() - start:.1f} s")
    if not given.limit:
        for _ in range(given.settle):
            loaded.run(inputs, buffers=False)
        fast, float_ = measure(loaded, float_session(given.model), inputs, given.runs, BLOCK)
        print(f"fast {fast * 1e3:.1f} ms, float {float_ * 1e3:.1f} ms, ratio {fast / float_:.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak {peak:.2f} GiB resident")


if __name__ == "__main__":
    main()
