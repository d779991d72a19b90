"""What each command does, and how everything that goes wrong is told.

Every error reaches `run_command`: three families of user errors (the model's, the program's, the
input's), each with a place and a hint, give exit status 2 and no traceback.
"""

from __future__ import annotations

import argparse
import json as json_
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isa.diagnostics import ProgramError
from redc.errors import AssumedInputs, InternalError, UserError
from runtime.errors import InputError

if TYPE_CHECKING:
    from isa.program import Target
    from redc.ir.graph import Graph

Document = dict[str, Any]
BUG = 70


def run_command(options: argparse.Namespace) -> int:
    """Run the command that `options` name; the exit status."""
    try:
        with _own_warnings():
            status = COMMANDS[options.command](options)
            if sys.stdout is not None:
                sys.stdout.flush()
            return status
    except (UserError, ProgramError, InputError) as error:
        return report_errors(error.as_dicts(), str(error), json=options.json)
    except MemoryError:
        hint = "use smaller inputs, a smaller batch, or a machine with more memory"
        problem = {"message": "out of memory", "place": None, "hint": hint}
        return report_errors([problem], f"out of memory\n  hint: {hint}", json=options.json)
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:
        if error.filename is not None:
            raise
        _drop_output()  # every file is guarded where it is opened: this is standard output
        hint = "make room, or send it elsewhere"
        print(f"error: cannot write standard output: {error.strerror}\n  hint: {hint}", file=sys.stderr)
        return 2
    except InternalError as error:
        print(error, file=sys.stderr)
        return BUG


