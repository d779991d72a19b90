"""One line on a terminal for what takes long; silence everywhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds before anything is shown."""


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show `what` and the seconds on standard error while the body runs, then wipe the line."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    start = time.monotonic()

    def show() -> None:
        if done.wait(PATIENCE):
            return
        while not done.wait(0.5):
            print(f"\r{what} ... {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)
        print("\r\033[K", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


WIDTH = 24
"""Of a bar, in characters."""


def counted(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, with a bar on standard error that says how many are done; wiped at the end."""
    if not sys.stderr.isatty():
        yield from items
        return
    start, count = time.monotonic(), len(items)
    try:
        for done, item in enumerate(items):
            spent = time.monotonic() - start
            left = f", {spent / done * (count - done):.0f} s left" if done else ""
            bar = "#" * (WIDTH * done // count)
            line = f"\r\033[K{what} {done + 1}/{count} [{bar:<{WIDTH}}] {spent:.0f} s{left}"
            print(line, end="", file=sys.stderr, flush=True)
            yield item
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
