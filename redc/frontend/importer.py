"""ONNX graph to graph IR, one importer per operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from redc.errors import UserError, raise_all
from redc.frontend.arithmetic import (
    import_add,
    import_div,
    import_many,
    import_mul,
    import_prelu,
    import_reciprocal,
    import_sign,
)
from redc.frontend.branches import with_branches
from redc.frontend.builder import Builder, ScalarsAre
from redc.frontend.constants import folds
from redc.frontend.crossbars import import_conv, import_conv_transpose, import_gemm, import_matmul
from redc.frontend.elementwise import import_activation, import_batch_normalization
from redc.frontend.functions import FUNCTIONS, import_function, import_pow
from redc.frontend.inputs import input_shapes, input_types
from redc.frontend.moves import (
    import_concat,
    import_depth_to_space,
    import_expand,
    import_gather,
    import_pad,
    import_slice,
    import_space_to_depth,
    import_split,
    import_tile,
    import_transpose,
)
from redc.frontend.nodes import DEFAULT_DOMAINS, Node, Source, read_source
from redc.frontend.partition import import_with_hosts
from redc.frontend.parts import constant_part, passing_part
from redc.frontend.pools import (
    import_average_pool,
    import_global_average_pool,
    import_global_max_pool,
    import_max_pool,
    import_reduce,
)
from redc.frontend.qlinear import QLINEAR
from redc.frontend.quantised import (
    import_cast,
    import_conv_integer,
    import_dequantize,
    import_matmul_integer,
    import_qlinear_conv,
    import_qlinear_matmul,
    import_quantize,
)
from redc.frontend.rejected import Rejected
from redc.frontend.reshapes import (
    import_dropout,
    import_flatten,
    import_identity,
    import_reshape,
    import_squeeze,
    import_unsqueeze,
)
from redc.frontend.resize import import_resize
from redc.frontend.schema import check_schema
from redc.frontend.sizes import HINT, size_problem
from redc.frontend.survey import Survey
from redc.ir.graph import Graph

if TYPE_CHECKING:
    import onnx

IMPORTERS: Mapping[str, Callable[[Builder, Node], None]] = {
    "ConvTranspose": import_conv_transpose,
    "Conv": import_conv,
    "Gemm": import_gemm,
    "MatMul": import_matmul,
    "BatchNormalization": import_batch_normalization,
    "Add": import_add,
    "Sub": import_add,
    "Mul": import_mul,
    "Div": import_div,
    "Reciprocal": import_reciprocal,
    "Neg": import_sign,
    "Abs": import_sign,
    "Max": import_many,
    "Min": import_many,
    "Sum": import_many,
    "Mean": import_many,
    "PRelu": import_prelu,
    "Relu": import_activation,
    "LeakyRelu": import_activation,
    "Tanh": import_activation,
    "Sigmoid": import_activation,
    "Clip": import_activation,
    **dict.fromkeys(FUNCTIONS, import_function),
    "Pow": import_pow,
    "MaxPool": import_max_pool,
    "AveragePool": import_average_pool,
    "GlobalAveragePool": import_global_average_pool,
    "GlobalMaxPool": import_global_max_pool,
    "ReduceMean": import_reduce,
    "ReduceSum": import_reduce,
    "ReduceMax": import_reduce,
    "Concat": import_concat,
    "Split": import_split,
    "Slice": import_slice,
    "Pad": import_pad,
    "Transpose": import_transpose,
    "Expand": import_expand,
    "Tile": import_tile,
    "Gather": import_gather,
    "DepthToSpace": import_depth_to_space,
    "SpaceToDepth": import_space_to_depth,
    "Resize": import_resize,
    "Upsample": import_resize,
    "Reshape": import_reshape,
    "Flatten": import_flatten,
    "Squeeze": import_squeeze,
    "Unsqueeze": import_unsqueeze,
    "Identity": import_identity,
    "Dropout": import_dropout,
    "QuantizeLinear": import_quantize,
    "DequantizeLinear": import_dequantize,
    "com.microsoft.QuantizeLinear": import_quantize,
    "com.microsoft.DequantizeLinear": import_dequantize,
    "QLinearConv": import_qlinear_conv,
    "QLinearMatMul": import_qlinear_matmul,
    "ConvInteger": import_conv_integer,
    "MatMulInteger": import_matmul_integer,
    "Cast": import_cast,
    **QLINEAR,
}
"""Every operator the accelerator runs.  Constant and what only feeds shapes is folded away."""

SCALARS: Mapping[str, ScalarsAre] = {
    **dict.fromkeys(["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"], "scalars"),
    **dict.fromkeys(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow", "PRelu"], "vectors"),
    **dict.fromkeys(["Relu", "LeakyRelu", "Tanh", "Sigmoid", "Clip", "Neg", "Abs", "Reciprocal"], "vectors"),
    **dict.fromkeys(FUNCTIONS, "vectors"),
}
"""How scalars are read by those that may: as they are, or as vectors of one value, which broadcast."""

SAYS_CODES = frozenset(
    [
        *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
        *("DequantizeLinear", "com.microsoft.DequantizeLinear", *QLINEAR),
    ]
)
"""Those that read integers and say what they mean."""

ON_INTEGERS = SAYS_CODES.union(
    ["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast"],
    ["Transpose", "Slice", "Split", "Concat", "Expand", "Tile", "Gather", "MaxPool"],
    ["DepthToSpace", "SpaceToDepth", "Pad", "Resize", "Upsample"],
)
"""Those that may read a tensor of an integer type: what moves real values moves their codes."""


def import_graph(
    model: onnx.ModelProto,
    shapes: Mapping[str, Iterable[int]] | None = None,
    *,
    title: str | None = None,
    hosts: bool = False,
    samples: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Graph:
    """Import `model`; `shapes` settle dimensions of inputs that it leaves open.

    Post: every tensor has a static shape, operators are in topological order, dead nodes are
    gone.  Shapes are propagated here, not by onnx.shape_inference, which stops at dynamic
    Reshapes and differs from onnxruntime on ConvTranspose.  `title` names the model in errors
    (its file).  With `hosts` a node that no importer takes becomes part of a HostOp; without,
    it is an error.  `samples` are values of its inputs: what a host makes may have a shape that
    depends on them.  Raises UserError, several at once where one does not hide the other.
    """
    source = replace(read_source(model, title or model.graph.name or "model"), samples=samples or {})
    given = {name: tuple(shape) for name, shape in (shapes or {}).items()}
    used = {name for node in source.nodes for name in node.reads} | {v.name for v in source.outputs}
    if hosts:
        return _with_hosts(source, given, used)
    raise_all([_passed_output(source, name) for name in source.passed])
    _reject_unsupported(source, given, used)
    build = Builder(source, input_shapes(source, given), input_types(source))
    errors: list[UserError] = []
    lost: set[str] = set()  # what a node that failed should have made
    for node in source.nodes:
        try:
            done = not lost.intersection(node.reads)
            if done:
                _import_node(build, node, used)
            else:
                check_schema(node, build.opset)
        except Rejected as error:
            where = source.place(node.describe(error.tensor))
            errors.append(error.at(where))
            done = False
        if not done:
            lost.update(filter(None, node.outputs))
    raise_all(errors)
    raise_all([e for v in source.outputs if (e := _constant_output(source, build, v.name))])
    return _of_a_size(source, build.graph(_notes(source, build.shapes)))


def _of_a_size(source: Source, graph: Graph) -> Graph:
    """`graph`, unless it has a tensor that no machine holds."""
    for tensor in graph.tensors.values():
        problem = size_problem(tensor.shape)
        if problem:  # the first; those behind it follow from it
            raise UserError(problem, place=source.place(f"tensor {tensor.name!r}"), hint=HINT)
    return graph


def _with_hosts(source: Source, given: Mapping[str, tuple[int, ...]], used: set[str]) -> Graph:
    shapes, types = input_shapes(source, given, hosts=True), input_types(source)
    last: list[Builder] = []

    def builder(eased: Source) -> Builder:
        last[:] = [Builder(eased, shapes, types)]
        return last[0]

    graph = import_with_hosts(source, builder, lambda build, node: _import_node(build, node, used))
    constants = [v.name for v in source.outputs if v.name in last[0].constants]
    if constants:
        op, made = constant_part(source, last[0], constants)
        graph = replace(graph, ops=(*graph.ops, op), tensors={**graph.tensors, **made})
    if source.passed:
        op, made = passing_part(source, last[0], {name: graph.tensors[name] for name in source.passed})
        ports = {tensor.port: name for name, tensor in made.items()}
        graph = replace(
            graph,
            ops=(*graph.ops, op),
            tensors={**graph.tensors, **made},
            outputs=tuple(ports.get(name, name) for name in graph.outputs),
        )
    shapes = {name: tensor.shape for name, tensor in graph.tensors.items()}
    return _of_a_size(source, replace(graph, notes=_notes(source, shapes)))


def _import_node(build: Builder, node: Node, used: set[str]) -> bool:
    """Add the node's operator, or True if it is a constant.  Raises Rejected."""
    if node.domain in DEFAULT_DOMAINS or (node.operator in IMPORTERS and node.operator not in QLINEAR):
        check_schema(node, build.opset)
    if build.constants.evaluate(node, build.shapes):
        return True
    if node.operator not in IMPORTERS:
        if node.operator == "If":
            raise Rejected(_undecided(build, node))
        raise Rejected("the accelerator does not have this operator")
    for name in node.reads:
        if name in build.outside and node.operator in SAYS_CODES:
            continue
        if name not in build and name not in build.constants:
            raise Rejected(build.why_unreadable(name), tensor=name)
    whole = build.whole.intersection(node.inputs)
    if whole and node.operator not in ON_INTEGERS:
        raise Rejected(
            "it computes with integers", tensor=min(whole), hint="put a DequantizeLinear before it"
        )
    with build.undone_if_rejected(), build.scalars(node, SCALARS.get(node.operator)):
        IMPORTERS[node.operator](build, node)
        extra = [name for name in node.outputs if name in used and name not in build]
        if extra:
            raise Rejected(f"its output {min(extra)!r} is read, which is not supported")
    return False


