"""What the file of a model that arrives quantised says: scales, zero points, integer weights.

Read anew from the ONNX nodes; nothing is shared with the compiler's importer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

if TYPE_CHECKING:
    from redc.oracle.network import Network

Array = npt.NDArray[Any]
F64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

KIND = {
    "QLinearConv": "Conv",
    "ConvInteger": "Conv",
    "QLinearMatMul": "MatMul",
    "MatMulInteger": "MatMul",
    "QGemm": "Gemm",
}
"""The operator that an integer operator is, but for its codes."""

MADE: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), (6, 7)),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"), (3, 4)),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearReduceMean"), (3, 4)),
    "QLinearConcat": (0, 1),
    "QGemm": (7, 8),
}
"""Which inputs of an operator say the scale and the zero point of what it makes."""

MOVES = (
    *("Transpose", "Slice", "Split", "Expand", "Tile", "Gather", "MaxPool", "Pad", "Resize", "Upsample"),
    *("DepthToSpace", "SpaceToDepth"),
)
"""What gives integers of its first input."""

TYPES = {
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
}


@dataclass(frozen=True, slots=True)
class Given:
    """The codes of a tensor: real = scale * (code - zero), a code from `low` to `high`."""

    scale: float
    zero: int
    low: int
    high: int


@dataclass(frozen=True, eq=False, slots=True)
class GivenWeight:
    """A weight, real = scale * codes: both in ONNX's layout, `scale` broadcast to the codes."""

    codes: Int64
    scale: F64


def kind(node: onnx.NodeProto) -> str:
    """Which of the float operators `node` is."""
    return KIND.get(node.op_type, str(node.op_type))


def weight_input(node: onnx.NodeProto) -> int:
    """The position of the weight among the inputs."""
    return 3 if says_codes(node) else 1


def says_codes(node: onnx.NodeProto) -> bool:
    """Whether the node has scales and zero points of its own among its inputs."""
    return node.op_type.startswith("QLinear") or node.op_type == "QGemm"


def bias_input(node: onnx.NodeProto) -> str:
    """The name of the bias, or nothing."""
    position = {"QLinearConv": 8, "QGemm": 6, "Gemm": 2, "Conv": 2, "ConvTranspose": 2}.get(node.op_type, 99)
    return str(node.input[position]) if len(node.input) > position else ""


def made_codes(network: Network, node: onnx.NodeProto) -> Given | None:
    """The codes of what a QuantizeLinear, DequantizeLinear or QLinear operator makes."""
    if node.op_type == "QuantizeLinear":
        return _codes(network, node, 1, 2, _declared(node) or "uint8")
    if node.op_type == "DequantizeLinear":
        held = tensor_codes(network, node.input[0])
        name = _name(held) if held else _input_type(network, node.input[0])
        return _codes(network, node, 1, 2, name) if name in TYPES else None
    if node.op_type in MADE and (node.op_type != "QGemm" or len(node.input) > 7):
        held = None if node.op_type == "QLinearConcat" else tensor_codes(network, node.input[0])
        return _codes(network, node, *MADE[node.op_type], _name(held) if held else "uint8")
    return None


def _input_type(network: Network, tensor: str) -> str:
    """Of the input of the model that `tensor` is or is made of by moving values; else nothing."""
    while (node := network.maker(tensor)) is not None:
        if not network.moves(node) and node.op_type not in MOVES:
            return ""
        tensor = node.input[0]
    return network.input_type(tensor).name if tensor in network.inputs else ""


def difference(network: Network, node: onnx.NodeProto) -> str:
    """The name of what an integer operator reads whose zero point is computed: `'x' - 'zero'`, and a
    quote more for as long as that names another tensor.  Else nothing."""
    if (
        not node.op_type.endswith("Integer")
        or not _optional(node, 2)
        or network.constant(node.input[2]) is not None
    ):
        return ""
    name = f"{str(node.input[0])!r} - {str(node.input[2])!r}"
    while network.has(name):
        name += "'"
    return name


def zero_point(network: Network, node: onnx.NodeProto) -> int:
    """What an integer operator takes off its input, if that is no `difference` already."""
    return 0 if difference(network, node) else _zero(network, node, 2)


def tensor_codes(network: Network, tensor: str) -> Given | None:
    """The codes of `tensor`, seen through what only moves values."""
    while (node := network.maker(tensor)) is not None:
        if (found := made_codes(network, node)) is not None:
            return found
        if not network.moves(node) and node.op_type not in MOVES:
            return None
        tensor = node.input[0]
    return None


def read_codes(network: Network, node: onnx.NodeProto) -> Given | None:
    """The codes that a crossbar operator reads its input with."""
    held = tensor_codes(network, node.input[0])
    if says_codes(node):
        return _codes(network, node, 1, 2, _name(held) if held else "uint8")
    if difference(network, node):
        return Given(1.0, 0, -256, 255)
    if held is None:
        return None
    if node.op_type.endswith("Integer"):
        return Given(held.scale, _zero(network, node, 2), held.low, held.high)
    return None if _mixes(network, node.input[0]) else held


