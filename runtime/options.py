"""The options of `run`, for both command lines; imports nothing heavy."""

from __future__ import annotations

import argparse

from runtime.errors import InputError


def seed(text: str) -> int:
    """A whole number of 64 bits."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) < 1 << 64):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 0 to 2^64 - 1")
    return int(text)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything `run` takes, but --json, which every command has."""
    parser.add_argument("program", metavar="PROG.red", help="a program")
    parser.add_argument("--input", metavar="IN.npz", help="arrays by ONNX input name")
    parser.add_argument("--output", metavar="OUT.npz", help="where the outputs go")
    add_engine_arguments(parser)
    parser.add_argument(
        "--count-only", action="store_true", help="count cycles and events, compute no values"
    )
    parser.add_argument(
        "--target", metavar="T", help="costs and devices: a target or a TOML file of the same machine "
        "(default: the target that the program names)",
    )  # fmt: skip
    add_all_layers(parser)
    parser.add_argument("--trace", action="store_true", help="print every instruction (with --engine step)")


def add_all_layers(parser: argparse.ArgumentParser) -> None:
    """For tables with a row per layer."""
    parser.add_argument(
        "--all-layers", action="store_true",
        help="show every layer on a terminal, not only those that matter most; files and --json have all",
    )  # fmt: skip


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """How a program is executed."""
    parser.add_argument("--engine", choices=("fast", "step"), default="fast", help="default: %(default)s")
    parser.add_argument(
        "--fidelity",
        choices=("exact", "adc", "analog"),
        default="exact",
        help="what a conversion does to a sum: exact nothing, adc rounds and saturates, analog the same of "
        "cells that vary, with noise, as the target's [device] says (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", metavar="N", type=seed,
        help="analog: which of all machines that are built alike (default: 0)",
    )  # fmt: skip


def machine_seed(options: argparse.Namespace) -> int:
    """The machine that `--seed` names.  Raises InputError for a seed where all machines are one."""
    if options.seed is not None and options.fidelity != "analog":
        raise InputError(
            f"{options.fidelity} is the same on every machine: there is none to choose",
            place="--seed",
            hint="leave it out, or run with --fidelity analog",
        )
    return options.seed or 0
