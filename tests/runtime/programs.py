"""Small programs by hand, for tests that want to know every number."""

from __future__ import annotations

from isa.program import (
    Address,
    Affine,
    Array,
    Buffer,
    BufferRef,
    Constant,
    ConstRef,
    Crossbar,
    Instruction,
    IntType,
    Layer,
    Loop,
    Matrix,
    Node,
    Operand,
    Program,
    Register,
    Target,
)

U8, I8, I32 = IntType(False, 8), IntType(True, 8), IntType(True, 32)


def at(buffer: str, *indices: Affine, outside: bool = False) -> Address:
    return Address(buffer, indices, outside)


def var(name: str, factor: int = 1, constant: int = 0, divisor: int = 1) -> Affine:
    return Affine.of({name: factor}, constant, divisor)


def op(mnemonic: str, *operands: Operand, **attributes: int | float) -> Instruction:
    return Instruction(mnemonic, operands, tuple(sorted(attributes.items())))


def program(
    *layers: Layer,
    buffers: list[Buffer],
    crossbars: tuple[Crossbar, ...] = (),
    constants: tuple[Constant, ...] = (),
    target: Target | None = None,
    data: dict[str, Array] | None = None,
) -> Program:
    return Program(
        target=target or Target("hand"),
        buffers={b.name: b for b in buffers},
        crossbars={x.name: x for x in crossbars},
        constants={c.name: c for c in constants},
        layers=layers,
        data=data or {},
        data_file="hand.safetensors" if data else None,
    )


def deconvolution(size: int = 2) -> Program:
    """ConvTranspose, kernel 2, stride 2, one channel, on a `size` x `size` input, pixel-wise.

    Kernel [[1, 2], [3, 4]]; every output pixel is one input pixel times one weight.
    """
    kernel = Crossbar("k", (2, 2), 1, 1, 1, 1, 1, I8, U8, "w", 0)
    weights = Constant("w", "i8", (2, 2, 1, 1), (1, 2, 3, 4))
    scale = Constant("s", "f32", (1,), (1.0,))
    v0 = Register(0)
    body: list[Node] = [
        op("drive", Matrix("k", (i, j)), at("x", var("q0"), var("q1"))) for i in (0, 1) for j in (0, 1)
    ]
    body.append(op("fire", Matrix("k")))
    for i in (0, 1):
        for j in (0, 1):
            body.append(op("sum", v0, Matrix("k", (i, j))))
            body.append(op("quant", v0, v0, ConstRef("s"), low=0, high=255))
            body.append(op("store", at("y", var("q0", 2, i), var("q1", 2, j)), v0))
    nest = Loop("q0", 0, size, (Loop("q1", 0, size, tuple(body)),))
    x = Buffer("x", "input", U8, (size, size, 1), 1.0, tensor="x", onnx_shape=(1, size, size), axis=0)
    y = Buffer(
        "y", "output", U8, (2 * size, 2 * size, 1), 0.5,
        tensor="y", onnx_shape=(1, 2 * size, 2 * size), axis=0,
    )  # fmt: skip
    return program(Layer("ct", (nest,)), buffers=[x, y], crossbars=(kernel,), constants=(weights, scale))


def convert(
    kind: IntType, scale: float | None, zero: int = 0, shape: tuple[int, ...] = (4,), axis: int = 0
) -> Program:
    """One input copied to one output of the same type: what the doors do."""
    onnx = list(shape)
    onnx.insert(axis, onnx.pop())
    source = Buffer("x", "input", kind, shape, scale, zero, tensor="in", onnx_shape=tuple(onnx), axis=axis)
    result = Buffer("y", "output", kind, shape, scale, zero, tensor="out", onnx_shape=tuple(onnx), axis=axis)

    copy = op("reshape", BufferRef("y"), BufferRef("x"))
    return program(Layer("copy", (copy,)), buffers=[source, result])