def _undecided(build: Builder, node: Node) -> str:
    """Why an If is not the branch that it takes."""
    behind = build.inputs_behind(node.input(0))
    text = f"which branch it takes follows from {', '.join(map(repr, behind)) or 'chance'}"
    if len(behind) != 1 or math.prod(build.shapes.get(behind[0], (2,))) != 1:
        return text
    return f"{text}; with a value bound to that (--bind {behind[0]}={behind[0]}.npy) the branch is compiled"


def taken_branches(
    model: onnx.ModelProto, shapes: Mapping[str, Iterable[int]], title: str | None = None
) -> onnx.ModelProto:
    """`model` with the branch that is taken in place of each If whose condition follows from its constants
    and from the shapes of its inputs; `shapes` settle what it leaves open."""

    def conditions(model: onnx.ModelProto) -> dict[str, bool]:
        try:
            source = read_source(model, title or "model")
            sizes = input_shapes(source, {n: tuple(s) for n, s in shapes.items()}, hosts=True)
            build = Builder(source, sizes, input_types(source))
            Survey(source, build, {}).run(lambda build, node: _import_node(build, node, set()))
        except UserError:
            return {}  # importing says it
        known: dict[str, bool] = {}
        for node in source.nodes:
            if node.op == "If" and node.input(0) in build.constants:
                value = build.constants[node.input(0)]
                known.update((name, bool(value.reshape(-1)[:1].any())) for name in node.outputs if name)
        return known

    return with_branches(model, conditions)