def _mixes(network: Network, tensor: str) -> bool:
    """Whether more than moves made `tensor` of codes: values between them, others filled in."""
    while (node := network.maker(tensor)) is not None and made_codes(network, node) is None:
        mode = next((a.s.decode() for a in node.attribute if a.name == "mode"), "")
        if node.op_type in ("Resize", "Upsample") and mode not in ("", "nearest"):
            return True
        if node.op_type == "Pad" and mode in ("", "constant") and _optional(node, 2):
            fill = network.constant(node.input[2])
            return fill is None or bool(fill.any()) or _mixes(network, node.input[0])
        tensor = node.input[0]
    return False


def given_weight(network: Network, node: onnx.NodeProto) -> GivenWeight | None:
    """The integers that the file holds for a crossbar operator; None where it holds floats."""
    name = str(node.input[weight_input(node)])
    if says_codes(node):
        axis = 0 if kind(node) == "Conv" or _attribute(node, "transB") else -1
        held = _decoded(network, name, str(node.input[4]), _optional(node, 5), axis)
        alpha = next((float(a.f) for a in node.attribute if a.name == "alpha"), 1.0)  # of a QGemm
        return GivenWeight(held.codes, alpha * held.scale)
    if node.op_type.endswith("Integer"):
        read = read_codes(network, node)
        plain = _decoded(network, name, "", _optional(node, 3), 0 if kind(node) == "Conv" else -1)
        return GivenWeight(plain.codes, plain.scale / (read.scale if read else 1.0))
    maker = network.maker(name)
    if maker is None or maker.op_type not in ("DequantizeLinear", "Identity", "Transpose"):
        return None
    if maker.op_type == "DequantizeLinear":
        integers = _constant(network, maker.input[0]).dtype.name in (*TYPES, "int32")  # or float8
        if _attribute(maker, "block_size") or not integers:
            return None
        axis = next((int(a.i) for a in maker.attribute if a.name == "axis"), 1)
        return _decoded(network, str(maker.input[0]), str(maker.input[1]), _optional(maker, 2), axis)
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    inner.input[1] = maker.input[0]
    found = given_weight(network, inner)
    if found is None or maker.op_type == "Identity":
        return found
    order = next((tuple(a.ints) for a in maker.attribute if a.name == "perm"), None)
    return GivenWeight(found.codes.transpose(order), found.scale.transpose(order))


def given_bias(network: Network, node: onnx.NodeProto) -> tuple[Int64, F64] | None:
    """The integers of a bias and their scale; QLinearConv's are on input scale * weight scale (0 here)."""
    name = bias_input(node)
    if not name:
        return None
    if node.op_type in ("QLinearConv", "QGemm"):
        return _constant(network, name).astype(np.int64), np.zeros(1)
    maker = network.maker(name)
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    axis = next((int(a.i) for a in maker.attribute if a.name == "axis"), 1)
    found = _decoded(network, str(maker.input[0]), str(maker.input[1]), _optional(maker, 2), min(axis, 0))
    return found.codes, found.scale


def real(values: Array, given: Given) -> Array:
    """What integers of a tensor with codes stand for, in float32."""
    return (values.astype(np.int64) - given.zero).astype(np.float32) * np.float32(given.scale)


def _decoded(network: Network, values: str, scale: str, zero: str, axis: int) -> GivenWeight:
    codes = _constant(network, values).astype(np.int64)
    if zero:
        codes = codes - _along(_constant(network, zero).astype(np.int64), codes, axis)
    step = _constant(network, scale).astype(np.float64) if scale else np.ones(1)
    return GivenWeight(codes, np.broadcast_to(_along(step, codes, axis), codes.shape))


def _along(vector: Array, like: Array, axis: int) -> Array:
    shape = [1] * like.ndim
    if vector.size > 1:
        shape[axis] = -1
    return vector.reshape(shape)


def _codes(network: Network, node: onnx.NodeProto, scale: int, zero: int, default: str) -> Given | None:
    step, offset = network.constant(node.input[scale]), _optional(node, zero)
    if step is None or step.size != 1 or not (np.isfinite(step) & (step > 0)).all():
        return None  # the host's, with a scale that is none
    name = _constant(network, offset).dtype.name if offset else default
    low, high = TYPES[name]
    return Given(float(step.reshape(-1)[0]), _zero(network, node, zero), low, high)


def _zero(network: Network, node: onnx.NodeProto, position: int) -> int:
    name = _optional(node, position)
    return int(_constant(network, name).reshape(-1)[0]) if name else 0


def _optional(node: onnx.NodeProto, position: int) -> str:
    return str(node.input[position]) if len(node.input) > position else ""


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)


def _declared(node: onnx.NodeProto) -> str:
    asked = _attribute(node, "output_dtype")
    return TensorProto.DataType.Name(asked).lower() if asked else ""


def _name(given: Given) -> str:
    return next(name for name, ends in TYPES.items() if ends == (given.low, given.high))


def _constant(network: Network, name: str) -> Array:
    value = network.constant(name)
    assert value is not None, name
    return value
