"""What an engine is: the promise that `step` and `fast` both keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from isa.program import Array, Instruction, Program
from runtime.counters import Counters, Losses
from runtime.machine import Memory

Fidelity = Literal["exact", "adc", "analog"]
"""How much of the analog machine a run reproduces (docs/fidelity.md)."""

Trace = Callable[[int, str, Instruction, tuple[str, ...], "Array | None"], None]
"""Called after each executed instruction: clock cycle (of the start of its window), layer name,
the instruction, its operands with addresses evaluated, and the vector it read, made or wrote."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What one execution counted, per layer in order, and what there is to say about it."""

    counters: tuple[tuple[str, Counters], ...]
    total: Counters
    notes: tuple[str, ...] = ()
    host_seconds: Mapping[str, float] = field(default_factory=dict)  # by layer, where a host ran
    losses: tuple[Losses, ...] = ()  # by layer; empty in `exact`


class Engine(Protocol):
    """Executes one program, again and again.

    The constructor does what can be done once (compiling, planning) and keeps `observe`.
    `execute` takes a memory whose inputs are filled and whose other buffers are reset, runs
    every layer on it in place, and fills `memory.accumulators` when it observes.  It is called
    with the same memory most of the time, so an engine may keep what it built for one.
    """

    def __init__(self, program: Program, *, observe: bool = False) -> None: ...

    def execute(self, memory: Memory) -> Execution: ...
