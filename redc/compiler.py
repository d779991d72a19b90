"""From an ONNX model to a program: load, import, run the passes, emit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isa.program import Program, Target
from isa.targets import TargetFile, costs_of, load_target_file
from redc.backend.emit import emit
from redc.backend.proof import prove
from redc.calibration import Port, observe, seeded_samples
from redc.errors import AssumedInputs, InternalError, UserError, check_by_name, warn_caller
from redc.frontend import bind_inputs, graph_inputs, import_graph, load_model, taken_branches
from redc.ir.graph import CrossbarOp, Graph, HostOp, Op, ReshapeOp, StencilOp, VectorOp
from redc.ir.verify import verify_graph
from redc.passes import PASSES, Context, Options, Pass, check_options
from redc.passes.context import Merge, Minimise, Origin
from redc.ranges import Method, Range
from redc.shelf import shelf

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
CALIBRATION_SAMPLES = 64
POLES = ("Log", "Pow")
NOISY_RUNS = 16
TILE_VALUES = 1 << 26
SMALLEST_TILE = 16
"""Inputs are cut until the largest tensor has at most TILE_VALUES values, or they get that small."""
CALIBRATION_VALUES = 1 << 25
"""Of the largest tensor, over all samples nobody asked for: past that, fewer samples will do."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program, comments for its text by id of instruction, and whether samples gave it scales."""

    program: Program
    comments: Mapping[int, str]
    graph: Graph
    calibrated: bool


def compile(
    model: str | Path | onnx.ModelProto,
    *,
    target: str | Path | Target = "red-65nm",
    mapping: str = "pixel-wise",
    fold: int = 1,
    weight_bits: int | None = None,
    input_bits: int | None = None,
    merge: Merge = "digital",
    origin: Origin = "auto",
    minimise: Minimise = "cycles",
    vector_bits: int | None = None,
    calibration: Method = "mse",
    bias_correction: bool = False,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibrate: Mapping[str, Array] | None = None,
    bind: Mapping[str, Array] | None = None,
    host: bool = True,
    own: bool = False,
) -> Program:
    """Compile an ONNX model to a crossbar program.

    model        a path, a name of the zoo or of a builder, or a ModelProto
    fold, merge  pixel-wise: how kernel pixels share arrays and bit lines
    origin       packed: where blocks start
    calibration  what codes span of the values seen: log-normal, min-max, percentile or mse
    weight_bits, input_bits
                 2 to 16; None: 8, or what a model that arrives quantised has
    vector_bits  2 to 20, of what no crossbar streams; None: 16, or 4 more than `input_bits`,
                 and 24 of what a host part reads
    bias_correction
                 whether biases make up for the mean error of rounded weights
    minimise     auto: what the mapping of each layer is chosen for
    shapes       shapes of inputs that the model leaves open
    host         whether the host may run what the accelerator does not; without, that is an error
    calibrate    samples by input name, axis 0 counting samples; without them the model's known
                 samples, else a standard normal distribution (and a warning, AssumedInputs)
    own          whether these samples are all that the program will meet: its scales then leave no
                 room for others
    bind         values of inputs that crossbars need to hold (weights that are graph inputs); the
                 program no longer takes them

    Raises UserError for anything wrong with the model or the options, isa.ProgramError for a
    target file.  The program verifies.  The same arguments give the same program, byte for byte.
    """
    bits = (weight_bits, input_bits)
    options = Options(mapping, fold, *bits, merge, origin, minimise, calibration, vector_bits)
    options = replace(options, bias_correction=bias_correction)
    return compile_with(
        model, options, target=target, shapes=shapes, calibrate=calibrate, bind=bind, host=host, own=own
    ).program


def compile_with(
    model: str | Path | onnx.ModelProto,
    options: Options,
    *,
    target: str | Path | Target = "red-65nm",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibrate: Mapping[str, Array] | None = None,
    bind: Mapping[str, Array] | None = None,
    host: bool = True,
    own: bool = False,
    after: Callable[[str, Graph], None] | None = None,
    verify_each: bool = False,
    observe: bool = True,
) -> Compiled:
    """`compile`, showing the graph to `after` once it is imported and after every pass.

    The program verifies.  Without `observe` nothing is run, and the program's scales mean nothing, nor
    is it verified; its arrays are the same.
    """
    check_options(options)
    graph, look = _begin(model, shapes, calibrate, bind, host, own)
    if not observe:
        look = _unit_ranges(graph)
    if isinstance(target, Target):
        machine, costs = target, costs_of(target)
    else:
        file = load_target_file(str(target))
        machine, costs = file.target, file.costs
    calibrated = False

    def asked(tensors: tuple[str, ...], axes: Mapping[str, int]) -> Mapping[str, Range]:
        nonlocal calibrated
        calibrated = calibrated or bool(tensors)
        return look(tensors, axes)

    context = Context(options, machine, asked, costs)
    imported = graph
    done: list[str] = ["import"]
    if after:
        after("import", graph)
    for name, apply in PASSES:
        imported = apply(imported, context)
        done.append(name)
        if verify_each:
            try:
                verify_graph(imported)
            except InternalError as error:
                raise InternalError(f"{error.args[0]} (after {', '.join(done)})") from error
        if after:
            after(name, imported)
    program, comments = emit(imported, machine)
    if observe:
        prove(program, imported, str(model) if isinstance(model, str | Path) else graph.name or "model")
    return Compiled(program, comments, imported, calibrated)


