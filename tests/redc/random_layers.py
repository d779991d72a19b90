"""Attributes and shapes of random Conv and ConvTranspose layers that onnxruntime accepts."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def layers(draw, op):
    """Attributes, input shape and weight shape of a random layer that onnxruntime accepts."""
    rank = draw(st.integers(1, 3))
    axes = range(rank)
    size, kernel, stride, dilation = (
        [draw(st.integers(1, most)) for _ in axes] for most in (5, 5 if rank < 3 else 3, 4, 3)
    )
    groups, c, m, batch = (draw(st.integers(1, 3)) for _ in range(4))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    attributes = {"strides": stride, "dilations": dilation, "group": groups}
    auto = draw(st.sampled_from(["NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if op == "ConvTranspose":
        attributes["output_padding"] = [draw(st.integers(0, s - 1)) for s in stride]
        full = [
            s * (i - 1) + r + e
            for s, i, r, e in zip(stride, size, reach, attributes["output_padding"], strict=True)
        ]
        if draw(st.booleans()):
            most = [f + s - 1 - e for f, s, e in zip(full, stride, attributes["output_padding"], strict=True)]
            attributes["output_shape"] = [
                draw(st.integers(max(1, f - 7), top)) for f, top in zip(full, most, strict=True)
            ]
        shape = (groups * c, m, *kernel)
    else:
        full = [max(0, i - r) for i, r in zip(size, reach, strict=True)]
        shape = (groups * m, c, *kernel)
    if auto != "NOTSET":
        attributes["auto_pad"] = auto
        if op == "Conv" and auto.startswith("SAME"):
            attributes["dilations"] = [1] * rank  # all that onnxruntime supports
            # Strides that pass over pixels would need negative pads, and there onnxruntime 1.32
            # starts at 1 for a total of -3 but at 0 for -2: no definition to agree with.
            attributes["strides"] = [min(s, k) for s, k in zip(stride, kernel, strict=True)]
        elif op == "Conv":
            size = [max(i, r) for i, r in zip(size, reach, strict=True)]
    elif op == "ConvTranspose" and "output_shape" not in attributes:
        begin = [draw(st.integers(0, min(6, f - 1))) for f in full]
        attributes["pads"] = begin + [
            draw(st.integers(0, min(6, f - 1 - b))) for f, b in zip(full, begin, strict=True)
        ]
    elif op == "Conv":
        begin = [draw(st.integers(0, 6)) for _ in axes]
        need = [max(0, r - i - b) for r, i, b in zip(reach, size, begin, strict=True)]
        attributes["pads"] = begin + [draw(st.integers(n, n + 4)) for n in need]
    return attributes, (batch, groups * c, *size), shape
