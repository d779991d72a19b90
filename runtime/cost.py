"""What a run costs: energy by component and layer, latency, area.

Energy is a count times whole attojoules, area a count times whole square nanometres, so the sum
over components equals the sum over layers exactly; they become joules and square millimetres
once, when printed.  Leakage is power times time: each component's, over each layer's cycles, is
rounded once to whole attojoules.  None is what the target does not publish, never 0.
docs/cost.md follows a number from its source to the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isa.costs import COMPONENTS, Costs
from isa.program import Program
from runtime.counters import Counters
from runtime.inventory import Inventory, inventory

ATTO = 10**18
WIRES = "wires, routers, off-chip traffic"
"""What no target has numbers for."""
UNKNOWN = "costs of this target"
HOST = "host parts"
FEMTO = 10**15
NM2_PER_MM2 = 10**12

EVENTS_OF: Mapping[str, tuple[str, ...]] = {
    "driver": ("drives",),
    "array": ("cell_reads",),
    "sample_hold": ("conversions",),
    "adc": ("conversions",),
    "shift_add": ("shift_adds",),
    "adder": ("sums",),
    "register": ("register_writes",),
    "buffer": ("buffer_reads", "buffer_writes"),
    "vector": ("vector_ops",),
    "control": ("instructions",),
}
"""Component -> the events that use it once each."""

Amounts = Mapping[str, int | None]


def known_sum(amounts: Iterable[int | None]) -> int | None:
    """The sum of what is known; None where nothing is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One layer: `dynamic` and `leakage` in attojoules by component.

    Leakage is that of the whole machine during the layer's cycles: what idles leaks too.
    """

    name: str
    cycles: int
    dynamic: Amounts
    leakage: Amounts
    on_host: bool = False

    @property
    def energy(self) -> int | None:
        """Attojoules of the layer."""
        return known_sum((*self.dynamic.values(), *self.leakage.values()))


@dataclass(frozen=True, slots=True)
class Cost:
    """A whole program on its target.

    frequency    hertz
    layers       in order
    area         square nanometres by component
    write        attojoules to program the weights, once; in no other sum
    write_time   femtoseconds of it: all arrays at once, row by row; in no latency
    batch        inputs that one run takes: axis 0 of all inputs and outputs with two axes or more, where
                 that is one number; else 1
    unmodelled   what no number here contains
    """

    frequency: int | None
    layers: tuple[LayerCost, ...]
    inventory: Inventory
    area: Amounts
    write: int | None
    write_time: int | None
    batch: int
    unmodelled: tuple[str, ...]

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in self.layers)

    @property
    def dynamic(self) -> Amounts:
        """Attojoules by component, over all layers."""
        return {name: known_sum(layer.dynamic[name] for layer in self.layers) for name in COMPONENTS}

    @property
    def leakage(self) -> Amounts:
        """Attojoules by component, over all layers."""
        return {name: known_sum(layer.leakage[name] for layer in self.layers) for name in COMPONENTS}

    @property
    def energy(self) -> int | None:
        """Attojoules of the run."""
        return known_sum(layer.energy for layer in self.layers)

    @property
    def total_area(self) -> int | None:
        """Square nanometres."""
        return known_sum(self.area.values())

    @property
    def latency(self) -> float | None:
        """Seconds from the first cycle to the last; None where the host or the clock is unknown."""
        return self.seconds(self.cycles)

    def seconds(self, cycles: int) -> float | None:
        """`cycles` on the clock."""
        if self.frequency is None or HOST in self.unmodelled:
            return None
        return cycles / self.frequency

    @property
    def throughput(self) -> float | None:
        """Inputs a second, one run after the other."""
        return self.batch / self.latency if self.latency else None

    @property
    def per_input(self) -> tuple[float | None, float | None]:
        """(seconds, joules) of one input of the batch."""
        latency, energy = self.latency, joules(self.energy)
        share = (None if amount is None else amount / self.batch for amount in (latency, energy))
        return next(share), next(share)

    @property
    def pipelined(self) -> float | None:
        """Inputs a second when runs follow each other through the layers, each layer on arrays of
        its own: the longest layer sets the pace."""
        longest = self.seconds(max((layer.cycles for layer in self.layers), default=0))
        return self.batch / longest if longest else None

    def totals(self) -> dict[str, Any]:
        """For `totals` of a JSON document."""
        return {
            "latency_s": self.latency,
            "energy_j": joules(self.energy),
            "energy_aj": dict(self.dynamic),
            "leakage_aj": dict(self.leakage),
            "write_energy_j": joules(self.write),
            "write_time_s": None if self.write_time is None else self.write_time / FEMTO,
            "area_mm2": None if self.total_area is None else self.total_area / NM2_PER_MM2,
            "area_nm2": dict(self.area),
            "parts": {name: self.inventory.parts[name] for name in COMPONENTS},
            "cells_used": self.inventory.cells_used,
            "cells_owned": self.inventory.cells_owned,
            "batch": self.batch,
            "latency_per_input_s": self.per_input[0],
            "energy_per_input_j": self.per_input[1],
            "throughput_per_s": self.throughput,
            "pipelined_per_s": self.pipelined,
            "not_modelled": list(self.unmodelled),
        }

    def layer(self, position: int) -> dict[str, Any]:
        """For one of the `layers` of a JSON document."""
        found = self.layers[position]
        unknown = found.on_host or self.frequency is None
        return {
            "energy_j": joules(found.energy),
            "latency_s": None if unknown else found.cycles / (self.frequency or 1),
            "energy_aj": dict(found.dynamic),
            "leakage_aj": dict(found.leakage),
        }


def joules(attojoules: int | None) -> float | None:
    """Converted once, correctly rounded."""
    return None if attojoules is None else attojoules / ATTO


def cost_of(program: Program, counters: Sequence[tuple[str, Counters]], costs: Costs | None) -> Cost:
    """The cost of one run that counted `counters`; `costs` None where the target has none."""
    found = inventory(program, counters)
    frequency = costs.frequency.amount if costs else None

    def amount(component: str, metric: str) -> int | None:
        return costs.amount(component, metric) if costs else None

    def times(count: int, component: str, metric: str) -> int | None:
        each = amount(component, metric)
        return None if each is None else count * each

    layers = []
    for name, counted in counters:
        events, on_host = counted.as_dict(), counted.host_calls > 0
        dynamic: dict[str, int | None] = {}
        leakage: dict[str, int | None] = {}
        for part, used in EVENTS_OF.items():
            count = sum(events[event] for event in used)
            power = times(found.parts[part], part, "leakage")
            dynamic[part] = None if on_host else times(count, part, "energy")
            known = not on_host and power is not None and frequency is not None
            leakage[part] = _over(power, counted.cycles, frequency) if known else None
        layers.append(LayerCost(name, counted.cycles, dynamic, leakage, on_host))
    unmodelled = [*costs.unpublished(), WIRES] if costs else [UNKNOWN]
    if any(counted.host_calls for _, counted in counters):
        unmodelled.append(HOST)
    return Cost(
        frequency=frequency,
        layers=tuple(layers),
        inventory=found,
        area={name: times(found.parts[name], name, "area") for name in COMPONENTS},
        write=times(found.cells_written, "array", "write"),
        write_time=times(found.rows, "array", "write_latency"),
        batch=_batch(program),
        unmodelled=tuple(unmodelled),
    )


def _batch(program: Program) -> int:
    """See `Cost`."""
    shapes = [buffer.onnx_shape for buffer in (*program.inputs, *program.outputs)]
    sizes = {shape[0] for shape in shapes if len(shape) > 1}
    return max(1, sizes.pop()) if len(sizes) == 1 else 1


def _over(power: int | None, cycles: int, frequency: int | None) -> int:
    """Attojoules of `power` attowatts during `cycles`, rounded half up."""
    assert power is not None
    assert frequency is not None
    return (2 * power * cycles + frequency) // (2 * frequency)
