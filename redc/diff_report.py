"""What `redc diff` found: numbers, a table, a JSON document and a verdict in plain words."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SCHEMA = 1
LONGEST_CELL = 32
MOST_REASONS = 8
"""Nodes on the host that are listed with what keeps them from the accelerator."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """How near a tensor is to the float model's.  Equal infinities, and two NaN, are no difference.

    `sqnr_db` is 10 log10(sum reference^2 / sum error^2): infinite where both are equal, minus
    infinity where the reference is all zero and the tensor is not.  `cosine` is None where one
    of the two is all zero and the other is not.
    """

    sqnr_db: float
    max_abs_err: float
    cosine: float | None

    @staticmethod
    def of(value: Array, reference: Array) -> Closeness:
        got, wanted = (np.asarray(a, np.float64).ravel() for a in (value, reference))
        with np.errstate(all="ignore"):
            error = got - wanted
            noise, signal, power = (_squares(a) for a in (error, wanted, got))
        if not math.isfinite(noise + signal + power):
            return _with_infinities(got, wanted)
        largest = float(np.abs(error).max(initial=0.0))
        if largest == 0.0:
            return Closeness(math.inf, 0.0, 1.0)
        if noise == 0.0 and signal == 0.0:
            return _with_infinities(got, wanted)
        noise = noise or largest**2 or sys.float_info.min  # below the smallest square
        length = math.sqrt(signal) * math.sqrt(power)
        cosine = float(np.einsum("i,i->", got, wanted)) / length if length else None
        return Closeness(10 * math.log10(signal / noise) if signal else -math.inf, largest, cosine)


def _squares(values: Array) -> float:
    """The sum of squares.  (A threaded product waits for threads longer than it computes.)"""
    return float(np.einsum("i,i->", values, values))


def _with_infinities(got: Array, wanted: Array) -> Closeness:
    """The same for values whose squares overflow or vanish."""
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    finite = np.isfinite(got) & np.isfinite(wanted)
    if same.all():
        return Closeness(math.inf, 0.0, 1.0)
    if not (finite | same).all():
        return Closeness(-math.inf, math.inf, None)
    unit = float(max(np.abs(got[finite]).max(), np.abs(wanted[finite]).max()))
    scaled = Closeness.of(got[finite] / unit, wanted[finite] / unit)
    return Closeness(scaled.sqnr_db, scaled.max_abs_err * unit, scaled.cosine)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where integers differ: how many of how many, and the first of them in its buffer."""

    what: Literal["accumulators", "output codes"]
    count: int
    size: int
    place: str
    got: int
    expected: int

    def __str__(self) -> str:
        differ = "differs" if self.count == 1 else "differ"
        return (
            f"{self.count} of {self.size} {self.what} {differ}, "
            f"first at {self.place}: got {self.got}, expected {self.expected}"
        )


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One unit of the program.

    `integer_exact` is None for what no crossbar computes.  `saturated` and `rounded` of its
    `conversions` lost something; None where nothing is converted.  `trouble` says why a layer is
    not exact; `code_error` is the largest difference of an output code from the oracle's (0
    unless a table of Tanh or Sigmoid is involved).  `closeness` is None where the layer's tensor
    is none of the model's.
    """

    name: str
    kind: Literal["crossbar", "vector", "host"]
    op: str | None
    nodes: tuple[str, ...]
    tensor: str | None
    mapping: str | None
    integer_exact: bool | None
    trouble: str | None
    mismatch: Mismatch | None
    code_error: int | None
    closeness: Closeness | None
    rounds: int | None
    cycles: int
    arrays: int | None
    host_s: float | None = None
    conversions: int | None = None
    saturated: int | None = None
    rounded: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The entry of `layers` in the JSON document."""
        return {
            "name": self.name,
            "kind": self.kind,
            "op": self.op,
            "nodes": list(self.nodes),
            "tensor": self.tensor,
            "mapping": self.mapping,
            "integer_exact": self.integer_exact,
            "sqnr_db": _finite(self.closeness.sqnr_db) if self.closeness else None,
            "rounds": self.rounds,
            "cycles": self.cycles,
            "arrays": self.arrays,
            "host_s": self.host_s,
            "conversions": self.conversions,
            "saturated": self.saturated,
            "rounded": self.rounded,
        }


