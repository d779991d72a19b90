"""Every supported operator, in the forms that operator sets gave it: onnxruntime agrees."""

from __future__ import annotations

import onnx
import pytest

from redc.frontend import import_graph
from redc.ir.graph import Activation, CrossbarOp, VectorOp
from tests.redc.reference import agree


def parse(
    body: str,
    x: str = "float[1, 2, 3, 4] x",
    y: str = "float[a, b, c, d] y",
    constants: str = "",
    opset: int = 13,
) -> onnx.ModelProto:
    weights = f"<{constants}>" if constants else ""
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({x}) => ({y}) {weights} {{ {body} }}'
    )


FIRST = "float[2, 2, 1, 1] w = {1, 2, 3, 4}"
CHANNEL = "float[2, 1, 1] c = {1, 2}"


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 13, 14, 15, 21, 22])
def test_batch_normalization_in_every_operator_set(opset: int) -> None:
    constants = "float[2] s = {1, 2}, float[2] b = {0.5, 1}, float[2] m = {1, -1}, float[2] v = {1, 4}"
    agree(parse("y = BatchNormalization<epsilon = 0.01>(x, s, b, m, v)", constants=constants, opset=opset))


@pytest.mark.parametrize(
    "body",
    [
        "Relu(x)",
        "LeakyRelu(x)",
        "LeakyRelu<alpha = 0.3>(x)",
        "LeakyRelu<alpha = 1.5>(x)",
        "Tanh(x)",
        "Sigmoid(x)",
        "LeakyRelu<alpha = 0.0>(x)",
    ],
)
@pytest.mark.parametrize("opset", [7, 13, 22])
def test_activations(body: str, opset: int) -> None:
    graph = agree(parse(f"y = {body}", opset=opset))
    assert isinstance(graph.ops[0], VectorOp)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("", None),
        ("<min = -0.5>", Activation("clip", low=-0.5)),
        ("<max = 0.5>", Activation("clip", high=0.5)),
        ("<min = 0.0, max = 6.0>", Activation("clip", low=0.0, high=6.0)),
        ("<min = 0.0>", Activation("relu")),
    ],
)
def test_clip_with_attributes(attributes: str, expected: Activation | None) -> None:
    (op,) = agree(parse(f"y = Clip{attributes}(x)", opset=7)).ops
    assert getattr(op, "activation", None) == expected


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("x", None),
        ("x, low", Activation("clip", low=-0.5)),
        ("x, , high", Activation("clip", high=0.5)),
        ("x, low, high", Activation("clip", low=-0.5, high=0.5)),
        ("x, high, low", Activation("clip", low=-0.5, high=-0.5)),
        ("x, zero", Activation("relu")),
        ("x, zero, huge", Activation("relu")),
    ],
)
@pytest.mark.parametrize("opset", [11, 12, 13])
def test_clip_with_inputs(inputs: str, expected: Activation | None, opset: int) -> None:
    bounds = "float low = {-0.5}, float high = {0.5}, float zero = {0}, float huge = {3.4028234663852886e38}"
    (op,) = agree(parse(f"y = Clip({inputs})", constants=bounds, opset=opset)).ops
    assert getattr(op, "activation", None) == expected


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = Add(x, c)", (1, 2, 3, 4)),
        ("y = Add(c, x)", (1, 2, 3, 4)),
        ("y = Add(x, scalar)", (1, 2, 3, 4)),
        ("y = Add(x, row)", (1, 2, 3, 4)),  # along the last axis: the channels move there
        ("y = Add(x, column)", (1, 2, 3, 4)),
        ("y = Add(x, one)", (1, 2, 3, 4)),
        ("y = Add(x, deep)", (1, 1, 2, 3, 4)),
        ("y = Add(x, x)", (1, 2, 3, 4)),
        ("y = Add(x, z)", (1, 2, 3, 4)),
        ("y = Add(z, x)", (1, 2, 3, 4)),
        ("y = Add(x, u)", (1, 2, 3, 4)),  # broadcast along channels: another axis is the vector
        ("y = Add(u, x)", (1, 2, 3, 4)),
        ("y = Add(v, x)", (1, 2, 3, 4)),
        ("y = Add(x, v)", (1, 2, 3, 4)),
        ("y = Add(t, u)", (1, 1, 3, 4)),
    ],
)
@pytest.mark.parametrize("opset", [7, 14])
def test_add_with_every_broadcast(body: str, shape: tuple[int, ...], opset: int) -> None:
    model = parse(
        body,
        x="float[1, 2, 3, 4] x, float[1, 2, 1, 4] z, float[1, 1, 3, 4] u, float[4] v, float[3, 1] t",
        y="float[" + ", ".join(map(str, shape)) + "] y",
        constants=f"{CHANNEL}, float scalar = {{7}}, float[4] row = {{1, 2, 3, 4}}, "
        "float[3, 1] column = {1, 2, 3}, float[1, 1] one = {5}, float[1, 1, 2, 1, 1] deep = {1, 2}",
        opset=opset,
    )
    graph = agree(model)
    assert graph.tensors["y"].shape == shape


