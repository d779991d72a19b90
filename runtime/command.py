"""`run`: a program file and an `.npz` in, an `.npz` and a table out.

`python -m runtime` and `redc run` both call `run_command`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isa.device import Device
from isa.geometry import arrays_of
from isa.program import Array, Instruction, Matrix, Program, walk
from isa.targets import costs_of, device_of
from runtime.cost import Cost, cost_of
from runtime.cost_report import text as cost_text
from runtime.counters import Counters, Losses, total
from runtime.coverage import layer_notes
from runtime.doors import outer_name
from runtime.errors import InputError
from runtime.npz import check_writable, read_npz, write_npz
from runtime.options import machine_seed
from runtime.overwriting import check_not_read, files_read
from runtime.progress import progress
from runtime.report import COUNTERS, HOSTS, LOSSES, Column, percent, table
from runtime.result import Loaded, Result, check_fidelity
from runtime.room import Room

SMALL = 64
"""Outputs of up to so many values are printed."""

WIDE = 100
"""Characters of a line of them, where no terminal says."""

TRACED_VALUES = 12
"""Values of a vector that a trace line shows."""


def run_command(options: argparse.Namespace) -> int:
    """Do what the options of `run` say; gives the exit status.

    Raises InputError, or isa's ProgramError, for what the user got wrong.
    """
    import isa
    from runtime.count import count

    if not os.path.exists(options.program):
        isa.load(options.program)  # raises: what the command lacks beside it matters less
    check_options(options)
    program = isa.load(options.program)
    if options.output is not None:
        data = [str(Path(options.program).parent / program.data_file)] if program.data_file else []
        check_not_read(options.output, "--output", [*files_read(options), *data])
    isa.verify(program)
    costs = costs_of(program.target, options.target)
    device = device_of(program.target, options.target) if options.fidelity == "analog" else None
    if options.count_only:
        counters = count(program)
        found = Found(counters, cost_of(program, counters, costs))
    else:
        traced: list[str] = []
        tell = (traced.append if options.json else print) if options.trace else None
        result, limits = execute(program, options, tell, device)
        counters = list(result.counters)
        found = Found(counters, cost_of(program, counters, costs), result, limits, traced)
    if options.json:
        print(json.dumps(document(program, options, found), indent=1))
    else:
        print(text(program, options, found))
    return 0


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to report: counts and costs; the result, where values were computed."""

    counters: list[tuple[str, Counters]]
    cost: Cost
    result: Result | None = None
    limits: Sequence[float | None] = ()
    traced: Sequence[str] = ()

    @property
    def outputs(self) -> Mapping[str, Array]:
        return self.result.outputs if self.result else {}

    @property
    def clipped(self) -> Mapping[str, float]:
        return self.result.clipped if self.result else {}

    def notes(self, program: Program) -> list[str]:
        """What there is to know of the outcome."""
        return [*self.result.notes, *layer_notes(program, self.limits)] if self.result else []

    @property
    def host_s(self) -> float | None:
        """Seconds of all host parts; None where none ran."""
        return sum(self.result.host_seconds.values()) if self.result and self.result.host_seconds else None

    def row(self, program: Program, position: int) -> dict[str, Any]:
        """One row of the table: the layer's names, its counters, the arrays it fires, what its
        conversions lost, its host's time."""
        layer, counted = program.layers[position], self.counters[position][1]
        fired = {
            operand.name
            for instruction in walk(layer.body)
            for operand in instruction.operands
            if isinstance(operand, Matrix)
        }
        names = {"name": layer.name, "op": layer.op, "mapping": layer.mapping}
        seconds = self.result.host_seconds.get(layer.name) if self.result else None
        limits = self.limits[position] if self.limits else None
        more = {
            "arrays": arrays(program, fired) if fired else None,
            "host_s": seconds,
            "at_limits": limits,
        }
        return names | counted.as_dict() | more | self.losses(position)

    def losses(self, position: int) -> dict[str, int | None]:
        """Conversions of a layer that lost something; None where it converts nothing, or ideally."""
        if not self.counters[position][1].conversions or not (self.result and self.result.losses):
            return {"saturated": None, "rounded": None}
        return dict(self.result.losses[position].as_dict())

    def all_losses(self) -> dict[str, int | None]:
        """Of all layers."""
        if not (self.result and self.result.losses):
            return {"saturated": None, "rounded": None}
        return dict(sum(self.result.losses, Losses()).as_dict())


def check_options(options: argparse.Namespace) -> None:
    """Options that contradict each other, before anything is read."""
    check_fidelity(options.fidelity)
    machine_seed(options)
    if options.count_only:
        for option in ("input", "output", "trace"):
            if getattr(options, option):
                raise InputError(
                    f"--{option} does not go with --count-only, which computes no values",
                    place="command line",
                    hint="leave one of the two out",
                )
    elif options.input is None:
        raise InputError(
            "there is no input",
            place="command line",
            hint="--input IN.npz, or --count-only to count cycles and events without values",
        )
    if options.trace and options.engine != "step":
        raise InputError(
            "the fast engine does not execute instruction by instruction",
            place="--trace",
            hint="trace with --engine step",
        )
    if options.output is not None:
        check_writable(options.output, "--output")


