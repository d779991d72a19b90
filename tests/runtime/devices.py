"""Devices for tests: a few numbers by name, and random ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from isa.device import SHARES, STEP, Device, ideal


def device(cell: int, **effects: Any) -> Device:
    """A device of level steps, octaves and shares; one value stands for every level."""
    levels = 1 << cell
    fixed: dict[str, Any] = {}
    for name, value in effects.items():
        if name in ("stuck_on", "stuck_off"):
            fixed[name] = round(value * SHARES)
        elif name in ("leak", "read_noise"):
            fixed[name] = round(value * STEP)
        else:
            many = value if isinstance(value, tuple) else (value,) * levels
            fixed[name] = tuple(round(one * STEP) for one in many)
    return replace(ideal(cell), **fixed)


@st.composite
def devices(draw: Any, cell: int) -> Device:
    """Any combination of effects."""

    def often(strategy: Any) -> Any:
        return draw(st.one_of(st.just(0), strategy))

    def by_level(high: int) -> tuple[int, ...]:
        """The same for all levels, or rising, or falling."""
        last = (1 << cell) - 1
        ends = often(st.integers(0, high)), often(st.integers(0, high))
        return tuple((ends[0] * (last - level) + ends[1] * level) // last for level in range(last + 1))

    on = often(st.integers(0, SHARES))
    return Device(
        leak=often(st.integers(0, 3 * STEP)),
        normal=by_level(STEP),
        lognormal=by_level(STEP // 2),
        stuck_on=on,
        stuck_off=often(st.integers(0, SHARES - on)),
        drift=by_level(2 * STEP),
        drift_spread=by_level(STEP // 2),
        read_noise=often(st.integers(0, 3 * STEP)),
        numbers={},
    )
