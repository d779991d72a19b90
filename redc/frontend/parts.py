"""Host parts as ONNX models: cut out, written as bytes, and tried with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from isa.program import RAW_TYPES
from redc.errors import UserError, UserErrors, did_you_mean
from redc.frontend.builder import Builder
from redc.frontend.elements import ELEMENTS, NAMES
from redc.frontend.nodes import DEFAULT_DOMAINS, Node, Source
from redc.frontend.rejected import Rejected
from redc.ir.graph import HostOp, Tensor
from redc.sessions import exposing, loops_of, make_session, run_session
from runtime.report import counted

MOST_ERRORS = 20

LARGEST = (1 << 31) - 1
"""Bytes of a protocol buffer."""


def part_model(
    source: Source,
    build: Builder,
    nodes: Sequence[Node],
    constants: Sequence[str],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> bytes:
    """The model of one host part.  Raises UserError where it is too large to be written."""
    leaves = [_leaf(source, build, name) for name in constants]
    size = sum(size_of(leaf) for leaf in leaves)
    if size <= LARGEST:
        graph = onnx.helper.make_graph(
            [node.proto for node in nodes],
            source.name,
            [_value(t) for t in inputs],
            [_value(t) for t in outputs],
            [_named(leaf, name) for leaf, name in zip(leaves, constants, strict=True)],
        )
        whole = onnx.ModelProto(
            ir_version=source.model.ir_version,
            opset_import=source.model.opset_import,
            functions=source.model.functions,
            graph=graph,
        )
        size = whole.ByteSize()
    if size > LARGEST:
        raise UserError(
            f"a host part of {counted(len(nodes), 'node')} holds {size / 2**30:.1f} GiB of constants; "
            "one protocol buffer holds 2 GiB",
            place=source.place(nodes[0].describe()),
            hint="replace operators that the accelerator does not run, or cut the model in two",
        )
    written: bytes = whole.SerializeToString(deterministic=True)
    return written


def _leaf(source: Source, build: Builder, name: str) -> onnx.TensorProto:
    """A constant.  Raises UserError where it cannot be read or computed."""
    try:
        return build.constants.proto(name)
    except Rejected as error:
        raise error.at(source.place(f"tensor {error.tensor or name!r}")) from error


def constant_part(source: Source, build: Builder, names: Sequence[str]) -> tuple[HostOp, dict[str, Tensor]]:
    """The host part that gives the outputs of the network which are constants, and its tensors.

    Raises UserError for constants that cannot be read or computed.
    """
    leaves = [_named(_leaf(source, build, name), f"constant{n}") for n, name in enumerate(names)]
    tensors = {
        name: Tensor(name, tuple(leaf.dims), 0, dtype=NAMES[leaf.data_type])
        for name, leaf in zip(names, leaves, strict=True)
    }
    nodes = [
        onnx.helper.make_node("Identity", [leaf.name], [n]) for leaf, n in zip(leaves, names, strict=True)
    ]
    graph = onnx.helper.make_graph(nodes, source.name, [], [_value(t) for t in tensors.values()], leaves)
    model = onnx.ModelProto(
        ir_version=source.model.ir_version, opset_import=source.model.opset_import, graph=graph
    )
    written = model.SerializeToString(deterministic=True)
    texts = tuple(f"output {name!r}: it is a constant" for name in names)
    return HostOp(build.free_name("constants"), (), tuple(names), written, (), texts), tensors


def passing_part(
    source: Source, build: Builder, inputs: Mapping[str, Tensor]
) -> tuple[HostOp, dict[str, Tensor]]:
    """The host part that hands on `inputs` which are outputs of the network too, and what it makes: to a
    program input and output are two tensors, though both go by the input's name."""
    made = {
        name: replace(t, name=build.fresh_tensor(f"{name}.output"), port=name) for name, t in inputs.items()
    }
    nodes = [onnx.helper.make_node("Identity", [name], [t.name]) for name, t in made.items()]
    taken, given = ([_value(t) for t in tensors.values()] for tensors in (inputs, made))
    graph = onnx.helper.make_graph(nodes, source.name, taken, given)
    model = onnx.ModelProto(
        ir_version=source.model.ir_version, opset_import=source.model.opset_import, graph=graph
    )
    written = model.SerializeToString(deterministic=True)
    texts = tuple(f"output {name!r}: it is a graph input" for name in inputs)
    names = tuple(t.name for t in made.values())
    op = HostOp(build.free_name("passed"), tuple(inputs), names, written, (), texts)
    return op, {t.name: t for t in made.values()}


def size_of(tensor: onnx.TensorProto) -> int:
    """Bytes of its values in the file; what is not raw is small, or below the limit anyway."""
    return len(tensor.raw_data) if tensor.HasField("raw_data") else 0


