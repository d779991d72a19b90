"""Elementwise operators with broadcasting of tensors and constants of any shapes, in any order: on the
accelerator alone they give what onnxruntime does, and the engines agree."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from runtime.count import count
from runtime.counters import total
from tests.redc.reference import run_onnx

Array = np.ndarray[Any, Any]
NEAR = 1e-3
"""Of the largest value in the graph, that an output may be off; single operators are off by 2^-16."""
OPERATORS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "PRelu", "Concat", "Relu", "Sqrt")


@dataclass
class Author:
    """Writes one graph.  Every tensor lies in [0.25, 4], so that quotients and roots are tame."""

    draw: Any
    shape: tuple[int, ...]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    ports: list[onnx.ValueInfoProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    tensors: list[str] = field(default_factory=list)  # computed, of shapes that broadcast to `shape`
    feeds: dict[str, Array] = field(default_factory=dict)

    def part(self) -> tuple[int, ...]:
        """A shape that broadcasts to `shape`: axes of length 1, axes left out."""
        sizes = tuple(size if self.draw(st.integers(0, 2)) else 1 for size in self.shape)
        return sizes[self.draw(st.integers(0, len(sizes))) :]

    def values(self, shape: tuple[int, ...]) -> Array:
        rng = np.random.default_rng(len(self.feeds) + len(self.constants))
        return rng.uniform(0.5, 2, shape).astype(np.float32)

    def port(self) -> str:
        name, shape = f"x{len(self.ports)}", self.part() or (self.shape[-1],)
        self.ports.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.feeds[name] = self.values(shape)
        return name

    def constant(self, shape: tuple[int, ...]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(self.values(shape), name))
        return name

    def node(self) -> None:
        op = self.draw(st.sampled_from(OPERATORS))
        made = f"t{len(self.nodes)}"
        inputs = [self.draw(st.sampled_from(self.tensors))]
        attributes: dict[str, Any] = {}
        if op == "PRelu":  # the tensor has to be the larger one
            inputs = [self.port_of(self.shape), self.constant(self.part())]
        elif op == "Concat":
            axis = self.draw(st.integers(0, len(self.shape) - 1))
            inputs = [self.port_of(self.shape), self.constant(self.shape), self.port_of(self.shape)]
            attributes = {"axis": axis}
        elif op not in ("Relu", "Sqrt"):
            constant = self.draw(st.booleans())
            inputs.append(
                self.constant(self.part()) if constant else self.draw(st.sampled_from(self.tensors))
            )
            if self.draw(st.booleans()):
                inputs.reverse()
        self.nodes.append(helper.make_node(op, inputs, [made], **attributes))
        if op == "Concat":
            return
        bounded = f"b{len(self.nodes)}"
        self.nodes.append(helper.make_node("Clip", [made, "low", "high"], [bounded]))
        self.tensors.append(bounded)

    def port_of(self, shape: tuple[int, ...]) -> str:
        name = f"x{len(self.ports)}"
        self.ports.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.feeds[name] = self.values(shape)
        return name

    def model(self) -> onnx.ModelProto:
        self.constants += [
            numpy_helper.from_array(np.float32(value), name) for name, value in (("low", 0.25), ("high", 4))
        ]
        self.tensors = [self.port() for _ in range(self.draw(st.integers(1, 2)))]
        for _ in range(self.draw(st.integers(1, 4))):
            self.node()
        read = set(itertools.chain.from_iterable(node.input for node in self.nodes))
        ends = [name for node in self.nodes for name in node.output if name not in read]
        graph = helper.make_graph(
            self.nodes,
            "g",
            [port for port in self.ports if port.name in read],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ends],
            self.constants,
        )
        self.feeds = {name: value for name, value in self.feeds.items() if name in read}
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, Array]]:
    author = Author(draw, tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))))
    return author.model(), author.feeds


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_tensors_and_constants_broadcast_as_in_onnxruntime(graph: tuple[onnx.ModelProto, Any]) -> None:
    model, feeds = graph
    assume(feeds)
    for node in model.graph.node:
        event(node.op_type)
    expected = run_onnx(model, feeds)
    program = redc.compile(model, weight_bits=16, input_bits=16, calibrate=feeds, host=False)
    fast, slow = runtime.run(program, feeds), runtime.run(program, feeds, engine="step")
    assert fast.counters == slow.counters
    assert total(count(program)) == fast.total
    assert not any("step engine" in note for note in fast.notes)
    for name, wanted in expected.items():
        np.testing.assert_array_equal(fast.outputs[name], slow.outputs[name])
        np.testing.assert_allclose(fast.outputs[name], wanted, rtol=0, atol=NEAR * 4)
