"""`redc diff NAME` of every built network; the layers have tests of their own."""

from __future__ import annotations

import pytest

import models
import redc
from models.networks import NETWORKS

SMALL = [
    name for name in NETWORKS if name != "DCGAN"
]  # Improved_GAN and one layer more, for ten times the time


@pytest.mark.parametrize("name", SMALL)
def test_a_built_network_is_exact_and_near_the_float_model(name: str) -> None:
    report = redc.diff(name, inputs=models.samples(name, 1, 1))
    assert report.passed
    assert len(report.outputs) == 1
    assert report.outputs[0].sqnr_db is not None
    assert report.outputs[0].sqnr_db > 25


def test_dcgan_compiles_with_its_weights_in_place() -> None:
    program = redc.compile("DCGAN", calibrate=models.samples("DCGAN", 1, 0))
    assert [layer.name for layer in program.layers if layer.op == "ConvTranspose"] == [
        "up1",
        "up2",
        "up3",
        "up4",
    ]
