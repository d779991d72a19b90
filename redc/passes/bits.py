"""How many bits tensors and weights have, so that rounding them does not show in codes that the model
gives, or to a host part (docs/decisions/0041)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from redc.ir.graph import Codes, CrossbarOp, Graph, Op, ReshapeOp, StencilOp, VectorOp
from redc.passes.fineness import (
    SMALL,
    Extent,
    Span,
    allowances,
    gain,
    read_by_hosts,
    weight_bits,
)
from redc.passes.tables import saturates
from redc.passes.terms import TERM_BITS

FINE_BITS = 24
"""What a host part reads, and constants, of a model that arrives in floats have at most so many: those of
a float32."""
FINEST_BITS = 36
"""And what else must be fine: then a float32's bits are there also where values are far smaller than
the largest."""
FUNCTION_BITS = 48
"""And what only functions read whose codes the model gives: they need no room for products."""
LEAST = 2.0**-149
"""Nothing need be finer: the smallest float32."""
SATURATED_BITS = 23
"""Of a Tanh or Sigmoid: float32, in which the sums before it are scaled, tells no more."""
KNEE_BITS = 21
"""Of one whose codes end before it does."""
STREAMED_BITS = 30
"""What a crossbar streams, and its weights, have at most so many, or what its sums have room for, which
is FINE_BITS at least."""
PRODUCT_BITS = 60
"""The factors of a product have no more between them."""
DIVIDEND_BITS = 30
"""As many are left for the bits of the quotient below the point."""
DIVISOR_BITS = 40
"""Of one near zero these tell, how large the quotient is."""


class Bits:
    """Bits for the tensors of a graph, some of which have `given` codes.

    `streamed` are those that crossbars stream; `extent` and `span` say what is known of values.
    """

    def __init__(
        self, graph: Graph, given: Mapping[str, Codes], streamed: Iterable[str], extent: Extent, span: Span
    ) -> None:
        self.graph = graph
        self.given = given
        self.streamed = frozenset(streamed)
        self.extent = extent
        self.span = span
        self._allowed = allowances(graph, given, extent, span)
        self._for_hosts = read_by_hosts(graph, given)

    def of(self, tensor: str, codes: Codes) -> int:
        """Of a tensor that would have `codes`: theirs, or more."""
        most = self._most(tensor)
        more = missing(codes, self.allowed(tensor))
        if more and self.graph.quantised:
            more += 1  # the next larger power of two is up to twice the step
        bits = min(codes.bits + more, most)
        if tensor in self._for_hosts and tensor not in self.streamed:
            bits = max(bits, min(FINEST_BITS if self.graph.quantised else FINE_BITS, most))
        return max(bits, codes.bits)

    def lacks(self, tensor: str, codes: Codes) -> bool:
        """Whether its rounding shows, for all the bits that it can have."""
        return codes.bits + missing(codes, self.allowed(tensor)) > self._most(tensor)

    def allowed(self, tensor: str) -> float:
        """By how much it may be off."""
        return self._allowed.get(tensor, math.inf)

    def tells(self, tensor: str, codes: Codes) -> bool:
        """Whether a Tanh or Sigmoid, which `codes` span, can have as many as it takes."""
        return codes.bits + missing(codes, self._allowed.get(tensor, math.inf)) <= SATURATED_BITS

    def _most(self, tensor: str) -> int:
        """For its rounding not to show."""
        if saturates(self.graph.producer(tensor)):
            return SATURATED_BITS
        if tensor in self.streamed:
            streaming = (op for op, _ in self._readers(tensor) if isinstance(op, CrossbarOp))
            return min((_most_streamed(op) for op in streaming), default=FINE_BITS)
        readers = self.graph.consumers(tensor)
        if all(is_function(op) and op.outputs[0] in self.given for op in readers):
            return FUNCTION_BITS
        return min((_most_read(op, name) for op, name in self._readers(tensor)), default=FINEST_BITS)

    def _readers(self, tensor: str) -> list[tuple[Op, str]]:
        """What reads its codes, where they are or where they are moved to, and by what name."""
        found: list[tuple[Op, str]] = []
        pending, seen = [tensor], {tensor}
        while pending:
            name = pending.pop()
            for op in self.graph.consumers(name):
                if isinstance(op, ReshapeOp) or (isinstance(op, StencilOp) and op.moves):
                    pending += {op.output} - seen
                    seen.add(op.output)
                else:
                    found.append((op, name))
        return found

    def of_constant(self, tensor: str, codes: Codes, made: Mapping[str, Codes]) -> int:
        """Of a constant that would have `codes`, whose readers make tensors of the codes `made`."""
        readers = [op for op in self.graph.consumers(tensor) if isinstance(op, VectorOp)]
        allowed = min((self._allowed_by(op, tensor, made[op.output]) for op in readers), default=math.inf)
        most = min(
            [FINEST_BITS if self.graph.quantised else FINE_BITS, *(_most_read(op, tensor) for op in readers)]
        )
        return max(codes.bits, min(codes.bits + missing(codes, allowed), most))

    def _allowed_by(self, op: VectorOp, tensor: str, out: Codes) -> float:
        """By how much the input `tensor` may be off for the output to be off by SMALL steps; not at all in a
        quotient, which may amplify it however much."""
        if op.combine == "div":
            return 0.0
        unit = out.scale * min(out.steps, default=1)
        found = gain(op, tensor, self.extent, self.span)
        return SMALL * unit / found if found else math.inf

    def of_weights(self, op: CrossbarOp) -> int:
        """Of weights that the model does not give as integers: as many as show in codes that it gives to
        what is made of them, or that vector operators make of it."""
        codes = self.given.get(op.output)
        allowed = SMALL * codes.scale if codes else self.allowed(op.output)
        return min(weight_bits(op, allowed, self.extent, self.span), _most_streamed(op))


def missing(codes: Codes, allowed: float) -> int:
    """Bits without which half a step of `codes` is more than what is allowed."""
    return math.ceil(math.log2(max(codes.scale / 2 / max(allowed, LEAST), 1.0)))


def _most_streamed(op: CrossbarOp) -> int:
    """Of weights, and as many of what is streamed: what the sums have room for."""
    terms = op.weight[..., 0].size
    return min(max((TERM_BITS - (terms - 1).bit_length()) // 2, FINE_BITS), STREAMED_BITS)


def _most_read(op: Op, tensor: str) -> int:
    """Bits that an operator's arithmetic has room for in its input `tensor`."""
    if isinstance(op, VectorOp) and op.combine == "mul":
        return min(FINEST_BITS, PRODUCT_BITS // len(op.inputs))
    if isinstance(op, VectorOp) and op.combine == "div":
        return DIVIDEND_BITS if tensor in op.inputs[:-1] else DIVISOR_BITS
    return FINEST_BITS


def is_function(op: Op) -> bool:
    """Whether it is a table over the codes of its input."""
    return isinstance(op, VectorOp) and op.activation is not None and op.activation.kind == "function"
