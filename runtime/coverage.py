"""Whether the scales of a program cover the values it meets.

The codes of a buffer stand for the values from (low - zero) * scale to (high - zero) * scale;
what lies further out is clipped.  A program calibrated on other inputs than it is given may clip
most of what it computes, and still compute every integer as it should.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from isa.program import Address, Array, Buffer, Layer, Program, walk
from runtime.doors import outer_name
from runtime.report import percent, printable

SOME = 0.01
"""Of an input's values: the share of clipped ones worth telling.  Calibration clips fewer on purpose."""

MUCH = 0.05
"""The same of a layer's values, of which narrow codes clip more."""

COARSE = 1 / 16
"""Of the codes of an input: where its values span fewer, four bits of them are lost."""

FEW = 64
"""In fewer values, or with fewer codes, the largest and the smallest alone are too large a share."""

HINT = "compile it with inputs like these: --calibrate FILE.npz"
BY_HAND = "give it a scale that fits inputs like these"
"""The same for a program whose layers name no nodes of a model."""


def clipped(buffer: Buffer, values: Array, steps: Array | int = 1) -> float | None:
    """The share of real values, channels last, that no code of `buffer` stands for.

    `steps` multiplies its scale, per channel or for all.  None where there is nothing to clip: a raw
    buffer, or no values.
    """
    if buffer.raw or not values.size:
        return None
    scale = np.float32(1.0 if buffer.scale is None else buffer.scale)
    with np.errstate(over="ignore"):  # what leaves float32 is clipped
        codes = np.rint(values / (scale * np.asarray(steps, np.float32)))
    low, high = buffer.type.low - buffer.zero, buffer.type.high - buffer.zero
    return float(np.count_nonzero((codes < low) | (codes > high)) / values.size)


def clipped_inputs(program: Program, arrays: Mapping[str, Array]) -> dict[str, float]:
    """The share of clipped values of every input that is turned into codes, by its outer name."""
    shares = {outer_name(b): clipped(b, arrays[b.name]) for b in program.inputs if not b.whole}
    return {name: share for name, share in shares.items() if share is not None}


def input_notes(
    program: Program, arrays: Mapping[str, Array], shares: Mapping[str, float]
) -> tuple[str, ...]:
    """A sentence for every input that the scales do not fit: too narrow for it, or far too wide.
    `shares` are its `clipped_inputs`."""
    notes = []
    for buffer in program.inputs:
        name, array = outer_name(buffer), arrays[buffer.name]
        if buffer.scale is None or name not in shares:
            continue
        low, high = ((end - buffer.zero) * buffer.scale for end in (buffer.type.low, buffer.type.high))
        codes = buffer.type.high - buffer.type.low + 1
        span = (float(array.max()) - float(array.min())) / buffer.scale + 1
        problem = ""
        if shares[name] > SOME:
            problem = (
                f"{percent(shares[name])} of its values lie outside of what the program's scale covers, "
                f"{low:.4g} to {high:.4g}, and are clipped"
            )
        elif 1 < span <= COARSE * codes:
            used = f"{math.ceil(span)} of {codes:,} codes"
            problem = f"its values span {used}: the program's scale is coarse for them"
        if problem:
            notes.append(f'input "{printable(name)}": {problem}; {_hint(program)}')
    return tuple(notes)


def at_limits(program: Program, codes: Mapping[str, Array]) -> list[float | None]:
    """For every crossbar layer the share of its codes after a run that are the largest or smallest there
    is, which saturation leaves behind.

    A smallest code that stands for 0 does not count: so Relu ends.  None for other layers, for what
    comes out of a table (its function may end there), and for few values.
    """
    return [_at_limits(program, layer, codes) for layer in program.layers]


def _at_limits(program: Program, layer: Layer, codes: Mapping[str, Array]) -> float | None:
    instructions = list(walk(layer.body))
    mnemonics = {instruction.mnemonic for instruction in instructions}
    if "fire" not in mnemonics or "lookup" in mnemonics:
        return None
    stored = (i.operands[0] for i in instructions if i.mnemonic == "store")
    names = dict.fromkeys(address.buffer for address in stored if isinstance(address, Address))
    buffers = [b for name in names if not (b := program.buffers[name]).raw and 1 << b.type.bits > FEW]
    size = sum(codes[b.name].size for b in buffers)
    if size < FEW:
        return None
    return sum(_limit_codes(b, codes[b.name]) for b in buffers) / size


def _limit_codes(buffer: Buffer, codes: Array) -> int:
    count = np.count_nonzero(codes == buffer.type.high)
    if buffer.type.low != buffer.zero:
        count += np.count_nonzero(codes == buffer.type.low)
    return int(count)


def layer_notes(program: Program, shares: Sequence[float | None]) -> list[str]:
    """A sentence where crossbar layers saturate, given their `at_limits`."""
    found = [(share, layer.name) for share, layer in zip(shares, program.layers, strict=True) if share]
    known = sum(share is not None for share in shares)
    many = [(share, name) for share, name in found if share > MUCH]
    if not many:
        return []
    share, name = max(many)
    most = f"most in {printable(name)!r} ({percent(share)})"
    return [
        f"{len(many)} of {known} crossbar layers saturate: more than {100 * MUCH:g} % of their values are "
        f"the largest or smallest that the program's scales cover, {most}; {_hint(program)}"
    ]


def _hint(program: Program) -> str:
    return HINT if any(layer.nodes for layer in program.layers) else BY_HAND
