"""Work for all cores, where it lets go of Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Found = TypeVar("Found")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_pools: list[ThreadPoolExecutor] = []


def spread(work: Callable[[Part], Found], parts: Sequence[Part]) -> list[Found]:
    """`work` on every part, in any order; the caller's thread takes its share.

    A helper that has not even started when all is done is not waited for.
    """
    left = iter(parts)

    def take() -> list[Found]:
        return [work(part) for part in left]

    helpers: list[Future[list[Found]]] = []
    if CORES > 1 and len(parts) > 1:
        if not _pools:
            _pools.append(ThreadPoolExecutor(CORES - 1, "redc"))
        helpers = [_pools[0].submit(take) for _ in range(min(CORES, len(parts)) - 1)]
    found = take()
    for helper in helpers:
        if not helper.cancel():
            found += helper.result()
    return found
