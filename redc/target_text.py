"""A target in full: every field and every cost, each with its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from isa.costs import COMPONENTS, METRICS, Quantity
from isa.device import KEYS, Device
from isa.targets import FIELDS, TargetFile


def document(file: TargetFile) -> dict[str, Any]:
    """The `target` of `redc targets NAME --json`; `amount` counts base units, null is not published."""
    return {
        "name": file.target.name,
        "description": file.description,
        "digest": file.target.digest,
        "inherits": list(file.inherits),
        **{key: getattr(file.target, key) for key in FIELDS},
        "sources": dict(file.sources),
        "frequency": _number(file.costs.frequency, "Hz"),
        "components": {
            name: {
                metric: _number(file.costs.numbers[name, metric], METRICS[metric][0].base)
                for metric in component.metrics
            }
            for name, component in COMPONENTS.items()
        },
        "device": _device(file.device),
    }


def _device(device: Device | None) -> dict[str, Any] | None:
    if device is None:
        return None
    return {
        name: {"values": list(map(float, number.values)), "unit": number.unit, "source": number.source}
        for name, number in device.numbers.items()
    }


def _number(quantity: Quantity, base: str) -> dict[str, Any] | None:
    if quantity.amount is None:
        return None
    return {
        "amount": quantity.amount,
        "unit": base,
        "published_as": quantity.text,
        "node": quantity.node,
        "source": quantity.source,
    }


def explain(file: TargetFile) -> str:
    """The same for people."""
    return "\n".join(_lines(file))


def _lines(file: TargetFile) -> Iterator[str]:
    yield f"{file.target.name}: {file.description}"
    if file.inherits:
        yield f"inherits from {', '.join(reversed(file.inherits))}"
    yield ""
    for key, field in FIELDS.items():
        value = getattr(file.target, key)
        yield f"{key:<9} {'any' if value is None else value!s:<13} {field.doc}"
        yield f"{'':<24}source: {file.sources[key]}"
    yield ""
    yield from _cost("clock", "frequency", file.costs.frequency, "one ADC conversion a cycle")
    for name, component in COMPONENTS.items():
        yield ""
        yield f"{name}: {component.unit}"
        for metric in component.metrics:
            per = f"per {component.event}" if metric == "energy" else METRICS[metric][1]
            yield from _cost(f"  {metric}", "", file.costs.numbers[name, metric], per)
    if file.device:
        yield ""
        yield "device: what its cells are like, for analog"
        for name, number in file.device.numbers.items():
            yield f"  {name:<13} {number.text}  {KEYS[name].doc}"
            yield f"{'':<24}source: {number.source}"


def _cost(head: str, name: str, quantity: Quantity, per: str) -> Iterator[str]:
    label = f"{head} {name}".rstrip()
    node = f" ({quantity.node})" if quantity.node else ""
    yield f"{label:<16} {quantity.text:<13} {per}{node}"
    if quantity.amount is not None:
        yield f"{'':<24}source: {quantity.source}"
