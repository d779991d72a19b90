"""Pass: give every tensor its buffer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from redc.ir.graph import Graph
from redc.passes.context import Context


def allocate_buffers(graph: Graph, context: Context) -> Graph:
    """Name a buffer for every tensor, and a crossbar group, for every operator.

    Post: `buffer` is set on every tensor that an operator reads or writes, unique and a word
    of the assembly language.
    """
    used = [*graph.inputs, *graph.constants, *(name for op in graph.ops for name in op.outputs)]
    names = unique_words(used)
    tensors = {name: replace(graph.tensors[name], buffer=names[name]) for name in dict.fromkeys(used)}
    return replace(graph, tensors=tensors)


def unique_words(texts: Iterable[str]) -> dict[str, str]:
    """Map each text to a distinct identifier that still resembles it."""
    words: dict[str, str] = {}
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for text in dict.fromkeys(texts):
        word = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")[:40] or "t"
        if word[0].isdigit():
            word = "t" + word
        candidate = word
        while candidate in taken:
            counts[word] = counts.get(word, 1) + 1
            candidate = f"{word}_{counts[word]}"
        taken.add(candidate)
        words[text] = candidate
    return words
