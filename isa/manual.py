# ruff: noqa: E501  (prose: a paragraph is one line)
"""docs/ISA.md, made from the tables: `python -m isa.manual` writes it, `--check` compares it.

Words, operands, attributes, units, events, directives and target fields come from the tables
that parser, verifier and engines use; only the prose around them stands here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from isa.declarations import DIRECTIVES
from isa.document import keep_document
from isa.instructions import EVENTS, INSTRUCTIONS, Kind, Spec, Unit
from isa.parser import MAX_CHARACTERS, MAX_LOOPS
from isa.program import VERSION
from isa.targets import FIELDS, load_target_file, target_names
from isa.verifier.signature import MAX_REGISTER, usage

MANUAL = Path(__file__).resolve().parents[1] / "docs" / "ISA.md"

INTRODUCTION = f"""\
# RED assembly, version {VERSION}

<!-- Made by `python -m isa.manual` from the tables in isa/. Change those, not this file. -->

A program says what a ReRAM crossbar machine does, to the last bit and the last clock cycle, for one network. The compiler writes such programs, `redc run` executes them, and a person can read and write them: [assembly.md](assembly.md) is a tutorial, `tests/golden` has programs worked out by hand.

A program is a text (`.red`, UTF-8) and, where its arrays are not small, one data file. Everything a run needs stands in these two.

## The text

One statement a line. `;` starts a comment. Blank lines and indentation are free; `redc fmt` sets both. A line is a *directive*, which starts with a dot, or an *instruction*: a word, then operands separated by commas, then attributes `key=value`. Two words are neither: `loop` and `end`.

    loop q0, 0, 4                ; the body runs for q0 = 0, 1, 2, 3
      load v0, %x[q0]
    end

Loops may stand inside one another, {MAX_LOOPS} deep, and run over any integers. There is no other control: which instruction runs when never depends on data.

Kinds of operand differ at their first character:

| operand | written | meaning |
| --- | --- | --- |
| register | `v0` to `v{MAX_REGISTER}` | a vector of 64-bit integers; its length is that of the value written last |
| address | `%x[n, q0 + 1, 2*q1 - 3]` | the vector at these coordinates of buffer `%x`: one expression for each axis but the last |
| open address | `%x?[n, q0 - 1]` | the same, where the coordinates may lie outside of the buffer |
| divided address | `%x?[n, (o0 + 1)/2]` | the same, where the quotient may be no integer |
| part of a vector | `%x[n, q0, 16:48]` | of the vector at `[n, q0]` the values 16 to 47 alone |
| buffer | `%x` | the whole buffer |
| row band | `@k[1, 3].2` | the third row band of sub-crossbar (1, 3) of group `@k`; `.0` is not written |
| column band | `@k[1, 3].2` | the third column band, where products are read |
| group | `@k` | all sub-crossbars of `@k` |
| constant | `"ct1.bias"` | an array: a `.const` of the program, or one of the data file |

An expression is a sum of loop variables, each times a number, and a number. A string has the escapes `\\"`, `\\\\`, `\\n`, `\\t` and `\\uXXXX`. Integers take 64 bits. A text has at most {MAX_CHARACTERS >> 20} Mi characters.

**Outside and between.** An open address whose coordinates lie outside of the buffer on any axis is *outside*. If it is not, but some quotient is no integer, it lies *between* two pixels: that is an inserted zero, as a zero-padding deconvolution has them. Reading at either gives zeros, writing to either does nothing; a drive from outside is *gated* and counts as `gated_drives`, a drive from between as `inserted_zeros`.

## What lies where

**Buffers** hold integer codes, channels last: the last axis is a vector, read or written as one. A real value is `scale * (code - zero)`. Instructions see `code - zero` where they read and write codes where they store, so outside is 0 and nothing needs to know the zero point but `quant`. A buffer without a scale holds accumulators. A *raw* buffer holds an ONNX tensor of any numeric type as it is, for the host alone.

**Crossbars.** A group is a number of equal sub-crossbars that fire together. Each is a matrix of row bands times column bands; a row band is driven by one vector, a column band gives one vector of products. How the matrix is cut into arrays of the machine follows from the target; see [timing.md](timing.md) and `isa/geometry.py`.

