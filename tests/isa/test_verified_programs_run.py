"""What verifies, runs: golden programs are damaged at random; either the verifier objects, or both
engines run the damaged program and agree on every output and every counter."""

from __future__ import annotations

import random
import re
import warnings
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
import runtime
from isa.program import Program

TEXTS = [
    re.sub(r"^;.*\n", "", path.read_text(), flags=re.MULTILINE)
    for path in sorted((Path(__file__).parents[1] / "golden").glob("*.red"))
]
NUMBERS = [-9, -2, -1, 0, 1, 2, 3, 4, 5, 8, 9, 127, 128, 255, 256]


def damage(text: str, chance: random.Random) -> str:
    """`text` with a few numbers, names, marks or lines changed."""
    lines = text.split("\n")
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(2, len(lines))
        match chance.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, chance.choice(lines[2:]))
            case 2:
                other = chance.randrange(2, len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = (
                    lines[at].replace("?", "") if "?" in lines[at] else lines[at].replace("[", "?[", 1)
                )
            case _:
                numbers = list(re.finditer(r"(?<![\w.])-?\d+(?![\w.])", lines[at]))
                if numbers:
                    one = chance.choice(numbers)
                    lines[at] = f"{lines[at][: one.start()]}{chance.choice(NUMBERS)}{lines[at][one.end() :]}"
        if len(lines) < 4:
            break
    return "\n".join(lines)


def verified(text: str) -> Program | None:
    try:
        program = isa.parse(text)
        isa.verify(program)
    except isa.ProgramError:
        return None
    return program


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 1 << 32))
def test_a_damaged_program_is_refused_or_runs_alike_on_both_engines(seed: int) -> None:
    chance = random.Random(seed)
    program = verified(damage(chance.choice(TEXTS), chance))
    if program is None:
        return
    values = np.random.default_rng(seed)
    inputs = {
        buffer.tensor: values.normal(0, 30 * (buffer.scale or 1), buffer.onnx_shape).astype(np.float32)
        for buffer in program.inputs
        if buffer.tensor
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step = runtime.run(program, inputs, engine="step")
        fast = runtime.run(program, inputs, engine="fast")
    assert step.counters == fast.counters
    for name, array in step.outputs.items():
        np.testing.assert_array_equal(array, fast.outputs[name])


def test_some_damage_goes_unnoticed() -> None:
    """The test above means something: a good part of the damaged programs verifies."""
    chance = random.Random(0)
    runs = sum(verified(damage(chance.choice(TEXTS), chance)) is not None for _ in range(100))
    assert 10 <= runs <= 90
