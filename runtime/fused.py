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
from runtime.tape import Call, address_of
from runtime.threads import CORES, spread

SPREAD_VALUES = 1 << 17
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
        self.kernels: list[Callable[..., None]] | None = None
        self.memory: Memory | None = None  # for which `words` are
        self.words: list[Array] = []
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
            size = min(CHUNK_BYTES // cost, -(-self.iterations // stacks.threads))
            self.size = max(1, size // together) * together

    def ready(self, runs: bool = True) -> bool:
        """Whether all kernels are there; asked once for each run, or not for one."""
        if self.kernels is None:
            asked = [kernel(part.form, part.values * part.count * runs) for part in self.parts]
            found = [one for one in asked if one is not None]
            self.kernels = found if len(found) == len(asked) else None
        return self.kernels is not None

    def _fill(self, memory: Memory) -> None:
        if self.memory is not memory:
            self.memory = memory
            self.words = [_filled(part, memory) for part in self.parts]

    def calls(self, memory: Memory) -> list[Call] | None:
        """All that `run` does as calls of kernels; None where there is more to it, or work for other
        threads, or a kernel is not there."""
        if self.stacks or not self.ready(runs=False) or self.kernels is None:
            return None
        if CORES > 1 and any(part.count * part.values >= 2 * SPREAD_VALUES for part in self.parts):
            return None
        self._fill(memory)
        return [
            Call(address_of(one), words.ctypes.data, 0, -(-part.count // part.together))
            for one, words, part in zip(self.kernels, self.words, self.parts, strict=True)
        ]

    def run(self, memory: Memory, sources: Sources) -> None:
        """Write (or add) all results."""
        self._fill(memory)

        def work(chunk: tuple[int, int]) -> None:
            results = [stack(sources, *chunk) for stack in self.stacks]
            for number in range(len(self.parts)):
                self._compute(number, results, *chunk, pieces=1 if len(chunks) > 1 else CORES)

        chunks = [(a, min(a + self.size, self.iterations)) for a in range(0, self.iterations, self.size)]
        if self.alone:
            for chunk in chunks:
                work(chunk)
        else:
            spread(work, chunks)

    def _compute(self, number: int, results: Sequence[Array], a: int, b: int, pieces: int) -> None:
        """One part in iterations [a, b), by so many threads at most."""
        part, words, call = self.parts[number], self.words[number], (self.kernels or ())[number]
        if part.results:
            words = words.copy()
            for place, stack in part.results:  # rows count from the first iteration of all
                words[place] = results[stack].ctypes.data - results[stack].strides[0] * a
        first, last = a * part.rows // part.together, -(-b * part.rows // part.together)
        pieces = 1 if self.alone else min(pieces, (last - first) * part.values // SPREAD_VALUES)
        start = words.ctypes.data
        if pieces <= 1:
            call(start, first, last)
            return
        edges = [first + (last - first) * n // pieces for n in range(pieces + 1)]
        spread(lambda n: call(start, edges[n], edges[n + 1]), range(pieces))


def _filled(part: Part, memory: Memory) -> Array:
    """Its words; those of products are to be written yet."""
    words = np.zeros(len(part.words), np.int64)
    for number, word in enumerate(part.words):
        if isinstance(word, Codes):
            words[number] = memory.codes[word.buffer].ctypes.data + word.offset
        elif not isinstance(word, Result):
            words[number] = word
    return words
