"""`redc compare` as text: for each model and target a table of mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isa.costs import COMPONENTS
from runtime.cost import ATTO, HOST, NM2_PER_MM2, UNKNOWN, Cost, known_sum
from runtime.cost_report import heading
from runtime.report import Column, counted, data_size, percent, si, table
from runtime.room import Room

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from redc.compare import Comparison, Row

SHOWN = 0.01
"""Components below this share of the energy in every row of a table are one column, `other`."""


def parts(cost: Cost) -> dict[str, int]:
    """Attojoules by component, and `leakage` of all of them; what is not known is left out."""
    found = {name: amount for name, amount in cost.dynamic.items() if amount is not None}
    leakage = known_sum(cost.leakage.values())
    return found if leakage is None else found | {"leakage": leakage}


def large_parts(costs: list[Cost]) -> list[str]:
    """The parts worth a column of their own, in the order of the components."""
    large = {name for c in costs for name, amount in parts(c).items() if amount > SHOWN * (c.energy or 1)}
    return [name for name in (*COMPONENTS, "leakage") if name in large]


def tables(comparison: Comparison, room: Room) -> str:
    """Every group, and what its numbers do not contain."""
    blocks = []
    for model, target, rows in comparison.groups():
        batch = next((row.cost.batch for row in rows if row.cost), 1)
        told = f", a batch of {batch}" if batch > 1 else ""
        blocks.append(f"{model} on {target}{told}\n\n{_table(comparison, rows, room)}")
        told = "\n".join(room.prose(f"note: {row.mapping}{about}" for row in rows if (about := _about(row))))
        blocks += [told] if told else []
    return "\n\n".join([*blocks, "\n".join(room.prose(_notes(comparison)))]).rstrip()


def _about(row: Row) -> str:
    """Why a row has no figures, or what `auto` took."""
    if row.problem:
        return f": {row.problem}"
    if row.options.mapping != "auto" or not row.chosen:
        return ""
    return " took " + "; ".join(f"{name} x {n}" if n > 1 else name for name, n in row.chosen.items())


def no_speedup(comparison: Comparison, row: Row) -> str:
    """Why a row that fits its target has no speed-up."""
    base = comparison.baseline(row)
    if base is None or base.cost is None or row.cost is None:
        return f"no {comparison.over.text} to compare with"
    if not row.cycles:
        return "nothing runs on the accelerator"
    if HOST in (*row.cost.unmodelled, *base.cost.unmodelled):
        return "no latency: it has host parts"
    return "no latency is published"


def _notes(comparison: Comparison) -> Iterator[str]:
    """What the numbers are over, and what they do not contain, once for all targets of which it holds."""
    from redc.compare import BASELINE

    over = comparison.over.text
    if not any(row.options == comparison.over.options for row in comparison.rows):
        yield f"note: no speed-up nor ratio: {over} is not among the mappings; --baseline M takes another"
    elif over != BASELINE:
        yield f"note: speed-up and ratio are over {over}"
    hosted = dict.fromkeys(
        row.model for row in comparison.rows if row.cost and HOST in row.cost.unmodelled and row.cost.energy
    )
    if hosted:
        between = ", nor a speed-up between targets" if comparison.over.target else ""
        yield f"note: no latency of {' and '.join(hosted)}{between}: what host parts take is not known"
    alike = dict.fromkeys(model for model, _, rows in comparison.groups() if _alike(rows))
    if alike:
        what = "mappings differ in ConvTransposes only, and the accelerator runs none of"
        yield f"note: {what} {' and '.join(alike)}"
    missing: dict[str, list[str]] = {}
    for target in dict.fromkeys(row.target for row in comparison.rows):
        costs = [row.cost for row in comparison.rows if row.target == target and row.cost]
        hosts = [row.counters for row in comparison.rows if row.target == target and row.cost]
        words = dict.fromkeys(word for cost in costs for word in cost.unmodelled)
        if costs and not any(parts(cost) for cost in costs):
            if UNKNOWN not in words and all(layer.on_host for cost in costs for layer in cost.layers):
                why = f": {host_share(hosts)}" if HOST in words else ""
                yield f"note: no latency and no energy: nothing runs on the accelerator of {target}{why}"
            else:
                yield f"note: no cost of {target} is published"
            continue
        if HOST in words:
            del words[HOST]
            words[host_share(hosts)] = None
        if words:
            missing.setdefault(", ".join(words), []).append(target)
    for names, targets in missing.items():
        yield f"note: not in the sums of {' and '.join(targets)}: {names}"


def _alike(rows: list[Row]) -> bool:
    """Whether several mappings cost the same because there is no ConvTranspose to map."""
    figures = [(row.counters, row.cost, row.chosen) for row in rows]
    mapped = rows[0].chosen or rows[0].cost is None
    return len(rows) > 1 and not mapped and all(each == figures[0] for each in figures)


def host_share(counters: list[Mapping[str, int]]) -> str:
    """`host parts (12 calls, 34.5 KiB moved)`: what the host does in the models compared."""
    calls, bits = (max(each[event] for each in counters) for event in ("host_calls", "host_bits"))
    return f"{HOST} ({counted(calls, 'call')}, {data_size(bits)} moved)"


def _table(comparison: Comparison, rows: list[Row], room: Room) -> str:
    costs = [row.cost for row in rows if row.cost is not None]
    large = large_parts(costs)
    batch = max((cost.batch for cost in costs), default=1)
    small = sorted(large, key=lambda name: -sum(parts(cost).get(name, 0) for cost in costs))
    columns = [
        Column("mapping", "mapping"),
        Column("rounds", "rounds", "exact", spare=3),
        Column("cycles", "cycles", "exact"),
        _right("latency", "latency"),
        *([_right("each latency", "each input", spare=2)] if batch > 1 else []),
        *(_right(key, key) for key in ("speed-up", "energy")),
        *([_right("each energy", "each input", spare=2)] if batch > 1 else []),
        _right("ratio", "ratio", spare=1),
        *(_right(name, heading(name), spare=9 + small.index(name)) for name in large),
        *([_right("other", "other", spare=99)] if large else []),
        _right("area", "area mm2", spare=1),
        Column("arrays", "arrays", "exact", spare=1),
        _right("full", "full", spare=2),
    ]
    return table([_cells(comparison, row, large) for row in rows], columns, room)


def _right(key: str, head: str, spare: int = 0) -> Column:
    return Column(key, head, "right", spare)


def _cells(comparison: Comparison, row: Row, large: list[str]) -> dict[str, Any]:
    if row.cost is None:
        return {"mapping": row.mapping}
    cost, (speedup, ratio) = row.cost, comparison.ratios(row)
    own = parts(cost)
    other = sum(amount for name, amount in own.items() if name not in large)
    return {
        "mapping": row.mapping,
        "rounds": row.rounds,
        "cycles": row.cycles,
        "latency": si(cost.latency, "s"),
        "speed-up": "-" if speedup is None else f"{speedup:.2f}x",
        "each latency": si(cost.per_input[0], "s"),
        "each energy": si(cost.per_input[1], "J"),
        "energy": "-" if cost.energy is None else si(cost.energy / ATTO, "J"),
        "ratio": percent(ratio),
        **{name: si(own[name] / ATTO, "J") for name in large if name in own},
        "other": si(other / ATTO, "J"),
        "area": "-" if cost.total_area is None else f"{cost.total_area / NM2_PER_MM2:.3g}",
        "arrays": cost.inventory.arrays,
        "full": percent(cost.inventory.full),
    }
