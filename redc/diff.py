"""`redc diff`: does a program compute what its model says?  The two promises of docs/numerics.md:

1. integer-exact: every crossbar layer, given the interpreter's own input codes, has the very
   accumulators and output codes that the oracle (`redc.oracle`) finds from the original file;
2. close to the float model: SQNR, largest error and cosine against onnxruntime.

This module sees both sides, the model and the runtime; nothing else in redc but the command
line does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from isa.geometry import geometry
from isa.program import Address, Buffer, BufferRef, Layer, Matrix, Program, walk
from redc.diff_report import Closeness, LayerRow, Mismatch, OutputRow, Report
from redc.errors import UserError
from redc.oracle import LayerText, Network, Oracle, OracleError, describe, run_model

if TYPE_CHECKING:
    import onnx

    from runtime import Result

__all__ = ["Closeness", "LayerRow", "Mismatch", "OutputRow", "Report", "diff"]

Array = npt.NDArray[Any]
SAMPLES = 8


def diff(
    model: str | Path | onnx.ModelProto,
    program: Program | str | Path | None = None,
    inputs: Mapping[str, Array] | None = None,
    *,
    min_sqnr: float | None = None,
    engine: Literal["fast", "step"] = "fast",
    fidelity: str = "exact",
    seed: int = 0,
    **options: Any,
) -> Report:
    """Compile `model` (or take `program`, or the program file of that path), run it, compare it.

    inputs      the model's own floats by ONNX input name.  Without them: for a name of the zoo
                or of a builder what such inputs are like, else standard normal; up to 8 samples
                of `default_rng(seed + 1)` (calibration draws from `default_rng(0)`)
    min_sqnr    decibels that every output must reach to pass
    options     those of `redc.compile`; scales are calibrated on `calibrate`, else on `inputs`,
                else as `redc.compile` does

    Raises UserError for a model, program or options that do not fit, runtime.InputError for
    inputs that do not.
    """
    import runtime
    from redc.frontend import load_model

    proto = load_model(model)
    network = Network(proto)
    notes: list[str] = []
    if program is None:
        if inputs is None and "shapes" not in options:
            inputs = _known_samples(model, network, seed)
        program = _compiled(model, network, inputs, options)
    elif options:
        raise UserError(
            f"{', '.join(sorted(options))}: an option of compiling, but there is a program",
            place="diff",
            hint="leave out the program, or the options",
        )
    elif not isinstance(program, Program):
        import isa

        program = isa.load(program)
    _check_doors(network, program)
    if inputs is None:
        inputs, note = _inputs_for(program, model, seed)
        notes.append(note)
    result = runtime.load(program, engine=engine, fidelity=fidelity, observe=True, seed=seed).run(inputs)
    reference = _float_run(network, program, inputs)
    comparison = _Comparison(network, program, result, reference)
    layers = tuple(comparison.row(index, layer) for index, layer in enumerate(program.layers))
    return Report(
        model=str(model) if isinstance(model, str | Path) else proto.graph.name or "model",
        target=program.target.name,
        mapping=_mapping(program),
        engine=engine,
        fidelity=fidelity,
        outputs=tuple(_output(name, result.outputs[name], reference[name]) for name in network.outputs),
        layers=layers,
        rounds=result.total.rounds,
        cycles=result.total.cycles,
        arrays=sum(_arrays(program, name) for name in program.crossbars),
        min_sqnr=min_sqnr,
        problems=tuple(comparison.problems()),
        notes=(*notes, *result.notes),
    )


# ---------------------------------------------------------------- what to compare on


def _known_samples(
    model: str | Path | onnx.ModelProto, network: Network, seed: int
) -> Mapping[str, Array] | None:
    """What inputs of a model with a name are like; as many samples as its batch, or 8."""
    if not isinstance(model, str):
        return None
    import models

    fixed = [shape[0] for name in network.inputs if (shape := network.declared_shape(name)) and shape[0]]
    return models.samples(model, min(fixed, default=SAMPLES), seed + 1)


def _compiled(
    model: str | Path | onnx.ModelProto,
    network: Network,
    inputs: Mapping[str, Array] | None,
    options: dict[str, Any],
) -> Program:
    """Compile for the shapes of `inputs`; calibrate on them where the user gave nothing else."""
    from redc.compiler import compile as compile_model

    if inputs is not None:
        options.setdefault(
            "shapes",
            {
                name: np.shape(value)
                for name, value in inputs.items()
                if name in network.inputs and not all(network.declared_shape(name) or (None,))
            },
        )
    return compile_model(model, **options)


def _inputs_for(
    program: Program, model: str | Path | onnx.ModelProto, seed: int
) -> tuple[Mapping[str, Array], str]:
    """Inputs of the program's shapes where nobody gave any, and where they come from."""
    shapes = {buffer.tensor or buffer.name: buffer.onnx_shape for buffer in program.inputs}
    if isinstance(model, str):
        import models

        samples = models.samples(model, max(shape[0] for shape in shapes.values()), seed + 1)
        if samples is not None and {n: v.shape for n, v in samples.items()} == shapes:
            return samples, f"inputs: samples of {model}, default_rng({seed + 1})"
    rng = np.random.default_rng(seed + 1)
    drawn = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    return drawn, f"inputs: standard normal, default_rng({seed + 1})"


