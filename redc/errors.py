"""Two families of errors: what a user can put right, and what is our own fault.

A `UserError` carries a place and a hint and is reported without a traceback; an
`InternalError` says what to send us.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral


class UserError(Exception):
    """Something wrong with the input or the command.

    message  what is wrong, in a sentence
    place    where: `model.onnx: node 'ct1' (ConvTranspose), tensor 'x'`, `--fold`, a file
    hint     what to do about it
    """

    def __init__(self, message: str, *, place: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    @property
    def errors(self) -> tuple[UserError, ...]:
        """The single errors this one stands for: itself."""
        return (self,)

    def as_dicts(self) -> list[dict[str, str | None]]:
        """One `{"message", "place", "hint"}` per error, for JSON."""
        return [{"message": e.message, "place": e.place, "hint": e.hint} for e in self.errors]

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class NeedsValue(UserError):
    """A graph input whose value must be known to compile: `inputs` are the names to bind."""

    def __init__(
        self, message: str, inputs: Sequence[str], *, place: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, place=place, hint=hint)
        self.inputs = tuple(inputs)


class UserErrors(UserError):
    """Several errors of one phase, reported together.  `errors` are single ones."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        self._errors = tuple(single for error in errors for single in error.errors)
        first = self._errors[0]
        super().__init__(first.message, place=first.place, hint=first.hint)

    @property
    def errors(self) -> tuple[UserError, ...]:
        return self._errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self._errors)


class InternalError(Exception):
    """A promise that redc made to itself does not hold: a bug, never the user's fault."""

    def __str__(self) -> str:
        return (
            f"internal error: {super().__str__()}\n"
            "  this is a bug in redc: please report it and attach the command, the model (or how "
            "to get it) and this message"
        )


class AssumedInputs(UserWarning):
    """Nobody said what the model's inputs look like, so a distribution was assumed."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn of the line that called redc, however deep within redc this is."""
    level, frame = 1, sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == "redc":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def check_by_name(place: str, value: object) -> None:
    """Raise UserError for what is no mapping from input names; None is one of nothing."""
    if value is not None and not isinstance(value, Mapping):
        kind = type(value).__name__
        raise UserError(
            f"it is a {kind}, not values by input name", place=place, hint=f'{place}={{"x": ...}}'
        )


def check_seed(place: str, seed: object, most: int = (1 << 64) - 1) -> None:
    """Raise UserError for what is no whole number from 0 to `most`."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) <= most:
        raise UserError(f"{seed!r} is not a whole number from 0 to {most}", place=place)


MOST_ERRORS = 100
"""Errors that are told one by one."""


def raise_all(errors: Sequence[UserError]) -> None:
    """Raise `errors` as one exception (of very many the first, and a count); do nothing if there are none."""
    if len(errors) > MOST_ERRORS:
        errors = [*errors[:MOST_ERRORS], UserError(f"and {len(errors) - MOST_ERRORS} more errors")]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserErrors(errors)


MOST_KNOWN = 5000
"""Names, and characters of one, that are worth a comparison."""


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """`did you mean 'x'?`, or None where nothing known is near.  Case does not matter."""
    import difflib  # late: only errors need it

    by_key = {other.lower(): other for other in sorted(known)[:MOST_KNOWN]}
    near = difflib.get_close_matches(name[:MOST_KNOWN].lower(), by_key, n=1)
    return f"did you mean {by_key[near[0]]!r}?" if near else None
