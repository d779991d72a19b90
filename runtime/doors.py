"""Where floats become codes and codes floats: the inputs and outputs of a program.

In:   codes = clip(rint(float32(x) / float32(scale)) + zero), channels moved last.
Out:  float32(code - zero) * float32(scale), channels moved back, rounded to the ONNX tensor's type.
A buffer without a scale holds plain integers: its door neither scales nor rounds away a fraction.
Where the ONNX tensor is one of integers, it holds the codes themselves.
A raw buffer holds its tensor as it is, and so it goes in and out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from isa.instructions import F32_EXACT
from isa.program import RAW_TYPES, Array, Buffer, Program
from runtime.errors import InputError, did_you_mean

F64_EXACT = 1 << 52
"""Sums of two integers of smaller magnitude are exact in float64."""

BLOCK = 1 << 16
"""Values converted at a time: float temporaries stay in the cache."""


def outer_name(buffer: Buffer) -> str:
    """The name callers use: the ONNX tensor's, or the buffer's own where it has none."""
    return buffer.tensor if buffer.tensor is not None else buffer.name


def door_type(buffer: Buffer) -> str:
    """The numpy type that callers hand over and get."""
    return RAW_TYPES[buffer.onnx_type]


def onnx_shape(buffer: Buffer) -> tuple[int, ...]:
    """The shape of its ONNX tensor, or the buffer's own where it has none."""
    return buffer.onnx_shape if buffer.tensor is not None else buffer.shape


def channels_last(buffer: Buffer, array: Array) -> Array:
    """A view of an array of the ONNX shape in the order of the buffer's axes."""
    if buffer.tensor is None:
        return array
    return array.transpose(_moved(array.ndim, buffer.axis, -1)) if buffer.onnx_shape else array.reshape(1)


def onnx_order(buffer: Buffer, codes: Array) -> Array:
    """A view of the buffer's codes in the order of its ONNX tensor's axes."""
    if buffer.tensor is None:
        return codes
    return codes.transpose(_moved(codes.ndim, -1, buffer.axis)) if buffer.onnx_shape else codes.reshape(())


@functools.cache
def _moved(axes: int, source: int, target: int) -> tuple[int, ...]:
    """The order of so many axes once one of them is moved (numpy's own takes longer than a small layer)."""
    order = list(range(axes))
    order.insert(target % axes, order.pop(source))
    return tuple(order)


# ---------------------------------------------------------------- in


def check_inputs(program: Program, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """Buffer name -> array of the ONNX shape and type.

    Raises InputError for an unknown or missing name, a wrong shape, a type that float32 does
    not hold exactly, and a value that is not finite.
    """
    if not isinstance(inputs, Mapping):
        raise InputError(
            f"inputs are a {type(inputs).__name__}, not arrays by name",
            place="inputs",
            hint='like {"x": array}',
        )
    expected = {outer_name(buffer): buffer for buffer in program.inputs}
    for name in inputs:
        if name not in expected:
            raise InputError(
                f'the program has no input "{name}"',
                place=f'input "{name}"',
                hint=_prefixed(name, expected) or did_you_mean(str(name), expected),
            )
    for name, buffer in expected.items():
        if name not in inputs:
            raise InputError(
                f'input "{name}" is missing',
                place=f'input "{name}"',
                hint=f"it is a {door_type(buffer)} array of shape {list(onnx_shape(buffer))}",
            )
    return {buffer.name: check_input(name, buffer, inputs[name]) for name, buffer in expected.items()}


def _prefixed(name: str, expected: Iterable[str]) -> str | None:
    """A hint for files that hold inputs and outputs together, told apart by a prefix."""
    for other in expected:
        if str(name).endswith(other) and str(name) != other:
            return f'the input is called "{other}": save it under that name, without what stands before it'
    return None


def check_input(name: str, buffer: Buffer, value: Any) -> Array:
    """One input as an array of its ONNX tensor's type; see `check_inputs`."""
    place = f'input "{name}"'
    shape = onnx_shape(buffer)
    if buffer.raw or buffer.whole:
        return check_typed(buffer, value, place)
    try:
        given = value if isinstance(value, (np.ndarray, np.generic)) else np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"it is no array of numbers: {error}", place=place, hint="numpy.asarray of it should be one"
        ) from error
    widest = np.dtype(np.float64 if door_type(buffer) == "float64" else np.float32)
    if not np.can_cast(given.dtype, widest, "safe"):
        raise InputError(
            f"its type is {given.dtype}, which {widest} does not hold exactly",
            place=place,
            hint=f"convert it with .astype(numpy.{widest})",
        )
    with np.errstate(over="ignore"):  # told below
        array = np.asarray(given, np.float32)
    if array.shape != shape:
        raise _other_shape(array, shape, place)
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InputError(
            f"its value at {list(index)} is {array[index]}, not a finite number",
            place=place,
            hint="codes stand for finite numbers alone: see what made it, or leave it out",
        )
    if buffer.scale is None and (array != np.rint(array)).any():
        raise InputError(
            "it holds integers without a scale, but a value has a fraction",
            place=place,
            hint="round it first",
        )
    return array