def _check_doors(network: Network, program: Program) -> None:
    """A program of another model is the user's mistake, not a program that computes wrongly."""
    for what, ours, theirs in (
        ("inputs", network.inputs, program.inputs),
        ("outputs", network.outputs, program.outputs),
    ):
        names = tuple(buffer.tensor or buffer.name for buffer in theirs)
        if sorted(names) != sorted(ours):
            raise UserError(
                f"the program's {what} are {', '.join(names) or 'none'}, "
                f"the model's are {', '.join(ours) or 'none'}",
                place="program",
                hint="was it compiled from this model?",
            )
    for buffer in program.inputs:
        declared = network.declared_shape(buffer.tensor or buffer.name)
        if declared is not None and (
            len(declared) != len(buffer.onnx_shape)
            or any(d not in (None, n) for d, n in zip(declared, buffer.onnx_shape, strict=True))
        ):
            raise UserError(
                f"the program takes {buffer.tensor!r} as {list(buffer.onnx_shape)}, "
                f"the model as {['?' if d is None else d for d in declared]}",
                place="program",
                hint="was it compiled from this model?",
            )


def _float_run(network: Network, program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every layer's tensor, every crossbar operator's input and the outputs, by onnxruntime."""
    wanted = dict.fromkeys(network.outputs)
    wanted.update(dict.fromkeys(layer.tensor for layer in program.layers if layer.tensor))
    wanted.update(dict.fromkeys(node.input[0] for node in network.crossbar_nodes()))
    made = [name for name in wanted if network.maker(name) is not None]
    feeds = {name: np.asarray(value, np.float32) for name, value in inputs.items()}
    values: dict[str, Array] = dict(feeds)
    values.update(run_model(network.model, network.exposing(made), feeds))
    return values


# ---------------------------------------------------------------- comparing


class _Comparison:
    """One run of a program beside the oracle and the float model."""

    def __init__(
        self, network: Network, program: Program, result: Result, reference: Mapping[str, Array]
    ) -> None:
        self.network = network
        self.program = program
        self.result = result
        self.reference = reference
        self.oracle = Oracle(network)
        self.computed: set[str] = set()  # first outputs of the crossbar operators that have a layer

    def row(self, index: int, layer: Layer) -> LayerRow:
        counters = self.result.counters[index][1]
        groups = _fired(layer)
        trouble: str | None = None
        mismatch: Mismatch | None = None
        code_error: int | None = None
        if groups:
            try:
                mismatch, code_error = self._check(layer)
                trouble = str(mismatch) if mismatch else None
            except OracleError as error:
                trouble = str(error)
        return LayerRow(
            name=layer.name,
            kind="crossbar" if groups else "vector",
            op=layer.op,
            nodes=layer.nodes,
            tensor=layer.tensor,
            mapping=layer.mapping,
            integer_exact=trouble is None if groups else None,
            trouble=trouble,
            mismatch=mismatch,
            code_error=code_error,
            closeness=self._closeness(layer),
            rounds=counters.rounds if groups else None,
            cycles=counters.cycles,
            arrays=sum(_arrays(self.program, name) for name in groups) if groups else None,
        )

    def problems(self) -> list[str]:
        """Faults that no row shows; ask after every row."""
        missing = [
            f"no layer of the program computes {describe(node)}"
            for node in self.network.crossbar_nodes()
            if node.output[0] not in self.computed
        ]
        copies = [
            problem
            for layer in self.program.layers
            for instruction in walk(layer.body)
            if instruction.mnemonic == "reshape"
            and (problem := self._copy_problem(layer, *instruction.operands))
        ]
        return missing + copies

    def _check(self, layer: Layer) -> tuple[Mismatch | None, int]:
        """The first promise, for one crossbar layer.  Raises OracleError where it has no meaning."""
        text = _read(self.program, layer)
        node = self.network.chain(text.tensor).operator
        self.computed.add(node.output[0])
        shape = self.reference[node.input[0]].shape
        expected = self.oracle.expect(text, self.result.buffers[text.source.name], shape)
        if text.result.name not in self.result.accumulators:
            raise OracleError(f"no requantised value is stored to buffer %{text.result.name}")
        codes = self.result.buffers[text.result.name].astype(np.int64)
        error = int(np.abs(codes - expected.codes).max(initial=0))
        wrong = (codes < expected.lowest) | (codes > expected.highest)
        sums = self.result.accumulators[text.result.name]
        return (
            _mismatch("accumulators", text.result, sums, expected.accumulators, sums != expected.accumulators)
            or _mismatch("output codes", text.result, codes, expected.codes, wrong)
        ), error

    def _closeness(self, layer: Layer) -> Closeness | None:
        reference = self.reference.get(layer.tensor or "")
        held = _stored(self.program, layer)
        if reference is None or held is None or held.scale is None:
            return None
        codes = np.moveaxis(self.result.buffers[held.name].astype(np.float64), -1, held.axis)
        real = (codes - held.zero) * held.scale
        return Closeness.of(real, reference) if real.size == reference.size else None

    def _copy_problem(self, layer: Layer, target: Any, source: Any) -> str | None:
        """A `reshape` must copy a tensor to its own other shape, in the order of the ONNX tensors."""
        assert isinstance(target, BufferRef)
        assert isinstance(source, BufferRef)
        old, new = self.program.buffers[source.name], self.program.buffers[target.name]
        if old.tensor is None or new.tensor is None:
            return None
        before, after = (np.moveaxis(self.result.buffers[b.name], -1, b.axis).ravel() for b in (old, new))
        if self.network.root(old.tensor) == self.network.root(new.tensor) and np.array_equal(before, after):
            return None
        return f"layer {layer.name!r} copies {old.tensor!r} to {new.tensor!r}, which is another tensor"


def _read(program: Program, layer: Layer) -> LayerText:
    """What the text says of one crossbar layer.  Raises OracleError where it says too little."""
    sources: dict[str, None] = {}
    bits: set[int] = set()
    for instruction in walk(layer.body):
        if instruction.mnemonic == "drive":
            band, source = instruction.operands
            assert isinstance(band, Matrix)
            assert isinstance(source, Address)
            sources[source.buffer] = None
            bits.add(program.crossbars[band.name].weight_type.bits)
    result = _stored(program, layer)
    if layer.tensor is None or result is None:
        raise OracleError(f"it stores no codes of its tensor {layer.tensor!r}")
    if len(sources) != 1 or len(bits) != 1:
        raise OracleError(
            f"it drives from {', '.join('%' + name for name in sources) or 'no buffer'} "
            f"with weights of {', '.join(map(str, sorted(bits)))} bits; expected one of each"
        )
    return LayerText(layer.tensor, program.buffers[next(iter(sources))], result, bits.pop())


def _stored(program: Program, layer: Layer) -> Buffer | None:
    """The buffer of the layer's tensor, if the layer writes it."""
    for instruction in walk(layer.body):
        target = instruction.operands[0]
        if instruction.mnemonic in ("store", "reshape") and isinstance(target, Address | BufferRef):
            name = target.buffer if isinstance(target, Address) else target.name
            if program.buffers[name].tensor == layer.tensor:
                return program.buffers[name]
    return None


def _fired(layer: Layer) -> list[str]:
    groups: dict[str, None] = {}
    for instruction in walk(layer.body):
        if instruction.mnemonic == "fire":
            group = instruction.operands[0]
            assert isinstance(group, Matrix)
            groups[group.name] = None
    return list(groups)


def _arrays(program: Program, crossbar: str) -> int:
    group = program.crossbars[crossbar]
    return group.count * geometry(group, program.target).arrays


def _mapping(program: Program) -> str | None:
    """The mapping of the deconvolutions; where there are none, of what there is."""
    every = [layer for layer in program.layers if layer.mapping]
    some = [layer for layer in every if layer.op == "ConvTranspose"] or every
    return ", ".join(dict.fromkeys(layer.mapping for layer in some if layer.mapping)) or None


def _mismatch(
    what: Literal["accumulators", "output codes"], buffer: Buffer, got: Array, expected: Array, differ: Array
) -> Mismatch | None:
    count = int(np.count_nonzero(differ))
    if not count:
        return None
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(differ)), differ.shape))
    place = f"%{buffer.name}{list(index)}"
    return Mismatch(what, count, differ.size, place, int(got[index]), int(expected[index]))


def _output(name: str, value: Array, reference: Array) -> OutputRow:
    if value.shape != reference.shape:
        raise UserError(
            f"the program gives {name!r} as {list(value.shape)}, the model as {list(reference.shape)}",
            place="program",
            hint="was it compiled from this model?",
        )
    near = Closeness.of(value, reference)
    return OutputRow(name, value.shape, near.sqnr_db, near.max_abs_err, near.cosine)


class _Callable(ModuleType):
    """`redc.diff` is this module and, by the lazy import in redc/__init__.py, this function.

    Whoever imports the module first leaves the module under that name, so it can be called.
    """

    __call__ = staticmethod(diff)


sys.modules[__name__].__class__ = _Callable
