"""Options that do not exist, or do not go together."""

from __future__ import annotations

from collections.abc import Collection

from redc.errors import UserError, did_you_mean
from redc.mapping.mappings import DECONVOLUTION_MAPPINGS
from redc.option_values import KNOWN_AS
from redc.passes.context import AUTO, MERGES, MINIMISE, ORIGINS, Options
from redc.ranges import METHODS


def check_options(options: Options) -> None:
    """Raises UserError for options that do not exist, or do not go together."""
    for flag, value, known in (
        ("--mapping", options.mapping, (*DECONVOLUTION_MAPPINGS, AUTO)),
        ("--merge", options.merge, MERGES),
        ("--origin", options.origin, ORIGINS),
        ("--minimise", options.minimise, MINIMISE),
        ("--calibration", options.calibration, METHODS),
    ):
        if value not in known:
            hint = f"one of {', '.join(known)}"
            if near := _meant(value, known):
                hint = f"{near} It is {hint}"
            raise UserError(f"unknown {flag.strip('-')} {value!r}", place=flag, hint=hint)
    numbers: tuple[tuple[str, object], ...] = (
        ("--fold", options.fold),
        ("--weight-bits", options.weight_bits),
        ("--input-bits", options.input_bits),
        ("--vector-bits", options.vector_bits),
    )
    for flag, number in numbers:
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise UserError(f"{number!r} is no whole number", place=flag, hint="an int, like 8")
    if options.fold < 1:
        raise UserError(f"cannot fold by {options.fold}", place="--fold", hint="1 or more")
    for flag, given, owner, why in (
        ("--fold", options.fold > 1, "pixel-wise", "shares an array between kernel pixels in turns"),
        ("--merge", options.merge != "digital", "pixel-wise", "can do both"),
        ("--origin", options.origin != "auto", "packed", "can start its blocks elsewhere"),
        ("--minimise", options.minimise != "cycles", AUTO, "chooses"),
    ):
        if given and options.mapping != owner:
            raise UserError(
                f"the {options.mapping} mapping has no {flag}", place=flag, hint=f"only {owner} {why}"
            )
    for flag, bits, most in (
        ("--weight-bits", options.weight_bits, 16),
        ("--input-bits", options.input_bits, 16),
        ("--vector-bits", options.vector_bits, 20),
    ):
        if bits is not None and not 2 <= bits <= most:
            raise UserError(f"{bits} bits are not supported", place=flag, hint=f"2 to {most}")


def _meant(value: object, known: Collection[str]) -> str | None:
    """A question, where the value is a name that is near one, or that the literature has for one."""
    if not isinstance(value, str):
        return None
    called = KNOWN_AS.get(value.lower())
    return f"did you mean {called!r}?" if called in known else did_you_mean(value, known)
