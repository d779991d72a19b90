"""What redc and CrossSim are compared on, redc's side of it, and the tables of docs/against-crosssim.md.

Nothing here needs CrossSim: tests/redc/test_against_crosssim.py computes redc's side again and
holds it against the figures that tests/bench/against_crosssim.py kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import models
import redc
import runtime
from isa.device import STEP, ideal
from isa.program import Array, Program, Target
from runtime.counters import Losses
from runtime.result import EngineName

DOCUMENT = Path(__file__).parents[2] / "docs" / "against-crosssim.md"
FIGURES = Path(__file__).with_name("against_crosssim.json")
AGREE = 0.05
"""Relative RMSEs this near one another agree."""
NOTHING = 1e-9
"""A relative RMSE below it is float noise."""
ROWS = COLUMNS = 128


@dataclass(frozen=True, slots=True)
class Case:
    """One layer on one machine; `adc` 0 is the exact product: no ADC, fidelity `exact`."""

    layer: str
    encoding: str
    pair: str
    cell: int
    adc: int
    lsb: int = 1

    @property
    def target(self) -> Target:
        """Arrays of 128 x 128, one-bit DACs, and what the case says."""
        kind: Any = {"encoding": self.encoding, "pair": self.pair}
        size = {"rows": ROWS, "columns": COLUMNS, "cell": self.cell}
        return Target("against CrossSim", **size, **kind, dac=1, adc=self.adc or 1, lsb=self.lsb)

    @property
    def reason(self) -> str:
        """Why CrossSim's nearest settings may give another error; empty: they may not."""
        if self.adc and self.layer == "signed":
            return "signs"
        return "ties" if self.adc and self.lsb % 2 == 0 and self.cell > 1 else ""


@dataclass(frozen=True, slots=True)
class Figures(Case):
    """What a case gave.

    ours, own, alike    relative RMSE of redc, of CrossSim's nearest settings, and of CrossSim
                        with redc's conventions, each against the exact product
    differ              sums in which redc and `alike` differ
    sums                sums of the layer
    saturated, rounded  shares of redc's conversions
    """

    ours: float = 0.0
    own: float = 0.0
    alike: float = 0.0
    differ: int = 0
    sums: int = 0
    saturated: float = 0.0
    rounded: float = 0.0


@dataclass(frozen=True, slots=True)
class Preset(Case):
    """A range that CrossSim works out itself, beside redc's nearest lsb: relative RMSE of both.

    model, ranges, offset    CrossSim's words, see `crosssim_side.Setting`
    straight                 of `own` times the one factor that fits the exact product best
    """

    model: str = ""
    ranges: str = ""
    offset: str = ""
    ours: float = 0.0
    own: float = 0.0
    straight: float = 0.0


@dataclass(frozen=True, slots=True)
class Varied(Case):
    """Cells that programming missed, in `MACHINES` machines: root of the mean squared relative RMSE.

    spread              standard deviation of what programming misses, as a share of the level
    ours, own, alike    as of `Figures`
    first               redc's of the first machine alone
    """

    spread: float = 0.0
    ours: float = 0.0
    own: float = 0.0
    alike: float = 0.0
    first: float = 0.0


@dataclass(frozen=True, slots=True)
class Timing(Case):
    """Shortest seconds for the whole layer: redc's fast engine, CrossSim, onnxruntime in float."""

    ours: float = 0.0
    theirs: float = 0.0
    float_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """Every figure that is stored."""

    cases: list[Figures]
    presets: list[Preset]
    varied: list[Varied]
    times: list[Timing]


