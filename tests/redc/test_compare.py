"""`redc compare`: its figures are those of single runs; names, errors, pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest

import redc
from isa.targets import FOLDER, load_target_file
from redc.cli import main
from redc.compare import Comparison, compare, options_of
from redc.compare_plot import PART_COLOURS, PLAIN
from redc.errors import UserError
from runtime.cost import cost_of
from runtime.count import count
from runtime.counters import total
from runtime.report import percent

LAYERS = ("GAN_Deconv1", "GAN_Deconv2", "GAN_Deconv3", "GAN_Deconv4", "FCN_Deconv1", "FCN_Deconv2")


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(LAYERS[3:5], mappings=("regan", "fcn-engine", "red:fold=2", "packed"))


def test_every_figure_is_that_of_a_single_run(found: Comparison) -> None:
    assert len(found.rows) == 2 * 2 * 4
    for row in found.rows:
        program = redc.compile(
            row.model, target=row.target, mapping=row.options.mapping, fold=row.options.fold
        )
        counters = count(program)
        assert row.cost == cost_of(program, counters, load_target_file(row.target).costs)
        assert dict(row.counters) == total(counters).as_dict()


def test_ratios_are_over_zero_padding_by_whatever_name(found: Comparison) -> None:
    for _, _, rows in found.groups():
        assert found.ratios(rows[0]) == (1.0, 1.0)
        assert found.ratios(rows[2])[0] == pytest.approx(2, rel=0.01)  # s² / F = 4 / 2
        assert found.ratios(rows[3])[0] == pytest.approx(4, rel=0.01)
    alone = compare("GAN_Deconv3", mappings=("packed",), targets=("isaac",))
    assert alone.ratios(alone.rows[0]) == (None, None)


MINE = """
name = "mine"
description = "red-65nm at half the clock, with an ADC of half the energy"
inherits = "red-65nm"
[clock]
frequency = { value = 55.5, unit = "MHz", node = "65 nm", source = "assumed" }
[component.adc]
energy = { value = 200, unit = "fJ", node = "65 nm", source = "assumed" }
"""


def test_a_design_of_ones_own_is_compared_with_red_across_targets(tmp_path: Path) -> None:
    """Between targets the speed-up is one of latency: the same cycles at half the clock."""
    mine = tmp_path / "mine.toml"
    mine.write_text(MINE)
    targets = ("red-65nm", str(mine))
    found = compare("GAN_Deconv4", mappings=("red", "packed"), targets=targets, baseline="red@red-65nm")
    red, packed, mine_red, _ = found.rows
    assert found.ratios(red) == (1, 1)
    assert found.ratios(mine_red)[0] == pytest.approx(0.5)
    saved = found.ratios(mine_red)[1]
    assert saved is not None
    assert saved < 1
    assert found.ratios(packed)[0] == red.cycles / packed.cycles
    assert "note: speed-up and ratio are over red@red-65nm" in found.table()
    assert found.as_dict()["baseline"] == "red@red-65nm"
    from redc.compare_plot import plot

    plot(found, str(tmp_path / "own.svg"))
    assert "speed-up over red@red-65nm" in (tmp_path / "own.svg").read_text()


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("red@mine", "'mine' is none of the targets compared"),
        ("packed", "'packed' is none of the mappings compared"),
        ("rd", "'rd': unknown mapping 'rd'"),
    ],
)
def test_a_baseline_that_is_not_compared_is_an_error(baseline: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        compare("GAN_Deconv4", mappings=("red",), targets=("isaac",), baseline=baseline)
    assert (caught.value.place, caught.value.message) == ("--baseline", message)


def test_without_its_baseline_a_comparison_says_why_it_has_no_speed_up() -> None:
    found = compare("GAN_Deconv4", mappings=("red", "packed"), targets=("isaac",))
    assert found.ratios(found.rows[0]) == (None, None)
    assert "note: no speed-up nor ratio: zero-padding is not among the mappings; --baseline" in found.table()


def test_auto_tells_what_it_took() -> None:
    found = compare("FCN_Deconv2", mappings=("auto:minimise=area", "packed"), targets=("isaac",))
    assert [row.chosen for row in found.rows] == [{"pixel-wise, folded by 6": 1}, {"packed": 1}]
    assert "note: auto:minimise=area took pixel-wise, folded by 6" in found.table()
    assert found.as_dict()["rows"][0]["chosen"] == {"pixel-wise, folded by 6": 1}


def test_a_shape_goes_to_the_models_that_have_the_input() -> None:
    shapes = {"z": (2, 100, 1, 1)}
    options: dict[str, Any] = {"mappings": ("red",), "targets": ("isaac",)}
    found = compare(["dcgan_face64", "GAN_Deconv4"], shapes=shapes, **options)
    assert [row.cost.batch for row in found.rows if row.cost] == [2, 1]
    with pytest.raises(UserError, match="a shape is given for 'y', which is no input of the model"):
        compare(["dcgan_face64", "GAN_Deconv4"], shapes={"y": (1,), **shapes}, **options)


def test_json_has_every_number_and_the_table_every_row(found: Comparison) -> None:
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    for entry, row in zip(document["rows"], found.rows, strict=True):
        assert row.cost is not None
        assert entry["energy_aj"] == dict(row.cost.dynamic)
        assert entry["options"]["mapping"] == row.options.mapping
        assert 0 < entry["full"] <= 1
    table = found.table()
    for row in found.rows:
        assert f"{row.model} on {row.target}\n" in table
        assert f"\n{row.mapping} " in table
    assert "note: not in the sums of red-65nm and isaac: wires, routers, off-chip traffic" in table


@pytest.mark.parametrize(
    ("text", "mapping", "fold", "merge"),
    [
        ("ReGAN", "zero-padding", 1, "digital"),
        ("fcn-engine", "padding-free", 1, "digital"),
        ("red:fold=4", "pixel-wise", 4, "digital"),
        ("pixel-wise:fold=2:merge=analog", "pixel-wise", 2, "analog"),
    ],
)
def test_a_mapping_has_options_and_other_names(text: str, mapping: str, fold: int, merge: str) -> None:
    options = options_of(text)
    assert (options.mapping, options.fold, options.merge) == (mapping, fold, merge)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rad", "unknown mapping 'rad'"),
        ("red:folds=2", "'folds=2' in 'red:folds=2' is no option of a mapping"),
        ("red:fold", "'fold' in 'red:fold' is no option of a mapping"),
        ("red:fold=two", "'fold=two' in 'red:fold=two' is no number"),
        ("regan:fold=2", "has no --fold"),
    ],
)
def test_a_wrong_mapping_is_one_error(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"."):
        options_of(text)
    assert main(["compare", "GAN_Deconv3", "--mappings", text, "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert message in error["message"]
    assert error["place"] == "--mappings"


def test_a_model_that_does_not_fit_a_target_is_a_row_that_says_so(tmp_path: Path) -> None:
    small = tmp_path / "small.toml"
    small.write_text(
        'name = "small"\ndescription = "x"\ninherits = "isaac"\n'
        '[machine]\narrays = 20\n[source]\narrays = "assumed"\n'
    )
    found = compare("GAN_Deconv3", mappings=("red", "packed"), targets=(small,))
    assert [row.problem is None for row in found.rows] == [False, False]
    assert "has 20" in str(found.rows[0].problem)
    assert found.rows[0].problem in found.table()
    assert found.as_dict()["rows"][0]["problem"] == found.rows[0].problem


def test_pictures_are_drawn_as_png_and_svg(found: Comparison, tmp_path: Path) -> None:
    from redc.compare_plot import plot

    plot(found, str(tmp_path / "out.png"))
    plot(found, str(tmp_path / "out.svg"))
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "out.svg").read_text()
    assert text.startswith("<?xml")
    plot(found, str(tmp_path / "again.svg"))
    assert len((tmp_path / "again.svg").read_text()) == len(text)


def drawn(found: Comparison, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The figure of a comparison, laid out and not written."""
    from redc.compare_plot import plot

    figures: list[Any] = []
    monkeypatch.setattr("redc.compare_plot.write_figure", lambda figure, _: figures.append(figure))
    plot(found, "out.png")
    figures[0].draw_without_rendering()
    return figures[0]


