"""The one exception of the operators' importers."""

from __future__ import annotations


class Rejected(Exception):
    """A node that cannot be imported; whoever knows the node adds its place."""

    def __init__(self, message: str, *, tensor: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.tensor = tensor
        self.hint = hint
