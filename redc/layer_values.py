"""What the layers of a run computed, by the ONNX tensors that `diff` and `montecarlo` judge them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from isa.program import Address, Buffer, BufferRef, Layer, Program, walk
from redc.oracle import Network, real

Array = npt.NDArray[Any]


def judged(program: Program, layer: Layer) -> dict[str, Buffer]:
    """The buffers that a layer is judged by, by ONNX tensor: that of its own tensor, and of a host part
    every one it writes."""
    found: dict[str, Buffer] = {}
    for instruction in walk(layer.body):
        target = instruction.operands[0]
        if instruction.mnemonic == "host":
            outputs = instruction.operands[1 + int(instruction.attribute("inputs", 0)) :]
            held = [program.buffers[port.name] for port in outputs if isinstance(port, BufferRef)]
            found.update((buffer.tensor, buffer) for buffer in held if buffer.tensor)
        elif instruction.mnemonic in ("store", "reshape") and isinstance(target, Address | BufferRef):
            buffer = program.buffers[target.buffer if isinstance(target, Address) else target.name]
            if buffer.tensor and buffer.tensor == layer.tensor:
                found[buffer.tensor] = buffer
    return found


def values_of(
    program: Program, network: Network, layer: Layer, codes: Mapping[str, Array]
) -> dict[str, Array]:
    """What a layer computed, by ONNX tensor and in its order: real numbers for codes, also for those that
    are the integers of a quantised model; nothing for what is stored without a scale."""
    found = {}
    for name, held in judged(program, layer).items():
        if held.raw:
            found[name] = real_values(network, name, codes[held.name])
        elif held.scale is not None:
            scale = (held.scale * steps_of(program, held)).astype(np.float32)
            values = (codes[held.name].astype(np.int64) - held.zero).astype(np.float32) * scale
            found[name] = np.moveaxis(values, -1, held.axis)
    return found


def real_values(network: Network, name: str, value: Array) -> Array:
    """What a tensor stands for: integers with codes are compared as the real numbers they mean."""
    codes = network.codes(name) if value.dtype.kind in "iu" else None
    return real(value, codes) if codes else value


def steps_of(program: Program, buffer: Buffer) -> Array:
    """What multiplies a buffer's scale, one number per channel or one for all."""
    return np.ones(1, np.int64) if buffer.steps is None else program.constant(buffer.steps).astype(np.int64)
