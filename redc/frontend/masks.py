"""Nodes whose values are a mask's: -1e9, or the least float32, to be nothing behind a Softmax or a maximum.

Beside such a value no other of the same tensor has a code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from redc.frontend.constants import Constants
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected

HUGE = 1e5
"""Magnitude of a mask's values, at least.  24 bits that reach so far have steps of 1/80, which a score
behind a Softmax shows as 1 %."""

TAKEN = {
    "Add": (0, 1),
    "Sub": (0, 1),
    "Mul": (0, 1),
    "Div": (0,),
    "Where": (1, 2),
    "Pad": (2,),
    "Expand": (0,),
    "Concat": None,
    "Sum": None,
}
"""Inputs whose values become values of the output, or that scale them; all where none is named."""
KEPT = frozenset(
    {
        "Neg", "Abs", "Max", "Min", "Cast", "Identity", "Dropout", "Reshape", "Flatten", "Squeeze",
        "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "Tile",
    }
)  # fmt: skip
"""What else makes values as large of such as it reads."""
SUMS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""What crossbars run has ranges of its own."""


def masked(
    nodes: Iterable[Node], constants: Constants, samples: Mapping[str, npt.NDArray[np.generic]]
) -> set[int]:
    """The nodes, in an order that can run, that make values as large as a mask's or read them.

    `samples` are those of the network's inputs, as far as they are known.
    """
    large = {name for name, values in samples.items() if _is_huge(values)}
    found: set[int] = set()
    for node in nodes:
        reads = not large.isdisjoint(node.reads)
        makes = (reads and node.op in KEPT) or (
            node.op in TAKEN and any(name in large or _holds(constants, name) for name in _taken(node))
        )
        if makes:
            large.update(node.outputs)
        if makes or (reads and node.op not in SUMS):
            found.add(node.index)
    return found


def _taken(node: Node) -> list[str]:
    at = TAKEN[node.op]
    return [name for i, name in enumerate(node.inputs) if name and (at is None or i in at)]


def _holds(constants: Constants, name: str) -> bool:
    """Whether a tensor is a constant with such a value; one that cannot be read is told by who needs it."""
    try:
        return name in constants and _is_huge(constants[name])
    except Rejected:
        return False


def _is_huge(values: npt.NDArray[np.generic]) -> bool:
    values = np.asarray(values)
    if values.dtype.kind != "f" or not values.size:
        return False
    return bool(max(abs(float(values.max())), abs(float(values.min()))) >= HUGE)
