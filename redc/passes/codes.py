"""Which codes a tensor has: how many bits, what interval, one step for all channels or each its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from redc.errors import UserError
from redc.ir.graph import (
    F64,
    Codes,
    CrossbarOp,
    Graph,
    HostOp,
    Op,
    ReshapeOp,
    StencilOp,
    VectorOp,
)
from redc.passes.absorb import is_quantiser
from redc.passes.bits import FINE_BITS, FINEST_BITS, KNEE_BITS, SATURATED_BITS, Bits, is_function
from redc.passes.context import Context
from redc.passes.equalise import steps_per_channel
from redc.passes.fineness import SMALL
from redc.passes.reach import reaches
from redc.passes.scales import (
    binary,
    choose_codes,
    codes_of,
    cut,
    saturated_codes,
    signed_bits,
    widened,
)
from redc.passes.stencil_codes import kept_codes, source_codes
from redc.passes.tables import SATURATING, saturates, saturating
from redc.ranges import Range

DEFAULT_BITS = 8
FLOAT_BITS = 16
"""Of tensors and weights that a quantised model leaves in float."""
WIDE_BITS = 16
"""At least so many bits has a tensor that no crossbar streams."""
GUARD_BITS = 4
"""And so many more than those that crossbars stream: its rounding is not to show beside theirs."""


class Chooser:
    """Chooses the codes of a graph's tensors, each once, whatever the order of the questions.

    `given` are those that the model brings.
    """

    def __init__(self, graph: Graph, context: Context) -> None:
        options = context.options
        self.graph = graph
        self.given = {name: t.given for name, t in graph.tensors.items() if t.given is not None}
        self._files = frozenset(self.given.values())
        self.bits = options.input_bits or (FLOAT_BITS if graph.quantised else DEFAULT_BITS)
        self._asked = options
        self.weight_bits = options.weight_bits or (FLOAT_BITS if graph.quantised else DEFAULT_BITS)
        wide = FLOAT_BITS if graph.quantised else max(WIDE_BITS, self.bits + GUARD_BITS)
        self.wide = options.vector_bits or wide
        self._driven = _driven(graph)
        self._moved = {op.output for op in graph.ops if isinstance(op, StencilOp) and op.moves}
        self._stepped = self._may_be_stepped()
        self._correct = options.bias_correction
        read = self._read() if self._correct else {}
        self._ranges = _ranges(graph, self.given, context, {**read, **self._stepped})
        self._wanted: dict[str, Codes] = {}
        self._fine = Bits(graph, self.given, self._driven, self._extent, self._span)
        self._told = reaches(graph, self.given, self._span) if graph.quantised else {}

    def bits_of_weights(self, op: CrossbarOp) -> int:
        """Of an operator's weights, if the model does not give them as integers: more where it gives
        codes to what is made of them, which they would move by more than a small part of a step."""
        if self._asked.weight_bits is not None or not self.graph.quantised:
            return self.weight_bits
        return max(self.weight_bits, self._fine.of_weights(op))

    def mean(self, tensor: str) -> F64 | None:
        """Of each channel's values, where a bias correction asks for it and the model has the tensor."""
        seen = self._ranges.get(tensor) if self._correct else None
        return seen.channels.mean if seen and seen.channels else None

    def _read(self) -> dict[str, int]:
        """The tensors that crossbars stream: their channels' axes."""
        inputs = {op.input for op in self.graph.ops if isinstance(op, CrossbarOp)}
        return {name: self.graph.tensors[name].axis for name in sorted(inputs)}

    def _may_be_stepped(self) -> dict[str, int]:
        """The tensors that may have steps per channel and that crossbars drive: their channels' axes."""
        tensors = self.graph.tensors
        return {
            name: tensors[name].axis
            for name in sorted(self._driven)
            if not self.graph.quantised and self.graph.producer(name) and self._may_have_steps(name)
        }

    def constant(self, tensor: str) -> Codes:
        """Of a constant: what is asked for by its only reader, where that moves it, or its own, with so
        many bits more as its rounding would show in what its readers make."""
        codes, value = self.made(tensor), self.graph.tensors[tensor].value
        if value is None or self._joined(tensor) is not None:
            return codes
        readers = [op for op in self.graph.consumers(tensor) if isinstance(op, VectorOp)]
        bits = self._fine.of_constant(tensor, codes, {op.output: self.made(op.output) for op in readers})
        return codes if bits == codes.bits else codes_of(value, bits)

    def _extent(self, tensor: str) -> float:
        """How far from zero a tensor's values go, as far as is known."""
        tensor = self._source(tensor)
        codes, value = self.given.get(tensor), self.graph.tensors[tensor].value
        if codes is not None:
            return codes.scale * max(codes.high - codes.zero, codes.zero - codes.low)
        if value is not None:
            return float(np.abs(value).max(initial=0.0))
        return max(map(abs, self._span(tensor)))

    def _span(self, tensor: str) -> tuple[float, float]:
        """From where to where a tensor's values go: as far as one, where nothing is known."""
        tensor = self._source(tensor)
        seen, function = self._ranges.get(tensor), saturating(self.graph.producer(tensor))
        if function is not None:
            return function.low, function.high
        return (float(seen.lows.min()), float(seen.highs.max())) if seen else (-1.0, 1.0)

    def _source(self, tensor: str) -> str:
        """The tensor whose values it has in another shape."""
        while isinstance(op := self.graph.producer(tensor), ReshapeOp):
            tensor = op.input
        return tensor

    def outside(self, tensor: str) -> Codes:
        """Of an input, or of what a host makes."""
        return self.given.get(tensor) or self._for_quantisers(tensor) or self._own(tensor)

    def _for_quantisers(self, tensor: str) -> Codes | None:
        """Of real values that only quantisers read, each into codes of its own: so fine that this
        first rounding hardly ever shows, and as far as the furthest of those codes go, whatever was
        seen.  None where others read them, or where that is not fine enough."""
        readers = self.graph.consumers(tensor)
        quantised = [op.outputs[0] for op in readers if is_quantiser(op)]
        made = [self.given[name] for name in quantised if name in self.given]
        if not made or len(made) < len(readers) or self.graph.is_output(tensor):
            return None
        low = min((codes.low - codes.zero - 1) * codes.scale for codes in made)
        high = max((codes.high - codes.zero + 1) * codes.scale for codes in made)
        reach = max(-low, high)
        needed = signed_bits(reach / (SMALL * min(codes.scale for codes in made))) + 1
        if needed > FINEST_BITS:
            return None
        bits = max(FINE_BITS, needed)
        return binary(Codes(bits, True, reach / ((1 << (bits - 1)) - 1)))

    def moved(self, op: StencilOp, codes: Mapping[str, Codes]) -> Codes:
        """Of what moves or pools values: those of its inputs, where they serve."""
        if op.output in self.given:
            return self.given[op.output]
        allowed = self._fine.allowed(op.output) / codes[op.inputs[0]].scale
        kept = kept_codes(op, codes, min(SMALL if self.graph.quantised else 1 / 2, allowed))
        if kept in self._files or self._joined(op.output) is None:
            narrow = kept and (kept.bits <= self.bits or op.output not in self._driven)
            if kept and narrow and (not kept.steps or self._may_have_steps(op.output)):
                return kept
        return self.made(op.output)

    def made(self, tensor: str) -> Codes:
        """Of what is computed: those that its only reader asks for, or its own."""
        name, chain = tensor, []
        while name not in self._wanted:
            chain.append(name)
            reader = self._joined(name)
            if reader is None:
                break
            name = reader.output
        for name in reversed(chain):
            self._wanted[name] = self._choose(name, self._joined(name))
        return self._wanted[tensor]

    def _choose(self, tensor: str, reader: StencilOp | None) -> Codes:
        """Once those that `reader` makes are chosen."""
        if tensor in self.given:
            return self.given[tensor]
        if reader is None:
            return self._own(tensor)
        like = self._wanted[reader.output]
        codes = source_codes(reader, reader.inputs.index(tensor), like, self._channels(tensor))
        op = self.graph.producer(tensor)
        if codes is None or (codes.steps and not _takes_steps(op)):
            return self._own(tensor)
        if reader.output in self.given:
            return codes
        saturated = saturated_codes(op, codes.bits)
        if saturated is None:
            return codes
        fine = codes.bits <= SATURATED_BITS and saturated.scale / 2 <= self._fine.allowed(tensor)
        return saturated if fine else self._own(tensor)

    def _joined(self, tensor: str) -> StencilOp | None:
        """The operator that only moves values and that alone reads `tensor`."""
        readers = self.graph.consumers(tensor)
        if (
            tensor in self.graph.outputs
            or len(readers) != 1
            or isinstance(self.graph.producer(tensor), HostOp)
        ):
            return None
        reader = readers[0]
        return reader if isinstance(reader, StencilOp) and reader.output in self._moved else None

    def _own(self, tensor: str) -> Codes:
        """With so many bits more as its rounding would show, where nobody says how many."""
        codes = self._seen(tensor)
        asked = self._asked.input_bits if tensor in self._driven else self._asked.vector_bits
        if asked is not None:
            return codes
        if saturates(self.graph.producer(tensor)):
            return self._of_a_knee(tensor, widened(codes, self._fine.of(tensor, codes)))
        span = self._span(tensor)
        if tensor in self._told and self._fine.lacks(tensor, codes):
            low, high = self._told[tensor]
            span = max(span[0], low), min(span[1], high)
            codes = cut(codes, span)
        fine = widened(codes, self._fine.of(tensor, codes))
        return _reaching(binary(fine), span) if self.graph.quantised and fine.bits > codes.bits else fine

    def _of_a_knee(self, tensor: str, codes: Codes) -> Codes:
        """Of a Tanh or Sigmoid that would have `codes`: those of what was seen of it, if they are finer and
        it must be finer than it can be."""
        if self._fine.tells(tensor, self._seen(tensor)):
            return codes
        seen = choose_codes(self._ranges[tensor], KNEE_BITS)
        return min(codes, seen, key=lambda each: each.scale)

    def _seen(self, tensor: str) -> Codes:
        """What the values seen ask for."""
        bits = self.bits if tensor in self._driven else self.wide
        saturated = saturated_codes(self.graph.producer(tensor), bits)
        if saturated is not None:
            return saturated
        value, like = self.graph.tensors[tensor].value, self.graph.tensors[tensor].like
        if value is not None:
            return codes_of(value, bits)
        if like in self.given:
            return self.given[like]
        if tensor not in self._ranges:
            raise UserError(
                f"no calibration value was seen for tensor {tensor!r}",
                place=f"tensor {tensor!r}",
                hint="give samples with --calibrate FILE.npz",
            )
        seen = self._ranges[tensor]
        if seen.channels is not None and tensor in self._stepped:
            readers = [op for op in self.graph.consumers(tensor) if isinstance(op, CrossbarOp)]
            steps = steps_per_channel(seen, readers, bits, self.weight_bits)
            if steps is not None:
                codes = choose_codes(seen.divided(steps), bits)
                return replace(codes, steps=tuple(int(step) for step in steps))
        return choose_codes(seen, bits)

    def _channels(self, tensor: str) -> int:
        return self.graph.tensors[tensor].buffer_shape[-1]

    def _may_have_steps(self, tensor: str) -> bool:
        """Whether all that touches `tensor` can do with a step for each channel: not the world
        outside, which has one scale; not what mixes channels up, or looks codes up in one table."""
        graph = self.graph
        if graph.is_output(tensor) or not _takes_steps(graph.producer(tensor)):
            return False
        return not any(
            isinstance(op, ReshapeOp | HostOp)
            or _has_own_weights(op)
            or (isinstance(op, VectorOp) and _looks_up(op))
            for op in graph.consumers(tensor)
        )


