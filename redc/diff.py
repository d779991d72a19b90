"""`redc diff`: does a program compute what its model says?  The two promises of docs/diff.md:

1. integer-exact: every crossbar layer, given the interpreter's own input codes, has the very
   accumulators and output codes that the oracle (`redc.oracle`) finds from the original file;
2. close to the float model: SQNR, largest error and cosine against onnxruntime.

This module sees both sides, the model and the runtime; nothing else in redc but the command
line does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from isa.program import Program, Target
from redc.calibration import Port, seeded_samples
from redc.closeness import Closeness
from redc.diff_layers import Comparison, arrays_of
from redc.diff_report import Costs, LayerRow, Mismatch, OutputRow, Report
from redc.errors import UserError, check_by_name, check_seed
from redc.ir.graph import HostOp
from redc.oracle import Network, real, run_model

if TYPE_CHECKING:
    import onnx

    from redc.compiler import Compiled
    from runtime import Result
    from runtime.counters import Counters

__all__ = ["Closeness", "LayerRow", "Mismatch", "OutputRow", "Report", "diff"]

Array = npt.NDArray[Any]
SAMPLES = 8
INPUT_SEED = 1
"""Of inputs that nobody gave; calibration draws from 0."""


def diff(
    model: str | Path | onnx.ModelProto,
    program: Program | str | Path | None = None,
    inputs: Mapping[str, Array] | None = None,
    *,
    bind: Mapping[str, Array] | None = None,
    min_sqnr: float | None = None,
    engine: Literal["fast", "step"] = "fast",
    fidelity: str = "exact",
    seed: int = 0,
    input_seed: int = INPUT_SEED,
    **options: Any,
) -> Report:
    """Compile `model` (or take `program`, or the program file of that path), run it, compare it.

    inputs      the model's own floats by ONNX input name.  Without them: for a name of the zoo
                or of a builder what such inputs are like, else standard normal; up to 8 samples
                of `default_rng(input_seed)` (calibration draws from `default_rng(0)`)
    bind        values of inputs that crossbars need to hold, by name; those among `inputs` that
                must be bound are, and the program then no longer takes them
    min_sqnr    decibels that every output must reach to pass
    seed        in `analog`, which of all machines that are built alike runs it
    options     those of `redc.compile`; scales are calibrated on `calibrate`, else on `inputs`,
                else as `redc.compile` does

    Raises UserError for a model, program or options that do not fit, runtime.InputError for
    inputs that do not.
    """
    import runtime
    from isa.targets import device_of

    target = None if isinstance(options.get("target"), Target | None) else str(options["target"])
    setup = set_up(model, program, inputs, bind=bind, input_seed=input_seed, options=options)
    program, network, reference = setup.program, setup.network, setup.reference
    device = device_of(program.target, target) if fidelity == "analog" else None
    loaded = runtime.load(program, engine=engine, fidelity=fidelity, observe=True, seed=seed, device=device)
    result = loaded.run(setup.inputs)
    comparison = Comparison(network, program, result.buffers, result.accumulators, reference)
    rows = [
        comparison.row(layer, counters.rounds, counters.cycles, result.host_seconds.get(layer.name))
        for layer, (_, counters) in zip(program.layers, result.counters, strict=True)
    ]
    layers = tuple(_with_losses(row, n, result) for n, row in enumerate(rows))
    return Report(
        model=setup.title,
        target=program.target.name,
        mapping=_mapping(program),
        engine=engine,
        fidelity=fidelity,
        outputs=tuple(
            _output(name, _real(network, name, result.outputs[name]), reference[name])
            for name in network.outputs
        ),
        layers=layers,
        rounds=result.total.rounds,
        cycles=result.total.cycles,
        arrays=sum(arrays_of(program, name) for name in program.crossbars),
        costs=_costs(program, result.counters, target),
        min_sqnr=min_sqnr,
        problems=tuple(comparison.problems()),
        inputs=result.clipped,
        about=setup.notes,
        notes=(*comparison.notes(), *result.notes),
        work=comparison.work,
        hosts=setup.hosts,
    )


@dataclass(frozen=True, slots=True)
class Setup:
    """What there is to compare: the program of a model, its inputs, and the float model's tensors.

    reference   the float model's tensors by ONNX name, see `_float_run`
    hosts       of the host parts, by layer, why the accelerator does not run their nodes; nothing is
                known of a program that came with the model
    """

    title: str
    program: Program
    network: Network
    inputs: Mapping[str, Array]
    reference: Mapping[str, Array]
    notes: tuple[str, ...]
    hosts: Mapping[str, tuple[str, ...]]


def set_up(
    model: str | Path | onnx.ModelProto,
    program: Program | str | Path | None,
    inputs: Mapping[str, Array] | None,
    *,
    bind: Mapping[str, Array] | None,
    input_seed: int,
    options: dict[str, Any],
) -> Setup:
    """Compile `model` (or take its program), find inputs for it, and run it in floats.  As `diff`."""
    from redc.frontend import bind_inputs, load_model

    for place, given in (("inputs", inputs), ("bind", bind)):
        check_by_name(place, given)
    check_seed("input_seed", input_seed)
    proto = load_model(model)
    if program is not None and not isinstance(program, Program):
        import isa

        program = isa.load(program)
    bound, inputs = _bound(proto, program, inputs, bind, hosts=options.get("host", True))
    proto = bind_inputs(proto, bound, title=str(model) if isinstance(model, str | Path) else None)
    network = Network(proto)
    notes: list[str] = []
    hosts: dict[str, tuple[str, ...]] = {}
    if bound:
        notes.append(f"bound, no longer inputs: {', '.join(bound)}")
    if inputs is not None:
        _check_inputs(network, inputs)
    if program is None:
        if bound:
            options["bind"] = bound
        if inputs is not None:
            options.setdefault("calibrate", inputs)
        elif "shapes" not in options:
            inputs = _known_samples(model, network, input_seed)
            notes += [_samples_note(model, input_seed)] if inputs is not None else []
        compiled = _compiled(model, network, inputs, options)
        program = compiled.program
        hosts = {op.name: op.reasons for op in compiled.graph.ops if isinstance(op, HostOp)}
    elif options:
        raise UserError(
            f"{', '.join(sorted(options))}: an option of compiling, but there is a program",
            place="diff",
            hint="leave out the program, or the options",
        )
    _check_doors(network, program)
    if inputs is None:
        inputs, note = _inputs_for(program, model, input_seed)
        notes.append(note)
    title = str(model) if isinstance(model, str | Path) else proto.graph.name or "model"
    reference = _float_run(network, program, inputs, title)
    return Setup(title, program, network, inputs, reference, tuple(notes), hosts)


def _with_losses(row: LayerRow, position: int, result: Result) -> LayerRow:
    """A crossbar layer's row, with what its conversions lost."""
    conversions = result.counters[position][1].conversions
    if row.kind != "crossbar" or not result.losses:
        return replace(row, conversions=conversions or None)
    lost = result.losses[position]
    return replace(row, conversions=conversions, saturated=lost.saturated, rounded=lost.rounded)


