"""One program per rule that breaks it: the verifier names the rule, at its line and column.

Each case edits the same sound program and says where the error is.
"""

# ruff: noqa: E501  (a table of cases reads better in wide rows)
from __future__ import annotations

from dataclasses import dataclass

import pytest

import isa

SOUND = """\
.isa 1
.target "t" rows 4 columns 16 arrays 9 cell 2 encoding differential pair shared dac 1 adc 8 share 4 adders 1 vector 1 read 1 write 1
.input %x i8[2, 3, 2] scale 0.5 zero 0 onnx "x" f32[2, 2, 3] axis 1
.buffer %a i32[2, 6, 1]
.buffer %f i8[2, 6] scale 0.25 zero 0
.output %y i8[2, 6, 1] scale 0.25 zero 0 onnx "y" f32[2, 1, 6] axis 1
.const "w" i4[2, 4, 2] = 1, 2, 3, 4, 5, 6, 7, -7, -1, -2, -3, -4, -5, -6, -7, 7
.const "b" i8[1] = 5
.const "s" f32[1] = 0.5
.const "t" i8[256] = TABLE
.xbar @k[2] 2*2 x 2*1 i4 in i8 data "w" place 0
.layer "l"
clear %a
loop n, 0, 2
  loop q, 0, 3
    drive @k[0], %x?[n, q + 1]
    drive @k[0].1, %x[n, q]
    drive @k[1], %x?[n, (q + 3)/2]
    fire @k
    sum v0, @k[0], @k[1], "b"
    sum v1, @k[0].1, @k[1].1, "b"
    accum %a[n, 2*q], v0
    accum %a[n, 2*q + 1], v1
    quant v2, v0, "s", low=-128, high=127
    lookup v3, v2, "t", low=-128
    store %y[n, 2*q], v3
    store %y[n, 2*q + 1], v2
  end
end
reshape %f, %y
load v0, %f[1]
""".replace("TABLE", ", ".join(str(v) for v in range(-128, 128)))


@dataclass(frozen=True)
class Case:
    """Replace `old` by `new` (and what is in `also`); then there is an error `message` at `where`.

    `where` is a piece of text with a « before the place; or it stands in the line of `new`; or
    it is `new` itself.
    """

    name: str
    old: str
    new: str
    message: str
    where: str | None = None
    also: tuple[tuple[str, str], ...] = ()


HELD = ('.const "b"', '.const "h" i8[2, 6] = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -2\n.const "b"')

