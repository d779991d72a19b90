"""No command writes over a file that it reads: one check for all of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator

from runtime.errors import InputError

READ = ("model", "program", "input", "calibrate", "bind", "target", "targets")
"""Options, of any command, that name files to read."""


def files_read(options: argparse.Namespace) -> Iterator[str]:
    """Every word of the command that may be the path of a file to read."""
    for option in READ:
        given = getattr(options, option, None) or ()
        for word in (given,) if isinstance(given, str) else given:
            yield word if isinstance(word, str) else word[-1]  # --bind NAME=FILE


def check_not_read(path: str | os.PathLike[str], option: str, read: Iterable[str]) -> None:
    """Raise InputError where the output `path` is one of the files `read`, under whatever name."""
    for other in read:
        try:
            same = os.path.samefile(path, other)
        except (OSError, ValueError):  # one of them is no file: nothing to lose
            continue
        if same:
            raise InputError(
                f"this is the file that the command reads as {other}, and would be overwritten",
                place=f"{option} {os.fspath(path)}",
                hint="give the output another name",
            )
