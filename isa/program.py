"""The program as data: what the parser builds, the verifier proves and the runtime executes.

Every class here is a frozen value.  Source spans never take part in comparison, so a program
that was printed and parsed again equals the one it came from.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from isa.operands import Address, Affine, BufferRef, ConstRef, Matrix, Operand, Register
from isa.types import CODED_TYPES, RAW_TYPES, REAL_TYPES, IntType, parse_type, smallest_type

__all__ = [
    "CODED_TYPES",
    "NOWHERE",
    "RAW_TYPES",
    "REAL_TYPES",
    "VERSION",
    "Address",
    "Affine",
    "Array",
    "Buffer",
    "BufferRef",
    "ConstRef",
    "Constant",
    "Crossbar",
    "Instruction",
    "IntType",
    "Layer",
    "Loop",
    "Matrix",
    "Node",
    "Operand",
    "Program",
    "Register",
    "Span",
    "Target",
    "parse_type",
    "raw_buffer",
    "smallest_type",
    "walk",
]

VERSION = 1
"""The one `.isa` version this package reads and writes."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A place in the source text: 1-based line, 1-based first column, exclusive end column."""

    line: int
    column: int
    end: int


NOWHERE = Span(0, 0, 0)
"""The span of a node that a compiler built and no text holds."""


# ---------------------------------------------------------------- code


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: positional operands, then `key=value` attributes sorted by key."""

    mnemonic: str
    operands: tuple[Operand, ...]
    attributes: tuple[tuple[str, int | float], ...] = ()
    span: Span = field(default=NOWHERE, compare=False)
    operand_spans: tuple[Span, ...] = field(default=(), compare=False)

    def attribute(self, key: str, default: int | float) -> int | float:
        return next((value for name, value in self.attributes if name == key), default)


@dataclass(frozen=True, slots=True)
class Loop:
    """`loop variable, first, last ... end`: the body runs for first <= variable < last."""

    variable: str
    first: int
    last: int
    body: tuple[Node, ...]
    span: Span = field(default=NOWHERE, compare=False)

    @property
    def count(self) -> int:
        return max(0, self.last - self.first)


Node = Instruction | Loop


@dataclass(frozen=True, slots=True)
class Layer:
    """`.layer "name" ...`: the code of one layer and where it comes from.

    `nodes` are the ONNX nodes it computes, `tensor` the ONNX tensor it produces; `correction` names
    the constant that its bias contains beside the nodes' own.
    """

    name: str
    body: tuple[Node, ...]
    op: str | None = None
    mapping: str | None = None
    nodes: tuple[str, ...] = ()
    tensor: str | None = None
    span: Span = field(default=NOWHERE, compare=False)
    correction: str | None = None


# ---------------------------------------------------------------- declarations


@dataclass(frozen=True, slots=True)
class Target:
    """The functional fields and clocked widths of the machine a program was compiled for.

    `rows`, `columns` and `arrays` are None where the target sets no limit (`any`).
    A conversion gives whole multiples of `lsb` level steps (docs/fidelity.md).
    `share` is the number of columns one ADC converts in turn.  In a clock cycle `adders` adds and
    the `vector` unit computes so many values; `read` and `write` are the bits that pass the
    buffers' ports, `fetch` those that buffers hand to drivers, None where nothing limits them.
    """

    name: str
    digest: str | None = None
    rows: int | None = None
    columns: int | None = None
    arrays: int | None = None
    cell: int = 2
    encoding: Literal["differential", "offset", "flip"] = "differential"
    pair: Literal["shared", "separate"] = "shared"
    dac: int = 1
    adc: int = 8
    lsb: int = 1
    share: int = 8
    adders: int = 1
    vector: int = 1
    read: int = 8
    write: int = 8
    fetch: int | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Buffer:
    """`.input`, `.output` or `.buffer`: integer codes, channels last.

    `shape` is (…, vector length).  A buffer of activations has a `scale` (real value of one
    step) and a `zero` (the code of 0.0); an accumulator buffer has neither.  `steps` names a
    constant that multiplies the scale, one whole number per channel.  `tensor` is the ONNX tensor
    it holds, `onnx_shape` that tensor's shape, `axis` the ONNX axis that lies last here; `shape`
    equals `onnx_shape` with `axis` moved to the end.  Where `onnx_type` is one of integers, they are
    the codes themselves, else (f16, f32, f64) the real values.

    A buffer that `holds` a constant of its shape has the values from the start; nothing writes it.

    A `raw` buffer holds its tensor as it is, in `onnx_type` and in the order of its own axes,
    for the host alone; its `type` says only how many bits a value has (see `raw_buffer`).
    """

    name: str
    kind: Literal["input", "output", "buffer"]
    type: IntType
    shape: tuple[int, ...]
    scale: float | None = None
    zero: int = 0
    tensor: str | None = None
    onnx_type: str = "f32"
    onnx_shape: tuple[int, ...] = ()
    axis: int = 0
    raw: bool = False
    span: Span = field(default=NOWHERE, compare=False)
    steps: str | None = None
    holds: str | None = None

    @property
    def vector(self) -> int:
        return self.shape[-1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type its values lie in."""
        return np.dtype(RAW_TYPES[self.onnx_type]) if self.raw else self.type.dtype

    @property
    def whole(self) -> bool:
        """Whether its ONNX tensor holds the codes themselves."""
        return not self.raw and self.onnx_type not in REAL_TYPES

    @property
    def drive_type(self) -> IntType:
        """The type that holds `code - zero` for every code."""
        return smallest_type(self.type.low - self.zero, self.type.high - self.zero)


