"""Importers of models that arrive quantised.

Here a tensor of integers with a scale and a zero point stands for the real numbers it means, and
carries its codes (`Tensor.given`): QuantizeLinear is a function that rounds, DequantizeLinear of
the same scale nothing at all, and QLinearConv a convolution that ends in given codes.  An integer
operator without scales (ConvInteger) has an input of its producer's scale s and weights of scale
1 / s, so that its real result is the integer one; its sums leave the crossbars as they are.

Integers that are an input of the program, or that a host makes, become such a tensor where an
operator says what they mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from redc.frontend.builder import Builder
from redc.frontend.constants import FLOATS, Array
from redc.frontend.crossbars import Operands, add_conv, add_matmul
from redc.frontend.elementwise import ONE, ZERO
from redc.frontend.encoded import KINDS, Encoded, checked, encoded
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.ir.graph import Codes, ReshapeOp, Tensor, VectorOp


def import_quantize(build: Builder, node: Node) -> None:
    """y = saturate(rint(x / scale) + zero), per tensor."""
    x = build.data(node)
    codes = codes_at(build, node, 1, 2, "uint8")
    add_quantiser(build, build.op_name(node), x, node.outputs[0], codes, (node.label,))


def add_quantiser(
    build: Builder, name: str, x: Tensor, output: str, codes: Codes, nodes: tuple[str, ...] = ()
) -> None:
    """Append what rounds `x` to `codes`."""
    op = VectorOp(name, "QuantizeLinear", (x.name,), output, (ONE,), ZERO, None, nodes)
    build.add(op, x.shape, x.axis, codes, type_of(codes))
    build.whole.add(output)


def import_dequantize(build: Builder, node: Node) -> None:
    """y = scale * (x - zero): nothing to do where x has this scale and zero point already."""
    x = _quantised(build, node, 0, lambda kind: codes_at(build, node, 1, 2, kind))
    name, nodes = build.op_name(node), (node.label,)
    if x.plain:
        scale = checked(constant_at(build, node, 1, "scale"))
        zero = constant_at(build, node, 2, "zero point").astype(np.float64) if node.input(2) else ZERO
        if scale.size == zero.size == 1:
            scale, zero = scale.reshape(()), zero.reshape(())
        elif node.attributes.get("axis", 1) % len(x.shape) != x.axis or scale.ndim > 1 or zero.ndim > 1:
            raise Rejected("its scale is neither one number nor one per channel")
        bias = np.asarray(-scale * zero)
        build.add(VectorOp(name, node.op, (x.name,), node.outputs[0], (scale,), bias, None, nodes),
                  x.shape, x.axis)  # fmt: skip
        return
    x = quantised_input(build, node, 0, 1, 2)
    build.add(ReshapeOp(name, node.op, x.name, node.outputs[0], nodes), x.shape, x.axis)
    if constant_at(build, node, 1, "scale").dtype != np.float32:
        build.other_floats.add(node.outputs[0])


def import_qlinear_conv(build: Builder, node: Node) -> None:
    """x and its scale and zero point, w and its, those of y, bias on the scale x * w."""
    x = quantised_input(build, node, 0, 1, 2)
    weight = quantised_weight(build, node, 3, 4, 5, axis=0)
    bias = encoded_bias = None
    if node.input(8):
        integers = constant_at(build, node, 8, "bias")
        outputs = weight.codes.shape[0]
        step = codes_of(x).scale * weight.scale.reshape(outputs, -1)[:, 0]
        if integers.shape != (outputs,):
            raise Rejected(
                f"its bias has shape {integers.shape}, expected ({outputs},)", tensor=node.input(8)
            )
        encoded_bias = Encoded(integers.astype(np.int64), step, 32)
        bias = encoded_bias.real
    given = codes_at(build, node, 6, 7, kind_of(codes_of(x)))
    add_conv(build, node, Operands(x, weight.real, weight, bias, encoded_bias, given, type_of(given)))


def import_qlinear_matmul(build: Builder, node: Node) -> None:
    """a, b and y, each with its scale and zero point; those of b are one, or one per column."""
    x = quantised_input(build, node, 0, 1, 2)
    b = quantised_weight(build, node, 3, 4, 5, axis=-1)
    given = codes_at(build, node, 6, 7, kind_of(codes_of(x)))
    add_matmul(build, node, Operands(x, b.real, _matrix(node, b, 3), None, None, given, type_of(given)))


def import_conv_integer(build: Builder, node: Node) -> None:
    """Integers in, integers out."""
    x, weight = _integer_operands(build, node, axis=0)
    sums = _sums(node, x, weight, axis=0)
    add_conv(build, node, Operands(x, weight.real, weight, None, None, sums, "i32"))


def import_matmul_integer(build: Builder, node: Node) -> None:
    """Integers in, integers out."""
    a, b = _integer_operands(build, node, axis=-1)
    sums = _sums(node, a, _matrix(node, b, 1), axis=1)
    add_matmul(build, node, Operands(a, b.real, b, None, None, sums, "i32"))


def import_cast(build: Builder, node: Node) -> None:
    """Of what a ConvInteger or MatMulInteger makes, to a float type; of floats, to float32 or a port."""
    x = build.data(node)
    to = {1: "f32", 10: "f16", 11: "f64"}.get(node.attributes.get("to", 0), "")
    op = ReshapeOp(build.op_name(node), node.op, x.name, node.outputs[0], (node.label,))
    if x.name not in build.whole and (to == "f32" or (to and node.outputs[0] in build.cast)):
        build.add(op, x.shape, x.axis, dtype=to)
        return
    if not x.plain or not to:
        raise Rejected("only a cast of what ConvInteger or MatMulInteger make to a float type is supported")
    build.add(op, x.shape, x.axis)
    if node.attributes["to"] != 1:
        build.other_floats.add(op.output)


def _integer_operands(build: Builder, node: Node, axis: int) -> tuple[Tensor, Encoded]:
    if node.inputs[0] in build.differences:
        x = _quantised(build, node, 0, lambda kind: DIFFERENCE)
    else:
        x = _quantised(
            build,
            node,
            0,
            lambda kind: Codes(KINDS[kind][0], bool(KINDS[kind][1]), 1.0, _zero(build, node, 2)),
        )
        held = codes_of(x)
        x = _as(build, node, x, Codes(held.bits, held.signed, held.scale, _zero(build, node, 2)))
    return x, _integers(build, node, 1, 3, np.array(1 / codes_of(x).scale), axis)


DIFFERENCE = Codes(9, True, 1.0)
"""An integer of 8 bits less another."""


def _sums(node: Node, x: Tensor, weight: Encoded, axis: int) -> Codes:
    """The codes that hold every sum of products, as it is."""
    codes = codes_of(x)
    largest = max(codes.high - codes.zero, codes.zero - codes.low)
    each = np.abs(weight.codes.astype(np.int64)).sum(
        axis=tuple(a for a in range(weight.codes.ndim) if a != axis)
    )
    bits = (int(each.max(initial=0)) * largest).bit_length() + 1
    if bits > 32:
        raise Rejected("its sums may leave 32 bits, and onnxruntime's then wrap", tensor=node.outputs[0])
    return Codes(bits, True, 1.0)


def quantised_weight(build: Builder, node: Node, index: int, scale: int, zero: int, axis: int) -> Encoded:
    """The integer weight at input `index`, with its scale and zero point."""
    return _integers(build, node, index, zero, constant_at(build, node, scale, "weight's scale"), axis)


def _integers(build: Builder, node: Node, index: int, zero: int, scale: Array, axis: int) -> Encoded:
    """The integer weight at input `index`."""
    values = constant_at(build, node, index, "weight")
    offset = constant_at(build, node, zero, "weight's zero point") if node.input(zero) else None
    if values.ndim == 2 and axis == -1:  # QLinearMatMul allows [1, N] as well
        scale = scale.reshape(-1) if scale.size == values.shape[1] else scale
        offset = offset.reshape(-1) if offset is not None and offset.size == values.shape[1] else offset
    return encoded(values, scale, offset, axis)


def _matrix(node: Node, weight: Encoded, index: int) -> Encoded:
    if weight.codes.ndim != 2 or weight.codes.size == 0:
        raise Rejected(
            f"its weight has the shape {weight.codes.shape}, expected a matrix", tensor=node.input(index)
        )
    return weight


def quantised_input(build: Builder, node: Node, index: int, scale: int, zero: int) -> Tensor:
    """Input `index`, with the codes that the node reads it with: those of inputs `scale` and `zero`."""
    x = _quantised(build, node, index, lambda kind: codes_at(build, node, scale, zero, kind))
    return _as(build, node, x, codes_at(build, node, scale, zero, kind_of(codes_of(x))))


def _quantised(build: Builder, node: Node, index: int, meaning: Callable[[str], Codes]) -> Tensor:
    """A tensor of codes.  Integers from outside become one: `meaning` says which codes they are, given
    numpy's name of their type."""
    name = node.input(index)
    if name not in build and name in build.outside:
        dtype = build.outside[name].dtype
        kind = f"{'' if dtype[0] == 'i' else 'u'}int{dtype[1:]}"
        if kind not in KINDS and name not in build.differences:
            raise Rejected(f"its input is {kind}; 8 and 16 bits are supported", tensor=name)
        return build.take(name, meaning(kind))
    x = build.data(node, index)
    if x.given is None or x.name not in build.whole:
        raise Rejected("its input holds no integers", tensor=x.name)
    return x


