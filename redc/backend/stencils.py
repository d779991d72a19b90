"""The code of a `StencilOp`: one loop nest per region."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isa.instructions import bound_of
from isa.program import (
    Address,
    Affine,
    Array,
    Buffer,
    BufferRef,
    ConstRef,
    Instruction,
    IntType,
    Loop,
    Node,
    Operand,
    Register,
)
from redc.ir.graph import RegionCodes, StencilOp
from redc.ir.stencil import Region, Run

UNROLLED = 64
"""Taps that are written out one by one; more of them become loops over an accumulator buffer."""


@dataclass(frozen=True, slots=True)
class Stencils:
    """Writes the nests of one operator: `inputs` and `output` are its buffers, `constant` puts an
    array into the data file under a name of its own, `declare` adds a buffer."""

    op: StencilOp
    inputs: tuple[Buffer, ...]
    output: Buffer
    constant: Callable[[str, Array], ConstRef]
    declare: Callable[[Buffer], None]

    def nodes(self) -> tuple[Node, ...]:
        assert self.op.codes is not None
        found: list[Node] = []
        for region, codes in zip(self.op.regions, self.op.codes, strict=True):
            found += self._region(region, codes)
        return tuple(found)

    def _region(self, region: Region, codes: RegionCodes) -> list[Node]:
        loops = [(f"d{axis}", run.count) for axis, run in enumerate(region.runs)]
        target = Address(
            self.output.name,
            tuple(Affine.of({f"d{a}": r.to}, r.first) for a, r in enumerate(region.runs)),
            part=None if region.target == (0, self.output.vector) else region.target,
        )
        value = Register(0)
        if region.input is None:
            fill = self.constant(f"fill{region.target[0]}_{region.target[1]}", codes.fill)
            body: list[Node] = [Instruction("sum", (value, fill)), Instruction("store", (target, value))]
            return nest(loops, body)
        if math.prod(len(run.taps) for run in region.runs) > UNROLLED and self._even(region, codes):
            return self._accumulated(region, codes, loops, target)
        body = []
        terms: list[Operand] = []
        for number, ((at, _), factor) in enumerate(zip(region.taps(), codes.multipliers, strict=True)):
            register = Register(number)
            body.append(Instruction("load", (register, self._source(region, at))))
            if factor != 1:
                by = self.constant(f"factor{factor}", np.array([factor], np.int64))
                body.append(Instruction("mul", (register, register, by)))
            terms.append(register)
        if len(terms) > 1:
            body.append(Instruction(self.op.reduction, (value, *terms)))
        return nest(loops, [*body, *self._finish(codes, value, target)])

    def _finish(self, codes: RegionCodes, value: Register, target: Address) -> list[Node]:
        store = Instruction("store", (target, value))
        zero = self.output.zero
        if codes.scale is None:
            if not zero:
                return [store]
            constant = self.constant("zero", np.array([zero], np.int64))
            return [Instruction("sum", (value, value, constant)), store]
        scale = self.constant(self._scale_name(codes.scale), codes.scale)
        kind = self.output.type
        attributes: list[tuple[str, int | float]] = [
            ("high", bound_of(kind.high)),
            ("low", bound_of(kind.low)),
        ]
        attributes += [("zero", zero)] if zero else []
        return [Instruction("quant", (value, value, scale), tuple(attributes)), store]

    def _scale_name(self, scale: Array) -> str:
        """`scale` and the number; `scales` and the place of the first region that has them."""
        if scale.size == 1:
            return f"scale{float(scale.reshape(-1)[0])!r}"
        assert self.op.codes is not None
        same = (c.scale is not None and np.array_equal(c.scale, scale) for c in self.op.codes)
        return f"scales{list(same).index(True)}"

    def _source(self, region: Region, at: tuple[int, ...], taps: tuple[int, ...] = ()) -> Address:
        """Where the tap lies that is `at` from each run's own pixel; with `taps`, loop variables
        k0, k1, ... count along each run, so many pixels apart."""
        assert region.input is not None
        buffer = self.inputs[region.input]
        factors: list[dict[str, int]] = [{} for _ in buffer.shape[:-1]]
        constants = list(region.base)
        for number, (run, offset) in enumerate(zip(region.runs, at, strict=True)):
            factors[run.axis][f"d{number}"] = run.step
            constants[run.axis] += offset
            if taps:
                factors[run.axis][f"k{number}"] = taps[number]
        indices = (Affine.of(f, c) for f, c in zip(factors, constants, strict=True))
        part = None if region.source == (0, buffer.vector) else region.source
        return Address(buffer.name, tuple(indices), part=part)

    # ------------------------------------------------------------ many taps

    def _even(self, region: Region, codes: RegionCodes) -> bool:
        """Whether the taps can be a loop: a sum of values of one weight that lie evenly."""
        alike = self.op.reduction == "sum" and set(codes.multipliers) == {1}
        return alike and all(_spacing(run) is not None for run in region.runs)

    def _accumulated(
        self, region: Region, codes: RegionCodes, loops: list[tuple[str, int]], target: Address
    ) -> list[Node]:
        assert region.input is not None
        kind = self.inputs[region.input].drive_type
        taps = math.prod(len(run.taps) for run in region.runs)
        bits = max(32, kind.bits + taps.bit_length() + 1)
        sums = Buffer(f"{self.output.name}_sums", "buffer", IntType(True, bits), self.output.shape)
        self.declare(sums)
        into = Address(sums.name, target.indices, part=target.part)
        spacing = tuple(_spacing(run) or 0 for run in region.runs)
        first = tuple(run.taps[0][0] for run in region.runs)
        inner = [(f"k{axis}", len(run.taps)) for axis, run in enumerate(region.runs) if len(run.taps) > 1]
        value = Register(0)
        source = self._source(region, first, spacing)
        add: list[Node] = [Instruction("load", (value, source)), Instruction("accum", (into, value))]
        end: list[Node] = [Instruction("load", (value, into)), *self._finish(codes, value, target)]
        clear = Instruction("clear", (BufferRef(sums.name),))
        return [clear, *nest([*loops, *inner], add), *nest(loops, end)]


def nest(loops: list[tuple[str, int]], body: list[Node]) -> list[Node]:
    """`body` in its loops."""
    nodes = tuple(body)
    for variable, count in reversed(loops or [("d", 1)]):
        nodes = (Loop(variable, 0, count, nodes),)
    return list(nodes)


def _spacing(run: Run) -> int | None:
    """How far apart the taps of a run lie; 0 for one, None if not evenly."""
    gaps = {b - a for (a, _), (b, _) in itertools.pairwise(run.taps)}
    return None if len(gaps) > 1 else gaps.pop() if gaps else 0
