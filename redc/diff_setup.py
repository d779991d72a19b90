"""What there is to compare: the program of a model, inputs for it, and the float model's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import isa
from isa.program import Program
from redc.calibration import Port, seeded_samples
from redc.chance import draws
from redc.errors import UserError, check_by_name, check_seed
from redc.ir.graph import HostOp
from redc.layer_values import judged
from redc.oracle import Network, real, run_model
from redc.shelf import shelf

if TYPE_CHECKING:
    import onnx

    from redc.compiler import Compiled

Array = npt.NDArray[Any]
SAMPLES = 8
INPUT_SEED = 1
"""Of inputs that nobody gave; calibration draws from 0."""
OWN_SCALES = "scales: from the given inputs themselves; --calibrate FILE.npz takes other samples"


@dataclass(frozen=True, slots=True)
class Setup:
    """What there is to compare: the program of a model, its inputs, and the float model's tensors.

    program     verified
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
    from redc.frontend import bind_inputs, load_model, taken_branches

    for place, given in (("inputs", inputs), ("bind", bind), ("calibrate", options.get("calibrate"))):
        check_by_name(place, given)
    check_seed("input_seed", input_seed)
    proto = load_model(model)
    if program is not None and not isinstance(program, Program):
        program = isa.load(program)
    if program is not None:
        isa.verify(program)  # whatever is compiled here is verified
    bound, inputs = _bound(proto, program, inputs, bind, hosts=options.get("host", True))
    proto = bind_inputs(proto, bound, title=str(model) if isinstance(model, str | Path) else None)
    network = Network(proto)
    notes: list[str] = []
    hosts: dict[str, tuple[str, ...]] = {}
    if bound:
        notes.append(f"bound, no longer inputs: {', '.join(bound)}")
        if options.get("calibrate") is not None:  # samples of the model's inputs, as `inputs` are
            options["calibrate"] = {n: v for n, v in options["calibrate"].items() if n not in bound}
    if inputs is not None:
        _check_inputs(network, inputs)
    if program is None:
        if bound:
            options["bind"] = bound
        own = inputs is not None and "calibrate" not in options
        if own:
            options |= {"calibrate": inputs, "own": True}
        elif inputs is None and "shapes" not in options:
            inputs = _known_samples(model, network, input_seed)
            notes += [_samples_note(model, input_seed)] if inputs is not None else []
        compiled = _compiled(model, network, inputs, options)
        program = compiled.program
        notes += [OWN_SCALES] if own and compiled.calibrated else []
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
    shapes = {buffer.tensor or buffer.name: buffer.onnx_shape for buffer in program.inputs}
    network = Network(taken_branches(proto, shapes, title))
    reference = _float_run(network, program, inputs, title)
    random = draws(network)
    notes += [random] if random else []
    return Setup(title, program, network, inputs, reference, tuple(notes), hosts)


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
        if missing and all(any(str(key).endswith(str(name)) for key in unknown) for name in missing):
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
            takes = network.shape_text(name)
            message = f"its shape is {list(array.shape)}, the model takes {takes}"
            raise UserError(message, place=place, hint="reshape it, or export the model for this shape")
        if not np.isfinite(array).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            message = f"its value at {list(index)} is {array[index]}, not a finite number"
            raise UserError(message, place=place, hint="give it numbers alone: no code stands for this")


def _known_samples(
    model: str | Path | onnx.ModelProto, network: Network, input_seed: int
) -> Mapping[str, Array] | None:
    """What inputs of a model with a name are like; as many samples as its batch, or 8."""
    models = shelf() if isinstance(model, str) else None
    if models is None:
        return None
    declared = [network.declared_shape(name) for name in network.inputs]
    fixed: list[int] = [shape[0] for shape in declared if shape and shape[0]]
    samples: Mapping[str, Array] | None = models.samples(model, min(fixed, default=SAMPLES), input_seed)
    return samples


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
    models = shelf() if isinstance(model, str) else None
    if models is not None:
        count = max((shape[0] for shape in shapes.values() if shape), default=1)
        known: Mapping[str, Array] | None = models.samples(model, count, input_seed)
        if known is not None and {n: v.shape for n, v in known.items()} == shapes:
            return known, _samples_note(model, input_seed)
    ports = {buffer.tensor or buffer.name: Port.of_buffer(buffer) for buffer in program.inputs}
    samples = seeded_samples(ports, 1, input_seed)
    drawn = {name: samples[name].reshape(port.shape) for name, port in ports.items()}
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
        name = buffer.tensor or buffer.name
        declared = network.declared_shape(name)
        if declared is not None and (
            len(declared) != len(buffer.onnx_shape)
            or any(d not in (None, n) for d, n in zip(declared, buffer.onnx_shape, strict=True))
        ):
            raise UserError(
                f"the program takes {name!r} as {list(buffer.onnx_shape)}, "
                f"the model as {network.shape_text(name)}",
                place="program",
                hint="was it compiled from this model?",
            )


def _float_run(
    network: Network, program: Program, inputs: Mapping[str, Array], title: str
) -> dict[str, Array]:
    """Every layer's tensors, every crossbar operator's input and the outputs, by onnxruntime."""
    wanted = dict.fromkeys(network.outputs)
    for layer in program.layers:
        tensors = (layer.tensor, *judged(program, layer))
        wanted.update(dict.fromkeys(name for name in tensors if name))
    wanted.update(dict.fromkeys(node.input[0] for node in network.crossbar_nodes()))
    wanted.update(dict.fromkeys(network.shaping()))
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
    network.learn({name: value.shape for name, value in values.items()})
    codes = {name: network.codes(name) for name in values}
    return {n: real(value, given) if (given := codes[n]) else value for n, value in values.items()}
