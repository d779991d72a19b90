"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.report import COUNTERS, Cell, Column, data_size, human, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (12_345, "12.3 k"),
        (99_950, "100 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (867_213_312, "867 M"),
        (10**18, "1.00 E"),
        (10**23, "100000 E"),
    ],
)
def test_counts_have_three_digits_and_a_unit(value: int, text: str) -> None:
    assert human(value) == text


@pytest.mark.parametrize(
    ("bits", "text"), [(8, "1 B"), (8000, "1000 B"), (8 * 1024, "1.00 KiB"), (210_739_200, "25.1 MiB")]
)
def test_sizes_are_bytes(bits: int, text: str) -> None:
    assert data_size(bits) == text


def test_the_table_lines_up() -> None:
    columns = [
        Column("name", "layer"),
        Column("rounds", "rounds", "exact"),
        Column("drives", "drives", "human"),
    ]
    rows: list[dict[str, Cell]] = [
        {"name": "ct1", "rounds": 1234567, "drives": 9_876_543},
        {"name": "a name that is far too long for a table", "rounds": None, "drives": 1},
    ]
    assert table(rows, columns).split("\n") == [
        "layer                            rounds  drives",
        "----------------------------  ---------  ------",
        "ct1                           1,234,567  9.88 M",
        "a name that i…ng for a table          -       1",
    ]


@given(
    st.lists(st.dictionaries(st.sampled_from([c.key for c in COUNTERS]), st.integers(0, 10**20)), max_size=3)
)
def test_any_row_is_shown_in_its_columns(rows: list[dict[str, Cell]]) -> None:
    lines = table(rows).split("\n")
    assert len(lines) == 2 + len(rows)
    assert all(len(line) <= len(lines[1]) for line in lines)


def test_control_characters_of_a_name_are_not_printed() -> None:
    assert "\x1b" not in table([{"name": "\x1b[31mred\n"}])
