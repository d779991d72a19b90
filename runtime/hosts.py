"""Host parts: ONNX models in the data file, run by onnxruntime, which is imported only for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from isa.program import Array, Buffer, BufferRef, Program, walk
from runtime.doors import door_type, enter, leave, onnx_shape
from runtime.errors import InputError
from runtime.machine import Memory

MOST_POOLS = 64
"""Host parts of a program that have threads of their own."""

GRACE = 5.0
"""Seconds that onnxruntime has for stopping at Ctrl-C."""


class Hosts:
    """The host parts of one program: a session each, made when its first call is prepared."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._parts = sum(i.mnemonic == "host" for layer in program.layers for i in walk(layer.body))
        self._sessions: dict[str, Any] = {}
        self._seconds: dict[str, float] = {}

    def take_seconds(self) -> dict[str, float]:
        """Measured seconds of the calls since the last time, by layer; doors included."""
        taken, self._seconds = self._seconds, {}
        return taken

    def caller(
        self,
        layer: str,
        part: str,
        inputs: tuple[BufferRef, ...],
        outputs: tuple[BufferRef, ...],
        memory: Memory,
    ) -> Callable[[], None]:
        """What one `host` instruction does.  Raises InputError where its part cannot be loaded,
        and, when it is called, where it fails or gives other tensors than its buffers hold."""
        session = self._session(part)
        ports = session.get_inputs()
        made = [port.name for port in session.get_outputs()]
        if (len(ports), len(made)) != (len(inputs), len(outputs)):
            raise InputError(
                f"it takes {len(ports)} tensors and gives {len(made)}, "
                f"the instruction has {len(inputs)} and {len(outputs)}",
                place=_place(part),
            )
        sources = [
            (port.name, self.program.buffers[ref.name]) for port, ref in zip(ports, inputs, strict=True)
        ]
        targets = [self.program.buffers[ref.name] for ref in outputs]
        may_loop = b"Loop" in self.program.constant(part).tobytes()

        def run(names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Any]:
            return _interruptible(session, names, feeds) if may_loop else session.run(names, feeds)

        def call() -> None:
            begin = time.perf_counter()
            feeds = {name: leave(buffer, memory.codes[buffer.name]) for name, buffer in sources}
            try:
                values = run(made, feeds)
            except Exception as error:  # onnxruntime raises its own classes, all direct Exceptions
                hint = "does onnxruntime run the whole model on this input?"
                raise InputError(
                    f"onnxruntime fails on it: {error}", place=_place(part), hint=hint
                ) from error
            for buffer, value in zip(targets, values, strict=True):
                enter(buffer, _checked(part, buffer, value), memory.codes[buffer.name])
            self._seconds[layer] = self._seconds.get(layer, 0.0) + time.perf_counter() - begin

        return call

    def _session(self, part: str) -> Any:
        if part not in self._sessions:
            try:
                import onnxruntime
            except ImportError as error:
                raise InputError(
                    "host parts are run by onnxruntime, which is not installed",
                    place=_place(part),
                    hint="pip install onnxruntime; --count-only needs none",
                ) from error
            try:
                self._sessions[part] = self._load(onnxruntime, part)
            except Exception as error:  # as above
                hint = "does this onnxruntime load the whole model?"
                raise InputError(f"onnxruntime refuses it: {error}", place=_place(part), hint=hint) from error
        return self._sessions[part]

    def _load(self, onnxruntime: Any, part: str) -> Any:
        """A session; without optimisations where onnxruntime's own break a branch that never runs."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised: once is enough
        options.add_session_config_entry("session.x64quantprecision", "1")
        # A MatMul of weights behind a DequantizeLinear in floats, not with inputs rounded to 8 bits.
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
        # Thousands of pools that spin would take every core, and minutes to end.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._parts > MOST_POOLS:
            options.intra_op_num_threads = 1
            options.enable_cpu_mem_arena = False  # each would keep memory of its own
            options.enable_mem_pattern = False

        def load() -> Any:
            return onnxruntime.InferenceSession(
                self.program.constant(part).tobytes(),
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=False,  # it would try again, and say so on standard output
                # It would round float weights between quantisers to 8 bits, which the model does not ask for.
                disabled_optimizers=["WeightBiasQuantization"],
            )

        try:
            return load()
        except Exception:  # noqa: BLE001 # onnxruntime raises its own classes, all direct Exceptions
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            return load()


def _interruptible(session: Any, names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Any]:
    """`session.run` of what may never end, in a thread of its own: Ctrl-C stops it."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    results: list[Sequence[Any]] = []
    errors: list[BaseException] = []
    done = threading.Event()  # Thread.join takes a thread for dead where Ctrl-C interrupts it (Python 3.11)

    def work() -> None:
        try:
            results.append(session.run(names, feeds, options))
        except BaseException as error:  # noqa: BLE001 # it is raised again, in the thread that waits
            errors.append(error)
        done.set()

    threading.Thread(target=work, daemon=True).start()
    try:
        done.wait()
    finally:
        if not done.is_set():
            options.terminate = True
            done.wait(GRACE)
    if errors:
        raise errors[0]
    return results[0]


def _checked(part: str, buffer: Buffer, value: Any) -> Array:
    """What the host gave, if it is what its buffer holds."""
    place = f"{_place(part)}, tensor {buffer.tensor!r}"
    if not isinstance(value, np.ndarray):
        raise InputError(f"it is a {type(value).__name__}, not a tensor", place=place)
    wanted = np.dtype(door_type(buffer))
    if value.dtype != wanted or value.shape != onnx_shape(buffer):
        raise InputError(
            f"it is {value.dtype}{list(value.shape)} for these inputs, "
            f"the program was compiled for {wanted}{list(onnx_shape(buffer))}",
            place=place,
            hint="its shape depends on values: compile for these inputs; if it was, with more bits",
        )
    if not buffer.raw and not buffer.whole and np.isnan(value).any():
        raise InputError(
            "it holds NaN, and the accelerator reads it",
            place=place,
            hint="infinity becomes the largest code, NaN has none",
        )
    return value


def _place(part: str) -> str:
    return f"host part {part!r}"
