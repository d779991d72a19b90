"""Whole networks that are built, not stored: the generators and the upsampling path that the RED
paper's six layers come from.

DCGAN            Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep
                 Convolutional GANs", ICLR 2016, figure 1: z 100, projected to 4x4x1024, four 5x5
                 deconvolutions of stride 2 to 512, 256, 128 and 3 channels, 64x64
Improved_GAN     Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016, the CIFAR-10
                 generator of its published code: z 100, 4x4x512, 5x5 deconvolutions to 256, 128, 3;
                 the weight norm of its last layer is folded into the weights
SNGAN_32, _48    Miyato et al., "Spectral Normalization for GANs", ICLR 2018, table 3: z 128, 4x4x512
                 (CIFAR-10) or 6x6x512 (STL-10), 4x4 deconvolutions to 256, 128, 64, and a 3x3
                 convolution to 3
FCN8s_upsampling Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation",
                 CVPR 2015, voc-fcn8s of their published code, for an image of 500x500: upscore2, sum
                 with pool4's scores, upscore_pool4, sum with pool3's, upscore8, every crop included

Every layer of a generator but the last ends in BatchNormalization and Relu, the last in tanh.  Its
weights are drawn from N(0, 0.02) by `numpy.random.default_rng([SEED, place in NETWORKS])`.  The
statistics of the normalisations are those that such weights lead to where every layer sees the
positive part of a standard normal variable, so that activations keep their size, as in training.

The inputs of FCN-8s' path are the scores of its three score layers.  Its last crop, from 568x568 to
the image, is the last deconvolution's own pads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from .builders import DEVIATION, IR_VERSION, OPSET, bilinear

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

F32 = npt.NDArray[np.float32]
SEED = 2020
EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Up:
    """A deconvolution of stride 2 that doubles the size, to `channels`."""

    channels: int
    kernel: int


@dataclass(frozen=True, slots=True)
class Generator:
    """z of `code` numbers, projected to `size` x `size` x `width`; `ups`; perhaps a last 3x3 Conv to 3."""

    code: int
    size: int
    width: int
    ups: tuple[Up, ...]
    last_conv: bool = False


def _sngan(size: int) -> Generator:
    return Generator(128, size, 512, (Up(256, 4), Up(128, 4), Up(64, 4)), last_conv=True)


NETWORKS: dict[str, Generator | None] = {
    "DCGAN": Generator(100, 4, 1024, (Up(512, 5), Up(256, 5), Up(128, 5), Up(3, 5))),
    "Improved_GAN": Generator(100, 4, 512, (Up(256, 5), Up(128, 5), Up(3, 5))),
    "SNGAN_32": _sngan(4),
    "SNGAN_48": _sngan(6),
    "FCN8s_upsampling": None,
}
"""None stands for the path that is no generator."""


def build(name: str) -> ModelProto:
    """The network `name`.  Raises KeyError for another name."""
    generator = NETWORKS[name]
    return _fcn8s(name) if generator is None else _generated(name, generator)


class _Layers:
    """Nodes and weights of one generator, in order."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([SEED, seed])
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def constant(self, name: str, value: npt.ArrayLike, kind: type = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def drawn(self, name: str, shape: tuple[int, ...]) -> str:
        values = self.rng.standard_normal(shape, dtype=np.float32) * np.float32(DEVIATION)
        return self.constant(name, values)

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def normalised(self, name: str, x: str, channels: int, variance: float) -> str:
        """BatchNormalization of `variance`, and Relu."""
        gamma = 1 + DEVIATION * self.rng.standard_normal(channels)
        parts = [
            self.constant(f"{name}.gamma", gamma),
            self.constant(f"{name}.beta", np.zeros(channels)),
            self.constant(f"{name}.mean", np.zeros(channels)),
            self.constant(f"{name}.variance", np.full(channels, variance)),
        ]
        normal = self.add("BatchNormalization", [x, *parts], f"{name}_bn", epsilon=EPSILON)
        return self.add("Relu", [normal], f"{name}_relu")


def _generated(name: str, generator: Generator) -> ModelProto:
    layers = _Layers(list(NETWORKS).index(name))
    size, width = generator.size, generator.width
    weight = layers.drawn("project.w", (generator.code, size * size * width))
    x = layers.add("Gemm", ["z", weight], "project")
    shape = layers.constant("project.shape", [-1, width, size, size], np.int64)
    x = layers.add("Reshape", [x, shape], "square")
    x = layers.normalised("project", x, width, generator.code * DEVIATION**2)
    for number, up in enumerate(generator.ups, start=1):
        weight = layers.drawn(f"up{number}.w", (width, up.channels, up.kernel, up.kernel))
        pad, extra = (up.kernel - 1) // 2, up.kernel % 2
        x = layers.add(
            "ConvTranspose", [x, weight], f"up{number}",
            kernel_shape=[up.kernel] * 2, strides=[2, 2], pads=[pad] * 4, output_padding=[extra] * 2,
        )  # fmt: skip
        if generator.last_conv or up is not generator.ups[-1]:
            # Each output sees a quarter of the kernel's pixels; E[relu(x)^2] is a half.
            x = layers.normalised(f"up{number}", x, up.channels, width * up.kernel**2 * DEVIATION**2 / 8)
        width, size = up.channels, size * 2
    if generator.last_conv:
        weight = layers.drawn("rgb.w", (3, width, 3, 3))
        x = layers.add("Conv", [x, weight], "rgb", kernel_shape=[3, 3], pads=[1] * 4)
    layers.add("Tanh", [x], "image")
    return _model(
        name,
        layers,
        {"z": ["N", generator.code]},
        {"image": ["N", 3, size, size]},
    )


def _fcn8s(name: str) -> ModelProto:
    layers = _Layers(list(NETWORKS).index(name))
    classes = 21

    def up(x: str, output: str, stride: int, pads: list[int]) -> str:
        weight = layers.constant(f"{output}.w", bilinear(classes, [2 * stride] * 2))
        return layers.add("ConvTranspose", [x, weight], output, strides=[stride] * 2, pads=pads)

    def crop(x: str, first: int, size: int) -> str:
        bounds = {"starts": [first] * 2, "ends": [first + size] * 2, "axes": [2, 3]}
        parts = [layers.constant(f"{x}c.{key}", value, np.int64) for key, value in bounds.items()]
        return layers.add("Slice", [x, *parts], f"{x}c")

    x = up("score_fr", "upscore2", 2, [0] * 4)
    x = layers.add("Add", [x, crop("score_pool4", 5, 34)], "fuse_pool4")
    x = up(x, "upscore_pool4", 2, [0] * 4)
    x = layers.add("Add", [x, crop("score_pool3", 9, 70)], "fuse_pool3")
    up(x, "score", 8, [31, 31, 37, 37])
    inputs = {"score_fr": 16, "score_pool4": 44, "score_pool3": 88}
    return _model(
        name,
        layers,
        {key: [1, classes, size, size] for key, size in inputs.items()},
        {"score": [1, classes, 500, 500]},
    )


def _model(
    name: str, layers: _Layers, inputs: dict[str, list[int | str]], outputs: dict[str, list[int | str]]
) -> ModelProto:
    def ports(shapes: dict[str, list[int | str]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in shapes.items()]

    graph = helper.make_graph(layers.nodes, name, ports(inputs), ports(outputs), layers.weights)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, producer_name="redc models", opset_imports=opsets, ir_version=IR_VERSION)