ENCODINGS = (("differential", "shared"), ("differential", "separate"), ("offset", "shared"))
ADCS = ((0, 1), (10, 1), (8, 1), (6, 1), (6, 4), (6, 5))
CASES = (
    *(Case("small", *e, 2, *adc) for e in ENCODINGS for adc in ADCS),
    *(Case("small", *e, 1, 6, 4) for e in ENCODINGS),
    *(Case("small", *e, 4, 8, 1) for e in ENCODINGS),
    *(Case("signed", *e, 2, *adc) for e in ENCODINGS for adc in ((0, 1), (10, 1), (6, 1), (6, 5))),
    *(Case("GAN_Deconv1", *e, 2, *adc) for e in ENCODINGS for adc in ADCS),
)
PRESETS = tuple(
    (Case("GAN_Deconv1", encoding, "shared", 2, adc, lsb), model, ranges, offset)
    for encoding, adc, lsb, model, ranges, offset in (
        ("differential", 8, 1, "SignMagnitudeADC", "GRANULAR", "DIGITAL_OFFSET"),
        ("differential", 6, 1, "SignMagnitudeADC", "GRANULAR", "DIGITAL_OFFSET"),
        ("differential", 8, 3, "SignMagnitudeADC", "MAX", "DIGITAL_OFFSET"),
        ("differential", 6, 12, "SignMagnitudeADC", "MAX", "DIGITAL_OFFSET"),
        ("differential", 8, 3, "QuantizerADC", "MAX", "DIGITAL_OFFSET"),
        ("offset", 8, 1, "QuantizerADC", "GRANULAR", "DIGITAL_OFFSET"),
        ("offset", 8, 1, "QuantizerADC", "GRANULAR", "UNIT_COLUMN_SUBTRACTION"),
        ("offset", 6, 1, "QuantizerADC", "GRANULAR", "UNIT_COLUMN_SUBTRACTION"),
        ("offset", 6, 1, "QuantizerADC", "CALIBRATED", "UNIT_COLUMN_SUBTRACTION"),
        ("offset", 8, 2, "QuantizerADC", "MAX", "DIGITAL_OFFSET"),
    )
)
"""Ranges and offsets of CrossSim's presets; the lsb is the one nearest to the step they come to."""
MACHINES = 100
VARIED = tuple((Case("small", *e, 2, 8), spread) for spread in (0.05, 0.2) for e in ENCODINGS)
TIMED = tuple(
    Case("GAN_Deconv1", *e, 2, *adc) for e in (ENCODINGS[0], ENCODINGS[2]) for adc in ((8, 1), (6, 1), (6, 5))
)


@cache
def layer(name: str) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A ConvTranspose and its input.

    `small` takes 193 channels to 12, 3x3 with stride 2, from 4x4 pixels; its second row tile is
    not full.  (193 is odd: CrossSim halves an even number instead of filling an array first.)
    `signed` is that with inputs of both signs, where the others' come out of a Relu.
    """
    if name == "GAN_Deconv1":
        return models.load(name), dict(models.samples(name, 1, 1) or {})
    rng = np.random.default_rng(193)
    weights = (rng.standard_normal((193, 12, 3, 3)) * 0.02).astype(np.float32)
    x = rng.standard_normal((1, 193, 4, 4)).astype(np.float32)
    shape = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name=name, **shape)
    ends = [
        helper.make_tensor_value_info(tensor, TensorProto.FLOAT, size)
        for tensor, size in (("x", [1, 193, 4, 4]), ("y", [1, 12, 8, 8]))
    ]
    graph = helper.make_graph([node], name, ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model, {"x": x if name == "signed" else np.maximum(x, 0)}


@cache
def compiled(case: Case) -> Program:
    """The layer for the case's machine, every kernel pixel a sub-crossbar of its own."""
    model, inputs = layer(case.layer)
    return redc.compile(model, calibrate=inputs, target=case.target, mapping="pixel-wise")


@dataclass(frozen=True, slots=True)
class Ours:
    """redc's sums [OH, OW, M], the codes of its input [H, W, C], and its conversions."""

    sums: Array
    codes: Array
    losses: Losses
    conversions: int


def ours(case: Case, engine: EngineName, spread: float = 0.0, seed: int = 0) -> Ours:
    """One run of redc; with a spread, of the machine of that seed."""
    options: dict[str, Any] = {"fidelity": "adc" if case.adc else "exact"}
    if spread:
        normal = tuple(round(STEP * spread * level) for level in range(1 << case.cell))
        options = {"fidelity": "analog", "device": replace(ideal(case.cell), normal=normal), "seed": seed}
    result = runtime.run(compiled(case), layer(case.layer)[1], engine=engine, observe=True, **options)
    lost = sum(result.losses, Losses())
    return Ours(result.accumulators["y"][0], result.buffers["x"][0], lost, result.total.conversions)


@cache
def exact(name: str) -> Array:
    """The integer product itself, as redc's `exact` gives it; CrossSim without ADC confirms it."""
    return ours(Case(name, "differential", "shared", 2, 0), "fast").sums


