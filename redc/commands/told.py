"""What a command prints: one document, or errors, each with a place and a hint."""

from __future__ import annotations

import json as json_
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from isa.diagnostics import clean
from redc.errors import AssumedInputs
from runtime.output import has_every_character

Document = dict[str, Any]


def report_errors(errors: list[Document], text: str, *, json: bool) -> int:
    """Tell `errors`: as one document on standard output, or as text on standard error."""
    if json:
        print_document({"schema": 1, "errors": errors})
    else:
        lines = text if text.startswith("error") or ": error:" in text else f"error: {text}"
        print("\n".join(map(clean, lines.split("\n"))), file=sys.stderr)
    return 2


def print_document(document: Mapping[str, Any]) -> None:
    """The one document of a --json command."""
    print(json_.dumps(document, indent=1, ensure_ascii=not has_every_character()))


@contextmanager
def own_warnings() -> Iterator[None]:
    """Our own warnings as one line each on standard error, when they come; no others."""

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if issubclass(category, AssumedInputs):
            start = "\r\033[K" if sys.stderr.isatty() else ""  # over the line that shows progress
            print(f"{start}warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", AssumedInputs)
        warnings.showwarning = show
        yield
