"""`redc map --plot` draws any layer under any mapping, with words that one can read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import models
from isa.program import Target
from redc.array_layout import layout
from redc.array_map import LayerMap, layer_maps
from redc.array_plot import PANELS, plot
from redc.cli import main
from redc.compiler import compile_with
from redc.passes import Options
from tests.redc.layers import deconvolution, deconvolutions
from tests.redc.test_conservation import targets
from tests.redc.test_mappings import MAPPINGS

pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")


def layer(node: str, x: list[int], w: tuple[int, ...]) -> onnx.ModelProto:
    """The one node `y = ...(x, w)`, its weights all one."""
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float{x} x) => (float y) {{ y = {node} }}'
    )
    model.graph.initializer.append(numpy_helper.from_array(np.ones(w, np.float32), "w"))
    return model


PLAIN = {
    "Gemm": layer("Gemm(x, w)", [2, 40], (40, 9)),
    "MatMul": layer("MatMul(x, w)", [1, 7, 40], (40, 33)),
    "Conv": layer("Conv<pads = [1, 1, 1, 1]>(x, w)", [1, 8, 6, 6], (5, 8, 3, 3)),
    "Conv 1-D": layer("Conv<strides = [2]>(x, w)", [1, 40, 9], (5, 40, 5)),
    "Conv 3-D": layer("Conv(x, w)", [1, 3, 4, 4, 4], (5, 3, 3, 3, 3)),
    "grouped Conv": layer("Conv<group = 4>(x, w)", [1, 64, 6, 6], (64, 16, 3, 3)),
    "depthwise Conv": layer("Conv<group = 32>(x, w)", [1, 32, 6, 6], (32, 1, 3, 3)),
}
DECONVOLUTIONS = {
    "1-D": deconvolution((1, 40, 4), (40, 33, 5), strides=[2]),
    "2-D": deconvolution((1, 9, 4, 4), (9, 5, 3, 3), strides=[2, 2]),
    "3-D": deconvolution((1, 3, 2, 2, 2), (3, 2, 3, 3, 3), strides=[2, 2, 2]),
    "grouped": deconvolution((1, 64, 4, 4), (64, 8, 4, 4), strides=[2, 2], group=4),
    "depthwise": deconvolution((1, 30, 4, 4), (30, 1, 4, 4), strides=[2, 2], group=30),
    "large stride": deconvolution((1, 2, 4, 4), (2, 2, 16, 16), strides=[8, 8]),
}


def mapped(model: onnx.ModelProto | str, target: str | Target, **options: Any) -> list[LayerMap]:
    compiled = compile_with(model, Options(**options), target=target, observe=False)
    return layer_maps(compiled)


def draw(maps: list[LayerMap], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The figure of these layers, laid out and not written."""
    drawn: list[Any] = []
    monkeypatch.setattr("redc.array_plot.write_figure", lambda figure, _: drawn.append(figure))
    plot(maps, Path("map.png"))
    drawn[0].draw_without_rendering()
    return drawn[0]


def check_words(figure: Any) -> None:
    """Every word is there, and none lies on another."""
    for axes in figure.axes:
        for labels in (axes.texts, axes.get_xticklabels(), axes.get_yticklabels()):
            assert all(label.get_text() not in ("", "[]") for label in labels)
            boxes = np.array([label.get_window_extent().extents for label in labels]).reshape(-1, 4)
            left, low, right, high = boxes.T[:, :, None]
            meet = (left < right.T) & (right > left.T) & (low < high.T) & (high > low.T)
            assert meet.sum() == len(labels), "words overprint"


Boxes = np.ndarray[Any, np.dtype[np.float64]]


