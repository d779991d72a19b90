"""`redc compare`: what every mapping costs on every target, from static counts; nothing is run.

A mapping is named with its options, `pixel-wise:fold=2:merge=analog`; the designs of the
literature have names of their own, `NAMES`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from redc.compiler import Variants
from redc.errors import UserError
from redc.passes import Options, check_options
from runtime.room import EVERYTHING, Room

if TYPE_CHECKING:
    import onnx

    from isa.program import Layer, Program
    from isa.targets import TargetFile
    from runtime.cost import Cost

Given = TypeVar("Given")

NAMES: Mapping[str, str] = {
    "regan": "zero-padding",
    "fcn-engine": "padding-free",
    "red": "pixel-wise",
}
"""Designs of the literature -> the mapping they are."""

MAPPINGS = ("zero-padding", "padding-free", "pixel-wise", "pixel-wise:merge=analog", "packed")
TARGETS = ("red-65nm", "isaac")
BASELINE = "zero-padding"


@dataclass(frozen=True, slots=True)
class Row:
    """One model under one mapping on one target.

    `mapping` is as it was asked for, `options` what it stands for.  `cost` is None where the
    model does not fit the target; `problem` says why.  `chosen` counts the deconvolutions under
    each mapping, which tells what `auto` took.
    """

    model: str
    mapping: str
    options: Options
    target: str
    rounds: int
    cycles: int
    counters: Mapping[str, int]
    cost: Cost | None
    problem: str | None = None
    chosen: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What every row is compared with: a mapping, on the row's own target or on one for all."""

    text: str
    options: Options
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every row, by model, then target, then mapping in the order asked for."""

    rows: tuple[Row, ...]
    over: Baseline

    def baseline(self, row: Row) -> Row | None:
        """The row of the same model that `row` is compared with, if it was asked for and fits."""
        place = row.model, self.over.target or row.target
        same = (r for r in self.rows if (r.model, r.target) == place and r.options == self.over.options)
        return next((r for r in same if r.cost is not None), None)

    def groups(self) -> Iterator[tuple[str, str, list[Row]]]:
        """(model, target, its rows)."""
        for model, target in dict.fromkeys((row.model, row.target) for row in self.rows):
            yield model, target, [r for r in self.rows if (r.model, r.target) == (model, target)]

    def ratios(self, row: Row) -> tuple[float | None, float | None]:
        """(speed-up over the baseline, energy over the baseline's).

        On one target the speed-up is one of cycles; between targets, whose clocks differ, one of
        latency, and None where that is not known.
        """
        base = self.baseline(row)
        if base is None or base.cost is None or row.cost is None or not row.cycles:
            return None, None
        energy, other = row.cost.energy, base.cost.energy
        speedup: float | None = base.cycles / row.cycles
        if base.target != row.target:
            before, after = base.cost.latency, row.cost.latency
            speedup = before / after if before is not None and after else None
        return speedup, energy / other if energy is not None and other else None

    def as_dict(self) -> dict[str, Any]:
        """The JSON document."""
        return {"schema": 1, "baseline": self.over.text, "rows": [self._entry(row) for row in self.rows]}

    def _entry(self, row: Row) -> dict[str, Any]:
        head = {
            "model": row.model,
            "mapping": row.mapping,
            "options": {field.name: getattr(row.options, field.name) for field in fields(row.options)},
            "target": row.target,
            "problem": row.problem,
        }
        if row.cost is None:
            return head
        speedup, energy = self.ratios(row)
        return (
            head
            | dict(row.counters)
            | {"arrays": row.cost.inventory.arrays, "full": row.cost.inventory.full}
            | {"speedup": speedup, "energy_ratio": energy, "chosen": dict(row.chosen)}
            | row.cost.totals()
        )

    def table(self, room: Room = EVERYTHING) -> str:
        """A table for each model and target."""
        from redc.compare_table import tables

        return tables(self, room)


def options_of(text: str, base: Options | None = None) -> Options:
    """`pixel-wise:fold=2` or `red:merge=analog` -> the compiler's options.  Raises UserError."""
    name, *pairs = text.split(":")
    given: dict[str, Any] = {"mapping": NAMES.get(name.lower(), name)}
    known = {field.name: field for field in fields(Options) if field.name != "mapping"}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in known:
            hint = f"a mapping is NAME or NAME:OPTION=VALUE; options are {', '.join(known)}"
            raise UserError(f"{pair!r} in {text!r} is no option of a mapping", place="--mappings", hint=hint)
        if key in given:
            hint = "give it once"
            raise UserError(f"{key!r} stands twice in {text!r}", place="--mappings", hint=hint)
        given[key] = int(value) if value.isdecimal() else value
        if known[key].type in (int, "int") and not value.isdecimal():
            raise UserError(f"{pair!r} in {text!r} is no number", place="--mappings", hint=f"{key}=2")
    options = replace(base or Options(), **given)
    try:
        check_options(options)
    except UserError as error:
        known_names = ", ".join(f"{name} ({mapping})" for name, mapping in NAMES.items())
        raise UserError(
            f"{text!r}: {error.message}", place="--mappings", hint=f"{error.hint}; also {known_names}"
        ) from error
    return options


def compare(
    models: str | Path | onnx.ModelProto | Sequence[str | Path | onnx.ModelProto],
    *,
    mappings: Sequence[str] = MAPPINGS,
    targets: Sequence[str | Path] = TARGETS,
    weight_bits: int | None = None,
    input_bits: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibrate: Mapping[str, npt.NDArray[np.generic]] | None = None,
    bind: Mapping[str, npt.NDArray[np.generic]] | None = None,
    baseline: str = BASELINE,
    host: bool = True,
) -> Comparison:
    """Compile every model under every mapping for every target and count what it costs.

    `shapes` and `bind` are as of `redc.compile`, for those of the models that have the input.
    `baseline` is what speed-ups and energies are over: a mapping, as in `mappings`, of the same
    target, or `MAPPING@TARGET` for all.  `host` is whether the host may run what the accelerator does
    not; it takes no cycles and no energy here.

    Raises UserError for a model, mapping or option that does not exist, isa.ProgramError for a
    target; a model that does not fit a target is a row with a `problem`.
    """
    from isa.targets import load_target_file

    files = [load_target_file(str(target)) for target in targets]
    _check_names(targets, files)
    base = Options(weight_bits=weight_bits, input_bits=input_bits)
    choices = [(text, options_of(text, base)) for text in mappings]
    over = _baseline(baseline, base, [file.target.name for file in files])
    if baseline != BASELINE and over.options not in (options for _, options in choices):
        raise UserError(
            f"{baseline!r} is none of the mappings compared", place="--baseline", hint=", ".join(mappings)
        )
    several = [models] if isinstance(models, str | Path) or not isinstance(models, Sequence) else models
    rows: list[Row] = []
    given = zip(several, _of_each(several, shapes or {}), _of_each(several, bind or {}), strict=True)
    for model, own, bound in given:
        name = str(model) if isinstance(model, str | Path) else model.graph.name or "model"
        variants = Variants(model, shapes=own, calibrate=calibrate, bind=bound, host=host)
        rows += [_row(variants, name, *choice, file) for file in files for choice in choices]
    return Comparison(tuple(rows), over)


def _of_each(
    models: Sequence[str | Path | onnx.ModelProto], given: Mapping[str, Given]
) -> list[Mapping[str, Given]]:
    """For each model what is given for its inputs; what is an input of none goes to the first, which
    will refuse it."""
    if len(models) < 2 or not given:
        return [given] * len(models)
    from redc.frontend.load import load_model

    inputs = [{value.name for value in load_model(model).graph.input} for model in models]
    unknown = set(given).difference(*inputs)
    return [
        {name: value for name, value in given.items() if name in names or (not i and name in unknown)}
        for i, names in enumerate(inputs)
    ]


def _check_names(targets: Sequence[str | Path], files: Sequence[TargetFile]) -> None:
    """Raise UserError for two targets of one name: their rows could not be told apart."""
    named: dict[str, str | Path] = {}
    for target, file in zip(targets, files, strict=True):
        name = file.target.name
        if name in named:
            own = next((str(t) for t in (target, named[name]) if str(t) != name), None)
            raise UserError(
                f"two targets are called {name!r}: {named[name]} and {target}",
                place="--targets",
                hint=f'give one another name: name = "..." in {own}' if own else "name it once",
            )
        named[name] = target


def _baseline(text: str, base: Options, targets: Sequence[str]) -> Baseline:
    mapping, at, target = text.partition("@")
    try:
        options = options_of(mapping, base)
    except UserError as error:
        raise UserError(error.message, place="--baseline", hint=error.hint) from error
    if at and target not in targets:
        known = ", ".join(targets)
        raise UserError(f"{target!r} is none of the targets compared", place="--baseline", hint=known)
    return Baseline(text, options, target or None)


def _row(variants: Variants, model: str, mapping: str, options: Options, file: TargetFile) -> Row:
    from runtime.cost import cost_of
    from runtime.count import count
    from runtime.counters import total

    variants.prepare(options, file)
    try:
        program = variants.compile(options, file)
    except UserError as error:
        return Row(model, mapping, options, file.target.name, 0, 0, {}, None, error.message)
    counters = count(program)
    summed = total(counters)
    cost = cost_of(program, counters, file.costs)
    name = file.target.name
    chosen = Counter(told(program, layer) for layer in program.layers if layer.op == "ConvTranspose")
    figures = summed.rounds, summed.cycles, summed.as_dict(), cost
    return Row(model, mapping, options, name, *figures, chosen=dict(sorted(chosen.items())))


def told(program: Program, layer: Layer) -> str:
    """The mapping of a layer, with its fold: `pixel-wise, folded by 6`."""
    from isa.program import walk

    fires = sum(1 for instruction in walk(layer.body) if instruction.mnemonic == "fire")
    return f"{layer.mapping}, folded by {fires}" if fires > 1 else str(layer.mapping)


class _Callable(ModuleType):
    """`redc.compare` is this module and this function, as `redc.diff` is."""

    __call__ = staticmethod(compare)


sys.modules[__name__].__class__ = _Callable
