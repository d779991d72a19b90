"""The interpreter: runs redc assembly cycle by cycle.

from runtime import run
result = run(program, {"z": z})        # floats in, floats out, and counters
"""

from __future__ import annotations

from runtime.counters import Counters
from runtime.engine import Engine, Execution, Trace
from runtime.errors import InputError
from runtime.machine import Memory
from runtime.result import Loaded, Result, load, run

__all__ = [
    "Counters",
    "Engine",
    "Execution",
    "InputError",
    "Loaded",
    "Memory",
    "Result",
    "Trace",
    "load",
    "run",
]