def _begin(
    model: str | Path | onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]] | None,
    calibrate: Mapping[str, Array] | None,
    bind: Mapping[str, Array] | None,
    host: bool,
    own: bool = False,
) -> tuple[Graph, Callable[[tuple[str, ...], Mapping[str, int]], Mapping[str, Range]]]:
    """The imported graph, and what observes its tensors on the calibration samples."""
    for place, given in (("shapes", shapes), ("calibrate", calibrate), ("bind", bind)):
        check_by_name(place, given)
    calibrate = calibrate and {name: np.asarray(value) for name, value in calibrate.items()}
    shapes = _whole(shapes or {})
    title = str(model) if isinstance(model, str | Path) else None
    proto = bind_inputs(load_model(model), bind or {}, title=title)
    seen = {name: np.shape(value) for name, value in calibrate.items()} if calibrate else _shelf_shapes(model)
    shapes = _settled(proto, shapes, seen)
    proto = taken_branches(proto, shapes, title)
    graph = import_graph(proto, shapes, title=title, hosts=host, samples=calibrate)

    def look(tensors: tuple[str, ...], axes: Mapping[str, int]) -> dict[str, Range]:
        if not tensors:
            return {}
        ports = {name: Port.of(graph.tensors[name]) for name in graph.inputs}
        samples = calibrate
        if samples is None:
            samples = known_samples(model, ports, _affordable(graph), _noisy_runs(graph))
        name = title or proto.graph.name or "model"
        infinite = {name for op in graph.ops if _may_be_infinite(op) for name in op.outputs}
        seen = observe(
            proto, tensors, samples, ports, _pieces(graph),
            axes=axes, title=name, saturating=infinite, assumed=calibrate is None, own=own,
        )  # fmt: skip
        return {name: found.as_one() for name, found in seen.items()} if own else seen

    return graph, look


def _unit_ranges(graph: Graph) -> Callable[[tuple[str, ...], Mapping[str, int]], dict[str, Range]]:
    """What finds -1 to 1 for every tensor, in every channel that it is asked for."""

    def look(tensors: tuple[str, ...], axes: Mapping[str, int]) -> dict[str, Range]:
        sizes = {name: graph.tensors[name].shape[axis] for name, axis in axes.items()}
        return {name: Range.unit(sizes.get(name)) for name in tensors}

    return look


def _may_be_infinite(op: Op) -> bool:
    """Whether an infinity is nothing wrong in what it makes: of a host, or of a pole, as in log(0)."""
    pole = isinstance(op, VectorOp) and (op.combine == "div" or op.op in POLES)
    return pole or isinstance(op, HostOp)


