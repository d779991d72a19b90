"""A Clip of codes, as Brevitas and QONNX write codes of other widths, as a Clip of what they mean.

    QuantizeLinear -> Clip -> DequantizeLinear

becomes, for compiler and `redc diff` alike, what the accelerator has an operator for, bit for bit:

    QuantizeLinear -> DequantizeLinear -> Clip -> QuantizeLinear -> DequantizeLinear
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from redc.frontend.contrib import Expansion, rewritten


def with_real_clips(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with its Clips of computed codes between float nodes; itself if it has none."""
    graph = model.graph
    quantisers = {
        node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear" and not node.domain
    }
    if not any(_clips(node) and node.input[0] in quantisers for node in graph.node):
        return model
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and [a.name for a in node.attribute] == ["value"]:
            initializers[node.output[0]] = node.attribute[0].t

    def expand(expansion: Expansion) -> bool:
        node = expansion.node
        quantiser = quantisers.get(node.input[0]) if _clips(node) else None
        return quantiser is not None and _real(expansion, quantiser, initializers)

    return rewritten(model, initializers, expand)


def _clips(node: onnx.NodeProto) -> bool:
    return node.op_type == "Clip" and not node.domain and len(node.input) > 0


def _real(clip: Expansion, quantiser: onnx.NodeProto, initializers: Mapping[str, onnx.TensorProto]) -> bool:
    """Write `clip` of what `quantiser` makes out; False where its codes, bounds or scale are no constants
    of one number, or all of it is constant."""
    if quantiser.input[0] in initializers:
        return False
    operands = [*quantiser.input[1:3], *[""] * (3 - len(quantiser.input))]
    known = {name for name in (*operands, clip.input(1), clip.input(2)) if name}
    if not known <= initializers.keys():
        return False
    values = {name: np.asarray(numpy_helper.to_array(initializers[name])) for name in known}
    if any(value.size != 1 for value in values.values()):
        return False
    scale = values[operands[0]].astype(np.float32).reshape(())
    zero = int(values[operands[1]].reshape(())) if operands[1] else 0
    bounds = [
        clip.constant(np.float32(int(values[name].reshape(())) - zero) * scale) if name else ""
        for name in (clip.input(1), clip.input(2))
    ]
    given = [name for name in operands if name]
    real = clip.one("DequantizeLinear", clip.input(0), *given)
    (between,) = clip.add("Clip", [real, *bounds], own=True)
    named = {a.name: onnx.helper.get_attribute_value(a) for a in quantiser.attribute}
    clip.end(clip.one("QuantizeLinear", between, *given, **named))
    return True
