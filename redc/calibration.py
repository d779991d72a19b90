"""What values a network's tensors take: observed through onnxruntime on calibration samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from isa.program import RAW_TYPES, Buffer
from redc.channels import Channels
from redc.errors import UserError
from redc.histogram import Histogram
from redc.odd_samples import all_or_typical
from redc.sessions import exposing, loops_of, make_session, run_session

if TYPE_CHECKING:
    import onnx

    from redc.ir.graph import Tensor

Array = npt.NDArray[Any]
F64 = npt.NDArray[np.float64]
Method = Literal["log-normal", "min-max", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
"""How the interval that codes span follows from the values seen (docs/quantisation.md)."""

TAILS = 1e-4
"""The share of values that `percentile` lets saturate."""

SATURATED = 0.1
"""The share of a channel's values that saturate in a sample where some do: a guess."""

BEYOND = 4
"""How far past the largest value seen codes may reach: two bits' worth."""

CHECK_SAMPLES = "check the samples and the weights for NaN, infinity and overflow"
CHECK_WEIGHTS = (
    "no samples were given and these are assumed; give real ones with --calibrate FILE.npz, "
    "or check the weights for NaN, infinity and overflow"
)

RUN = 16
"""Samples run at once where the model leaves the batch open."""


@dataclass(frozen=True, eq=False, slots=True)
class Range:
    """The values one tensor took: the smallest and largest of every sample, and how often each came.

    `method` says what codes are to span of them; `channels` what each channel took, if asked for.
    """

    lows: F64
    highs: F64
    histogram: Histogram
    method: Method = "mse"
    channels: Channels | None = None

    @staticmethod
    def of(values: Array, samples: int = 1, axis: int | None = None) -> Range:
        """The range of `samples` samples along axis 0; with `axis` also that of each channel there.

        Raises ValueError for NaN or infinity.
        """
        rows = values.reshape(samples, -1)
        lows, highs = rows.min(axis=1, initial=0.0), rows.max(axis=1, initial=0.0)
        if not (np.isfinite(lows).all() and np.isfinite(highs).all()):
            raise ValueError("not a number, or infinite")
        channels = None if axis is None else Channels.of(values, axis, samples)
        lows, highs = lows.astype(np.float64), highs.astype(np.float64)
        return Range(lows, highs, Histogram.of(values), channels=channels)

    @staticmethod
    def unit(channels: int | None = None) -> Range:
        """-1 to 1, in each of so many channels: for whom values do not matter."""
        values = np.repeat([[-1.0], [1.0]], channels or 1, axis=1)
        return Range.of(values, axis=None if channels is None else 1)

    def widen(self, other: Range) -> Range:
        """The same samples, seen elsewhere."""
        lows, highs = np.minimum(self.lows, other.lows), np.maximum(self.highs, other.highs)
        channels = self.channels and other.channels and self.channels.widen(other.channels)
        return Range(lows, highs, self.histogram.merge(other.histogram), self.method, channels)

    def merge(self, other: Range) -> Range:
        """Other samples."""
        lows, highs = np.append(self.lows, other.lows), np.append(self.highs, other.highs)
        channels = self.channels and other.channels and self.channels.merge(other.channels)
        return Range(lows, highs, self.histogram.merge(other.histogram), self.method, channels)

    def divided(self, steps: npt.NDArray[np.int64]) -> Range:
        """The range of the tensor whose channel c is divided by `steps[c]`."""
        assert self.channels is not None
        return Range(*self.channels.divided(steps), self.method)

    def reaches(self, bits: int) -> F64:
        """How far from zero codes of `bits` bits should span each channel, before any clipping."""
        return self._reaches(bits, slice(None))

    def _reaches(self, bits: int, samples: slice) -> F64:
        """The same by some of the samples."""
        assert self.channels is not None
        extremes = np.maximum(-self.channels.lows[samples], self.channels.highs[samples])
        if self.method in ("min-max", "percentile"):
            return np.asarray(extremes.max(axis=0))
        return _typical_extremes(extremes, _deviations(bits))

    def bounds(self, bits: int) -> tuple[float, float]:
        """The interval, 0 included, that codes of `bits` bits should span."""
        low, high = self._with_room(self.lows, self.highs, bits)
        if self.method == "percentile":
            tails = self.histogram.tails(TAILS)
            return max(low, tails[0]), min(high, tails[1])
        if self.method == "mse":
            low, high = all_or_typical(self.lows, self.highs, self.histogram, (low, high), 1 << bits)
            return self.histogram.least_error(low, high, 1 << bits, len(self.lows))
        return low, high

    def interval(self, steps: npt.NDArray[np.int64], bits: int) -> tuple[float, float]:
        """What codes of `bits` bits should span of the channels divided by `steps`, before clipping."""
        assert self.channels is not None
        lows, highs = self.channels.lows / steps, self.channels.highs / steps
        return self._with_room(lows.min(axis=1), highs.max(axis=1), bits)

    def beyond(self, steps_of: Callable[[F64], npt.NDArray[np.int64]], bits: int) -> F64:
        """(new samples, C): the mean square of what saturates in each channel, with the steps that
        `steps_of` makes of the channels' `reaches`.

        Every sample is new to the other half of them, whose steps and interval it is held against.
        It may reach `_room` times as far as it does; and of a channel that goes beyond, SATURATED of
        the values do, or the only one there is.  A single sample says nothing about another: zeros.
        """
        assert self.channels is not None
        every, width = self.channels.lows.shape
        if every < 2:
            return np.zeros((1, width))
        even, odd = slice(0, None, 2), slice(1, None, 2)
        room = _room(bits, every // 2)
        share = max(SATURATED, every / max(1, self.channels.values))
        found = []
        for fit, new in ((even, odd), (odd, even)):
            steps = steps_of(self._reaches(bits, fit))
            lows, highs = self.channels.lows / steps, self.channels.highs / steps
            low, high = self._ends(lows[fit].min(axis=1), highs[fit].max(axis=1), bits)
            excess = np.maximum(np.maximum(low - room * lows[new], room * highs[new] - high), 0.0)
            found.append(share * (excess * steps) ** 2)
        return np.concatenate(found)

    def _with_room(self, lows: F64, highs: F64, bits: int) -> tuple[float, float]:
        """The interval before any clipping, from the ends of every sample: `_room` times as far as
        new ends probably lie, where more than one sample says where that is."""
        low, high = self._ends(lows, highs, bits)
        if self.method in ("min-max", "percentile") or len(lows) < 2:
            return low, high
        room = _room(bits, len(lows))
        return max(room * low, BEYOND * float(lows.min())), min(room * high, BEYOND * float(highs.max()))

    def _ends(self, lows: F64, highs: F64, bits: int) -> tuple[float, float]:
        """Where the ends of a new sample probably lie, from those of every sample."""
        if self.method in ("min-max", "percentile"):
            return float(lows.min()), float(highs.max())
        low, high = _typical_extremes(np.stack([-lows, highs], axis=1), _deviations(bits))
        return -float(low), float(high)


@dataclass(frozen=True, slots=True)
class Port:
    """An input: the shape it was compiled for, and its numpy type."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @staticmethod
    def of(tensor: Tensor) -> Port:
        return Port(tensor.shape, np.dtype(RAW_TYPES[tensor.dtype]))

    @staticmethod
    def of_buffer(buffer: Buffer) -> Port:
        return Port(buffer.onnx_shape, np.dtype(RAW_TYPES[buffer.onnx_type]))

    @property
    def batch(self) -> int:
        """How much of axis 0 one run takes; 0 where there is nothing to count samples by."""
        return self.shape[0] if self.shape else 0


def _deviations(bits: int) -> float:
    """Few bits are better spent on what is common, many on never saturating."""
    return (bits + 2) / 5


def _room(bits: int, samples: int) -> float:
    """How many times as far as `samples` samples let expect a new one may reach.

    They say the less of others the fewer they are.  A bit of 16 is little to pay for not saturating,
    one of 8 is much.
    """
    return 1.0 + max(0, bits - 8) / (4 * math.sqrt(samples))


def _typical_extremes(extremes: F64, deviations: float) -> F64:
    """Where a new sample's largest value will probably lie, for each column of (samples, columns).

    Largest values of trained networks' samples spread like a log-normal variable, with outliers
    that one calibration set has and the next has not.  So take the median of their logarithms
    and go up by `deviations` times the distance from there to the 84 % quantile (one standard
    deviation of a normal variable, unmoved by outliers).  Samples with nothing on that side of zero
    do not say how far others go there.  One sample is its own extreme, and nothing goes further than
    BEYOND times what was seen: two samples 1000 times apart are no distribution.
    """
    most: F64 = extremes.max(axis=0)
    some = most > 0
    seen = extremes[:, some]
    logs = np.sort(np.log(seen, where=seen > 0, out=np.full_like(seen, np.inf)), axis=0)
    middle, upper = (_quantile(logs, (seen > 0).sum(axis=0), q) for q in (0.5, 0.8413))
    most[some] = np.minimum(np.exp(middle + deviations * (upper - middle)), BEYOND * most[some])
    return most


def _quantile(ascending: F64, counts: npt.NDArray[np.int64], q: float) -> F64:
    """The quantile `q` of the first `counts[c]` values of every column c, which ascend.

    numpy's nanquantile does so column by column: minutes for a network of many channels.
    """
    place = q * (counts - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, counts - 1)
    below, above = (np.take_along_axis(ascending, at[None], axis=0)[0] for at in (low, high))
    found: F64 = below + (above - below) * (place - low)
    return found


def _without_infinities(values: Array) -> Array:
    """Infinities, such as log(0), saturate: they ask for no more range than what is finite."""
    infinite = np.isinf(values)
    if not infinite.any() or np.isnan(values).any() or infinite.all():
        return values
    finite = values[~infinite]
    clipped: Array = np.clip(values, finite.min(), finite.max())
    return clipped


def observe(
    model: onnx.ModelProto,
    tensors: Iterable[str],
    samples: Mapping[str, Array],
    ports: Mapping[str, Port],
    pieces: int = 1,
    *,
    axes: Mapping[str, int] | None = None,
    title: str = "model",
    saturating: Collection[str] = (),
    assumed: bool = False,
) -> dict[str, Range]:
    """Run `model` on `samples` and return the range of every tensor in `tensors`, and of each channel
    of those in `axes`.

    Axis 0 of every sample array counts samples (a scalar is the same for all); `ports` are what
    the model was compiled for.  One run takes as many samples as axis 0 of those says, or up to RUN where
    the model leaves axis 0 open; samples that do not fill a run are dropped.  With `pieces` > 1
    every spatial axis is cut into so many and the model runs on one tile at a time: a network of
    convolutions takes nearly the same values there, in a fraction of the memory.  `title`
    names the model in errors; `saturating` are tensors that may take infinite values; `assumed`
    samples are nobody's mistake, which hints of errors respect.
    Raises UserError if another value is not finite or there are too few samples.
    """
    names = list(dict.fromkeys(tensors))
    samples = checked_samples(samples, ports)
    open_axis = _open_batches(model)
    batches = {name: port.batch for name, port in ports.items() if port.batch}
    runs = min((len(samples[name]) // batch for name, batch in batches.items()), default=1)
    at_once = min(runs, max(1, RUN // max(batches.values(), default=1))) if open_axis else 1
    vectors = all(len(ports[name].shape) > 1 for name in batches)  # else axis 0 holds the values themselves
    session = exposed_session(model, names, any_size=pieces > 1, title=title)
    loops = loops_of(model)
    exposed = {o.name for o in session.get_outputs()}
    kept = [name for name in names if name in exposed]
    ranges: dict[str, Range] = {}

    def look(name: str, value: Array, count: int) -> Range:
        if name in saturating:
            value = _without_infinities(value)
        by_sample = value.ndim > 0 and len(value) % count == 0
        try:
            return Range.of(value, count if by_sample else 1, (axes or {}).get(name))
        except ValueError as error:
            raise UserError(
                f"it takes a value that is {error} on a calibration sample",
                place=f"{title}: tensor {name!r}",
                hint=CHECK_WEIGHTS if assumed else CHECK_SAMPLES,
            ) from error

    for start in range(0, runs, at_once):
        stop = min(start + at_once, runs)
        feed = {n: samples[n] for n in ports}
        feed |= {n: samples[n][start * b : stop * b] for n, b in batches.items()}
        rows = {len(feed[name]) for name in batches}
        count = rows.pop() if len(rows) == 1 and vectors else 1
        seen: dict[str, Range] = {}
        for tile in _tiles(feed, pieces):
            values = dict(zip(kept, _run(session, kept, tile, loops, title), strict=True))
            values |= {name: tile[name] for name in names if name in tile}
            for name, value in values.items():
                found = look(name, value, count)
                if pieces == 1:  # two histograms of each of 100,000 tensors would be many gigabytes
                    ranges[name] = ranges[name].merge(found) if name in ranges else found
                else:
                    seen[name] = seen[name].widen(found) if name in seen else found
        for name, found in seen.items():
            ranges[name] = ranges[name].merge(found) if name in ranges else found
    return ranges


def _tiles(feed: Mapping[str, Array], pieces: int) -> Iterator[Mapping[str, Array]]:
    """Every input cut along its spatial axes (all but the first two), tile by tile."""
    if pieces == 1:
        yield feed
        return
    rank = min(value.ndim for value in feed.values()) - 2
    for index in itertools.product(range(pieces), repeat=rank):
        tile = dict(feed)
        for axis, i in enumerate(index):
            tile = {n: np.array_split(v, pieces, axis=axis + 2)[i] for n, v in tile.items()}
        if all(value.size for value in tile.values()):
            yield {n: np.ascontiguousarray(v) for n, v in tile.items()}


def checked_samples(samples: Mapping[str, Array], ports: Mapping[str, Port]) -> dict[str, Array]:
    """`samples` in the types of their inputs.

    Raises UserError unless they are every input's, of the right shape beyond axis 0, and of a
    type that the input's holds exactly.
    """
    unknown, missing = sorted(set(samples) - set(ports)), sorted(set(ports) - set(samples))
    if unknown or missing:
        raise UserError(
            "; ".join(
                [f"no input is called {name!r}" for name in unknown]
                + [f"input {name!r} is missing" for name in missing]
            ),
            place="calibration samples",
            hint="the inputs are " + ", ".join(map(repr, ports)),
        )
    for name, port in ports.items():
        value, shape = samples[name], port.shape
        exact = np.can_cast(value.dtype, port.dtype, "safe")
        fits = value.ndim == len(shape) and value.shape[1:] == shape[1:] and value.shape[:1] >= shape[:1]
        if not exact or not fits:
            raise UserError(
                f"samples of {name!r} are {value.dtype} {list(value.shape)}",
                place="calibration samples",
                hint=f"{port.dtype}, axis 0 counting samples (at least {port.batch}), then {list(shape[1:])}",
            )
        if not np.isfinite(value).all():
            raise UserError(
                f"samples of {name!r} hold NaN or infinity",
                place="calibration samples",
                hint="leave those samples out",
            )
    return {name: np.asarray(samples[name], port.dtype) for name, port in ports.items()}


def seeded_samples(ports: Mapping[str, Port], count: int, seed: int = 0) -> dict[str, Array]:
    """`count` samples for each that a run takes, assumed of an input that nobody described:
    standard normal, integers 0 and 1, any of 8 bits."""
    rng = np.random.default_rng(seed)

    def drawn(port: Port) -> Array:
        shape = (count * port.batch, *port.shape[1:]) if port.shape else ()
        if port.dtype == np.float32:
            return np.asarray(rng.standard_normal(shape, dtype=np.float32))
        low, high = 0, 2
        if port.dtype.kind in "iu" and port.dtype.itemsize == 1:
            low, high = np.iinfo(port.dtype).min, np.iinfo(port.dtype).max + 1
        real = port.dtype.kind == "f"
        values = rng.standard_normal(shape) if real else rng.integers(low, high, shape)
        return np.asarray(values).astype(port.dtype)

    return {name: drawn(port) for name, port in ports.items()}


def _open_batches(model: onnx.ModelProto) -> bool:
    """Whether every input leaves axis 0 open."""
    constants = {tensor.name for tensor in model.graph.initializer}
    dims = [i.type.tensor_type.shape.dim for i in model.graph.input if i.name not in constants]
    return all(d and d[0].WhichOneof("value") != "dim_value" for d in dims)


def _run(
    session: Any, names: Sequence[str], feed: Mapping[str, Array], loops: Sequence[str], title: str
) -> list[Array]:
    """The tensors `names`; none cost nothing.  Raises UserError where onnxruntime fails."""
    if not names:
        return []
    try:
        return run_session(session, names, feed, loops, title)
    except UserError:
        raise
    except Exception as error:  # onnxruntime raises its own classes, all direct Exceptions
        raise UserError(
            f"onnxruntime fails on them: {str(error).strip()}",
            place="calibration samples",
            hint="try the model and the samples with onnxruntime alone",
        ) from error


def exposed_session(
    model: onnx.ModelProto, tensors: Sequence[str], *, any_size: bool = False, title: str = "model"
) -> Any:
    """An onnxruntime session of `model` with every tensor of `tensors` that a node makes as an output.

    With `any_size` the inputs' spatial axes are left open.  `title` names the model in errors.
    """
    import onnxruntime

    made = {name for node in model.graph.node for name in node.output}
    own = [output.name for output in model.graph.output]
    wider, large = exposing(
        model, model.graph, list(dict.fromkeys([*own, *(name for name in tensors if name in made)]))
    )
    if any_size:
        del wider.graph.value_info[:]
        for value in wider.graph.output:
            value.type.tensor_type.ClearField("shape")
        for value in wider.graph.input:
            for axis, dim in enumerate(value.type.tensor_type.shape.dim[2:]):
                dim.dim_param = f"size{axis}"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised: once is enough
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return make_session(wider, large, options)
    except Exception as error:  # onnxruntime raises its own classes, all direct Exceptions
        raise UserError(
            f"onnxruntime refuses the model: {error}",
            place=title,
            hint="check it with onnx.checker.check_model",
        ) from error