**The outside world.** At the entrance a float x becomes the code `clip(rint(float32(x) / float32(scale)) + zero)`; at the exit a code becomes `float32(code - zero) * float32(scale)`. Where the ONNX tensor is one of integers (`onnx "x" u8[...]`), its values are the codes themselves: saturated at the entrance, as they are at the exit. `axis` says which axis of the ONNX tensor lies last in the buffer.
"""

RULES = """\
## Rules

`redc check` proves all of these without running anything, and reports every one that is broken with its place. A program that passes never fails in an engine.

**Blocks.** A block is the body of a layer or of a loop.

* A register can be read in the block that wrote it and in the loops inside that block, after it was written. What a loop writes is gone when its iteration ends: neither the next iteration nor the code behind the loop may read it.
* So with products: they last from their `fire` to the next `fire` of the group or to the end of the block. A `sum` reads only sub-crossbars that were driven for that fire.
* Drives are used up by a `fire` of their group in the same block, with no loop between. A drive that no fire uses, a fire without drives, and a band driven twice are errors.
* The variable of a loop differs from those of the loops around it. A loop runs at least once, and no instruction more than 2^53 times.
* Instructions on whole buffers stand outside of loops; so does `host`.

**Memory.**

* Inputs, and buffers that hold a constant, are not written. The constant is integers of the buffer's shape that fit its type. What is read was written before, in the order of the text. Every output is written. What was never written holds the zero of its buffer.
* `accum` goes to a buffer without a scale, after a `clear`.
* Only `host` touches raw buffers; the other buffers that it touches have a scale and a tensor. Its part is a vector of u8, and it writes something.
* An address has one expression for each axis but the last, and perhaps a part behind them that is not empty and inside the vector. Without `?` it stays inside for every iteration and has no divisor.

**Values.**

* Lengths fit: of a drive the rows of the crossbar; of terms each other; of what is stored the vector of its buffer, or the part that the address names; constants are vectors of the same length or of length 1.
* Values fit, for every input: what is driven the input type of the crossbar, what is stored the type of the buffer, every sum 64 bits, every accumulator its type, every index its table. Products are bounded by the weights themselves, column by column; accumulators by how often an address can come up.
* Scales are finite and not negative.

**Matrices.**

* Groups divide rows and columns. The weights have the shape and fit the type of their crossbar; on differential pairs a signed type loses its lowest value.
* A weight fits a row of an array; no array is used twice; all arrays exist.
* The data file has the digest that the program names, if it names one.

**Names.**

