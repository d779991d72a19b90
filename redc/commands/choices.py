"""From the words of the command line to the arguments of `redc.compile` and `redc.diff`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from redc.errors import UserError

DEFAULTS = {
    "target": "red-65nm",
    "mapping": "pixel-wise",
    "fold": 1,
    "merge": "digital",
    "origin": "auto",
    "minimise": "cycles",
    "calibration": "mse",
    "bias_correction": False,
    "weight_bits": None,
    "input_bits": None,
    "vector_bits": None,
}
"""The options of compiling that have a default, and nothing to read or convert."""


def compiling_options(options: argparse.Namespace, *, changed_target: bool = True) -> dict[str, Any]:
    """The options of `redc.compile`.  With a program there are none: the user may give none either,
    but for a target where `changed_target` is False."""
    if options.program is not None:
        fixed = [key for key in sorted(DEFAULTS) if changed_target or key != "target"]
        changed = [f"--{key.replace('_', '-')}" for key in fixed if getattr(options, key) != DEFAULTS[key]]
        changed += ["--shape"] * bool(options.shape) + ["--calibrate"] * bool(options.calibrate)
        changed += ["--no-host"] * (not options.host)
        if changed:
            raise UserError(
                f"{', '.join(changed)}: an option of compiling, but there is a program",
                place="--program",
                hint="leave out the program, or the options",
            )
        return {}
    compiling = {key: getattr(options, key) for key in DEFAULTS}
    compiling["host"] = options.host
    if options.shape:
        compiling["shapes"] = shapes_of(options.shape)
    if options.calibrate is not None:
        compiling["calibrate"] = samples_of(options.calibrate)
    return compiling


def shapes_of(pairs: Sequence[tuple[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]] | None:
    """`--shape`: a shape per name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in pairs:
        if name in shapes:
            place = f"--shape {name}={','.join(map(str, shape))}"
            raise UserError(f"{name!r} is given two shapes", place=place, hint="give it one")
        shapes[name] = shape
    return shapes or None


def inputs_of(options: argparse.Namespace) -> dict[str, Any]:
    """`--input` and `--input-seed`, as far as they are given."""
    if options.input is None:
        return {} if options.input_seed is None else {"input_seed": options.input_seed}
    if options.input_seed is not None:
        raise UserError(
            "the inputs are given: none are drawn", place="--input-seed", hint="leave it out, or --input"
        )
    from runtime.npz import read_npz

    return {"inputs": read_npz(options.input, "--input")}


def samples_of(path: str | None) -> Mapping[str, Any] | None:
    """The arrays of `--calibrate`."""
    if path is None:
        return None
    from runtime.npz import read_npz

    return read_npz(path, "--calibrate")


def bindings(pairs: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    """`--bind`: a value per name, from an .npy file or from the key of that name in an .npz."""
    from redc.errors import did_you_mean
    from runtime.npz import read_npy, read_npz

    values: dict[str, Any] = {}
    for name, path in pairs:
        place = f"--bind {name}={path}"
        if name in values:
            raise UserError(f"{name!r} is bound twice", place=place, hint="bind it once")
        if not path.endswith(".npz"):
            values[name] = read_npy(path, "--bind")
            continue
        arrays = read_npz(path, "--bind")
        if name not in arrays:
            known = ", ".join(map(repr, arrays)) or "none"
            hint = did_you_mean(name, arrays) or f"its keys are {known}"
            raise UserError(f"the file has no array {name!r}", place=place, hint=hint)
        values[name] = arrays[name]
    return values or None
