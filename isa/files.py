"""Programs on disk: the text, and the safetensors file beside it."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import NoReturn

import numpy as np

from isa.diagnostics import Report, reason
from isa.parser import MAX_CHARACTERS, parse
from isa.paths import near_file, reading_hint, writing_hint
from isa.printer import Comments, to_text
from isa.program import NOWHERE, Array, Program, Span


def load(path: str | os.PathLike[str]) -> Program:
    """The program in a file, with the arrays of its data file.

    Raises ProgramError where a file cannot be read, is no program, no data file, or not the one
    whose digest the program names.  The program is not verified.
    """
    place = os.fspath(path)
    program = parse(read_text(place), place)
    if program.data_file is None:
        return program
    report = Report(program.source, place)
    span = _data_line(program)
    if not _stays_inside(program.data_file):
        report.error(
            span,
            f"data file {program.data_file!r} is not below the folder of the program",
            "name it by a relative path without `..`",
        )
        report.raise_if_any()
    data = _read_data(Path(place).parent / program.data_file, program, span, report)
    return replace(program, data=MappingProxyType(data))


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a program file.  Raises ProgramError where it cannot be read."""
    report = Report(None, os.fspath(path))
    content = b""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_CHARACTERS + 1).removeprefix(BOM_UTF8)
    except OSError as error:
        report.error(NOWHERE, f"cannot read this program: {reason(error)}", reading_hint(path, ".red"))
    except ValueError:  # a path with a NUL byte
        report.error(NOWHERE, "cannot read this program: no such path can exist", reading_hint(path))
    if len(content) > MAX_CHARACTERS:
        hint = "is it a program? Else make it of a part of the model"
        report.error(NOWHERE, f"this program is larger than {MAX_CHARACTERS} bytes", hint)
    report.raise_if_any()
    text, start = "", content.find(b"\0")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        start = error.start
    if start >= 0:
        line = content.count(b"\n", 0, start) + 1
        column = start - content.rfind(b"\n", 0, start)
        message = f"not UTF-8 text: byte {start} is {content[start]:#04x}"
        ending = os.path.splitext(os.fspath(path))[1].lower()
        hint = OTHER_KINDS.get(ending, "a program is text, in a file that ends in .red")
        report.error(Span(line, column, column + 1), message, hint)
    report.raise_if_any()
    return text


OTHER_KINDS = {
    ".onnx": "this is a model: compile it first (redc compile), or check it with redc diff",
    ".safetensors": "this is a program's data file: give the .red file beside it",
    ".npz": "this is a file of arrays: give it as --input, after the program",
    ".npy": "this is an array: numpy.savez makes a file for --input of it",
}
"""What to do with files that people give in place of a program, by the end of their name."""


def _stays_inside(name: str) -> bool:
    pure = PurePosixPath(name)
    bad = not name or "\\" in name or "\0" in name or (len(name) > 1 and name[1] == ":")
    return not bad and not pure.is_absolute() and ".." not in pure.parts and pure.parts != ()


def _data_line(program: Program) -> Span:
    """The span of the `.data` directive."""
    for number, line in enumerate((program.source or "").split("\n"), 1):
        if line.lstrip().startswith(".data"):
            start = len(line) - len(line.lstrip())
            return Span(number, start + 1, len(line.split(";")[0].rstrip()) + 1)
    return NOWHERE