def _reaching(fine: Codes, span: tuple[float, float]) -> Codes:
    """`fine` codes as far as values were seen: what fewer bits cut off as smaller than a step shows in
    more."""
    low, high = (bound / fine.scale for bound in span)
    if fine.low - fine.zero - 1 <= low and high <= fine.high - fine.zero + 1:
        return fine
    return Codes(signed_bits(max(-low, high)), True, fine.scale)


def _driven(graph: Graph) -> set[str]:
    """The tensors that crossbars stream, and those that are copies of one."""
    driven = {op.input for op in graph.ops if isinstance(op, CrossbarOp)}
    for op in reversed(graph.ops):
        if isinstance(op, ReshapeOp) and op.output in driven:
            driven.add(op.input)
    return driven


def _has_own_weights(op: Op) -> bool:
    """Whether the model gives its weights as integers, into which no steps of its input go."""
    return isinstance(op, CrossbarOp) and op.given is not None


def _takes_steps(op: Op | None) -> bool:
    """Whether what makes a tensor can requantise each channel to a step of its own."""
    if not isinstance(op, CrossbarOp | VectorOp):
        return isinstance(op, StencilOp)
    if _has_own_weights(op):
        return False
    activation = op.activation
    if activation is None:
        return True
    bounded = any(bound not in (0.0, -math.inf, math.inf) for bound in (activation.low, activation.high))
    return activation.kind not in SATURATING and not bounded  # a bound is one code for all channels


