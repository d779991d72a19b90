"""Options that do not exist, or do not go together."""

from __future__ import annotations

from redc.errors import UserError
from redc.mapping.mappings import DECONVOLUTION_MAPPINGS
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
            raise UserError(
                f"unknown {flag.strip('-')} {value!r}", place=flag, hint="one of " + ", ".join(known)
            )
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
