"""What a layer must count under each mapping, from its attributes alone.

Closed formulas over kernel pixels, written without the compiler's or the machine's code: the
other side of the conservation tests, and the arithmetic of docs/mappings.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from isa.program import Target

Coordinates = tuple[int, ...]


@dataclass(frozen=True)
class Fired:
    """Word lines that fire together: seats (row band, column band), how often, and how many of
    those times each row band's pixel lies inside the input."""

    seats: tuple[tuple[int, int], ...]
    fires: int
    inside: Mapping[int, int]


@dataclass(frozen=True)
class Layer:
    """A deconvolution: batch, channels and sizes of input and output, and its attributes."""

    batch: int
    c: int
    m: int
    groups: int
    kernel: Coordinates
    stride: Coordinates
    dilation: Coordinates
    pads: Coordinates
    input: Coordinates
    output: Coordinates

    @staticmethod
    def of(model: onnx.ModelProto, output: Coordinates) -> Layer:
        node = model.graph.node[0]
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        weight = next(tuple(t.dims) for t in model.graph.initializer if t.name == node.input[1])
        kernel, groups = weight[2:], given.get("group", 1)
        rank = len(kernel)
        ones, pads = (1,) * rank, tuple(given.get("pads", (0,) * 2 * rank))[:rank]
        stride, dilation = (tuple(given.get(k, ones)) for k in ("strides", "dilations"))
        n, c, *size = shape
        return Layer(n, c, weight[1] * groups, groups, kernel, stride, dilation, pads, tuple(size), output)

    def reaches(self) -> list[Coordinates]:
        return [
            tuple(d * k - p for d, k, p in zip(self.dilation, index, self.pads, strict=True))
            for index in itertools.product(*map(range, self.kernel))
        ]

    def split(self, origin: Coordinates) -> list[tuple[Coordinates, Coordinates]]:
        """(tap, phase) of each kernel pixel where blocks start at `-origin`."""
        ends = [[e + g for e, g in zip(reach, origin, strict=True)] for reach in self.reaches()]
        return [
            (
                tuple(e // s for e, s in zip(end, self.stride, strict=True)),
                tuple(e % s for e, s in zip(end, self.stride, strict=True)),
            )
            for end in ends
        ]

    def blocks(self, origin: Coordinates) -> Coordinates:
        return tuple(-(-(o + g) // s) for o, g, s in zip(self.output, origin, self.stride, strict=True))

    def read_in_blocks(self, tap: Coordinates, blocks: Coordinates) -> int:
        """Blocks q in which input pixel q - tap exists."""
        return math.prod(
            max(0, min(b, t + i) - max(0, t)) for b, t, i in zip(blocks, tap, self.input, strict=True)
        )

    def pairs(self, reach: Coordinates) -> int:
        """Input pixels i whose output pixel stride * i + reach exists."""
        return math.prod(
            sum(0 <= s * i + e < o for i in range(n))
            for s, e, o, n in zip(self.stride, reach, self.output, self.input, strict=True)
        )

    def fired(self, mapping: str, fold: int = 1, merge: str = "digital", origin: str = "0") -> list[Fired]:
        """What fires, for one sample of the batch."""
        zero = (0,) * len(self.kernel)
        if mapping == "zero-padding":
            pairs = dict(enumerate(map(self.pairs, self.reaches())))
            return [Fired(tuple((k, 0) for k in pairs), math.prod(self.output), pairs)]
        if mapping == "padding-free":
            pixels = math.prod(self.input)
            return [Fired(tuple((0, k) for k in range(math.prod(self.kernel))), pixels, {0: pixels})]
        start = tuple(p % s for p, s in zip(self.pads, self.stride, strict=True)) if origin == "pad" else zero
        blocks, split = self.blocks(start), self.split(start)
        fires = math.prod(blocks)
        phases = sorted({phase for _, phase in split})
        if mapping == "packed":
            taps = sorted({tap for tap, _ in split})
            seats = tuple((taps.index(tap), phases.index(phase)) for tap, phase in split)
            inside = {band: self.read_in_blocks(tap, blocks) for band, tap in enumerate(taps)}
            return [Fired(seats, fires, inside)]
        if merge == "analog":
            arrays = -(-len(phases) // min(fold, len(phases)))
            height, found = [0] * arrays, []
            for number, phase in enumerate(phases):
                mine = [tap for tap, other in split if other == phase]
                first = height[number % arrays]
                height[number % arrays] += len(mine)
                bands = dict(enumerate(mine, first))
                inside = {band: self.read_in_blocks(tap, blocks) for band, tap in bands.items()}
                found.append(Fired(tuple((band, 0) for band in bands), fires, inside))
            return found
        arrays = -(-len(split) // min(fold, len(split)))
        order = sorted(split, key=lambda pixel: pixel[1]) if min(fold, len(split)) > 1 else split
        return [
            Fired(((n // arrays, 0),), fires, {n // arrays: self.read_in_blocks(tap, blocks)})
            for n, (tap, _) in enumerate(order)
        ]

    def counts(
        self, target: Target, *, planes: int, weight_bits: int, shape: tuple[int, int], **mapping: Any
    ) -> dict[str, int]:
        """Drives, cell reads, array reads and conversions of the whole batch.

        shape  (row bands, column bands) of a sub-crossbar
        """
        differential = target.encoding == "differential"
        slices = -(-(weight_bits - differential) // target.cell)
        wires, reference = slices * (1 + differential), int(not differential)
        twice = 2 if differential and target.pair == "separate" else 1
        c, m = self.c // self.groups, self.m // self.groups
        rows = target.rows or self.groups * c * shape[0]
        columns = (target.columns - reference) // wires if target.columns else self.groups * m * shape[1]
        fits = c * shape[0] <= rows and m * shape[1] <= columns
        together = min(rows // (c * shape[0]), columns // (m * shape[1])) if fits else 1

        def tiles(band: int, size: int, tile: int) -> set[int]:
            return {line // tile for line in range(band * size, (band + 1) * size)}

        total = {"drives": 0, "cell_reads": 0, "activations": 0, "conversions": 0}
        for fired in self.fired(**mapping):
            for band, inside in fired.inside.items():
                held = [column for row, column in fired.seats if row == band]
                reached = len({t for column in held for t in tiles(column, m, columns)})
                total["drives"] += inside * self.c * planes * reached
                total["cell_reads"] += (
                    inside * self.c * planes * (len(held) * m * wires + reached * reference)
                )
            on: set[tuple[int, int]] = set()
            converted = 0
            for column in {column for _, column in fired.seats}:
                lines = {t for row, other in fired.seats if other == column for t in tiles(row, c, rows)}
                converted += self.m * len(lines)
                on |= {(t, u) for t in lines for u in tiles(column, m, columns)}
            arrays = len(on) * -(-self.groups // together)
            total["activations"] += fired.fires * planes * arrays
            total["conversions"] += fired.fires * planes * (slices * twice * converted + reference * arrays)
        return {name: self.batch * count for name, count in total.items()}