@pytest.mark.parametrize(
    ("body", "opset", "shape"),
    [
        ("y = Reshape(x, to)", 7, (2, 3, 4)),
        ("y = Reshape(x, to)", 13, (2, 3, 4)),
        ("y = Reshape(x, to)", 21, (2, 3, 4)),
        ("y = Reshape<allowzero = 1>(x, rest)", 14, (24,)),
        ("y = Reshape(x, copy)", 14, (1, 2, 12)),
        ("y = Flatten(x)", 7, (1, 24)),
        ("y = Flatten<axis = 3>(x)", 9, (6, 4)),
        ("y = Flatten<axis = 0>(x)", 13, (1, 24)),
        ("y = Flatten<axis = -1>(x)", 13, (6, 4)),
        ("y = Squeeze(x)", 11, (2, 3, 4)),
        ("y = Squeeze<axes = [0]>(x)", 11, (2, 3, 4)),
        ("y = Squeeze<axes = [-4]>(x)", 11, (2, 3, 4)),
        ("y = Squeeze(x, first)", 13, (2, 3, 4)),
        ("y = Squeeze(x)", 13, (2, 3, 4)),
        ("y = Squeeze(x, none)", 13, (2, 3, 4)),
        ("y = Unsqueeze<axes = [0, 5]>(x)", 11, (1, 1, 2, 3, 4, 1)),
        ("y = Unsqueeze(x, ends)", 13, (1, 1, 2, 3, 4, 1)),
        ("y = Identity(x)", 7, (1, 2, 3, 4)),
        ("y = Dropout(x)", 7, (1, 2, 3, 4)),
        ("y = Dropout<ratio = 0.3>(x)", 10, (1, 2, 3, 4)),
        ("y = Dropout(x, ratio)", 12, (1, 2, 3, 4)),
        ("y, mask = Dropout(x, ratio, no)", 13, (1, 2, 3, 4)),
    ],
)
def test_what_moves_no_value(body: str, opset: int, shape: tuple[int, ...]) -> None:
    model = parse(
        body,
        y="float[" + ", ".join(map(str, shape)) + "] y",
        constants="int64[3] to = {2, -1, 4}, int64[3] copy = {0, 0, -1}, int64[1] rest = {24}, "
        "int64[1] first = {0}, int64[0] none = {}, int64[2] ends = {0, -1}, "
        "float ratio = {0.5}, bool no = {0}",
        opset=opset,
    )
    assert agree(model).tensors["y"].shape == shape


def test_target_shape_computed_from_the_shape_of_the_input() -> None:
    # PyTorch's x.view(x.size(0), -1)
    model = parse(
        """s = Shape(x)
           zero = Constant<value = int64 {0}>()
           n = Gather(s, zero)
           axes = Constant<value_ints = [0]>()
           rows = Unsqueeze(n, axes)
           rest = Constant<value_ints = [-1]>()
           to = Concat<axis = 0>(rows, rest)
           d = Conv(x, w)
           y = Reshape(d, to)""",
        y="float[1, 24] y",
        constants=FIRST,
    )
    assert [op.op for op in agree(model).ops] == ["Conv", "Reshape"]


@pytest.mark.parametrize(
    "weight",
    [
        "a = Constant<value = float[2, 2, 1, 1] {1, 2, 3, 4}>()\n w = Identity(a)",
        "a = Constant<value_floats = [1.0, 2.0, 3.0, 4.0]>()\n s = Constant<value_ints = [2, 2, 1, 1]>()\n"
        "w = Reshape(a, s)",
        "a = Constant<value = float[1, 1, 2, 2] {1, 2, 3, 4}>()\n w = Transpose<perm = [3, 2, 0, 1]>(a)",
    ],
)
def test_weights_behind_constants_are_seen_through(weight: str) -> None:
    (op,) = agree(parse(f"{weight}\n y = ConvTranspose(x, w)")).ops
    assert isinstance(op, CrossbarOp)


