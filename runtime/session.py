"""A program behind the interface of `onnxruntime.InferenceSession`, so that one line is swapped.

session = runtime.Session("net.red")          # was: onnxruntime.InferenceSession("net.onnx")
image, = session.run(["image"], {"z": z})
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isa.program import Array, Buffer, Program
from runtime.doors import onnx_shape, outer_name
from runtime.errors import InputError, did_you_mean
from runtime.result import EngineName, Loaded, Result

TYPES = {
    "f32": "float", "f64": "double", "f16": "float16", "bool": "bool",
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}  # fmt: skip
"""Element types of the assembly -> onnxruntime's names for them."""


PROVIDER = "RedcExecutionProvider"
MODELS = (".onnx", ".ort")
"""How the names of files end that onnxruntime takes, and a session here does not."""


@dataclass(frozen=True, slots=True)
class NodeArg:
    """An input or output: its name, its shape, and its type as in `tensor(float)`."""

    name: str
    shape: list[int]
    type: str

    @staticmethod
    def of(buffer: Buffer) -> NodeArg:
        """What callers see of an input or output buffer."""
        return NodeArg(outer_name(buffer), list(onnx_shape(buffer)), f"tensor({TYPES[buffer.onnx_type]})")


class Session:
    """A program that runs like an onnxruntime session.

    program   a Program, or the path of a `.red` file
    sess_options, providers, provider_options
              as onnxruntime's session takes them; they mean nothing here
    options   of `runtime.load`: fidelity, seed, verify

    A program is for one shape: unlike onnxruntime's, every dimension is a number.
    `result` is the last run's, with its counters; None before the first.

    Raises InputError for a model in place of a program.
    """

    def __init__(
        self,
        program: Program | str | os.PathLike[str],
        sess_options: Any = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Any] | None = None,
        *,
        engine: EngineName = "fast",
        **options: Any,
    ) -> None:
        self._loaded = Loaded(_program(program), engine, **options)
        program = self._loaded.program
        self._inputs = [NodeArg.of(buffer) for buffer in program.inputs]
        self._outputs = [NodeArg.of(buffer) for buffer in program.outputs]
        self.result: Result | None = None

    def get_providers(self) -> list[str]:
        """Who runs it: the accelerator, whatever `providers` were asked for."""
        return [PROVIDER]

    def get_inputs(self) -> list[NodeArg]:
        """The inputs, in the order of the program's text (the model's)."""
        return list(self._inputs)

    def get_outputs(self) -> list[NodeArg]:
        """The outputs, in the order of the program's text (the model's)."""
        return list(self._outputs)

    def run(
        self, output_names: Iterable[str] | None, input_feed: Mapping[str, Any], run_options: Any = None
    ) -> list[Array]:
        """The outputs of these names, of all for None.  `run_options` mean nothing here.

        Raises InputError for a name or an input that does not fit.
        """
        known = [output.name for output in self._outputs]
        wanted = list(output_names) if output_names else known
        for name in wanted:
            if name not in known:
                raise InputError(
                    f'the program has no output "{name}"',
                    place=f'output "{name}"',
                    hint=did_you_mean(name, known),
                )
        self.result = self._loaded.run(input_feed, buffers=False)
        return [self.result.outputs[name] for name in wanted]


def _program(given: object) -> Program:
    """The program that was handed over, or that lies at a path."""
    if isinstance(given, Program):
        return given
    what = f"a {type(given).__name__}"
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        if os.path.splitext(path)[1].lower() not in MODELS:
            import isa

            return isa.load(path)
        what = f"the model {path!r}"
    raise InputError(
        f"a session takes a program, not {what}",
        place="program",
        hint="redc.compile(model) makes a program of a model: runtime.Session(redc.compile(model))",
    )
