"""The declarations of random programs: target, buffers, crossbars and constants."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from isa.geometry import arrays_of
from isa.program import (
    Array,
    Buffer,
    Constant,
    ConstRef,
    Crossbar,
    IntType,
    Target,
    smallest_type,
)

SMALL_TYPES = [IntType(False, 8), IntType(True, 8), IntType(False, 4), IntType(True, 11), IntType(False, 1)]
WIDE_TYPES = [IntType(True, 25), IntType(True, 40), IntType(True, 60)]


class Declarations:
    """What a random program declares, every decision drawn; `Author` writes the code."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.buffers: dict[str, Buffer] = {}
        self.crossbars: dict[str, Crossbar] = {}
        self.constants: dict[str, Constant] = {}
        self.data: dict[str, Array] = {}
        self.arrays = 0
        self.lengths = sorted({self.pick(1, 3), self.pick(1, 5)})
        self.target = self.make_target()

    # ------------------------------------------------------------ choices

    def pick(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def chance(self, percent: int) -> bool:
        """True with about this chance; shrinks to False."""
        return self.pick(1, 100) > 100 - percent

    def choose(self, options: list[Any]) -> Any:
        return options[self.pick(0, len(options) - 1)]

    # ------------------------------------------------------------ declarations

    def make_target(self) -> Target:
        return Target(
            "random",
            rows=self.choose([None, 2, 7]),
            columns=self.choose([None, 30, 64]),
            cell=self.pick(1, 4),
            encoding=self.choose(["differential", "offset", "flip"]),
            pair=self.choose(["shared", "separate"]),
            dac=self.pick(1, 3),
            adc=self.choose([8, 20, 4, 2, 1]),
            lsb=self.choose([1, 1, 2, 3, 5]),
            share=self.pick(1, 8),
            adders=self.choose([1, 3, 20]),
            vector=self.choose([1, 3, 20]),
            read=self.choose([1, 9, 64]),
            write=self.choose([1, 9, 64]),
            fetch=self.choose([None, 3, 64]),
        )

    def make_buffer(self, kind: Any, vector: int, *, accumulator: bool = False) -> Buffer:
        spatial = tuple(self.pick(1, 4) for _ in range(self.pick(0, 3)))
        name = f"b{len(self.buffers)}"
        shape = (*spatial, vector)
        if accumulator:
            buffer = Buffer(name, kind, IntType(True, 48), shape)
        else:
            kind_of = self.choose(WIDE_TYPES if self.chance(10) else SMALL_TYPES)
            zero = self.pick(kind_of.low, kind_of.high) if self.chance(40) and kind_of.bits < 25 else 0
            buffer = self.onnx(Buffer(name, kind, kind_of, shape, self.choose([1.0, 0.25, 0.1]), zero))
        self.buffers[name] = buffer
        return buffer

    def make_held(self, vector: int) -> Buffer:
        """A buffer that holds a constant, inline or in the data file."""
        buffer = self.make_buffer("buffer", vector)
        name, kind = f"h{len(self.buffers)}", buffer.type
        values = self.rng.integers(kind.low, kind.high + 1, buffer.shape)
        if self.chance(50):
            flat = tuple(int(v) for v in values.ravel())
            self.constants[name] = Constant(name, str(kind), buffer.shape, flat)
        else:
            self.data[name] = values.astype(self.choose([kind.dtype, np.int64]))
        self.buffers[buffer.name] = replace(buffer, holds=name)
        return self.buffers[buffer.name]

    def onnx(self, buffer: Buffer) -> Buffer:
        """Give a buffer an ONNX tensor, whose axis `axis` lies last in the buffer."""
        axis = self.pick(0, len(buffer.shape) - 1)
        shape = list(buffer.shape[:-1])
        shape.insert(axis, buffer.shape[-1])
        return replace(buffer, tensor=f"t.{buffer.name}", onnx_shape=tuple(shape), axis=axis)

    def make_crossbar(self, source: Buffer) -> Crossbar:
        rows, columns = (
            self.choose([source.vector] * 3 + [self.pick(1, source.vector)]),
            self.choose(self.lengths),
        )
        divisors = [g for g in range(1, rows + 1) if rows % g == 0 and columns % g == 0]
        drive = source.drive_type
        crossbar = Crossbar(
            name=f"x{len(self.crossbars)}",
            index_shape=tuple(self.pick(1, 3) for _ in range(self.pick(0, 2))),
            row_bands=self.pick(1, 2),
            rows=rows,
            column_bands=self.pick(1, 2),
            columns=columns,
            groups=self.choose(divisors),
            weight_type=self.choose(
                [IntType(True, 8), IntType(True, 3), IntType(True, 12), IntType(False, 4)]
            ),
            input_type=self.choose([drive, smallest_type(drive.low - 1, drive.high + 1)]),
            data=f"w{len(self.crossbars)}",
            place=self.arrays,
        )
        sizes = (*crossbar.index_shape, crossbar.row_bands, crossbar.column_bands)
        places = list(itertools.product(*map(range, sizes)))
        blank = tuple(place for place in places if self.chance(15)) if self.chance(30) else ()
        crossbar = replace(crossbar, blank=blank)
        kind = crossbar.weight_type
        weights = self.rng.integers(kind.low + kind.signed, kind.high + 1, crossbar.data_shape)
        columns = crossbar.columns // crossbar.groups
        inside = weights.reshape(*crossbar.index_shape, crossbar.row_bands, rows, -1, columns)
        for place in blank:
            inside[(*place[:-1], slice(None), place[-1])] = 0
        self.data[crossbar.data] = weights.astype(kind.dtype)
        self.arrays += arrays_of(crossbar, self.target)
        self.crossbars[crossbar.name] = crossbar
        return crossbar

    def integers(self, length: int, low: int, high: int) -> tuple[ConstRef, Array]:
        """An integer constant, inline or in the data file, for vectors of `length`."""
        shape = (self.choose([1, length]),)
        values = self.rng.integers(low, high + 1, shape)
        name = f"c{len(self.constants) + len(self.data)}"
        if self.chance(50):
            self.constants[name] = Constant(name, "i16", shape, tuple(int(v) for v in values))
        else:
            self.data[name] = values.astype(np.int32)
        return ConstRef(name), values

    def scale(self, length: int, magnitude: int, reach: int = 1) -> ConstRef:
        """A float constant that brings values of `magnitude` somewhere near 256 times `reach`."""
        size = self.choose([1, length])
        values = (self.rng.random(size) * 300 * reach / max(1, magnitude)).astype(np.float32)
        if self.chance(10):
            values[0] = self.choose([0.0, 1e35 / max(1, magnitude), 1e-40])
        name = f"s{len(self.constants) + len(self.data)}"
        if self.chance(50):
            self.constants[name] = Constant(name, "f32", (size,), tuple(float(v) for v in values))
        else:
            self.data[name] = values
        return ConstRef(name)
