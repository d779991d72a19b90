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
