"""Rules that the instruction table gives: mnemonics, operands, attributes."""

from __future__ import annotations

from isa.analysis import operand_kinds
from isa.diagnostics import did_you_mean
from isa.instructions import INSTRUCTIONS, Attribute, Kind, Spec
from isa.printer import operand_text
from isa.program import Address, BufferRef, ConstRef, Instruction, Matrix, Register, Span
from isa.verifier.facts import INT64, Facts

WANTED: dict[Kind, tuple[tuple[type, ...], str]] = {
    Kind.RESULT: ((Register,), "a register"),
    Kind.VALUE: ((Register,), "a register"),
    Kind.TERM: ((Register, Matrix, ConstRef), "a register, a sub-crossbar or a constant"),
    Kind.ROW_BAND: ((Matrix,), "a sub-crossbar"),
    Kind.GROUP: ((Matrix,), "a crossbar group"),
    Kind.READ: ((Address,), "an address such as %x[0]"),
    Kind.WRITE: ((Address,), "an address such as %x[0]"),
    Kind.SOURCE: ((BufferRef,), "a whole buffer such as %x"),
    Kind.TARGET: ((BufferRef,), "a whole buffer such as %x"),
    Kind.EITHER: ((Register, ConstRef), "a register or a constant"),
    Kind.INTEGERS: ((ConstRef,), 'an integer constant such as "x"'),
    Kind.FLOATS: ((ConstRef,), 'an f32 constant such as "x"'),
    Kind.PART: ((ConstRef,), 'a host part such as "x"'),
    Kind.PORT: ((BufferRef,), "a whole buffer such as %x"),
}
"""Kind of operand -> (classes, how to say so)."""

MAX_REGISTER = (1 << 16) - 1
"""The highest register."""


def usage(spec: Spec) -> str:
    """How an instruction is written: `quant result, value, scale, low=, high=, [zero=0]`."""
    words = [p.name + (" ..." if p.repeated else "") for p in spec.params]
    words += [f"{a.name}=" if a.default is None else f"[{a.name}={a.default}]" for a in spec.attributes]
    return f"{spec.mnemonic} {', '.join(words)}"


def check_signature(facts: Facts, instruction: Instruction) -> bool:
    """Report an instruction that the table does not know so.  True where it does."""
    spec = INSTRUCTIONS.get(instruction.mnemonic)
    if spec is None:
        hint = did_you_mean(instruction.mnemonic, INSTRUCTIONS)
        known = f"instructions: {', '.join(INSTRUCTIONS)}"
        message = f"unknown instruction {instruction.mnemonic[:40]}"
        facts.report.error(_word(instruction), message, hint or known, _source(instruction))
        return False
    good = _check_count(facts, instruction, spec)
    kinds = operand_kinds(spec, len(instruction.operands))
    for kind, operand in zip(kinds, instruction.operands, strict=True):
        if not isinstance(operand, WANTED[kind][0]):
            facts.error(
                instruction,
                f"expected {WANTED[kind][1]}, found {operand_text(operand)[:40]}",
                usage(spec),
                operand,
            )
            good = False
        elif isinstance(operand, Register) and not 0 <= operand.number <= MAX_REGISTER:
            facts.error(instruction, f"registers are v0 to v{MAX_REGISTER}", None, operand)
            good = False
    return _check_attributes(facts, instruction, spec) and good


def _word(instruction: Instruction) -> Span:
    """The span of the mnemonic."""
    span = instruction.span
    return Span(span.line, span.column, span.column + len(instruction.mnemonic)) if span.line else span


def _source(instruction: Instruction) -> str | None:
    return None if instruction.span.line else instruction.mnemonic


def _check_count(facts: Facts, instruction: Instruction, spec: Spec) -> bool:
    count, wanted = len(instruction.operands), len(spec.params)
    if count < wanted:
        missing = ", ".join(p.name for p in spec.params[count:])
        facts.error(instruction, f"{spec.mnemonic} misses an operand: {missing}", usage(spec))
        return False
    if count > wanted and not spec.params[-1].repeated:
        facts.error(
            instruction,
            f"{spec.mnemonic} takes {wanted} operand{'s' if wanted > 1 else ''}, not {count}",
            usage(spec),
            instruction.operands[wanted],
        )
        return False
    return True


def _check_attributes(facts: Facts, instruction: Instruction, spec: Spec) -> bool:
    declared = {a.name: a for a in spec.attributes}
    problems: list[tuple[str, str | None]] = []
    for key, value in instruction.attributes:
        if key not in declared:
            problems.append((f"{spec.mnemonic} has no attribute {key}", did_you_mean(key, declared)))
        else:
            problem = _attribute_problem(declared[key], value)
            problems += [(problem, None)] if problem else []
    given = [key for key, _ in instruction.attributes]
    for key in sorted({key for key in given if given.count(key) > 1}):
        problems.append((f"{key} is given twice", None))
    problems += [
        (f"{spec.mnemonic} misses {name}=", None)
        for name, attribute in declared.items()
        if attribute.default is None and name not in given
    ]
    for message, hint in problems:
        facts.error(instruction, message, hint or usage(spec))
    return not problems


def _attribute_problem(attribute: Attribute, value: object) -> str | None:
    good = isinstance(value, int) or (attribute.type == "float" and isinstance(value, float))
    if not good or isinstance(value, bool):
        kind = "an integer" if attribute.type == "int" else "a number"
        return f"{attribute.name} is {kind}, not {value}"
    assert isinstance(value, (int, float))
    low, high = max(attribute.low, INT64.low), min(attribute.high, INT64.high)
    if not low <= value <= high:
        ends = [f"{end}" if isinstance(end, int) else f"{end:.12g}" for end in (low, high)]
        return f"{attribute.name}={value} is outside {ends[0]} to {ends[1]}"
    return None
