"""`python -m runtime PROG.red --input IN.npz`: runs where no compiler is installed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from isa.diagnostics import ProgramError
from runtime.command import run_command
from runtime.errors import InputError
from runtime.options import add_run_arguments
from runtime.output import drop_output, escape_what_it_lacks, output_failed


class Parser(argparse.ArgumentParser):
    """argparse whose errors obey --json."""

    def error(self, message: str) -> NoReturn:
        error = InputError(message, place="command line", hint=f"{self.prog} --help shows how")
        raise SystemExit(tell(error, "--json" in sys.argv))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one program and return the exit status: 0, or 2 where input or command is wrong."""
    parser = Parser(
        prog="python -m runtime", description="Run a RED program on the interpreter.", allow_abbrev=False
    )
    add_run_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args(arguments)
    escape_what_it_lacks()
    try:
        status = run_command(options)
        sys.stdout.flush()
        return status
    except (InputError, ProgramError) as error:
        return tell(error, options.json)
    except MemoryError:
        large = "out of memory: its tensors are too large"
        hint = "smaller inputs, or a machine with more memory"
        return tell(InputError(large, place=options.program, hint=hint), options.json)
    except BrokenPipeError:
        drop_output()
        return 0
    except OSError as error:
        if error.filename is not None:
            raise
        return output_failed(error)  # every file is guarded where it is opened
    except KeyboardInterrupt:
        return 130


def tell(error: InputError | ProgramError, as_json: bool) -> int:
    """Print an error as asked, on the stream it belongs to; gives the exit status."""
    if as_json:
        print(json.dumps({"schema": 1, "errors": error.as_dicts()}, indent=1))
    elif isinstance(error, ProgramError):
        print(error, file=sys.stderr)
    else:
        print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
