"""The house rules that no other tool checks: cheap imports, what the wheel carries, what README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import redc

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("redc", "isa", "runtime", "models")
PAGES = [
    p
    for folder in (".", "docs", "docs/decisions", "models/zoo")
    for p in sorted((ROOT / folder).glob("*.md"))
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HEAVY = {"google.protobuf", "lark", "llvmlite", "networkx", "numpy", "onnx", "onnxruntime", "safetensors"}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("what", ["import redc", "import redc.cli", "import models"])
def test_importing_costs_nothing(what: str) -> None:
    loaded = set(python(f"import sys\n{what}\nprint(*sys.modules)").split())
    assert not loaded & HEAVY


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, redc.cli\n"
        "try: redc.cli.main(['--help'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print('loaded:', *sys.modules)"
    )
    text, _, loaded = python(code).rpartition("loaded:")
    assert "compile" in text
    assert "diff" in text
    assert not set(loaded.split()) & HEAVY


def test_the_runtime_needs_neither_the_compiler_nor_onnx() -> None:
    python(
        "import sys\n"
        "for name in ('redc', 'models', 'onnx', 'networkx'): sys.modules[name] = None\n"
        "import isa, runtime\n"
        "runtime.load, isa.load"
    )


def test_the_version_is_told_once() -> None:
    assert PROJECT["project"]["version"] == redc.__version__


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_carries_every_file_of_a_package(package: str) -> None:
    globs = PROJECT["tool"]["setuptools"]["package-data"][package]
    home = ROOT / package
    carried = {path for pattern in globs for path in home.glob(pattern)}
    left = {path for path in home.rglob("*") if path.is_file() and "__pycache__" not in path.parts} - carried
    assert {path for path in left if path.suffix != ".py"} == set()
    assert all((path.parent / "__init__.py").exists() for path in left)
    unmatched = [pattern for pattern in globs if not list(home.glob(pattern))]
    assert not unmatched


def test_continuous_integration_runs_what_a_person_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make test"


def test_every_make_command_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    told = set(re.findall(r"(?:`|\$ )make ([a-z]+)", README))
    assert {"demo", "test"} <= told <= targets


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.*?) *$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        other = page.parent / path if path else page
        assert other.exists(), link
        assert not anchor or anchor in anchors(other), link


def test_every_command_in_the_readme_is_one() -> None:
    told = set(re.findall(r"^\$ redc ([a-z]+)", README, re.MULTILINE))
    assert {"compile", "run", "diff"} <= told
    for command in sorted(told):
        python(
            "import redc.cli\n"
            f"try: redc.cli.main([{command!r}, '--help'])\n"
            "except SystemExit as stop: assert not stop.code, stop.code"
        )