def shared(some: Boxes, others: Boxes) -> Boxes:
    """The area that each box shares with each of the others."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum((some[:, :2] + some[:, 2:])[:, None], (others[:, :2] + others[:, 2:])[None])
    return np.maximum(high - low, 0).prod(axis=2)


def check_layout(found: LayerMap) -> None:
    """What is drawn is what the title and the table say."""
    drawn = layout(found)
    arrays, seats = np.array(drawn.arrays, float), np.array([seat.box for seat in drawn.seats], float)
    assert len(arrays) == found.arrays
    assert len(drawn.blocks) == found.crossbar.count * found.crossbar.groups
    area = seats[:, 2:].prod(axis=1)
    assert found.filled(area.sum()) / len(arrays) == pytest.approx(found.full)
    assert shared(seats, arrays).sum(axis=1) == pytest.approx(area), "a weight lies beside its array"
    for boxes in (arrays, seats, np.array(drawn.blocks, float)):
        assert shared(boxes, boxes).sum() == pytest.approx(boxes[:, 2:].prod(axis=1).sum()), "boxes overlap"
    everything = np.concatenate([arrays, seats])
    assert (everything[:, :2] >= 0).all()
    assert (everything[:, :2] + everything[:, 2:] <= np.array(drawn.size) + 1e-6).all()


@given(deconvolutions(), targets(), st.sampled_from(MAPPINGS))
@settings(max_examples=60)
def test_a_picture_has_the_arrays_and_weights_that_its_title_says(
    model: onnx.ModelProto, target: Target, options: dict[str, Any]
) -> None:
    for found in mapped(model, target, **options):
        check_layout(found)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("target", ["red-65nm", "isaac"])
def test_pictures_of_convolutions_and_matrix_products_agree_with_their_titles(name: str, target: str) -> None:
    for found in mapped(PLAIN[name], target):
        check_layout(found)


def test_diagonal_blocks_lie_on_the_arrays_by_hand() -> None:
    """32 blocks of 9 x 1: all on one array that is as large as it needs, 14 to one of 128 x 31."""
    (anysize,) = mapped(PLAIN["depthwise Conv"], "red-65nm")
    drawn = layout(anysize)
    assert drawn.arrays == ((0, 0, 32, 288),)
    assert drawn.blocks == tuple((n, 9 * n, 1, 9) for n in range(32))
    (small,) = mapped(PLAIN["depthwise Conv"], "isaac")
    drawn = layout(small)
    held = shared(np.array(drawn.arrays, float), np.array([s.box for s in drawn.seats], float))
    assert held.sum(axis=1).tolist() == [14 * 9, 14 * 9, 4 * 9]


def test_labels_below_a_panel_are_a_character_apart_however_wide_it_came_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside a panel with a legend all are narrower."""
    maps = mapped(DECONVOLUTIONS["2-D"], "red-65nm", mapping="pixel-wise")
    maps += mapped(DECONVOLUTIONS["2-D"], "red-65nm", mapping="padding-free")
    maps += mapped(DECONVOLUTIONS["2-D"], "red-65nm", merge="analog", fold=3)
    figure = draw(maps, monkeypatch)
    labels = figure.axes[1].get_xticklabels()
    assert len(labels) == 9
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    assert all(b.x0 - a.x1 > 4 for a, b in itertools.pairwise(boxes))  # pixels


def in_panels(maps: list[LayerMap]) -> Iterator[list[LayerMap]]:
    for start in range(0, len(maps), PANELS):
        yield maps[start : start + PANELS]


@pytest.mark.parametrize("target", ["red-65nm", "isaac"])
def test_every_kind_of_layer_is_drawn_with_words_that_do_not_touch(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = [found for model in PLAIN.values() for found in mapped(model, target)]
    assert len(maps) == len(PLAIN)
    for few in in_panels(maps):
        check_words(draw(few, monkeypatch))


@pytest.mark.parametrize("target", ["red-65nm", "isaac"])
@pytest.mark.parametrize("options", MAPPINGS, ids=str)
def test_every_mapping_of_every_kind_of_deconvolution_is_drawn(
    options: dict[str, Any], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = [found for model in DECONVOLUTIONS.values() for found in mapped(model, target, **options)]
    assert len(maps) == len(DECONVOLUTIONS)
    for few in in_panels(maps):
        check_words(draw(few, monkeypatch))


@pytest.mark.parametrize("name", models.names())
def test_every_model_of_the_zoo_is_drawn(name: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "map.svg"
    assert main(["map", name, "--plot", str(path), "--mapping", "packed"]) == 0
    assert path.stat().st_size > 5000
