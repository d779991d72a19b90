"""From a `Program` to text, in the one canonical form; and `format_text`, which keeps comments.

    parse(to_text(program)) == program
    format_text(to_text(program)) == to_text(program)

Both print a line through the same functions, and no line's form depends on another's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from isa.declarations import DIRECTIVES, DataFile, Declaration, Version, directive_word, read_directive
from isa.diagnostics import Report
from isa.instructions import INSTRUCTIONS
from isa.literals import number_text, quote
from isa.parser import parse, without_defaults
from isa.program import (
    Address,
    Affine,
    Buffer,
    BufferRef,
    Constant,
    ConstRef,
    Crossbar,
    Instruction,
    Loop,
    Matrix,
    Node,
    Operand,
    Program,
    Register,
)
from isa.statements import Directive, LoopEnd, LoopHead, Statement
from isa.syntax import Reading, read_statements

COMMENT_COLUMN = 48
"""Where comments behind code start, if the code leaves room."""

Comments = Mapping[int, str]
"""`id(node)` of an instruction, loop, layer or declaration -> what to write behind it."""


def to_text(program: Program, comments: Comments | None = None) -> str:
    """The canonical text of `program`.

    Declarations come by kind: target, data file, buffers, constants, crossbars; within a kind in
    their own order.  `comments` maps `id(node)` to the text of a comment without its `;`.

    Raises ValueError for a NaN or an infinity, which cannot be written.
    """
    return "\n".join(_lines(program, comments or {})) + "\n"


def _lines(program: Program, comments: Comments) -> Iterator[str]:
    def line(declaration: Declaration) -> str:
        return commented(declaration_text(declaration), comments.get(id(declaration)))

    yield line(Version(program.version))
    yield line(program.target)
    if program.data_file is not None:
        yield line(DataFile(program.data_file, program.data_digest, program.target.span))
    tables: list[Mapping[str, Buffer | Constant | Crossbar]] = [
        program.buffers, program.constants, program.crossbars
    ]  # fmt: skip
    for table in tables:
        for declaration in table.values():
            yield line(declaration)
    for layer in program.layers:
        yield ""
        yield line(layer)
        yield from _body(layer.body, 0, comments)


def _body(nodes: tuple[Node, ...], level: int, comments: Comments) -> Iterator[str]:
    indent = "  " * level
    for node in nodes:
        comment = comments.get(id(node))
        if isinstance(node, Loop):
            yield commented(f"{indent}{loop_text(node)}", comment)
            yield from _body(node.body, level + 1, comments)
            yield f"{indent}end"
        else:
            yield commented(f"{indent}{instruction_text(node)}", comment)


def commented(code: str, comment: str | None) -> str:
    """`code ; comment`, on one line."""
    if comment is None:
        return code
    comment = " ".join(comment.splitlines()).rstrip()
    text = f";{comment}" if comment[:1] in ("", " ", ";") else f"; {comment}"
    return f"{code:<{COMMENT_COLUMN - 2}}  {text}" if code.strip() else code + text


# ---------------------------------------------------------------- single lines


def declaration_text(declaration: Declaration) -> str:
    """The line of a directive."""
    word = directive_word(declaration)
    return f"{word:<8}{DIRECTIVES[word].write(declaration)}"


def loop_text(loop: Loop | LoopHead) -> str:
    """The line that opens a loop."""
    return f"loop {loop.variable}, {loop.first}, {loop.last}"


def instruction_text(instruction: Instruction) -> str:
    """Operands in order, then attributes in the order of the table, without those at their default."""
    spec = INSTRUCTIONS.get(instruction.mnemonic)
    declared = [a.name for a in spec.attributes] if spec else []
    words = [operand_text(operand) for operand in instruction.operands]
    attributes = without_defaults(instruction).attributes
    rank = {name: position for position, name in enumerate(declared)}
    for key, value in sorted(attributes, key=lambda a: (rank.get(a[0], len(rank)), a[0])):
        words.append(f"{key}={number_text(value)}")
    return f"{instruction.mnemonic} {', '.join(words)}" if words else instruction.mnemonic


def operand_text(operand: Operand) -> str:
    """An operand as it is written."""
    match operand:
        case Register(number):
            return f"v{number}"
        case ConstRef(name):
            return quote(name)
        case BufferRef(name):
            return f"%{name}"
        case Address(buffer, indices, outside, part):
            words = [*map(affine_text, indices), *([f"{part[0]}:{part[1]}"] if part else [])]
            return f"%{buffer}{'?' if outside else ''}[{', '.join(words)}]"
        case Matrix(name, index, band):
            where = f"[{', '.join(map(str, index))}]" if index else ""
            return f"@{name}{where}" + (f".{band}" if band else "")


def affine_text(affine: Affine) -> str:
    """`2*q0 - q1 + 3`, or `(2*q0 + 3)/2`."""
    text = ""
    for name, coefficient in affine.terms:
        size = abs(coefficient)
        term = name if size == 1 else f"{size}*{name}"
        text += _signed(term, coefficient < 0, not text)
    if affine.constant or not text:
        text += _signed(str(abs(affine.constant)), affine.constant < 0, not text)
    return text if affine.divisor == 1 else f"({text})/{affine.divisor}"


def _signed(term: str, negative: bool, first: bool) -> str:
    if first:
        return f"-{term}" if negative else term
    return f" - {term}" if negative else f" + {term}"


# ---------------------------------------------------------------- redc fmt


def format_text(text: str, path: str | None = None) -> str:
    """`text` with every line in canonical form; comments and blank lines stay where they are.

    Fields of `.target` that are left out stay left out.  Raises ProgramError where `parse` does.
    """
    parse(text, path)
    reading = Reading(Report(text, path))
    statements = {statement.span.line: statement for statement in read_statements(text, reading)}
    lines: list[str] = []
    level = 0
    for number, line in enumerate(text.split("\n"), 1):
        statement = statements.get(number)
        if isinstance(statement, LoopEnd):
            level -= 1
        elif isinstance(statement, Directive):
            level = 0
        code = "  " * level + _statement_text(statement, reading)
        if isinstance(statement, LoopHead):
            level += 1
        lines.append(commented(code, _comment(line)).rstrip())
    return "\n".join(lines).strip("\n") + "\n"


def _statement_text(statement: Statement | None, reading: Reading) -> str:
    match statement:
        case None:
            return ""
        case LoopHead():
            return loop_text(statement)
        case LoopEnd():
            return "end"
        case Instruction():
            return instruction_text(statement)
    if statement.word == ".target":
        return _target_text(statement, reading)
    declaration = read_directive(statement, reading)
    assert declaration is not None, "parse has read it"
    return declaration_text(declaration)


def _target_text(line: Directive, reading: Reading) -> str:
    """`.target` as it is written, spaced; in the order of the table where it is complete."""
    declaration = read_directive(line, reading)
    assert declaration is not None, "parse has read it"
    full = declaration_text(declaration)
    words = [
        item.text if item.kind != "STRING" else quote(reading.string(item.text, item.span))
        for item in line.items
    ]
    short = f"{line.word:<8}{' '.join(words)}"
    return full if sorted(full.split()) == sorted(short.split()) else short


_COMMENT = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*")*;(.*)', re.DOTALL)


def _comment(line: str) -> str | None:
    """What stands behind the `;`, if there is one outside of strings."""
    found = _COMMENT.match(line)
    return found[1].rstrip() if found else None
