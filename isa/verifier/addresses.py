"""Rules about addresses, in closed form: no loop is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from isa.analysis import Interval, affine_interval
from isa.diagnostics import did_you_mean
from isa.literals import shape_text
from isa.printer import affine_text
from isa.program import Address, Affine, Buffer

FARTHEST = 1 << 62
"""No address expression may leave plus or minus this: engines compute them in 64 bits."""

NO_LOOP = "no loop around this has the variable"


def address_problems(
    address: Address, buffer: Buffer, loops: Mapping[str, Interval]
) -> Iterator[tuple[str, str | None]]:
    """(message, hint) of everything wrong with an address inside `loops` (variable -> its values)."""
    wanted = buffer.shape[:-1]
    if len(address.indices) != len(wanted):
        hint = f"its shape is {shape_text(buffer.shape)}, and the last axis is the vector"
        yield f"%{buffer.name} takes {len(wanted)} indices, not {len(address.indices)}", hint
        return
    if address.part is not None and not 0 <= address.part[0] < address.part[1] <= buffer.vector:
        part, last = "{}:{}".format(*address.part), buffer.vector
        yield f"{part} is no part of a vector of %{buffer.name}", f"a part lies within 0:{last}"
    for index, size in zip(address.indices, wanted, strict=True):
        unknown = [name for name, _ in index.terms if name not in loops]
        if unknown:
            for name in unknown:
                yield f"{NO_LOOP} {name}", did_you_mean(name, loops)
            continue
        low, high = affine_interval(index, loops)
        if max(abs(low), abs(high)) > FARTHEST or index.divisor > FARTHEST:
            yield f"index {affine_text(index)} leaves 63 bits", None
        elif address.outside:
            if index.divisor < 1:
                yield "a divisor is at least 1", None
        elif index.divisor != 1:
            yield f"index {affine_text(index)} may fall between two pixels", "mark the address with `?`"
        elif low < 0 or high >= size:
            yield (
                f"index {affine_text(index)} reaches {low if low < 0 else high}, outside 0 to {size - 1}",
                "mark the address with `?` if it may fall outside",
            )


def repetitions(indices: tuple[Affine, ...], loops: Mapping[str, Interval]) -> int:
    """An upper bound on how often one and the same address comes up while `loops` run.

    Some loop variables can be told from the address: those of a number written in mixed radix,
    as in [4*q + k] with 0 <= k < 4, once those told from other axes are known.  Only the
    others can bring an address back.
    """
    told: set[str] = set()
    doubtful: set[str] = set()
    for index in sorted(indices, key=lambda e: len(e.terms)):
        reach = 0
        for name, coefficient in sorted(index.terms, key=lambda t: abs(t[1])):
            first, last = loops[name]
            if name in told:
                continue
            if name not in doubtful and abs(coefficient) > reach:
                told.add(name)
                reach += abs(coefficient) * (last - first)
            else:
                doubtful.add(name)
    times = 1
    for name, (first, last) in loops.items():
        if name not in told:
            times *= last - first + 1
    return times
