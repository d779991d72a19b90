"""Models to try redc on: a zoo of small trained networks, and builders of the RED paper's layers
and of the networks they come from.

    models.names()                          # all of them
    models.load("dcgan_face64")             # an onnx.ModelProto; case does not matter
    models.load("FCN_Deconv2@700x700")      # a layer, its input resized: NAME@HxW
    models.load("DCGAN")                    # a whole generator

`names`, `describe` and `default_shapes` read no model and import neither onnx nor numpy.  Its modules
import one another relatively: redc loads the package under another name (redc/shelf.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .catalogue import ZOO, Entry, entries

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

__all__ = ["Entry", "UnknownModel", "default_shapes", "describe", "load", "names", "samples"]


class UnknownModel(LookupError):
    """No model has this name.

    `suggestions` are names that look like it, best first; `reason` says what is wrong with a name
    whose part before the `@` is known, else it is empty.
    """

    def __init__(self, name: str, suggestions: tuple[str, ...], reason: str = "") -> None:
        self.name = name
        self.suggestions = suggestions
        self.reason = reason
        hint = f"; did you mean {' or '.join(suggestions)}?" if suggestions else ""
        super().__init__(f"no model is called {name!r}{': ' + reason if reason else ''}{hint}")


def names() -> tuple[str, ...]:
    """The names that `load` takes, the zoo first."""
    return tuple(entry.name for entry in entries())


def describe() -> tuple[Entry, ...]:
    """One row per model: name, kind (zoo or builder), what it is, source, licence."""
    return entries()


def load(name: str) -> onnx.ModelProto:
    """The model `name`, or, for a layer of the RED paper, `name@HxW` with another input size.

    Raises UnknownModel.
    """
    entry, size = _resolve(name)
    if entry.kind == "zoo":
        import onnx

        return onnx.load(ZOO / f"{entry.name}.onnx")
    if not entry.resizable:
        from .networks import build as build_network

        return build_network(entry.name)
    from .builders import build

    return build(entry.name, size)


def default_shapes(name: str) -> Mapping[str, tuple[int, ...]]:
    """A shape for each input that the model leaves open, as in {"z": (1, 100, 1, 1)}; often empty.

    Raises UnknownModel.
    """
    entry, _ = _resolve(name)
    return {key: shape for key, shape in entry.inputs.items() if key in entry.open_inputs}


def samples(name: str, count: int, seed: int) -> Mapping[str, npt.NDArray[np.float32]] | None:
    """Up to `count` samples of each input, axis 0 counting them, as the model's inputs really are.

    From `numpy.random.default_rng(seed)`: standard normal for a generator's z and for class scores,
    its positive part for the GAN layers, whose inputs come out of a Relu.  Where no distribution is
    known but a natural input is recorded with the model, that one alone, whatever the seed.
    None if no model has this name: nothing is known of it.
    """
    try:
        entry, size = _resolve(name)
    except UnknownModel:
        return None
    import numpy as np

    if entry.drawn == "recorded":
        with np.load(ZOO / f"{entry.name}.io.npz") as recorded:
            return {key: recorded[f"in_{key}"][:count] for key in entry.inputs}
    rng = np.random.default_rng(seed)
    drawn: dict[str, Any] = {}
    for key, shape in entry.inputs.items():
        inner = shape[1:] if size is None else (shape[1], *size)
        value = rng.standard_normal((count, *inner)).astype(np.float32)
        drawn[key] = value if entry.drawn == "normal" else np.maximum(value, 0)
    return drawn


def _resolve(name: str) -> tuple[Entry, tuple[int, ...] | None]:
    """The entry that `name` means, and the input size after its `@`."""
    known = {entry.name.lower(): entry for entry in entries()}
    stem, at, suffix = name.partition("@")
    entry = known.get(stem.lower())
    if entry is None:
        close = difflib.get_close_matches(stem.lower(), known, n=3)
        raise UnknownModel(name, tuple(known[key].name for key in close))
    if not at:
        return entry, None
    if not entry.resizable:
        reason = "only the input of a layer of the RED paper can be resized"
        raise UnknownModel(name, (entry.name,), reason)
    rank = len(entry.inputs["x"]) - 2
    parts = suffix.lower().split("x")
    if len(parts) != rank or not all(part.isdecimal() and int(part) > 0 for part in parts):
        example = f"{entry.name}@{'x'.join(['32'] * rank)}"
        raise UnknownModel(name, (), f"a size is written as in {example}")
    return entry, tuple(map(int, parts))
