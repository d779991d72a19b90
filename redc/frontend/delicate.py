"""Nodes whose values are safe as codes between codes, but not beside a host's floats.

What is *steep* near 0 (a quotient, a root, a logarithm) amplifies the rounding of its input, and its
output may span more than codes can: it needs that nothing around it is the host's.  What a constant
of several axes goes into, `held`, may be a mask that dwarfs everything else: it needs one reader that
is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
import numpy.typing as npt

REACH = 64
"""From the smallest to the largest value of what is safe as codes: half a step of 16 bits is then at
most 1/2000 of any value (66 dB)."""


def beside_hosts(
    edges: Iterable[tuple[int, int]], host: Set[int], steep: Set[int], held: Set[int], raw: Set[int]
) -> set[int]:
    """Which of `steep` and `held` nodes become the host's, given (maker, reader) edges.

    `raw` are the steep ones to begin with: they read floats that no host makes.
    """
    around: dict[int, set[int]] = {}
    makers: dict[int, set[int]] = {}
    readers: dict[int, int] = {}  # how many are not the host's yet
    for maker, reader in {*edges}:
        around.setdefault(maker, set()).add(reader)
        around.setdefault(reader, set()).add(maker)
        makers.setdefault(reader, set()).add(maker)
        readers[maker] = readers.get(maker, 0) + 1
    found, pending = set(raw), [*host, *raw]
    while pending:
        index = pending.pop()
        fallen = around.get(index, set()) & steep
        for maker in makers.get(index, ()):
            readers[maker] -= 1
            if maker in held and not readers[maker]:
                fallen.add(maker)
        new = fallen - found - host
        found |= new
        pending += new
    return found


def away_from_zero(name: str, samples: Mapping[str, npt.NDArray[Any]]) -> bool:
    """Whether samples show all values of an input of the network within REACH of one another."""
    if name not in samples:
        return False
    values = np.asarray(samples[name])
    if values.dtype.kind not in "biuf":
        return False  # whoever calibrates on them says what is wrong
    magnitudes = np.abs(values.astype(np.float64))
    return bool(magnitudes.size) and float(magnitudes.max()) <= REACH * float(magnitudes.min())
