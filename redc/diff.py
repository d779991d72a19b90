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
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from isa.program import Program, Target
from redc.closeness import Closeness
from redc.diff_layers import Comparison, arrays_of
from redc.diff_report import Costs, LayerRow, Mismatch, OutputRow, Report
from redc.diff_setup import INPUT_SEED, Array, set_up
from redc.errors import UserError
from redc.layer_values import real_values

if TYPE_CHECKING:
    import onnx

    from runtime import Result
    from runtime.counters import Counters

__all__ = ["Closeness", "LayerRow", "Mismatch", "OutputRow", "Report", "diff"]


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
    loaded = runtime.load(
        program, engine, fidelity=fidelity, observe=True, seed=seed, device=device, verify=False
    )
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
            _output(name, real_values(network, name, result.outputs[name]), reference[name])
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
    from runtime.cost_report import each_input
    from runtime.report import si

    cost = cost_of(program, counters, costs_of(program.target, target))
    layers = tuple(cost.layer(position) for position in range(len(cost.layers)))
    totals = cost.totals()
    shown = tuple((si(row["latency_s"], "s"), si(row["energy_j"], "J")) for row in (*layers, totals))
    return Costs(layers, totals, shown, tuple(each_input(cost)) if cost.batch > 1 else ())


def _mapping(program: Program) -> str | None:
    """The mapping of the deconvolutions; where there are none, of what there is."""
    every = [layer for layer in program.layers if layer.mapping]
    some = [layer for layer in every if layer.op == "ConvTranspose"] or every
    return ", ".join(dict.fromkeys(layer.mapping for layer in some if layer.mapping)) or None


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
