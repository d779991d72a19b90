"""The interpreter: runs redc assembly cycle by cycle.

from runtime import run
result = run(program, {"z": z})        # floats in, floats out, and counters
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.counters import Counters
    from runtime.engine import Engine, Execution, Trace
    from runtime.errors import InputError
    from runtime.machine import Memory
    from runtime.result import Loaded, Result, load, run
    from runtime.session import Session

__all__ = [
    "Counters",
    "Engine",
    "Execution",
    "InputError",
    "Loaded",
    "Memory",
    "Result",
    "Session",
    "Trace",
    "load",
    "run",
]

_HOME = {
    "Counters": "counters",
    "Engine": "engine",
    "Execution": "engine",
    "InputError": "errors",
    "Loaded": "result",
    "Memory": "machine",
    "Result": "result",
    "Session": "session",
    "Trace": "engine",
    "load": "result",
    "run": "result",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    value = getattr(import_module(f"runtime.{_HOME[name]}"), name)
    globals()[name] = value
    return value
