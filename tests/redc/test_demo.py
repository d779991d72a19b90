"""`make demo`: the trained generator compiled, run, compared and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import isa
from redc import demo, picture


def test_bytes_are_the_rounded_range_of_a_tanh() -> None:
    images = np.array([[-1.0], [0.0], [1.0], [3.0]]).reshape(1, 4, 1, 1)[:, :3]
    assert picture.to_bytes(images).tolist() == [[[[0, 128, 255]]]]
    assert picture.to_bytes(np.full((2, 3, 4, 5), 7.0)).shape == (2, 4, 5, 3)
    assert picture.to_bytes(np.full((1, 3, 1, 1), 7.0)).max() == 255


def test_the_grid_holds_every_image_enlarged() -> None:
    rng = np.random.default_rng(0)
    rows = [(name, "two\nlines", rng.integers(0, 255, (3, 4, 5, 3), np.uint8)) for name in ("upper", "lower")]
    drawn = np.asarray(picture.grid("title", rows, enlarge=2))
    right, bottom = drawn.shape[1] - picture.MARGIN, drawn.shape[0] - picture.MARGIN
    last = rows[1][2][-1].repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(drawn[bottom - 8 : bottom, right - 10 : right], last)


def test_equal_faces_differ_in_black(tmp_path: Path) -> None:
    faces = np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32)
    demo.draw(tmp_path / "same.png", faces, faces, 99.0)
    drawn = np.asarray(Image.open(tmp_path / "same.png"))
    right, bottom = drawn.shape[1] - picture.MARGIN, drawn.shape[0] - picture.MARGIN
    assert not drawn[bottom - 24 : bottom, right - 24 : right].any()


def test_the_demo_compiles_runs_compares_and_draws(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert demo.main([str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert err == "", "progress is for a terminal"
    for layer in ("ct0", "ct1", "ct2", "ct3", "ct4"):
        assert layer in out
    for name in ("dcgan_face64.red", "faces.png"):
        assert str(tmp_path / name) in out
    program = isa.load(tmp_path / "dcgan_face64.red")
    assert [layer.name for layer in program.layers] == ["ct0", "ct1", "ct2", "ct3", "ct4"]
    width, height = Image.open(tmp_path / "faces.png").size
    assert width > demo.FACES * 64 * 2
    assert height > 3 * 64 * 2