@dataclass(frozen=True, slots=True)
class OutputRow:
    """One output of the model, against onnxruntime."""

    name: str
    shape: tuple[int, ...]
    sqnr_db: float
    max_abs_err: float
    cosine: float | None

    def as_dict(self) -> dict[str, Any]:
        """The entry of `outputs` in the JSON document."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "sqnr_db": _finite(self.sqnr_db),
            "max_abs_err": _finite(self.max_abs_err),
            "cosine": self.cosine,
        }


@dataclass(frozen=True, slots=True)
class Costs:
    """What the run cost: entries of JSON `layers` and `totals`, and for each layer and the total
    its latency and energy as text."""

    layers: tuple[Mapping[str, Any], ...]
    totals: Mapping[str, Any]
    shown: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one comparison.

    `problems` are faults of the whole program (an operator that no layer computes); `notes` are
    things to know, such as inputs that were assumed.  `hosts` are the reasons why nodes are not the
    accelerator's, by layer.
    """

    model: str
    target: str
    mapping: str | None
    engine: str
    fidelity: str
    outputs: tuple[OutputRow, ...]
    layers: tuple[LayerRow, ...]
    rounds: int
    cycles: int
    arrays: int
    costs: Costs
    min_sqnr: float | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    work: Mapping[str, int] = field(default_factory=dict)
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def macs(self) -> dict[str, float | None]:
        """The shares of crossbars, vector unit and host in the work (redc/work.py)."""
        whole = sum(self.work.values())
        return {unit: amount / whole if whole else None for unit, amount in self.work.items()}

    @property
    def host_s(self) -> float | None:
        """Measured seconds of all host parts; None where there is none."""
        times = [layer.host_s for layer in self.layers if layer.host_s is not None]
        return sum(times) if times else None

    @property
    def passed(self) -> bool:
        """Every crossbar layer is integer-exact, as far as its fidelity promises that, and every
        output as close as was asked for."""
        return not self.problems and not self._broken() and not self._too_far()

    def _broken(self) -> list[LayerRow]:
        """Layers that are not integer-exact and ought to be: in `adc` those that lost nothing; in
        `analog` those that cannot even be compared."""

        def excused(layer: LayerRow) -> bool:
            lost = bool(layer.saturated or layer.rounded) or self.fidelity == "analog"
            return self.fidelity != "exact" and layer.mismatch is not None and lost

        return [layer for layer in self.layers if layer.integer_exact is False and not excused(layer)]

    def as_dict(self) -> dict[str, Any]:
        """The JSON document; infinities and what does not apply are null."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "target": self.target,
            "mapping": self.mapping,
            "engine": self.engine,
            "fidelity": self.fidelity,
            "passed": self.passed,
            "outputs": [output.as_dict() for output in self.outputs],
            "layers": [
                layer.as_dict() | dict(cost)
                for layer, cost in zip(self.layers, self.costs.layers, strict=True)
            ],
            "totals": {
                "rounds": self.rounds,
                "cycles": self.cycles,
                "latency_s": self.costs.totals["latency_s"],
                "energy_j": self.costs.totals["energy_j"],
                "arrays": self.arrays,
                "area_mm2": self.costs.totals["area_mm2"],
                **self.costs.totals,
                "host_s": self.host_s,
                "macs": self.macs,
            },
            "hosts": [{"name": name, "reasons": list(reasons)} for name, reasons in self.hosts.items()],
        }

    def table(self) -> str:
        """The report as text: layers, outputs, notes, and the verdict in the last line."""
        head = [
            "layer",
            "op",
            "nodes",
            "mapping",
            "exact",
            "SQNR dB",
            "max error",
            "rounds",
            "cycles",
            "arrays",
            "latency",
            "energy",
        ]
        rows = [_cells(layer) for layer in self.layers]
        rows.append(["total", "", "", "", "", "", "", *map(_number, (self.rounds, self.cycles, self.arrays))])
        rows = [[*row, *cost] for row, cost in zip(rows, self.costs.shown, strict=True)]
        if self.fidelity != "exact":
            head += ["saturated", "rounded"]
            for row, layer in zip(rows, self.layers, strict=False):
                row += [percent(lost, layer.conversions) for lost in (layer.saturated, layer.rounded)]
            rows[-1] += ["", ""]
        outputs = [
            [
                o.name,
                "x".join(map(str, o.shape)),
                decibels(o.sqnr_db),
                f"{o.max_abs_err:.3g}",
                _cosine(o.cosine),
            ]
            for o in self.outputs
        ]
        options = ", ".join(x for x in (self.target, self.mapping, self.engine, self.fidelity) if x)
        parts = [
            f"{self.model} on {options}",
            "",
            grid(head, rows, right=set(range(5, len(head)))),
            "",
            grid(["output", "shape", "SQNR dB", "max error", "cosine"], outputs, right={2, 3, 4}),
            "",
            *self._hosts(),
            *(f"note: {note}" for note in self.notes),
            self.verdict(),
        ]
        return "\n".join(parts)

    def _hosts(self) -> list[str]:
        """Where the work was done, for a network that the accelerator does not run whole."""
        if self.host_s is None:
            return []
        shares = ", ".join(f"{unit} {share:.2%}" for unit, share in self.macs.items() if share is not None)
        layers = sum(layer.kind == "host" for layer in self.layers)
        nodes = sum(len(layer.nodes) for layer in self.layers if layer.kind == "host")
        parts = f"{layers} part{'s' if layers > 1 else ''} of {nodes} nodes"
        reasons = [reason for each in self.hosts.values() for reason in each]
        more = len(reasons) - MOST_REASONS
        return [
            f"host: {parts}, {self.host_s * 1e3:.3g} ms; multiply-accumulates: {shares}",
            *(f"  {reason}" for reason in reasons[:MOST_REASONS]),
            *([f"  and {more} more (--json lists all)"] if more > 0 else []),
        ]

    def verdict(self) -> str:
        """One line (a line for each fault of the whole program): passed, or what broke first."""
        lines = [f"FAILED: {problem}" for problem in self.problems]
        broken = self._broken()
        if broken:
            others = len(broken) - 1
            more = f" ({others} more after it)" if others else ""
            lines.append(f"FAILED: first broken: layer {broken[0].name!r}: {broken[0].trouble}{more}")
        for output in self._too_far():
            assert self.min_sqnr is not None
            line = (
                f"FAILED: output {output.name!r}: {decibels(output.sqnr_db)} dB, asked for {self.min_sqnr:g}"
            )
            low = next(
                (r for r in self.layers if r.closeness and _below(r.closeness.sqnr_db, self.min_sqnr)), None
            )
            if low is not None and low.closeness is not None:
                line += f"; first below: layer {low.name!r} with {decibels(low.closeness.sqnr_db)} dB"
            lines.append(line)
        if lines:
            return "\n".join(lines)
        crossbars = [layer for layer in self.layers if layer.kind == "crossbar"]
        exact_ones = [layer for layer in crossbars if layer.integer_exact is True]
        tables = max((layer.code_error or 0 for layer in exact_ones), default=0)
        same = len(exact_ones)
        exact = f"passed: {same} of {len(crossbars)} crossbar layers integer-exact"
        if same < len(crossbars):
            worst = max(crossbars, key=lambda layer: _share(layer.saturated, layer.conversions) or 0)
            what = "cells and conversions" if self.fidelity == "analog" else "conversions"
            exact += f", the others are off by what their {what} did"
            if worst.saturated:
                exact += f"; most saturated: layer {worst.name!r}"
        return exact + (f" (codes out of tables at most {tables} off the exact function's)" if tables else "")

    def _too_far(self) -> list[OutputRow]:
        if self.min_sqnr is None:
            return []
        return [output for output in self.outputs if _below(output.sqnr_db, self.min_sqnr)]


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> str:
    """Columns as wide as their widest cell; those in `right` are flush right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            c.rjust(w) if i in right else c.ljust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(head), "  ".join("-" * width for width in widths), *map(line, rows)])


