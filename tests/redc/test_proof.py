"""A compiler writes no program that its own verifier refuses; nobody verifies what is verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest

import isa
import redc
from isa.verifier.code import CodeCheck
from redc.cli import main
from redc.compiler import compile_with
from redc.errors import UserError
from redc.passes import Options

X = {"x": np.random.default_rng(2).standard_normal((1, 2)).astype(np.float32)}


def quantised(x: str = "0.01", w: str = "0.01", y: str = "0.01") -> Any:
    """A MatMul between quantisers, by the scales of its input, weights and output."""
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
    net (float[1, 2] x) => (float[1, 2] y)
    <float sx = {{{x}}}, float sw = {{{w}}}, float sy = {{{y}}}, int8[2, 2] w = {{1, 2, 3, -4}},
     int8 z = {{0}}> {{
      xq = QuantizeLinear(x, sx, z)
      xd = DequantizeLinear(xq, sx, z)
      wd = DequantizeLinear(w, sw, z)
      c = MatMul(xd, wd)
      yq = QuantizeLinear(c, sy, z)
      y = DequantizeLinear(yq, sy, z)
    }}"""
    )


@pytest.mark.parametrize(
    ("scales", "far"),
    [
        ({"y": "1e-45"}, "1.4e-45"),
        ({"x": "1", "y": "1e-38"}, "1e-38"),
        ({"x": "3e38"}, "3e+38"),
        ({"w": "3e37", "y": "1e-5"}, "1.2e+38"),
    ],
)
def test_scales_too_far_apart_are_an_error_of_the_layer(
    scales: dict[str, str], far: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(quantised(**scales), path)
    assert main(["compile", str(path), "-o", str(tmp_path / "net.red")]) == 2
    told = capsys.readouterr().err
    assert "net.onnx: layer 'MatMul_c' (MatMul), tensor 'y': the factor that makes its codes" in told
    assert f"if {far} is meant, rescale the model" in told
    assert [found.name for found in tmp_path.iterdir()] == ["net.onnx"]
    with pytest.raises(UserError, match="beyond what float32 holds"):
        redc.compile(quantised(**scales), calibrate=X)
    with pytest.raises(UserError, match="beyond what float32 holds"):
        redc.diff(quantised(**scales), inputs=X)


def test_a_program_is_verified_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[isa.Program] = []
    check = CodeCheck.run

    def counting(self: CodeCheck) -> None:
        ran.append(self.facts.program)
        check(self)

    monkeypatch.setattr(CodeCheck, "run", counting)
    model = quantised()
    assert redc.diff(model, inputs=X).passed
    assert len(ran) == 1
    redc.montecarlo(model, inputs=X, trials=2, target="isaac")
    assert len(ran) == 2
    program = redc.compile(model, calibrate=X)
    assert len(ran) == 3
    assert redc.diff(model, program, X).passed
    assert len(ran) == 4
    compile_with(model, Options(), calibrate=X, observe=False)  # its scales mean nothing
    assert len(ran) == 4


def test_a_program_that_somebody_spoilt_is_refused_by_diff_and_montecarlo(tmp_path: Path) -> None:
    isa.save(redc.compile(quantised(), calibrate=X, target="isaac"), tmp_path / "p.red")
    text = (tmp_path / "p.red").read_text()
    (tmp_path / "p.red").write_text(text.replace("fire", "; fire"))
    with pytest.raises(isa.ProgramError, match="no fire") as caught:
        redc.diff(quantised(), tmp_path / "p.red", X)
    assert {found.layer for found in caught.value.diagnostics} == {"MatMul_c"}
    with pytest.raises(isa.ProgramError, match="no fire"):
        redc.montecarlo(quantised(), tmp_path / "p.red", X)