def words_of(figure: Any) -> list[list[str]]:
    """Of each axes the words in it."""
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


@pytest.mark.parametrize("far", [2.0**-11, 2.0**-6, 0.05, 0.4, 1.5, 40.0, 1e7])
def test_ticks_of_speed_ups_do_not_overprint(
    found: Comparison, far: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Comparison, "ratios", lambda self, row: (far if "red" in row.mapping else 1.0, 1.0))
    figure = drawn(found, monkeypatch)
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    ticks = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert "1x" in [label.get_text() for label in ticks]
    boxes = [label.get_window_extent() for label in ticks]
    assert len(boxes) > 1
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert not any("e+" in text for words in words_of(figure) for text in words)


def test_the_picture_prints_the_ratios_of_the_table(
    found: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = " ".join(text for words in words_of(drawn(found, monkeypatch)) for text in words)
    table = found.table()
    for row in found.rows:
        ratio = percent(found.ratios(row)[1])
        assert ratio in table
        assert f"{ratio}  (" in shown


def test_where_host_parts_leave_no_latency_table_and_picture_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hosted = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> hosted (float[1, 2, 3, 3] x) => (float[1, 2, 6, 6] y) '
        "<int64 axis = {1}, float[2, 2, 2, 2] w = "
        "{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}> "
        "{ t = CumSum(x, axis) y = ConvTranspose<strides = [2, 2]>(t, w) }"
    )
    options: dict[str, Any] = {
        "mappings": ("red", "packed"), "targets": ("isaac", "red-65nm"), "baseline": "red@isaac"
    }  # fmt: skip
    with pytest.warns(redc.AssumedInputs):
        alone = compare(hosted, **options)
    with pytest.warns(redc.AssumedInputs):
        both = compare([hosted, "GAN_Deconv4"], **options)
    note = "note: no latency of hosted, nor a speed-up between targets: what host parts take is not known"
    assert note in alone.table()
    assert note in both.table()
    assert "no latency of" not in compare("GAN_Deconv4", **options).table()
    why = "no latency: it has host parts"
    assert words_of(drawn(alone, monkeypatch))[3].count(why) == 1  # of all lines of red-65nm
    assert words_of(drawn(both, monkeypatch))[3].count(why) == 2  # of the model's two lines
    assert not any(why in words for words in words_of(drawn(both, monkeypatch))[:3])


