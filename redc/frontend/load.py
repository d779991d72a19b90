"""From what the user named to a ModelProto with all its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # it ships no types
from onnx import inliner, version_converter

from isa.diagnostics import reason
from isa.paths import near_file, reading_hint
from redc.errors import UserError, did_you_mean
from redc.frontend.contrib import expanded
from redc.frontend.external import read_external
from redc.frontend.floats import in_float32
from redc.frontend.narrowed import with_real_clips
from redc.frontend.nodes import DEFAULT_DOMAINS, OLDEST_OPSET
from redc.shelf import shelf

LARGEST = (1 << 31) - 1
"""Bytes of a protobuf message."""

Resolve = Callable[[str], "onnx.ModelProto | None"]


def load_model(
    source: str | Path | onnx.ModelProto,
    *,
    resolve: Resolve | None = None,
    names: Callable[[], Iterable[str]] | None = None,
) -> onnx.ModelProto:
    """Load a model: a file, a name that `resolve` knows, or a model that is loaded already.

    `resolve` gives the model of a name or None, `names` every name; without them the package
    `models` is asked, where it is installed.  External data is read in, the model's own functions
    are inlined, other floats are made float32, fused operators of onnxruntime are taken apart.  A model of an
    operator set older than 7 is raised to 7 by onnx's own converter.  Raises UserError.
    """
    if isinstance(source, onnx.ModelProto):
        return _prepared(source, source.graph.name or "model")
    if not isinstance(source, str | Path):
        what = f"a model is a path, a name or a ModelProto, not a {type(source).__name__}"
        raise UserError(what, place="model")
    if not str(source):
        raise UserError("the model's name is empty", hint="give a file or the name of a model")
    path = Path(source)
    kind = _kind(path)
    if kind == "file":
        return _prepared(_load_file(path), str(path))
    if isinstance(source, str):
        models = shelf() if resolve is None and names is None else None
        if models is not None:
            resolve, names = _of_shelf(models), models.names
        model = resolve(source) if resolve else None
        if model is not None:
            return model
    if kind == "folder":
        hint = reading_hint(path, ".onnx")
        raise UserError("it is a directory, not an ONNX file", place=str(source), hint=hint)
    known = tuple(names()) if names else ()
    hint = _meant(path, known)
    raise UserError("there is no such file, nor a model of that name", place=str(source), hint=hint)


def _meant(path: Path, known: Sequence[str]) -> str:
    """The file or the model that `path`, which is neither, may be a slip of; else what there is."""
    near = near_file(path, ".onnx")
    file, name = f"did you mean {near!r}?" if near else None, did_you_mean(str(path), known)
    if path.suffix or path.parent != Path() or not known:  # it was meant as a file
        return file or name or reading_hint(path, ".onnx")
    return name or file or f"known models: {', '.join(known)}"


def _prepared(model: onnx.ModelProto, title: str) -> onnx.ModelProto:
    return with_real_clips(expanded(in_float32(_inlined(_raised(model), title))))


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` at operator set 7 where its own is older; itself if it is not, or cannot be."""
    if not any(o.domain in DEFAULT_DOMAINS and 0 < o.version < OLDEST_OPSET for o in model.opset_import):
        return model
    try:
        return version_converter.convert_version(model, OLDEST_OPSET)
    except (
        RuntimeError,
        version_converter.ConvertError,
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
    ):
        return model  # the importer says that the operator set is too old


def _inlined(model: onnx.ModelProto, title: str) -> onnx.ModelProto:
    """`model` with the bodies of its own functions in place of their calls; itself if it has none, or
    if ONNX cannot: then the host runs them.  Raises UserError where that would be too many nodes."""
    if not model.functions:
        return model
    count = _expanded(model, title)
    if count > MOST_NODES:
        raise UserError(
            f"its functions make {count} nodes of it, more than {MOST_NODES}",
            place=title,
            hint="functions that call one another twice over double at every step",
        )
    try:
        return inliner.inline_local_functions(model)
    except (RuntimeError, ValueError, EncodeError, onnx.checker.ValidationError):
        # Other operator sets, functions that call themselves, more than 2 GiB.
        return model


