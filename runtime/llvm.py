"""A function in LLVM's terms, compiled for a CPU, mostly the one at hand, when it is first needed.

That takes a few hundredths of a second, so nothing is kept on disk.  What is written here are
vectors, where a compiler that starts from loops over 16-bit numbers would have to find them.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

I1, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
POINTER, NUMBER = ctypes.c_void_p, ctypes.c_int64


@dataclass(frozen=True, slots=True)
class Cpu:
    """What code is compiled for, in LLVM's names.

    features  of the CPU, "+avx2,-avx512f,..."; empty: those that its name implies
    """

    triple: str
    name: str
    features: str = ""

    @property
    def wide(self) -> bool:
        """Registers of 512 bits, and 32 of them."""
        return "+avx512f" in self.features.split(",")


@functools.cache
def host() -> Cpu:
    """The CPU at hand."""
    return Cpu(llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())


def _size(entry: Any) -> int:
    """Bytes of a number."""
    return {F32: 4, F64: 8}.get(entry) or entry.width // 8


class Function:
    """One function without a result, and words to write it with; subclasses write its body.

    arguments  name -> POINTER (to entries of the type in `entries`, else int64) or NUMBER
    """

    def __init__(self, arguments: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
        self.arguments, self.module = arguments, ir.Module()
        types = [
            I64 if kind is NUMBER else ir.PointerType(entries.get(name, I64))
            for name, kind in arguments.items()
        ]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), types), "run")
        for argument in function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        self.a = dict(zip(arguments, function.args, strict=True))
        self.variables, self.start = (function.append_basic_block() for _ in range(2))
        self.b = ir.IRBuilder(self.start)

    def compiled(self, cpu: Cpu | None = None, widen: bool = True) -> Callable[..., None]:
        """Its machine code, to be called with the arguments in order; it lets go of the GIL.

        cpu    one whose code the CPU at hand can run; None: that at hand
        widen  look for loops to turn into vectors, which takes as long as all the rest
        """
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module, machine = self._optimised(cpu or host(), widen)
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        call = ctypes.CFUNCTYPE(None, *self.arguments.values())(engine.get_function_address("run"))
        call.keep = (machine, engine)  # type: ignore[attr-defined]  # the code lives in its engine
        return call

    def assembly(self, cpu: Cpu, widen: bool = True) -> str:
        """Its machine code to read, for any CPU that llvmlite knows."""
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        module, machine = self._optimised(cpu, widen)
        found: str = machine.emit_assembly(module)
        return found

    def _optimised(self, cpu: Cpu, widen: bool) -> tuple[Any, Any]:
        if not self.variables.is_terminated:
            self.b.ret_void()
            with self.b.goto_block(self.variables):
                self.b.branch(self.start)
        machine = llvm.Target.from_triple(cpu.triple).create_target_machine(
            cpu=cpu.name, features=cpu.features, opt=3
        )
        module = llvm.parse_assembly(str(self.module))
        options = llvm.create_pipeline_tuning_options(speed_level=2 if widen else 1)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = widen
        passes = llvm.create_pass_builder(machine, options)
        passes.getModulePassManager().run(module, passes)
        return module, machine

    def variable(self, type_: Any) -> Any:
        """A place for a value, which becomes a register."""
        with self.b.goto_block(self.variables):
            return self.b.alloca(type_)

    def intrinsic(self, name: str, result: Any, argument: Any) -> Any:
        """One of LLVM's own functions."""
        return ir.Function(self.module, ir.FunctionType(result, [argument]), name)

    def number(self, value: int) -> Any:
        return ir.Constant(I64, value)

    def splat(self, value: Any, type_: Any) -> Any:
        """A vector of one value."""
        if isinstance(value, int):
            return ir.Constant(type_, [value] * type_.count)
        undefined = ir.Constant(type_, ir.Undefined)
        one = self.b.insert_element(undefined, value, ir.Constant(I32, 0))
        first = ir.Constant(ir.VectorType(I32, type_.count), [0] * type_.count)
        return self.b.shuffle_vector(one, undefined, first)

    def index(self, *terms: Any) -> Any:
        """The sum of numbers and products (a, b)."""
        total: Any = None
        for term in terms:
            value = term
            if isinstance(term, tuple):
                value = self.b.mul(*(self.number(x) if isinstance(x, int) else x for x in term))
            elif isinstance(term, int):
                value = self.number(term)
            total = value if total is None else self.b.add(total, value)
        return total

    def at(self, name: str, place: Any) -> Any:
        """One entry of an array."""
        return self.b.load(self.b.gep(self.a[name], [place]))

    def pointer(self, name: str, place: Any, type_: Any) -> Any:
        return self.b.bitcast(self.b.gep(self.a[name], [place]), ir.PointerType(type_))

    def vector(self, name: str, place: Any, type_: Any) -> Any:
        """Neighbouring entries of an array, wherever they lie."""
        return self.b.load(self.pointer(name, place, type_), align=_size(type_.element))

    @contextmanager
    def loop(self, start: Any, stop: Any) -> Iterator[Any]:
        """start <= index < stop."""
        b = self.b
        before, head, body, end = b.block, *(b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(self.number(start) if isinstance(start, int) else start, before)
        b.cbranch(b.icmp_signed("<", index, stop), body, end)
        b.position_at_end(body)
        yield index
        index.add_incoming(b.add(index, self.number(1)), b.block)
        b.branch(head)
        b.position_at_end(end)