CASES = [
    # ------------------------------------------------ the table
    Case("unknown mnemonic", "fire @k", "frie @k", "unknown instruction frie", "frie"),
    Case("too many operands", "fire @k", "fire @k, v0", "fire takes 1 operand, not 2", "v0"),
    Case("missing operand", "store %y[n, 2*q], v3", "store %y[n, 2*q]", "store misses an operand: value"),
    Case("wrong kind of operand", "fire @k", "fire %a", "expected a crossbar group, found %a", "%a"),
    Case("missing attribute", ", low=-128, high=127", ", low=-128", "quant misses high=", "quant"),
    Case("attribute of wrong type", "high=127", "high=1.5", "high is an integer, not 1.5", "quant"),
    Case("attribute out of range", "high=127", "high=9000000000000000000", "high=9000000000000000000 is outside", "quant"),
    Case("register too high", "load v0", "load v65536", "registers are v0 to v65535", "v65536"),
    # ------------------------------------------------ names
    Case("unknown buffer", "%x[n, q]", "%z[n, q]", "no buffer is named %z"),
    Case("unknown crossbar", "fire @k", "fire @kk", "no crossbar is named @kk", "@kk"),
    Case("unknown constant", '@k[1], "b"', '@k[1], "c"', "no constant is named 'c'", '"c"'),
    Case("unknown weights", 'data "w"', 'data "v"', "no constant is named 'v'", ".xbar"),
    Case("unknown loop variable", "%x[n, q]", "%x[n, p]", "no loop around this has the variable p"),
    Case("loop variable used twice", "loop q, 0", "loop n, 0", "a loop around this one has the variable n", "  «loop n, 0, 3"),
    # ------------------------------------------------ addresses
    Case("too few indices", "%x[n, q]", "%x[q]", "%x takes 2 indices, not 1"),
    Case("above the buffer", "%x[n, q]", "%x[n, q + 1]", "index q + 1 reaches 3, outside 0 to 2"),
    Case("below the buffer", "%x[n, q]", "%x[n, q - 1]", "index q - 1 reaches -1, outside 0 to 2"),
    Case("negative coefficient", "%x[n, q]", "%x[n, 1 - q]", "index -q + 1 reaches -1"),
    Case("division without mark", "%x[n, q]", "%x[n, (q)/2]", "index (q)/2 may fall between two pixels"),
    Case("part beyond the vector", "%x[n, q]", "%x[n, q, 1:3]", "1:3 is no part of a vector of %x"),
    Case("empty part", "%x[n, q]", "%x[n, q, 1:1]", "1:1 is no part of a vector of %x"),
    Case("part of another length", "%x[n, q]", "%x[n, q, 0:1]", "this part of a vector of %x has 1 values, a band of @k 2"),
    Case("stored to a part of another length", "load v0, %f[1]", "load v0, %f[1]\nstore %f[0, 0:2], v0", "v0 has 6 values, this part of a vector of %f 2", "store %f[0, 0:2], «v0"),
    Case("address beyond 63 bits", "q + 1]", "4611686018427387904*q]", "leaves 63 bits", "%x?"),
    Case("no such sub-crossbar", "@k[1], %x", "@k[2], %x", "no sub-crossbar @k[2]: @k is one of [2]", "@k[2]"),
    Case("no such row band", "@k[0].1, %x", "@k[0].2, %x", "@k has row bands 0 to 1, not 2", "@k[0].2"),
    Case("no such column band", "sum v1, @k[0].1", "sum v1, @k[0].2", "@k has column bands 0 to 1", "@k[0].2"),
    Case("fire of one sub-crossbar", "fire @k", "fire @k[0]", "all sub-crossbars of a group fire", "@k[0]"),
    # ------------------------------------------------ drives and fires
    Case("drive never fired", "load v0", "drive @k[0], %f[0]\nload v0", "no fire @k uses this drive up", "drive"),
    Case(
        "drive fired in another block",
        "drive @k[1], %x?[n, (q + 3)/2]",
        "drive @k[1], %x?[n, (q + 3)/2]\nloop z, 0, 1\nend",
        "no fire @k uses this drive up before the loop",
        "«drive @k[0], %x?",
    ),
    Case("fire without drives", "fire @k", "fire @k\nfire @k", "nothing drives @k for this fire", "fire @k\nfire «@k"),
    Case("driven twice", "@k[0].1, %x", "@k[0], %x", "@k[0] is driven twice before a fire", "drive «@k[0], %x["),
    Case(
        "summed but not driven",
        "drive @k[1], %x?[n, (q + 3)/2]",
        "",
        "@k[1] was not driven for the last fire @k",
        "sum v0, @k[0], «@k[1]",
    ),
    Case("summed before any fire", "    fire @k\n", "", "no fire @k comes before this", "sum v0, «@k[0]"),
    Case("summed behind the loop", "load v0", "sum v0, @k[0]\nload v0", "no fire @k comes before this", "sum v0, «@k[0]\n"),
    Case("drive of another length", "%x[n, q]", "%f?[q]", "a vector of %f has 6 values, a band of @k 2 rows"),
    Case("drive beyond the input type", "in i8", "in i7", "%x less its zero is -128 to 127; @k is driven with i7", "%x"),
    # ------------------------------------------------ registers
    Case("read before written", "accum %a[n, 2*q], v0", "accum %a[n, 2*q], v9", "v9 is read before", "v9"),
    Case("read behind the loop", "load v0, %f[1]", "store %f[1], v0", "v0 is read before it is written", "v0"),
    Case(
        "carried by the loop",
        "sum v1, @k[0].1, @k[1].1",
        "sum v1, @k[0].1, v2",
        "v2 is read before it is written",
        "v2",
    ),
    # ------------------------------------------------ lengths and types
    Case("terms of two lengths", "load v0, %f[1]", "load v0, %f[1]\nload v1, %x[0, 0]\nsum v2, v0, v1", "values of lengths 2 and 6", "sum v2"),
    Case("constant of another length", "load v0, %f[1]", 'load v0, %f[1]\nmul v2, v0, "t"', "a constant of 256 values meets values of length 6", "mul"),
    Case("store of another length", "store %y[n, 2*q], v3", "load v9, %x[n, q]\nstore %y[n, 2*q], v9", "v9 has 2 values, a vector of %y 1", "store %y[n, 2*q], «v9"),
    Case("store beyond the type", "store %y[n, 2*q], v3", "store %y[n, 2*q], v0", "the value is -2551 to 2549, %y holds -128 to 127", "store"),
    Case("float constant where integers belong", '@k[1], "b"', '@k[1], "s"', "expected a vector of integers, 's' is float32[1]", '"s"'),
    Case("integers where floats belong", '"s", low', '"b", low', "expected a vector of f32, 'b' is int8[1]", '"b"'),
    Case("matrix where a vector belongs", '"t", low', '"w", low', "expected a vector of integers, 'w' is int8[2, 4, 2]", '"w"'),
    Case("low above high", "high=127", "high=-129", "low=-128 is above high=-129", "quant"),
    Case("table too short", '"t", low=-128', '"t", low=-127', "reach entries -1 to 254, the table has 0 to 255", "lookup"),
    Case("table too short for lines", '"t", low=-128', '"t", low=-383, shift=1', "reach entries 127 to 256", "lookup"),
    Case("shift too far", '"t", low=-128', '"t", low=-128, shift=32, fraction=31', "shift + fraction is at most 62", "lookup"),
    Case("a bound between floats", "high=127", "high=16777217", "high=16777217 is no number that float32 holds", "quant"),
    Case("negative scale", "f32[1] = 0.5", "f32[1] = -0.5", "scales are finite and not negative", "quant"),
    Case("beyond float32", "f32[1] = 0.5", "f32[1] = 3e38", "a value times its scale may leave float32", "quant"),
    Case("product beyond 64 bits", "load v0, %f[1]", 'load v0, %f[1]\nmul v0, v0, "t"\nmul v0, v0, "huge"', "this product may reach", '«mul v0, v0, "huge"'),
    # ------------------------------------------------ buffers
    Case("write to an input", "store %y[n, 2*q], v3", "store %x[n, q], v3", "%x is an input; it is not written", "%x"),
    Case("output never written", ".output %y", '.output %z i8[1] scale 1 zero 0 onnx "z" f32[1] axis 0\n.output %y', "no instruction writes output %z", ".output"),
    Case("read before a write", "load v0, %f[1]", "load v0, %g[1]", "%g is read before anything is written to it", "%g"),
    Case("accum without clear", "clear %a", "", "%a is not cleared before this", "accum «%a"),
    Case("accum into activations", "accum %a[n, 2*q], v0", "accum %f[n], v0", "%f is no accumulator buffer", "%f"),
    Case("accumulator overflow", ".buffer %a i32", ".buffer %a i12", "%a may come to hold -2551 to 2549, its type -2048 to 2047", "«accum"),
    Case("accumulator overflow by repetition", "accum %a[n, 2*q], v0", "accum %a[n, 0], v0", "%a may come to hold -7653 to 7647, its type -4096", "«accum", ((".buffer %a i32", ".buffer %a i13"),)),
    Case("clear in a loop", "  loop q, 0, 3", "  clear %a\n  loop q, 0, 3", "clear takes whole buffers and stands outside of loops", "clear"),
    Case("reshape to another type", "%f i8", "%f i9", "type of %y is i8, of %f i9", "reshape"),
    Case("reshape to another size", "%f i8[2, 6]", "%f i8[2, 7]", "number of values of %y is 12, of %f 14", "reshape"),
    Case("reshape with steps", "%f i8[2, 6] scale 0.25", '%f i8[2, 6] scale 0.25 steps "six"', "%f has steps per channel", "reshape", (('.const "b"', '.const "six" i8[6] = 1, 2, 3, 4, 5, 6\n.const "b"'),)),
    Case("steps of an output", "%y i8[2, 6, 1] scale 0.25", '%y i8[2, 6, 1] scale 0.25 steps "b"', "only a .buffer with a scale has steps", ".output %y"),
    Case("steps of another length", "%f i8[2, 6] scale 0.25", '%f i8[2, 6] scale 0.25 steps "b"', "steps are 6 integers, one per channel, 'b' is int8[1]", ".buffer %f"),
    Case("steps that are not there", "%f i8[2, 6] scale 0.25", '%f i8[2, 6] scale 0.25 steps "none"', "no constant is named 'none'", ".buffer %f"),
    # ------------------------------------------------ constants in buffers
    Case("a stored constant", "%f i8[2, 6] scale 0.25 zero 0", '%f i8[2, 6] scale 0.25 zero 0 holds "h"', "%f holds a constant; it is not written", "%f, %y", (HELD,)),
    Case("a constant for an output", "%y i8[2, 6, 1] scale 0.25 zero 0", '%y i8[2, 6, 1] scale 0.25 zero 0 holds "b"', "only a .buffer with a scale holds a constant", ".output %y"),
    Case("a constant without a scale", "%a i32[2, 6, 1]", '%a i32[2, 6, 1] holds "b"', "only a .buffer with a scale holds a constant", ".buffer %a"),
    Case("a constant of another shape", "%f i8[2, 6] scale 0.25 zero 0", '%f i8[2, 6] scale 0.25 zero 0 holds "b"', "%f holds integers of shape [2, 6], 'b' is int8[1]", ".buffer %f"),
    Case("a constant that does not fit", "%f i8[2, 6] scale 0.25 zero 0", '%f i4[2, 6] scale 0.25 zero 0 holds "h"', "'h' holds 9, no i4", ".buffer %f", (HELD,)),
    Case("a constant that is not there", "%f i8[2, 6] scale 0.25 zero 0", '%f i8[2, 6] scale 0.25 zero 0 holds "none"', "no constant is named 'none'", ".buffer %f"),
    # ------------------------------------------------ division
    Case("a large dividend", "quant v2, v0", "div v4, v0, v0, fraction=61\n    quant v2, v0", "beyond 2^62 - 1", "div"),
    Case("reshape into itself", "reshape %f, %y", "reshape %y, %y", "a buffer is not reshaped into itself", "reshape"),
    # ------------------------------------------------ loops
    Case("loop that never runs", "loop q, 0, 3", "loop q, 3, 3", "this loop never runs: 3 is not below 3"),
    Case("too many iterations", "loop q, 0, 3", "loop q, 0, 9007199254740993", "this body runs 18014398509481986 times"),
    # ------------------------------------------------ declarations
    Case("buffer without values", "%f i8[2, 6]", "%f i8[2, 0]", "every dimension of a buffer is at least 1", ".buffer"),
    Case("buffer too large", "%f i8[2, 6]", "%f i8[99999, 999999]", "a buffer holds at most 2^36 values", ".buffer"),
    Case("scale not positive", "scale 0.25 zero 0\n", "scale -1 zero 0\n", "a scale is positive and finite", ".buffer"),
    Case("scale zero in float32", "scale 0.25 zero 0\n", "scale 1e-60 zero 0\n", "a scale is positive and finite", ".buffer"),
    Case("zero of an accumulator", "%a i32[2, 6, 1]", "%a i32[2, 6, 1] zero 1", "a buffer without a scale has no zero", ".buffer"),
    Case("zero is no code", "scale 0.25 zero 0\n", "scale 0.25 zero 128\n", "zero 128 is no code of i8", ".buffer"),
    Case("codes beyond 64 bits", "%a i32", "%a u64", "codes of u64 less their zero do not fit", ".buffer"),
    Case("input without scale", "scale 0.5 zero 0 onnx", "onnx", "an input has a scale", ".input"),
    Case("output without tensor", ' onnx "y" f32[2, 1, 6] axis 1', "", "an output names its tensor", ".output"),
    Case("tensor of another shape", "f32[2, 1, 6] axis 1", "f32[2, 1, 6] axis 2", "the tensor with axis 2 at the end is [2, 1, 6], the buffer [2, 6, 1]", ".output"),
    Case("no such axis", "f32[2, 1, 6] axis 1", "f32[2, 1, 6] axis 3", "axis 3 is no axis of a tensor of 3 dimensions", ".output"),
    Case("codes that their integers lack", ' onnx "y" f32[2, 1, 6] axis 1', ' onnx "y" u8[2, 1, 6] axis 1', "u8 does not hold every code of i8", ".output"),
    Case("tensor of two inputs", ".buffer %a i32[2, 6, 1]", '.input %a i8[2] scale 1 zero 0 onnx "x" f32[2] axis 0', "%x is the input for tensor 'x' already"),
    Case("constant of another size", '"b" i8[1] = 5', '"b" i8[2] = 5', "[2] wants 2 values, there are 1", ".const"),
    Case("constant beyond its type", '"b" i8[1] = 5', '"b" i8[1] = 200', "200 is no i8: -128 to 127", ".const"),
    Case("constant beyond f32", "f32[1] = 0.5", "f32[1] = 1e39", "a value is no finite f32", ".const"),
    Case("crossbar without rows", "2*2 x 2*1", "2*0 x 2*1", "every size of a crossbar is at least 1", ".xbar"),
    Case("groups that do not divide", "2*1 i4", "2*1 groups 2 i4", "2 groups divide neither", ".xbar"),
    Case("weights of another shape", "@k[2] 2*2", "@k[2] 2*3", "'w' has shape [2, 4, 2], @k wants [2, 6, 2]", ".xbar"),
    Case("weights beyond their type", "2*1 i4", "2*1 i3", "'w' holds -7, no i3", ".xbar"),
    Case("weight that no pair holds", "i4[2, 4, 2] = 1,", "i4[2, 4, 2] = -8,", "'w' holds -8, which a differential pair of i4 cannot", ".xbar"),
    Case("weights that are floats", 'data "w"', 'data "s"', "weights are integers, 's' is float32", ".xbar"),
    Case("blank that is no place", 'data "w" place 0', 'data "w" place 0 blank [0, 2, 0]', "blank [0, 2, 0] is no place of @k", ".xbar"),
    Case("blank given twice", 'data "w" place 0', 'data "w" place 0 blank [0, 1, 0], [0, 1, 0]', "blanks come in order, each once", ".xbar"),
    Case("weight in a blank", 'data "w" place 0', 'data "w" place 0 blank [0, 0, 0]', "'w' holds a weight in blank [0, 0, 0]", ".xbar"),
    Case("weight wider than an array", "columns 16", "columns 3", "a weight of i4 needs 4 columns, an array of 't' has 3", ".xbar"),
    Case("beyond the last array", "arrays 9", "arrays 1", "@k lies on arrays 0 to 1, 't' has 1", ".xbar"),
    Case("two layers of one name", "load v0, %f[1]", '.layer "l"\nload v0, %f[1]', "two layers are called 'l'", '«.layer "l"\nload v0'),
    Case("a name with a zero byte", '.layer "l"', '.layer "l\\u0000"', "holds a zero byte", ".layer"),
    Case("a tensor with a zero byte", 'onnx "x"', 'onnx "x\\u0000"', "holds a zero byte", ".input"),
    Case("array used twice", ".layer", '.xbar @m[2] 4 x 2 i4 in i8 data "w" place 1\n.layer', "array 1 is taken by @k", ".xbar"),
]  # fmt: skip