def test_a_picture_of_nothing_published_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "prime.png"
    assert (
        main(["compare", "GAN_Deconv3", "--targets", "prime", "--mappings", "red", "--plot", str(path)]) == 0
    )
    assert path.stat().st_size > 1000


def test_without_matplotlib_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["compare", "GAN_Deconv3", "--plot", "out.png", "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert "pip install 'redc[plot]'" in error["hint"]
    assert main(["compare", "GAN_Deconv3", "--plot", "out.gif", "--json"]) == 2
    assert "neither .png nor .svg" in json.loads(capsys.readouterr().out)["errors"][0]["message"]


def test_bars_of_no_component_have_no_components_colour() -> None:
    assert PLAIN not in PART_COLOURS.values()


def test_weights_that_are_inputs_are_bound_for_the_model_that_has_them() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]>'
        "up (float[1, 2, 3, 3] a, float[2, 3, 2, 2] w) => (float[1, 3, 6, 6] y)"
        "{ y = ConvTranspose<strides = [2, 2]>(a, w) }"
    )
    options: dict[str, Any] = {"mappings": ("red",), "targets": ("isaac",)}
    with pytest.raises(UserError, match="its weight is a graph input"):
        compare(model, **options)
    with pytest.warns(redc.AssumedInputs):
        found = compare([model, "GAN_Deconv4"], bind={"w": np.ones((2, 3, 2, 2), np.float32)}, **options)
    assert [row.problem for row in found.rows] == [None, None]


def test_targets_of_one_name_are_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(Path(str(FOLDER / "isaac.toml")).read_text())
    for targets in (f"isaac,{mine}", f"{mine},isaac"):
        assert main(["compare", "GAN_Deconv4", "--targets", targets, "--baseline", "red@isaac"]) == 2
        error = capsys.readouterr().err
        assert "--targets: two targets are called 'isaac'" in error
        assert f'hint: give one another name: name = "..." in {mine}' in error


def test_a_model_of_host_parts_alone_has_no_cost_because_nothing_runs_on_the_accelerator() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> net (float[1, 8] x) => (float[1, 8] y) <int64 axis = {1}> '
        "{ y = CumSum(x, axis) }"
    )
    text = compare(model, mappings=("red",), targets=("isaac",)).table()
    note = "no latency and no energy: nothing runs on the accelerator of isaac: host parts (1 call, "
    assert note in text
    assert "published" not in text


def test_mappings_that_have_nothing_to_map_are_told() -> None:
    told = "note: mappings differ in ConvTransposes only, and the accelerator runs none of net"
    for op, alike in (("Conv", True), ("ConvTranspose", False)):
        model = onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 13]> net (float[1, 2, 4, 4] x) => (float[1, 2, H, W] y)'
            "<float[2, 2, 1, 1] w = {1, 2, 3, 4}> { y = " + op + "(x, w) }"
        )
        options: dict[str, Any] = {
            "targets": ("isaac",),
            "calibrate": {"x": np.ones((1, 2, 4, 4), np.float32)},
        }
        for mappings, several in ((("red", "packed", "zero-padding"), True), (("red",), False)):
            text = compare(model, mappings=mappings, **options).table()
            assert (told in text) == (alike and several)
