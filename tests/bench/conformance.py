"""ONNX's own conformance tests for every operator redc claims, as docs/conformance.md.

    python tests/bench/conformance.py            # print the document
    python tests/bench/conformance.py --write    # and write it

The tests are those that ship in the onnx package: node tests, and models exported from PyTorch.
Nothing is handed to a host; weights and inputs have 16 bits; scales are calibrated on the test's
own inputs.  A test counts for the operator of its one node; larger graphs count together.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
MODELS = ("pytorch-converted", "pytorch-operator", "simple")
SEVERAL = "several operators"
CRASH = "crashed, which is a bug:"
NODE = re.compile(r"^node \d+ \([^)]*\)(, tensor '[^']*')?: ")
"""What says where in the model an error is."""
NEAR = 1e-4
"""Of the largest expected value: what 16 bits promise where one step size serves a whole tensor."""


@dataclass(frozen=True)
class Case:
    """One test: a model, and pairs of (inputs, expected outputs)."""

    name: str
    model: onnx.ModelProto
    sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float

    @property
    def operator(self) -> str:
        """The operator of its one node; `several operators` where there are more."""
        kinds = [node.op_type for node in self.model.graph.node if node.op_type != "Constant"]
        return str(kinds[0]) if len(kinds) == 1 else SEVERAL


@dataclass(frozen=True)
class Verdict:
    """What became of a case: excluded (why), or executed, and then passed or not."""

    case: Case
    excluded: str = ""
    passed: bool = False
    steps: float = 0.0  # largest error, in steps of the output's codes
    scale: float = 0.0  # largest error over the largest expected value


def cases(operators: Iterable[str]) -> Iterator[Case]:
    """Every test whose nodes are all of `operators` (or constants)."""
    from onnx.backend.test.loader import load_model_tests

    claimed = {*operators, "Constant"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite's own, of overflowing casts
        nodes = load_model_tests(kind="node")
    for test in nodes:
        if _claimed(test.model, claimed):
            yield Case(test.name, test.model, test.data_sets, test.rtol, test.atol)
    for kind in MODELS:
        for test in sorted(load_model_tests(kind=kind), key=lambda test: test.name):
            model = onnx.load(Path(test.model_dir) / "model.onnx")
            if _claimed(model, claimed):
                sets = [
                    _stored(model, folder) for folder in sorted(Path(test.model_dir).glob("test_data_set_*"))
                ]
                yield Case(test.name, model, sets, test.rtol, test.atol)


def _claimed(model: onnx.ModelProto, operators: set[str]) -> bool:
    nodes = model.graph.node
    return bool(nodes) and all(n.op_type in operators and n.domain in ("", "ai.onnx") for n in nodes)


def _stored(model: onnx.ModelProto, folder: Path) -> tuple[list[Any], list[Any]]:
    def read(kind: str, values: Any) -> list[Any]:
        paths = [folder / f"{kind}_{i}.pb" for i in range(len(values))]
        return [
            numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
            for path, value in zip(paths, values, strict=True)
            if path.exists() and value.type.HasField("tensor_type")
        ]

    return read("input", model.graph.input), read("output", model.graph.output)


def judge(case: Case) -> Verdict:
    """Run one case on crossbars and vector unit, nothing on a host."""
    from onnx.backend.test.runner import Runner

    import redc.onnx_backend as backend
    from redc import UserError
    from runtime import InputError

    steps = scale = 0.0
    passed = True
    try:
        prepared = backend.prepare(case.model, no_host=True)
        for inputs, expected in case.sets:
            arrays = [numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x for x in inputs]
            found = prepared.run(arrays)
            try:
                Runner.assert_similar_outputs(expected, found, case.rtol, case.atol)
            except AssertionError:
                passed = False
            buffers = list(prepared.programs.values())[-1].program.outputs
            by_name = {b.tensor: b for b in buffers}
            for value, output, wanted in zip(case.model.graph.output, found, expected, strict=True):
                if output.shape == wanted.shape and output.size:
                    error = float(np.abs(output.astype(np.float64) - wanted).max())
                    steps = max(steps, error / (by_name[value.name].scale or 1.0))
                    scale = max(scale, error / (float(np.abs(wanted).max()) or 1.0))
    except (UserError, InputError) as error:
        first = str(error).splitlines()[0]
        return Verdict(case, excluded=first.removeprefix(f"{case.model.graph.name}: "))
    except Exception as error:  # noqa: BLE001  # a crash is our fault, and belongs into the table
        return Verdict(case, excluded=f"{CRASH} {type(error).__name__}: {error}".splitlines()[0])
    return Verdict(case, passed=passed, steps=steps, scale=scale)


def document(verdicts: Iterable[Verdict], operators: Iterable[str]) -> str:
    """docs/conformance.md."""
    every = list(verdicts)
    rows = []
    for operator in [*operators, SEVERAL]:
        mine = [v for v in every if v.case.operator == operator]
        ran = [v for v in mine if not v.excluded]
        most = f"{max(v.steps for v in ran):.2f}" if ran else ""
        passed = sum(v.passed for v in ran)
        near = sum(v.scale <= NEAR for v in ran)
        cells = (operator, len(mine), len(ran), passed, near, most, len(mine) - len(ran))
        rows.append(f"| {' | '.join(map(str, cells))} |")
    missed = [v for v in every if not v.excluded and not v.passed]
    ran = [v for v in every if not v.excluded]
    title = "ONNX's conformance tests, run by redc.onnx_backend"
    return "\n".join(
        [
            f"# {title}",
            "",
            f"Written by `python tests/bench/conformance.py --write`, with onnx {onnx.__version__}. "
            "Every test of that package whose nodes redc claims: node tests, and models exported from "
            "PyTorch. 16 bits for weights and inputs, calibrated on the test's own inputs, everything on "
            "crossbars and vector unit, nothing on a host, the suite's own tolerance (relative 1e-3, "
            "absolute 1e-7, as if float32 computed it). Errors are in steps of the output's codes, of "
            "which there are 65,536: 0.5 is what rounding the output takes; rounding the input comes on top, "
            "more of it where the output's range is narrower (Clip, Tanh).",
            "",
            f"{len(every)} tests, {len(ran)} executed, {sum(v.passed for v in ran)} passed. None is skipped: "
            "a test that is not executed is listed below with the reason.",
            "",
            "| operator | tests | executed | passed | within 1e-4 of full scale | largest error, steps "
            "| excluded |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "## Executed, and outside the suite's tolerance",
            "",
            "The tolerance is relative to every single value. Codes have one step size for a whole tensor, "
            "so values far below the largest one miss it (1e-3 of a value 500 times smaller than the largest "
            "is less than half a step). `test_resize_downsample_scales_linear_align_corners` disagrees "
            "with onnxruntime, whose values are ours.",
            "",
            "| test | largest error, steps | of the largest value |",
            "| --- | --- | --- |",
            *(f"| {v.case.name} | {v.steps:.2f} | {v.scale:.1e} |" for v in missed),
            "",
            "## Excluded",
            "",
            "| operator | why | tests | |",
            "| --- | --- | --- | --- |",
            *(
                f"| {operator} | {why} | {len(names)} | {_some(names)} |"
                for operator, why, names in _reasons(every)
            ),
            "",
        ]
    )


def _reasons(verdicts: Iterable[Verdict]) -> Iterator[tuple[str, str, list[str]]]:
    """Operator, reason, names of its excluded tests; what differs only by node or tensor is one."""
    found: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        if verdict.excluded:
            why = NODE.sub("", verdict.excluded)
            why = re.sub(r"^graph (input|output) '[^']*': it is", r"an \1 is", why)
            why = re.sub(r"^(an \w+ is) \w+; the accel", r"\1 of another type; the accel", why)
            why = re.sub(
                r"^it is \w+, not f32; .*", "a tensor that it reads is of another type than f32", why
            )
            why = re.sub(r"\s+", " ", why).replace("|", "\\|")
            found.setdefault((verdict.case.operator, why), []).append(verdict.case.name)
    for (operator, why), names in found.items():
        yield operator, why, names


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def main() -> None:
    """Print the document; `--write` writes it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--write", action="store_true", help="write docs/conformance.md")
    options = words.parse_args()
    from redc.frontend.importer import IMPORTERS

    text = document((judge(case) for case in cases(IMPORTERS)), IMPORTERS)
    sys.stdout.write(text)
    if options.write:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