def _whole(shapes: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """The shapes that a caller gives, as tuples of int.  Raises UserError for what is none."""
    found = {}
    for name, shape in shapes.items():
        sizes = shape if isinstance(shape, tuple | list) else ()
        whole = all(isinstance(size, Integral) and not isinstance(size, bool) for size in sizes)
        if not isinstance(shape, tuple | list) or not whole:
            raise UserError(
                f"the shape of {name!r} is {shape!r}",
                place="shapes",
                hint=f'shapes={{"{name}": (1, 3, 64, 64)}}',
            )
        found[name] = tuple(map(int, sizes))
    return found


class Variants:
    """One model, compiled under several options and for several targets.

    Import, calibration and quantisation depend on bits alone and are done once; each program is
    the one that `compile` makes, but not verified: it is counted, never run.
    """

    def __init__(
        self,
        model: str | Path | onnx.ModelProto,
        *,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        calibrate: Mapping[str, Array] | None = None,
        bind: Mapping[str, Array] | None = None,
        host: bool = True,
    ) -> None:
        self._graph, self._look = _begin(model, shapes, calibrate, bind, host)
        self._cut = [name for name, _ in PASSES].index("schedule")
        self._shared: dict[tuple[int | str | None, ...], Graph] = {}

    def prepare(self, options: Options, file: TargetFile) -> Graph:
        """What all variants of these bits share.  Raises UserError for the model's faults."""
        check_options(options)
        bits = (
            options.weight_bits,
            options.input_bits,
            options.vector_bits,
            options.calibration,
            options.bias_correction,
        )
        if bits not in self._shared:
            context = Context(options, file.target, self._look)
            self._shared[bits] = _through(self._graph, PASSES[: self._cut], context)
        return self._shared[bits]

    def compile(self, options: Options, file: TargetFile) -> Program:
        """One variant.  Raises UserError also where the model does not fit the target."""
        context = Context(options, file.target, self._look, file.costs)
        return emit(_through(self.prepare(options, file), PASSES[self._cut :], context), file.target)[0]


def _through(graph: Graph, passes: Iterable[tuple[str, Pass]], context: Context) -> Graph:
    for _, apply in passes:
        graph = apply(graph, context)
    return graph


def _settled(
    model: onnx.ModelProto,
    given: Mapping[str, tuple[int, ...]],
    samples: Mapping[str, tuple[int, ...]],
) -> dict[str, tuple[int, ...]]:
    """`given`, and what the shapes of `samples` settle: of inputs that leave an axis open, all but axis 0.

    Axis 0 counts samples; where the model leaves it open, the program takes one at a time.  A
    symbol that `given` settles holds.
    """
    settled = dict(given)
    dims = {name: value.type.tensor_type.shape.dim for name, value in graph_inputs(model).items()}
    symbols = {
        dim.dim_param: size
        for name, shape in given.items()
        for dim, size in zip(dims.get(name, ()), shape, strict=False)
        if dim.dim_param
    }
    for name, seen in samples.items():
        known = [
            d.dim_value if d.HasField("dim_value") else symbols.get(d.dim_param) for d in dims.get(name, ())
        ]
        if name not in given and None in known[1:] and len(seen) == len(known):
            settled[name] = tuple(k or s for k, s in zip(known, (1, *seen[1:]), strict=True))
    return settled


def _shelf_shapes(model: str | Path | onnx.ModelProto) -> Mapping[str, tuple[int, ...]]:
    """The shapes of the zoo's own samples, for inputs that a model of the zoo leaves open."""
    models = shelf() if isinstance(model, str) else None
    if models is None:
        return {}
    try:
        shapes: Mapping[str, tuple[int, ...]] = models.default_shapes(model)
    except models.UnknownModel:
        return {}
    return shapes


def _affordable(graph: Graph) -> int:
    """How many samples to calibrate on where nobody gave any."""
    largest = max(1, *(math.prod(t.shape[1:]) for t in graph.tensors.values()))
    return max(1, min(CALIBRATION_SAMPLES, CALIBRATION_VALUES // largest))


def _noisy_runs(graph: Graph) -> int:
    """How many times to run on noise where nothing is known of the inputs."""
    largest = max(math.prod(t.shape) for t in graph.tensors.values())
    return max(1, min(NOISY_RUNS, CALIBRATION_VALUES // largest))


def _pieces(graph: Graph) -> int:
    """Into how many pieces per axis to cut the inputs while calibrating, to bound its memory.

    Only a network of convolutions and elementwise operators of one rank, without constants that have
    a size of their own, can be cut.
    """
    ranks = {len(op.kernel) for op in graph.ops if isinstance(op, CrossbarOp)}
    whole = any(isinstance(op, ReshapeOp | StencilOp | HostOp) for op in graph.ops)
    if whole or graph.constants or len(ranks) != 1 or 0 in ranks:
        return 1
    smallest = min(min(graph.tensors[name].shape[2:], default=1) for name in graph.inputs)
    largest = max(math.prod(t.shape) for t in graph.tensors.values())
    rank = ranks.pop()
    pieces = 1
    while largest > TILE_VALUES * pieces**rank and smallest >= 2 * SMALLEST_TILE * pieces:
        pieces *= 2
    return pieces


def known_samples(
    model: str | Path | onnx.ModelProto, ports: Mapping[str, Port], count: int, runs: int
) -> Mapping[str, Array]:
    """Calibration samples nobody gave: `count` of the zoo's where it knows the model, else seeded
    noise for so many `runs`."""
    models = shelf() if isinstance(model, str) else None
    if models is not None:
        samples: Mapping[str, Array] | None = models.samples(model, count, 0)
        if samples is not None and all(
            samples[name].shape[1:] == port.shape[1:] for name, port in ports.items()
        ):
            return samples
    warn_caller(
        f"no calibration samples: scales come from {runs} standard normal sample{'s' * (runs > 1)}, "
        "default_rng(0); "
        "give real ones with --calibrate FILE.npz",
        AssumedInputs,
    )
    return {name: np.asarray(value) for name, value in seeded_samples(ports, runs).items()}