def _costs(program: Program, counters: tuple[tuple[str, Counters], ...], target: str | None) -> Costs:
    """By the target it was compiled for: `target`, where that is a file, else the one of its name."""
    from isa.targets import costs_of
    from runtime.cost import cost_of
    from runtime.report import si

    cost = cost_of(program, counters, costs_of(program.target, target))
    layers = tuple(cost.layer(position) for position in range(len(cost.layers)))
    totals = cost.totals()
    shown = tuple((si(row["latency_s"], "s"), si(row["energy_j"], "J")) for row in (*layers, totals))
    return Costs(layers, totals, shown)


# ---------------------------------------------------------------- what to compare on


def _bound(
    proto: onnx.ModelProto,
    program: Program | None,
    inputs: Mapping[str, Array] | None,
    bind: Mapping[str, Array] | None,
    *,
    hosts: bool,
) -> tuple[dict[str, Array], Mapping[str, Array] | None]:
    """The values that are no inputs of the program, and the inputs that are left."""
    from redc.frontend import needed_values

    bound, given = dict(bind or {}), dict(inputs or {})
    if twice := sorted(bound.keys() & given.keys()):
        raise UserError(
            f"{', '.join(twice)}: bound, and given as input too", place="bind", hint="give it once"
        )
    if program is not None:
        taken = {buffer.tensor or buffer.name for buffer in program.inputs}
        known = {value.name for value in proto.graph.input}
        if taken <= known:  # else it is another model's program, which `_check_doors` says
            bound |= {name: value for name, value in given.items() if name in known - taken}
    else:
        bound |= needed_values(proto, given, already=bound, hosts=hosts)
    left = {name: value for name, value in given.items() if name not in bound}
    return bound, left if inputs is not None else None


