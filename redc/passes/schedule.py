"""Pass: choose what a round is, and where every kernel pixel sits."""

from __future__ import annotations

from dataclasses import replace

from redc.errors import UserError
from redc.ir.graph import CrossbarOp, Graph
from redc.mapping.check import check
from redc.mapping.schedule import DECONVOLUTION_MAPPINGS, Problem, Schedule, im2col
from redc.passes.context import Context, Options


def schedule_rounds(graph: Graph, context: Context) -> Graph:
    """Fill the mapping table of every crossbar operator and hold it to the formula.

    Pre: `pixels` are set.  Post: `schedule` is set and checked.
    """
    ops = tuple(
        replace(op, schedule=_schedule(graph, op, context.options)) if isinstance(op, CrossbarOp) else op
        for op in graph.ops
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


def _schedule(graph: Graph, op: CrossbarOp, options: Options) -> Schedule:
    problem = problem_of(graph, op)
    transposed = op.op == "ConvTranspose"
    if transposed:
        fold = options.fold if options.mapping == "pixel-wise" else 1
        fold = min(fold, len(problem.pixels))
        table = DECONVOLUTION_MAPPINGS[options.mapping](problem, fold)
    else:
        table = im2col(problem)
    check(table, problem, transposed=transposed)
    return table


def check_options(options: Options) -> None:
    """Raise UserError for a mapping or fold that does not exist."""
    if options.mapping not in DECONVOLUTION_MAPPINGS:
        raise UserError(
            f"unknown mapping {options.mapping!r}",
            place="--mapping",
            hint="one of " + ", ".join(DECONVOLUTION_MAPPINGS),
        )
    if options.fold < 1:
        raise UserError(f"cannot fold by {options.fold}", place="--fold", hint="1 or more")
    if options.fold > 1 and options.mapping != "pixel-wise":
        raise UserError(
            f"the {options.mapping} mapping cannot be folded",
            place="--fold",
            hint="only pixel-wise shares an array between kernel pixels in turns",
        )
    for flag, bits in (("--weight-bits", options.weight_bits), ("--input-bits", options.input_bits)):
        if not 2 <= bits <= 16:
            raise UserError(f"{bits} bits are not supported", place=flag, hint="2 to 16")
