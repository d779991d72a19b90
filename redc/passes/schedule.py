"""Pass: choose what a round is, and where every kernel pixel sits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from isa.geometry import arrays_of
from isa.program import Target
from redc.calibration import METHODS
from redc.errors import UserError
from redc.ir.graph import CrossbarOp, Graph
from redc.mapping.check import check
from redc.mapping.formula import Coordinates
from redc.mapping.mappings import DECONVOLUTION_MAPPINGS, im2col, origins, pad_origin
from redc.mapping.schedule import Choice, Problem, Schedule
from redc.passes.context import MERGES, MINIMISE, ORIGINS, Context, Options
from redc.passes.place import crossbar_of

AUTO = "auto"
"""Not a mapping: the cheapest of all, layer by layer."""


def schedule_rounds(graph: Graph, context: Context) -> Graph:
    """Fill the mapping table of every crossbar operator and hold it to the formula.

    Pre: `pixels` are set.  Post: `schedule` is set and checked.
    """
    if context.options.mapping != AUTO:
        return with_tables(graph, {}, context)
    from redc.choose import choose

    return with_tables(graph, choose(graph, context), context)


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


def check_options(options: Options) -> None:
    """Raise UserError for options that do not exist, or do not go together."""
    for flag, value, known in (
        ("--mapping", options.mapping, (*DECONVOLUTION_MAPPINGS, AUTO)),
        ("--merge", options.merge, MERGES),
        ("--origin", options.origin, ORIGINS),
        ("--minimise", options.minimise, MINIMISE),
        ("--calibration", options.calibration, METHODS),
    ):
        if value not in known:
            raise UserError(
                f"unknown {flag.strip('-')} {value!r}", place=flag, hint="one of " + ", ".join(known)
            )
    numbers: tuple[tuple[str, object], ...] = (
        ("--fold", options.fold),
        ("--weight-bits", options.weight_bits),
        ("--input-bits", options.input_bits),
        ("--vector-bits", options.vector_bits),
    )
    for flag, number in numbers:
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise UserError(f"{number!r} is no whole number", place=flag, hint="an int, like 8")
    if options.fold < 1:
        raise UserError(f"cannot fold by {options.fold}", place="--fold", hint="1 or more")
    for flag, given, owner, why in (
        ("--fold", options.fold > 1, "pixel-wise", "shares an array between kernel pixels in turns"),
        ("--merge", options.merge != "digital", "pixel-wise", "can do both"),
        ("--origin", options.origin != "auto", "packed", "can start its blocks elsewhere"),
        ("--minimise", options.minimise != "cycles", AUTO, "chooses"),
    ):
        if given and options.mapping != owner:
            raise UserError(
                f"the {options.mapping} mapping has no {flag}", place=flag, hint=f"only {owner} {why}"
            )
    for flag, bits, most in (
        ("--weight-bits", options.weight_bits, 16),
        ("--input-bits", options.input_bits, 16),
        ("--vector-bits", options.vector_bits, 20),
    ):
        if bits is not None and not 2 <= bits <= most:
            raise UserError(f"{bits} bits are not supported", place=flag, hint=f"2 to {most}")
