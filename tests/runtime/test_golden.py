"""The hand-written programs run as worked out by hand, in both engines, and count without running."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import isa
from runtime import run
from runtime.count import count
from runtime.counters import total

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.red"))
every_golden = pytest.mark.parametrize("path", GOLDEN, ids=[p.stem for p in GOLDEN])


def expected(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".expect.json").read_text())
    return found


def test_there_are_golden_programs() -> None:
    assert len(GOLDEN) >= 5


@every_golden
@pytest.mark.parametrize("engine", ["step", "fast"])
def test_a_golden_program_gives_its_numbers(
    path: Path, engine: Literal["step", "fast"], update_golden: bool
) -> None:
    inputs = {name: np.array(value, np.float32) for name, value in expected(path)["inputs"].items()}
    result = run(isa.load(path), inputs, engine=engine)
    for name, value in expected(path)["outputs"].items():
        np.testing.assert_array_equal(result.outputs[name], np.array(value, np.float32))
    if update_golden:
        found = expected(path) | {"counters": result.total.as_dict()}
        path.with_suffix(".expect.json").write_text(json.dumps(found, indent=2) + "\n")
    assert result.total.as_dict() == expected(path)["counters"]


@every_golden
def test_a_golden_program_costs_its_numbers_without_running(path: Path) -> None:
    assert total(count(isa.load(path))).as_dict() == expected(path)["counters"]
