"""redc finds its own models whatever else is called `models`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import redc.shelf

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("foreign", ["package", "empty folder", "module"])
def test_a_models_of_the_users_own_is_not_taken_for_ours(foreign: str, tmp_path: Path) -> None:
    if foreign == "module":
        (tmp_path / "models.py").write_text("MINE = 1\n", encoding="utf-8")
    else:
        (tmp_path / "models").mkdir()
    if foreign == "package":
        (tmp_path / "models" / "__init__.py").write_text("MINE = 1\n", encoding="utf-8")
    ours = tmp_path / "installed"  # where redc is found, and its models are not
    ours.mkdir()
    for name in ("redc", "isa", "runtime"):
        (ours / name).symlink_to(ROOT / name)
    code = (
        "import sys, warnings\n"
        "warnings.simplefilter('error')\n"
        "import models\n"
        "import redc\n"
        "assert redc.compile('GAN_Deconv3').layers\n"
        "assert redc.diff('fcn8s_upscore2').passed\n"
        "for wrong in ('dcgan_face', 'no/such.onnx'):\n"
        "    try: redc.compile(wrong)\n"
        "    except redc.UserError as error: print(error)\n"
        "assert sys.modules['models'] is models and not hasattr(models, 'load')\n"
        "import redc.cli\n"
        "assert redc.cli.main(['models']) in (0, None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ours)])},
    )
    assert done.returncode == 0, done.stderr
    assert "did you mean 'dcgan_face64'?" in done.stdout
    assert "no/such.onnx: there is no such file" in done.stdout


def test_without_a_shelf_files_are_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(redc.shelf, "__file__", str(tmp_path / "redc" / "shelf.py"))
    assert redc.shelf.shelf.__wrapped__() is None
    monkeypatch.setattr("redc.frontend.load.shelf", lambda: None)
    with pytest.raises(redc.UserError, match="there is no such file"):
        redc.compile("dcgan_face64")