def percent(part: int | None, whole: int | None) -> str:
    """`0.12 %`; `-` where there is no whole, `0` only where there is nothing at all."""
    share = _share(part, whole)
    if share is None:
        return "-"
    return "0" if not part else f"{share:.2%}" if share >= 5e-5 else "<0.01%"


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if whole and part is not None else None


def decibels(value: float) -> str:
    """`28.2`, or `exact` where nothing differs."""
    return "exact" if value == math.inf else f"{value:.1f}"


def _cells(layer: LayerRow) -> list[str]:
    exact = {True: "yes", False: "NO", None: "-"}[layer.integer_exact]
    if layer.mismatch is not None and layer.integer_exact is False:
        exact = f"NO, {layer.mismatch.count} {'acc' if layer.mismatch.what == 'accumulators' else 'codes'}"
    near = layer.closeness
    return [
        _short(layer.name),
        layer.op or "-",
        _short(", ".join(layer.nodes)),
        layer.mapping or "-",
        exact,
        decibels(near.sqnr_db) if near else "-",
        f"{near.max_abs_err:.3g}" if near else "-",
        _number(layer.rounds),
        _number(layer.cycles),
        _number(layer.arrays),
    ]


def _short(text: str) -> str:
    text = "".join(c if c.isprintable() else "?" for c in text)  # ONNX names may hold anything
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _cosine(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def _below(sqnr: float, bound: float) -> bool:
    """True also where the SQNR is not a number."""
    return not sqnr >= bound


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
