"""The oracle's products are exact: for every width, and against two other ways to compute them."""

from __future__ import annotations

import functools

import numpy as np
import onnxruntime
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from redc.oracle.multiply import LONGEST, Window, convolve, deconvolve, planes, product_1x1


@given(st.integers(1, 17), st.integers(1, 17), st.booleans(), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_products_of_any_width_are_exact(x_bits, w_bits, signed, groups, seed):
    rng = np.random.default_rng(seed)
    low = -(1 << (x_bits - 1)) if signed else 0
    x = rng.integers(low, low + (1 << x_bits), (2, 3 * groups, 5))
    w = rng.integers(-(1 << (w_bits - 1)), 1 << (w_bits - 1), (4 * groups, 3))
    grouped = np.einsum("ngcp,gmc->ngmp", x.reshape(2, groups, 3, 5), w.reshape(groups, 4, 3))
    np.testing.assert_array_equal(product_1x1(x, w, groups), grouped.reshape(2, -1, 5))


@given(st.lists(st.integers(-(2**17), 2**17), min_size=1, max_size=20))
def test_planes_of_bytes_add_up_to_the_values(values):
    array = np.array(values)
    parts = planes(array)
    total = sum((p.bytes.astype(np.int64) - p.zero) << p.shift for p in parts)
    np.testing.assert_array_equal(total, array)
    assert all(p.bytes.dtype == np.uint8 and 0 <= p.zero <= 255 for p in parts)


def test_a_sum_too_long_for_int32_is_split():
    depth = 2 * LONGEST + 17
    x = np.full((1, depth, 1), 255)
    w = np.full((1, depth), 255)
    assert product_1x1(x, w, 1).item() == depth * 255 * 255 > 2**31


@given(st.data())
def test_overlap_add_equals_convolution_over_inserted_zeros(data):
    """Two exact ways to a deconvolution: ours, and ConvInteger with a flipped kernel."""
    rank = data.draw(st.integers(1, 3))
    size, kernel, stride, dilation = (
        tuple(data.draw(st.integers(1, most)) for _ in range(rank)) for most in (5, 5, 4, 3)
    )
    groups, seed = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 99))
    full = [s * (i - 1) + d * (k - 1) + 1 for i, k, s, d in zip(size, kernel, stride, dilation, strict=True)]
    pads = tuple(data.draw(st.integers(0, f - 1)) for f in full)
    output = tuple(data.draw(st.integers(1, f - p)) for f, p in zip(full, pads, strict=True))
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (2, 2 * groups, *size))
    w = rng.integers(-127, 128, (groups, 2, 3, *kernel))

    spread = np.zeros(
        (2, 2 * groups, *(s * (i - 1) + 1 for i, s in zip(size, stride, strict=True))), np.int64
    )
    spread[:, :, *(slice(None, None, s) for s in stride)] = x
    around = [(d * (k - 1), d * (k - 1)) for d, k in zip(dilation, kernel, strict=True)]
    spread = np.pad(spread, [(0, 0), (0, 0), *around])
    flipped = np.flip(w, tuple(range(3, w.ndim))).swapaxes(1, 2).reshape(3 * groups, 2, *kernel)
    session = _conv_integer(rank, dilation, groups)
    feeds = {"x": (spread + 128).astype(np.uint8), "w": (flipped + 128).astype(np.uint8)}
    (everything,) = session.run(None, feeds)
    cropped = everything[:, :, *(slice(p, p + o) for p, o in zip(pads, output, strict=True))]

    result = deconvolve(x, w, Window(stride, dilation, pads, output))
    np.testing.assert_array_equal(result, cropped)


@given(st.data())
def test_a_convolution_equals_its_definition(data):
    rank = data.draw(st.integers(1, 2))
    size, kernel, stride, dilation = (
        tuple(data.draw(st.integers(1, most)) for _ in range(rank)) for most in (6, 4, 3, 3)
    )
    pads = tuple(data.draw(st.integers(0, 3)) for _ in range(rank))
    output = tuple(data.draw(st.integers(1, 4)) for _ in range(rank))
    groups = data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(-300, 300, (2, 2 * groups, *size))
    w = rng.integers(-300, 300, (groups, 2, 3, *kernel))
    expected = np.zeros((2, groups, 3, *output), np.int64)
    grouped = x.reshape(2, groups, 2, *size)
    for o in np.ndindex(*output):
        for k in np.ndindex(*kernel):
            i = tuple(s * a + d * b - p for s, a, d, b, p in zip(stride, o, dilation, k, pads, strict=True))
            if all(0 <= a < n for a, n in zip(i, size, strict=True)):
                expected[:, :, :, *o] += np.einsum("ngc,gcm->ngm", grouped[:, :, :, *i], w[:, :, :, *k])
    result = convolve(x, w, Window(stride, dilation, pads, output))
    np.testing.assert_array_equal(result, expected.reshape(result.shape))


def test_chunks_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(3)
    x, w = rng.integers(0, 256, (1, 4, 6, 6)), rng.integers(-127, 128, (2, 2, 3, 3, 3))
    down, up = Window((2, 2), (1, 1), (1, 1), (3, 3)), Window((2, 2), (1, 1), (1, 1), (11, 11))
    whole = convolve(x, w, down), deconvolve(x, w, up)
    monkeypatch.setattr("redc.oracle.multiply.CHUNK", 100)
    np.testing.assert_array_equal(convolve(x, w, down), whole[0])
    np.testing.assert_array_equal(deconvolve(x, w, up), whole[1])


@functools.cache
def _conv_integer(rank, dilation, groups):
    """ConvInteger with both zero points 128."""
    node = helper.make_node("ConvInteger", ["x", "w", "z", "z"], ["y"], dilations=dilation, group=groups)
    values = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [None] * (rank + 2)) for name in ("x", "w")
    ]
    result = helper.make_tensor_value_info("y", TensorProto.INT32, [None] * (rank + 2))
    zero = helper.make_tensor("z", TensorProto.UINT8, [], [128])
    graph = helper.make_graph([node], "conv", values, [result], [zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
