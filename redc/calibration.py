"""What values a network's tensors take: observed through onnxruntime on calibration samples."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isa.program import RAW_TYPES, Buffer
from redc.errors import UserError
from redc.looks import Looks
from redc.ranges import Range
from redc.sessions import exposing, loops_of, make_session, run_session

if TYPE_CHECKING:
    import onnx

    from redc.ir.graph import Tensor

Array = npt.NDArray[Any]
CHECK_SAMPLES = "check the samples and the weights for NaN, infinity and overflow"
CHECK_WEIGHTS = (
    "no samples were given and these are assumed; give real ones with --calibrate FILE.npz, "
    "or check the weights for NaN, infinity and overflow"
)

SAMPLES, OWN = "calibration samples", "inputs"
"""Where errors are: in samples that calibrate, or in the inputs that the program will run on."""

RUN = 16
"""Samples run at once where the model leaves the batch open."""


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
    own: bool = False,
) -> dict[str, Range]:
    """Run `model` on `samples` and return the range of every tensor in `tensors`, and of each channel
    of those in `axes`.

    Axis 0 of every sample array counts samples (a scalar may be one number for all); `ports` are what
    the model was compiled for.  One run takes as many samples as axis 0 of those says, or up to RUN where
    the model leaves axis 0 open; samples that do not fill a run are dropped.  With `pieces` > 1
    every spatial axis is cut into so many and the model runs on one tile at a time: a network of
    convolutions takes nearly the same values there, in a fraction of the memory.  `title`
    names the model in errors; `saturating` are tensors that may take infinite values; `assumed`
    samples are nobody's mistake, which hints of errors respect; `own` ones are what the program will
    run on, which errors call inputs.
    Raises UserError if another value is not finite or there are too few samples.
    """
    names = list(dict.fromkeys(tensors))
    place = OWN if own else SAMPLES
    samples = checked_samples(samples, ports, place)
    open_axis = _open_batches(model)
    batches = {name: port.batch for name, port in ports.items() if port.batch}
    numbers = {name for name, port in ports.items() if not port.shape and samples[name].ndim}
    counts = {name: len(samples[name]) // batch for name, batch in batches.items()}
    counts |= {name: len(samples[name]) for name in numbers}
    _check_equal(counts, place)
    runs = min(counts.values(), default=1)
    at_once = min(runs, max(1, RUN // max(batches.values(), default=1))) if open_axis and not numbers else 1
    vectors = all(len(ports[name].shape) > 1 for name in batches)  # else axis 0 holds the values themselves
    session = exposed_session(model, names, any_size=pieces > 1, title=title)
    loops = loops_of(model)
    exposed = {o.name for o in session.get_outputs()}
    kept = [name for name in names if name in exposed]
    looks = Looks(axes or {}, saturating, title, CHECK_WEIGHTS if assumed else CHECK_SAMPLES)
    for start in range(0, runs, at_once):
        stop = min(start + at_once, runs)
        feed = {n: samples[n] for n in ports}
        feed |= {n: samples[n][start * b : stop * b] for n, b in batches.items()}
        feed |= {n: np.asarray(samples[n][start]) for n in numbers}
        rows = {len(feed[name]) for name in batches}
        count = rows.pop() if len(rows) == 1 and vectors else 1
        seen: dict[str, Range] = {}
        for tile in _tiles(feed, pieces):
            values = dict(zip(kept, _run(session, kept, tile, loops, title, place), strict=True))
            values |= {name: tile[name] for name in names if name in tile}
            for name, value in values.items():
                if pieces == 1:  # two histograms of each of 100,000 tensors would be many gigabytes
                    looks.add(name, value, count)
                else:
                    found = looks.range_of(name, value, count)
                    seen[name] = seen[name].widen(found) if name in seen else found
        for name, found in seen.items():
            looks.merge(name, found)
    return looks.ranges()


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


def _check_equal(counts: Mapping[str, int], place: str) -> None:
    """As many of every input: what belongs together stands at one index."""
    few, many = (
        min(counts, key=counts.__getitem__, default=""),
        max(counts, key=counts.__getitem__, default=""),
    )
    if counts and counts[few] < counts[many]:
        raise UserError(
            f"there are samples for {counts[many]} runs of {many!r}, for {counts[few]} of {few!r}",
            place=place,
            hint="give as many of every input: those at one index belong together",
        )


def checked_samples(samples: Mapping[str, Array], ports: Mapping[str, Port], place: str) -> dict[str, Array]:
    """`samples` in the types of their inputs; `place` is what they are: SAMPLES or OWN.

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
            place=place,
            hint="the inputs are " + ", ".join(map(repr, ports)),
        )
    for name, port in ports.items():
        value, shape = np.asarray(samples[name]), port.shape
        exact = np.can_cast(value.dtype, port.dtype, "safe")
        fits = value.ndim == len(shape) and value.shape[1:] == shape[1:] and value.shape[:1] >= shape[:1]
        fits = fits or (not shape and value.ndim == 1 and value.size > 0)
        if not exact or not fits:
            found = f"{value.dtype} {list(value.shape)}"
            if place == OWN:
                taken = f"it is compiled for {port.dtype} {list(shape)}; --shape takes another"
                raise UserError(f"{name!r} is {found}", place=place, hint=taken)
            raise UserError(
                f"samples of {name!r} are {found}",
                place=place,
                hint=f"{port.dtype}, axis 0 counting samples (at least {port.batch}), then {list(shape[1:])}",
            )
        if not np.isfinite(value).all():
            raise UserError(
                f"samples of {name!r} hold NaN or infinity",
                place=place,
                hint="leave those samples out",
            )
    return {name: np.asarray(samples[name], port.dtype) for name, port in ports.items()}


def seeded_samples(ports: Mapping[str, Port], count: int, seed: int = 0) -> dict[str, Array]:
    """`count` samples for each that a run takes, assumed of an input that nobody described:
    standard normal, integers 0 and 1, any of 8 bits."""
    rng = np.random.default_rng(seed)

    def drawn(port: Port) -> Array:
        real = port.dtype.kind == "f"
        several = (count,) if real else ()  # of a scalar; whole ones are often sizes
        shape = (count * port.batch, *port.shape[1:]) if port.shape else several
        if port.dtype == np.float32:
            return np.asarray(rng.standard_normal(shape, dtype=np.float32))
        low, high = 0, 2
        if port.dtype.kind in "iu" and port.dtype.itemsize == 1:
            low, high = np.iinfo(port.dtype).min, np.iinfo(port.dtype).max + 1
        values = rng.standard_normal(shape) if real else rng.integers(low, high, shape)
        return np.asarray(values).astype(port.dtype)

    return {name: drawn(port) for name, port in ports.items()}


def _open_batches(model: onnx.ModelProto) -> bool:
    """Whether every input leaves axis 0 open."""
    constants = {tensor.name for tensor in model.graph.initializer}
    dims = [i.type.tensor_type.shape.dim for i in model.graph.input if i.name not in constants]
    return all(d and d[0].WhichOneof("value") != "dim_value" for d in dims)


def _run(
    session: Any,
    names: Sequence[str],
    feed: Mapping[str, Array],
    loops: Sequence[str],
    title: str,
    place: str,
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
            place=place,
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
