"""The same layers, encodings and ADCs through redc and through CrossSim: docs/against-crosssim.md.

    python tests/bench/against_crosssim.py            # run both, print the tables
    python tests/bench/against_crosssim.py --write    # and keep figures and tables

Takes some minutes.  Needs CrossSim (github.com/sandialabs/cross-sim) importable as `simulator`;
crosssim_side.py sets it up.  Both get the same quantised integers, and what is compared is the
integer product before it is requantised: relative RMSE against the exact one, and how many sums
differ.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import crosssim_side
import numpy as np
import onnxruntime
from crosssim_cases import (
    CASES,
    DOCUMENT,
    FIGURES,
    MACHINES,
    PRESETS,
    TIMED,
    VARIED,
    Case,
    Figures,
    Kept,
    Preset,
    Timing,
    Varied,
    compiled,
    document,
    exact,
    layer,
    ours,
    relative_rmse,
    tables,
)
from onnx import helper

import runtime
from isa.program import Array, IntType, Target
from runtime.result import EngineName

TURNS, RUNS = 8, 10
"""Turns of each side, and timings of redc and onnxruntime in one; the shortest counts."""

Multiply = Callable[[Array, Array, tuple[IntType, IntType], Target], crosssim_side.Product]


def theirs(case: Case, multiply: Multiply, codes: Array) -> tuple[Array, float]:
    """A ConvTranspose by CrossSim: every kernel pixel a matrix, its products added where they belong.

    `codes` are [H, W, C].  Returns sums [OH, OW, M] and the seconds of the products alone.
    """
    program = compiled(case)
    (crossbar,) = program.crossbars.values()
    weights = program.constant(crossbar.data)  # [KH, KW, C, M]
    kh, kw, channels, columns = weights.shape
    h, w, _ = codes.shape
    stacked = weights.transpose(0, 1, 3, 2).reshape(-1, channels).astype(np.int64)
    pixels = codes.astype(np.int64).reshape(-1, channels).T
    types = (crossbar.weight_type, crossbar.input_type)
    found = multiply(stacked, pixels, types, case.target)
    products = found.values.reshape(kh, kw, columns, h, w)
    node = layer(case.layer)[0].graph.node[0]
    a = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    (sy, sx), (top, left, bottom, right), (ey, ex) = a["strides"], a["pads"], a["output_padding"]
    full = np.zeros((sy * (h - 1) + kh + ey, sx * (w - 1) + kw + ex, columns))
    for i in range(kh):
        for j in range(kw):
            full[i : i + sy * h : sy, j : j + sx * w : sx][:h, :w] += products[i, j].transpose(1, 2, 0)
    return full[top : full.shape[0] - bottom, left : full.shape[1] - right], found.seconds


def measure(case: Case, engine: EngineName) -> Figures:
    """Both sides of one case."""
    run, wanted = ours(case, engine), exact(case.layer)
    own = np.rint(theirs(case, crosssim_side.own if case.adc else crosssim_side.ideal, run.codes)[0])
    alike = np.rint(theirs(case, crosssim_side.alike, run.codes)[0]) if case.adc else own
    return Figures(
        **asdict(case),
        ours=relative_rmse(run.sums, wanted),
        own=relative_rmse(own, wanted),
        alike=relative_rmse(alike, wanted),
        differ=int(np.count_nonzero(alike != run.sums)),
        sums=run.sums.size,
        saturated=run.losses.saturated / run.conversions,
        rounded=run.losses.rounded / run.conversions,
    )


def preset(case: Case, model: str, ranges: str, offset: str, engine: EngineName) -> Preset:
    """redc beside a range or an offset of CrossSim's presets."""
    run, wanted = ours(case, engine), exact(case.layer)
    setting = crosssim_side.Setting(model, ranges, offset)
    own = theirs(case, partial(crosssim_side.own, setting=setting), run.codes)[0]
    gain = float((own * wanted).sum()) / float((own**2).sum())
    return Preset(
        **asdict(case),
        model=model,
        ranges=ranges,
        offset=offset,
        ours=relative_rmse(run.sums, wanted),
        own=relative_rmse(own, wanted),
        straight=relative_rmse(gain * own, wanted),
    )


def varied(case: Case, spread: float) -> Varied:
    """Both sides with cells that programming missed, machine after machine."""
    np.random.seed(MACHINES)  # CrossSim draws from numpy's global generator
    wanted, codes = exact(case.layer), ours(case, "step").codes
    own = partial(crosssim_side.own, setting=crosssim_side.Setting(spread=spread))
    (crossbar,) = compiled(case).crossbars.values()
    alike = partial(crosssim_side.alike, spread=spread, together=crossbar.columns)  # of one sub-crossbar
    errors = np.array(
        [
            (
                relative_rmse(ours(case, "step", spread, seed).sums, wanted),
                relative_rmse(theirs(case, own, codes)[0], wanted),
                relative_rmse(theirs(case, alike, codes)[0], wanted),
            )
            for seed in range(MACHINES)
        ]
    )
    mean = np.sqrt((errors**2).mean(axis=0))
    found = dict(zip(("ours", "own", "alike"), map(float, mean), strict=True))
    return Varied(**asdict(case), spread=spread, **found, first=float(errors[0, 0]))


def timed(case: Case) -> Timing:
    """One case, all three in this process and in turn; programming the arrays is not counted."""
    model, inputs = layer(case.layer)
    loaded = runtime.load(compiled(case), engine="fast", fidelity="adc")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    codes = loaded.run(inputs).buffers["x"][0]
    runs = (lambda: loaded.run(inputs, buffers=False), lambda: session.run(None, inputs))
    seconds: tuple[list[float], list[float], list[float]] = ([], [], [])
    for _ in range(TURNS):
        for run, found in zip(runs, seconds, strict=False):
            run()  # after the others' turn the first run is slow, and does not count
            for _ in range(RUNS):
                start = time.perf_counter()
                run()
                found.append(time.perf_counter() - start)
        seconds[2].append(theirs(case, crosssim_side.own, codes)[1])
    ours_s, float_s, theirs_s = map(min, seconds)
    return Timing(**asdict(case), ours=ours_s, theirs=theirs_s, float_s=float_s)


def main() -> None:
    """Run everything and print it; `--write` keeps it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--write", action="store_true", help=f"write {FIGURES.name} and docs/{DOCUMENT.name}")
    words.add_argument(
        "--engine", choices=("fast", "step"), default="fast", help="of redc (default: %(default)s)"
    )
    options = words.parse_args()
    if importlib.util.find_spec("simulator") is None:
        words.exit(2, "CrossSim is not installed: its repository is github.com/sandialabs/cross-sim\n")
    kept = Kept(
        [measure(case, options.engine) for case in CASES],
        [preset(case, *setting, options.engine) for case, *setting in PRESETS],
        [varied(case, spread) for case, spread in VARIED],
        [timed(case) for case in TIMED],
    )
    print(*tables(kept).values(), sep="\n\n")
    if options.write:
        FIGURES.write_text(json.dumps(asdict(kept), indent=1) + "\n", encoding="utf-8")
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(document(text, kept), encoding="utf-8")


if __name__ == "__main__":
    main()