MOST_NODES = 1 << 20
"""Functions that make more nodes than this of a model are an error: onnxruntime inlines them too."""


DEEPEST = 256
"""Functions that call one another deeper than this are an error: so deep recurses who inlines them."""


def _expanded(model: onnx.ModelProto, title: str) -> int:
    """About how many nodes the model has once its functions are inlined (subgraphs apart).  Raises
    UserError where they lie too deep."""
    bodies = {(f.domain, f.name): f.node for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[onnx.NodeProto], inside: frozenset[tuple[str, str]]) -> int:
        total = 0
        for node in nodes:
            name = (node.domain, node.op_type)
            if name in inside or name not in bodies:  # one that calls itself is refused elsewhere
                total += 1
                continue
            if len(inside) == DEEPEST:
                message = f"its functions call one another more than {DEEPEST} deep"
                raise UserError(message, place=title, hint="inline them before: onnx.inliner")
            if name not in sizes:
                sizes[name] = size(bodies[name], inside | {name})
            total += sizes[name]
        return total

    return size(model.graph.node, frozenset())


def _of_shelf(models: ModuleType) -> Resolve:
    """`models.load`, None for a name it does not have; a known name misused says so."""

    def resolve(name: str) -> onnx.ModelProto | None:
        try:
            model: onnx.ModelProto = models.load(name)
        except models.UnknownModel as error:
            if error.reason:
                raise UserError(error.reason, place=name, hint="redc models lists what there is") from error
            return None
        return model

    return resolve


def _kind(path: Path) -> Literal["file", "folder", "nothing"]:
    try:
        return "folder" if path.is_dir() else "file" if path.exists() else "nothing"
    except (OSError, ValueError):  # a name too long, or with a zero byte in it
        return "nothing"


NO_MODELS = {
    ".red": ("a program", "redc run or redc check takes it; redc diff takes it with its model, as --program"),
    ".safetensors": ("a program's data file, or weights alone", "give the .onnx file"),
    ".toml": ("a target", "give it as --target, after the model"),
    ".npz": ("a file of arrays", "give it as --input or --calibrate, after the model"),
}
"""Files that people give in place of a model, by the end of their name: what they are, what to do."""


def _load_file(path: Path) -> onnx.ModelProto:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        hint = reading_hint(path, ".onnx")
        raise UserError(f"it cannot be read: {reason(error)}", place=str(path), hint=hint) from error
    if len(content) > LARGEST:
        hint = "save it with its weights in a file beside it (onnx.save_model, save_as_external_data)"
        raise UserError("it is larger than 2 GiB, the limit of the format", place=str(path), hint=hint)
    if not content:
        raise UserError("the file is empty", place=str(path), hint="copy or export it again")
    if path.suffix.lower() in NO_MODELS:
        what, hint = NO_MODELS[path.suffix.lower()]
        raise UserError(f"it is {what}, not an ONNX file", place=str(path), hint=hint)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise UserError(_why_not(content), place=str(path), hint="copy or export it again") from error
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise UserError(_why_not(content), place=str(path), hint="copy or export it again")
    read_external(model, path)
    return model


def _why_not(content: bytes) -> str:
    """Truncated, or no ONNX file at all: walk the fields of the outermost message.

    ModelProto's fields are 1 to 26; a field of bytes (wire type 2) that reaches beyond the end
    was cut off.
    """
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        if key >> 3 not in range(1, 27) or key & 7 not in (0, 2):
            return "it is not an ONNX file"
        value, at = _varint(content, at)
        if key & 7 == 2:
            at += value
            if at > len(content) and key >> 3 == 7:  # the graph
                return f"the file is truncated: it ends {at - len(content)} bytes too early"
    return "it is not an ONNX file, or one without a graph"


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """(value, position after it); bytes beyond the end count as zero."""
    value = shift = 0
    while at < len(content) and shift < 64:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at
