"""The bytes of a one-node ONNX model, written by hand.

`runtime` does not import `onnx`; the fast engine wants one operator of onnxruntime,
MatMulInteger.  ONNX files are protocol buffers: a message is a run of fields, each a varint key
(field number * 8 + wire type) followed by a varint (type 0) or by a length and bytes (type 2).
Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from isa.program import Array

UINT8, INT8, INT32 = 2, 3, 6
_TYPES = {"uint8": UINT8, "int8": INT8, "int32": INT32}


def matmul_integer(weights: Array, zero: int) -> bytes:
    """y:int32[rows, N] = (x:uint8[rows, K] - zero) @ (weights[K, N] - weight zero).

    int8 weights have zero point 0; uint8 weights have zero point 128.
    """
    inputs = ["x", "w", "zero"]
    constants = _tensor("w", weights.shape, weights.dtype.name, weights.tobytes())
    constants += _tensor("zero", (), "uint8", bytes([zero]))
    if weights.dtype.name == "uint8":
        inputs.append("weight_zero")
        constants += _tensor("weight_zero", (), "uint8", bytes([128]))
    node = b"".join(_text(1, name) for name in inputs) + _text(2, "y") + _text(4, "MatMulInteger")
    graph = _bytes(1, node) + _text(2, "product") + constants
    graph += _bytes(11, _value("x", UINT8, weights.shape[0]))
    graph += _bytes(12, _value("y", INT32, weights.shape[1]))
    opset = _text(1, "") + _number(2, 10)
    return _number(1, 7) + _bytes(7, graph) + _bytes(8, opset)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _tensor(name: str, shape: tuple[int, ...], dtype: str, raw: bytes) -> bytes:
    """GraphProto.initializer."""
    dims = b"".join(_number(1, size) for size in shape)
    return _bytes(5, dims + _number(2, _TYPES[dtype]) + _text(8, name) + _bytes(9, raw))


def _value(name: str, element: int, columns: int) -> bytes:
    """ValueInfoProto of a matrix with an open number of rows."""
    dims = _bytes(1, _text(2, "rows")) + _bytes(1, _number(1, columns))
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, element) + _bytes(2, dims)))
