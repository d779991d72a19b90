"""One line on a terminal for what takes long; silence everywhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds before anything is shown."""
TICK = 0.5
"""Seconds between two looks at the clock."""
WIDTH = 24
"""Of a bar, in characters."""


@contextmanager
def _ticking(line: Callable[[float], str]) -> Iterator[None]:
    """Show `line(seconds since the start)` on standard error while the body runs, then wipe it."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    start = time.monotonic()

    def show() -> None:
        if done.wait(PATIENCE):
            return
        while True:
            print(f"\r\033[K{line(time.monotonic() - start)}", end="", file=sys.stderr, flush=True)
            if done.wait(TICK):
                break
        print("\r\033[K", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show `what` and the seconds."""
    with _ticking(lambda seconds: f"{what} ... {seconds:.0f} s"):
        yield


def counted(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, with a bar that says how many are done, and how long the rest may take."""
    count, done, since = len(items), 0, 0.0

    def line(seconds: float) -> str:
        left = f", {max(0.0, since / done * count - seconds):.0f} s left" if done else ""
        bar = "#" * (WIDTH * done // count)
        return f"{what} {done + 1}/{count} [{bar:<{WIDTH}}] {seconds:.0f} s{left}"

    start = time.monotonic()
    with _ticking(line):
        for item in items:
            yield item
            done, since = min(done + 1, count - 1), time.monotonic() - start
