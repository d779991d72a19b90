"""The crossbars of a program as a fidelity has them."""

from __future__ import annotations

from isa.program import Program
from runtime.analog import AnalogGroup, Sample
from runtime.converted import ConvertedGroup
from runtime.crossbar import Group
from runtime.engine import Fidelity


def make_group(program: Program, number: int, fidelity: Fidelity, sample: Sample | None) -> Group:
    """The crossbar of that number.  `analog` needs the sample of the machine that runs the program."""
    crossbar = list(program.crossbars.values())[number]
    weights = program.constant(crossbar.data)
    if fidelity == "exact":
        return Group(crossbar, program.target, weights)
    if fidelity == "adc":
        return ConvertedGroup(crossbar, program.target, weights)
    assert sample is not None
    return AnalogGroup(crossbar, program.target, weights, number, sample)
