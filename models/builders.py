"""Models that are built, not stored: the six layers of the RED paper's table, one ConvTranspose each.

Input `x` [1, C, H, W], weights `w`, output `y`; no bias; the node is named as the layer.

Weights of the GAN layers are drawn from N(0, 0.02), the distribution DCGAN training starts from
(Radford et al., 2016), by `numpy.random.default_rng([2019, row])` with the row's place in
red_layers.json, so every layer has its own and they never change.  The FCN layers have the weights
voc-fcn8s has: bilinear interpolation, each channel for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from .catalogue import red_layers

if TYPE_CHECKING:
    from onnx import ModelProto

F32 = npt.NDArray[np.float32]
OPSET, IR_VERSION = 13, 8
SEED = 2019
DEVIATION = 0.02


def build(name: str, size: Sequence[int] | None = None) -> ModelProto:
    """The layer `name` of red_layers.json, its input resized to `size` where given.

    Raises KeyError for another name, ValueError for a size of another rank or below 1.
    """
    index, row = next(((i, r) for i, r in enumerate(red_layers()) if r["name"] == name), (0, None))
    if row is None:
        raise KeyError(name)
    size = tuple(size or row["in"])
    if len(size) != len(row["in"]) or min(size) < 1:
        raise ValueError(f"{name} takes {len(row['in'])} sizes of at least 1, not {list(size)}")
    rank, c, m, kernel = len(size), row["c"], row["m"], row["kernel"]
    if row["network"].startswith("voc-fcn8s"):
        weights = bilinear(c, kernel)
    else:
        rng = np.random.default_rng([SEED, index])
        weights = (rng.standard_normal((c, m, *kernel)) * DEVIATION).astype(np.float32)
    pads, stride, extra = row["pads"], row["stride"], row["output_padding"]
    out = [stride[d] * (size[d] - 1) + kernel[d] + extra[d] - pads[d] - pads[rank + d] for d in range(rank)]
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w"],
        ["y"],
        name=name,
        kernel_shape=kernel,
        strides=stride,
        pads=pads,
        output_padding=extra,
    )
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, c, *size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, m, *out])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(
        graph,
        producer_name="redc models",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model


def bilinear(channels: int, kernel: Sequence[int]) -> F32:
    """Weights [channels, channels, *kernel] that interpolate each channel linearly along every axis.

    Along an axis of k weights, weight i is `1 - |i - centre| / f` with f = (k + 1) // 2 and the
    centre at f - 1 (k odd) or f - 0.5 (k even): the filter of Long, Shelhamer and Darrell (2015).
    """
    pixel = np.ones((), dtype=np.float64)
    for k in kernel:
        factor = (k + 1) // 2
        centre = factor - 1 if k % 2 else factor - 0.5
        pixel = np.multiply.outer(pixel, 1 - np.abs(np.arange(k) - centre) / factor)
    weights = np.zeros((channels, channels, *kernel), dtype=np.float32)
    diagonal = np.arange(channels)
    weights[diagonal, diagonal] = pixel
    return weights
