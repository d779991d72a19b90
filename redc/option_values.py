"""What the words behind an option mean: each function takes a text and gives a value, or says why not."""

from __future__ import annotations

import argparse
import math

KNOWN_AS = {
    "red": "pixel-wise",
    "prime": "zero-padding",
    "isaac": "zero-padding",
    "regan": "zero-padding",
    "pipelayer": "zero-padding",
    "fcn-engine": "padding-free",
}
"""Designs of the literature -> the mapping that they are; `compare` takes some of these names."""

MOST_TRIALS = 1_000_000
"""Machines of one `montecarlo`: their spreads are kept."""


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """NAME=1,3,64,64"""
    name, _, sizes = text.rpartition("=")
    words = [size.strip() for size in sizes.split(",")]
    digits = all(word.isascii() and word.isdecimal() and len(word) <= 18 for word in words)
    if not name or not digits:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SIZE,SIZE,... like x=1,3,64,64")
    return name, tuple(map(int, words))


def decibels(text: str) -> float:
    """A number, and not NaN: nothing is below that."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of decibels")
    return number


def binding(text: str) -> tuple[str, str]:
    """NAME=FILE"""
    name, equals, path = text.rpartition("=")
    if not (equals and name and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE like W=w.npy or W=weights.npz")
    return name, path


def bits(text: str, most: int = 16) -> int:
    """2 to `most`."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 2 <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of bits from 2 to {most}")
    return int(text)


def vector_bits(text: str) -> int:
    """2 to 20."""
    return bits(text, 20)


def positive(text: str, most: int = 1 << 31) -> int:
    """A whole number from 1 to `most`."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18 and 1 <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 1 to {most}")
    return int(text)


def trials(text: str) -> int:
    """1 to MOST_TRIALS."""
    return positive(text, MOST_TRIALS)


def words(text: str) -> tuple[str, ...]:
    """`a,b,c`, each once."""
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return found
