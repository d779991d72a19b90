"""What to do about a path where no file can be read or written: the hints of all errors of that kind."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterable
from itertools import islice

MOST_ENTRIES = 4000
"""Folders of more entries than this are not searched for near names."""

EMPTY = "its name is empty: give the path of a file"

LIKE = 0.6
"""Two words are near from this share of common letters on, as in difflib."""


def reading_hint(path: str | os.PathLike[str], ending: str = "") -> str:
    """What to do where the file at `path` cannot be read; `ending` is what names of its kind end in.

    Names a file of a like name where the folder holds one, else says what there is: no such file, no
    such folder, a folder, a link that leads nowhere, a file without permission.
    """
    path = os.fspath(path)
    try:
        kind = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _missing(path, ending)
    except PermissionError:
        return "you may not look into its folder: ask who owns it, or copy the file"
    except (OSError, ValueError):  # a name too long, a link that leads to itself, a NUL byte
        return "no file can lie there: give another path"
    if stat.S_ISDIR(kind):
        inside = sorted(name for name in _entries(path) if ending and name.endswith(ending))
        example = f", say {os.path.join(path, inside[0])!r}" if inside else ""
        return f"give a file in it{example}"
    return "it is there: may you read it (ls -l), and is it a file on a sound disk?"


def writing_hint(path: str | os.PathLike[str]) -> str:
    """What to do where no file can be written at `path`."""
    path = os.fspath(path)
    folder = os.path.dirname(path)
    if not path:
        return EMPTY
    if os.path.isdir(path):
        return "name a file in it"
    if folder and not os.path.isdir(folder):
        what, near = _no_folder(folder)
        return near or f"{what}; write to a folder that is there"
    return "is there room, and may you write there? Else write it to another folder"


def near_file(path: str | os.PathLike[str], ending: str = "") -> str | None:
    """A file in the folder of `path` whose name `path` may be a slip of; one without ending may lack it."""
    folder, name = os.path.split(os.fspath(path))
    if not os.path.splitext(name)[1]:
        name += ending
    near = _nearest(name, _entries(folder, folders=False))
    return None if near is None else os.path.join(folder, near)


def _missing(path: str, ending: str) -> str:
    """The hint where nothing lies at `path`."""
    folder, _ = os.path.split(path)
    if not path:
        return EMPTY
    home = os.path.expanduser(path)  # the shell does not in --option=~/file
    if home != path and os.path.exists(home):
        return f"did you mean {home!r}?"
    if folder and not os.path.isdir(folder):
        what, near = _no_folder(folder)
        return f"{what}; {near}" if near else what
    if os.path.islink(path):
        return f"it is a link to {os.readlink(path)!r}, where there is nothing"
    near = near_file(path, ending)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"the {f'folder {folder!r}' if folder else 'current folder'} holds no such file"


def _no_folder(folder: str) -> tuple[str, str | None]:
    """Which folder, the outermost, `folder` lacks to be one; and the one that may have been meant."""
    above, name = os.path.split(folder)
    while above not in ("", folder) and not os.path.isdir(above):
        folder = above
        above, name = os.path.split(folder)
    if os.path.exists(folder):
        return f"{folder!r} is a file, not a folder", None
    near = _nearest(name, _entries(above, folders=True))
    return f"there is no folder {folder!r}", near and f"did you mean {os.path.join(above, near)!r}?"


def _entries(folder: str, *, folders: bool = False) -> list[str]:
    """The names of the files, or of the folders, in `folder`; none where they are too many, or hidden."""
    try:
        with os.scandir(folder or os.curdir) as found:
            entries = list(islice(found, MOST_ENTRIES + 1))
            return [e.name for e in entries if e.is_dir() == folders] if len(entries) <= MOST_ENTRIES else []
    except (OSError, ValueError):
        return []


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` nearest to `name`: both what stands before the ending and the ending are like
    those of `name`.  (Of whole names, those of one ending would all be near.)  Case does not matter."""
    stem, ending = os.path.splitext(name.lower())
    stems: dict[str, tuple[float, str]] = {}
    for other in sorted(known):
        its_stem, its_ending = os.path.splitext(other.lower())
        alike = 1.0 if its_ending == ending else difflib.SequenceMatcher(None, ending, its_ending).ratio()
        if alike >= LIKE and alike > stems.get(its_stem, (0.0, ""))[0]:
            stems[its_stem] = alike, other
    near = difflib.get_close_matches(stem, stems, n=1, cutoff=LIKE)
    return stems[near[0]][1] if near else None
