"""A coarse term of a sum, maximum or minimum leaves the finer ones their bits."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from redc.ir.graph import Codes
from redc.passes.terms import TERM_BITS, common_terms
from tests.redc.reference import run_onnx


@pytest.mark.parametrize(
    ("op", "constant", "reach"),
    [
        ("Add", np.zeros((2, 3)), 0.01),
        ("Sub", np.zeros((2, 3)), 1.0),
        ("Mean", np.zeros((2, 3)), 0.01),
        ("Min", np.linspace(50, 100, 6).reshape(2, 3), 1.0),
        ("Max", -np.linspace(5e5, 1e6, 6).reshape(2, 3), 1.0),
        ("Min", np.full((2, 1), 3.4e38), 1.0),
    ],
)
def test_a_coarse_constant_does_not_erase_the_other_operand(
    op: str, constant: np.ndarray, reach: float
) -> None:
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "c"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(constant.astype(np.float32), "c")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    samples = np.random.default_rng(0).uniform(-reach, reach, (128, 3)).astype(np.float32)
    x = {"x": samples[:2]}
    program = redc.compile(model, calibrate={"x": samples}, host=False)
    found, step = runtime.run(program, x).outputs["y"], program.outputs[0].scale
    assert step is not None
    assert np.abs(found - run_onnx(model, x)["y"]).max() <= step
    assert np.array_equal(found, runtime.run(program, x, engine="step").outputs["y"])


def test_multipliers_of_wide_codes_into_wide_codes_leave_the_sum_in_60_bits() -> None:
    source, out = Codes(36, True, 1e-9), Codes(30, True, 1e-6)
    real = np.array([3.0, -0.2]) * source.scale
    terms = common_terms("sum", [real], np.zeros(()), [source], out, None)
    assert all(abs(int(m)) << 35 <= 1 << TERM_BITS for m in terms.multipliers[0])
    np.testing.assert_allclose(terms.multipliers[0] * terms.step, real, rtol=2.0**-20)
