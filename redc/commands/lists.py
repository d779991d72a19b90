"""The commands that list what there is: targets, models."""

from __future__ import annotations

import argparse

from redc.commands.told import print_document
from runtime.room import Room

SOURCES = 24
"""Characters before a source in what explains a target."""
MOST_WORDS = 60
"""Characters that what a model is should have in a line, else it gets lines of its own."""


def targets_command(options: argparse.Namespace) -> int:
    """`redc targets [NAME]`."""
    from isa.targets import load_target_file, target_names
    from redc.target_text import document, explain

    room = Room.of_terminal(all_layers=True)
    names = list(target_names()) if options.name is None else [options.name]
    files = [load_target_file(name) for name in names]
    if options.json:
        rows = [document(file) for file in files]
        print_document(
            {"schema": 1, "targets": rows} if options.name is None else {"schema": 1, "target": rows[0]}
        )
    elif options.name is not None:
        for line in explain(files[0]).split("\n"):
            hang = len("source: ") if line.startswith(" " * SOURCES) else SOURCES
            print("\n".join(room.prose([line], hang)))
    else:
        width = max(map(len, names))
        lines = (f"{file.target.name:<{width}}  {file.description}" for file in files)
        print("\n".join(room.prose(lines, hang=width + 2)))
    return 0


SAMPLES = {
    "normal": "standard normal values",
    "rectified normal": "their positive part, as behind a Relu",
    "recorded": "one natural input, kept with the model",
}
"""What the inputs of a model are like: `models.Entry.drawn`, in words."""


def models_command(options: argparse.Namespace) -> int:
    """`redc models`."""
    from redc.shelf import needed_shelf

    entries = needed_shelf().describe()
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
    room = Room.of_terminal(all_layers=True)
    for *short, what in lines:
        head = "  ".join(text.ljust(width) for text, width in zip(short, widths, strict=True))
        if room.width is not None and len(head) + 2 + MOST_WORDS > room.width:
            print("\n".join([head.rstrip(), *room.prose([f"    {what}"], hang=0)]))
        else:
            print("\n".join(room.prose([f"{head}  {what}"], hang=len(head) + 2)))
    about = "samples: what calibrates a model, and what diff and montecarlo run it on without --input"
    longest = max(map(len, SAMPLES))
    print("\n".join(["", *room.prose([about])]))
    lines_of_samples = (f"  {name:<{longest}}  {words}" for name, words in SAMPLES.items())
    print("\n".join(room.prose(lines_of_samples, hang=longest + 2)))
    return 0
