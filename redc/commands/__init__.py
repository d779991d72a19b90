"""What each command does, and how everything that goes wrong is told.

Every error reaches `run_command`: three families of user errors (the model's, the program's, the
input's), each with a place and a hint, give exit status 2 and no traceback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from isa.diagnostics import ProgramError
from redc.commands import lists, models, programs
from redc.commands.told import own_warnings, report_errors
from redc.errors import InternalError, UserError
from runtime.errors import InputError
from runtime.output import drop_output, output_failed

__all__ = ["report_errors", "run_command"]

BUG = 70


def run_command(options: argparse.Namespace) -> int:
    """Run the command that `options` name; the exit status."""
    try:
        with own_warnings():
            status = COMMANDS[options.command](options)
            if sys.stdout is not None:
                sys.stdout.flush()
            return status
    except (UserError, ProgramError, InputError) as error:
        _name_file(options, error)
        return report_errors(error.as_dicts(), str(error), json=options.json)
    except MemoryError as error:
        large = _too_large(options, error)
        return report_errors(large.as_dicts(), str(large), json=options.json)
    except BrokenPipeError:
        drop_output()
        return 0
    except OSError as error:
        if error.filename is not None:
            raise
        return output_failed(error)  # every file is guarded where it is opened: this is standard output
    except InternalError as error:
        print(error, file=sys.stderr)
        return BUG


def _name_file(options: argparse.Namespace, error: UserError | ProgramError | InputError) -> None:
    """What is wrong with samples or inputs lies in the file that they came from."""
    if isinstance(error, ProgramError):
        return
    from redc.calibration import OWN, SAMPLES

    for single in (error,) if isinstance(error, InputError) else error.errors:
        for option, place in (("calibrate", SAMPLES), ("input", OWN)):
            path = getattr(options, option, None)
            if path is not None and single.place == place:
                single.place = f"--{option} {path}"
            elif path is not None and option == "input" and (single.place or "").startswith("input "):
                single.place = f"--input {path}: {single.place}"  # one of them


def _too_large(options: argparse.Namespace, error: MemoryError) -> UserError:
    """What there was no memory for, as far as the command line and numpy know."""
    given = getattr(options, "model", None) or getattr(options, "program", None)
    smaller = "a smaller --shape, " if hasattr(options, "shape") else ""
    return UserError(
        f"out of memory: its tensors are too large{f' ({error})' if str(error) else ''}",
        place=", ".join(given) if isinstance(given, list) else given,
        hint=f"{smaller}smaller inputs, a smaller batch, or a machine with more memory",
    )


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "compile": models.compile_command,
    "map": models.map_command,
    "run": programs.run_program,
    "diff": models.diff_command,
    "compare": models.compare_command,
    "montecarlo": models.montecarlo_command,
    "check": programs.check_command,
    "fmt": programs.fmt_command,
    "targets": lists.targets_command,
    "models": lists.models_command,
}
