"""Small things that a user is told: where scales come from, what has a latency, what is not to scale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest

import redc
from redc.cli import main
from redc.compare import compare

ROOT = Path(__file__).parents[2]
OWN = "scales: from the given inputs themselves"
X = {"x": np.random.default_rng(3).standard_normal((1, 2, 4, 4)).astype(np.float32)}


def model(body: str, ports: str = "(float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g {ports} '
        f"<float[2, 2, 1, 1] w = {{1, -2, 0.5, 3}}> {{ {body} }}"
    )


def test_diff_says_when_its_scales_come_from_the_inputs_that_it_tests() -> None:
    conv = model("y = Conv(x, w)")
    assert OWN in "\n".join(redc.diff(conv, inputs=X).about)
    assert OWN not in "\n".join(redc.diff(conv, inputs=X, calibrate=X).about)
    with pytest.warns(redc.AssumedInputs):
        assert OWN not in "\n".join(redc.diff(conv).about)


def test_what_was_assumed_is_a_warning_of_the_line_that_called() -> None:
    conv = model("y = Conv(x, w)")
    for call in (lambda: redc.compile(conv), lambda: redc.diff(conv), lambda: compare(conv)):
        with pytest.warns(redc.AssumedInputs) as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}


def test_scales_that_the_model_brings_come_from_no_inputs() -> None:
    codes = model(
        "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"
        " s = Constant<value = float {0.5}>() z = Constant<value = int8 {0}>()"
    )
    assert OWN not in "\n".join(redc.diff(codes, inputs=X).about)


def test_a_value_that_is_no_number_on_assumed_samples_asks_for_real_ones() -> None:
    with pytest.warns(redc.AssumedInputs), pytest.raises(redc.UserError) as caught:
        redc.compile(model("a = Conv(x, w) b = Log(a) y = Relu(b)"), host=False)
    assert "no samples were given and these are assumed" in str(caught.value.hint)


def test_layers_beside_host_parts_have_a_latency_and_the_total_has_none() -> None:
    document = redc.diff(model("a = Conv(x, w) y = Sinh(a)"), inputs=X).as_dict()
    by_kind = {layer["kind"]: layer["latency_s"] for layer in document["layers"]}
    assert by_kind["crossbar"] > 0
    assert by_kind["host"] is None
    assert document["totals"]["latency_s"] is None


@pytest.mark.parametrize(("mapping", "told"), [("packed", True), ("pixel-wise", False)])
def test_a_picture_of_arrays_says_where_it_is_not_to_scale(
    mapping: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    drawn: list[Any] = []
    monkeypatch.setattr("redc.array_plot.write_figure", lambda figure, _: drawn.append(figure))
    assert main(["map", "GAN_Deconv4", "--mapping", mapping, "--plot", str(tmp_path / "p.png")]) == 0
    assert ("not to scale" in drawn[0].axes[0].get_title(loc="left")) == told


@pytest.mark.parametrize("module", ["redc", "redc.cli"])
def test_the_command_line_is_a_module_too(module: str) -> None:
    words = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"redc {redc.__version__}\n"
