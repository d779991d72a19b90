"""The last word of a compilation: what the verifier refuses is the model's error, and no program."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from isa.diagnostics import Diagnostic, ProgramError
from isa.program import Program
from isa.verifier import verify
from redc.errors import UserError, raise_all
from redc.ir.graph import F64, CrossbarOp, Graph, Op, VectorOp

REPORT = "if the model is sound, please report it"


def prove(program: Program, graph: Graph, title: str) -> None:
    """Verify the `program` of a placed `graph`.

    Raises UserError for every layer that the verifier refuses, placed in the model called `title`,
    with the sizes of the numbers that meet there: they may lie so far apart that no float32 holds
    the factor between them.
    """
    try:
        verify(program)
    except ProgramError as error:
        firsts: dict[str | None, Diagnostic] = {}
        for found in error.diagnostics:
            firsts.setdefault(found.layer or found.source, found)
        ops = {op.name: op for op in graph.ops}
        raise_all([_told(found, ops, graph, title) for found in firsts.values()])


def _told(found: Diagnostic, ops: Mapping[str, Op], graph: Graph, title: str) -> UserError:
    """The error of one layer, or of one declaration."""
    line = found.source or ""
    message = f"the accelerator cannot run its program: {found.message}" + (f" ({line})" if line else "")
    op = ops.get(found.layer or "")
    if op is None:
        return UserError(message, place=title, hint=found.hint or REPORT)
    if line.startswith("quant "):
        message = "the factor that makes its codes of its sums is beyond what float32 holds"
    place = f"{title}: layer {op.name!r} ({op.op}), tensor {op.outputs[0]!r}"
    return UserError(message, place=place, hint=_hint(op, graph))


def _hint(op: Op, graph: Graph) -> str:
    """The numbers that meet in `op`, and which of them is the farthest from 1."""
    sizes = [size for size in _sizes(op, graph) if size[1] > 0]
    if not sizes:
        return REPORT
    listed = ", ".join(f"{what} {size:.3g}" for what, size in sizes)
    _, far = max(sizes, key=lambda size: abs(math.log10(size[1])))
    return f"{listed}: if {far:.3g} is meant, rescale the model"


def _sizes(op: Op, graph: Graph) -> Iterator[tuple[str, float]]:
    """What numbers meet in `op`, and how large they are."""
    for name in dict.fromkeys((*op.inputs, *op.outputs)):
        codes = graph.tensors[name].codes
        if codes is not None:
            yield f"{name!r} has steps of", codes.scale
    if isinstance(op, CrossbarOp):
        yield "the weights reach", _largest(op.weight)
    if isinstance(op, VectorOp):
        yield "the factors reach", max(map(_largest, op.factors), default=0.0)


def _largest(values: F64) -> float:
    return float(np.abs(values).max(initial=0.0))