def _read_data(path: Path, program: Program, span: Span, report: Report) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_arrays

    content = b""
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "it is no regular file")  # a pipe would keep us waiting
        content = path.read_bytes()
    except FileNotFoundError:
        near = near_file(path)
        hint = f"expected it at {path}" + (f", where {near!r} lies" if near else "")
        report.error(span, f"data file {program.data_file!r} is missing", hint)
    except OSError as error:
        report.error(
            span, f"cannot read data file {program.data_file!r}: {reason(error)}", reading_hint(path)
        )
    report.raise_if_any()
    digest = hashlib.sha256(content).hexdigest()
    data: dict[str, Array] = {}
    try:
        data = load_arrays(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        # KeyError, TypeError: a well-formed file of types that numpy has no name for
        report.error(span, f"data file {program.data_file!r} is damaged or no safetensors file: {error}")
    if program.data_digest is not None and digest != program.data_digest:
        report.diagnostics.clear()
        report.error(
            span,
            f"data file {program.data_file!r} is not the one this program was made with: "
            f"its digest is sha256:{digest}",
            "compile again, or leave the digest out if the change is meant",
        )
    report.raise_if_any()
    return {name: np.ascontiguousarray(data[name]) for name in sorted(data)}


def save(program: Program, path: str | os.PathLike[str], comments: Comments | None = None) -> Program:
    """Write a program and, if it has data, `STEM.safetensors` beside it; the same bytes every time.

    Both are written under temporary names and then renamed, the data first, so that a program
    never lies beside data it was not made with.  Returns the program with its data file, digest
    and path filled in.

    Raises ProgramError where a file cannot be written, or could not be read again for its size; then
    neither is left behind.
    """
    place = Path(path)
    if place.suffix == ".safetensors":
        report = Report(None, os.fspath(path))
        report.error(NOWHERE, "this is the name of a data file", "give the program another, say .red")
        report.raise_if_any()
    files: list[tuple[Path, bytes]] = []
    saved = replace(program, path=os.fspath(path))
    if program.data:
        content = data_bytes(program.data)
        data_path = place.with_suffix(".safetensors")
        digest = hashlib.sha256(content).hexdigest()
        saved = replace(saved, data_file=data_path.name, data_digest=digest)
        files.append((data_path, content))
    text = to_text(saved, comments)
    files.append((place, text.encode("utf-8", "surrogatepass")))
    if len(files[-1][1]) > MAX_CHARACTERS:
        report = Report(None, os.fspath(path))
        message = f"this program has {len(files[-1][1])} bytes; none with more than {MAX_CHARACTERS} is read"
        report.error(NOWHERE, message, "make it of a part of the model")
        report.raise_if_any()
    write_files(files)
    return replace(saved, source=text)


def data_bytes(data: Mapping[str, Array]) -> bytes:
    """`data` in the safetensors format, in the order of the names."""
    from safetensors.numpy import save as save_arrays

    return save_arrays({name: np.ascontiguousarray(data[name]) for name in sorted(data)})


def check_writable(path: Path) -> None:
    """Find out before long work that its result could not be written.  Raises ProgramError."""
    try:
        check_place(path)
    except (OSError, ValueError) as error:
        _cannot_write(path, path, error)


def write_files(files: list[tuple[Path, bytes]]) -> None:
    """Write all files or none, as far as the file system allows; the last is the one the user named.

    A file is written under a temporary name and then renamed.  A device or a pipe is written
    straight through.

    Raises ProgramError at the path that the user named, where one cannot be written.
    """
    ready: list[tuple[str, Path]] = []
    named = path = files[-1][0]
    try:
        for path, _ in reversed(files):
            check_place(path)
        for path, content in files:
            if not _is_special(path):
                ready.append((_temporary(path), path))
                _fill(ready[-1][0], content)
        for path, content in files:
            if _is_special(path):
                path.write_bytes(content)
        while ready:
            temporary, path = ready[0]
            os.replace(temporary, path)
            ready.pop(0)
    except (OSError, ValueError) as error:
        _cannot_write(named, path, error)
    finally:
        for temporary, _ in ready:
            Path(temporary).unlink(missing_ok=True)


def _cannot_write(named: Path, path: Path, error: OSError | ValueError) -> NoReturn:
    """Raise ProgramError at the path that the user named; `path` is the file that failed."""
    report = Report(None, str(named))
    what = "this file" if path == named else f"its data file {path.name!r}"
    why = reason(error) if isinstance(error, OSError) else "no such path can exist"  # a NUL byte
    report.error(NOWHERE, f"cannot write {what}: {why}", writing_hint(path))
    report.raise_if_any()
    raise AssertionError


def check_place(path: Path) -> None:
    """Raise OSError or ValueError where no file can be written at `path`."""
    if path.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(None, f"there is no folder {str(path.parent)!r}")
    if not os.access(path if _is_special(path) else path.parent, os.W_OK):
        raise PermissionError(None, f"no permission in {str(path.parent)!r}")


def _is_special(path: Path) -> bool:
    """A device or a pipe: a file renamed over it would replace it."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _temporary(path: Path) -> str:
    """The name of a new file beside `path`."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    os.close(handle)
    return name


def _fill(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(path, 0o666 & ~_umask())


def _umask() -> int:
    """The permissions new files are made with; mkstemp's are its own."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
