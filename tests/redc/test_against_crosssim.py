"""redc agrees with what CrossSim computed: docs/against-crosssim.md.

CrossSim's figures are stored (tests/bench/against_crosssim.py writes them); redc's are computed here.
"""

from __future__ import annotations

from dataclasses import astuple

import pytest

from tests.bench import crosssim_cases
from tests.bench.crosssim_cases import AGREE, NOTHING, Case, Figures, Varied, apart

KEPT = crosssim_cases.stored()


def named(figures: Case) -> str:
    return "-".join(str(value) for value in astuple(crosssim_cases.case_of(figures)))


def recomputed(figures: Figures) -> bool:
    """Everything of the small layers; of GAN_Deconv1, on `fast`, what loses most."""
    return figures.layer != "GAN_Deconv1" or (figures.adc == 6 and figures.lsb != 4)


@pytest.mark.parametrize("figures", list(filter(recomputed, KEPT.cases)), ids=named)
def test_redc_makes_the_errors_that_crosssim_makes(figures: Figures) -> None:
    """Of CrossSim in redc's conventions always; of its nearest settings unless a reason is given."""
    case = crosssim_cases.case_of(figures)
    sums = crosssim_cases.ours(case, "fast" if case.layer == "GAN_Deconv1" else "step").sums
    error = crosssim_cases.relative_rmse(sums, crosssim_cases.exact(case.layer))
    assert apart(error, figures.alike) <= AGREE
    if not case.reason:
        assert apart(error, figures.own) <= AGREE


@pytest.mark.parametrize("varied", KEPT.varied, ids=lambda v: f"{named(v)}-{v.spread}")
def test_cells_that_vary_cost_what_they_cost_crosssim(varied: Varied) -> None:
    """100 machines on each side were compared; the first of redc's is computed again here."""
    case = crosssim_cases.case_of(varied)
    sums = crosssim_cases.ours(case, "step", varied.spread).sums
    error = crosssim_cases.relative_rmse(sums, crosssim_cases.exact(case.layer))
    assert error == pytest.approx(varied.first, rel=AGREE)
    assert apart(varied.ours, varied.alike) <= AGREE


def test_no_sum_of_any_layer_differs_once_conventions_are_shared() -> None:
    assert [named(f) for f in KEPT.cases if f.differ] == []
    assert {crosssim_cases.case_of(f) for f in KEPT.cases} == set(crosssim_cases.CASES)


def test_without_losses_both_give_the_product() -> None:
    exact = [f for f in KEPT.cases if not f.saturated and not f.rounded]
    assert len(exact) > len(KEPT.cases) / 3
    assert max(max(f.ours, f.own, f.alike) for f in exact) < NOTHING


def test_the_document_shows_the_stored_figures() -> None:
    text = crosssim_cases.DOCUMENT.read_text(encoding="utf-8")
    assert crosssim_cases.document(text, KEPT) == text
