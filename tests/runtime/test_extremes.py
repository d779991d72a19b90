"""Numbers at the ends of their types: fast computes what step computes, and step what integers give."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import isa
from runtime import fused_forms, fused_words, run
from runtime.products import partial_bound

TARGET = """\
.isa 1
.target "by hand" rows any columns any arrays any cell 2 encoding offset pair shared dac 1 adc 8 share 8 \
adders 1 vector 2 read 10 write 22
"""


def both(text: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The codes of %y, which both engines agree on."""
    program = isa.parse(TARGET + text)
    isa.verify(program)
    slow, fast = (run(program, {"x": x}, engine=engine).buffers["y"] for engine in ("step", "fast"))
    np.testing.assert_array_equal(fast, slow)
    return slow


@pytest.fixture
def _kernels_at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_forms, "WORTH", -1)
        patch.setattr(fused_words, "LANES", 2)
        yield


TABLE = np.arange(-128, 128) * 100
AFTER_A_LOOKUP = """\
.input %x i8[16,16] scale 1 zero 0 onnx "x" i8[16,16] axis 1
.output %y i64[16,16] scale 1 zero 0 onnx "y" i64[16,16] axis 1
.const "t" i16[256] = {table}
.const "c" {kind}[1] = {value}
.layer "l"
loop q, 0, 16
 load v0, %x[q]
 lookup v0, v0, "t", low=-128
 {mnemonic} v0, v0, "c"
 store %y[q], v0
end
"""


@pytest.mark.usefixtures("_kernels_at_once")
@pytest.mark.parametrize("mnemonic", ["div", "mul"])
@pytest.mark.parametrize(
    ("kind", "value"), [("i8", -(2**7)), ("i16", -(2**15)), ("i32", -(2**31)), ("u64", 2**49 - 1)]
)
def test_a_constant_after_a_lookup_is_wide_whatever_its_type(mnemonic: str, kind: str, value: int) -> None:
    words = {"table": ", ".join(map(str, TABLE)), "kind": kind, "value": value, "mnemonic": mnemonic}
    x = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    found = both(AFTER_A_LOOKUP.format(**words), x).ravel().tolist()
    if mnemonic == "mul":
        assert found == [entry * value for entry in TABLE.tolist()]
    else:
        halves = [(2 * abs(entry) + abs(value)) // (2 * abs(value)) for entry in TABLE.tolist()]
        assert [abs(quotient) for quotient in found] == halves


def test_a_sum_may_add_the_least_of_all_integers() -> None:
    text = """\
.input %x u4[2,2] scale 1 zero 0 onnx "x" u8[2,2] axis 1
.output %y i64[2,2] scale 1 zero 0 onnx "y" i64[2,2] axis 1
.const "w" i4[2,2] = 1, 2, 3, 4
.const "c" i64[1] = -9223372036854775808
.xbar @k 2 x 2 i4 in u4 data "w" place 0
.layer "l"
loop q, 0, 2
 drive @k, %x[q]
 fire @k
 sum v0, @k, "c"
 store %y[q], v0
end
"""
    found = both(text, np.array([[1, 2], [15, 0]], np.uint8))
    assert found.tolist() == [[7 - 2**63, 10 - 2**63], [15 - 2**63, 30 - 2**63]]


def test_weights_of_63_bits_are_multiplied_in_integers() -> None:
    largest = 2**62 - 1
    text = f"""\
.input %x u1[4,3] scale 1 zero 0 onnx "x" u8[4,3] axis 1
.output %y i64[4,1] scale 1 zero 0 onnx "y" i64[4,1] axis 1
.const "w" i63[3,1] = {largest}, {-largest}, 5
.xbar @k 3 x 1 i63 in u1 data "w" place 0
.layer "l"
loop q, 0, 4
  drive @k, %x[q]
  fire @k
  sum v0, @k
  store %y[q], v0
end
"""
    x = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 1]], np.uint8)
    assert both(text, x).ravel().tolist() == [5, largest, -largest, 5]


TWO_OF_ONE = """\
.layer "l"
loop q, 0, 4
  drive @k[0], %x[q]
  drive @k[1], %x[q]
  fire @k
  sum v0, @k[0], @k[1]
  store %y[q], v0
end
"""
"""Two sub-crossbars that read the same vector and are added."""


def test_weights_of_33_bits_that_read_one_vector_add_up() -> None:
    text = """\
.input %x u2[4,1] scale 1 zero 0 onnx "x" u8[4,1] axis 1
.output %y i64[4,1] scale 1 zero 0 onnx "y" i64[4,1] axis 1
.const "w" u33[2,1,1] = 3, 5
.xbar @k[2] 1 x 1 u33 in u2 data "w" place 0
"""
    x = np.arange(4, dtype=np.uint8)[:, None]
    assert both(text + TWO_OF_ONE, x).ravel().tolist() == [0, 8, 16, 24]


def test_weights_whose_sums_leave_64_bits_are_bounded_in_pythons_integers() -> None:
    text = f"""\
.input %x i1[4,1] scale 1 zero 0 onnx "x" i8[4,1] axis 1
.output %y i64[4,1] scale 1 zero 0 onnx "y" i64[4,1] axis 1
.const "w" i64[2,1,1] = {2**62}, {2**62}
.xbar @k[2] 1 x 1 i64 in i1 data "w" place 0
"""
    x = np.array([[-1], [0], [-1], [0]], np.int8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert both(text + TWO_OF_ONE, x).ravel().tolist() == [-(2**63), 0, -(2**63), 0]
    weights = np.array([[2**62, -(2**63)], [2**62, 2**40]], np.int64)
    assert partial_bound(weights, -5, 3) == 5 * 2**63 + 3 * 2**40


@pytest.mark.usefixtures("_kernels_at_once")
def test_a_table_may_lie_at_the_end_of_all_integers() -> None:
    text = f"""\
.input %x u2[16,4] scale 1 zero 0 onnx "x" u8[16,4] axis 1
.output %y i8[16,4] scale 1 zero 0 onnx "y" i8[16,4] axis 1
.const "t" i8[4] = 5, 6, 7, -128
.const "c" i64[1] = {2**63 - 4}
.layer "l"
loop q, 0, 16
 load v0, %x[q]
 sum v0, v0, "c"
 lookup v0, v0, "t", low={2**63 - 4}
 store %y[q], v0
end
"""
    x = np.tile(np.arange(4, dtype=np.uint8), (16, 1))
    assert both(text, x).tolist() == [[5, 6, 7, -128]] * 16
