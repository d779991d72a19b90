"""What a Monte Carlo run found: for every layer and output, SQNRs of all trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isa.device import Device
from redc.closeness import Closeness, finite
from redc.diff_setup import Array
from redc.diff_text import decibels
from runtime.report import Column, counted, table
from runtime.room import EVERYTHING, Room

if TYPE_CHECKING:
    from redc.diff_setup import Setup

QUANTILES = {"median": 0.5, "p5": 0.05, "p95": 0.95}
WORDS = {"median": "median", "p5": "5 %", "p95": "95 %", "worst": "worst"}
"""Of figures over the machines -> their headings."""


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of them that at least `share` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


Values = dict[tuple[str, str], dict[str, Array]]
"""Of layers and outputs, by ("layer" or "output", name), what each of their ONNX tensors holds."""


@dataclass(slots=True, eq=False)
class Spread:
    """The values of a layer or an output over all trials.  Of a host part's tensors always the one of
    the lowest SQNR counts.

    references     the float model's, by ONNX tensor
    ideal_db       SQNR of `exact` against the float model: what quantisation alone costs
    against_float  SQNR of each trial against the float model
    against_exact  SQNR of each trial against `exact`: what the cells cost
    """

    key: tuple[str, str]
    op: str | None
    shape: tuple[int, ...]
    references: Mapping[str, Array]
    ideal_db: float
    against_float: list[float] = field(default_factory=list)
    against_exact: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.key[1]

    def add(self, values: Mapping[str, Array], exact: Mapping[str, Array]) -> None:
        """One more trial."""
        self.against_float.append(_lowest(values, self.references))
        self.against_exact.append(_lowest(values, exact))

    def as_dict(self) -> dict[str, Any]:
        """In decibels; null where nothing differs."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "exact_sqnr_db": finite(self.ideal_db),
            "against_float": _summary(self.against_float),
            "against_exact": _summary(self.against_exact),
        }


def _lowest(values: Mapping[str, Array], references: Mapping[str, Array]) -> float:
    """The SQNR of the tensor that has the lowest."""
    near = Closeness.worst(values, references)[1]
    assert near is not None
    return near.sqnr_db


def _summary(values: list[float]) -> dict[str, Any]:
    found: dict[str, Any] = {key: finite(quantile(values, share)) for key, share in QUANTILES.items()}
    return found | {"worst": finite(min(values)), "trials": list(map(finite, values))}


@dataclass(slots=True, eq=False)
class MonteCarlo:
    """Trials of one program."""

    model: str
    target: str
    engine: str
    seed: int
    device: Device
    layers: list[Spread]
    outputs: list[Spread]
    about: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    trials: int = 0

    @staticmethod
    def of(
        setup: Setup,
        exact: Values,
        device: Device,
        *,
        engine: str,
        seed: int,
    ) -> MonteCarlo:
        """Before the first trial.  `exact` holds the values of the ideal machine."""

        def spread(key: tuple[str, str], op: str | None, tensor: str | None = None) -> Spread:
            references = {name: setup.reference[name] for name in exact[key]}
            shape = references[tensor if tensor in references else min(references)].shape
            return Spread(key, op, shape, references, _lowest(exact[key], references))

        layers = [
            spread(("layer", layer.name), layer.op, layer.tensor)
            for layer in setup.program.layers
            if ("layer", layer.name) in exact
        ]
        outputs = [spread(("output", name), None, name) for name in setup.network.outputs]
        target = setup.program.target.name
        return MonteCarlo(setup.title, target, engine, seed, device, layers, outputs, setup.notes)

    def add(
        self,
        found: Values,
        exact: Values,
        notes: Sequence[str],
    ) -> None:
        """One more trial: its values beside those of `exact`."""
        for spread in (*self.layers, *self.outputs):
            spread.add(found[spread.key], exact[spread.key])
        self.trials += 1
        self.notes += [note for note in notes if note not in self.notes]

    def as_dict(self) -> dict[str, Any]:
        """The document of `redc montecarlo --json`; decibels are null where nothing differs."""
        return {
            "schema": 1,
            "model": self.model,
            "target": self.target,
            "engine": self.engine,
            "fidelity": "analog",
            "seed": self.seed,
            "trials": self.trials,
            "device": {
                name: {"values": list(map(float, n.values)), "unit": n.unit, "source": n.source}
                for name, n in self.device.numbers.items()
            },
            "outputs": [spread.as_dict() for spread in self.outputs],
            "layers": [spread.as_dict() | {"op": spread.op} for spread in self.layers],
            "notes": [*self.about, *self.notes],
        }

    def table(self, room: Room = EVERYTHING) -> str:
        """For people: a row per layer and per output."""
        last = self.seed + self.trials - 1
        which = counted(self.trials, "machine")
        seeds = f"seed {self.seed}" if self.trials == 1 else f"seeds {self.seed} to {last}"
        effects = [f"  {name:<13} {number.text}" for name, number in self.device.numbers.items()]
        shown = room.first([quantile(spread.against_float, 0.5) for spread in self.layers])
        return "\n".join(
            [
                *room.prose([f"{self.model} on {self.target} ({self.engine}, analog): {which}, {seeds}"]),
                *room.prose(effects or ["  an ideal device"]),
                *room.prose(self.about),
                "",
                *room.prose(
                    [
                        "SQNR in dB against the float model: of exact, and of the machines",
                        "and, from `cells` on, of the machines against exact: what their cells cost",
                    ],
                    hang=0,
                ),
                "",
                table([_cells(self.layers[i]) for i in shown], (Column("name", "layer"), *SPREAD), room),
                *room.about(len(self.layers), "those of lowest SQNR"),
                "",
                table(
                    [_cells(spread) for spread in self.outputs], (Column("name", "output"), *SPREAD[1:]), room
                ),
                *(["", *room.prose(f"note: {note}" for note in self.notes)] if self.notes else []),
            ]
        )


SPREAD = (
    Column("op", "op", spare=9),
    Column("exact", "exact", "right"),
    *(Column(f"float {name}", head, "right") for name, head in WORDS.items()),
    *(
        Column(f"exact {name}", f"cells {head}", "right", 1 + n)
        for n, (name, head) in enumerate(WORDS.items())
    ),
)


def _cells(spread: Spread) -> dict[str, str | None]:
    found = {"name": spread.name, "op": spread.op, "exact": decibels(spread.ideal_db)}
    for over, values in (("float", spread.against_float), ("exact", spread.against_exact)):
        found |= {f"{over} {name}": decibels(quantile(values, share)) for name, share in QUANTILES.items()}
        found[f"{over} worst"] = decibels(min(values))
    return found
