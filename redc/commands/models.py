"""The commands that take a model: compile, map, diff, compare, montecarlo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redc.commands.choices import DEFAULTS, bindings, compiling_options, inputs_of, samples_of, shapes_of
from redc.commands.told import print_document
from redc.errors import UserError
from runtime.report import counted
from runtime.room import Room

if TYPE_CHECKING:
    from redc.ir.graph import Graph


def compile_command(options: argparse.Namespace) -> int:
    """`redc compile`."""
    from isa.files import check_writable, save
    from runtime.overwriting import check_not_read, files_read
    from runtime.progress import progress

    output = default_output(options.model) if options.output is None else Path(options.output)
    if output.suffix != ".red":
        stem = output.name.removesuffix(".onnx")
        hint = "net.red" if not stem or stem.startswith(".") else str(output.with_name(f"{stem}.red"))
        raise UserError(f"{options.output!r} does not end in .red", place="--output", hint=hint)
    check_writable(output)
    for written in (output, output.with_suffix(".safetensors")):
        if written.exists():  # else there is nothing to lose, and no need to look into the model
            check_not_read(written, "--output", [*files_read(options), *_data_files(options.model)])
    data = output.with_suffix(".safetensors")
    if data.exists() and not output.exists():
        raise UserError(
            f"{str(data)!r}, where the data of the program would go, is there already, and no program is",
            place=f"--output {output}",
            hint="give the program another name with -o, or remove the file",
        )
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
        made = f"{counted(len(program.layers), 'layer')}, {lines} lines"
        text = [f"{output}: {made}, {counted(sum(arrays.values()), 'array')} on {program.target.name}"]
        for part in hosts:
            text.append(f"host {part.name}: {counted(len(part.nodes), 'node')}")
            text += [f"  {reason}" for reason in part.reasons[:MOST_REASONS]]
            if len(part.reasons) > MOST_REASONS:
                text.append(f"  and {len(part.reasons) - MOST_REASONS} more (--json lists all)")
        print("\n".join(Room.of_terminal(all_layers=True).prose(text)))
    return 0


MOST_REASONS = 4
"""Nodes of a host part that are listed with what keeps them from the accelerator."""


def _data_files(model: str) -> list[str]:
    """The files that hold the tensors of a model, where they lie beside it."""
    from redc.frontend.external import data_files

    return [str(path) for path in data_files(Path(model))]


def check_picture(options: argparse.Namespace) -> None:
    """Raise an error for a `--plot` that cannot be drawn, or is a file that the command reads."""
    from redc.figure_file import check_plot
    from runtime.overwriting import check_not_read, files_read

    if options.plot is not None:
        check_plot(options.plot)
        check_not_read(options.plot, "--plot", files_read(options))


def _tell_picture(options: argparse.Namespace) -> None:
    if options.plot:
        print(f"\npicture  {options.plot}")


def _room(options: argparse.Namespace) -> Room:
    return Room.of_terminal(all_layers=options.all_layers)


def default_output(model: str) -> Path:
    """`dir/net.onnx` compiles to `net.red` in the current folder."""
    return Path((Path(model).name.removesuffix(".onnx") or "model") + ".red")


def map_command(options: argparse.Namespace) -> int:
    """`redc map`."""
    from redc.array_map import grids, layer_maps, summary
    from redc.passes.context import AUTO

    check_picture(options)
    # The choice of `auto` weighs cycles, which depend on codes; else where weights sit depends on no values.
    observe = options.mapping == AUTO or options.calibrate is not None or bool(options.print_after)
    maps = layer_maps(_compile(options, observe=observe)[0], options.layer)
    if options.plot:
        from redc.array_plot import plot

        plot(maps, Path(options.plot))
    if options.json:
        layers = [layer.as_dict() for layer in maps]
        print_document({"schema": 1, "model": options.model, "target": options.target, "layers": layers})
        return 0
    print(summary(maps, _room(options)))
    if options.layer:
        print(f"\n{grids(maps[0])}")
    _tell_picture(options)
    return 0


def _compile(options: argparse.Namespace, *, observe: bool = True) -> tuple[Any, dict[str, str]]:
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
        shapes=shapes_of(options.shape),
        calibrate=samples_of(options.calibrate),
        host=options.host,
        bind=bindings(options.bind),
        after=after,
        verify_each=options.verify_each,
        observe=observe,
    )
    return compiled, shown


def diff_command(options: argparse.Namespace) -> int:
    """`redc diff`: 1 where a promise is broken."""
    from redc.diff import diff
    from runtime.options import machine_seed
    from runtime.progress import progress

    seed = machine_seed(options)
    compiling = compiling_options(options)
    with progress(f"checking {options.model}"):
        report = diff(
            options.model,
            program=options.program,
            bind=bindings(options.bind),
            min_sqnr=options.min_sqnr,
            engine=options.engine,
            fidelity=options.fidelity,
            seed=seed,
            **inputs_of(options),
            **compiling,
        )
    if options.json:
        print_document(report.as_dict())
    else:
        print(report.table(_room(options)))
    return 0 if report.passed else 1


def compare_command(options: argparse.Namespace) -> int:
    """`redc compare`."""
    from redc.compare import MAPPINGS, TARGETS, compare
    from redc.compare_plot import plot
    from runtime.progress import progress

    check_picture(options)
    with progress(f"comparing {', '.join(options.model)}"):
        found = compare(
            options.model,
            mappings=options.mappings or MAPPINGS,
            targets=options.targets or TARGETS,
            weight_bits=options.weight_bits,
            input_bits=options.input_bits,
            shapes=shapes_of(options.shape),
            calibrate=samples_of(options.calibrate),
            bind=bindings(options.bind),
            baseline=options.baseline,
            host=options.host,
        )
    if options.plot:
        plot(found, options.plot)
    if options.json:
        print_document(found.as_dict())
    else:
        print(found.table(Room.of_terminal(all_layers=True)))
        _tell_picture(options)
    return 0


def montecarlo_command(options: argparse.Namespace) -> int:
    """`redc montecarlo`."""
    from redc.montecarlo import montecarlo
    from redc.montecarlo_plot import plot

    check_picture(options)
    compiling = compiling_options(options, changed_target=False)
    target = compiling.pop("target", None)
    if options.program is not None and options.target != "red-65nm":
        target = options.target
    report = montecarlo(
        options.model,
        program=options.program,
        trials=options.trials,
        seed=options.seed,
        engine=options.engine,
        target=target,
        bind=bindings(options.bind),
        **inputs_of(options),
        **compiling,
    )
    if options.plot:
        plot(report, options.plot)
    if options.json:
        print_document(report.as_dict())
    else:
        print(report.table(_room(options)))
        _tell_picture(options)
    return 0
