"""redc: ONNX models to ReRAM crossbar programs, with the proof that they compute the same.

    program = redc.compile("dcgan_face64")
    report = redc.diff("dcgan_face64", program=program)

Heavy packages are imported when a name is first used, so `import redc` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redc.compare import Comparison, compare
    from redc.compiler import compile
    from redc.diff import Report, diff
    from redc.errors import AssumedInputs, UserError
    from redc.montecarlo import MonteCarlo, montecarlo

__version__ = "0.1.0"
__all__ = [
    "AssumedInputs",
    "Comparison",
    "MonteCarlo",
    "Report",
    "UserError",
    "__version__",
    "compare",
    "compile",
    "diff",
    "montecarlo",
]

_HOME = {
    "AssumedInputs": "redc.errors",
    "Comparison": "redc.compare",
    "compare": "redc.compare",
    "compile": "redc.compiler",
    "diff": "redc.diff",
    "MonteCarlo": "redc.montecarlo",
    "montecarlo": "redc.montecarlo",
    "Report": "redc.diff",
    "UserError": "redc.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'redc' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
