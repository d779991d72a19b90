"""The graph verifier lets sound graphs through and names the operator of unsound ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest

from isa.program import Target
from redc.compiler import compile_with
from redc.errors import InternalError
from redc.ir.graph import Codes, CrossbarOp, Graph, ReshapeOp, Tensor, VectorOp
from redc.ir.text import to_text
from redc.ir.verify import verify_graph
from redc.passes import Options

MODEL = """
<ir_version: 8, opset_import: ["" : 13]>
net (float[1, 2, 3] x) => (float[1, 2, 8] y)
<float[2, 2, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}>
{ d = ConvTranspose<strides = [2]>(x, w)
  t = Tanh(d)
  s = Add(t, t)
  y = Identity(s) }
"""


@cache
def every_step() -> dict[str, Graph]:
    """The graph after the import and after each pass."""
    steps: dict[str, Graph] = {}
    compile_with(
        onnx.parser.parse_model(MODEL),
        Options(),
        target=Target("t", rows=64, columns=64),
        calibrate={"x": np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)},
        after=steps.__setitem__,
    )
    return steps


def test_every_pass_leaves_a_sound_graph_with_a_text() -> None:
    for graph in every_step().values():
        verify_graph(graph)
        assert to_text(graph) == to_text(graph)


def test_the_text_after_the_last_pass_says_where_everything_is() -> None:
    text = to_text(every_step()["allocate"])
    for part in (
        "in %x",
        "weight codes i8 int8[4, 2, 2]",
        "mapping pixel-wise",
        "place from array 0",
        "table of",
    ):
        assert part in text, text


def crossbar(**changes: Any) -> Callable[[Graph], Graph]:
    return lambda graph: _changed(graph, CrossbarOp, changes)


def vector(**changes: Any) -> Callable[[Graph], Graph]:
    return lambda graph: _changed(graph, VectorOp, changes)


def tensor(name: str, **changes: Any) -> Callable[[Graph], Graph]:
    return lambda graph: replace(
        graph, tensors={**graph.tensors, name: replace(graph.tensors[name], **changes)}
    )


def _changed(graph: Graph, kind: type, changes: dict[str, Any]) -> Graph:
    first = next(op for op in graph.ops if isinstance(op, kind))
    ready = {k: v(first) if callable(v) else v for k, v in changes.items()}
    return replace(graph, ops=tuple(replace(o, **ready) if o is first else o for o in graph.ops))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (crossbar(name="s"), "another operator has this name|name"),
        (crossbar(input="nowhere"), "reads 'nowhere', which nothing before it makes"),
        (crossbar(output="x"), "exists already"),
        (crossbar(bias=np.zeros(3)), "bias of shape"),
        (crossbar(bias=lambda op: op.bias * np.nan), "NaN"),
        (crossbar(weight=lambda op: op.weight[:, :1]), "channels"),
        (crossbar(groups=3), "groups|channels|bias"),
        (crossbar(stride=(2, 2)), "stride is"),
        (crossbar(pads=(-1,)), "pads is"),
        (crossbar(kernel=(3,)), "kernel and weight differ"),
        (crossbar(op="Gemm"), "it has a kernel"),
        (crossbar(weight_codes=lambda op: op.weight_codes.astype(np.int16) * 100), "exceeds 8 bits"),
        (crossbar(weight_codes=None), "come together"),
        (crossbar(bias_codes=lambda op: op.bias_codes.astype(np.int32)), "bias codes"),
        (crossbar(pads=(1,)), "do not obey the formula"),
        (crossbar(pixels=lambda op: op.pixels[1:]), "do not obey the formula"),
        (crossbar(pixels=None), "a schedule but no kernel pixels"),
        (
            crossbar(schedule=lambda op: replace(op.schedule, placements=op.schedule.placements[1:])),
            "not each placed once",
        ),
        (crossbar(schedule=lambda op: replace(op.schedule, turns=0)), "outside its schedule"),
        (crossbar(place=-1), "array -1"),
        (
            crossbar(requantise=lambda op: replace(op.requantise, scale=op.requantise.scale * np.nan)),
            "finite",
        ),
        (
            crossbar(
                requantise=lambda op: replace(
                    op.requantise, table=replace(op.requantise.table, entries=op.requantise.table.entries[:3])
                )
            ),
            "too short",
        ),
        (vector(requantise=lambda op: replace(op.requantise, high=99_999)), "beyond its output's codes"),
        (vector(requantise=lambda op: replace(op.requantise, zero=op.requantise.zero + 1)), "zero point"),
        (vector(factors=()), "0 factors for 2 inputs"),
        (vector(bias=np.zeros(5)), "bias has the shape"),
        (tensor("t", axis=2), "axis|channels"),
        (tensor("t", axis=9), "axis 9"),
        (tensor("x", shape=(2, 2, 3)), "batch axes"),
        (tensor("t", shape=(1, 2, 0)), "shape"),
        (tensor("x", codes=Codes(8, True, 0.0)), "scale 0.0"),
        (tensor("x", codes=Codes(8, False, 1.0, 300)), "zero point 300"),
        (lambda g: replace(g, outputs=()), "no outputs"),
        (lambda g: replace(g, outputs=("x",)), "no operator makes it"),
        (lambda g: replace(g, inputs=("x", "x")), "listed twice"),
        (lambda g: replace(g, ops=tuple(reversed(g.ops))), "which nothing before it makes"),
        (lambda g: replace(g, tensors={**g.tensors, "left": Tensor("left", (1,), 0)}), "nothing makes"),
        (lambda g: replace(g, tensors={k: v for k, v in g.tensors.items() if k != "t"}), "without a shape"),
        (
            lambda g: replace(
                g,
                ops=(*g.ops, ReshapeOp("r", "Reshape", "x", "z")),
                tensors={**g.tensors, "z": Tensor("z", (7,), 0, g.tensors["x"].codes)},
            ),
            "differ in size",
        ),
    ],
)
def test_a_broken_graph_is_our_own_fault(damage: Callable[[Graph], Graph], expected: str) -> None:
    graph = every_step()["allocate"]
    names = [op.name for op in graph.ops]
    broken = damage(graph)
    if [op.name for op in broken.ops] != names and "another" in expected:
        broken = replace(broken, ops=tuple(replace(op, name="same") for op in broken.ops))
    with pytest.raises(InternalError, match=expected) as caught:
        verify_graph(broken)
    assert "please report it" in str(caught.value)