def _looks_up(op: VectorOp) -> bool:
    """Whether it may be a table over the codes of its input."""
    return is_function(op) or (saturates(op) and len(op.inputs) == 1)


def _ranges(
    graph: Graph, given: Mapping[str, Codes], context: Context, channelled: Mapping[str, int]
) -> dict[str, Range]:
    """What was observed of every tensor that codes are chosen for, and of those in `channelled` (with
    their channels' axes).

    A tensor that the model does not have, for a node became several operators, takes the range of
    the one that it is `like`.
    """
    own = [op for op in graph.ops if not isinstance(op, ReshapeOp) and (graph.quantised or not saturates(op))]
    made = [name for op in own for name in op.outputs]
    alike = {name: like for name in made if (like := graph.tensors[name].like) is not None}
    own_names = (name for name in made if name not in alike)
    wanted = dict.fromkeys((*graph.inputs, *own_names, *alike.values(), *channelled))
    raw = {name for name, tensor in graph.tensors.items() if tensor.raw}
    unknown = tuple(name for name in wanted if name not in given and name not in raw)
    ranges = dict(context.observe(unknown, channelled)) if unknown else {}
    for name, source in alike.items():
        if source in ranges:
            ranges[name] = replace(ranges[source], channels=None)
    return {name: replace(seen, method=context.options.calibration) for name, seen in ranges.items()}
