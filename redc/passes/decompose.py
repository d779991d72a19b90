"""Pass: split every kernel into its pixels."""

from __future__ import annotations

from dataclasses import replace

from redc.ir.graph import CrossbarOp, Graph
from redc.mapping.formula import kernel_pixels
from redc.passes.context import Context


def decompose_kernels(graph: Graph, context: Context) -> Graph:
    """Give each crossbar operator its kernel pixels with reach, tap and phase.

    A convolution's pixels have no phase: its reach is what it reads, so stride 1 stands in.
    Post: `pixels` is set on every CrossbarOp, in row-major order of the kernel index.
    """

    def pixels(op: CrossbarOp) -> CrossbarOp:
        stride = op.stride if op.op == "ConvTranspose" else (1,) * len(op.kernel)
        return replace(op, pixels=kernel_pixels(op.kernel, stride, op.dilation, op.pads))

    ops = tuple(pixels(op) if isinstance(op, CrossbarOp) else op for op in graph.ops)
    return replace(graph, ops=ops)
