"""The command line: words to calls.  Heavy packages are imported by the command that needs them."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from redc import __version__
from redc.option_values import KNOWN_AS, binding, bits, decibels, positive, shape, trials, vector_bits, words
from runtime.options import add_all_layers, add_engine_arguments, add_run_arguments, seed
from runtime.output import escape_what_it_lacks

INTERRUPTED = 130

MAPPINGS = ("pixel-wise", "packed", "zero-padding", "padding-free", "auto")
MINIMISE = ("cycles", "energy", "area", "edp")
MERGES = ("digital", "analog")
ORIGINS = ("auto", "0", "pad")
CALIBRATIONS = ("log-normal", "min-max", "percentile", "mse")
PASSES = ("import", "fold", "fuse", "absorb", "quantise", "decompose", "schedule", "place", "allocate")

EPILOG = """\
examples:
  redc diff dcgan_face64                       compile, run and check a trained generator
  redc compile net.onnx -o net.red             an assembly program you can read
  redc run net.red --input in.npz --output out.npz
  redc check net.red                           prove that a program is valid
  redc models                                  names that stand for a model

exit status: 0 as promised, 1 the numbers miss the promise, 2 the input or the command is wrong
"""


class Parser(argparse.ArgumentParser):
    """argparse whose errors obey --json and end with a hint."""

    def error(self, message: str) -> NoReturn:
        raise Misuse(message, self._meant(message) or f"{self.prog} --help shows how")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; keeps the words, for hints."""
        self.words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def _meant(self, message: str) -> str | None:
        """A hint where an option or a choice was misspelt, or is one of another command."""
        command = next((word for word in self.words if word in self.commands), "")
        if wrong := re.match(r"unrecognized arguments: .*?(--[\w-]+)", message):
            options = {
                name: re.findall(r"--[a-z-]+", sub.format_usage()) for name, sub in self.commands.items()
            }
            having = [f"{self.prog} {name}" for name, own in options.items() if wrong[1] in own]
            if having:
                return f"{wrong[1]} is an option of {', '.join(having)}"
            return _nearest(wrong[1], options.get(command, []))
        if command and message.startswith("unrecognized arguments: "):
            return f"{self.prog} {command} --help shows how"
        if wrong := re.match(r"argument .*: invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL):
            choices = re.findall(r"[\w.-]+", wrong[2])
            called = KNOWN_AS.get(wrong[1].lower())
            if called in choices:
                return f"did you mean {called}? That is what the mapping of {wrong[1]} is called here"
            return _nearest(wrong[1], choices)
        return None

    words: Sequence[str] = ()
    commands: Mapping[str, argparse.ArgumentParser] = MappingProxyType({})
    """Of the parser of the whole line: those of its commands, whose usages name the options."""


def _nearest(word: str, known: Sequence[str]) -> str | None:
    import difflib  # late: only errors need it

    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f"did you mean {near[0]}?" if near else None


class Misuse(Exception):
    """(what is wrong with the command line, a hint)"""


def parser() -> Parser:
    """Every command and option."""
    top = Parser(
        prog="redc",
        description="Compile ONNX models to ReRAM crossbar programs, run them, and check them "
        "against onnxruntime.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"redc {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"examples:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
        return sub

    sub = add(
        "compile",
        "compile an ONNX model to a crossbar program",
        "  redc compile dcgan_face64 -o face.red\n"
        "  redc compile net.onnx -o net.red --calibrate samples.npz --shape x=1,3,64,64\n"
        "  redc compile FCN_Deconv2 -o fcn.red --fold 2 --print-after schedule",
    )
    add_model(sub)
    sub.add_argument("-o", "--output", metavar="OUT.red", help="default: the model's name with .red, here")
    _add_looks(add_compile_options(sub))

    sub = add(
        "map",
        "show the arrays of each layer: which kernel pixel sits where, how full each array is",
        "  redc map FCN_Deconv2 --mapping packed\n"
        "  redc map dcgan_face64 --layer ct1 --target isaac --plot ct1.png",
    )
    add_model(sub)
    sub.add_argument("--layer", metavar="NAME", help="this layer alone, band by band")
    _add_plot(sub)
    add_all_layers(sub)
    _add_looks(add_compile_options(sub))

    sub = add(
        "run",
        "run a program on the interpreter",
        "  redc run face.red --input z.npz --output faces.npz\n"
        "  redc run face.red --count-only\n"
        "  redc run tests/golden/deconv_2x2.red --input x.npz --engine step --trace",
    )
    add_run_arguments(sub)

    sub = add(
        "diff",
        "compile a model (or take its program), run it, and compare it with onnxruntime",
        "  redc diff dcgan_face64\n"
        "  redc diff net.onnx --input in.npz --weight-bits 6 --min-sqnr 20\n"
        "  redc diff net.onnx --program net.red --json",
    )
    add_model(sub)
    add_inputs(sub)
    sub.add_argument("--program", metavar="PROG.red", help="check this program instead of compiling one")
    sub.add_argument(
        "--min-sqnr", metavar="DB", type=decibels, help="outputs below this fail (default: none)"
    )
    add_engine_arguments(sub)
    add_all_layers(sub)
    add_compile_options(sub)

    sub = add(
        "compare",
        "compare mappings and targets: cycles, energy by component, area, arrays; nothing is run",
        "  redc compare FCN_Deconv2\n"
        "  redc compare net.onnx --mappings regan,red,red:fold=2,packed --targets isaac,mine.toml\n"
        "  redc compare GAN_Deconv1 FCN_Deconv1 --plot compare.png\n"
        "  redc compare net.onnx --mappings red --targets red-65nm,mine.toml --baseline red@red-65nm",
    )
    sub.add_argument("model", metavar="MODEL", nargs="+", help="an .onnx file, or a name from `redc models`")
    add_compare_options(sub)

    sub = add(
        "montecarlo",
        "run a model on many machines that are built alike, whose cells differ: SQNR per layer and output",
        "  redc montecarlo dcgan_face64 --target isaac --trials 50\n"
        "  redc montecarlo net.onnx --target mine.toml --input in.npz --plot spread.png\n"
        "  redc montecarlo net.onnx --program net.red --target worse-cells.toml --json",
    )
    add_model(sub)
    add_trial_arguments(sub)
    add_compile_options(sub)

    sub = add(
        "check", "verify a program: syntax, addresses, registers, overflow, data", "  redc check net.red"
    )
    sub.add_argument("program", metavar="PROG.red")

    sub = add(
        "fmt",
        "rewrite a program in the canonical layout, comments kept",
        "  redc fmt net.red\n  redc fmt --check net.red",
    )
    sub.add_argument("program", metavar="PROG.red")
    sub.add_argument("--check", action="store_true", help="write nothing; exit with 1 if it would change")

    sub = add("targets", "list the targets, or explain one", "  redc targets\n  redc targets isaac")
    sub.add_argument("name", nargs="?", help="a target, or a TOML file")

    add("models", "list the models that have a name", "  redc models")
    top.commands = commands.choices
    return top


def add_model(sub: argparse.ArgumentParser) -> None:
    """The model to work on."""
    sub.add_argument("model", metavar="MODEL", help="an .onnx file, or a name from `redc models`")


def add_inputs(sub: argparse.ArgumentParser) -> None:
    """What a model is run on."""
    sub.add_argument(
        "--input", metavar="IN.npz", help="inputs by ONNX name; default: what the inputs of a model from "
        "`redc models` are like, else standard normal values",
    )  # fmt: skip
    sub.add_argument(
        "--input-seed", metavar="S", type=seed, help="of inputs that nobody gave: default_rng(S) "
        "(default: 1; calibration draws from 0)",
    )  # fmt: skip


def add_compile_options(sub: argparse.ArgumentParser) -> Any:
    """The options of `redc.compile`."""
    group = sub.add_argument_group("compiling")
    group.add_argument(
        "--target", metavar="T", default="red-65nm", help="a target or a TOML file (default: %(default)s)"
    )
    group.add_argument(
        "--mapping",
        choices=MAPPINGS,
        default="pixel-wise",
        help="of ConvTranspose; auto: the cheapest of each layer (default: %(default)s)",
    )
    group.add_argument(
        "--fold", metavar="F", type=positive, default=1,
        help="pixel-wise: kernel pixels per array, merged analog phases per array (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--merge", choices=MERGES, default="digital",
        help="pixel-wise: where kernel pixels of one phase are added, after the ADC or on the bit line "
        "(default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--origin", choices=ORIGINS, default="auto",
        help="packed: blocks start at 0, at -pad, or where rounds x arrays is least (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--minimise", choices=MINIMISE, default="cycles", help="what auto minimises (default: %(default)s)"
    )
    _add_numbers(group)
    group.add_argument(
        "--vector-bits", metavar="B", type=vector_bits,
        help="of what no crossbar streams, 2 to 20 (default: 16, or 4 more than --input-bits; 24 of what a "
        "host part reads)",
    )  # fmt: skip
    group.add_argument(
        "--calibration", choices=CALIBRATIONS, default="mse",
        help="what codes span of the values seen (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--bias-correction", action="store_true",
        help="let biases make up for the mean error that rounding weights causes on the calibration samples",
    )  # fmt: skip
    return group


def _add_looks(group: Any) -> None:
    """What shows the compiler at work."""
    group.add_argument(
        "--print-after", metavar="PASS", choices=PASSES, action="append", default=[],
        help="show the graph after a pass: " + ", ".join(PASSES),
    )  # fmt: skip
    group.add_argument("--verify-each", action="store_true", help="verify the graph after every pass")


def add_trial_arguments(sub: argparse.ArgumentParser) -> None:
    """What `redc montecarlo` runs."""
    sub.add_argument("--trials", metavar="N", type=trials, default=20, help="machines (default: %(default)s)")
    sub.add_argument("--seed", metavar="S", type=seed, default=0, help="of the first machine (default: 0)")
    add_inputs(sub)
    sub.add_argument(
        "--program", metavar="PROG.red", help="run this program instead of compiling one; then --target says "
        "whose cells it runs on (default: those of the target it names)",
    )  # fmt: skip
    sub.add_argument("--engine", choices=("fast", "step"), default="fast", help="default: %(default)s")
    add_all_layers(sub)
    _add_plot(sub)


def _add_numbers(group: Any) -> None:
    """What a network is quantised to, its shapes and samples, and who may run it."""
    group.add_argument(
        "--weight-bits", metavar="B", type=bits, help="2 to 16 (default: 8, or the model's own)"
    )
    group.add_argument(
        "--input-bits", metavar="B", type=bits, help="2 to 16 (default: 8, or the model's own)"
    )
    group.add_argument(
        "--calibrate", metavar="FILE.npz", help="samples of the inputs, axis 0 counting them "
        "(default: the inputs of diff, those that a model of `redc models` knows, or standard normal values)",
    )  # fmt: skip
    group.add_argument(
        "--shape", metavar="NAME=DIMS", type=shape, action="append", default=[],
        help="shape of an input that the model leaves open, like x=1,3,64,64; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--no-host", dest="host", action="store_false",
        help="an error, listing them, for nodes that the accelerator does not run",
    )  # fmt: skip
    group.add_argument(
        "--bind", metavar="NAME=FILE", type=binding, action="append", default=[],
        help="value of an input that crossbars hold: W=w.npy, or W=FILE.npz with a key W; may be repeated",
    )  # fmt: skip


def _add_plot(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--plot", metavar="OUT.png|svg", help="draw it (needs matplotlib: redc[plot])")


def add_compare_options(sub: argparse.ArgumentParser) -> None:
    """The options of `redc.compare`."""
    sub.add_argument(
        "--mappings", metavar="A,B", type=words,
        help="mappings, with options as in pixel-wise:fold=2:merge=analog; regan, fcn-engine and red are "
        "zero-padding, padding-free and pixel-wise (default: the four, pixel-wise with both merges)",
    )  # fmt: skip
    sub.add_argument(
        "--targets", metavar="T,U", type=words, help="targets or TOML files (default: red-65nm,isaac)"
    )
    sub.add_argument(
        "--baseline", metavar="M[@T]", default="zero-padding",
        help="mapping that speed-ups and energies are over, of the same target or of target T for all",
    )  # fmt: skip
    _add_plot(sub)
    _add_numbers(sub)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # nothing leaves the machine unasked
    escape_what_it_lacks()
    try:
        options = parser().parse_args(arguments)
        from redc.commands import run_command

        return run_command(options)
    except Misuse as error:
        from redc.commands import report_errors

        message, hint = error.args
        problem = {"message": message, "place": "command line", "hint": hint}
        words = sys.argv[1:] if arguments is None else arguments
        return report_errors([problem], f"error: {message}\n  hint: {hint}", json="--json" in words)
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
