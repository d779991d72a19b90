"""The same model and options give the same bytes, whatever the hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import isa
import models
import redc
from isa.files import data_bytes

ROOT = Path(__file__).parents[2]


def _compiled_apart(folder: Path, seed: str) -> tuple[bytes, bytes]:
    """Text and data of one `redc compile` in a process of its own."""
    folder.mkdir()
    command = [sys.executable, "-m", "redc", "compile", "ppocrv4_db_head", "-o", "head.red"]
    shape = ["--shape", "p2o.Concat.1=1,96,16,16"]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, *shape], cwd=folder, env=environment, check=True, capture_output=True)
    return (folder / "head.red").read_bytes(), (folder / "head.safetensors").read_bytes()


def test_compiling_does_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    first = _compiled_apart(tmp_path / "a", "1")
    assert first == _compiled_apart(tmp_path / "b", "4242")


@pytest.mark.parametrize("mapping", ["pixel-wise", "zero-padding", "padding-free"])
def test_compiling_twice_in_one_process_gives_the_same_bytes(mapping: str) -> None:
    model = models.load("FCN_Deconv1")
    samples = models.samples("FCN_Deconv1", 4, 0)
    once, again = (redc.compile(model, mapping=mapping, calibrate=samples) for _ in range(2))
    assert isa.to_text(once) == isa.to_text(again)
    assert data_bytes(once.data) == data_bytes(again.data)
