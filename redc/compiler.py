"""From an ONNX model to a program: load, import, run the passes, emit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isa.program import Program, Target
from redc.backend.emit import emit
from redc.calibration import Range, observe, seeded_samples
from redc.errors import AssumedInputs, InternalError
from redc.frontend import import_graph, load_model
from redc.ir.graph import Graph
from redc.ir.verify import verify_graph
from redc.passes import PASSES, Context, Options, check_options

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
CALIBRATION_SAMPLES = 64
CALIBRATION_VALUES = 1 << 25
"""Of the largest tensor, over all samples nobody asked for: past that, fewer samples will do."""
FEWEST_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program, and comments for its text by id of instruction."""

    program: Program
    comments: Mapping[int, str]
    graph: Graph


def compile(
    model: str | Path | onnx.ModelProto,
    *,
    target: str | Path | Target = "red-65nm",
    mapping: str = "pixel-wise",
    fold: int = 1,
    weight_bits: int = 8,
    input_bits: int = 8,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibrate: Mapping[str, Array] | None = None,
) -> Program:
    """Compile an ONNX model to a crossbar program.

    model        a path, a name of the zoo or of a builder, or a ModelProto
    shapes       shapes of inputs that the model leaves open
    calibrate    samples by input name, axis 0 counting samples; without them the model's known
                 samples, else a standard normal distribution (and a warning, AssumedInputs)

    Raises UserError for anything wrong with the model or the options, isa.ProgramError for a
    target file.  The same arguments give the same program, byte for byte.
    """
    options = Options(mapping, fold, weight_bits, input_bits)
    return compile_with(model, options, target=target, shapes=shapes, calibrate=calibrate).program


def compile_with(
    model: str | Path | onnx.ModelProto,
    options: Options,
    *,
    target: str | Path | Target = "red-65nm",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibrate: Mapping[str, Array] | None = None,
    after: Callable[[str, Graph], None] | None = None,
    verify_each: bool = False,
) -> Compiled:
    """`compile`, showing the graph to `after` once it is imported and after every pass."""
    from isa import load_target

    check_options(options)
    proto = load_model(model)
    graph = import_graph(proto, shapes)
    machine = target if isinstance(target, Target) else load_target(str(target))

    def look(tensors: tuple[str, ...]) -> dict[str, Range]:
        sizes = {name: graph.tensors[name].shape for name in graph.inputs}
        samples = calibrate
        if samples is None:
            samples = known_samples(model, sizes, _affordable(graph))
        return observe(proto, tensors, samples, sizes)

    context = Context(options, machine, look)
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
                raise InternalError(f"{error} (after passes {', '.join(done)})") from error
        if after:
            after(name, imported)
    program, comments = emit(imported, machine)
    return Compiled(program, comments, imported)


def _affordable(graph: Graph) -> int:
    """How many samples to calibrate on where nobody gave any."""
    largest = max(math.prod(t.shape[1:]) for t in graph.tensors.values())
    return max(FEWEST_SAMPLES, min(CALIBRATION_SAMPLES, CALIBRATION_VALUES // largest))


def known_samples(
    model: str | Path | onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], count: int
) -> Mapping[str, Array]:
    """Calibration samples nobody gave: the zoo's where it knows the model, else seeded noise."""
    if isinstance(model, str):
        import models

        samples = models.samples(model, count, 0)
        if samples is not None and all(
            samples[name].shape[1:] == shape[1:] for name, shape in shapes.items()
        ):
            return samples
    warnings.warn(
        "no calibration samples: scales come from 16 standard normal samples, default_rng(0); "
        "give real ones with --calibrate FILE.npz",
        AssumedInputs,
        stacklevel=2,
    )
    return {name: np.asarray(value) for name, value in seeded_samples(shapes).items()}