def test_initializers_that_are_graph_inputs_too_are_constants() -> None:
    # IR versions before 4 list every initializer as an input.
    model = parse("y = Conv(x, w)", constants=FIRST)
    model.ir_version = 3
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, [2, 2, 1, 1]))
    assert agree(model).inputs == ("x",)


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16", "DOUBLE"])
def test_weights_of_any_float_type(kind: str) -> None:
    model = parse("y = ConvTranspose(x, w)")
    element = onnx.TensorProto.DataType.Value(kind)
    model.graph.initializer.append(onnx.helper.make_tensor("w", element, [2, 2, 1, 1], [1, 2, 3, 4]))
    (op,) = import_graph(model).ops
    assert isinstance(op, CrossbarOp)
    assert op.weight.reshape(2, 2).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("body", "x", "y", "weight"),
    [
        ("y = MatMul(x, w)", "float[4, 2] x", "float[4, 3] y", "float[2, 3] w = {1, 2, 3, 4, 5, 6}"),
        ("y = MatMul(x, w)", "float[2] x", "float[3] y", "float[2, 3] w = {1, 2, 3, 4, 5, 6}"),
        ("y = MatMul(x, w)", "float[3, 5, 2] x", "float[3, 5, 3] y", "float[2, 3] w = {1, 2, 3, 4, 5, 6}"),
        (
            "m = MatMul(x, w)\n a = Add(m, b)\n r = Relu(a)\n y = MatMul(r, v)",
            "float[3, 5, 2] x",
            "float[3, 5, 2] y",
            "float[2, 3] w = {1, 2, 3, 4, 5, 6}, float[3] b = {1, 2, 3}, float[3, 2] v = {6, 5, 4, 3, 2, 1}",
        ),
        (
            "m = MatMul(x, w)\n y = BatchNormalization(m, s, s, s, s)",
            "float[1, 2, 2] x",
            "float[1, 2, 3] y",
            "float[2, 3] w = {1, 2, 3, 4, 5, 6}, float[2] s = {1, 2}",
        ),
        (
            "g = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(x, w, c)\n"
            "s = Constant<value_ints = [0, 3, 1, 1]>()\n r = Reshape(g, s)\n"
            "y = ConvTranspose<strides = [2, 2]>(r, v)",
            "float[2, 2] x",
            "float[2, 1, 2, 2] y",
            "float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[1, 3] c = {1, 2, 3}, "
            "float[3, 1, 2, 2] v = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}",
        ),
    ],
)
def test_matrix_products(body: str, x: str, y: str, weight: str) -> None:
    agree(parse(body, x, y, weight))


def test_output_shape_beats_pads_as_in_onnxruntime() -> None:
    constants = "float[2, 1, 3, 3] w = {" + ", ".join(map(str, range(18))) + "}"
    body = "y = ConvTranspose<strides = [2, 2], pads = [1, 0, 0, 1], output_shape = [6, 8]>(x, w)"
    (op,) = agree(parse(body, constants=constants)).ops
    assert isinstance(op, CrossbarOp)
    assert op.pads == (1, 1)  # the odd total puts the extra at the beginning


def test_dead_nodes_are_dropped_whatever_they_are() -> None:
    model = parse("dead = FFT(x)\n dead2 = Relu(dead)\n y = Relu(x)")
    assert [op.output for op in import_graph(model).ops] == ["y"]


def test_nodes_out_of_order_are_sorted() -> None:
    model = parse("y = Relu(b)\n b = Tanh(a)\n a = Sigmoid(x)")
    assert [op.op for op in import_graph(model).ops] == ["Sigmoid", "Tanh", "Relu"]


def test_names_of_operators_are_unique_and_stable() -> None:
    model = parse("a = Relu(x)\n b = Relu(a)\n y = Relu(b)")
    for node, name in zip(model.graph.node, ("same", "same", ""), strict=True):
        node.name = name
    graph = import_graph(model)
    assert [op.name for op in graph.ops] == ["same", "same_2", "Relu_y"]
    assert [op.nodes for op in graph.ops] == [("same",), ("same",), ("y",)]


def test_an_output_may_be_read_inside_the_graph_as_well() -> None:
    graph = agree(parse("a = Relu(x)\n y = Tanh(a)", y="float[1, 2, 3, 4] y, float[1, 2, 3, 4] a"))
    assert graph.outputs == ("y", "a")


def test_unused_inputs_stay_ports() -> None:
    model = parse("y = Relu(x)", x="float[1, 2, 3, 4] x, float[2] idle")
    assert import_graph(model).inputs == ("x", "idle")


def test_a_declared_output_shape_that_is_wrong_is_noted() -> None:
    model = parse("y = Relu(x)", y="float[1, 2, 3, 5] y")
    assert "declared" in import_graph(model).notes[0]


def test_the_newest_operator_set_is_supported() -> None:
    model = parse("a = Conv(x, w)\n y = Relu(a)", constants=FIRST, opset=onnx.defs.onnx_opset_version())
    assert [op.op for op in import_graph(model).ops] == ["Conv", "Relu"]
