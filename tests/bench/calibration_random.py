"""The default calibration beside onnxruntime's quantize_static, on random networks and samples.

    python tests/bench/calibration_random.py [NETWORKS [FIRST]]

Multilayer perceptrons, CNNs with residuals and generators with ConvTranspose, of random weights; 1 to
32 calibration samples and 12 others of one of six kinds: normal; one in ten 20 times as large; sizes
that differ 1000-fold; nothing negative; cubes of normal ones; sparse peaks and an offset.  8/8 bits.
Prints, by number of calibration samples, how far redc lies above onnxruntime (the better of U8/S8 and
S8/S8, QDQ, per channel, after its own pre-processing) in dB of SQNR against the float model: the mean
over the new samples, and all of them pooled.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import redc
import runtime

Values = list[np.ndarray]
KINDS = ("normal", "odd", "sizes", "positive", "cubes", "peaks")
COUNTS = (1, 2, 3, 6, 10, 32)
NEW = 12


class Network:
    """A chain of random operators behind the input `x`; `tensor` is its last one, of `shape`."""

    def __init__(self, rng: np.random.Generator, kind: str) -> None:
        self.rng = rng
        size = int(rng.integers(6, 17))
        self.input = [1, 64] if kind == "mlp" else [1, int(rng.integers(2, 9)), size, size]
        self.tensor, self.shape = "x", list(self.input)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        for _ in range(int(rng.integers(2, 6))):
            self.dense() if kind == "mlp" else self.convolution(kind == "generator")
        if kind == "mlp":
            self.dense(10, end=True)

    def add(self, op: str, *inputs: str, **attributes: object) -> None:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.tensor, *inputs], [name], **attributes))
        self.tensor = name

    def constant(self, *shape: int, scale: float) -> str:
        name = f"w{len(self.weights)}"
        values = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        self.weights.append(onnx.numpy_helper.from_array(values, name))
        return name

    def dense(self, width: int = 0, end: bool = False) -> None:
        width = width or int(self.rng.choice([16, 64, 256]))
        depth, self.shape = self.shape[1], [1, width]
        self.add("Gemm", self.constant(depth, width, scale=1.4 / depth**0.5), self.constant(width, scale=0.2))
        if not end:
            self.add(str(self.rng.choice(["Relu", "Tanh", "LeakyRelu"])))

    def convolution(self, grows: bool) -> None:
        source, before = self.tensor, self.shape
        depth, width = before[1], int(self.rng.choice([4, 8, 16]))
        if grows and before[2] < 20 and self.rng.random() < 0.6:
            weight = self.constant(depth, width, 4, 4, scale=1.4 / (depth * 4) ** 0.5)
            self.add("ConvTranspose", weight, strides=[2, 2], pads=[1, 1, 1, 1])
            self.shape = [1, width, 2 * before[2], 2 * before[3]]
        else:
            weight = self.constant(width, depth, 3, 3, scale=1.4 / (depth * 9) ** 0.5)
            self.add("Conv", weight, self.constant(width, scale=0.2), pads=[1, 1, 1, 1])
            self.shape = [1, width, *before[2:]]
        if self.shape == before and self.rng.random() < 0.6:
            self.add("Add", source)
        self.add(str(self.rng.choice(["Relu", "LeakyRelu", "Sigmoid", "Elu", "HardSwish"])))

    def model(self) -> onnx.ModelProto:
        ends = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
            for name, shape in (("x", self.input), (self.tensor, self.shape))
        ]
        graph = helper.make_graph(self.nodes, "random", ends[0], ends[1], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def drawn(rng: np.random.Generator, kind: str, shape: list[int]) -> np.ndarray:
    x = rng.standard_normal(shape)
    if kind == "odd":
        x *= 20 if rng.random() < 0.1 else 1
    elif kind == "sizes":
        x *= 10 ** rng.uniform(-2, 1)
    elif kind == "positive":
        x = np.abs(x)
    elif kind == "cubes":
        x = x**3
    elif kind == "peaks":
        x = x * (1 + 3 * (rng.random(shape) < 0.02)) + rng.standard_normal()
    return x.astype(np.float32)


def session(model: onnx.ModelProto):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    ready = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda x: ready.run(None, {"x": x})[0]


def onnxruntimes(model: onnx.ModelProto, samples: Values, activation: QuantType):
    """quantize_static's model, calibrated on `samples`, as a function of the input."""

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self):
            return next(({"x": x} for x in self.left), None)

    with tempfile.TemporaryDirectory() as folder:
        source, ready, target = (str(Path(folder, name)) for name in ("a.onnx", "b.onnx", "c.onnx"))
        onnx.save(model, source)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        kinds = {"activation_type": activation, "weight_type": QuantType.QInt8}
        quantize_static(ready, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **kinds)
        return session(onnx.load(target))


def decibels(wanted: np.ndarray, got: np.ndarray) -> float:
    error = ((got.astype(np.float64) - wanted) ** 2).sum()
    return float(10 * np.log10((wanted.astype(np.float64) ** 2).sum() / max(error, 1e-300)))


def above(seed: int) -> tuple[int, float, float]:
    """(calibration samples, dB above onnxruntime on average, the same pooled) of the network `seed`."""
    rng = np.random.default_rng(seed)
    network = Network(rng, str(rng.choice(["mlp", "cnn", "generator"])))
    model, kind, count = network.model(), str(rng.choice(KINDS)), int(rng.choice(COUNTS))
    samples = [drawn(rng, kind, network.input) for _ in range(count)]
    new = [drawn(rng, kind, network.input) for _ in range(NEW)]
    wanted = [session(model)(x) for x in new]
    program = runtime.Session(redc.compile(model, calibrate={"x": np.concatenate(samples)}))
    both = [onnxruntimes(model, samples, kind) for kind in (QuantType.QUInt8, QuantType.QInt8)]

    def judged(run) -> np.ndarray:
        got = [run(x) for x in new]
        each = np.mean([decibels(w, g) for w, g in zip(wanted, got, strict=True)])
        return np.array([each, decibels(np.stack(wanted), np.stack(got))])

    gain = judged(lambda x: program.run(None, {"x": x})[0]) - np.max([judged(run) for run in both], axis=0)
    return count, float(gain[0]), float(gain[1])


def main(words: list[str]) -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    networks, first = [int(word) for word in [*words, *("100", "0")[len(words) :]]]
    found = np.array([above(seed) for seed in range(first, first + networks)])
    print("| samples | networks | above, mean of decibels: median, least, below | above, pooled |")
    print("| --- | --- | --- | --- |")
    for count in COUNTS:
        gains = found[found[:, 0] == count][:, 1:].T
        if gains.size:
            cells = [f"{np.median(g):.1f}, {g.min():.1f}, {(g < 0).sum()}" for g in gains]
            print(f"| {count} | {gains.shape[1]} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main(sys.argv[1:])
