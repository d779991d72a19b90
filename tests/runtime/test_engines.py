"""Two engines and the static counts, one meaning: held together over random valid programs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from isa.printer import to_text
from isa.program import Program
from runtime import run
from runtime.count import count
from tests.runtime.strategies import programs, random_inputs

EXAMPLES = max(200, settings().max_examples)


@settings(max_examples=EXAMPLES)
@given(programs(), st.integers(0, 2**32 - 1))
def test_step_counts_what_the_static_counts_say(program: Program, seed: int) -> None:
    note(to_text(program))
    result = run(program, random_inputs(program, seed), engine="step")
    assert list(result.counters) == count(program)


@pytest.mark.parametrize("fidelity", ["exact", "adc"])
@settings(max_examples=EXAMPLES)
@given(program=programs(), seed=st.integers(0, 2**32 - 1))
def test_fast_and_step_agree_on_every_output_buffer_accumulator_and_counter(
    fidelity: str, program: Program, seed: int
) -> None:
    note(to_text(program))
    inputs = random_inputs(program, seed)
    slow = run(program, inputs, engine="step", fidelity=fidelity, observe=True)
    fast = run(program, inputs, engine="fast", fidelity=fidelity, observe=True)
    for name, codes in slow.buffers.items():
        np.testing.assert_array_equal(fast.buffers[name], codes, err_msg=f"buffer %{name}")
    for name, values in slow.outputs.items():
        np.testing.assert_array_equal(fast.outputs[name], values, err_msg=f"output {name}")
    assert fast.accumulators.keys() == slow.accumulators.keys()
    for name, sums in slow.accumulators.items():
        np.testing.assert_array_equal(fast.accumulators[name], sums, err_msg=f"accumulators of %{name}")
    assert fast.counters == slow.counters
    assert fast.total == slow.total
    assert fast.losses == slow.losses
