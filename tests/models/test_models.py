"""The shelf of models: what it promises about names, shapes, weights and bytes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import models
from models.builders import bilinear, build
from models.catalogue import ZOO, red_layers
from models.networks import NETWORKS

ROWS = {row["name"]: row for row in red_layers()}
BUILDERS = [entry.name for entry in models.describe() if entry.kind == "builder"]
LAYERS = [entry.name for entry in models.describe() if entry.resizable]
STORED = [entry.name for entry in models.describe() if entry.kind == "zoo"]


def session(model: onnx.ModelProto) -> Any:
    return onnxruntime.InferenceSession(model.SerializeToString())


def weights(model: onnx.ModelProto) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(model.graph.initializer[0])


def test_the_zoo_and_the_layer_table_are_listed() -> None:
    assert STORED == ["dcgan_face64", "fcn8s_upscore2", "fcn8s_upscore8", "ppocrv4_db_head"]
    assert list(ROWS) == LAYERS
    assert [*LAYERS, *NETWORKS] == BUILDERS
    assert models.names() == (*STORED, *BUILDERS)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_the_shapes_of_its_row(name: str) -> None:
    row = ROWS[name]
    model = models.load(name)
    runner = session(model)
    (x,) = runner.get_inputs()
    assert x.shape == [1, row["c"], *row["in"]]
    (y,) = runner.run(None, {x.name: np.zeros(x.shape, np.float32)})
    assert list(y.shape) == [1, row["m"], *row["out"]] == runner.get_outputs()[0].shape
    assert list(weights(model).shape) == [row["c"], row["m"], *row["kernel"]]


@pytest.mark.parametrize(
    ("built", "stored"), [("FCN_Deconv1", "fcn8s_upscore2"), ("FCN_Deconv2", "fcn8s_upscore8")]
)
def test_the_bilinear_weights_are_those_of_voc_fcn8s(built: str, stored: str) -> None:
    np.testing.assert_array_equal(weights(models.load(built)), weights(models.load(stored)))


def test_bilinear_weights_by_hand() -> None:
    np.testing.assert_array_equal(bilinear(1, [3])[0, 0], [0.5, 1, 0.5])
    np.testing.assert_array_equal(bilinear(2, [4])[1, 1], [0.25, 0.75, 0.75, 0.25])
    assert not bilinear(2, [4])[0, 1].any()


def test_seeded_weights_never_change_and_differ_between_layers() -> None:
    first, second = weights(models.load("GAN_Deconv1")), weights(models.load("GAN_Deconv2"))
    np.testing.assert_array_equal(first, weights(models.load("GAN_Deconv1")))
    assert first.shape == second.shape
    assert (first != second).mean() > 0.99
    drawn = np.random.default_rng([2019, 0]).standard_normal(first.shape) * 0.02
    np.testing.assert_array_equal(first, drawn.astype(np.float32))


def test_a_builders_input_can_be_resized() -> None:
    model = models.load("fcn_deconv2@9x5")
    runner = session(model)
    assert runner.get_inputs()[0].shape == [1, 21, 9, 5]
    assert runner.get_outputs()[0].shape == [1, 21, 80, 48]
    np.testing.assert_array_equal(weights(model), weights(models.load("FCN_Deconv2")))
    assert models.samples("FCN_Deconv2@9x5", 2, 0)["x"].shape == (2, 21, 9, 5)  # type: ignore[index]  # not None


@pytest.mark.parametrize("size", [(3,), (3, 0)])
def test_a_builder_refuses_a_size_that_is_none(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="2 sizes"):
        build("FCN_Deconv1", size)


@pytest.mark.parametrize(
    ("network", "node", "layer"),
    [
        ("DCGAN", "up2", "GAN_Deconv1"),
        ("Improved_GAN", "up1", "GAN_Deconv2"),
        ("SNGAN_32", "up1", "GAN_Deconv3"),
        ("SNGAN_48", "up1", "GAN_Deconv4"),
        ("FCN8s_upsampling", "upscore2", "FCN_Deconv1"),
    ],
)
def test_a_network_holds_the_layer_that_the_paper_takes_from_it(network: str, node: str, layer: str) -> None:
    model, row = models.load(network), ROWS[layer]
    onnx.checker.check_model(model)
    found = next(n for n in model.graph.node if n.name == node)
    held = {a.name: list(a.ints) for a in found.attribute}
    assert held["strides"] == row["stride"]
    assert held["pads"] == row["pads"]
    assert held.get("output_padding", [0, 0]) == row["output_padding"]
    weight = next(w for w in model.graph.initializer if w.name == found.input[1])
    assert list(weight.dims) == [row["c"], row["m"], *row["kernel"]]


@pytest.mark.parametrize(("name", "low", "high"), [("Improved_GAN", 0.1, 0.6), ("SNGAN_32", 0.1, 0.6)])
def test_a_generators_activations_keep_their_size(name: str, low: float, high: float) -> None:
    drawn = models.samples(name, 4, 0)
    assert drawn is not None
    (image,) = session(models.load(name)).run(None, drawn)
    assert low < image.std() < high


@pytest.mark.parametrize("name", models.names())
def test_names_resolve_whatever_their_case(name: str) -> None:
    assert models.load(name.upper()).graph.name == models.load(name.lower()).graph.name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dcgan_face", "no model is called 'dcgan_face'; did you mean dcgan_face64"),
        ("FCN_Deconv2@70", "a size is written as in FCN_Deconv2@32x32"),
        ("FCN_Deconv2@0x7", "a size is written as in FCN_Deconv2@32x32"),
        ("dcgan_face64@8x8", "only the input of a layer of the RED paper can be resized"),
        ("DCGAN@8x8", "only the input of a layer of the RED paper can be resized"),
        ("", "no model is called ''"),
        ("../zoo/dcgan_face64", "no model is called"),
    ],
)
def test_an_unknown_name_is_answered_with_a_hint(name: str, message: str) -> None:
    with pytest.raises(models.UnknownModel) as caught:
        models.load(name)
    assert message in str(caught.value)
    assert models.samples(name, 1, 0) is None


def test_the_zoo_is_byte_for_byte_what_was_recorded() -> None:
    lines = (ZOO / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    recorded = {name: digest for digest, name in map(str.split, lines)}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("*.onnx", "*.npz")
        for path in ZOO.glob(pattern)
    }
    assert found == recorded
    assert {f"{name}.onnx" for name in STORED} <= set(found)


@pytest.mark.parametrize("name", STORED)
def test_every_stored_model_has_its_licence_told(name: str) -> None:
    line = next(
        line
        for line in (ZOO / "README.md").read_text(encoding="utf-8").splitlines()
        if f"`{name}.onnx`" in line
    )
    licence = next(entry.licence for entry in models.describe() if entry.name == name)
    assert licence in line
    assert (ZOO / f"LICENSE-{name}").exists() == (f"`LICENSE-{name}`" in line)


@pytest.mark.parametrize("name", models.names())
def test_samples_and_default_shapes_fit_the_model(name: str) -> None:
    runner = session(models.load(name))
    drawn = models.samples(name, 3, 0)
    assert drawn is not None
    assert set(drawn) == {x.name for x in runner.get_inputs()}
    shapes = models.default_shapes(name)
    for x in runner.get_inputs():
        declared = shapes.get(x.name, tuple(x.shape))
        assert all(isinstance(size, int) for size in declared), "an open axis has no default"
        assert (x.name in shapes) == any(isinstance(size, str) for size in x.shape)
        assert drawn[x.name].shape[1:] == declared[1:]
        assert drawn[x.name].dtype == np.float32
    runner.run(None, {key: value[:1] for key, value in drawn.items()})


def test_samples_come_from_the_seed() -> None:
    z = np.random.default_rng(7).standard_normal((4, 100, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(models.samples("DCGAN_face64", 4, 7)["z"], z)  # type: ignore[index]  # not None
    x = models.samples("GAN_Deconv3", 1, 7)["x"]  # type: ignore[index]  # not None
    assert x.min() == 0
    assert 0.4 < (x == 0).mean() < 0.6


@pytest.mark.parametrize("name", ["dcgan_face64", "ppocrv4_db_head"])
def test_the_recorded_output_is_onnxruntimes(name: str) -> None:
    runner = session(models.load(name))
    with np.load(ZOO / f"{name}.io.npz") as recorded:
        feed = {x.name: recorded[f"in_{x.name}"] for x in runner.get_inputs()}
        (y,) = runner.get_outputs()
        np.testing.assert_allclose(runner.run(None, feed)[0], recorded[f"out_{y.name}"], atol=1e-4)


def test_listing_imports_neither_onnx_nor_numpy() -> None:
    code = (
        "import sys, models; models.names(); models.describe(); models.default_shapes('dcgan_face64');"
        "print(sorted({'onnx', 'numpy', 'redc', 'isa', 'runtime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