* No two layers have one name. Names of layers, nodes and tensors hold no zero byte.
"""

EXAMPLES: dict[str, str] = {
    "drive": "drive @k[1, 1].2, %x?[n, q0 + 1, (q1 - 3)/2]",
    "fire": "fire @k",
    "sum": 'sum v0, @k[1, 1], @k[1, 3], "bias", v3',
    "mul": 'mul v0, v0, "factors"',
    "div": "div v0, v1, v2, fraction=12",
    "max": 'max v0, v1, v2, "least"',
    "min": 'min v0, v1, "most"',
    "quant": 'quant v0, v0, "scale", zero=10, low=0, high=255, slope=0.1',
    "lookup": 'lookup v0, v0, "tanh", low=-512, shift=2, fraction=3',
    "load": "load v0, %x?[n, q0 - 1]",
    "store": "store %y?[n, 2*q0 + 1], v0",
    "accum": "accum %acc?[n, 2*i0 - 1], v0",
    "clear": "clear %acc",
    "reshape": "reshape %flat, %x",
    "host": 'host "softmax.onnx", %x, %y, inputs=1',
}
"""One line for each instruction of the table."""

_UNIT_WORDS = {
    Unit.DRIVER: "one for each row band; all latch in one cycle",
    Unit.ARRAY: "one for each sub-crossbar; planes x columns per ADC cycles, twice that for separate pairs",
    Unit.ADDER: "`adders` additions a cycle",
    Unit.VECTOR: "`vector` values a cycle",
    Unit.READ: "`read` bits a cycle",
    Unit.WRITE: "`write` bits a cycle",
    Unit.HOST: "none: it is outside of the clock",
}


def manual() -> str:
    """The text of docs/ISA.md."""
    return "\n".join(_parts()).rstrip() + "\n"


def _parts() -> Iterator[str]:
    yield INTRODUCTION
    yield "## Directives\n"
    yield "`.isa` comes first; the others stand before the first `.layer`, in any order.\n"
    seen: set[str] = set()
    for spec in DIRECTIVES.values():
        words = [s.word for s in DIRECTIVES.values() if s.read is spec.read]
        if words[0] in seen:
            continue
        seen.add(words[0])
        yield f"### {', '.join(f'`{w}`' for w in words)}\n"
        yield f"    {' | '.join(words)} {spec.syntax}\n"
        yield _prose(spec.doc) + "\n"
        yield f"    {spec.example}\n"
    yield from _targets()
    yield "## Instructions\n"
    yield "| instruction | operands and attributes | unit |\n| --- | --- | --- |"
    for row in INSTRUCTIONS.values():
        yield f"| [`{row.mnemonic}`](#{row.mnemonic}) | `{usage(row).partition(' ')[2]}` | {row.unit.value} |"
    yield "\nAttributes in brackets may be left out; the value is their default.\n"
    for row in INSTRUCTIONS.values():
        yield from _instruction(row)
    yield RULES
    yield from _counts()


def _targets() -> Iterator[str]:
    yield "### Targets\n"
    yield "| field | values | meaning |\n| --- | --- | --- |"
    for key, field in FIELDS.items():
        values = ", ".join(field.choices) or f"1 to {_power(field.high)}" + (
            " or any" if field.may_be_any else ""
        )
        yield f"| `{key}` | {values} | {field.doc} |"
    yield "\n`any` is no limit. Targets that come with redc, one file each in `isa/targets`, with the source of every number:\n"
    for name in target_names():
        yield f"* `{name}`: {load_target_file(name).description}."
    yield ""


def _power(value: int) -> str:
    return f"2^{value.bit_length() - 1}" if value > 1 << 20 else str(value)


def _instruction(spec: Spec) -> Iterator[str]:
    yield f"### {spec.mnemonic}\n"
    yield f"    {EXAMPLES[spec.mnemonic]}\n"
    yield _prose(spec.doc) + "\n"
    yield "| operand | is |\n| --- | --- |"
    for param in spec.params:
        more = ", one or more" if param.repeated else ""
        yield f"| {param.name} | {_KIND_WORDS.get(param.kind, param.kind.value)}{more} |"
    if spec.attributes:
        yield "\n| attribute | type | default | range |\n| --- | --- | --- | --- |"
        for a in spec.attributes:
            default = "must be given" if a.default is None else str(a.default)
            kind = "integer" if a.type == "int" else "float"
            yield f"| `{a.name}` | {kind} | {default} | {_range(a.low, a.high)} |"
    counted = _events(spec)
    yield f"\nUnit: {spec.unit.value}. Counts: {', '.join(f'`{e}`' for e in counted) or 'nothing'}.\n"


_KIND_WORDS = {Kind.RESULT: "register, written", Kind.VALUE: "register, read"}


def _range(low: float, high: float) -> str:
    if low == float("-inf"):
        return "64 bits"
    return f"{_bound(low)} to {_bound(high)}"


def _bound(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e12 else f"{value:g}"


def _events(spec: Spec) -> list[str]:
    """The events that one execution counts, with those that a drive may count in their place."""
    from isa.instructions import Sizes

    found = set(spec.events(Sizes(length=2, bits=8, from_bits=8, terms=2)))
    if "drives" in found:
        found |= {"gated_drives", "inserted_zeros"}
    return [name for name in EVENTS if name in found]


def _counts() -> Iterator[str]:
    yield "## Units and events\n"
    yield "Units work at the same time; [timing.md](timing.md) says how cycles follow.\n"
    yield "| unit | how many |\n| --- | --- |"
    for unit, words in _UNIT_WORDS.items():
        yield f"| {unit.value} | {words} |"
    yield "\nEvents are counted for each layer and in total. None depends on data.\n"
    yield "| event | what is counted |\n| --- | --- |"
    for name, words in EVENTS.items():
        yield f"| `{name}` | {words} |"


def _prose(doc: str) -> str:
    """A docstring as Markdown: paragraphs on one line each."""
    paragraphs = re.split(r"\n\s*\n", doc)
    return "\n\n".join(" ".join(line.strip() for line in p.split("\n")) for p in paragraphs)


def main(arguments: list[str] | None = None) -> int:
    """Write docs/ISA.md, or say whether it is current (exit status 1 if not)."""
    return keep_document(
        MANUAL, manual, arguments, program="python -m isa.manual", again="python -m isa.manual"
    )


if __name__ == "__main__":
    sys.exit(main())
