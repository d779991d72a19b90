"""The one exception of the operators' importers."""

from __future__ import annotations

from redc.errors import NeedsValue, UserError


class Rejected(Exception):
    """A node that cannot be imported; whoever knows the node adds its place.

    `needs` are the graph inputs whose values would let it be.
    """

    def __init__(
        self,
        message: str,
        *,
        tensor: str | None = None,
        hint: str | None = None,
        needs: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.tensor = tensor
        self.hint = hint
        self.needs = needs

    def at(self, place: str) -> UserError:
        """The user's error, now that its place is known."""
        if self.needs:
            return NeedsValue(self.message, self.needs, place=place, hint=self.hint)
        return UserError(self.message, place=place, hint=self.hint)


class Broken(Rejected):
    """A node that is wrong wherever it runs."""
