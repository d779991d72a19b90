"""`redc map` shows every kernel pixel in its seat, and arrays as full as they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
import redc
from isa.geometry import array_size
from isa.program import Target
from redc.array_map import LayerMap, grids, layer_maps, summary
from redc.cli import main
from redc.compare import compare
from redc.compiler import compile_with
from redc.errors import UserError
from redc.passes import Options
from redc.passes.place import arrays_of
from tests.redc.layers import deconvolution, deconvolutions, feed
from tests.redc.test_conservation import targets
from tests.redc.test_mappings import MAPPINGS


def one(model: onnx.ModelProto, target: Target, **options: Any) -> LayerMap:
    compiled = compile_with(model, Options(**options), target=target, calibrate=feed(model))
    (found,) = layer_maps(compiled)
    return found


@given(deconvolutions(), targets(), st.sampled_from(MAPPINGS))
@settings(max_examples=60)
def test_tiles_hold_every_weight_once_and_are_the_arrays_of_the_program(
    model: onnx.ModelProto, target: Target, options: dict[str, Any]
) -> None:
    layer = one(model, target, **options)
    tiles = [tile for array in range(layer.crossbar.count) for tile in layer.tiles(array)]
    groups, together = layer.crossbar.groups, min(layer.geometry.together, layer.crossbar.groups)
    assert len(tiles) * math.ceil(groups / layer.geometry.together) == layer.arrays
    cells = (
        sum(tile.full for tile in tiles) * math.prod(array_size(layer.crossbar, target)) * groups / together
    )
    held = cells / layer.geometry.wires
    assert held == pytest.approx(len(layer.table.placements) * math.prod(layer.band) * groups)
    assert all(0 < tile.full <= 1 + 1e-9 for tile in tiles)
    assert 0 < layer.full <= 1
    assert len(layer.as_dict()["seats"]) == len(layer.table.placements)


def test_the_grid_of_a_packed_layer_by_hand() -> None:
    """k3 s2: taps 0 and 1, phases 0 and 1; phase 1 has kernel pixel 1 alone, so a blank."""
    layer = one(deconvolution((1, 1, 4), (1, 1, 3), strides=[2]), Target("any"), mapping="packed")
    assert grids(layer) == "one matrix\n  0 1  reads [q0]\n  2 -  reads [q0-1]"
    assert summary([layer]).endswith("75.0 %")


def test_a_picture_is_drawn_and_json_tells_everything(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    for number, (name, words) in enumerate(
        (("png", ["--mapping", "packed", "--target", "isaac"]), ("svg", ["--fold", "2"]))
    ):
        path = tmp_path / f"{number}.{name}"
        assert main(["map", "FCN_Deconv1", "--plot", str(path), "--json", *words]) == 0
        document = json.loads(capsys.readouterr().out)
        assert len(document["layers"][0]["seats"]) == 16
        assert path.stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layer", "up"], "no crossbar layer is named 'up'"),
        (["--plot", "map.pdf"], "ends in neither .png nor .svg"),
        (["--plot", "nowhere/map.png"], "cannot write"),
    ],
)
def test_what_cannot_be_drawn_is_refused(words: list[str], message: str, capsys: Any) -> None:
    assert main(["map", "FCN_Deconv1", *words]) == 2
    assert message in capsys.readouterr().err


def test_more_layers_than_fit_a_picture_are_refused(tmp_path: Path) -> None:
    from redc.array_plot import plot

    layer = one(deconvolution((1, 1, 4), (1, 1, 3)), Target("any"))
    with pytest.raises(UserError, match="do not fit one picture"):
        plot([layer] * 9, tmp_path / "map.png")


def test_map_and_compare_say_the_same_of_how_full_arrays_are() -> None:
    for mapping in ("packed", "zero-padding", "pixel-wise"):
        (row,) = compare("FCN_Deconv1", mappings=(mapping,), targets=("isaac",)).rows
        (layer,) = layer_maps(compile_with("FCN_Deconv1", Options(mapping=mapping), target="isaac"))
        assert row.cost is not None
        assert row.cost.inventory.full == pytest.approx(layer.full)


@pytest.mark.parametrize("mapping", ["pixel-wise", "packed", "zero-padding"])
def test_a_map_runs_nothing_and_needs_no_samples(mapping: str, tmp_path: Path, capsys: Any) -> None:
    """Its arrays are those of the program all the same."""
    path = tmp_path / "net.onnx"
    onnx.save(models.load("ppocrv4_db_head"), path)
    words = [str(path), "--mapping", mapping, "--shape", "p2o.Concat.1=1,96,8,8", "--json"]
    assert main(["map", *words]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    with pytest.warns(redc.AssumedInputs):
        program = redc.compile(path, mapping=mapping, shapes={"p2o.Concat.1": (1, 96, 8, 8)})
    found = json.loads(told.out)["layers"]
    assert sum(layer["arrays"] for layer in found) == sum(arrays_of(program).values())


@pytest.mark.parametrize("model", ["dcgan_face64", "GAN_Deconv3"])
def test_labels_of_bands_do_not_overprint(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    drawn: list[Any] = []
    monkeypatch.setattr("redc.array_plot.write_figure", lambda figure, _: drawn.append(figure))
    words = ["--mapping", "packed", "--target", "isaac", "--plot", str(tmp_path / "p.png")]
    assert main(["map", model, *words]) == 0
    figure = drawn[0]
    figure.draw_without_rendering()
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels]
            assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
