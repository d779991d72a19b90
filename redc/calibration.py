"""What values a network's tensors take: observed through onnxruntime on calibration samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from redc.errors import UserError

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
BINS = 4096
RUN = 16
"""Samples run at once where the model leaves the batch open."""


@dataclass(frozen=True, eq=False, slots=True)
class Range:
    """Observed values of one tensor: the extremes, and a histogram.

    Bin i counts values in [(i - BINS/2) * width, (i + 1 - BINS/2) * width); `width` is a power
    of two, doubled when a value falls outside (neighbouring bins merge), so the histogram does
    not depend on the order or grouping of the samples.
    """

    low: float
    high: float
    width: float
    counts: npt.NDArray[np.int64]

    @staticmethod
    def of(values: Array) -> Range:
        """The range of one array.  Raises ValueError for NaN or infinity."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("not a number, or infinite")
        bound = max(-low, high, 1e-30)
        width = 2.0 ** math.ceil(math.log2(bound * 2 / BINS))
        while not (low >= -BINS / 2 * width and high < BINS / 2 * width):
            width *= 2
        index = np.floor(flat / width).astype(np.int64) + BINS // 2
        return Range(low, high, width, np.bincount(index, minlength=BINS))

    def merge(self, other: Range) -> Range:
        width = max(self.width, other.width)
        counts = self._widen(width) + other._widen(width)
        return Range(min(self.low, other.low), max(self.high, other.high), width, counts)

    def _widen(self, width: float) -> npt.NDArray[np.int64]:
        counts: npt.NDArray[np.int64] = self.counts
        own = self.width
        while own < width:
            half = BINS // 4
            counts = np.pad(counts.reshape(-1, 2).sum(axis=1), (half, half))
            own *= 2
        return counts

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        return (np.arange(BINS) - BINS // 2 + 0.5) * self.width


def observe(
    model: onnx.ModelProto,
    tensors: Iterable[str],
    samples: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, Range]:
    """Run `model` on `samples` and return the range of every tensor in `tensors`.

    Axis 0 of every sample array counts samples; `shapes` are the inputs' shapes that the model
    was compiled for.  One run takes as many samples as axis 0 of those says, or up to RUN where
    the model leaves axis 0 open; samples that do not fill a run are dropped.  Raises UserError
    if a value is not finite or there are too few samples.
    """
    names = list(dict.fromkeys(tensors))
    check_samples(samples, shapes)
    open_axis = _open_batches(model)
    runs = min(len(samples[name]) // shape[0] for name, shape in shapes.items())
    at_once = min(runs, max(1, RUN // max(s[0] for s in shapes.values()))) if open_axis else 1
    session = exposed_session(model, names)
    kept = [name for name in names if name in {o.name for o in session.get_outputs()}]
    ranges: dict[str, Range] = {}

    def see(name: str, value: Array) -> None:
        try:
            seen = Range.of(value)
        except ValueError as error:
            raise UserError(
                f"tensor {name!r} takes a value that is {error} on a calibration sample",
                place=f"tensor {name!r}",
                hint="check the samples and the weights for NaN, infinity and overflow",
            ) from error
        ranges[name] = ranges[name].merge(seen) if name in ranges else seen

    for start in range(0, runs, at_once):
        stop = min(start + at_once, runs)
        feed = {n: samples[n][start * s[0] : stop * s[0]] for n, s in shapes.items()}
        for name, value in zip(kept, session.run(kept, feed), strict=True):
            see(name, value)
        for name in names:
            if name in feed:
                see(name, feed[name])
    return ranges


def check_samples(samples: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise UserError unless `samples` has every input, of the right shape beyond axis 0."""
    unknown, missing = sorted(set(samples) - set(shapes)), sorted(set(shapes) - set(samples))
    if unknown or missing:
        raise UserError(
            "; ".join(
                [f"no input is called {name!r}" for name in unknown]
                + [f"input {name!r} is missing" for name in missing]
            ),
            place="calibration samples",
            hint="the inputs are " + ", ".join(map(repr, shapes)),
        )
    for name, shape in shapes.items():
        value = samples[name]
        if value.dtype != np.float32 or value.shape[1:] != shape[1:] or len(value) < shape[0]:
            raise UserError(
                f"samples of {name!r} are {value.dtype} {list(value.shape)}",
                place="calibration samples",
                hint=f"float32, axis 0 counting samples (at least {shape[0]}), then {list(shape[1:])}",
            )


def seeded_samples(
    shapes: Mapping[str, tuple[int, ...]], count: int = 16, seed: int = 0
) -> dict[str, Array]:
    """Standard normal samples: what is assumed of an input that nobody described."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal((count * shape[0], *shape[1:]), dtype=np.float32)
        for name, shape in shapes.items()
    }


def _open_batches(model: onnx.ModelProto) -> bool:
    """Whether every input leaves axis 0 open."""
    constants = {tensor.name for tensor in model.graph.initializer}
    dims = [
        i.type.tensor_type.shape.dim for i in model.graph.input if i.name not in constants
    ]
    return all(d and d[0].WhichOneof("value") != "dim_value" for d in dims)


def exposed_session(model: onnx.ModelProto, tensors: Sequence[str]) -> Any:
    """An onnxruntime session of `model` with every tensor of `tensors` that a node makes as an output."""
    import onnx as onnx_
    import onnxruntime

    wider = onnx_.ModelProto()
    wider.CopyFrom(model)
    have = {output.name for output in wider.graph.output}
    made = {name for node in wider.graph.node for name in node.output}
    for name in tensors:
        if name in made and name not in have:
            wider.graph.output.append(onnx_.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(wider.SerializeToString(), options)
    except Exception as error:  # onnxruntime raises its own classes, all direct Exceptions
        raise UserError(
            f"onnxruntime refuses the model: {error}",
            place=model.graph.name or "model",
            hint="check it with onnx.checker.check_model",
        ) from error
