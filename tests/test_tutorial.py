"""docs/assembly.md: its program is checked, run, traced and broken as it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from redc import cli

TEXT = (Path(__file__).parents[1] / "docs" / "assembly.md").read_text(encoding="utf-8")
PROGRAM = re.findall(r"```\n(.*?)```", TEXT, re.S)[0]


def shown(command: str) -> str:
    """What the tutorial says that `command` prints."""
    block = TEXT[TEXT.index(f"    $ {command}\n") :].split("\n", 1)[1]
    lines = []
    for line in block.splitlines():
        if not line.startswith("    ") or line.startswith("    $ "):
            break
        lines.append(line.removeprefix("    "))
    return "\n".join(lines)


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "first.red"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def test_the_commands_print_what_the_tutorial_shows(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^    \$ (python -c .*|redc (?:check|run) .*)$", TEXT, re.M)
    assert [command.split()[0] for command in commands[:4]] == ["redc", "python", "redc", "python"]
    for command in commands[:4]:
        words = shlex.split(command)
        if words[0] == "python":
            done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=True)
            assert done.stdout.strip() == shown(command)
        else:
            assert cli.main(words[1:]) == 0
            printed = capsys.readouterr().out
            if words[1] == "check":
                assert printed.strip() == shown(command)
            else:
                assert "its values span 15 of 256 codes" in printed
                assert "--calibrate" not in printed  # nothing here was compiled
    assert cli.main(["run", "first.red", "--input", "x.npz", "--engine", "step", "--trace"]) == 0
    assert " 258 " in capsys.readouterr().out
    assert cli.main(["fmt", "--check", "first.red"]) == 0


@pytest.mark.parametrize(
    ("old", "new"), [("%x?[q - 1]", "%x[q - 1]"), ('  quant v0, v0, "one", low=-128, high=127\n', "")]
)
def test_the_errors_are_those_the_tutorial_shows(
    old: str, new: str, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in PROGRAM
    first.write_text(PROGRAM.replace(old, new), encoding="utf-8")
    assert cli.main(["check", "first.red"]) == 2
    found = capsys.readouterr().err
    message, _, excerpt = found.partition("\n")
    assert re.sub(r":\d+:", ":", message, count=1) in re.sub(r"(red):\d+:", r"\1:", TEXT)
    assert "^^^" in excerpt
