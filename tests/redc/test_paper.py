"""docs/paper.md is current, and nothing in it is out of line with s²/F."""

from __future__ import annotations

import pytest

from redc import paper


@pytest.fixture(scope="module")
def study() -> paper.Study:
    return paper.study()


def test_the_document_is_current(study: paper.Study, update_golden: bool) -> None:
    text = paper.document(study)
    if update_golden:
        paper.DOCUMENT.write_text(text, encoding="utf-8")
    assert paper.DOCUMENT.read_text(encoding="utf-8") == text


def test_red_and_packed_reach_the_expected_speed_up(study: paper.Study) -> None:
    for layer in paper.LAYERS:
        for design in set(paper.DESIGNS) - {paper.BASE, "padding-free"}:
            for target in study.timed:
                share = study.speedup(layer, design, target) / study.expected(layer, design)
                assert 0.95 < share < 1.001  # less than 1 by what fills and drains


def test_driving_inserted_zeros_is_what_zero_padding_saves_by_gating(study: paper.Study) -> None:
    """A pulse of zero-padding is a real pixel, an inserted zero, or outside: together every row."""
    _, counters, _ = study.found["GAN_Deconv1", paper.BASE, "red-65nm"]
    driven, _ = paper.zeros_driven(counters, study.files["red-65nm"].costs)
    rounds, rows, planes = 16 * 16, 25 * 512, 8
    assert driven[0][1].drives == rounds * rows * planes
    assert driven[0][1].cell_reads == rounds * rows * planes * 256 * 8
