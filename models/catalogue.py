"""The list of models: what each is, where it comes from, what its inputs look like.

Nothing here opens a model, so listing is cheap.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

HOME = Path(__file__).parent
ZOO = HOME / "zoo"

Inputs = Literal["normal", "rectified normal", "recorded"]
"""How samples of a model's inputs are drawn: standard normal; its positive part, zero elsewhere
(what a layer after a Relu sees); or the one natural input recorded beside the model."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model.  `inputs` maps the name of each input to its shape, open axes set to a default;
    `open_inputs` names those whose shape the file leaves open; a `resizable` one takes NAME@HxW."""

    name: str
    kind: Literal["zoo", "builder"]
    what: str
    source: str
    licence: str
    inputs: Mapping[str, tuple[int, ...]]
    drawn: Inputs
    open_inputs: frozenset[str] = field(default=frozenset())
    resizable: bool = False


_ZOO = (
    Entry(
        name="dcgan_face64",
        kind="zoo",
        what="DCGAN face generator, z[N,100,1,1] to image[N,3,64,64]: 5 ConvTranspose, trained",
        source="PyPI gan-face-generate 1.1.1, state dict converted to ONNX",
        licence="MIT",
        inputs={"z": (1, 100, 1, 1)},
        drawn="normal",
        open_inputs=frozenset({"z"}),
    ),
    Entry(
        name="fcn8s_upscore2",
        kind="zoo",
        what="2x upsampling of voc-fcn8s, 21 channels, k4 s2, 16x16 to 34x34, bilinear weights",
        source="analytic",
        licence="Apache-2.0",
        inputs={"score": (1, 21, 16, 16)},
        drawn="normal",
    ),
    Entry(
        name="fcn8s_upscore8",
        kind="zoo",
        what="8x upsampling of voc-fcn8s, 21 channels, k16 s8, 70x70 to 568x568, bilinear weights",
        source="analytic",
        licence="Apache-2.0",
        inputs={"score": (1, 21, 70, 70)},
        drawn="normal",
    ),
    Entry(
        name="ppocrv4_db_head",
        kind="zoo",
        what="text-detection head of PP-OCRv4, [N,96,H,W] to [N,1,4H,4W]: Conv, 2 ConvTranspose, trained",
        source="extracted from ch_PP-OCRv4_det_infer.onnx of PyPI rapidocr-onnxruntime 1.4.4",
        licence="Apache-2.0",
        inputs={"p2o.Concat.1": (1, 96, 80, 160)},
        drawn="recorded",
        open_inputs=frozenset({"p2o.Concat.1"}),
    ),
)


def _generator(name: str, what: str, source: str, code: int) -> Entry:
    return Entry(
        name=name,
        kind="builder",
        what=f"{what}, seeded normal weights",
        source=source,
        licence="Apache-2.0",
        inputs={"z": (1, code)},
        drawn="normal",
        open_inputs=frozenset({"z"}),
    )


_NETWORKS = (
    _generator(
        "DCGAN",
        "DCGAN generator, z[N,100] to image[N,3,64,64]: Gemm, 4 ConvTranspose k5x5 s2x2",
        "Radford et al., ICLR 2016",
        100,
    ),
    _generator(
        "Improved_GAN",
        "Improved GAN generator, z[N,100] to image[N,3,32,32]: Gemm, 3 ConvTranspose k5x5 s2x2",
        "Salimans et al., NeurIPS 2016",
        100,
    ),
    *(
        _generator(
            f"SNGAN_{size}",
            f"SNGAN generator, z[N,128] to image[N,3,{size},{size}]: Gemm, 3 ConvTranspose k4x4 s2x2, Conv",
            "Miyato et al., ICLR 2018, table 3",
            128,
        )
        for size in (32, 48)
    ),
    Entry(
        name="FCN8s_upsampling",
        kind="builder",
        what="upsampling path of voc-fcn8s, scores of 16x16, 44x44, 88x88 to 500x500: 3 ConvTranspose, "
        "2 crops, 2 Add, bilinear weights",
        source="Long et al., CVPR 2015",
        licence="Apache-2.0",
        inputs={
            "score_fr": (1, 21, 16, 16), "score_pool4": (1, 21, 44, 44), "score_pool3": (1, 21, 88, 88)
        },
        drawn="normal",
    ),
)  # fmt: skip


@cache
def red_layers() -> tuple[Mapping[str, Any], ...]:
    """The rows of red_layers.json: the layer table of the RED paper."""
    table = json.loads((HOME / "red_layers.json").read_text(encoding="utf-8"))
    return tuple(table["layers"])


@cache
def entries() -> tuple[Entry, ...]:
    """Every model: the zoo, the layers of the RED paper, the networks they come from."""
    return _ZOO + tuple(_built(row) for row in red_layers()) + _NETWORKS


def _built(row: Mapping[str, Any]) -> Entry:
    def by(values: list[int]) -> str:
        return "x".join(map(str, values))

    bilinear = row["network"].startswith("voc-fcn8s")
    return Entry(
        name=row["name"],
        kind="builder",
        what=f"one ConvTranspose of {row['network']}, {row['c']} to {row['m']} channels, "
        f"k{by(row['kernel'])} s{by(row['stride'])}, {by(row['in'])} to {by(row['out'])}, "
        + ("bilinear weights" if bilinear else "seeded normal weights"),
        source="layer table of RED (DATE 2019)",
        licence="Apache-2.0",
        inputs={"x": (1, row["c"], *row["in"])},
        drawn="normal" if bilinear else "rectified normal",
        resizable=True,
    )
