"""Memory: allocated, reset, and refused before it is too much."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from isa import ProgramError
from isa.targets import load_target
from runtime import InputError, Memory, load, run
from runtime.machine import available_bytes
from tests.runtime.programs import deconvolution


def test_buffers_start_at_their_zero_code_and_return_to_it() -> None:
    base = deconvolution()
    shifted = replace(base, buffers={**base.buffers, "y": replace(base.buffers["y"], zero=9)})
    memory = Memory.of(shifted)
    assert (memory.codes["y"] == 9).all()
    memory.codes["x"][...] = 1
    memory.codes["y"][...] = 1
    memory.reset()
    assert (memory.codes["y"] == 9).all()
    assert (memory.codes["x"] == 1).all()


def test_buffers_that_do_not_fit_are_refused_before_they_are_allocated() -> None:
    base = deconvolution()
    huge = replace(base.buffers["y"], shape=(1 << 30, 1 << 20, 8))
    with pytest.raises(InputError) as caught:
        load(replace(base, buffers={**base.buffers, "y": huge}), engine="step", verify=False)
    assert caught.value.place == "buffer %y"
    assert "GiB" in caught.value.message
    assert "--count-only" in str(caught.value)


def test_this_machine_has_memory() -> None:
    assert available_bytes() > 0


def test_analog_needs_a_device() -> None:
    with pytest.raises(ProgramError, match="what are its cells like"):
        run(deconvolution(), {}, fidelity="analog")


def test_a_device_may_be_a_target_by_name_or_path(tmp_path: Path) -> None:
    program = replace(deconvolution(), target=load_target("isaac"))
    x = {"x": np.ones((1, 2, 2), np.float32)}
    path = tmp_path / "mine.toml"
    path.write_text((resources.files("isa") / "targets" / "isaac.toml").read_text())
    for device in ("isaac", str(path), path):
        one = run(program, x, fidelity="analog", device=device)
        np.testing.assert_array_equal(one.outputs["y"], run(program, x, fidelity="analog").outputs["y"])
    with pytest.raises(ProgramError, match="isac"):
        run(program, x, fidelity="analog", device="isac")


def test_unknown_engines_and_fidelities_are_named() -> None:
    with pytest.raises(InputError, match='no fidelity "exat"'):
        run(deconvolution(), {}, fidelity="exat")
    with pytest.raises(InputError, match='no engine "slow"'):
        run(deconvolution(), {}, engine="slow")  # type: ignore[arg-type] # the point
    with pytest.raises(InputError, match="does not execute instruction by instruction"):
        run(deconvolution(), {}, engine="fast", trace=lambda *_: None)


def test_results_of_one_loaded_program_do_not_share_memory() -> None:
    loaded = load(deconvolution(), engine="step")
    one = loaded.run({"x": np.ones((1, 2, 2), np.float32)})
    kept = {name: array.copy() for name, array in (one.buffers | one.outputs).items()}
    loaded.run({"x": np.zeros((1, 2, 2), np.float32)})
    for name, array in (one.buffers | one.outputs).items():
        np.testing.assert_array_equal(array, kept[name])
