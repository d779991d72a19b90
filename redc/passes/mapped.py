"""The mapping table of every crossbar operator, held to the formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from isa.geometry import arrays_of
from isa.program import Target
from redc.ir.graph import CrossbarOp, Graph
from redc.mapping.check import check
from redc.mapping.formula import Coordinates
from redc.mapping.mappings import DECONVOLUTION_MAPPINGS, im2col, origins, pad_origin
from redc.mapping.schedule import Choice, Problem, Schedule
from redc.passes.context import Context
from redc.passes.place import crossbar_of


def with_tables(graph: Graph, tables: Mapping[int, Schedule], context: Context) -> Graph:
    """`graph` with the `tables` of some operators, by their positions, and the options' of others."""
    ops = tuple(
        replace(op, schedule=tables.get(position) or _schedule(graph, op, context))
        if isinstance(op, CrossbarOp)
        else op
        for position, op in enumerate(graph.ops)
    )
    return replace(graph, ops=ops)


def problem_of(graph: Graph, op: CrossbarOp) -> Problem:
    """The spatial side of `op`: its pixels, stride and sizes (rank 0 for Gemm and MatMul)."""
    rank = len(op.kernel)

    def spatial(tensor: str) -> tuple[int, ...]:
        shape = graph.tensors[tensor].buffer_shape
        return shape[len(shape) - 1 - rank : -1]

    assert op.pixels is not None
    return Problem(op.pixels, op.kernel, op.stride, spatial(op.input), spatial(op.output))


def table_of(graph: Graph, op: CrossbarOp, mapping: str, choice: Choice) -> Schedule:
    """The table of `op` under one mapping of ConvTranspose, held to the formula."""
    problem = problem_of(graph, op)
    transposed = op.op == "ConvTranspose"
    table = DECONVOLUTION_MAPPINGS[mapping](problem, choice) if transposed else im2col(problem)
    check(table, problem, transposed=transposed)
    return table


def _schedule(graph: Graph, op: CrossbarOp, context: Context) -> Schedule:
    options = context.options
    choices = [Choice(options.fold, options.merge)]
    if options.mapping == "packed" and op.op == "ConvTranspose":
        choices = [Choice(origin=origin) for origin in _origins(problem_of(graph, op), options.origin)]
    tables = [table_of(graph, op, options.mapping, choice) for choice in choices]
    return min(tables, key=lambda table: _space_and_time(graph, op, table, context.target))


def _origins(problem: Problem, origin: str) -> list[Coordinates]:
    match origin:
        case "0":
            return [()]
        case "pad":
            return [pad_origin(problem)]
        case _:
            return list(origins(problem))


def _space_and_time(graph: Graph, op: CrossbarOp, table: Schedule, target: Target) -> tuple[int, int]:
    """What `--origin auto` minimises: rounds x arrays, then rounds.  The first of equals stays."""
    rounds = math.prod(table.rounds) * table.turns
    crossbar = crossbar_of(graph, replace(op, schedule=table), "x", place=0)
    try:
        arrays = arrays_of(crossbar, target)
    except ValueError:
        return 0, 0  # no array of the target holds one weight: `place` says so
    return rounds * arrays, rounds
