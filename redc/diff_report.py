"""What `redc diff` found: numbers, and the JSON document of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from redc.closeness import Closeness, finite
from runtime.coverage import MUCH
from runtime.room import EVERYTHING, Room

SCHEMA = 1


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
    is none of the model's, and so is `clipped`: the share of the model's values in it that lie
    outside of what its scale covers.  Of the tensors `compared`, which for a host part are all that
    it makes, `tensor` is the one of the lowest SQNR, and `closeness` is its own; `clipped` is the
    largest.
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
    clipped: float | None = None
    compared: int = 0

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
            "sqnr_db": finite(self.closeness.sqnr_db) if self.closeness else None,
            "exact": self.closeness.exact if self.closeness else None,
            "rounds": self.rounds,
            "cycles": self.cycles,
            "arrays": self.arrays,
            "host_s": self.host_s,
            "conversions": self.conversions,
            "saturated": self.saturated,
            "rounded": self.rounded,
            "clipped": self.clipped,
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
            "sqnr_db": finite(self.sqnr_db),
            "exact": self.sqnr_db == math.inf,
            "max_abs_err": finite(self.max_abs_err),
            "cosine": self.cosine,
        }


@dataclass(frozen=True, slots=True)
class Costs:
    """What the run cost: entries of JSON `layers` and `totals`, and for each layer and the total
    its latency and energy as text; `each`, where the run is one of a batch, the same of one input."""

    layers: tuple[Mapping[str, Any], ...]
    totals: Mapping[str, Any]
    shown: tuple[tuple[str, str], ...]
    each: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one comparison.

    `inputs` gives for each the share of its values that the program clips.  `problems` are faults
    of the whole program (an operator that no layer computes); `about` says what was assumed, such
    as inputs; `notes` are things to know of the outcome.  `hosts` are the reasons why nodes are not the
    accelerator's, by layer; a program that came with the model does not tell them.
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
    inputs: Mapping[str, float] = field(default_factory=dict)
    about: tuple[str, ...] = ()
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
        return not self.problems and not self.broken() and not self.too_far()

    def broken(self) -> list[LayerRow]:
        """Layers that are not integer-exact and ought to be: in `adc` those that lost nothing; in
        `analog` those that cannot even be compared."""

        def excused(layer: LayerRow) -> bool:
            lost = bool(layer.saturated or layer.rounded) or self.fidelity == "analog"
            return self.fidelity != "exact" and layer.mismatch is not None and lost

        return [layer for layer in self.layers if layer.integer_exact is False and not excused(layer)]

    def too_far(self) -> list[OutputRow]:
        """Outputs below the SQNR that was asked for, or whose SQNR is not a number."""
        bound = self.min_sqnr
        return [] if bound is None else [output for output in self.outputs if not output.sqnr_db >= bound]

    def clipping(self) -> list[LayerRow]:
        """Layers whose scales leave out much of what the model computes."""
        return [layer for layer in self.layers if layer.clipped is not None and layer.clipped > MUCH]

    def as_dict(self) -> dict[str, Any]:
        """The JSON document; infinities and what does not apply are null.

        A `sqnr_db` of null with `exact` true is no difference at all, with `exact` false the worst."""
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
            "hosts": [
                {"name": layer.name, "nodes": list(layer.nodes), "reasons": self._reasons(layer.name)}
                for layer in self.layers
                if layer.kind == "host"
            ],
            "inputs": [{"name": name, "clipped": part} for name, part in self.inputs.items()],
            "notes": [*self.about, *self.notes],
        }

    def _reasons(self, layer: str) -> list[str] | None:
        return list(self.hosts[layer]) if layer in self.hosts else None

    def table(self, room: Room = EVERYTHING) -> str:
        """The report as text: layers, outputs, notes, and the verdict in the last line."""
        from redc.diff_text import text

        return text(self, room)

    def verdict(self) -> str:
        """One line (a line for each fault of the whole program): passed, or what broke first."""
        from redc.diff_text import verdict

        return verdict(self)