EXTRA = '.buffer %g i8[2, 6] scale 0.25 zero 0\n.const "huge" i64[1] = 4611686018427387904\n.layer "l"'


def place(text: str, case: Case) -> tuple[int, int]:
    """Line and column of what the case points at."""
    where = case.where if case.where is not None else case.new
    before, mark, after = where.partition("«")
    if mark:
        start = text.index(before + after) + len(before)
    else:
        line = text.rfind("\n", 0, text.index(case.new.split("\n")[0])) + 1
        start = text.index(where, line)
    return text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)


def test_the_sound_program_verifies() -> None:
    isa.verify(isa.parse(SOUND))
    isa.verify(isa.parse(SOUND.replace('.layer "l"', EXTRA)))


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_a_broken_rule_is_named_in_its_place(case: Case) -> None:
    text = SOUND
    for old, new in ((case.old, case.new), *case.also):
        assert old in text
        text = text.replace(old, new, 1)
    if "%g" in case.new or "huge" in case.new:
        text = text.replace('.layer "l"', EXTRA)
    with pytest.raises(isa.ProgramError) as caught:
        isa.verify(isa.parse(text, "bad.red"))
    found = [d for d in caught.value.diagnostics if case.message in d.message]
    assert found, str(caught.value)
    assert (found[0].span.line, found[0].span.column) == place(text, case), str(caught.value)
    assert found[0].source == text.split("\n")[found[0].span.line - 1]
