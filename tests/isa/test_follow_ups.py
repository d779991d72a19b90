"""One mistake is one error: what only follows from it is not reported."""

from __future__ import annotations

from pathlib import Path

import pytest

import isa

GOLDEN = Path(__file__).parent.parent / "golden"


def errors(text: str) -> list[str]:
    with pytest.raises(isa.ProgramError) as caught:
        isa.verify(isa.parse(text))
    return [d.message for d in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("golden", "old", "new", "error"),
    [
        ("deconv_2x2", "fire @k", "fyre @k", "unknown instruction fyre"),
        ("deconv_2x2", "fire @k\n", "\n", "no fire @k comes before this"),
        ("deconv_2x2", "fire @k", "fire @kk", "no crossbar is named @kk"),
        ("deconv_2x2", "fire @k", "fire", "fire misses an operand: group"),
        ("deconv_2x2", "drive @k[0, 0], %x[0, q0, q1]", "drive @k[0, 0]", "drive misses an operand: source"),
        ("deconv_2x2", "drive @k[0, 0]", "drive @k[7, 0]", "no sub-crossbar @k[7, 0]: @k is one of [2, 2]"),
        ("deconv_2x2", "sum v0,", "summ v0,", "unknown instruction summ"),
        ("deconv_2x2", "loop q0, 0, 2", "loop r0, 0, 2", "no loop around this has the variable q0"),
        ("deconv_2x2", ".input  %x", ".input  %z", "no buffer is named %x"),
        ("deconv_2x2", ".xbar   @k", ".xbar   @m", "no crossbar is named @k"),
        ("padding_free", "clear %acc", "cleer %acc", "unknown instruction cleer"),
        ("padding_free", "clear %acc", "", "%acc is not cleared before this"),
        ("flatten", "reshape %f", "reshap %f", "unknown instruction reshap"),
        ("gemm", "store", "stoer", "unknown instruction stoer"),
        ("gemm", ".layer", ";", "code stands in a layer"),
        ("deconv_2x2", "  end\nend\n", "", "this loop and 1 inside have no `end`"),
        ("deconv_2x2", "  end\nend\n", "end\n", "this loop has no `end`"),
        ("deconv_2x2", ".isa    1", "fire @k", "a program starts with its version"),
        ("gemm", ".isa    1", '.isa    1\n.layer "early"', ".target stands before the first .layer"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_error(golden: str, old: str, new: str, error: str) -> None:
    text = (GOLDEN / f"{golden}.red").read_text(encoding="utf-8")
    assert old in text
    assert errors(text.replace(old, new, 1)) == [error]


def test_other_mistakes_are_still_reported() -> None:
    text = (GOLDEN / "deconv_2x2.red").read_text(encoding="utf-8")
    broken = (
        text.replace("fire @k", "fyre @k")
        .replace('"scale", low', '"skale", low')
        .replace("2*q1],", "4*q1],", 1)
    )
    assert [message.split()[0] for message in errors(broken)] == ["unknown", "no", "index"]