def codes_of(x: Tensor) -> Codes:
    """Those of a tensor that has some."""
    assert x.given is not None
    return x.given


def type_of(codes: Codes) -> str:
    """The element type of an ONNX tensor of such codes; codes of 4 bits never leave the accelerator."""
    return f"{'i' if codes.signed else 'u'}{codes.bits}" if codes.bits in (8, 16) else "f32"


def _as(build: Builder, node: Node, x: Tensor, codes: Codes) -> Tensor:
    """`x` with its integers read as `codes`: itself where those are its own."""
    held = x.given
    assert held is not None
    if held == codes:
        return x
    if (held.bits, held.signed) != (codes.bits, codes.signed):
        raise Rejected(f"its input is {kind_of(held)}, its zero point {kind_of(codes)}", tensor=x.name)
    ratio = np.array(codes.scale / held.scale)
    bias = np.array(codes.scale * (held.zero - codes.zero))
    name = build.fresh_tensor(f"{x.name}.read")
    op = VectorOp(f"{build.op_name(node)}.read", "QuantizeLinear", (x.name,), name, (ratio,), bias)
    build.add(op, x.shape, x.axis, codes)
    return Tensor(name, x.shape, x.axis, codes)


def codes_at(build: Builder, node: Node, scale: int, zero: int, default: str) -> Codes:
    """The codes of a tensor, from the constants that say its scale and zero point."""
    step = constant_at(build, node, scale, "scale")
    if step.size != 1:
        raise Rejected(
            f"its scale has the shape {step.shape}; values that are computed have one scale per tensor",
            tensor=node.input(scale),
        )
    if step.dtype.name not in FLOATS:
        raise Rejected(f"its scale is {step.dtype.name}, not a float", tensor=node.input(scale))
    if node.input(zero):
        kind = constant_at(build, node, zero, "zero point").dtype.name
    else:
        kind = _OUTPUT_TYPES.get(node.attributes.get("output_dtype", 0), default)
    if kind not in KINDS:
        raise Rejected(f"its integers are {kind}; 4, 8 and 16 bits are supported", tensor=node.input(zero))
    bits, signed = KINDS[kind]
    return Codes(bits, bool(signed), float(checked(step).reshape(())), _zero(build, node, zero))


_OUTPUT_TYPES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}
"""QuantizeLinear's output_dtype: TensorProto.DataType."""


def _zero(build: Builder, node: Node, index: int) -> int:
    if not node.input(index):
        return 0
    zero = constant_at(build, node, index, "zero point")
    if zero.size != 1:
        raise Rejected(f"its zero point has the shape {zero.shape}", tensor=node.input(index))
    return int(zero.reshape(()).astype(np.int64))


def constant_at(build: Builder, node: Node, index: int, what: str) -> Array:
    """The constant at input `index`; `what` it is, for the error."""
    name = node.input(index)
    if name not in build.constants:
        raise Rejected(
            f"its {what} is computed at run time (dynamic quantisation); codes are fixed when compiling",
            tensor=name,
            hint="quantise the model statically, or give the float model",
        )
    return build.constants[name]


def kind_of(codes: Codes) -> str:
    """numpy's name of their type."""
    return f"{'' if codes.signed else 'u'}int{codes.bits}"