def _drop_output() -> None:
    """Nobody reads what is still to be printed; without this Python would complain on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report_errors(errors: list[Document], text: str, *, json: bool) -> int:
    """Tell `errors`: as one document on standard output, or as text on standard error."""
    if json:
        print_document({"schema": 1, "errors": errors})
    else:
        lines = text if text.startswith("error") or ": error:" in text else f"error: {text}"
        print(lines, file=sys.stderr)
    return 2


def print_document(document: Mapping[str, Any]) -> None:
    """The one document of a --json command."""
    print(json_.dumps(document, indent=1, ensure_ascii=False))


@contextmanager
def _own_warnings() -> Iterator[None]:
    """Our own warnings as one line each on standard error, when they come; no others."""

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if issubclass(category, AssumedInputs):
            start = "\r\033[K" if sys.stderr.isatty() else ""  # over the line that shows progress
            print(f"{start}warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", AssumedInputs)
        warnings.showwarning = show
        yield


# ---------------------------------------------------------------- compile


def compile_command(options: argparse.Namespace) -> int:
    """`redc compile`."""
    from isa.files import check_writable, save
    from runtime.progress import progress

    output = default_output(options.model) if options.output is None else Path(options.output)
    if output.suffix != ".red":
        raise UserError(f"{str(output)!r} does not end in .red", place="--output", hint=f"{output}.red")
    check_writable(output)
    with progress(f"compiling {options.model}"):
        compiled, shown = _compile(options)
    program = save(compiled.program, output, compiled.comments)
    lines = (program.source or "").count("\n")
    from redc.ir.graph import HostOp
    from redc.passes.place import arrays_of

    arrays = arrays_of(program)
    hosts = [op for op in compiled.graph.ops if isinstance(op, HostOp)]
    if options.json:
        print_document(
            {
                "schema": 1,
                "model": options.model,
                "program": str(output),
                "data": str(output.with_name(program.data_file)) if program.data_file else None,
                "target": program.target.name,
                "mapping": options.mapping,
                "lines": lines,
                "arrays": sum(arrays.values()),
                "layers": [
                    {
                        "name": x.name,
                        "op": x.op,
                        "mapping": x.mapping,
                        "nodes": list(x.nodes),
                        "tensor": x.tensor,
                    }
                    for x in program.layers
                ],
                "hosts": [
                    {"name": part.name, "nodes": list(part.nodes), "reasons": list(part.reasons)}
                    for part in hosts
                ],
                "ir": shown,
            }
        )
    else:
        print(f"{output}: {_count(len(program.layers), 'layer')}, {lines} lines, "
              f"{sum(arrays.values())} arrays on {program.target.name}")  # fmt: skip
        for part in hosts:
            print(f"host {part.name}: {_count(len(part.nodes), 'node')}")
            for reason in part.reasons[:MOST_REASONS]:
                print(f"  {reason}")
            if len(part.reasons) > MOST_REASONS:
                print(f"  and {len(part.reasons) - MOST_REASONS} more (--json lists all)")
    return 0


MOST_REASONS = 4
"""Nodes of a host part that are listed with what keeps them from the accelerator."""


def map_command(options: argparse.Namespace) -> int:
    """`redc map`."""
    from redc.array_map import grids, layer_maps, summary

    maps = layer_maps(_compile(options)[0], options.layer)
    if options.plot:
        from redc.array_plot import plot

        plot(maps, Path(options.plot))
    if options.json:
        layers = [layer.as_dict() for layer in maps]
        print_document({"schema": 1, "model": options.model, "target": options.target, "layers": layers})
        return 0
    print(summary(maps))
    if options.layer:
        print(f"\n{grids(maps[0])}")
    if options.plot:
        print(f"\npicture  {options.plot}")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def default_output(model: str) -> Path:
    """`dir/net.onnx` compiles to `net.red` in the current folder."""
    return Path(Path(model).name.removesuffix(".onnx") + ".red")


def _compile(options: argparse.Namespace) -> tuple[Any, dict[str, str]]:
    """The compiled model, and the IR after each pass that the user asked to see."""
    from redc.compiler import compile_with
    from redc.ir.text import to_text
    from redc.passes import Options

    shown: dict[str, str] = {}

    def after(name: str, graph: Graph) -> None:
        if name in options.print_after:
            shown[name] = to_text(graph)
            if not options.json:
                print(f"; after {name}\n{shown[name]}")

    compiled = compile_with(
        options.model,
        Options(**{key: getattr(options, key) for key in DEFAULTS if key != "target"}),
        target=options.target,
        shapes=dict(options.shape) or None,
        calibrate=_samples(options.calibrate),
        host=options.host,
        bind=bindings(options.bind),
        after=after,
        verify_each=options.verify_each,
    )
    return compiled, shown


def _samples(path: str | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    from runtime.npz import read_npz

    return read_npz(path, "--calibrate")


def bindings(pairs: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    """`--bind`: a value per name, from an .npy file or from the key of that name in an .npz."""
    from redc.errors import did_you_mean
    from runtime.npz import read_npy, read_npz

    values: dict[str, Any] = {}
    for name, path in pairs:
        place = f"--bind {name}={path}"
        if name in values:
            raise UserError(f"{name!r} is bound twice", place=place)
        if not path.endswith(".npz"):
            values[name] = read_npy(path, "--bind")
            continue
        arrays = read_npz(path, "--bind")
        if name not in arrays:
            known = ", ".join(map(repr, arrays)) or "none"
            hint = did_you_mean(name, arrays) or f"its keys are {known}"
            raise UserError(f"the file has no array {name!r}", place=place, hint=hint)
        values[name] = arrays[name]
    return values or None


# ---------------------------------------------------------------- run and diff


def run_program(options: argparse.Namespace) -> int:
    """`redc run`: the same as `python -m runtime`."""
    from runtime.command import run_command as run

    return run(options)


def diff_command(options: argparse.Namespace) -> int:
    """`redc diff`: 1 where a promise is broken."""
    from redc.diff import diff
    from runtime.npz import read_npz
    from runtime.progress import progress

    compiling = compiling_options(options)
    with progress(f"checking {options.model}"):
        report = diff(
            options.model,
            program=options.program,
            inputs=read_npz(options.input, "--input") if options.input is not None else None,
            bind=bindings(options.bind),
            min_sqnr=options.min_sqnr,
            engine=options.engine,
            fidelity=options.fidelity,
            seed=options.seed,
            **compiling,
        )
    if options.json:
        print_document(report.as_dict())
    else:
        print(report.table())
    return 0 if report.passed else 1


def compiling_options(options: argparse.Namespace, *, changed_target: bool = True) -> dict[str, Any]:
    """The options of `redc.compile`.  With a program there are none: the user may give none either,
    but for a target where `changed_target` is False."""
    if options.program is not None:
        fixed = [key for key in sorted(DEFAULTS) if changed_target or key != "target"]
        changed = [f"--{key.replace('_', '-')}" for key in fixed if getattr(options, key) != DEFAULTS[key]]
        changed += ["--shape"] * bool(options.shape) + ["--calibrate"] * bool(options.calibrate)
        changed += ["--no-host"] * (not options.host)
        if changed:
            raise UserError(
                f"{', '.join(changed)}: an option of compiling, but there is a program",
                place="--program",
                hint="leave out the program, or the options",
            )
        return {}
    compiling = {key: getattr(options, key) for key in DEFAULTS}
    compiling["host"] = options.host
    if options.shape:
        compiling["shapes"] = dict(options.shape)
    if options.calibrate is not None:
        compiling["calibrate"] = _samples(options.calibrate)
    return compiling


DEFAULTS = {
    "target": "red-65nm",
    "mapping": "pixel-wise",
    "fold": 1,
    "merge": "digital",
    "origin": "auto",
    "minimise": "cycles",
    "calibration": "mse",
    "bias_correction": False,
    "weight_bits": None,
    "input_bits": None,
    "vector_bits": None,
}
"""The options of compiling that have a default, and nothing to read or convert."""


def compare_command(options: argparse.Namespace) -> int:
    """`redc compare`."""
    from redc.compare import MAPPINGS, TARGETS, compare
    from redc.compare_plot import check_plot, plot
    from runtime.progress import progress

    if options.plot:
        check_plot(options.plot)
    with progress(f"comparing {', '.join(options.model)}"):
        found = compare(
            options.model,
            mappings=options.mappings or MAPPINGS,
            targets=options.targets or TARGETS,
            weight_bits=options.weight_bits,
            input_bits=options.input_bits,
            shapes=dict(options.shape) or None,
            calibrate=_samples(options.calibrate),
            baseline=options.baseline,
            host=options.host,
        )
    if options.plot:
        plot(found, options.plot)
    if options.json:
        print_document(found.as_dict())
    else:
        print(found.table())
    return 0


# ---------------------------------------------------------------- programs


def check_command(options: argparse.Namespace) -> int:
    """`redc check`."""
    from isa import load, verify
    from isa.cells import adc_bits_needed

    program = load(options.program)
    verify(program)
    bits = {
        x.name: adc_bits_needed(x, program.target, program.constant(x.data))
        for x in program.crossbars.values()
    }
    fewest = max(bits.values(), default=None)
    instructions = sum(1 for layer in program.layers for _ in _instructions(layer.body))
    if options.json:
        print_document(
            {
                "schema": 1,
                "program": options.program,
                "valid": True,
                "layers": len(program.layers),
                "instructions": instructions,
                "adc_bits": {"target": program.target.adc, "needed": fewest, "crossbars": bits},
            }
        )
    else:
        print(
            f"{options.program}: valid ({_count(len(program.layers), 'layer')}, {instructions} instructions)"
        )
        if fewest is not None:
            print(_adc_text(program.target, bits))
    return 0


def _adc_text(target: Target, bits: Mapping[str, int]) -> str:
    """Whether conversions can lose anything, and with how many bits none would."""
    fewest = max(bits.values())
    lines = [f"ADC: {target.adc} bits; {fewest} lose nothing"]
    short = {name: needed for name, needed in bits.items() if needed > target.adc}
    if target.lsb > 1:
        lines[0] += f" (with an lsb of 1, here it is {target.lsb}: sums are rounded)"
    elif not short:
        lines[0] += ": adc is exact"
    elif len(bits) > 1:
        lines += [f"  @{name} needs {needed}" for name, needed in short.items()]
    return "\n".join(lines)


def _instructions(body: Any) -> Iterator[object]:
    from isa.program import walk

    return walk(body)


def fmt_command(options: argparse.Namespace) -> int:
    """`redc fmt`."""
    from isa import format_text
    from isa.files import read_text, write_files

    before = read_text(options.program)
    after = format_text(before, options.program)
    changed = before != after
    if changed and not options.check:
        write_files([(Path(options.program), after.encode())])
    if options.json:
        print_document({"schema": 1, "program": options.program, "changed": changed})
    elif changed:
        print(f"{options.program}: {'would change' if options.check else 'rewritten'}")
    return 1 if changed and options.check else 0


# ---------------------------------------------------------------- lists


def targets_command(options: argparse.Namespace) -> int:
    """`redc targets [NAME]`."""
    from isa.targets import load_target_file, target_names
    from redc.target_text import document, explain

    names = list(target_names()) if options.name is None else [options.name]
    files = [load_target_file(name) for name in names]
    if options.json:
        rows = [document(file) for file in files]
        print_document(
            {"schema": 1, "targets": rows} if options.name is None else {"schema": 1, "target": rows[0]}
        )
    elif options.name is not None:
        print(explain(files[0]))
    else:
        width = max(map(len, names))
        for file in files:
            print(f"{file.target.name:<{width}}  {file.description}")
    return 0


def models_command(options: argparse.Namespace) -> int:
    """`redc models`."""
    import models

    entries = models.describe()
    if options.json:
        rows = [
            {"name": e.name, "kind": e.kind, "what": e.what, "source": e.source, "licence": e.licence}
            for e in entries
        ]
        print_document({"schema": 1, "models": rows})
        return 0
    width = max(len(e.name) for e in entries)
    for entry in entries:
        print(f"{entry.name:<{width}}  {entry.kind:<8} {entry.what}")
    return 0


def montecarlo_command(options: argparse.Namespace) -> int:
    """`redc montecarlo`, which has its own file."""
    from redc.montecarlo import montecarlo_command as run

    return run(options)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "compile": compile_command,
    "map": map_command,
    "run": run_program,
    "diff": diff_command,
    "compare": compare_command,
    "montecarlo": montecarlo_command,
    "check": check_command,
    "fmt": fmt_command,
    "targets": targets_command,
    "models": models_command,
}
