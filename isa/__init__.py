"""RED assembly: the language between the compiler and the runtime.

    program = isa.load("prog.red")      text and data file, errors with their place
    isa.verify(program)                 proves that no engine can fail on it
    isa.save(program, "prog.red")       text and data file, the same bytes every time

What needs lark or safetensors is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from isa.diagnostics import Diagnostic, ProgramError
from isa.program import Program

if TYPE_CHECKING:
    from isa.analysis import instruction_sizes
    from isa.files import load, save
    from isa.parser import parse
    from isa.printer import format_text, to_text
    from isa.targets import load_target, target_names
    from isa.verifier import verify

__all__ = [
    "Diagnostic",
    "Program",
    "ProgramError",
    "format_text",
    "instruction_sizes",
    "load",
    "load_target",
    "parse",
    "save",
    "target_names",
    "to_text",
    "verify",
]

_LATE = {
    "format_text": "isa.printer",
    "instruction_sizes": "isa.analysis",
    "load": "isa.files",
    "load_target": "isa.targets",
    "parse": "isa.parser",
    "save": "isa.files",
    "target_names": "isa.targets",
    "to_text": "isa.printer",
    "verify": "isa.verifier",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'isa' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATE[name]), name)
    globals()[name] = value
    return value
