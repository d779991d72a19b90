"""Everything that derives from the instruction table knows every instruction of it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from isa.instructions import EVENTS, INSTRUCTIONS, LARGEST_QUOTIENT, Kind, Sizes, Spec
from isa.printer import instruction_text
from isa.program import Array, Instruction
from isa.verifier.code import CHECKS
from isa.verifier.signature import WANTED
from isa.verifier.values import RULES, TABLES
from tests.isa.strategies import OPERANDS, instructions

every_instruction = pytest.mark.parametrize("spec", INSTRUCTIONS.values(), ids=list(INSTRUCTIONS))

HEADER = '.isa 1\n.target "red-65nm"\n.layer "l"\n'


@every_instruction
def test_an_instruction_is_declared_in_full(spec: Spec) -> None:
    assert spec.doc.endswith(".")
    assert not any(p.repeated for p in spec.params[:-1])
    assert set(spec.events(Sizes(length=3, bits=8, terms=2, planes=1))) <= set(EVENTS)
    assert spec.mnemonic in CHECKS
    assert (spec.mnemonic in RULES) == spec.is_value
    for attribute in spec.attributes:
        assert attribute.default is None or attribute.low <= attribute.default <= attribute.high


def test_the_rules_know_no_other_instruction() -> None:
    assert set(CHECKS) == set(INSTRUCTIONS)
    assert set(RULES) >= TABLES
    assert set(WANTED) == set(Kind) == set(OPERANDS)


@every_instruction
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_an_instruction_prints_and_parses(spec: Spec, data: st.DataObject) -> None:
    wanted = data.draw(instructions(spec.mnemonic))
    text = HEADER + instruction_text(wanted)
    assert isa.parse(text).layers[0].body == (wanted,)


@every_instruction
def test_a_missing_operand_is_named(spec: Spec) -> None:
    with pytest.raises(isa.ProgramError) as caught:
        isa.verify(isa.parse(HEADER + spec.mnemonic))
    messages = [d.message for d in caught.value.diagnostics]
    names = ", ".join(p.name for p in spec.params)
    assert f"{spec.mnemonic} misses an operand: {names}" in messages


@every_instruction
def test_an_unknown_attribute_is_refused(spec: Spec) -> None:
    with pytest.raises(isa.ProgramError) as caught:
        isa.verify(isa.parse(f"{HEADER}{spec.mnemonic} speed=3"))
    messages = [d.message for d in caught.value.diagnostics]
    assert f"{spec.mnemonic} has no attribute speed" in messages


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_bounds_of_values_hold_for_the_meaning_of_the_instruction(data: st.DataObject) -> None:
    """The verifier's rule and the instruction's body agree: no result leaves the interval."""
    spec = INSTRUCTIONS[data.draw(st.sampled_from(sorted(RULES)))]
    values = [data.draw(st.integers(-500, 500)) for _ in range(data.draw(st.integers(1, 4)))]
    table = spec.mnemonic in TABLES
    length = 1100 if table else len(values)
    if Kind.FLOATS in {p.kind for p in spec.params}:
        constant: Array = np.array([data.draw(st.floats(0, 4, width=32)) for _ in range(length)], np.float32)
    else:
        seed = data.draw(st.integers(0, 99))
        constant = np.random.default_rng(seed).integers(-900, 900, size=length)
    every: dict[str, dict[str, int | float]] = {
        "quant": {"zero": 3, "low": -9, "high": 90, "slope": data.draw(st.floats(0, 2, width=32))},
        "div": {"fraction": data.draw(st.integers(0, 20))},
        "lookup": {"low": -500, "shift": data.draw(st.integers(0, 3)), "fraction": 2},
    }
    attributes = every.get(spec.mnemonic, {})
    low, high = RULES[spec.mnemonic]([(min(values), max(values))], [constant], attributes)
    result = spec.meaning(np.array(values), constant, **attributes)
    assert low <= result.min()
    assert result.max() <= high


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**30), 2**30), st.integers(-(2**40), 2**40) | st.integers(-9, 9), st.integers(0, 31))
def test_a_quotient_is_rounded_with_halves_away_from_zero(value: int, divisor: int, fraction: int) -> None:
    result = INSTRUCTIONS["div"].meaning(np.array([value]), np.array([divisor]), fraction=fraction)
    if divisor == 0:
        wanted = LARGEST_QUOTIENT * ((value > 0) - (value < 0))
    else:
        exact = Fraction(value << fraction, divisor)
        wanted = math.floor(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)
    assert result.dtype == np.int64
    assert result.tolist() == [wanted]
    low, high = RULES["div"]([(value, value), (divisor, divisor)], [], {"fraction": fraction})
    assert low <= wanted <= high


def test_an_unknown_instruction_is_no_error_of_the_parser() -> None:
    program = isa.parse(HEADER + "frie @k")
    (node,) = program.layers[0].body
    assert isinstance(node, Instruction)
    assert isa.to_text(program).endswith("frie @k\n")