def relative_rmse(sums: Array, wanted: Array) -> float:
    """Root of (sum of squared errors / sum of squares)."""
    error = np.asarray(sums, np.float64) - wanted
    return math.sqrt(float((error**2).sum()) / float((wanted.astype(np.float64) ** 2).sum()))


def apart(one: float, other: float) -> float:
    """How far two errors are from one another, of the first; 0 where neither is an error."""
    return 0.0 if max(one, other) < NOTHING else abs(other - one) / max(one, NOTHING)


def stored() -> Kept:
    """What tests/bench/against_crosssim.py --write kept."""
    kept = json.loads(FIGURES.read_text(encoding="utf-8"))
    return Kept(
        [Figures(**one) for one in kept["cases"]],
        [Preset(**one) for one in kept["presets"]],
        [Varied(**one) for one in kept["varied"]],
        [Timing(**one) for one in kept["times"]],
    )


def case_of(figures: Case) -> Case:
    """The case alone."""
    return Case(*(getattr(figures, one.name) for one in fields(Case)))


def document(text: str, kept: Kept) -> str:
    """The document with the tables of these figures, each between its marks."""
    for mark, table in tables(kept).items():
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{table}\n\n{end}{after}"
    return text


def tables(kept: Kept) -> dict[str, str]:
    """The tables of the document by their marks."""
    by_layer = {
        name: [f for f in kept.cases if f.layer == name] for name in ("GAN_Deconv1", "small", "signed")
    }
    found = {name: _cases(figures) for name, figures in by_layer.items()}
    found |= {"presets": _presets(kept.presets), "varied": _varied(kept.varied), "times": _times(kept.times)}
    return {mark: "\n".join(lines) for mark, lines in found.items()}


def _table(heads: str, rows: Iterable[Iterable[object]]) -> Iterator[str]:
    names = heads.split(", ")
    yield f"| {' | '.join(names)} |"
    yield "|" + " --- |" * len(names)
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def _encoding(case: Case) -> str:
    return f"differential ({case.pair})" if case.encoding == "differential" else case.encoding


def _error(value: float) -> str:
    return "0" if value < NOTHING else f"{value:.4g}"


def _cases(figures: Iterable[Figures]) -> Iterator[str]:
    def row(f: Figures) -> Iterator[object]:
        yield from (_encoding(f), f.cell, f.adc or "none", f.lsb if f.adc else "")
        yield from (f"{f.saturated:.2%}", f"{f.rounded:.1%}") if f.adc else ("", "")
        away = apart(f.ours, f.own)
        yield from (_error(f.ours), _error(f.own), f"{away:.1%}", f.reason if away > AGREE else "")
        yield from (_error(f.alike), f"{f.differ} of {f.sums:,}")

    heads = "encoding, cell bits, ADC bits, lsb, saturated, rounded, redc, CrossSim, apart, why"
    return _table(f"{heads}, CrossSim alike, sums that differ", map(row, figures))


def _presets(presets: Iterable[Preset]) -> Iterator[str]:
    def row(p: Preset) -> Iterator[object]:
        offset = p.offset.lower().replace("_", " ") if p.encoding == "offset" else ""
        yield from (_encoding(p), p.adc, f"{p.model} {p.ranges}", offset)
        yield from (_error(p.own), _error(p.straight), p.lsb, _error(p.ours))

    heads = "encoding, ADC bits, CrossSim's ADC, its offset, CrossSim, without its gain, redc's lsb, redc"
    return _table(heads, map(row, presets))


def _varied(varied: Iterable[Varied]) -> Iterator[str]:
    def row(v: Varied) -> Iterator[object]:
        yield from (_encoding(v), f"{v.spread:.0%}", *map(_error, (v.ours, v.alike)))
        yield from (f"{apart(v.ours, v.alike):.1%}", _error(v.own))

    heads = "encoding, spread, redc, CrossSim alike, apart, CrossSim"
    return _table(heads, map(row, varied))


def _times(timings: Iterable[Timing]) -> Iterator[str]:
    def row(t: Timing) -> Iterator[object]:
        yield from (_encoding(t), t.adc, t.lsb)
        for seconds in (t.float_s, t.ours, t.theirs):
            yield f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
        yield from (f"{t.ours / t.float_s:.1f}x", f"{t.theirs / t.float_s:,.0f}x")

    heads = "encoding, ADC bits, lsb, onnxruntime float, redc, CrossSim, redc over float, CrossSim over float"
    return _table(heads, map(row, timings))
