"""Nodes that draw random numbers: a model that has them and its program agree on no value behind them."""

from __future__ import annotations

from collections.abc import Iterator

from redc.oracle import Network

MOST = 3
"""Nodes named; a model in training mode has one behind every layer."""


def draws(network: Network) -> str | None:
    """A line that names the nodes of the model which draw anew in every run; None if there are none."""
    found = list(_drawing(network))
    if not found:
        return None
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return (
        f"random: drawn anew in every run, the model's and the program's, so outputs behind them differ: "
        f"{', '.join(found[:MOST])}{more}; export the model for inference (model.eval()), or make an "
        "input of what is drawn"
    )


def _drawing(network: Network) -> Iterator[str]:
    """Those without a seed of their own, with which onnxruntime's every session draws the same."""
    for node in network.model.graph.node:
        if node.op_type == "Dropout":
            mode = network.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
            random = mode is not None and bool(mode.any())
        else:
            random = node.op_type.startswith("Random") or node.op_type in ("Multinomial", "Bernoulli")
        if random and not any(attribute.name == "seed" for attribute in node.attribute):
            yield f"node {(node.name or node.output[0])!r} ({node.op_type})"