def _other_shape(array: Array, shape: tuple[int, ...], place: str) -> InputError:
    return InputError(
        f"its shape is {list(array.shape)}, the program takes {list(shape)}",
        place=place,
        hint="a program is of one shape: reshape the array, or compile the model for its shape",
    )


def check_typed(buffer: Buffer, value: Any, place: str) -> Array:
    """A tensor that goes in as it is: of its own type (or one that this holds exactly), its own shape."""
    wanted, shape = np.dtype(door_type(buffer)), onnx_shape(buffer)
    try:
        given = value if isinstance(value, (np.ndarray, np.generic)) else np.asarray(value, wanted)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"it is no array of numbers: {error}", place=place, hint="numpy.asarray of it should be one"
        ) from error
    if not np.can_cast(given.dtype, wanted, "safe"):
        raise InputError(
            f"its type is {given.dtype}, the program takes {wanted}",
            place=place,
            hint=f"convert it with .astype(numpy.{wanted})",
        )
    array = np.asarray(given, wanted)
    if array.shape != shape:
        raise _other_shape(array, shape, place)
    return array


def enter(buffer: Buffer, array: Array, codes: Array) -> None:
    """Write the codes of a checked array of the ONNX shape and type into `codes`."""
    if buffer.raw:
        codes[...] = array
        return
    low, high = buffer.type.low, buffer.type.high
    if buffer.whole:
        codes[...] = np.clip(channels_last(buffer, array), low, high)
        return
    real = channels_last(buffer, array).astype(np.float32)
    if buffer.scale is not None:
        with np.errstate(over="ignore"):  # an infinite quotient saturates like any other
            np.divide(real, np.float32(buffer.scale), out=real)
    np.rint(real, out=real)
    if max(-low, high) < F32_EXACT:
        np.add(real, np.float32(buffer.zero), out=real)
        np.maximum(real, np.float32(low), out=real)
        np.minimum(real, np.float32(high), out=real)
        codes[...] = real
        return
    zero = buffer.zero
    if max(-low, high, abs(zero)) < F64_EXACT:
        codes[...] = np.clip(real.astype(np.float64) + zero, low, high)
        return
    # Wider than float64 holds: Python's integers, slow and exact, for inputs that nobody has yet.
    exact = np.frompyfunc(lambda value: min(max(int(value) + zero, low), high), 1, 1)
    codes[...] = exact(np.nan_to_num(real, copy=False))  # the largest finite float lies beyond all codes


# ---------------------------------------------------------------- out


def leave(buffer: Buffer, codes: Array) -> Array:
    """The array of the ONNX shape that `codes` stand for: float32, or of the ONNX tensor's type."""
    if buffer.raw:
        return codes.copy()
    if buffer.whole:
        return np.ascontiguousarray(onnx_order(buffer, codes), door_type(buffer))
    flat = np.ascontiguousarray(onnx_order(buffer, codes)).reshape(-1)
    result: Array = np.empty(onnx_shape(buffer), np.float32)
    real = result.reshape(-1)
    for first in range(0, flat.size, BLOCK):
        span = slice(first, first + BLOCK)
        _to_real(flat[span], buffer, real[span])
    with np.errstate(over="ignore"):  # beyond float16 is infinite
        return result.astype(door_type(buffer), copy=False)


def _to_real(codes: Array, buffer: Buffer, real: Array) -> None:
    zero = buffer.zero
    if zero and codes.dtype.itemsize > 2:
        real[...] = codes.astype(np.int64) - zero
    else:
        real[...] = codes
        if zero:  # both fit 24 bits, and so does the difference: exact
            np.subtract(real, np.float32(zero), out=real)
    if buffer.scale is not None:
        np.multiply(real, np.float32(buffer.scale), out=real)
