"""Tables of functions that leave the codes before they reach their limit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from redc.ir.graph import Codes
from redc.passes.tables import SATURATING, build_table, finer, tabulate


@pytest.mark.parametrize("kind", SATURATING)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("bits", "cover"),
    [*product([8, 16, 18], [2.0, 1.01, 0.999, 0.7, 0.3, 0.06, 0.0005]), (20, 1.0), (20, 1.01)],
)  # codes of 20 bits are chosen by the compiler, and span the function
def test_a_line_never_crosses_the_knee_where_codes_saturate(
    kind: str, bits: int, signed: bool, cover: float
) -> None:
    function = SATURATING[kind]
    codes = Codes(bits, signed, cover * (function.high - function.low) / 2**bits)
    table, grid = build_table(kind, codes)
    assert -(2**24) <= table.low < table.high <= 2**24
    x = np.random.default_rng(3).uniform(-12, 12, 20_000)
    x = np.append(x, x * cover / 12)
    u = np.clip(np.rint(x / grid), table.low, table.high).astype(np.int64) - table.low
    i, rest = u >> table.shift, u & (1 << table.shift) - 1
    lines = table.entries[i] * 2**table.shift + (table.entries[i + 1] - table.entries[i]) * rest
    found = lines / 2.0 ** (table.shift + table.fraction)
    exact = np.clip(function.function(x) / codes.scale + codes.zero, codes.low, codes.high)
    assert np.abs(found - exact).max() < 0.2  # an eighth where the function nears its limit
    assert np.abs(np.floor(found + 0.5) - exact).max() < 0.7  # `redc diff` allows 3/4


def test_a_table_over_codes_of_24_bits_finds_the_knees_between_them() -> None:
    source, out = Codes(24, True, 100 / 2**23), Codes(16, False, 1 / 65535)
    fine = finer(out)

    def hard_sigmoid(x: np.ndarray) -> np.ndarray:
        return np.clip(x / 6 + 0.5, 0, 1)

    table = tabulate(hard_sigmoid, source, fine, line=1.0, fraction=0)
    knees = np.rint(np.array([[-3.0], [3.0]]) / source.scale) + np.arange(-500, 500)
    codes = np.append(knees.astype(np.int64), np.arange(source.low, source.high, 997))
    i, rest = np.divmod(codes - table.low, 1 << table.shift)
    found = table.entries[i] + (table.entries[i + 1] - table.entries[i]) * (rest / 2**table.shift)
    off = np.abs(found * fine.scale - hard_sigmoid(codes * source.scale)) / out.scale
    assert off.max() < 0.5
