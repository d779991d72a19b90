"""Tensors whose values lie in files beside the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types

from isa.diagnostics import reason
from isa.paths import near_file
from redc.errors import UserError, raise_all
from redc.frontend.scopes import subgraphs

BITS = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
"""Of element types that share bytes, by the name that ONNX gives them."""

AGAIN = "export the model again"
MOST_NAMES = 3
"""Tensors of one file that an error lists."""


def read_external(model: onnx.ModelProto, path: Path) -> None:
    """Read every tensor that lies in a file beside the model at `path`.

    Raises UserError: one for each file that is missing or too short, with the first of its tensors
    and their number, and one for each tensor that has no proper place in its file.
    """
    files = _by_file(model)
    raise_all([error for location, tensors in files.items() for error in _read(path, location, tensors)])


def data_files(path: Path) -> list[Path]:
    """The files beside the model at `path` that hold its tensors; none of what is no model."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, ValueError, DecodeError):
        return []  # whoever loads it says what is wrong
    return [path.parent / location for location in _by_file(model)]


def _by_file(model: onnx.ModelProto) -> dict[str, list[onnx.TensorProto]]:
    """The tensors that lie in each file, by its location."""
    files: dict[str, list[onnx.TensorProto]] = {}
    nodes = [node for function in model.functions for node in function.node]
    for tensor in (*_tensors(model.graph), *_in_nodes(nodes)):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            files.setdefault(_entries(tensor).get("location", ""), []).append(tensor)
    return files


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _read(path: Path, location: str, tensors: Sequence[onnx.TensorProto]) -> list[UserError]:
    """Read the tensors that lie in one file; what is wrong with them."""
    errors: list[UserError] = []
    short: dict[int, onnx.TensorProto] = {}  # those that end behind the file's end, by their place
    needed = 0
    try:
        file = _inside(path.parent, location)
        if file.exists() and not file.is_file():
            raise OSError(None, "it is no regular file")  # a pipe would keep us waiting
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            for at, tensor in enumerate(tensors):
                try:
                    offset, end = _span(tensor, location)
                except UserError as error:
                    errors.append(UserError(error.message, place=_place(path, [tensor]), hint=error.hint))
                    continue
                if offset > size or end > size:
                    short[at], needed = tensor, max(needed, end)
                    continue
                stream.seek(offset)
                tensor.raw_data = stream.read(end - offset)
                tensor.data_location = onnx.TensorProto.DEFAULT
                del tensor.external_data[:]
    except UserError as error:
        return [UserError(error.message, place=_place(path, tensors), hint=error.hint)]
    except OSError as error:
        what = f"the data file {location!r} cannot be read: {reason(error)}"
        near = near_file(path.parent / location)
        hint = "keep the model's data files beside it" + (
            f", under their names: {near!r} lies there" if near else ""
        )
        return [UserError(what, place=_place(path, tensors), hint=hint)]
    if short:
        what = f"the data file {location!r} is truncated: {needed} bytes are needed, it has {size}"
        hint = "copy the model again, together with its data files"
        errors.append(UserError(what, place=_place(path, list(short.values())), hint=hint))
    return errors


def _place(path: Path, tensors: Sequence[onnx.TensorProto]) -> str:
    """`m.onnx: initializers 'a', 'b', 'c' and 37 more`."""
    names = ", ".join(repr(tensor.name) for tensor in tensors[:MOST_NAMES])
    more = f" and {len(tensors) - MOST_NAMES} more" if len(tensors) > MOST_NAMES else ""
    return f"{path}: initializer{'s' if len(tensors) > 1 else ''} {names}{more}"


def _span(tensor: onnx.TensorProto, location: str) -> tuple[int, int]:
    """Where its bytes lie in its file.  Raises UserError for a place that is none."""
    entries = _entries(tensor)
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else None
    except ValueError:
        raise UserError(f"its place in {location!r} is no number: {entries}", hint=AGAIN) from None
    if offset < 0 or (length is not None and length < 0):
        raise UserError(f"its place in {location!r} is negative", hint=AGAIN)
    needed = _size(tensor)
    if length is not None and length != needed:
        raise UserError(
            f"it has {length} bytes in {location!r}, its shape {list(tensor.dims)} needs {needed}",
            hint=AGAIN,
        )
    return offset, offset + needed


def _size(tensor: onnx.TensorProto) -> int:
    """Bytes of its values.  Raises UserError for a type or a shape that has none."""
    kind = tensor.data_type
    if kind not in onnx.TensorProto.DataType.values() or kind == onnx.TensorProto.UNDEFINED:
        raise UserError(f"its values are of type {kind}, which ONNX does not have", hint=AGAIN)
    name = onnx.TensorProto.DataType.Name(kind)
    width = BITS.get(name) or 8 * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
    if tensor.data_type == onnx.TensorProto.STRING or any(d < 0 for d in tensor.dims):
        raise UserError("strings, and shapes with negative sizes, have no external data", hint=AGAIN)
    return int(-(-math.prod(tensor.dims) * width // 8))


def _inside(folder: Path, location: str) -> Path:
    """`location` below `folder`.  Raises UserError if it leaves the folder, by a link as well."""
    if "\0" in location:
        raise UserError(f"the data file {location!r} can have no such name", hint=AGAIN)
    parts = PurePosixPath(location)
    leaves = parts.is_absolute() or PureWindowsPath(location).is_absolute() or ".." in parts.parts
    file = folder / location
    try:
        leaves = leaves or not file.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # links that lead to themselves
        raise UserError(f"the data file {location!r} cannot be found: {error}", hint=AGAIN) from error
    if not location or leaves:
        raise UserError(
            f"the data file {location!r} lies outside the model's folder",
            hint="external data must lie beside the model",
        )
    return file


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor with values, those of nodes and of subgraphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for inner in subgraphs(node):
            yield from _tensors(inner)
