"""What a user can get wrong when running a program.

`InputError` is the user's side; anything else that escapes this package is our bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Inputs, options or files that do not fit the program.

    `place` names what is wrong (an input, a file, an option), `hint` says what to do about it.
    """

    def __init__(self, message: str, *, place: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{where}{self.message}{hint}"

    def as_dicts(self) -> list[dict[str, str | None]]:
        """The error as the `errors` list of a JSON document."""
        return [{"message": self.message, "place": self.place, "hint": self.hint}]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean "z"?`, or the list of what is known."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known: " + (", ".join(f'"{known}"' for known in names) or "none")
