"""Static counts: what an execution would count, without one."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

import pytest

from isa.instructions import EVENTS
from isa.program import Address, Affine, Buffer, BufferRef, Crossbar, Layer, Loop, Matrix, Node, Register
from runtime import Counters, InputError
from runtime.count import count
from runtime.counters import total
from tests.runtime.programs import I8, I32, U8, deconvolution, op, program


def test_counters_are_the_events_of_the_table_and_cycles() -> None:
    assert list(asdict(Counters())) == ["cycles", *EVENTS]


def test_counters_add_and_scale() -> None:
    a, b = Counters(cycles=1, rounds=2), Counters(cycles=10, sums=5)
    assert 3 * a + b == a * 3 + b == Counters(cycles=13, rounds=6, sums=5)
    assert total([("a", a), ("b", b)]) == a + b
    assert total([]) == Counters()
    assert Counters.of(4, {"drives": 3}).as_dict()["drives"] == 3


def test_a_billion_rounds_are_counted_at_once() -> None:
    billion = 10**9
    small, huge = deconvolution(3), deconvolution(3)
    (outer,) = huge.layers[0].body
    assert isinstance(outer, Loop)
    wide = Layer("ct", (replace(outer, first=0, last=billion),))
    huge = replace(huge, layers=(wide,), buffers={n: _stretch(b, billion) for n, b in huge.buffers.items()})
    begin = time.perf_counter()
    (_, many), (_, few) = count(huge)[0], count(small)[0]
    assert time.perf_counter() - begin < 0.5
    assert many.rounds == 3 * billion
    assert many.drives * 9 == few.drives * 3 * billion
    assert many.cycles - 3 * billion * 64 == few.cycles - 9 * 64


def _stretch(buffer: Buffer, rows: int) -> Buffer:
    scale = buffer.shape[0] // 3
    return replace(buffer, shape=(scale * rows, *buffer.shape[1:]))


def test_a_hopelessly_entangled_address_is_an_error_with_its_layer() -> None:
    indices = (Affine.of({"a": 1, "b": 1, "c": 1}), Affine.of({"a": 1, "b": -1, "c": 2}))
    huge = 10**9
    nest: tuple[Node, ...] = (op("drive", Matrix("m"), Address("x", indices, True)), op("fire", Matrix("m")))
    for name in "abc":
        nest = (Loop(name, 0, huge, nest),)
    x, y = Buffer("x", "input", U8, (9, 9, 1), 1.0), Buffer("y", "output", I32, (1,))
    one = Crossbar("m", (), 1, 1, 1, 1, 1, I8, U8, "w", 0)
    tangled = program(Layer("knot", (*nest, op("clear", BufferRef("y")))), buffers=[x, y], crossbars=(one,))
    with pytest.raises(InputError, match="share the axes") as caught:
        count(tangled)
    assert caught.value.place == 'layer "knot"'


def test_whole_buffers_pass_a_port_bit_by_bit() -> None:
    y = Buffer("y", "output", U8, (3, 5, 7), 1.0)
    x = Buffer("x", "input", U8, (7,), 1.0)
    layer = Layer("l", (op("clear", BufferRef("y")), op("load", Register(0), Address("x", ()))))
    assert count(program(layer, buffers=[x, y])) == [
        ("l", Counters(cycles=3 * 5 * 7, instructions=2, buffer_reads=7 * 8, buffer_writes=3 * 5 * 7 * 8))
    ]