def _check_inputs(network: Network, inputs: Mapping[str, Array]) -> None:
    """Before anything is calibrated on them: names, types, shapes and finite values."""
    expected = ", ".join(map(repr, network.inputs))
    unknown, missing = sorted(set(inputs) - set(network.inputs)), sorted(set(network.inputs) - set(inputs))
    if unknown or missing:
        problems = [f"the model has no input {name!r}" for name in unknown]
        problems += [f"input {name!r} is missing" for name in missing]
        hint = f"the inputs are {expected}"
        if missing and all(any(str(key).endswith(name) for key in unknown) for name in missing):
            hint += ": save them under these names, without what stands before them"
        raise UserError("; ".join(problems), place="inputs", hint=hint)
    for name, value in inputs.items():
        place = f"input {name!r}"
        array = np.asarray(value)
        wanted = network.input_type(name)
        if not np.can_cast(array.dtype, wanted, "safe"):
            raise UserError(
                f"its type is {array.dtype}, which {wanted} does not hold exactly",
                place=place,
                hint=f"convert it with .astype(numpy.{wanted})",
            )
        declared = network.declared_shape(name)
        if declared is not None and (
            len(declared) != array.ndim
            or any(d not in (None, n) for d, n in zip(declared, array.shape, strict=True))
        ):
            sizes = ["?" if d is None else d for d in declared]
            raise UserError(f"its shape is {list(array.shape)}, the model takes {sizes}", place=place)
        if not np.isfinite(array).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise UserError(f"its value at {list(index)} is {array[index]}, not a finite number", place=place)


def _known_samples(
    model: str | Path | onnx.ModelProto, network: Network, input_seed: int
) -> Mapping[str, Array] | None:
    """What inputs of a model with a name are like; as many samples as its batch, or 8."""
    if not isinstance(model, str):
        return None
    import models

    declared = [network.declared_shape(name) for name in network.inputs]
    fixed: list[int] = [shape[0] for shape in declared if shape and shape[0]]
    return models.samples(model, min(fixed, default=SAMPLES), input_seed)


def _compiled(
    model: str | Path | onnx.ModelProto,
    network: Network,
    inputs: Mapping[str, Array] | None,
    options: dict[str, Any],
) -> Compiled:
    """Compile for the shapes of `inputs`, where the file leaves them open and no option says."""
    from redc.compiler import compile_with
    from redc.passes import Options

    if inputs is not None:
        options.setdefault(
            "shapes",
            {
                name: np.shape(value)
                for name, value in inputs.items()
                if name in network.inputs and not all(network.declared_shape(name) or (None,))
            },
        )
    own = {field.name for field in fields(Options)}
    choices = Options(**{key: value for key, value in options.items() if key in own})
    return compile_with(model, choices, **{key: v for key, v in options.items() if key not in own})


def _inputs_for(
    program: Program, model: str | Path | onnx.ModelProto, input_seed: int
) -> tuple[Mapping[str, Array], str]:
    """Inputs of the program's shapes where nobody gave any, and where they come from."""
    shapes = {buffer.tensor or buffer.name: buffer.onnx_shape for buffer in program.inputs}
    if isinstance(model, str):
        import models

        count = max((shape[0] for shape in shapes.values() if shape), default=1)
        samples = models.samples(model, count, input_seed)
        if samples is not None and {n: v.shape for n, v in samples.items()} == shapes:
            return samples, _samples_note(model, input_seed)
    ports = {buffer.tensor or buffer.name: Port.of_buffer(buffer) for buffer in program.inputs}
    drawn = seeded_samples(ports, 1, input_seed)
    whole = any(port.dtype.kind != "f" for port in ports.values())
    what = "standard normal" + (", integers 0 and 1, any of 8 bits" if whole else "")
    return drawn, f"inputs: {what}, default_rng({input_seed})"