def _value(tensor: Tensor) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(tensor.name, ELEMENTS[tensor.dtype], tensor.shape)


def _named(leaf: onnx.TensorProto, name: str) -> onnx.TensorProto:
    if leaf.name == name:
        return leaf
    copy = onnx.TensorProto()
    copy.CopyFrom(leaf)
    copy.name = name
    return copy


def check_part(source: Source, nodes: Sequence[Node], reasons: Sequence[Rejected], model: bytes) -> None:
    """Raise UserError if onnxruntime does not load the part: for each node that looks wrong why
    the accelerator refused it, or else onnxruntime's own words."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # it is loaded, not run
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], enable_fallback=False
        )
    except Exception as error:  # onnxruntime raises its own classes, all direct Exceptions
        raise UserErrors(_refused(source, nodes, reasons, str(error))) from error


def _refused(
    source: Source, nodes: Sequence[Node], reasons: Sequence[Rejected], words: str
) -> list[UserError]:
    """For each operator that nobody has, one error; where there is none, each node with the reason why
    the accelerator does not run it, and onnxruntime's own `words`."""
    unheard = _unheard_of(source, nodes)
    if unheard:
        return unheard
    errors = [
        UserError(
            f"neither the accelerator nor onnxruntime runs it: {reason.message}",
            place=source.place(node.describe(reason.tensor)),
            hint=reason.hint,
        )
        for node, reason in zip(nodes, reasons, strict=True)
    ]
    tail = UserError(
        f"a host part of {counted(len(nodes), 'node')} cannot be loaded: {words.splitlines()[0][:300]}",
        place=source.title,
        hint="check the model with onnx.checker.check_model(model, full_check=True)",
    )
    return [*errors[:MOST_ERRORS], tail]


def _unheard_of(source: Source, nodes: Sequence[Node]) -> list[UserError]:
    """An error for each operator that onnxruntime does not have, at its first node."""
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    known = {(schema.domain, schema.name) for schema in runtime.get_all_operator_schema()}
    known |= {(function.domain, function.name) for function in source.model.functions}
    found: dict[str, list[Node]] = {}
    for node in nodes:
        domain = "" if node.domain in DEFAULT_DOMAINS else node.domain
        if (domain, node.op) not in known:
            found.setdefault(node.operator, []).append(node)
    errors = []
    for same in found.values():
        node = same[0]
        own = node.domain in DEFAULT_DOMAINS
        which = f"in operator set {source.opset}" if own else f"of domain {node.domain!r}"
        more = f"; {len(same)} nodes have it" if len(same) > 1 else ""
        near = did_you_mean(node.op, [name for domain, name in known if domain == ""]) if own else None
        errors.append(
            UserError(
                f"neither the accelerator nor onnxruntime has the operator {node.op} {which}{more}",
                place=source.place(node.describe()),
                hint=near or "export the model without it, or with a function in it that says what it does",
            )
        )
    return errors


def measured(
    source: Source, build: Builder, names: Sequence[str], nodes: Sequence[Node], reasons: Sequence[Rejected]
) -> dict[str, onnx.TypeProto]:
    """The types of graph outputs that ONNX cannot infer, as onnxruntime gives them for a sample.

    `nodes` are all of the host's, and `reasons` why: for the error where onnxruntime fails.
    """
    if not names:
        return {}
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    rng = np.random.default_rng(0)
    feeds = {}
    for name in build.inputs:
        dtype = np.dtype(RAW_TYPES[build.dtype(name)])
        shape = build.shapes[name]
        real = dtype.kind == "f"
        sample = np.asarray(source.samples.get(name, ()))
        if not shape and sample.size:
            sample = sample.reshape(-1)[0]
        if sample.ndim == len(shape) and all(a >= b for a, b in zip(sample.shape, shape, strict=True)):
            feeds[name] = np.asarray(sample[tuple(slice(size) for size in shape)], dtype)
        else:
            feeds[name] = (rng.standard_normal(shape) if real else rng.integers(0, 2, shape)).astype(dtype)
    try:
        session = make_session(*exposing(source.model, source.model.graph), options)
        values = run_session(session, names, feeds, loops_of(source.model), source.title)
    except UserError:
        raise
    except Exception as error:  # onnxruntime raises its own classes, all direct Exceptions
        raise UserErrors(_refused(source, nodes, reasons, str(error))) from error
    found = {}
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            raise UserError(
                "it is no tensor of numbers; only those leave a program",
                place=source.place(f"graph output {name!r}"),
                hint="drop this output",
            )
        element = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        found[name] = onnx.helper.make_tensor_type_proto(element, value.shape)
    return found
