"""Calibration methods beside onnxruntime's quantize_static, on the same samples and bits.

    python tests/bench/calibration_table.py [--bits 8] [--bias] MODEL [IO.npz] [MODEL [IO.npz] ...]

MODEL is a file or a name of the zoo.  With an IO.npz (keys `in_NAME`) its inputs both calibrate and
test; a name of the zoo alone is calibrated on 64 samples of default_rng(0) and tested on 8 of each of
default_rng(1..3) (or as many as its batch).  Prints the table of docs/quantisation.md: SQNR in dB
against onnxruntime's float model, the worst output's, the median over test sets.  onnxruntime's
column is the better of U8/S8 and S8/S8, QDQ, per channel, after its own pre-processing; what it cannot
quantise per channel (ConvTranspose of several groups) it keeps in float.  `--bias` adds a column with
the default method and `--bias-correction`.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import runtime
from redc.compiler import compile_with
from redc.frontend import load_model
from redc.oracle import Network
from redc.passes import Options
from redc.ranges import METHODS
from redc.shelf import needed_shelf

Feeds = Mapping[str, np.ndarray]
PER_CHANNEL_OPSET = 13
models = needed_shelf()  # onnxruntime.quantization puts a folder with another `models` on sys.path


def decibels(wanted: Feeds, got: Feeds) -> float:
    """The worst output's SQNR."""
    found = []
    for name, value in wanted.items():
        signal, error = value.astype(np.float64), got[name].astype(np.float64) - value
        found.append(10 * np.log10((signal**2).sum() / max((error**2).sum(), 1e-300)))
    return min(found)


def judge(run, reference, tests: Sequence[Feeds]) -> float:
    return float(np.median([decibels(reference(feeds), run(feeds)) for feeds in tests]))


def onnxruntimes(model: onnx.ModelProto, runs: Sequence[Feeds], activation: QuantType):
    """quantize_static's model, calibrated on `runs`, as a function of feeds."""

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = iter(runs)

        def get_next(self):
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        source, ready, target = (str(Path(folder, name)) for name in ("a.onnx", "b.onnx", "c.onnx"))
        if model.opset_import[0].version < PER_CHANNEL_OPSET:
            model = onnx.version_converter.convert_version(model, PER_CHANNEL_OPSET)
        onnx.save(model, source)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=activation,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_grouped(onnx.load(ready)),
        )
        return session(onnx.load(target))


def _grouped(model: onnx.ModelProto) -> list[str]:
    """The ConvTransposes of several groups: quantize_static has fewer scales for them than biases."""
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "ConvTranspose" and any(a.name == "group" and a.i > 1 for a in node.attribute)
    ]


def session(model: onnx.ModelProto):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    content = model.SerializeToString()
    try:
        ready = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    except Fail:  # its optimiser trips over quantize_static's own model of PP-OCRv4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        ready = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    names = [value.name for value in ready.get_outputs()]
    return lambda feeds: dict(zip(names, ready.run(names, dict(feeds)), strict=True))


def row(name: str, io: str | None, bits: int, bias: bool) -> str:
    model = load_model(name)
    if io is None:
        network = Network(model)
        fixed = [s[0] for n in network.inputs if (s := network.declared_shape(n)) and s[0]]
        size = min(fixed, default=8)
        samples = models.samples(name, 64 // size * size, 0)
        tests = [t for seed in (1, 2, 3) if (t := models.samples(name, size, seed)) is not None]
        assert samples is not None
        runs = [{n: v[i : i + size] for n, v in samples.items()} for i in range(0, 64 // size * size, size)]
    else:
        with np.load(io) as file:
            samples = {key[3:]: file[key] for key in file.files if key.startswith("in_")}
        tests = runs = [samples]
    shapes = {n: v.shape for n, v in tests[0].items()}
    reference = session(model)
    cells = []
    variants = [(method, False) for method in METHODS] + [(METHODS[-1], True)] * bias
    for method, correct in variants:
        options = Options(weight_bits=bits, input_bits=bits, calibration=method, bias_correction=correct)
        loaded = runtime.load(compile_with(model, options, shapes=shapes, calibrate=samples).program)
        cells.append(judge(lambda feeds, p=loaded: p.run(feeds).outputs, reference, tests))
    if bits == 8:
        both = [onnxruntimes(model, runs, kind) for kind in (QuantType.QUInt8, QuantType.QInt8)]
        cells.append(max(judge(run, reference, tests) for run in both))
    title = Path(name).stem
    return f"| {title} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |"


def main(words: list[str]) -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    bits, bias = 8, "--bias" in words
    words = [word for word in words if word != "--bias"]
    if words and words[0] == "--bits":
        bits, words = int(words[1]), words[2:]
    heads = [*METHODS, *(["mse, bias corrected"] if bias else [])]
    heads += ["onnxruntime"] if bits == 8 else []
    print(f"| model, {bits}/{bits} bits | " + " | ".join(heads) + " |")
    print("| --- " * (len(heads) + 1) + "|")
    while words:
        name = words.pop(0)
        io = words.pop(0) if words and words[0].endswith(".npz") else None
        print(row(name, io, bits, bias), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
