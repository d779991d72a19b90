"""onnxruntime's fused operators (com.microsoft) as the ONNX operators they were fused of.

Someone may hand in a model that onnxruntime has optimised.  Compiler and `redc diff` both see it as it
was before; what is not here goes to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

Array = npt.NDArray[Any]

DOMAIN = "com.microsoft"

MOST_WEIGHTS = 1 << 28
"""Of a matrix of few bits that is unpacked into floats."""


@dataclass(eq=False)
class Expansion:
    """One fused node, and what takes its place."""

    node: onnx.NodeProto
    names: set[str]
    initializers: Mapping[str, onnx.TensorProto]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in self.node.attribute}

    def input(self, index: int) -> str:
        """The name of input `index`, empty if it is left out."""
        return str(self.node.input[index]) if index < len(self.node.input) else ""

    def add(
        self, op: str, inputs: Sequence[str], count: int = 1, *, own: bool = False, **named: Any
    ) -> list[str]:
        """Append a node, the operator proper (`own`) under the fused one's name; its outputs."""
        made = [self._fresh(f"{self.node.output[0]}.{op}") for _ in range(count)]
        last = list(inputs)
        while last and not last[-1]:
            last.pop()
        name = self.node.name if own else ""
        self.nodes.append(onnx.helper.make_node(op, last, made, name, **named))
        return made

    def one(self, op: str, *inputs: str, **named: Any) -> str:
        """Append a node of one output."""
        return self.add(op, inputs, **named)[0]

    def constant(self, value: float | Array) -> str:
        """A constant of float32."""
        name = self._fresh(f"{self.node.output[0]}.constant")
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def rank(self, name: str) -> int:
        """The rank of an initializer; 0 of anything else."""
        return len(self.initializers[name].dims) if name in self.initializers else 0

    def array(self, index: int) -> Array | None:
        """The initializer at input `index`; None where that is something else."""
        name = self.input(index)
        return (
            np.asarray(numpy_helper.to_array(self.initializers[name])) if name in self.initializers else None
        )

    def end(self, made: str) -> None:
        """`made` is the fused node's output."""
        last = next(node for node in self.nodes if made in node.output)
        last.output[list(last.output).index(made)] = self.node.output[0]

    def _fresh(self, name: str) -> str:
        candidate, number = name, 1
        while candidate in self.names:
            number += 1
            candidate = f"{name}{number}"
        self.names.add(candidate)
        return candidate


