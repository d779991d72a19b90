"""The directive table: how `.target`, `.buffer`, `.xbar` ... become dataclasses, and back.

A declaration is a function under `@directive`: its docstring is the manual's text, `syntax` and
`example` too; it reads the items of one line through a `Cursor`.  `write` prints what it read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from isa.cursor import Cursor
from isa.diagnostics import did_you_mean
from isa.directives import (
    DIRECTIVES,
    DataFile,
    Declaration,
    Version,
    directive,
    directive_word,
    read_directive,
)
from isa.literals import number_text, quote, shape_text
from isa.program import CODED_TYPES, RAW_TYPES, Buffer, Constant, Crossbar, Layer, Target, raw_buffer

__all__ = ["DIRECTIVES", "DataFile", "Declaration", "Version", "directive_word", "read_directive"]

# ---------------------------------------------------------------- printing


def _any(value: int | None) -> str:
    return "any" if value is None else str(value)


def _write_target(t: Target) -> str:
    from isa.targets import FIELDS

    words = [quote(t.name)]
    if t.digest is not None:
        words.append(f"sha256:{t.digest}")
    for key in FIELDS:
        value = getattr(t, key)
        text = value if isinstance(value, str) else _any(value)
        if FIELDS[key].default is None or text != str(FIELDS[key].default):
            words += [key, text]
    return " ".join(words)


def _write_data(d: DataFile) -> str:
    return quote(d.name) + (f" sha256:{d.digest}" if d.digest is not None else "")


def _write_buffer(b: Buffer) -> str:
    text = f"%{b.name} {'raw' if b.raw else b.type}{shape_text(b.shape)}"
    if b.scale is not None:
        text += f" scale {number_text(float(b.scale))}"
    if b.steps is not None:
        text += f" steps {quote(b.steps)}"
    if b.scale is not None or b.zero:
        text += f" zero {b.zero}"
    if b.holds is not None:
        text += f" holds {quote(b.holds)}"
    if b.tensor is not None:
        text += f" onnx {quote(b.tensor)} {b.onnx_type}{shape_text(b.onnx_shape)}"
        text += "" if b.raw else f" axis {b.axis}"
    return text


def _write_constant(c: Constant) -> str:
    return f"{quote(c.name)} {c.type}{shape_text(c.shape)} = {', '.join(map(number_text, c.values))}"


def _bands(bands: int, size: int) -> str:
    return str(size) if bands == 1 else f"{bands}*{size}"


def _write_crossbar(x: Crossbar) -> str:
    index = shape_text(x.index_shape) if x.index_shape else ""
    groups = f" groups {x.groups}" if x.groups != 1 else ""
    blank = f" blank {', '.join(map(shape_text, x.blank))}" if x.blank else ""
    return (
        f"@{x.name}{index} {_bands(x.row_bands, x.rows)} x {_bands(x.column_bands, x.columns)}{groups} "
        f"{x.weight_type} in {x.input_type} data {quote(x.data)} place {x.place}{blank}"
    )


def _write_layer(layer: Layer) -> str:
    text = quote(layer.name)
    for key in ("op", "mapping"):
        value = getattr(layer, key)
        text += f" {key} {quote(value)}" if value is not None else ""
    if layer.nodes:
        text += f" nodes {', '.join(map(quote, layer.nodes))}"
    for key in ("tensor", "correction"):
        value = getattr(layer, key)
        text += f" {key} {quote(value)}" if value is not None else ""
    return text


# ---------------------------------------------------------------- the table


@directive(".isa", syntax="version", example=".isa 1", write=lambda v: str(v.number), once=True)
def read_version(c: Cursor) -> Version:
    """The version of this language. It is the first line of every program."""
    return Version(c.integer("a version"))


@directive(
    ".target",
    syntax='"name" [sha256:digest] [field value ...]',
    example='.target "red-65nm" adc 6',
    write=_write_target,
    once=True,
)
def read_target(c: Cursor) -> Target:
    """The machine: its functional fields and the widths of its units (see Targets).

    A field that is left out comes from the target of that name; the fields in the program rule
    over the file. The digest is of the fields of the target it was compiled for and decides nothing.
    """
    from isa.targets import FIELDS, known_target, target_names

    name, digest = c.string("the name of a target"), c.digest()

    def reader(key: str) -> Callable[[], int | str | None]:
        def read() -> int | str | None:
            place = c.place()
            if c.peek("NAME"):
                value: int | str = c.take("NAME", "a value").text
            else:
                value = c.integer("a value")
            problem = FIELDS[key].problem(value)
            if problem:
                c.fail(problem, place)
            return None if value == "any" else value

        return read

    found = c.fields({key: reader(key) for key in FIELDS})
    missing = [key for key, field in FIELDS.items() if key not in found and field.default is None]
    known = known_target(name) if missing else None
    if known is not None:
        return replace(known, digest=digest or known.digest, span=c.span, **found)
    if missing:
        hint = did_you_mean(name, target_names()) or f"known targets: {', '.join(target_names())}"
        c.fail(f"no target is named {name!r}, and {', '.join(missing)} missing", None, hint)
    return Target(name, digest=digest, span=c.span, **found)


@directive(
    ".data",
    syntax='"file" [sha256:digest]',
    example='.data "first.safetensors"',
    write=_write_data,
    once=True,
)
def read_data(c: Cursor) -> DataFile:
    """The file with the program's arrays, in the safetensors format, beside the program or in a
    folder below. With a digest, another file's bytes are an error. A program whose constants all
    stand inline needs none."""
    return DataFile(c.string("the name of a file"), c.digest(), c.span)


@directive(
    ".input",
    ".buffer",
    ".output",
    syntax='%name type[shape] [scale number] [steps "constant"] [zero code] '
    '[holds "constant"] [onnx "tensor" type[shape] [axis number]]',
    example='.buffer %b1 u8[8, 4, 4, 512] scale 0.01 zero 0 onnx "relu0" f32[8, 512, 4, 4] axis 1',
    write=_write_buffer,
)
def read_buffer(c: Cursor) -> Buffer:
    """A buffer of integer codes. The last axis is a vector: an address names the others, and all
    its values are read or written together.

    A real value is scale * (code - zero). A buffer without a scale holds accumulators. `onnx`
    names the tensor that lies in the buffer, its shape, and the axis of it that was moved to the
    end; inputs and outputs must have it, and so must buffers that a `host` touches.

    `steps` names an integer constant with one positive number for each value of the vector: there
    a real value is scale * steps[c] * (code - zero). Only a `.buffer` that no `host` or `reshape`
    touches may have it. It decides nothing: instructions see codes.

    `holds` names an integer constant of the buffer's shape: its codes are there from the start, and
    nothing writes them. Only a `.buffer` with a scale may have it:
    `.buffer %k i4[4, 2] scale 0.5 zero 1 holds "k"`.

    The ONNX tensor is of f16, f32 or f64, which codes stand for in float32 (a door rounds), or of a
    type of integers (i8 to i64, u8 to u64) that holds every code: its values are then the codes
    themselves. A scalar, `f32[]`, has no axis; it lies in a buffer of one value: `i16[1] ... onnx "s"
    f32[] axis 0`.

    `raw` in place of the type: the buffer holds the tensor as it is, in its own type (f16, f32,
    f64, i8 to i64, u8 to u64, bool) and shape, without scale, zero and axis; only `host` may
    touch it: `.buffer %h raw[2, 3] onnx "h" i64[2, 3]`.
    """
    kind: Literal["input", "output", "buffer"] = (
        "input" if c.word == ".input" else "output" if c.word == ".output" else "buffer"
    )
    name = c.buffer()
    raw = c.skip("NAME", "raw")
    type_ = None if raw else c.type()
    shape = c.shape("a shape")

    def onnx() -> tuple[str, str, tuple[int, ...], int]:
        tensor = c.string("the name of a tensor")
        if raw:
            element = c.take("NAME", "the type of a tensor such as i64").text
            if element not in RAW_TYPES:
                c.fail(f"{element[:40]} is no type of a tensor", None, f"types are {', '.join(RAW_TYPES)}")
            return tensor, element, c.shape("a shape"), 0
        element = c.take("NAME", "a type of floats such as `f32`, or of integers such as u8").text
        if element not in CODED_TYPES:
            c.fail(f"{element[:40]} is no type of codes", None, f"types are {', '.join(CODED_TYPES)}")
        dimensions = c.shape("a shape")
        c.word_is("axis")
        return tensor, element, dimensions, c.integer("an axis")

    def scale() -> float:
        return float(c.number("a scale"))

    if type_ is None:
        fields = c.fields({"onnx": onnx}, required=("onnx",))
        tensor, onnx_type, onnx_shape, _ = fields["onnx"]
        return raw_buffer(name, kind, shape, tensor, onnx_type, onnx_shape, c.span)
    found = c.fields(
        {
            "scale": scale,
            "steps": lambda: c.string("a constant"),
            "zero": lambda: c.integer("a code"),
            "holds": lambda: c.string("a constant"),
            "onnx": onnx,
        }
    )
    tensor, onnx_type, onnx_shape, axis = found.get("onnx", (None, "f32", (), 0))
    return Buffer(
        name, kind, type_, shape, found.get("scale"), found.get("zero", 0),
        tensor, onnx_type, onnx_shape, axis, span=c.span, steps=found.get("steps"), holds=found.get("holds"),
    )  # fmt: skip


@directive(
    ".const",
    syntax='"name" type[shape] = number, number, ...',
    example='.const "w" i8[1, 2] = 1, -2',
    write=_write_constant,
)
def read_constant(c: Cursor) -> Constant:
    """A small array, written out in row-major order. The type is an integer type or f32."""
    name = c.string("the name of a constant")
    type_ = "f32" if c.skip("NAME", "f32") else str(c.type())
    shape = c.shape("a shape")
    if not c.skip("EQUAL"):
        c.expected("`=`")
    values = []
    while True:
        place = c.place()
        value = c.number("a number")
        if type_ == "f32":
            value = float(value)
        elif isinstance(value, float):
            c.fail(f"a constant of {type_} holds integers", place)
        values.append(value)
        if not c.skip("COMMA"):
            return Constant(name, type_, shape, tuple(values), c.span)


@directive(
    ".xbar",
    syntax='@name[shape] [bands*]rows x [bands*]columns [groups G] type in type data "constant" place array '
    "[blank [index..., row band, column band], ...]",
    example='.xbar @ct1[4, 4] 512 x 256 i8 in u8 data "ct1.weight" place 0',
    write=_write_crossbar,
)
def read_crossbar(c: Cursor) -> Crossbar:
    """A group of equal sub-crossbars, one per index of the shape, that fire together.

    Each has `bands*rows` word lines and `bands*columns` bit lines. With G groups it is
    block-diagonal: rows of group g meet only columns of group g, in every band. The types are
    those of a weight and of a driven value; the bits of the latter are the planes of a fire.
    The weights are a constant of shape [shape..., bands*rows, bands*columns/G]. `place` is the
    first array; sub-crossbars follow in row-major order, in each its row tiles, in each of
    those its column tiles.

    `blank` names the places of a row band and a column band where no weight sits: those weights
    are zero, a tile of blanks alone takes no array, and a column is not converted where it is
    blank.
    """
    name, shape = c.crossbar()

    def size() -> tuple[int, int]:
        first = c.integer("a size")
        return (first, c.integer("a size")) if c.skip("STAR") else (1, first)

    row_bands, rows = size()
    c.word_is("x")
    column_bands, columns = size()
    groups = c.integer("a number of groups") if c.skip("NAME", "groups") else 1
    weight_type = c.type()
    found = c.fields(
        {
            "in": c.type,
            "data": lambda: c.string("a constant"),
            "place": lambda: c.integer("an array"),
            "blank": lambda: c.shapes("a place such as [0, 1]"),
        },
        required=("in", "data", "place"),
    )
    return Crossbar(
        name, shape, row_bands, rows, column_bands, columns, groups,
        weight_type, found["in"], found["data"], found["place"], c.span, found.get("blank", ()),
    )  # fmt: skip


@directive(
    ".layer",
    syntax='"name" [op "operator"] [mapping "name"] [nodes "node", ...] [tensor "name"] '
    '[correction "constant"]',
    example='.layer "ct1" op "ConvTranspose" mapping "pixel-wise" nodes "ct1", "bn1" tensor "bn1"',
    write=_write_layer,
)
def read_layer(c: Cursor) -> Layer:
    """The code of one layer follows, up to the next `.layer`. The fields say where it comes from:
    its ONNX operator, the nodes it computes, the tensor it produces, how it was mapped, and the
    integers, one per channel, that its bias contains beside the nodes' own; they decide nothing."""
    name = c.string("the name of a layer")
    found = c.fields(
        {
            "op": lambda: c.string("an operator"),
            "mapping": lambda: c.string("a mapping"),
            "nodes": lambda: c.strings("a node"),
            "tensor": lambda: c.string("a tensor"),
            "correction": lambda: c.string("a constant"),
        }
    )
    return Layer(name, (), span=c.span, **found)