def _samples_note(model: object, input_seed: int) -> str:
    return f"inputs: samples of {model}, default_rng({input_seed})"


def _check_doors(network: Network, program: Program) -> None:
    """A program of another model is the user's mistake, not a program that computes wrongly."""
    for what, ours, theirs in (
        ("inputs", network.inputs, program.inputs),
        ("outputs", network.outputs, program.outputs),
    ):
        names = tuple(buffer.tensor or buffer.name for buffer in theirs)
        if sorted(names) != sorted(ours):
            raise UserError(
                f"the program's {what} are {', '.join(names) or 'none'}, "
                f"the model's are {', '.join(ours) or 'none'}",
                place="program",
                hint="was it compiled from this model?",
            )
    for buffer in program.inputs:
        declared = network.declared_shape(buffer.tensor or buffer.name)
        if declared is not None and (
            len(declared) != len(buffer.onnx_shape)
            or any(d not in (None, n) for d, n in zip(declared, buffer.onnx_shape, strict=True))
        ):
            raise UserError(
                f"the program takes {buffer.tensor!r} as {list(buffer.onnx_shape)}, "
                f"the model as {['?' if d is None else d for d in declared]}",
                place="program",
                hint="was it compiled from this model?",
            )


def _float_run(
    network: Network, program: Program, inputs: Mapping[str, Array], title: str
) -> dict[str, Array]:
    """Every layer's tensor, every crossbar operator's input and the outputs, by onnxruntime."""
    wanted = dict.fromkeys(network.outputs)
    wanted.update(dict.fromkeys(layer.tensor for layer in program.layers if layer.tensor))
    wanted.update(dict.fromkeys(node.input[0] for node in network.crossbar_nodes()))
    wanted.update(dict.fromkeys(network.around_reshapes()))
    made = [name for name in wanted if network.maker(name) is not None]
    feeds = {name: np.asarray(value, network.input_type(name)) for name, value in inputs.items()}
    values: dict[str, Array] = dict(feeds)
    try:
        values.update(run_model(network.model, network.model.graph, feeds, made))
    except Exception as error:  # onnxruntime raises its own classes, all direct Exceptions
        if isinstance(error, UserError | MemoryError):
            raise
        raise UserError(
            f"onnxruntime does not run the model, so there is nothing to compare with: {error}",
            place=title,
            hint="check it with onnx.checker.check_model(model, full_check=True)",
        ) from error
    constants = {name: network.constant(name) for name in network.outputs if name not in values}
    values.update({name: value for name, value in constants.items() if value is not None})
    network.shapes.update((name, value.shape) for name, value in values.items())
    codes = {name: network.codes(name) for name in values}
    return {n: real(value, given) if (given := codes[n]) else value for n, value in values.items()}


def _mapping(program: Program) -> str | None:
    """The mapping of the deconvolutions; where there are none, of what there is."""
    every = [layer for layer in program.layers if layer.mapping]
    some = [layer for layer in every if layer.op == "ConvTranspose"] or every
    return ", ".join(dict.fromkeys(layer.mapping for layer in some if layer.mapping)) or None


def _real(network: Network, name: str, value: Array) -> Array:
    """What an output stands for: integers with codes are compared as the real numbers they mean."""
    codes = network.codes(name) if value.dtype.kind in "iu" else None
    return real(value, codes) if codes else value


def _output(name: str, value: Array, reference: Array) -> OutputRow:
    if value.shape != reference.shape:
        raise UserError(
            f"the program gives {name!r} as {list(value.shape)}, the model as {list(reference.shape)}",
            place="program",
            hint="was it compiled from this model?",
        )
    near = Closeness.of(value, reference)
    return OutputRow(name, value.shape, near.sqnr_db, near.max_abs_err, near.cosine)


class _Callable(ModuleType):
    """`redc.diff` is this module and, by the lazy import in redc/__init__.py, this function.

    Whoever imports the module first leaves the module under that name, so it can be called.
    """

    __call__ = staticmethod(diff)


sys.modules[__name__].__class__ = _Callable
