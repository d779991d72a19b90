"""Running a program: floats in, floats out, and everything that was counted."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal, cast, get_args

import numpy as np

from isa.device import Device
from isa.program import Array, Program
from isa.targets import device_of
from runtime.analog import Sample
from runtime.counters import Counters, Losses
from runtime.coverage import at_limits, clipped_inputs, input_notes
from runtime.doors import check_inputs, enter, leave, outer_name
from runtime.engine import Engine, Fidelity, Trace
from runtime.errors import InputError
from runtime.machine import Memory

EngineName = Literal["fast", "step"]


@dataclass(frozen=True, slots=True)
class Result:
    """One run.

    outputs       ONNX tensor name -> array in ONNX axis order: float32, or its own type where raw
    buffers       buffer name -> integer codes, channels last (raw buffers: the tensor)
    counters      (layer name, its counters), in order
    total         the sum over layers
    accumulators  buffer name -> int64 values before requantisation (with observe=True)
    notes         what the engine had to say, e.g. loop nests that `fast` handed to `step`
    host_seconds  layer name -> measured seconds of its host part, outside of the clock
    losses        what conversions lost, per layer in order; empty in `exact`
    clipped       input name -> share of its values outside of what the program's scale covers
    """

    outputs: dict[str, Array]
    buffers: dict[str, Array]
    counters: tuple[tuple[str, Counters], ...]
    total: Counters
    accumulators: dict[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    host_seconds: Mapping[str, float] = field(default_factory=dict)
    losses: tuple[Losses, ...] = ()
    clipped: Mapping[str, float] = field(default_factory=dict)


class Loaded:
    """A program made ready to run again and again on one memory."""

    def __init__(
        self,
        program: Program,
        engine: EngineName = "fast",
        *,
        fidelity: str = "exact",
        observe: bool = False,
        trace: Trace | None = None,
        seed: int = 0,
        device: Device | str | os.PathLike[str] | None = None,
        verify: bool = True,
    ) -> None:
        given: object = program  # callers without a type checker hand over paths
        if not isinstance(given, Program):
            message = f"it is a {type(given).__name__}, not a Program"
            raise InputError(message, place="program", hint="isa.load(path) reads one")
        if verify:
            from isa import verify as verify_program

            verify_program(program)
        self.program = program
        self.seed = seed
        self._observe = observe
        self._memory = Memory.of(program, observe=observe)
        level, sample = check_fidelity(fidelity), None
        check_seed(seed)
        if level == "analog":
            if not isinstance(device, Device):
                device = device_of(program.target, None if device is None else os.fspath(device))
            sample = Sample(device, int(seed))
        self._engine = make_engine(program, engine, observe, trace, level, sample)
        self._turn = threading.Lock()

    def run(self, inputs: Mapping[str, Any], *, buffers: bool = True) -> Result:
        """Run once.  `inputs` maps ONNX input names to float arrays in ONNX shape.

        With `buffers=False` the result carries no copies of the buffers, which saves time.
        Threads take turns: there is one memory.  Raises InputError for inputs that do not fit.
        """
        arrays = check_inputs(self.program, inputs)
        with self._turn:
            return self._run(arrays, buffers)

    def _run(self, arrays: Mapping[str, Array], buffers: bool) -> Result:
        memory = self._memory
        memory.reset()
        shares = clipped_inputs(self.program, arrays)
        for name, array in arrays.items():
            enter(self.program.buffers[name], array, memory.codes[name])
        # A requantisation may overflow float32 on its way to saturating: that is its meaning.
        with np.errstate(over="ignore"):
            execution = self._engine.execute(memory)
        outputs = {outer_name(b): leave(b, memory.codes[b.name]) for b in self.program.outputs}
        return Result(
            outputs=outputs,
            buffers={name: codes.copy() for name, codes in memory.codes.items()} if buffers else {},
            counters=execution.counters,
            total=execution.total,
            accumulators={name: a.copy() for name, a in memory.accumulators.items()},
            notes=(*input_notes(self.program, arrays, shares), *execution.notes),
            host_seconds=execution.host_seconds,
            losses=execution.losses,
            clipped=shares,
        )

    def at_limits(self) -> list[float | None]:
        """After a run, how much of every crossbar layer saturated: see runtime/coverage.py."""
        return at_limits(self.program, self._memory.codes)


def make_engine(
    program: Program,
    name: str,
    observe: bool,
    trace: Trace | None,
    fidelity: Fidelity = "exact",
    sample: Sample | None = None,
) -> Engine:
    """The engine named `name`; `analog` needs a `sample`.  Raises InputError for a name that is none."""
    if name == "step":
        from runtime.step import StepEngine

        return StepEngine(program, observe=observe, trace=trace, fidelity=fidelity, sample=sample)
    if name == "fast":
        if trace is not None:
            raise InputError(
                "the fast engine does not execute instruction by instruction",
                place="--trace",
                hint="trace with --engine step",
            )
        from runtime.fast import FastEngine

        engine: Engine = FastEngine(program, observe=observe, fidelity=fidelity, sample=sample)
        return engine
    raise InputError(f'there is no engine "{name}"', place="--engine", hint="fast or step")


def check_seed(seed: object) -> None:
    """Raise InputError for what is no whole number of 64 bits."""
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not (whole and 0 <= int(seed) < 1 << 64):  # type: ignore[call-overload]  # an Integral by now
        raise InputError(f"{seed!r} is not a whole number from 0 to 2^64 - 1", place="seed")


def check_fidelity(fidelity: str) -> Fidelity:
    """The fidelity of that name.  Raises InputError where it is unknown."""
    if fidelity not in get_args(Fidelity):
        hint = ", ".join(get_args(Fidelity))
        raise InputError(f'there is no fidelity "{fidelity}"', place="--fidelity", hint=hint)
    return cast(Fidelity, fidelity)


def load(program: Program, engine: EngineName = "fast", **options: Any) -> Loaded:
    """Verify a program, plan it and allocate its memory; options as of `run`."""
    return Loaded(program, engine, **options)


def run(
    program: Program,
    inputs: Mapping[str, Any],
    *,
    engine: EngineName = "fast",
    fidelity: str = "exact",
    observe: bool = False,
    trace: Trace | None = None,
    seed: int = 0,
    device: Device | str | os.PathLike[str] | None = None,
    verify: bool = True,
) -> Result:
    """Run a program once.

    `inputs` maps ONNX input names to float32 arrays of the ONNX shape.  `observe` records the
    accumulators, `trace` is called after every instruction (step only).  In `analog`, `seed`
    says which of all machines that are built alike this is, and `device` what their cells are like:
    a target by name or path (default: that of the program's name).  Raises InputError for inputs and
    options that do not fit, and whatever the verifier raises for a program that does not verify.
    """
    loaded = Loaded(
        program,
        engine,
        fidelity=fidelity,
        observe=observe,
        trace=trace,
        seed=seed,
        device=device,
        verify=verify,
    )
    return loaded.run(inputs)
