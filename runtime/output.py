"""Standard output: whatever is printed can be, and where nothing can be that is one error."""

from __future__ import annotations

import io
import os
import sys


def escape_what_it_lacks() -> None:
    """Names hold any character, standard output has perhaps an encoding without it: print `\\xe9` then."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def has_every_character() -> bool:
    """Whether standard output is of Unicode."""
    return str(getattr(sys.stdout, "encoding", None) or "utf").lower().startswith("utf")


def drop_output() -> None:
    """Nobody reads what is still to be printed; without this Python would complain on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def output_failed(error: OSError) -> int:
    """Tell that standard output cannot be written; the exit status."""
    drop_output()
    hint = "make room, or send it elsewhere"
    print(f"error: cannot write standard output: {error.strerror}\n  hint: {hint}", file=sys.stderr)
    return 2
