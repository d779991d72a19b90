"""Tables of functions that leave the codes before they reach their limit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from isa.instructions import INSTRUCTIONS
from redc.ir.graph import Codes
from redc.passes.bits import SATURATED_BITS
from redc.passes.pieces import pieces
from redc.passes.tables import SATURATING, build_table, finer


@pytest.mark.parametrize("kind", SATURATING)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("bits", "cover"),
    [*product([8, 16, 18], [2.0, 1.01, 0.999, 0.7, 0.3, 0.06, 0.0005]), (20, 1.0), (20, 1.01)],
)
def test_a_line_never_crosses_the_knee_where_codes_saturate(
    kind: str, bits: int, signed: bool, cover: float
) -> None:
    span = SATURATING[kind].high - SATURATING[kind].low
    _hold_against_the_function(kind, Codes(bits, signed, cover * span / 2**bits), cover)


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("tanh", Codes(SATURATED_BITS, True, 1 / (2**21 - 1))),
        ("sigmoid", Codes(SATURATED_BITS, False, 1 / (2**22 - 1))),
    ],
)
def test_codes_that_span_the_function_are_as_fine_as_float32_tells(kind: str, codes: Codes) -> None:
    _hold_against_the_function(kind, codes, 1.0)


def _hold_against_the_function(kind: str, codes: Codes, cover: float) -> None:
    function = SATURATING[kind]
    table, grid = build_table(kind, codes)
    assert all(bound == int(np.float32(bound)) for bound in (table.low, table.high))
    x = np.random.default_rng(3).uniform(-12, 12, 20_000)
    x = np.append(x, x * cover / 12)
    points = np.rint(x / grid).astype(np.float32)  # all that `quant` can name
    u = np.clip(points, np.float32(table.low), np.float32(table.high)).astype(np.int64) - table.low
    i, rest = u >> table.shift, u & (1 << table.shift) - 1
    lines = table.entries[i] * 2**table.shift + (table.entries[i + 1] - table.entries[i]) * rest
    found = lines / 2.0 ** (table.shift + table.fraction)
    exact = np.clip(function.function(x) / codes.scale + codes.zero, codes.low, codes.high)
    assert np.abs(found - exact).max() < 0.2  # an eighth where the function nears its limit
    assert np.abs(np.floor(found + 0.5) - exact).max() < 0.7  # `redc diff` allows 3/4


FUNCTIONS = {
    "HardSigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "a bell": lambda x: np.exp(-x * x),
    "Sin": np.sin,
    "a constant": lambda x: np.full(x.shape, 0.25),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("bits", "signed", "zero"),
    [(14, True, 0), (24, False, 9_000_001), (36, True, 0), (48, True, 0), (49, True, 0)],
)
@pytest.mark.parametrize("reach", [0.5, 100.0, 20_000.0, 1e9])
@pytest.mark.parametrize("out", [Codes(8, True, 1 / 127), Codes(16, False, 1 / 65535)])
def test_pieces_of_a_function_add_up_to_it(
    name: str, bits: int, signed: bool, zero: int, reach: float, out: Codes
) -> None:
    if name == "Sin" and reach > 100:
        return  # more bends than a table has entries
    source = Codes(bits, signed, reach / 2 ** (bits - 1), zero)
    function, fine = FUNCTIONS[name], finer(out)
    parts = pieces(function, source, fine)
    assert sum(part.entries.size for part in parts) < 2**18
    assert max(part.shift for part in parts) <= 32
    random = np.random.default_rng(1)
    ends = [bound + step for part in parts for bound in (part.low, part.high) for step in range(-3, 4)]
    near = np.concatenate([random.integers(-(10**digits), 10**digits + 1, 2000) for digits in range(1, 14)])
    knees = np.rint(np.array([[-3.0], [3.0]]) / source.scale) + np.arange(-500, 500)
    codes = np.concatenate([ends, near, knees.ravel()]).astype(np.int64)
    codes = np.clip(codes, source.low - source.zero, source.high - source.zero)
    found = np.zeros(codes.shape, np.int64)
    for part in parts:
        held = np.clip(codes, part.low, part.high)
        attributes = {"low": part.low, "shift": part.shift, "fraction": part.fraction}
        found += INSTRUCTIONS["lookup"].meaning(held, part.entries, **attributes)
    exact = np.clip(function(codes * source.scale) / fine.scale, fine.low, fine.high)
    assert np.abs(found - exact).max() * fine.scale / out.scale < 0.2
