"""What every test shares: hypothesis profiles, and the marker of the timings."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

BENCH = Path(__file__).parent / "bench"

# `ci` draws the same examples on every run and every machine; `deep` looks for new ones:
# HYPOTHESIS_PROFILE=deep python -m pytest tests/...
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("deep", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything below tests/bench; it runs only where `-m` asks for it."""
    for item in items:
        if item.path.is_relative_to(BENCH):
            item.add_marker("bench")
    if not config.option.markexpr:
        timings = [item for item in items if item.get_closest_marker("bench")]
        config.hook.pytest_deselected(items=timings)
        items[:] = [item for item in items if item not in timings]
