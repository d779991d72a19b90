"""Arrays on disk: `.npz` files, read with care and written whole or not at all."""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from isa.diagnostics import reason
from isa.files import check_place
from isa.paths import reading_hint, writing_hint
from isa.program import Array
from runtime.errors import InputError

DAMAGE = (
    ValueError,
    EOFError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,  # an encrypted archive
    SyntaxError,  # the header of an array is a Python literal
    tokenize.TokenError,
    TypeError,
    IndexError,
    OverflowError,
    struct.error,
)
"""What numpy and zipfile raise for files that are not what they should be."""


def read_npz(path: str, option: str) -> dict[str, Array]:
    """The arrays of a file by name.  Raises InputError, placed at `option`, if there is none to read."""
    place = f"{option} {path}"
    hint = "write it with numpy.savez(path, **{onnx_input_name: array})"
    with _reading(path, place, ".npz", hint), open(path, "rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise InputError("this is one array (.npy), not arrays by name (.npz)", place=place, hint=hint)
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f'"{name}" is no array', place=place, hint=hint)
    return arrays


def read_npy(path: str, option: str) -> Array:
    """The array of an `.npy` file.  Raises InputError, placed at `option`, if there is none to read."""
    place = f"{option} {path}"
    hint = "write it with numpy.save(path, array)"
    with _reading(path, place, ".npy", hint), open(path, "rb") as file:
        array = np.load(file, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise InputError("these are arrays by name (.npz), not one array (.npy)", place=place, hint=hint)
    return array


@contextmanager
def _reading(path: str, place: str, ending: str, hint: str) -> Iterator[None]:
    """Whatever keeps a file from being read, as InputError; `hint` says how one is written."""
    try:
        yield
    except MemoryError as error:
        smaller = "fewer samples, or a machine with more memory"
        raise InputError("its arrays do not fit in memory", place=place, hint=smaller) from error
    except (OSError, *DAMAGE) as error:
        if isinstance(error, OSError) and error.errno is not None:  # else a decompressor found damage
            message = f"cannot read this file: {reason(error)}"
            raise InputError(message, place=place, hint=reading_hint(path, ending)) from error
        # "pickle" is numpy's way to say that it knows neither type nor file
        why = "it holds Python objects, or nothing that numpy writes" if "pickle" in str(error) else error
        message = f"this is no {ending} file, or a damaged one: {why}"
        raise InputError(message, place=place, hint=hint) from error


def check_writable(path: str, option: str) -> None:
    """Find out before a long run that its results could not be written, or would replace another kind of
    file."""
    try:
        check_place(Path(path))
    except OSError as error:
        raise _unwritable(path, option, error) from error
    if not path.endswith(".npz") and not _is_special(path):
        raise InputError(f"{path!r} does not end in .npz", place=option, hint=f"{path}.npz")


def write_npz(path: str, arrays: Mapping[str, Array], option: str) -> None:
    """Write under a temporary name, then rename: nobody ever sees half a file."""
    try:
        if _is_special(path):
            whole = io.BytesIO()  # an archive is written with seeks, which a device has not
            _write(whole, arrays)
            Path(path).write_bytes(whole.getbuffer())
            return
        handle, temporary = tempfile.mkstemp(prefix=".redc-", dir=Path(path).parent)
        try:
            with os.fdopen(handle, "wb") as file:
                _write(file, arrays)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, option, error) from error


def _unwritable(path: str, option: str, error: OSError) -> InputError:
    message = f"cannot write this file: {reason(error)}"
    return InputError(message, place=f"{option} {path}", hint=writing_hint(path))


def _write(file: IO[bytes], arrays: Mapping[str, Array]) -> None:
    # Not numpy.savez: it takes names as keyword arguments, and `file` is one of its own.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    file.flush()


def _is_special(path: str) -> bool:
    """A device or a pipe: renaming a file over it would replace it."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _umask() -> int:
    """The permissions new files are made with; mkstemp's are its own."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