def expanded(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` without the fused operators that are known; itself if it has none."""
    if not any(node.domain == DOMAIN and node.op_type in EXPANSIONS for node in model.graph.node):
        return model

    def expand(expansion: Expansion) -> bool:
        node = expansion.node
        known = EXPANSIONS.get(node.op_type) if node.domain == DOMAIN else None
        return known is not None and not any(node.output[1:]) and known(expansion)

    return rewritten(model, {tensor.name: tensor for tensor in model.graph.initializer}, expand)


def rewritten(
    model: onnx.ModelProto,
    initializers: Mapping[str, onnx.TensorProto],
    expand: Callable[[Expansion], bool],
) -> onnx.ModelProto:
    """A copy of `model` with what `expand` wrote in the place of every node of which it is true;
    `initializers` are the constants that it may look at."""
    names = {name for node in model.graph.node for name in (*node.input, *node.output)} | initializers.keys()
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    for node in model.graph.node:
        expansion = Expansion(node, names, initializers)
        if not expand(expansion):
            nodes.append(node)
            continue
        nodes += expansion.nodes
        constants += expansion.constants
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(constants)
    return result


# ---------------------------------------------------------------- one function an operator; False: as it is


def _activated(x: Expansion, made: str, name: str, numbers: Sequence[float]) -> bool:
    """End in the activation `name` of these parameters."""
    if name == "Clip":
        made = x.one("Min", x.one("Max", made, x.constant(numbers[0])), x.constant(numbers[1]))
    elif name in ("Relu", "Tanh", "Sigmoid"):
        made = x.one(name, made)
    elif name == "LeakyRelu":
        made = x.one(name, made, alpha=float(numbers[0]))
    elif name == "HardSigmoid":
        made = x.one(name, made, alpha=float(numbers[0]), beta=float(numbers[1]))
    elif name:
        return False
    x.end(made)
    return True


def _fused_conv(x: Expansion) -> bool:
    named = {k: v for k, v in x.attributes.items() if not k.startswith("activation")}
    (made,) = x.add("Conv", [x.input(i) for i in range(3)], own=True, **named)
    if x.input(3):
        made = x.one("Add", made, x.input(3))
    activation = x.attributes.get("activation", b"").decode()
    return _activated(x, made, activation, x.attributes.get("activation_params", []))


def _fused_gemm(x: Expansion) -> bool:
    named = {k: v for k, v in x.attributes.items() if not k.startswith("activation")}
    (made,) = x.add("Gemm", [x.input(i) for i in range(3)], own=True, **named)
    numbers = [x.attributes.get(f"activation_{k}", d) for k, d in (("alpha", 0.01), ("beta", 0.5))]
    return _activated(x, made, x.attributes.get("activation", b"").decode(), numbers)


def _fused_matmul(x: Expansion) -> bool:
    """Transposed operands only where they are initializers: of others the rank is not known."""
    operands = [x.input(0), x.input(1)]
    if x.attributes.get("transBatchA", 0) or x.attributes.get("transBatchB", 0):
        return False
    for index, key in enumerate(("transA", "transB")):
        if x.attributes.get(key, 0):
            rank = x.rank(operands[index])
            if rank < 2:
                return False
            operands[index] = x.one("Transpose", operands[index], perm=[*range(rank - 2), rank - 1, rank - 2])
    (made,) = x.add("MatMul", operands, own=True)
    alpha = float(x.attributes.get("alpha", 1.0))
    x.end(made if alpha == 1 else x.one("Mul", made, x.constant(alpha)))
    return True


def _scaled(x: Expansion, sums: str, scales: tuple[str, str], bias: str) -> bool:
    """Sums of an integer operator times two scales, and a bias."""
    made = x.one("Mul", x.one("Cast", sums, to=TensorProto.FLOAT), x.one("Mul", *scales))
    x.end(x.one("Add", made, bias) if bias else made)
    return True


def _integer_to_float(x: Expansion) -> bool:
    """a, b, scale of a, scale of b, zero points of a and b, bias."""
    (sums,) = x.add("MatMulInteger", [x.input(0), x.input(1), x.input(4), x.input(5)], own=True)
    return _scaled(x, sums, (x.input(2), x.input(3)), x.input(6))


def _dynamic_matmul(x: Expansion) -> bool:
    """a in floats, b, scale of b, zero point of b, bias."""
    codes, scale, zero = x.add("DynamicQuantizeLinear", [x.input(0)], 3)
    (sums,) = x.add("MatMulInteger", [codes, x.input(1), zero, x.input(3)], own=True)
    return _scaled(x, sums, (scale, x.input(2)), x.input(4))


def _gelu(x: Expansion) -> bool:
    """x / 2 * (1 + erf(x / sqrt 2)), of x plus a bias for a BiasGelu."""
    source = x.one("Add", x.input(0), x.input(1)) if x.input(1) else x.input(0)
    grown = x.one("Add", x.one("Erf", x.one("Mul", source, x.constant(np.sqrt(0.5)))), x.constant(1))
    x.end(x.one("Mul", x.one("Mul", source, x.constant(0.5)), grown))
    return True


def _quick_gelu(x: Expansion) -> bool:
    """x * sigmoid(alpha * x)."""
    alpha = float(x.attributes.get("alpha", 1.702))
    inner = x.input(0) if alpha == 1 else x.one("Mul", x.input(0), x.constant(alpha))
    x.end(x.one("Mul", x.input(0), x.one("Sigmoid", inner)))
    return True


def _channels_first(x: Expansion, op: str, domain: str, rank: int) -> bool:
    """`op` between Transposes, channels on axis 1."""
    if rank < 3:
        return False
    named = {k: v for k, v in x.attributes.items() if k != "channels_last"}
    first = x.one("Transpose", x.input(0), perm=[0, rank - 1, *range(1, rank - 1)])
    rest = [x.input(i) for i in range(1, len(x.node.input))]
    (made,) = x.add(op, [first, *rest], own=True, domain=domain, **named)
    x.end(x.one("Transpose", made, perm=[0, *range(2, rank), 1]))
    return True


def _qlinear_conv(x: Expansion) -> bool:
    return bool(x.attributes.get("channels_last", 0)) and _channels_first(
        x, "QLinearConv", "", x.rank(x.input(3))
    )


def _nhwc_max_pool(x: Expansion) -> bool:
    return _channels_first(x, "MaxPool", "", len(x.attributes.get("kernel_shape", ())) + 2)


def _average_pool(x: Expansion) -> bool:
    rank = len(x.attributes.get("kernel_shape", ())) + 2
    return bool(x.attributes.get("channels_last", 0)) and _channels_first(
        x, "QLinearAveragePool", DOMAIN, rank
    )


def _few_bits(x: Expansion) -> bool:
    """A matrix [N, K] of 2, 4 or 8 bits, each row in blocks of one scale and zero point, packed with the
    first number in the lowest bits: unpacked, [K, N]."""
    named = x.attributes
    rows, columns, bits = int(named["K"]), int(named["N"]), int(named.get("bits", 4))
    block = int(named["block_size"])
    packed, scales, zeros = (x.array(i) for i in (1, 2, 3))
    known = packed is not None and scales is not None and (zeros is not None or not x.input(3))
    if not known or x.input(4) or bits not in (2, 4, 8) or rows * columns > MOST_WEIGHTS:
        return False
    assert packed is not None
    assert scales is not None
    blocks = -(-rows // block)
    codes = _unpacked(packed.reshape(columns * blocks, -1), bits).reshape(columns, -1)
    zero: Array = np.full((columns, blocks), 1 << (bits - 1))
    if zeros is not None:
        whole = zeros.dtype == np.uint8
        zero = (_unpacked(zeros.reshape(columns, -1), bits) if whole else zeros.reshape(columns, -1))[
            :, :blocks
        ]
    spread = np.repeat(scales.astype(np.float32).reshape(columns, blocks), block, axis=1)
    weight = (codes - np.repeat(zero.astype(np.float32), block, axis=1)) * spread
    (made,) = x.add("MatMul", [x.input(0), x.constant(np.ascontiguousarray(weight[:, :rows].T))], own=True)
    x.end(x.one("Add", made, x.input(5)) if x.input(5) else made)
    return True


def _unpacked(packed: Array, bits: int) -> Array:
    """Rows of bytes as rows of the numbers in them."""
    parts = [(packed >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(len(packed), -1).astype(np.float32)


EXPANSIONS: Mapping[str, Callable[[Expansion], bool]] = {
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "MatMulIntegerToFloat": _integer_to_float,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulNBits": _few_bits,
    "Gelu": _gelu,
    "BiasGelu": _gelu,
    "QuickGelu": _quick_gelu,
    "QLinearConv": _qlinear_conv,
    "NhwcMaxPool": _nhwc_max_pool,
    "QLinearAveragePool": _average_pool,
}
