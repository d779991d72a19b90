"""What every test shares: the hypothesis profiles and the flag that rewrites goldens."""

from __future__ import annotations

import os

import hypothesis
import pytest

# `ci` draws the same examples on every run and every machine; `deep` looks for new ones:
# HYPOTHESIS_PROFILE=deep python -m pytest tests/...
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("deep", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# onnxruntime would keep a database of events in the user's cache folder, and send them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden`: write what was found over what was expected; then read the diff."""
    parser.addoption("--update-golden", action="store_true", help="rewrite goldens (not with -n)")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether this run rewrites goldens instead of comparing with them."""
    return bool(request.config.getoption("--update-golden"))
