"""Every mapping computes every deconvolution, to the last bit, in the rounds it promises."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
import isa.geometry
import models
import redc
import runtime
import runtime.count
from isa.program import Program
from redc.mapping.check import MappingError, check
from redc.mapping.formula import kernel_pixels
from redc.mapping.mappings import DECONVOLUTION_MAPPINGS, origins, packed, pad_origin, pixel_wise
from redc.mapping.schedule import Choice, Line, Problem, Schedule
from redc.passes.context import Options
from tests.redc.layers import deconvolution, deconvolutions, feed

MAPPINGS: list[dict[str, Any]] = [
    {"mapping": "pixel-wise"},
    {"mapping": "pixel-wise", "fold": 2},
    {"mapping": "pixel-wise", "fold": 5},
    {"mapping": "pixel-wise", "merge": "analog"},
    {"mapping": "pixel-wise", "merge": "analog", "fold": 3},
    {"mapping": "packed", "origin": "0"},
    {"mapping": "packed", "origin": "pad"},
    {"mapping": "zero-padding"},
    {"mapping": "padding-free"},
]
AUTO: dict[str, Any] = {"mapping": "auto"}
SIX = ("GAN_Deconv1", "GAN_Deconv2", "GAN_Deconv3", "GAN_Deconv4", "FCN_Deconv1", "FCN_Deconv2")
ROUNDS = {
    "zero-padding": (256, 64, 64, 144, 1156, 322624),
    "padding-free": (64, 16, 16, 36, 256, 4900),
    "pixel-wise": (64, 16, 16, 36, 289, 5041),
    "packed": (64, 16, 16, 36, 289, 5041),
}


@given(deconvolutions(), st.integers(2, 16), st.integers(2, 16))
@settings(max_examples=60)
def test_every_mapping_of_every_deconvolution_is_integer_exact_and_gives_the_same_bits(
    model: onnx.ModelProto, weight_bits: int, input_bits: int
) -> None:
    inputs = feed(model)
    bits: dict[str, Any] = {"weight_bits": weight_bits, "input_bits": input_bits, "calibrate": inputs}
    first: dict[str, np.ndarray[Any, Any]] | None = None
    for options in MAPPINGS:
        program = redc.compile(model, **options, **bits)
        report = redc.diff(model, program=program, inputs=inputs)
        assert report.passed, report.table()
        outputs = runtime.run(program, inputs).outputs
        first = first or outputs
        assert np.array_equal(outputs["y"], first["y"]), options


@given(deconvolutions())
@settings(max_examples=15)
def test_both_engines_agree_on_compiled_programs(model: onnx.ModelProto) -> None:
    inputs = feed(model)
    for options in MAPPINGS:
        program = redc.compile(model, calibrate=inputs, **options)
        fast = runtime.run(program, inputs, observe=True)
        step = runtime.run(program, inputs, engine="step", observe=True)
        assert not fast.notes
        assert fast.counters == step.counters
        for name, codes in step.buffers.items():
            assert np.array_equal(fast.buffers[name], codes), (options, name)
        for name, sums in step.accumulators.items():
            assert np.array_equal(fast.accumulators[name], sums), (options, name)


@pytest.mark.parametrize("mapping", ROUNDS)
def test_the_papers_layers_take_exactly_these_rounds(mapping: str) -> None:
    for name, rounds in zip(SIX, ROUNDS[mapping], strict=True):
        assert _rounds(compiled(name, mapping=mapping)) == rounds, name


def test_fcn_deconv2_folded_by_2_takes_two_turns_per_block_and_half_the_arrays() -> None:
    assert _rounds(compiled("FCN_Deconv2", fold=2)) == 10082
    assert compiled("FCN_Deconv2", fold=2).crossbars["FCN_Deconv2"].count == 128


@pytest.mark.parametrize("name", SIX[:5])
@pytest.mark.parametrize("mapping", ROUNDS)
def test_the_papers_layers_are_integer_exact(name: str, mapping: str) -> None:
    report = redc.diff(name, mapping=mapping)
    assert report.passed, report.table()


def test_speed_up_over_zero_padding_is_the_number_of_phases_over_folds() -> None:
    """Within the cycles that the pipeline takes to fill and drain: far below 10 %."""
    for name in SIX:
        stride = 8 if name == "FCN_Deconv2" else 2
        slow = runtime.count.count(compiled(name, mapping="zero-padding"))[0][1].cycles
        fast = runtime.count.count(compiled(name))[0][1].cycles
        assert slow / fast == pytest.approx(stride**2, rel=0.1), name


@pytest.mark.parametrize("options", MAPPINGS)
def test_the_text_does_not_grow_with_the_feature_map(options: dict[str, Any]) -> None:
    lines = [
        isa.to_text(compiled(f"FCN_Deconv2@{size}", **options)).count("\n") for size in ("20x20", "200x200")
    ]
    assert lines[0] == lines[1] < 3000


def test_packed_fcn_deconv2_is_one_dense_matrix_of_84_by_1344() -> None:
    crossbar = compiled("FCN_Deconv2", mapping="packed").crossbars["FCN_Deconv2"]
    assert crossbar.count == 1
    assert crossbar.data_shape == (84, 1344)


def test_merged_analog_a_phase_has_one_matrix_and_folded_by_two_half_as_many() -> None:
    crossbar = compiled("FCN_Deconv2", merge="analog").crossbars["FCN_Deconv2"]
    assert (crossbar.count, crossbar.row_bands, crossbar.column_bands) == (64, 4, 1)
    folded = compiled("FCN_Deconv2", merge="analog", fold=2)
    crossbar = folded.crossbars["FCN_Deconv2"]
    assert (crossbar.count, crossbar.row_bands, crossbar.column_bands) == (32, 8, 1)
    assert _rounds(folded) == 2 * 5041


def test_blocks_that_start_at_the_pad_need_fewer_taps_and_at_worst_one_more_block_per_axis() -> None:
    """k4 s2 p1: taps -1, 0, 0, 1 from 0, but 0, 0, 1, 1 from -1."""
    zero = compiled("GAN_Deconv3", mapping="packed", origin="0")
    pad = compiled("GAN_Deconv3", mapping="packed", origin="pad")
    assert [p.crossbars["GAN_Deconv3"].row_bands for p in (zero, pad)] == [9, 4]
    assert [_rounds(p) for p in (zero, pad)] == [16, 25]
    for kernel, stride, dilation, pad_ in itertools.product((1, 3, 4, 5), (1, 2, 3, 5), (1, 2), range(4)):
        output = 6 * stride + (kernel - 1) * dilation + 1 - 2 * pad_
        if output < 1:
            continue
        pixels = kernel_pixels((kernel,), (stride,), (dilation,), (pad_,))
        problem = Problem(pixels, (kernel,), (stride,), (7,), output_size=(output,))
        tables = [
            packed(problem, Choice(origin=origin)) for origin in [*origins(problem), pad_origin(problem)]
        ]
        fewest = min(packed(problem, Choice(origin=(g,))).row_bands for g in range(stride))
        assert min(table.row_bands for table in tables) == fewest
        for table in tables:
            check(table, problem, transposed=True)
            assert math.prod(table.rounds) - math.prod(tables[0].rounds) in (0, 1)


@given(deconvolutions())
@settings(max_examples=15)
def test_auto_takes_no_more_cycles_than_any_mapping_and_gives_the_same_bits(model: onnx.ModelProto) -> None:
    inputs = feed(model)
    programs = [redc.compile(model, calibrate=inputs, **options) for options in [AUTO, *MAPPINGS]]
    cycles = [runtime.count.count(program)[0][1].cycles for program in programs]
    assert cycles[0] == min(cycles)
    outputs = [runtime.run(program, inputs).outputs["y"] for program in programs[:2]]
    assert np.array_equal(*outputs)


def test_auto_judges_each_layer_and_target_by_itself() -> None:
    """Of equal cycles the fewest arrays."""
    assert compiled("FCN_Deconv2", **AUTO).layers[0].mapping == "packed"
    chosen = compiled("GAN_Deconv3", target="isaac", **AUTO)
    every = [compiled("GAN_Deconv3", target="isaac", **o) for o in MAPPINGS]
    prices = [(runtime.count.count(p)[0][1].cycles, _arrays(p)) for p in (chosen, *every)]
    assert prices[0] == min(prices)


@pytest.mark.parametrize("target", ["red-65nm", "isaac"])
@pytest.mark.parametrize("minimise", ["energy", "area", "edp"])
def test_auto_minimises_what_is_asked(minimise: str, target: str) -> None:
    from isa.targets import load_target_file
    from runtime.cost import cost_of

    def price(options: dict[str, Any]) -> int:
        program = compiled("FCN_Deconv1", target=target, **options)
        cost = cost_of(program, runtime.count.count(program), load_target_file(target).costs)
        energy, area = cost.energy, cost.total_area
        assert energy is not None
        assert area is not None
        return {"energy": energy, "area": area, "edp": energy * cost.cycles}[minimise]

    unfolded = [options for options in MAPPINGS if "fold" not in options]
    assert price({**AUTO, "minimise": minimise}) <= min(map(price, unfolded))


def test_auto_refuses_to_minimise_what_nobody_published() -> None:
    from redc.errors import UserError

    with pytest.raises(UserError, match="no energy of this target is published"):
        compiled("FCN_Deconv1", target="prime", minimise="energy", **AUTO)


def test_no_mapping_needs_fewer_rounds_than_one_kernel_pixel_has_inputs() -> None:
    """The bound of docs/how-it-works.md, and blocks exceed it by at most the spread of taps."""
    for kernel, stride, pad, size in itertools.product((1, 3, 4, 5), (1, 2, 3), (0, 1, 2), (1, 4, 7)):
        output = (size - 1) * stride + kernel - 2 * pad
        if output < 1:
            continue
        problem = _problem(kernel, stride, pad, size, output)
        seen = max(sum(0 <= stride * i + p.reach[0] < output for i in range(size)) for p in problem.pixels)
        taps = [p.tap[0] for p in problem.pixels]
        blocks = math.prod(pixel_wise(problem, Choice()).rounds)
        assert seen <= blocks <= seen + max(taps) - min(taps) + 1


@pytest.mark.parametrize("mapping", DECONVOLUTION_MAPPINGS)
def test_a_table_with_one_wrong_row_does_not_pass_the_check(mapping: str) -> None:
    from dataclasses import replace

    problem = _problem(3, 2, 1, 4, 7)
    table = DECONVOLUTION_MAPPINGS[mapping](problem, Choice())
    check(table, problem, transposed=True)
    seat = table.placements[1]
    read = seat.reads[0]
    moved = replace(seat, reads=(Line(read.coefficient, read.constant + 1, read.divisor),))
    with pytest.raises(MappingError, match="formula"):
        check(_with(table, 1, moved), problem, transposed=True)
    with pytest.raises(MappingError, match="once"):
        check(replace(table, placements=table.placements[1:]), problem, transposed=True)
    if mapping == "zero-padding":
        with pytest.raises(MappingError, match="row band"):
            check(_with(table, 1, replace(seat, row_band=0)), problem, transposed=True)
    if mapping == "packed":
        with pytest.raises(MappingError, match="column band"):
            check(_with(table, 1, replace(seat, column_band=1 - seat.column_band)), problem, transposed=True)
    with pytest.raises(MappingError, match="seat"):
        check(_doubled(table), problem, transposed=True)
    if not table.overlap:
        with pytest.raises(MappingError, match="never"):
            check(replace(table, outputs=table.outputs[1:]), problem, transposed=True)
    with pytest.raises(MappingError, match="never"):
        check(replace(table, rounds=(table.rounds[0] - 1,)), problem, transposed=True)


def test_options_that_do_not_exist_are_refused_with_a_hint() -> None:
    from redc.errors import UserError
    from redc.passes import check_options

    for options, words in (
        (Options("pixelwise"), "unknown mapping"),
        (Options(fold=0), "fold"),
        (Options("zero-padding", fold=2), "has no --fold"),
        (Options("packed", merge="analog"), "has no --merge"),
        (Options(origin="pad"), "has no --origin"),
        (Options(minimise="area"), "has no --minimise"),
        (Options("auto", fold=2), "has no --fold"),
        (Options("auto", minimise="time"), "unknown minimise"),  # type: ignore[arg-type]
        (Options(merge="both"), "unknown merge"),  # type: ignore[arg-type]
        (Options("packed", origin="1"), "unknown origin"),  # type: ignore[arg-type]
        (Options(weight_bits=17), "17 bits"),
        (Options(input_bits=1), "1 bits"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            check_options(options)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("value", "meant"), [("pakced", "packed"), ("Packed", "packed"), ("RED", "pixel-wise")]
)
def test_a_misspelt_mapping_is_answered_in_python_as_on_the_command_line(value: str, meant: str) -> None:
    with pytest.raises(redc.UserError) as caught:
        redc.compile("GAN_Deconv3", mapping=value)
    assert f"did you mean '{meant}'? It is one of pixel-wise, packed" in str(caught.value.hint)


def _with(table: Any, position: int, seat: Any) -> Any:
    from dataclasses import replace

    seats = list(table.placements)
    seats[position] = seat
    return replace(table, placements=tuple(seats))


def _doubled(table: Schedule) -> Schedule:
    """A table whose kernel pixel 0 reads and writes what pixel 1 does, in its very seat."""
    from dataclasses import replace

    first, second, *rest = table.placements
    both = replace(second, pixel=replace(first.pixel, reach=second.pixel.reach))
    return replace(table, placements=(both, second, *rest))


def _problem(kernel: int, stride: int, pad: int, size: int, output: int) -> Problem:
    pixels = kernel_pixels((kernel,), (stride,), (1,), (pad,))
    return Problem(pixels, (kernel,), (stride,), (size,), (output,))


def compiled(name: str, **options: Any) -> Program:
    model = models.load(name)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return redc.compile(model, calibrate={"x": np.ones(shape, np.float32)}, **options)


def _arrays(program: Program) -> int:
    return sum(isa.geometry.arrays_of(x, program.target) for x in program.crossbars.values())


def _rounds(program: Program) -> int:
    return runtime.count.count(program)[0][1].rounds


def test_a_deconvolution_worked_by_hand_compiles_to_the_program_worked_by_hand() -> None:
    """k2 s2 on 2x2: four phases, one kernel pixel each, four rounds (docs/how-it-works.md)."""
    model = deconvolution((1, 1, 2, 2), (1, 1, 2, 2), bias=False, strides=[2, 2])
    text = isa.to_text(redc.compile(model, calibrate=feed(model)))
    body = [line.strip() for line in text.split("\n\n")[1].splitlines()[1:] if line.strip()]
    expected = ["loop n, 0, 1", "loop q0, 0, 2", "loop q1, 0, 2"]
    expected += [f"drive @ct[{i}, {j}], %x[n, q0, q1]" for i in (0, 1) for j in (0, 1)]
    expected += ["fire @ct"]
    for phase, (i, j) in enumerate(itertools.product((0, 1), repeat=2)):
        ends = ["2*q0", "2*q0 + 1"][i], ["2*q1", "2*q1 + 1"][j]
        expected += [
            f"sum v{phase}, @ct[{i}, {j}]",
            f'quant v{phase}, v{phase}, "ct.scale", low=0, high=255',
            f"store %y[n, {ends[0]}, {ends[1]}], v{phase}",
        ]
    expected = [e.replace("low=0, high=255", _codes(text)) for e in expected]
    assert body == [*expected, "end", "end", "end"]


def _codes(text: str) -> str:
    """The output's saturation as its declaration gives it: it depends on the seeded weights."""
    output = next(line for line in text.splitlines() if line.startswith(".output"))
    words = output.split()
    zero = int(words[words.index("zero") + 1])
    signed = words[2].startswith("i16")
    bounds = "low=-32768, high=32767" if signed else "low=0, high=65535"
    return (f"zero={zero}, " if zero else "") + bounds
