"""The buffer memory that both engines work on.

Buffers hold integer codes, channels last, in the smallest numpy type of their declared type;
raw buffers hold tensors as they are.
Before a run every buffer but the inputs, and those that hold constants, has its zero code in every
cell, so a program that reads a cell it never wrote reads the same on every run and in every engine.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isa.program import Array, Buffer, Program
from runtime.errors import InputError
from runtime.observe import observed_buffers

SMALL = 64 << 20
"""Bytes that are never refused: what is free at one moment says little about so few."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The buffers of one program.

    codes         name -> array of the buffer's shape and dtype; engines keep views of them
    accumulators  name -> int64 array of the buffer's shape, for every buffer that observation
                  watches (see runtime/observe.py); empty without observation
    """

    codes: dict[str, Array]
    accumulators: dict[str, Array]
    zeros: dict[str, int]

    @staticmethod
    def of(program: Program, *, observe: bool = False) -> Memory:
        """Allocate.  Raises InputError where the buffers exceed the memory of this machine."""
        watched = observed_buffers(program) if observe else ()
        check_size(program, watched)
        codes = {b.name: _initial(program, b) for b in program.buffers.values()}
        accumulators = {name: np.zeros(program.buffers[name].shape, np.int64) for name in watched}
        written = {b.name: b.zero for b in program.buffers.values() if b.kind != "input" and not b.holds}
        return Memory(codes, accumulators, written)

    def reset(self) -> None:
        """Back to the state before a run; inputs stay as they are."""
        for name, zero in self.zeros.items():
            self.codes[name].fill(zero)
        for array in self.accumulators.values():
            array.fill(0)


def _initial(program: Program, buffer: Buffer) -> Array:
    """What a buffer holds before a run: the zero code, or its constant (not copied where its type allows)."""
    if buffer.holds is None:
        return np.full(buffer.shape, buffer.zero, buffer.dtype)
    held = np.ascontiguousarray(program.constant(buffer.holds), buffer.dtype).view()
    held.flags.writeable = False
    return held


def buffer_bytes(buffer: Buffer) -> int:
    """What its codes take in memory."""
    return math.prod(buffer.shape) * buffer.dtype.itemsize


def check_size(program: Program, watched: tuple[str, ...] = ()) -> None:
    """Refuse, before allocating, a program whose buffers do not fit in memory."""
    needed = sum(buffer_bytes(b) for b in program.buffers.values())
    needed += sum(8 * math.prod(program.buffers[name].shape) for name in watched)
    available = available_bytes()
    if needed <= max(available, SMALL):
        return
    largest = max(program.buffers.values(), key=buffer_bytes)
    raise InputError(
        f"the buffers need {needed / 2**30:.1f} GiB, this machine has {available / 2**30:.1f} GiB free",
        place=f"buffer %{largest.name}",
        hint=f"the largest is %{largest.name} {largest.dtype}{list(largest.shape)}; "
        "--count-only counts cycles and events without running",
    )


def available_bytes() -> int:
    """Memory that can be had without swapping; all physical memory where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
