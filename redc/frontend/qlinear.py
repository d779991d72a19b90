"""Importers of onnxruntime's own integer operators (com.microsoft), as its QOperator format has them.

QLinearAdd is an Add of what its inputs stand for, rounded to codes: a DequantizeLinear before each
input, a QuantizeLinear after the output, all of which vanish (redc/passes/absorb.py).  QGemm is a Gemm
as QLinearMatMul is a MatMul.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from redc.frontend.arithmetic import import_add, import_mul
from redc.frontend.builder import Builder
from redc.frontend.crossbars import Operands, add_gemm
from redc.frontend.elementwise import import_activation
from redc.frontend.encoded import Encoded, encoded
from redc.frontend.moves import import_concat
from redc.frontend.nodes import Node
from redc.frontend.pools import import_average_pool, import_global_average_pool
from redc.frontend.quantised import (
    add_quantiser,
    codes_at,
    codes_of,
    constant_at,
    kind_of,
    quantised_input,
    quantised_weight,
    type_of,
)
from redc.frontend.rejected import Rejected
from redc.ir.graph import ReshapeOp

Import = Callable[[Builder, Node], None]

BETWEEN: Mapping[str, tuple[str, Import]] = {
    "QLinearAdd": ("Add", import_add),
    "QLinearMul": ("Mul", import_mul),
    "QLinearSigmoid": ("Sigmoid", import_activation),
    "QLinearLeakyRelu": ("LeakyRelu", import_activation),
    "QLinearAveragePool": ("AveragePool", import_average_pool),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", import_global_average_pool),
    "QLinearConcat": ("Concat", import_concat),
}
"""The operator on real numbers between the quantisers."""


def import_between(build: Builder, node: Node) -> None:
    """Triples of data, scale and zero point, then the scale and zero point of the output, which a
    QLinearConcat has at the front."""
    op, float_import = BETWEEN[node.op]
    if node.attributes.get("channels_last", 0):
        raise Rejected("its channels lie last")
    if (
        op == "AveragePool"
        and node.attributes.get("ceil_mode", 0)
        and node.attributes.get("count_include_pad", 0)
    ):
        raise Rejected("onnxruntime divides by the whole kernel where it overhangs the padding")
    first = 2 if node.op == "QLinearConcat" else 0
    count = (len(node.inputs) - first) // 3 if first else 2 if node.op in ("QLinearAdd", "QLinearMul") else 1
    names = [_real(build, node, first + 3 * i) for i in range(count)]
    found = next((build.tensor(name) for name in names if name in build), None)
    if found is None:
        raise Rejected("all its inputs are constants")
    scale = 0 if first else 3 * count
    codes = codes_at(build, node, scale, scale + 1, kind_of(codes_of(found)))
    inner = build.fresh(f"{node.outputs[0]}.real")
    attributes = {name: value for name, value in node.attributes.items() if name != "channels_last"}
    float_import(
        build,
        replace(
            node,
            op=op,
            domain="",
            name=node.label,
            inputs=tuple(names),
            outputs=(inner,),
            attributes=attributes,
        ),
    )
    add_quantiser(build, build.op_name(node), build.tensor(inner), node.outputs[0], codes)


def _real(build: Builder, node: Node, index: int) -> str:
    """The name of what input `index` stands for: a tensor, or a constant."""
    name = node.input(index)
    fresh = build.fresh(f"{name}.real")
    if name in build.constants:
        scale = constant_at(build, node, index + 1, "scale")
        zero = constant_at(build, node, index + 2, "zero point") if node.input(index + 2) else None
        known = encoded(build.constants[name], scale, zero, 0)
        build.constants.put(fresh, known.real.astype(np.float32))
        return fresh
    x = quantised_input(build, node, index, index + 1, index + 2)
    build.add(ReshapeOp(build.free_name(fresh), "DequantizeLinear", x.name, fresh), x.shape, x.axis)
    return fresh


def import_qgemm(build: Builder, node: Node) -> None:
    """a, b, each with scale and zero point; a bias on the scale a * b; scale and zero point of y, or
    none where y is float.  The sums, bias included, times alpha."""
    x = quantised_input(build, node, 0, 1, 2)
    transposed = bool(node.attributes.get("transB", 0))
    weight = quantised_weight(build, node, 3, 4, 5, axis=0 if transposed else -1)
    alpha = node.attributes.get("alpha", 1.0)
    if node.attributes.get("transA", 0):
        raise Rejected("transA is not supported")
    if not alpha > 0:
        raise Rejected(f"its alpha is {alpha:g}; a scale is positive")
    weight = replace(weight, scale=alpha * weight.scale)
    given = codes_at(build, node, 7, 8, kind_of(codes_of(x))) if node.input(7) else None
    bias = None
    if node.input(6):
        integers = constant_at(build, node, 6, "bias").reshape(-1).astype(np.int64)
        columns = weight.codes.shape[0 if transposed else 1] if weight.codes.ndim == 2 else 0
        scale = (
            (weight.scale.T if transposed else weight.scale)[0] if columns else weight.scale.reshape(-1)[:1]
        )
        if integers.size not in (1, columns):
            raise Rejected(f"its bias has {integers.size} values for {columns} columns", tensor=node.input(6))
        bias = Encoded(np.broadcast_to(integers, (columns,)), codes_of(x).scale * scale, 32)
    operands = Operands(
        x,
        weight.real,
        weight,
        None if bias is None else bias.real,
        bias,
        given,
        "f32" if given is None else type_of(given),
    )
    attributes = {name: value for name, value in node.attributes.items() if name != "alpha"}
    gemm = replace(node, op="Gemm", domain="", attributes=attributes)
    add_gemm(build, gemm, operands, transposed=transposed)


QLINEAR: Mapping[str, Import] = {
    **{f"com.microsoft.{op}": import_between for op in BETWEEN},
    "com.microsoft.QGemm": import_qgemm,
}
