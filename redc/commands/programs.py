"""The commands that take a program: run, check, fmt."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redc.commands.told import print_document
from runtime.report import counted

if TYPE_CHECKING:
    from isa.program import Target


def run_program(options: argparse.Namespace) -> int:
    """`redc run`: the same as `python -m runtime`."""
    from runtime.command import run_command as run

    return run(options)


def check_command(options: argparse.Namespace) -> int:
    """`redc check`."""
    from isa import load, verify
    from isa.cells import adc_bits_needed

    program = load(options.program)
    verify(program)
    bits = {
        x.name: adc_bits_needed(x, program.target, program.constant(x.data))
        for x in program.crossbars.values()
    }
    fewest = max(bits.values(), default=None)
    instructions = sum(1 for layer in program.layers for _ in _instructions(layer.body))
    if options.json:
        print_document(
            {
                "schema": 1,
                "program": options.program,
                "valid": True,
                "layers": len(program.layers),
                "instructions": instructions,
                "adc_bits": {"target": program.target.adc, "needed": fewest, "crossbars": bits},
            }
        )
    else:
        size = f"{counted(len(program.layers), 'layer')}, {counted(instructions, 'instruction')}"
        print(f"{options.program}: valid ({size})")
        if fewest is not None:
            print(_adc_text(program.target, bits))
    return 0


def _adc_text(target: Target, bits: Mapping[str, int]) -> str:
    """Whether conversions can lose anything, and with how many bits none would."""
    fewest = max(bits.values())
    lines = [f"ADC: {target.adc} bits; {fewest} lose nothing"]
    short = {name: needed for name, needed in bits.items() if needed > target.adc}
    if target.lsb > 1:
        lines[0] += f" (with an lsb of 1, here it is {target.lsb}: sums are rounded)"
    elif not short:
        lines[0] += ": adc is exact"
    else:
        lines[0] = f"ADC: {target.adc} bits; {fewest} would lose nothing: adc is not exact"
    if target.lsb == 1 and len(bits) > 1:
        lines += [f"  @{name} needs {needed}" for name, needed in short.items()]
    return "\n".join(lines)


def _instructions(body: Any) -> Iterator[object]:
    from isa.program import walk

    return walk(body)


def fmt_command(options: argparse.Namespace) -> int:
    """`redc fmt`."""
    from isa import format_text
    from isa.files import read_text, write_files

    before = read_text(options.program)
    after = format_text(before, options.program)
    changed = before != after
    if changed and not options.check:
        write_files([(Path(options.program), after.encode())])
    if options.json:
        print_document({"schema": 1, "program": options.program, "changed": changed})
    elif changed:
        print(f"{options.program}: {'would change' if options.check else 'rewritten'}")
    return 1 if changed and options.check else 0
