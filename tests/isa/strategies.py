"""Random programs that are right in form and, mostly, nonsense: for parser and printer."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from isa.analysis import operand_kinds
from isa.instructions import INSTRUCTIONS, Kind
from isa.program import (
    CODED_TYPES,
    RAW_TYPES,
    Address,
    Affine,
    Buffer,
    BufferRef,
    Constant,
    ConstRef,
    Crossbar,
    Instruction,
    IntType,
    Layer,
    Loop,
    Matrix,
    Program,
    Register,
    Target,
    raw_buffer,
)
from isa.targets import FIELDS

identifiers = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
variables = identifiers.filter(lambda n: not (n[0] == "v" and n[1:].isdigit()))
strings = st.one_of(identifiers, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
small = st.integers(0, 1 << 40)
int64 = st.integers(-(1 << 63), (1 << 63) - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
shapes = st.lists(small, min_size=1, max_size=4).map(tuple)
int_types = st.builds(IntType, st.booleans(), st.integers(1, 64))
digests = st.text("0123456789abcdef", min_size=64, max_size=64)

affines = st.builds(
    Affine.of,
    st.dictionaries(variables, st.integers(-(1 << 62), 1 << 62), max_size=3),
    st.integers(-(1 << 62), 1 << 62),
    st.one_of(st.just(1), st.integers(1, 1 << 62)),
)
registers = st.builds(Register, small)
matrices = st.builds(Matrix, identifiers, st.lists(small, max_size=3).map(tuple), small)
parts = st.none() | st.tuples(small, small)
addresses = st.builds(Address, identifiers, st.lists(affines, max_size=4).map(tuple), st.booleans(), parts)
whole_buffers = st.builds(BufferRef, identifiers)
constants_named = st.builds(ConstRef, strings)

OPERANDS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.RESULT: registers,
    Kind.VALUE: registers,
    Kind.TERM: st.one_of(registers, matrices, constants_named),
    Kind.ROW_BAND: matrices,
    Kind.GROUP: matrices,
    Kind.READ: addresses,
    Kind.WRITE: addresses,
    Kind.SOURCE: whole_buffers,
    Kind.TARGET: whole_buffers,
    Kind.EITHER: st.one_of(registers, constants_named),
    Kind.INTEGERS: constants_named,
    Kind.FLOATS: constants_named,
    Kind.PART: constants_named,
    Kind.PORT: whole_buffers,
}


@st.composite
def instructions(draw: st.DrawFn, mnemonic: str | None = None) -> Instruction:
    """An instruction of the table, with operands of the right kinds."""
    spec = INSTRUCTIONS[mnemonic or draw(st.sampled_from(sorted(INSTRUCTIONS)))]
    extra = draw(st.integers(0, 3)) if spec.params[-1].repeated else 0
    kinds = operand_kinds(spec, len(spec.params) + extra)
    operands = tuple(draw(OPERANDS[kind]) for kind in kinds)
    attributes = {}
    for attribute in spec.attributes:
        value = draw(floats if attribute.type == "float" else int64)
        if value != attribute.default and (attribute.default is None or draw(st.booleans())):
            attributes[attribute.name] = value
    return Instruction(spec.mnemonic, operands, tuple(sorted(attributes.items())))


bodies: st.SearchStrategy[Any] = st.recursive(
    st.lists(instructions(), max_size=3).map(tuple),
    lambda inner: st.lists(
        st.one_of(instructions(), st.builds(Loop, variables, int64, int64, inner)), max_size=3
    ).map(tuple),
    max_leaves=4,
)

layers = st.builds(
    Layer,
    strings,
    bodies,
    st.none() | strings,
    st.none() | strings,
    st.lists(strings, max_size=2).map(tuple),
    st.none() | strings,
)


@st.composite
def targets(draw: st.DrawFn) -> Target:
    fields: dict[str, Any] = {}
    for key, field in FIELDS.items():
        if field.choices:
            fields[key] = draw(st.sampled_from(field.choices))
        else:
            number = st.integers(1, field.high)
            fields[key] = draw(st.none() | number if field.may_be_any else number)
    return Target(draw(strings), digest=draw(st.none() | digests), **fields)


@st.composite
def buffers(draw: st.DrawFn, name: str) -> Buffer:
    kind: Any = draw(st.sampled_from(["input", "output", "buffer"]))
    if draw(st.booleans()):
        element = draw(st.sampled_from(sorted(RAW_TYPES)))
        return raw_buffer(name, kind, draw(shapes | st.just(())), draw(strings), element, draw(shapes))
    scale = draw(st.none() | floats)
    onnx = draw(st.none() | st.tuples(strings, shapes, small))
    tensor, onnx_shape, axis = onnx or (None, (), 0)
    held = draw(st.none() | strings)
    return Buffer(
        name,
        kind,
        draw(int_types),
        draw(shapes),
        scale,
        draw(int64),
        tensor,
        draw(st.sampled_from(sorted(CODED_TYPES))) if onnx else "f32",
        onnx_shape,
        axis,
        holds=held,
    )


@st.composite
def constants(draw: st.DrawFn, name: str) -> Constant:
    floating = draw(st.booleans())
    values = draw(st.lists(floats if floating else int64, min_size=1, max_size=5))
    return Constant(name, "f32" if floating else str(draw(int_types)), draw(shapes), tuple(values))


@st.composite
def crossbars(draw: st.DrawFn, name: str) -> Crossbar:
    index = draw(st.lists(small, max_size=3).map(tuple))
    bands, rows, columns_bands, columns, groups = (draw(small) for _ in range(5))
    types = draw(int_types), draw(int_types)
    return Crossbar(
        name, index, bands, rows, columns_bands, columns, groups, *types, draw(strings), draw(small),
        blank=tuple(draw(st.lists(st.lists(small, min_size=1, max_size=4).map(tuple), max_size=3))),
    )  # fmt: skip


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program that can be written; no rule but the grammar's holds."""
    data_file = draw(st.none() | strings)
    return Program(
        target=draw(targets()),
        buffers={n: draw(buffers(n)) for n in draw(st.lists(identifiers, max_size=3, unique=True))},
        crossbars={n: draw(crossbars(n)) for n in draw(st.lists(identifiers, max_size=2, unique=True))},
        constants={n: draw(constants(n)) for n in draw(st.lists(strings, max_size=2, unique=True))},
        layers=tuple(draw(st.lists(layers, max_size=2))),
        data_file=data_file,
        data_digest=draw(st.none() | digests) if data_file is not None else None,
    )
