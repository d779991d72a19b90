"""Results of a nest in one pass each: from the codes and products they are made of to their codes.

What numpy would do instruction by instruction (`runtime/evaluate.py`), each through memory, one
kernel does for a few values at a time.  A row is one result of one iteration; `fused_words`
describes the rows to the kernels of `fused_kernel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from isa.program import Address, Array
from runtime.fused_forms import kernel
from runtime.fused_words import Codes, Part, Result, Words, taken_tap_by_tap
from runtime.gather import Rows, Sources
from runtime.machine import Memory
from runtime.stacked import Stacked, Stacks
from runtime.symbols import Expression, sums_in
from runtime.threads import CORES, spread

SPREAD_VALUES = 1 << 15
"""Values that are worth the work of another thread."""
CHUNK_BYTES = 1 << 20
"""Products at work at a time: they are read while they are still in a cache."""


class Fused:
    """What some expressions of one shape put into a buffer, see `evaluate.evaluator`.

    targets  the row of the buffer that each result goes to, (iterations, expressions), -1 for none

    Raises Unsafe where a kernel could not hold what the verifier has not bounded closely enough.
    """

    def __init__(
        self, stacks: Stacks, values: Sequence[Expression], target: Address, targets: Rows, add: bool
    ) -> None:
        self.stacks: list[Stacked] = []
        self.kept: list[Array] = []  # what words point to
        self.calls: list[Callable[..., None]] | None = None
        slots = range(len(values))
        apart = any(taken_tap_by_tap(stacks, each) for value in values for each in sums_in(value))
        groups = [[slot] for slot in slots] if apart else [list(slots)]
        self.parts = []
        for group in groups:
            words = Words(stacks, [values[slot] for slot in group], self.stacks, self.kept)
            self.parts.append(words.part(target, targets[:, group], add))
        self.alone = add  # rows may be one row of the buffer
        self.iterations = self.size = len(targets)
        if self.stacks:
            cost = sum(stack.cost + stack.width * stack.result.itemsize for stack in self.stacks)
            together = math.lcm(*(part.together for part in self.parts))
            self.size = max(1, CHUNK_BYTES // (cost * together)) * together

    def ready(self) -> bool:
        """Whether all kernels are there; asked once for each run."""
        if self.calls is None:
            calls = [kernel(part.form, part.values * part.count) for part in self.parts]
            found = [call for call in calls if call is not None]
            self.calls = found if len(found) == len(calls) else None
        return self.calls is not None

    def run(self, memory: Memory, sources: Sources) -> None:
        """Write (or add) all results."""
        for a in range(0, self.iterations, self.size):
            b = min(a + self.size, self.iterations)
            results = [stack(sources, a, b) for stack in self.stacks]
            for call, part in zip(self.calls or (), self.parts, strict=True):
                self._call(call, part, self._words(part, memory, results, a), a, b)

    def _words(self, part: Part, memory: Memory, results: Sequence[Array], first: int) -> Array:
        words = np.empty(len(part.words), np.int64)
        for number, word in enumerate(part.words):
            if isinstance(word, Codes):
                word = memory.codes[word.buffer].ctypes.data + word.offset
            elif isinstance(word, Result):
                result = results[word.stack]  # rows count from the first iteration of all
                word = result.ctypes.data - result.strides[0] * first
            words[number] = word
        return words

    def _call(self, call: Callable[..., None], part: Part, words: Array, a: int, b: int) -> None:
        first, last = a * part.rows // part.together, -(-b * part.rows // part.together)
        pieces = 1 if self.alone else min(CORES, (last - first) * part.values // SPREAD_VALUES)
        if pieces <= 1:
            call(words.ctypes.data, first, last)
            return
        edges = [first + (last - first) * n // pieces for n in range(pieces + 1)]
        start = words.ctypes.data
        spread(lambda n: call(start, edges[n], edges[n + 1]), range(pieces))
