"""README shows what the commands print: each `$ ` line in a console block is run and compared.

Decimal fractions may differ (they depend a little on the CPU), layout and every whole number may not.
`python -m pytest tests/test_readme.py --update-golden` writes the output of today.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(?<=```console\n)\$ (?P<command>.*)\n(?P<output>(?:.*\n)*?)(?=```\n)")
MODULES = {"make demo": "redc.demo", "redc": "redc"}


def ran(command: str, folder: Path) -> str:
    start = next(start for start in MODULES if command.startswith(start))
    words = [sys.executable, "-m", MODULES[start], *shlex.split(command.removeprefix(start))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def rough(output: str) -> list[list[str]]:
    """Words, with `#` for a decimal fraction and rules of dashes as one dash."""
    lines = re.sub(r"-{2,}", "-", re.sub(r"\d+\.\d+", "#", output)).splitlines()
    return [line.split() for line in lines]


def test_every_command_in_the_readme_prints_what_it_shows(tmp_path: Path, update_golden: bool) -> None:
    text = README.read_text(encoding="utf-8")
    shown = [(block["command"], block["output"]) for block in BLOCK.finditer(text)]
    assert len(shown) >= 6
    found = {command: ran(command, tmp_path) for command, _ in shown}
    if update_golden:
        README.write_text(
            BLOCK.sub(lambda block: f"$ {block['command']}\n{found[block['command']]}", text),
            encoding="utf-8",
        )
        return
    for command, output in shown:
        assert rough(found[command]) == rough(output), command


def test_the_program_in_the_readme_is_the_golden_one() -> None:
    golden = (ROOT / "tests" / "golden" / "deconv_2x2.red").read_text(encoding="utf-8")
    code = golden[golden.index("\n.isa") + 1 :]
    assert f"```text\n{code}```" in README.read_text(encoding="utf-8")