def execute(
    program: Program,
    options: argparse.Namespace,
    tell: Callable[[str], Any] | None,
    device: Device | None = None,
) -> tuple[Result, list[float | None]]:
    """Run a verified program on the input file, and see how much of its layers saturated; writes the
    output file if there is to be one."""
    inputs = read_npz(options.input, "--input")

    def trace(
        cycle: int, layer: str, what: Instruction, operands: tuple[str, ...], value: Array | None
    ) -> None:
        if tell is not None:
            tell(trace_line(cycle, layer, what, operands, value))

    with progress(f"running {options.program}"):
        loaded = Loaded(
            program,
            options.engine,
            fidelity=options.fidelity,
            seed=machine_seed(options),
            device=device,
            trace=trace if tell else None,
            verify=False,
        )
        try:
            result = loaded.run(inputs, buffers=False)
        except InputError as error:
            if (error.place or "").startswith("input "):
                error.place = f"--input {options.input}: {error.place}"
            raise
    if options.output:
        write_npz(options.output, result.outputs, "--output")
    return result, loaded.at_limits()


def trace_line(
    cycle: int, layer: str, what: Instruction, operands: tuple[str, ...], value: Array | None
) -> str:
    """`cycle  layer  instruction operands  = values`."""
    attributes = "".join(f", {key}={number}" for key, number in what.attributes)
    line = f"{cycle:>8}  {layer}  {what.mnemonic:<6} {', '.join(operands)}{attributes}"
    if value is None:
        return line
    shown = " ".join(map(str, value[:TRACED_VALUES].tolist()))
    more = f" ... ({len(value)} values)" if len(value) > TRACED_VALUES else ""
    return f"{line}  = {shown}{more}"


# ---------------------------------------------------------------- what was found


def document(program: Program, options: argparse.Namespace, run: Found) -> dict[str, Any]:
    """The JSON document of a run; what was not computed is null."""
    found: dict[str, Any] = {
        "schema": 1,
        "program": options.program,
        "target": program.target.name,
        "engine": None if options.count_only else options.engine,
        "fidelity": None if options.count_only else options.fidelity,
        "inputs": [{"name": name, "clipped": share} for name, share in run.clipped.items()],
        "outputs": [summary(name, array) for name, array in run.outputs.items()],
        "output_file": options.output,
        "layers": [
            run.row(program, position)
            | {"nodes": list(layer.nodes), "tensor": layer.tensor}
            | run.cost.layer(position)
            for position, layer in enumerate(program.layers)
        ],
        "totals": total(run.counters).as_dict()
        | {"arrays": arrays(program, set(program.crossbars)), "host_s": run.host_s}
        | run.all_losses()
        | run.cost.totals(),
        "notes": run.notes(program),
    }
    return found | {"trace": list(run.traced)} if options.trace else found


def text(program: Program, options: argparse.Namespace, run: Found) -> str:
    """The same for people."""
    how = "counted only" if options.count_only else f"{options.engine}, {options.fidelity}"
    room = Room.of_terminal(all_layers=options.all_layers)
    rows: list[dict[str, Any]] = [run.row(program, position) for position in range(len(program.layers))]
    shown = room.first([-row["cycles"] for row in rows])
    rows = [rows[i] for i in shown]
    everything = arrays(program, set(program.crossbars))
    summed = total(run.counters)
    whole = {"name": "total", "op": "", "mapping": "", "arrays": everything, "host_s": run.host_s}
    rows.append(whole | summed.as_dict() | run.all_losses())
    rows = [row | {"busy": busy(row["fire_cycles"], row["cycles"])} for row in rows]
    columns: tuple[Column, ...] = COUNTERS + HOSTS if summed.host_calls else COUNTERS
    if run.result and run.result.losses:
        columns += LOSSES
    lines = [*room.prose([f"{options.program} on {program.target.name} ({how})"]), ""]
    lines.append(table(rows, columns, room))
    lines += room.about(len(program.layers), "those of most cycles")
    lines += cost_text(run.cost, shown, room)
    lines += room.prose(f"note: {note}" for note in run.notes(program))
    for name, array in run.outputs.items():
        lines += ["", *room.prose(described(name, array, program, room.width or WIDE).split("\n"))]
    if options.output:
        lines += ["", f"outputs written to {options.output}"]
    return "\n".join(lines)


def busy(fire_cycles: int, cycles: int) -> str | None:
    """Share of cycles in which arrays convert; the rest they wait for other units, or to fill and drain."""
    return percent(fire_cycles / cycles) if fire_cycles else None


def arrays(program: Program, names: set[str]) -> int:
    """Physical arrays of the named crossbar groups."""
    crossbars = [x for name, x in program.crossbars.items() if name in names]
    return sum(arrays_of(x, program.target) for x in crossbars)


def summary(name: str, array: Array) -> dict[str, Any]:
    """An output in a few numbers."""
    words = ("min", "mean", "max")
    numbers = (array.min(), array.mean(dtype=np.float64), array.max()) if array.size else ()
    shown = {key: float(value) for key, value in zip(words, numbers, strict=False) if np.isfinite(value)}
    return {"name": name, "shape": list(array.shape)} | dict.fromkeys(words) | shown


def described(name: str, array: Array, program: Program, width: int = WIDE) -> str:
    """An output for people: its values where they are few, in lines of `width` characters."""
    buffer = next(b for b in program.outputs if outer_name(b) == name)
    type_ = f"{buffer.onnx_type}[{'x'.join(map(str, array.shape))}]"
    if array.size <= SMALL:
        return f'output "{name}" {type_}\n{np.array2string(array, max_line_width=width)}'
    found = summary(name, array)
    numbers = "  ".join(f"{key} {found[key]}" for key in ("min", "mean", "max"))
    return f'output "{name}" {type_}  {numbers}'
