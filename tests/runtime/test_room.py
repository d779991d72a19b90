"""Tables fit a terminal: the columns and the layers that matter most; what goes to a file is whole."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redc.cli import main
from runtime.report import COUNTERS, Cell, cut, table
from runtime.room import EVERYTHING, Room

ROOT = Path(__file__).parents[2]
ROW: dict[str, Cell] = {
    "name": "/features/features.0/features.0.0/Conv",
    "op": "ConvTranspose",
    "mapping": "pixel-wise",
    "busy": "98.7 %",
} | {column.key: 123_456 for column in COUNTERS if column.style in ("exact", "human", "bytes")}


@pytest.mark.parametrize("width", [60, 80, 100, 150])
def test_a_table_fits_the_width_and_says_what_it_left_out(width: int) -> None:
    head, rule, *rest = lines = table([ROW, ROW], COUNTERS, Room(width)).split("\n")
    assert max(map(len, lines)) <= width
    assert {"layer", "cycles", "conversions"} <= set(head.split())
    heads = " ".join(rest[2:]).removeprefix("left out at this width: ").split(", ")
    shown = [column.heading for column in COUNTERS if column.heading not in heads]
    assert head.split() == " ".join(shown).split()
    assert len(rule) <= width


def test_a_table_with_room_enough_is_whole() -> None:
    assert table([ROW], COUNTERS, Room(500)) == table([ROW], COUNTERS)


@given(st.text(min_size=0, max_size=80), st.integers(3, 40))
def test_a_cut_name_keeps_both_ends(text: str, longest: int) -> None:
    short = cut(text, longest)
    assert len(short) <= longest
    head, dots, tail = (text, "", "") if short == text else short.partition("…")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert dots or text == short


def test_the_layers_shown_are_those_of_smallest_rank_in_their_order() -> None:
    room = Room(layers=2)
    assert room.first([3.0, 1.0, 2.0, 9.0]) == [1, 2]
    assert room.about(4, "the worst") == ["2 of 4 layers, the worst; --all-layers shows all"]
    assert room.first([3.0, 1.0]) == [0, 1]
    assert not room.about(2, "the worst")
    assert EVERYTHING.first([3.0, 1.0, 2.0]) == [0, 1, 2]


def shown(*words: str, terminal: bool) -> list[str]:
    """What `run --count-only` prints for a program of 40 layers, to 80 columns or to a pipe."""
    command = [sys.executable, "-m", "runtime", "p.red", "--count-only", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    if not terminal:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        return done.stdout.splitlines()
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        found = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            found += part
        assert process.wait() == 0
    os.close(ours)
    return found.decode().splitlines()


def test_a_terminal_sees_the_layers_that_matter_and_a_pipe_sees_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    head = (
        '.isa 1\n.target "by hand" rows 4 columns 16 arrays 8 cell 4 encoding differential pair shared dac 1 '
        "adc 8 share 4 adders 1 vector 1 read 8 write 8\n"
        '.input %x i8[64, 2] scale 0.5 zero 0 onnx "x" f32[64, 2] axis 1\n'
        '.output %y i8[64, 2] scale 0.5 zero 0 onnx "y" f32[64, 2] axis 1\n'
    )
    layer = '.layer "l{0}"\nloop q, 0, {0}\n  load v0, %x[q]\n  store %y[q], v0\nend\n'
    Path("p.red").write_text(head + "".join(layer.format(n) for n in range(1, 41)))
    few = shown(terminal=True)
    assert [line.split()[0] for line in few if line.startswith("l")][1:25] == [f"l{n}" for n in range(17, 41)]
    assert "24 of 40 layers, those of most cycles; --all-layers shows all" in few
    assert max(map(len, few)) <= 80
    for everything in (shown(terminal=False), shown("--all-layers", terminal=True)):
        assert {f"l{n}" for n in range(1, 41)} <= {line.split()[0] for line in everything if line}


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize(
    "words",
    [
        ["targets"],
        ["targets", "isaac"],
        ["models"],
        ["compare", "FCN_Deconv1", "--targets", "isaac,prime"],
        ["map", "GAN_Deconv4"],
        ["run", "tests/golden/deconv_2x2.red", "--count-only"],
    ],
    ids=" ".join,
)
def test_what_a_command_prints_fits_a_small_terminal(
    words: list[str], width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Room, "of_terminal", staticmethod(lambda *, all_layers: Room(width)))
    assert main(words) == 0
    assert max(map(len, capsys.readouterr().out.split("\n"))) <= width


def test_prose_is_broken_at_spaces_and_words_never_are() -> None:
    line = "  latency  " + "word " * 9 + "x" * 50
    first, *others = Room(30).prose([line, "short"], hang=9)
    assert first.startswith("  latency  word")
    assert all(text.startswith(" " * 11) for text in others[:-1])
    assert others[-1] == "short"
    assert " ".join(" ".join([first, *others[:-1]]).split()) == " ".join(line.split())
    assert Room().prose([line]) == [line]
