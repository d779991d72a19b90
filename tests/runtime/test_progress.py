"""On a terminal the clock ticks within one item, and everything is wiped; elsewhere nothing is shown."""

from __future__ import annotations

import io
import sys
import time

import pytest

from runtime import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_clock_ticks_within_the_first_item(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    monkeypatch.setattr(progress, "TICK", 0.01)
    for item in progress.counted(range(2), "machine"):
        until = shown.getvalue().count(f"machine {item + 1}/2") + 3
        for _ in range(500):
            if shown.getvalue().count(f"machine {item + 1}/2") >= until:
                break
            time.sleep(0.01)
        assert shown.getvalue().count(f"machine {item + 1}/2") >= until
    assert "s left" in shown.getvalue()
    assert shown.getvalue().endswith("\r\033[K")


def test_without_a_terminal_there_is_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("running"):
        assert list(progress.counted([1, 2], "machine")) == [1, 2]
    assert capsys.readouterr() == ("", "")
