"""The crossbars of a program as a fidelity has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from isa.program import Matrix, Program, walk
from runtime.analog import AnalogGroup, Sample
from runtime.converted import ConvertedGroup
from runtime.counters import Losses
from runtime.crossbar import Group
from runtime.engine import Fidelity


class Groups(Mapping[str, Group]):
    """Crossbar groups by name, each made when it is first asked for.

    `analog` needs the sample of the machine that runs the program.
    """

    def __init__(self, program: Program, fidelity: Fidelity, sample: Sample | None) -> None:
        self.program, self.fidelity, self.sample = program, fidelity, sample
        self._made: dict[str, Group] = {}
        self._fired: list[tuple[str, ...]] | None = None  # by each layer

    def __getitem__(self, name: str) -> Group:
        if name not in self._made:
            self._made[name] = make_group(self.program, name, self.fidelity, self.sample)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.program.crossbars)

    def __len__(self) -> int:
        return len(self.program.crossbars)

    def take_losses(self, layer: int) -> Losses:
        """What conversions of a layer's groups lost since the last call."""
        if self.fidelity == "exact":
            return Losses()
        if self._fired is None:
            fires = [
                [i.operands[0] for i in walk(x.body) if i.mnemonic == "fire"] for x in self.program.layers
            ]
            self._fired = [tuple({m.name: None for m in each if isinstance(m, Matrix)}) for each in fires]
        made = (self._made[name] for name in self._fired[layer] if name in self._made)
        return sum((group.take_losses() for group in made), Losses())


def make_group(program: Program, name: str, fidelity: Fidelity, sample: Sample | None) -> Group:
    """One of them.  `analog` needs the sample of the machine that runs the program."""
    crossbar = program.crossbars[name]
    weights = program.constant(crossbar.data)
    if fidelity == "exact":
        return Group(crossbar, program.target, weights)
    if fidelity == "adc":
        return ConvertedGroup(crossbar, program.target, weights)
    assert sample is not None
    number = list(program.crossbars).index(name)
    return AnalogGroup(crossbar, program.target, weights, number, sample)