def raw_buffer(
    name: str,
    kind: Literal["input", "output", "buffer"],
    shape: tuple[int, ...],
    tensor: str | None,
    onnx_type: str,
    onnx_shape: tuple[int, ...] | None = None,
    span: Span = NOWHERE,
) -> Buffer:
    """A buffer that holds an ONNX tensor of any numeric type as it is."""
    bits = 8 * np.dtype(RAW_TYPES[onnx_type]).itemsize if onnx_type in RAW_TYPES else 8
    return Buffer(
        name, kind, IntType(False, bits), shape, None, 0, tensor, onnx_type,
        shape if onnx_shape is None else onnx_shape, max(0, len(shape) - 1), True, span,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Crossbar:
    """`.xbar @name[index] RB*rows x CB*columns ...`: a group of equal sub-crossbars.

    Each sub-crossbar is a matrix of `row_bands * rows` word lines by `column_bands * columns`
    bit lines (logical: before slicing and tiling).  With `groups` G it is block-diagonal:
    of each row band, rows [g*rows/G, (g+1)*rows/G) meet only columns
    [g*columns/G, (g+1)*columns/G) of every column band.

    The weights are the constant `data` of shape
    `(*index_shape, row_bands * rows, column_bands * columns // groups)`: row `band * rows + r`,
    column `band * (columns // groups) + c`, where r belongs to group `r // (rows // groups)`
    and c counts inside that group.

    `input_type` is what a drive streams (`code - zero`): its bits give the number of planes.
    `place` is the first physical array; sub-crossbars follow in row-major order of their
    index, each with its row tiles, and in them its column tiles, in order.

    `blank` names places where no weight sits, (*index, row band, column band) each, in order:
    the weights there are zero, and a tile that lies in blanks alone is no array.
    """

    name: str
    index_shape: tuple[int, ...]
    row_bands: int
    rows: int
    column_bands: int
    columns: int
    groups: int
    weight_type: IntType
    input_type: IntType
    data: str
    place: int
    span: Span = field(default=NOWHERE, compare=False)
    blank: tuple[tuple[int, ...], ...] = ()

    def indices(self) -> Iterator[tuple[int, ...]]:
        """The index of every sub-crossbar, in row-major order."""
        return itertools.product(*map(range, self.index_shape))

    def blanks_of(self, index: tuple[int, ...]) -> frozenset[tuple[int, int]]:
        """(row band, column band) of the blanks of one sub-crossbar."""
        if not self.blank:
            return frozenset()
        return frozenset((b[-2], b[-1]) for b in self.blank if b[:-2] == index)

    @property
    def count(self) -> int:
        return math.prod(self.index_shape)

    @property
    def data_shape(self) -> tuple[int, ...]:
        return (
            *self.index_shape,
            self.row_bands * self.rows,
            self.column_bands * self.columns // self.groups,
        )


@dataclass(frozen=True, slots=True)
class Constant:
    """`.const "name" i8[2, 3] = ...`: a small array written in the text.

    `type` is an integer type name or `f32`; `values` are flat, in row-major order.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    values: tuple[int | float, ...]
    span: Span = field(default=NOWHERE, compare=False)

    def array(self) -> Array:
        dtype = np.dtype(np.float32) if self.type == "f32" else parse_type(self.type).dtype
        return np.array(self.values, dtype=dtype).reshape(self.shape)


@dataclass(frozen=True)
class Program:
    """A whole program.  `data` holds the arrays of the data file (not the inline constants)."""

    target: Target
    buffers: Mapping[str, Buffer]
    crossbars: Mapping[str, Crossbar]
    constants: Mapping[str, Constant]
    layers: tuple[Layer, ...]
    data_file: str | None = None
    data_digest: str | None = None
    version: int = VERSION
    data: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)
    source: str | None = field(default=None, compare=False, repr=False)
    path: str | None = field(default=None, compare=False)

    @property
    def inputs(self) -> tuple[Buffer, ...]:
        return tuple(b for b in self.buffers.values() if b.kind == "input")

    @property
    def outputs(self) -> tuple[Buffer, ...]:
        return tuple(b for b in self.buffers.values() if b.kind == "output")

    def constant(self, name: str) -> Array:
        """The array named `name`, inline or from the data file.  Raises KeyError if neither has it."""
        if name in self.constants:
            return self.constants[name].array()
        return self.data[name]


def walk(nodes: tuple[Node, ...]) -> Iterator[Instruction]:
    """Every instruction below `nodes`, in program order, each once."""
    for node in nodes:
        if isinstance(node, Loop):
            yield from walk(node.body)
        else:
            yield node