def unsupported_nodes(source: Source) -> list[Node]:
    """The nodes whose operator the accelerator does not run, and that are not folded away."""
    nodes = []
    constant = set(source.initializers)
    for node in source.nodes:
        if folds(node, constant):
            constant.update(node.outputs)
        elif node.operator not in IMPORTERS:
            nodes.append(node)
    return nodes


def _reject_unsupported(source: Source, given: Mapping[str, tuple[int, ...]], used: set[str]) -> None:
    """Raise one error that names every node of an unsupported operator, and its place, and one for every
    other node that would be the host's."""
    nodes = unsupported_nodes(source)
    if not nodes:
        return
    by_operator: dict[str, list[Node]] = {}
    for node in nodes:
        by_operator.setdefault(node.operator, []).append(node)
    lines = "".join(
        f"\n    {operator}: " + ", ".join(f"{node.label!r} (node {node.index})" for node in same)
        for operator, same in by_operator.items()
    )
    count = "1 node has an operator" if len(nodes) == 1 else f"{len(nodes)} nodes have operators"
    it = "it" if len(nodes) == 1 else "them"
    hint = f"a host runs {it} if it may: leave out --no-host, or in Python give host=True; else replace {it}"
    what = f"{count} that the accelerator does not run:{lines}"
    first = UserError(what, place=source.title, hint=hint)
    raise_all([first, *_others_on_hosts(source, given, used, {node.index for node in nodes})])


def _others_on_hosts(
    source: Source, given: Mapping[str, tuple[int, ...]], used: set[str], known: set[int]
) -> list[UserError]:
    """Why nodes would be the host's that are not among `known`."""
    try:
        build = Builder(source, input_shapes(source, given, hosts=True), input_types(source))
        survey = Survey(source, build, {}).run(lambda build, node: _import_node(build, node, used))
    except UserError:
        return []  # once the unsupported are gone, that is said
    found = [(node, survey.host[node.index]) for node in source.nodes if node.index in survey.host]
    return [
        reason.at(source.place(node.describe(reason.tensor)))
        for node, reason in found
        if node.index not in known
    ]


def _passed_output(source: Source, name: str) -> UserError:
    return UserError(
        "it is a graph input: there is nothing to compute",
        place=source.place(f"graph output {name!r}"),
        hint="drop this output, or allow host parts",
    )


def _constant_output(source: Source, build: Builder, name: str) -> UserError | None:
    if name not in build.constants:
        return None
    return UserError(
        "it is a constant: there is nothing to compute",
        place=source.place(f"graph output {name!r}"),
        hint="drop this output, or allow host parts",
    )


def _notes(source: Source, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Where the model declares another output shape than its nodes give."""
    notes = []
    for value in source.outputs:
        declared = [
            d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim
        ]
        shape = shapes[value.name]
        fits = len(declared) == len(shape) and all(
            d in (None, s) for d, s in zip(declared, shape, strict=True)
        )
        if declared and not fits:
            notes.append(f"output {value.name!r} is declared as {declared}, but its nodes give {list(shape)}")
    return tuple(notes)
