"""Arrays on disk: `.npz` files, read with care and written whole or not at all."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

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
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise InputError(
                    "this is one array (.npy), not arrays by name (.npz)", place=place, hint=hint
                )
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise InputError(f"cannot read this file: {error.strerror or error}", place=place) from error
    except MemoryError as error:
        raise InputError("its arrays do not fit in memory", place=place) from error
    except DAMAGE as error:
        if "pickle" in str(error):  # numpy's way to say that it knows neither type nor file
            error = ValueError("it holds Python objects, or nothing that numpy writes")
        raise InputError(
            f"this is no .npz file, or a damaged one: {error}", place=place, hint=hint
        ) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f'"{name}" is no array', place=place, hint=hint)
    return arrays


def read_npy(path: str, option: str) -> Array:
    """The array of an `.npy` file.  Raises InputError, placed at `option`, if there is none to read."""
    place = f"{option} {path}"
    hint = "write it with numpy.save(path, array)"
    try:
        with open(path, "rb") as file:
            array = np.load(file, allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot read this file: {error.strerror or error}", place=place) from error
    except MemoryError as error:
        raise InputError("its array does not fit in memory", place=place) from error
    except DAMAGE as error:
        raise InputError(
            f"this is no .npy file, or a damaged one: {error}", place=place, hint=hint
        ) from error
    if not isinstance(array, np.ndarray):
        raise InputError("these are arrays by name (.npz), not one array (.npy)", place=place, hint=hint)
    return array


def check_writable(path: str, option: str) -> None:
    """Find out before a long run that its results could not be written."""
    folder = Path(path).parent
    if Path(path).is_dir():
        raise InputError("cannot write this file: it is a folder", place=f"{option} {path}")
    if not folder.is_dir():
        raise InputError(f"cannot write this file: there is no folder {folder}", place=f"{option} {path}")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write this file: no permission in {folder}", place=f"{option} {path}")


def write_npz(path: str, arrays: Mapping[str, Array], option: str) -> None:
    """Write under a temporary name, then rename: nobody ever sees half a file."""
    try:
        if _is_special(path):
            with open(path, "wb") as file:
                _write(file, arrays)
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
        reason = error.strerror or str(error)
        raise InputError(f"cannot write this file: {reason}", place=f"{option} {path}") from error


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
