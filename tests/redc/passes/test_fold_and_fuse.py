"""Folding and fusing: text in, text out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from redc.frontend import import_graph
from redc.ir.graph import CrossbarOp, Graph
from redc.ir.text import to_text
from redc.ir.verify import verify_graph
from redc.passes.fold import fold_batchnorm_and_add
from redc.passes.fuse import fuse_activations
from tests.redc.reference import agree

HEAD = """
<ir_version: 8, opset_import: ["" : 13]>
small (float[1, 1, 3] x) => ({outputs})
<float[1, 2, 2] w = {{1, 2, 3, 4}}, float[2] bias = {{1, -1}}, float[2] two = {{2, 4}},
 float[2] half = {{0.5, -0.5}}, float[2] zero = {{0, 0}}, float[2] var = {{0.99999, 3.99999}},
 float[1, 2, 1] add = {{10, 20}}, float ten = {{10}}, float[1, 1, 6] pixels = {{1, 2, 3, 4, 5, 6}},
 int64[2] flat = {{1, 12}}, int64[1] first = {{0}},
 float[6, 3] m = {{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18}}>
{{
  d = ConvTranspose<strides = [2]>(x, w, bias)
{body}
}}
"""


def model(body: str, outputs: str = "float[1, 2, 6] y") -> onnx.ModelProto:
    """`body` after d = ConvTranspose(x), of shape [1, 2, 6]."""
    return onnx.parser.parse_model(HEAD.format(body=body, outputs=outputs))


def folded(body: str, outputs: str = "float[1, 2, 6] y") -> Graph:
    """After both passes; onnxruntime agrees at every step."""
    return agree(model(body, outputs))


def summary(graph: Graph) -> list[str]:
    """One line per operator: `y = ConvTranspose(x) relu`."""
    lines = []
    for op in graph.ops:
        activation = getattr(op, "activation", None)
        end = f" {activation.kind}" if activation else ""
        lines.append(f"{op.output} = {op.op}({', '.join(op.inputs)}){end}")
    return lines


BN = "BatchNormalization"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"y = {BN}(d, two, half, zero, var)", ["y = ConvTranspose(x)"]),
        ("y = Add(d, add)", ["y = ConvTranspose(x)"]),
        ("y = Add(ten, d)", ["y = ConvTranspose(x)"]),
        ("y = Relu(d)", ["y = ConvTranspose(x) relu"]),
        (
            f"a = Add(d, add)\n b = {BN}(a, two, half, zero, var)\n c = Add(b, ten)\n y = Tanh(c)",
            ["y = ConvTranspose(x) tanh"],
        ),
        # what follows an activation cannot go into the weights
        (f"a = Relu(d)\n y = {BN}(a, two, half, zero, var)", ["a = ConvTranspose(x) relu", f"y = {BN}(a)"]),
        ("a = Relu(d)\n y = Add(a, add)", ["a = ConvTranspose(x) relu", "y = Add(a)"]),
        ("a = Relu(d)\n y = Sigmoid(a)", ["a = ConvTranspose(x) relu", "y = Sigmoid(a) sigmoid"]),
        # another reader needs the tensor in between
        ("a = Add(d, add)\n y = Add(a, d)", ["d = ConvTranspose(x)", "a = Add(d)", "y = Add(a, d)"]),
        ("a = Relu(d)\n y = Add(a, d)", ["d = ConvTranspose(x)", "a = Relu(d) relu", "y = Add(a, d)"]),
        ("y = Add(d, d)", ["d = ConvTranspose(x)", "y = Add(d, d)"]),
        # two tensors, then an activation: it ends the sum
        (
            "a = Relu(d)\n b = Tanh(d)\n c = Add(a, b)\n y = Relu(c)",
            ["d = ConvTranspose(x)", "a = Relu(d) relu", "b = Tanh(d) tanh", "y = Add(a, b) relu"],
        ),
        # identities are looked through
        (
            f"a = Identity(d)\n b = Dropout(a)\n c = {BN}(b, two, half, zero, var)\n"
            "e = Identity(c)\n y = Relu(e)",
            ["y = ConvTranspose(x) relu"],
        ),
        ("a = Relu(d)\n y = Identity(a)", ["y = ConvTranspose(x) relu"]),
        ("a = Clip(d)\n y = Relu(a)", ["y = ConvTranspose(x) relu"]),
        # a change of channel axis is no identity
        (
            "a = Add(d, pixels)\n y = Relu(a)",
            ["d = ConvTranspose(x)", "d.axis2 = Relayout(d)", "y = Add(d.axis2) relu"],
        ),
        (
            "y = MatMul(d, m)",
            ["d = ConvTranspose(x)", "d.axis2 = Relayout(d)", "y = MatMul(d.axis2)"],
        ),
    ],
)
def test_folds_what_it_may_and_nothing_else(body: str, expected: list[str]) -> None:
    shape = "float[1, 2, 3] y" if "MatMul" in body else "float[1, 2, 6] y"
    assert summary(folded(body, shape)) == expected


def test_a_tensor_that_is_a_graph_output_stays() -> None:
    body = "a = Add(d, add)\n b = Relu(a)\n y = Identity(b)"
    graph = folded(body, "float[1, 2, 6] d, float[1, 2, 6] a, float[1, 2, 6] b, float[1, 2, 6] y")
    assert summary(graph) == [
        "d = ConvTranspose(x)",
        "a = Add(d)",
        "b = Relu(a) relu",
        "y = Identity(b)",
    ]


def test_a_renamed_output_renames_it_for_every_reader() -> None:
    graph = folded("y = Identity(d)\n z = Relu(d)", "float[1, 2, 6] y, float[1, 2, 6] z")
    assert summary(graph) == ["y = ConvTranspose(x)", "z = Relu(y) relu"]


def test_a_chain_of_reshapes_is_one() -> None:
    body = "a = Unsqueeze(d, first)\n b = Reshape(a, flat)\n e = Identity(b)\n y = Relu(e)"
    graph = folded(body, "float[1, 12] y")
    assert summary(graph) == ["d = ConvTranspose(x)", "b = Reshape(d)", "y = Relu(b) relu"]
    assert graph.ops[1].nodes == ("a", "b", "e")


def test_folding_keeps_every_node_in_order() -> None:
    (op,) = folded(f"a = Add(d, add)\n b = {BN}(a, two, half, zero, var)\n y = Relu(b)").ops
    assert op.nodes == ("d", "a", "b", "y")


def test_numbers_of_a_fold_worked_out_by_hand() -> None:
    # f = gamma / sqrt(var + 1e-5) = (2 / 1, 4 / 2); b' = (b - 0) * f + beta, then + c
    graph = fold_batchnorm_and_add(
        import_graph(model(f"a = {BN}(d, two, half, zero, var)\n y = Add(a, add)"))
    )
    (op,) = graph.ops
    assert isinstance(op, CrossbarOp)
    # ONNX (C, M, k) = [[[1, 2], [3, 4]]] lies as [k, C, M] = [[[1, 3]], [[2, 4]]]
    np.testing.assert_allclose(op.weight, [[[2, 6]], [[4, 8]]], rtol=1e-7)
    np.testing.assert_allclose(op.bias, [2 * 1 + 0.5 + 10, 2 * -1 - 0.5 + 20], rtol=1e-7)


def test_batchnorm_folds_bit_for_bit_as_documented() -> None:
    # (b - mean) * f + beta, not b * f + (beta - mean * f): the two differ in the last bit.
    mean, beta, gamma, var, bias = (np.float64(np.float32(v)) for v in (0.1, 0.7, 1.3, 0.9, 0.3))
    text = f"""
    <ir_version: 8, opset_import: ["" : 15]>
    g (float[1, 1, 2] x) => (float[1, 1, 2] y)
    <float[1, 1, 1] w = {{1}}, float[1] b = {{{bias}}}, float[1] gamma = {{{gamma}}},
     float[1] beta = {{{beta}}}, float[1] mean = {{{mean}}}, float[1] var = {{{var}}}>
    {{ d = Conv(x, w, b)
       y = BatchNormalization(d, gamma, beta, mean, var) }}"""
    (op,) = fold_batchnorm_and_add(import_graph(onnx.parser.parse_model(text))).ops
    assert isinstance(op, CrossbarOp)
    factor = gamma / np.sqrt(var + 1e-5)
    assert op.bias[0] == (bias - mean) * factor + beta
    assert op.weight.reshape(()) == factor


def test_groups_fold_channel_by_channel() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 13]>
    grouped (float[1, 4, 3] x) => (float[1, 6, 3] y)
    <float[4, 3, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, float[6] s = {1, 2, 3, 4, 5, 6},
     float[6] b = {1, 2, 3, 4, 5, 6}, float[6] m = {6, 5, 4, 3, 2, 1}, float[6] v = {1, 1, 2, 2, 3, 3}>
    { d = ConvTranspose<group = 2>(x, w)
      y = BatchNormalization(d, s, b, m, v) }"""
    assert summary(agree(onnx.parser.parse_model(text))) == ["y = ConvTranspose(x)"]


def test_the_text_of_a_graph() -> None:
    graph = fuse_activations(fold_batchnorm_and_add(import_graph(model("a = Add(d, add)\n y = Relu(a)"))))
    verify_graph(graph)
    assert (
        to_text(graph)
        == """\
graph 'small'
  input   x [1, 1, 3] axis 1
  output  y [1, 2, 6] axis 1

  y [1, 2, 6] axis 1 = ConvTranspose(x)
      name ConvTranspose_d, nodes d, a, y
      kernel 2 stride 2 dilation 1 pads 0 groups 1
      weight float64[2, 1, 2] 1..4; bias float64[2] 11..19
      activation relu
"""
    )
