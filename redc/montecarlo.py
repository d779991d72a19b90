"""`redc montecarlo`: what becomes of a network's values on many machines that are built alike.

One program runs on as many seeds of `analog` as there are trials (docs/fidelity.md); every trial
is one machine: its cells' errors, its noise.  How far its values are from those of `exact`, and
from the float model's, is kept for every layer and output.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from isa.program import Program, Target
from redc.diff_setup import INPUT_SEED, Array, Setup, set_up
from redc.errors import UserError, check_seed
from redc.layer_values import real_values, values_of
from redc.montecarlo_report import MonteCarlo, Spread, Values

if TYPE_CHECKING:
    import onnx

    from runtime import Result

__all__ = ["MonteCarlo", "Spread", "montecarlo"]

TRIALS = 20
MOST_TRIALS = 1_000_000
"""All their figures are kept."""


def montecarlo(
    model: str | Path | onnx.ModelProto,
    program: Program | str | Path | None = None,
    inputs: Mapping[str, Array] | None = None,
    *,
    trials: int = TRIALS,
    seed: int = 0,
    input_seed: int = INPUT_SEED,
    engine: Literal["fast", "step"] = "fast",
    target: str | Path | Target | None = None,
    bind: Mapping[str, Array] | None = None,
    **options: Any,
) -> MonteCarlo:
    """Compile `model` (or take `program`) once and run it on `trials` machines.

    trials      seeds from `seed` on
    target      what the program is compiled for, and whose cells it runs on; with a `program`,
                the target (or TOML file) whose cells it runs on, of the program's machine
    inputs, input_seed, bind, options    as of `redc.diff`

    Raises as `redc.diff`; UserError for no trials and for seeds beyond 64 bits, ProgramError where the
    target says nothing about its cells.
    """
    import runtime
    from isa.targets import device_of
    from runtime.progress import counted, progress

    _check_numbers(trials, seed)
    if program is None and target is not None:
        options["target"] = target
    with progress(f"compiling {model if isinstance(model, str | Path) else 'the model'}"):
        setup = set_up(model, program, inputs, bind=bind, input_seed=input_seed, options=options)
    program = setup.program
    device = device_of(program.target, None if isinstance(target, Target | None) else str(target))
    with progress(f"{setup.title}: exact"):
        exact = _values(setup, runtime.load(program, engine, verify=False).run(setup.inputs))
    report = MonteCarlo.of(setup, exact, device, engine=engine, seed=seed)
    for number in counted(range(seed, seed + trials), f"{setup.title}: machine"):
        loaded = runtime.load(program, engine, fidelity="analog", seed=number, device=device, verify=False)
        result = loaded.run(setup.inputs)
        report.add(_values(setup, result), exact, result.notes)
    return report


def _check_numbers(trials: int, seed: int) -> None:
    if not trials:
        raise UserError("no trials are asked for", place="trials", hint="1 or more")
    check_seed("trials", trials, MOST_TRIALS)
    check_seed("seed", seed)
    if seed + trials > 1 << 64:
        raise UserError(f"{trials} seeds from {seed} on go beyond 64 bits", place="seed", hint="begin lower")


def _values(setup: Setup, result: Result) -> Values:
    """What every layer and output came to, by ("layer" or "output", its name) and ONNX tensor."""
    network = setup.network
    found: Values = {
        ("output", name): {name: real_values(network, name, result.outputs[name])} for name in network.outputs
    }
    for layer in setup.program.layers:
        values = values_of(setup.program, network, layer, result.buffers)
        reference = setup.reference
        known = {n: v for n, v in values.items() if n in reference and reference[n].size == v.size}
        if known:
            found["layer", layer.name] = known
    return found


class _Callable(ModuleType):
    """`redc.montecarlo` is this module and this function, as `redc.diff` is."""

    __call__ = staticmethod(montecarlo)


sys.modules[__name__].__class__ = _Callable
