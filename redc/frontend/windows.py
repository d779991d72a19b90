"""Output sizes and pads of convolutions and deconvolutions, as onnxruntime has them.

onnx.shape_inference is not asked: for ConvTranspose with `output_shape` or `auto_pad` it and
onnxruntime differ on where an odd pad goes, and the specification's oldest text sides with
neither.  Here onnxruntime is the judge (tests/redc/frontend/test_random_operators.py holds us to it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redc.frontend.rejected import Broken, Rejected

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """One number per spatial axis in each field; `pads` are those at the beginning."""

    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    pads: Sizes
    output: Sizes
    padded: Sizes = ()  # of a pool: where the padding behind the image ends


def deconvolution(size: Sizes, kernel: Sizes, attributes: Mapping[str, Any]) -> Window:
    """The window of a ConvTranspose over an input of spatial `size`.  Raises Rejected."""
    rank = len(size)
    stride, dilation, begin, end, auto_pad = _common(kernel, attributes)
    extra = _numbers(attributes, "output_padding", rank, 0, least=0)
    wanted = _numbers(attributes, "output_shape", rank, None, least=1)
    pads, output = [], []
    for a in range(rank):
        if extra[a] >= stride[a]:
            raise Broken(f"output_padding {extra[a]} on spatial axis {a} is not below the stride {stride[a]}")
        natural = (size[a] - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1 + extra[a]
        target = wanted[a] if wanted else size[a] * stride[a] if auto_pad.startswith("SAME") else None
        if target is None:
            pads.append(begin[a])
            output.append(natural - begin[a] - end[a])
            continue
        largest = natural - extra[a] + stride[a] - 1  # one more would belong to another input size
        if wanted and target > largest:
            raise Broken(
                f"output_shape {target} on spatial axis {a} is out of reach: {largest} is the largest"
            )
        total = max(0, natural - target)
        pads.append(total // 2 if auto_pad == "SAME_UPPER" else total - total // 2)
        output.append(target if wanted else natural - total)
    return _window(kernel, stride, dilation, pads, output)


def convolution(size: Sizes, kernel: Sizes, attributes: Mapping[str, Any]) -> Window:
    """The window of a Conv over an input of spatial `size`.  Raises Rejected."""
    stride, dilation, begin, end, auto_pad = _common(kernel, attributes)
    if auto_pad.startswith("SAME") and any(d > 1 for d in dilation):
        raise Broken(
            f"onnxruntime runs no Conv with auto_pad {auto_pad!r} and dilations {list(dilation)}",
            hint="state the pads explicitly",
        )
    pads, output = [], []
    for a, length in enumerate(size):
        reach = (kernel[a] - 1) * dilation[a] + 1
        if auto_pad.startswith("SAME"):
            out = -(-length // stride[a])
            total = (out - 1) * stride[a] + reach - length
            if total < -2:  # onnxruntime then skips the input's first pixels, by a rule of its own
                raise Rejected(
                    f"auto_pad {auto_pad!r} on spatial axis {a} would pad by {total}: the stride "
                    f"{stride[a]} leaves out too much of an input of {length}",
                    hint="state the pads explicitly",
                )
            total = max(0, total)
            pads.append(total // 2 if auto_pad == "SAME_UPPER" else total - total // 2)
            output.append(out)
        else:
            pads.append(begin[a])
            output.append((length + begin[a] + end[a] - reach) // stride[a] + 1)
    return _window(kernel, stride, dilation, pads, output)


def pooling(size: Sizes, attributes: Mapping[str, Any]) -> Window:
    """The window of a MaxPool or AveragePool over an input of spatial `size`.  Raises Rejected."""
    kernel = tuple(attributes.get("kernel_shape", ()))
    if len(kernel) != len(size) or any(k < 1 for k in kernel):
        raise Rejected(f"kernel_shape is {list(kernel)} for an image of {len(size)} axes")
    stride, dilation, begin, end, auto_pad = _common(kernel, attributes)
    if any(max(b, e) >= k for b, e, k in zip(begin, end, kernel, strict=True)):
        raise Rejected(f"its pads {[*begin, *end]} are not all below its kernel {list(kernel)}")
    if auto_pad.startswith("SAME") and any(d > 1 for d in dilation):
        raise Rejected(f"onnxruntime takes auto_pad {auto_pad!r} of a pool without its dilations")
    pads, output, padded = [], [], []
    for a, length in enumerate(size):
        reach = (kernel[a] - 1) * dilation[a] + 1
        if auto_pad.startswith("SAME") and (-(-length // stride[a]) - 1) * stride[a] + reach < length:
            raise Rejected(f"auto_pad {auto_pad!r} would skip pixels of spatial axis {a}")
        if auto_pad.startswith("SAME"):
            out = -(-length // stride[a])
            total = max(0, (out - 1) * stride[a] + reach - length)
            before = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        else:
            before, total = begin[a], begin[a] + end[a]
            room = length + total - reach
            out = room // stride[a] + 1
            if attributes.get("ceil_mode", 0) and room % stride[a]:
                out += (out * stride[a]) < length + before  # no window starts in the padding behind
        pads.append(before)
        output.append(out)
        padded.append(length + total - before)
    return replace(_window(kernel, stride, dilation, pads, output), padded=tuple(padded))


def _window(kernel: Sizes, stride: Sizes, dilation: Sizes, pads: list[int], output: list[int]) -> Window:
    if any(size < 1 for size in output):
        kind = Broken if min(output) < 0 else Rejected  # the host knows tensors without values
        raise kind(f"its output would have the spatial size {'x'.join(map(str, output))}: nothing is left")
    return Window(kernel, stride, dilation, tuple(pads), tuple(output))


def _common(kernel: Sizes, attributes: Mapping[str, Any]) -> tuple[Sizes, Sizes, Sizes, Sizes, str]:
    """(stride, dilation, pads at the beginning, pads at the end, auto_pad)."""
    rank = len(kernel)
    stated = _numbers(attributes, "kernel_shape", rank, None, least=1)
    if stated and stated != kernel:
        raise Broken(f"kernel_shape is {stated}, but the weight's kernel is {kernel}")
    auto_pad = attributes.get("auto_pad", "NOTSET")
    if auto_pad not in AUTO_PADS:
        raise Broken(f"auto_pad is {auto_pad!r}, not one of {', '.join(AUTO_PADS)}")
    pads = _numbers(attributes, "pads", 2 * rank, 0, least=0)
    if auto_pad != "NOTSET" and any(pads):
        raise Rejected(f"pads {list(pads)} and auto_pad {auto_pad!r} exclude each other")
    return (
        _numbers(attributes, "strides", rank, 1, least=1),
        _numbers(attributes, "dilations", rank, 1, least=1),
        pads[:rank],
        pads[rank:],
        auto_pad,
    )


def _numbers(
    attributes: Mapping[str, Any], name: str, count: int, default: int | None, *, least: int
) -> Sizes:
    """Attribute `name`, `count` numbers of at least `least`; if absent, `default` throughout, or ()."""
    values: Sequence[int] = attributes.get(name, ())
    if not values:
        return () if default is None else (default,) * count
    if len(values) != count:
        raise Broken(f"{name} has {len(values)} numbers, expected {count}")
    if any(v < least for v in values):
        raise Rejected(f"{name} is {list(values)}, but must be at least {least}")
    return tuple(values)
