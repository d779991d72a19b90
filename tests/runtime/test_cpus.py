"""Kernels give the same bits whatever CPU they are compiled for.

The CPU at hand runs code for its forebears too: here for AVX2 and for plain x86-64.  For others
the code is compiled and not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from isa.program import Program
from runtime import (
    fused_forms,
    fused_kernel,
    noisy,
    noisy_strips,
    packed,
    packing,
    popcount,
    run,
    whole_products,
)
from runtime import llvm as llvm_home
from runtime.llvm import Cpu, Function, host
from tests.runtime.devices import devices
from tests.runtime.strategies import programs, random_inputs
from tests.runtime.strips import assert_converted, random_strip

ARM = Cpu("aarch64-unknown-linux-gnu", "generic")
WIDE = Cpu("x86_64-unknown-linux-gnu", "skylake-avx512", "+avx512f")
FORMS = [
    popcount.Form(16, 32, 3, True, True, 1),
    popcount.Form(16, 64, 2, False, False, 4),
    popcount.Form(32, 64, 0, False, True, 5),
]


def forebears() -> Iterator[Cpu]:
    """CPUs whose code the one at hand runs."""
    here = host()
    if here.triple.startswith("x86_64"):
        yield Cpu(here.triple, "x86-64")
        if "+avx2" in here.features.split(","):
            yield Cpu(here.triple, "haswell")
    else:
        yield Cpu(here.triple, "generic")


FOREBEARS = list(forebears())


def compile_for(cpu: Cpu, patch: pytest.MonkeyPatch) -> None:
    """From here on kernels are compiled for `cpu`."""
    for module in (llvm_home, noisy, noisy_strips, packed, whole_products):
        patch.setattr(module, "host", lambda: cpu)
    patch.setattr(fused_forms, "_compiled", fused_kernel.compiled)  # none is remembered


@pytest.mark.parametrize("cpu", FOREBEARS, ids=lambda cpu: cpu.name)
@pytest.mark.parametrize("kind", [np.int16, np.float32])
@pytest.mark.parametrize(("lsb", "sigma"), [(1, 900), (3, 0), (5, 5000)])
def test_noisy_conversions_are_the_same(
    monkeypatch: pytest.MonkeyPatch, cpu: Cpu, kind: type, lsb: int, sigma: int
) -> None:
    compile_for(cpu, monkeypatch)
    strip = random_strip(kind, lsb, sigma)
    assert_converted(strip, *strip.converted())


@settings(max_examples=6, phases=[Phase.explicit, Phase.generate])
@given(st.data(), programs(), st.integers(0, 2**32 - 1), st.sampled_from(FOREBEARS))
def test_programs_run_the_same(data: Any, program: Program, seed: int, cpu: Cpu) -> None:
    inputs = random_inputs(program, seed)
    for options in (
        {"fidelity": "adc"},
        {"fidelity": "analog", "device": data.draw(devices(program.target.cell)), "seed": seed},
    ):
        here = run(program, inputs, engine="fast", observe=True, **options)  # type: ignore[arg-type]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fused_forms, "WORTH", -1)
            compile_for(cpu, patch)
            there = run(program, inputs, engine="fast", observe=True, **options)  # type: ignore[arg-type]
        for name, codes in here.buffers.items():
            np.testing.assert_array_equal(there.buffers[name], codes, err_msg=f"buffer %{name}")
        assert there.losses == here.losses


def written(cpu: Cpu) -> Iterator[Function]:
    """Kernels of every kind."""
    for pairs in (True, False):
        yield noisy.written(noisy.Form(pairs, True, 3 * 4096), cpu)
    yield from map(popcount.written, FORMS)
    yield packing.written(8, 8)


def test_other_cpus_have_code_too() -> None:
    for function in written(ARM):
        try:
            llvm.initialize_all_targets()
            llvm.Target.from_triple(ARM.triple)
        except RuntimeError:
            pytest.skip("this llvmlite knows no aarch64")
        assert "\tret" in function.assembly(ARM)


def test_a_cpu_gets_the_registers_it_has() -> None:
    """So what the tests above compare is different code."""
    if not host().triple.startswith("x86_64"):
        pytest.skip("the registers of x86-64")
    for cpu, has, lacks in ((WIDE, "zmm", None), (FOREBEARS[-1], "ymm", "zmm"), (FOREBEARS[0], "xmm", "ymm")):
        for function in written(cpu):
            code = function.assembly(cpu)
            assert has in code
            assert lacks is None or lacks not in code


@pytest.mark.parametrize("cpu", [WIDE, *FOREBEARS], ids=lambda cpu: cpu.name)
def test_pairs_of_16_bits_are_multiplied_by_one_instruction(cpu: Cpu) -> None:
    """LLVM finds it by the pattern of `whole_products`; without, products take several times as long."""
    if not cpu.triple.startswith("x86_64"):
        pytest.skip("the instructions of x86-64")
    code = noisy.written(noisy.Form(True, True, 4096), cpu).assembly(cpu)
    assert "pmaddwd" in code or "pdpwssd" in code
