"""Tables of functions that leave the codes before they reach their limit."""

from __future__ import annotations

import numpy as np
import pytest

from redc.ir.graph import Codes
from redc.passes.tables import SATURATING, build_table


@pytest.mark.parametrize("kind", SATURATING)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("cover", [2.0, 1.01, 0.999, 0.7, 0.3, 0.06, 0.0005])
def test_a_line_never_crosses_the_knee_where_codes_saturate(
    kind: str, bits: int, signed: bool, cover: float
) -> None:
    function = SATURATING[kind]
    codes = Codes(bits, signed, cover * (function.high - function.low) / 2**bits)
    table, grid = build_table(kind, codes)
    x = np.random.default_rng(3).uniform(-12, 12, 20_000)
    x = np.append(x, x * cover / 12)
    u = np.clip(np.rint(x / grid), table.low, table.high).astype(np.int64) - table.low
    i, rest = u >> table.shift, u & (1 << table.shift) - 1
    lines = table.entries[i] * 2**table.shift + (table.entries[i + 1] - table.entries[i]) * rest
    found = lines / 2.0 ** (table.shift + table.fraction)
    exact = np.clip(function.function(x) / codes.scale + codes.zero, codes.low, codes.high)
    assert np.abs(found - exact).max() < 0.2  # an eighth where the function nears its limit
    assert np.abs(np.floor(found + 0.5) - exact).max() < 0.7  # `redc diff` allows 3/4
