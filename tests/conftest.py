"""What every test shares: the hypothesis profiles."""

from __future__ import annotations

import os

import hypothesis

# `ci` draws the same examples on every run and every machine; `deep` looks for new ones:
# HYPOTHESIS_PROFILE=deep python -m pytest tests/...
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("deep", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
