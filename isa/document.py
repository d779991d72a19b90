"""Documents that are made from tables: written, or checked to be current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def keep_document(
    path: Path, make: Callable[[], str], arguments: Sequence[str] | None, *, program: str, again: str
) -> int:
    """Write what `make` gives to `path`; with --check say whether it is there (exit status 1 if not).

    `again` is the command that makes it anew.
    """
    name = f"{path.parent.name}/{path.name}"
    parser = argparse.ArgumentParser(prog=program, description=f"Make {name}.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if it would change")
    check = parser.parse_args(arguments).check
    text = make()
    if not check:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    print(f"{name} is stale: run {again}", file=sys.stderr)
    return 1
