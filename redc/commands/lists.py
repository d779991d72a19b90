"""The commands that list what there is: targets, models."""

from __future__ import annotations

import argparse

from redc.commands.told import print_document


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


SAMPLES = {
    "normal": "standard normal values",
    "rectified normal": "their positive part, as behind a Relu",
    "recorded": "one natural input, kept with the model",
}
"""What the inputs of a model are like: `models.Entry.drawn`, in words."""


def models_command(options: argparse.Namespace) -> int:
    """`redc models`."""
    import models

    entries = models.describe()
    if options.json:
        rows = [
            {
                "name": e.name,
                "kind": e.kind,
                "what": e.what,
                "source": e.source,
                "licence": e.licence,
                "inputs": {name: list(shape) for name, shape in e.inputs.items()},
                "samples": e.drawn,
            }
            for e in entries
        ]
        print_document({"schema": 1, "models": rows})
        return 0
    lines = [("model", "kind", "samples", "what"), *((e.name, e.kind, e.drawn, e.what) for e in entries)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)][:3]
    for *short, what in lines:
        print("  ".join([*(text.ljust(width) for text, width in zip(short, widths, strict=True)), what]))
    print("\nsamples: what calibrates a model, and what diff and montecarlo run it on without --input")
    for name, words in SAMPLES.items():
        print(f"  {name:<{max(map(len, SAMPLES))}}  {words}")
    return 0
