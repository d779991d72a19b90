"""The package `models` that lies beside redc's own, whatever else has that name.

Many a project has a folder `models`, and a plain import takes the first on sys.path.  So ours is
loaded from its place, under a name of our own.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from redc.errors import UserError

NAME = "redc._models"
"""In sys.modules."""


@cache
def shelf() -> ModuleType | None:
    """The package `models`; None where it is not installed with redc."""
    file = Path(__file__).resolve().parents[1] / "models" / "__init__.py"
    if not file.is_file():
        return None
    spec = spec_from_file_location(NAME, file, submodule_search_locations=[str(file.parent)])
    assert spec is not None  # a file that ends in .py has a loader
    assert spec.loader is not None
    package = module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    return package


def needed_shelf() -> ModuleType:
    """`shelf`, for what is nothing without it.  Raises UserError where it is not installed."""
    found = shelf()
    if found is None:
        raise UserError("the package `models` is not installed beside redc", hint="install redc again")
    return found
