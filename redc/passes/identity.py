"""Clean-up: reshapes that change nothing."""

from __future__ import annotations

from dataclasses import replace

from redc.ir.graph import Graph, HostOp, Op, ReshapeOp, StencilOp, VectorOp


def remove_identities(graph: Graph) -> Graph:
    """Remove every reshape that leaves shape and channel axis alone, and join chains of reshapes.

    What read the copy reads the original; where the copy is a graph output, the original's maker
    makes it instead.  The nodes go to the operator that makes the original.  An identity stays
    that links a graph input or a graph output to another graph output: both names are needed; and one
    between an integer type and f32, where a host reads what would go.
    Post: no identity that could go, no reshape whose only reader is a reshape.
    """
    while any(isinstance(op, ReshapeOp) for op in graph.ops):
        rewrite = _Rewrite(graph)
        if not rewrite.run():
            break
        graph = rewrite.graph()
    return graph


class _Rewrite:
    """One walk over the operators, each known by its position; linear in what they read."""

    def __init__(self, graph: Graph) -> None:
        self.before = graph
        self.ops: list[Op | None] = list(graph.ops)
        self.nodes: list[list[str]] = [list(op.nodes) for op in graph.ops]
        self.makers = {name: at for at, op in enumerate(graph.ops) for name in op.outputs}
        self.readers: dict[str, dict[int, None]] = {}
        for at, op in enumerate(graph.ops):
            for name in op.inputs:
                self.readers.setdefault(name, {})[at] = None
        self.gone: set[str] = set()

    def run(self) -> bool:
        """Whether anything changed."""
        for at, op in enumerate(self.ops):
            if isinstance(op, ReshapeOp) and not self._remove(at, op):
                joined = self._join(at, op)
                if joined is not None:
                    self._remove(at, joined)
        return bool(self.gone)

    def graph(self) -> Graph:
        ops = []
        for op, nodes in zip(self.ops, self.nodes, strict=True):
            if op is not None:
                ops.append(op if len(op.nodes) == len(nodes) else replace(op, nodes=tuple(nodes)))
        tensors = {name: t for name, t in self.before.tensors.items() if name not in self.gone}
        return replace(self.before, ops=tuple(ops), tensors=tensors)

    def _remove(self, at: int, op: ReshapeOp) -> bool:
        """Remove an identity, if it is one that can go."""
        original, copy = (self.before.tensors[name] for name in (op.input, op.output))
        if (original.shape, original.axis) != (copy.shape, copy.axis):
            return False
        maker = self.makers.get(op.input)
        if not self.before.is_output(op.output):
            kept, dropped = op.input, op.output
            if original.dtype != copy.dtype and self._on_hosts(copy.name):
                return False
        elif original.dtype != copy.dtype and (original.plain or self._on_hosts(original.name)):
            return False
        elif maker is not None and not self.before.is_output(op.input) and self._renames(maker):
            kept, dropped = op.output, op.input
            made = self.ops[maker]
            assert made is not None
            assert not isinstance(made, HostOp)
            self.ops[maker] = replace(made, output=kept)
            self.makers[kept] = maker
        else:
            return False
        self.ops[at] = None
        self.readers[op.input].pop(at)
        for reader in self.readers.pop(dropped, {}):
            self.ops[reader] = _reading(self.ops[reader], dropped, kept)
            self.readers.setdefault(kept, {})[reader] = None
        if maker is not None:
            self.nodes[maker] += self.nodes[at]
        self.gone.add(dropped)
        return True

    def _on_hosts(self, tensor: str) -> bool:
        """Whether a host reads it, and so in its own type."""
        return any(isinstance(self.ops[at], HostOp) for at in self.readers.get(tensor, ()))

    def _renames(self, maker: int) -> bool:
        """A host part's outputs keep their names."""
        return not isinstance(self.ops[maker], HostOp)

    def _join(self, at: int, second: ReshapeOp) -> ReshapeOp | None:
        """Make one of `second` and the reshape that feeds nothing else, if there is one."""
        maker = self.makers.get(second.input)
        first = self.ops[maker] if maker is not None else None
        if maker is None or not isinstance(first, ReshapeOp) or self.before.is_output(first.output):
            return None
        if len(self.readers[first.output]) != 1:
            return None
        if second.op == "Relayout" and self.before.tensors[first.input].like is not None:
            return None  # only between the two is there a tensor of the model, by which diff knows them
        known = first if second.op == "Relayout" else second  # the model's own operator
        joined = replace(known, input=first.input, output=second.output)
        self.ops[maker], self.ops[at] = None, joined
        self.nodes[maker] += self.nodes[at]
        self.nodes[at] = self.nodes[maker]
        self.readers[first.input].pop(maker)
        self.readers[first.input][at] = None
        self.gone.add(first.output)
        return joined


def _reading(op: Op | None, old: str, new: str) -> Op:
    """`op` with input `new` in place of `old`."""
    assert op is not None
    if isinstance(op, VectorOp | StencilOp | HostOp):
        return replace(op, inputs=tuple(new if name == old else name for name in op.inputs))
    return replace(op, input=new)
