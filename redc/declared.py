"""Shapes as a model's file declares them, for people."""

from __future__ import annotations

import onnx


def shape_text(tensor: onnx.TypeProto.Tensor) -> str:
    """`[N, 16, 64]`: numbers, an open axis by the model's own name for it, `?` where it has none."""
    sizes = (
        str(d.dim_value) if d.WhichOneof("value") == "dim_value" and d.dim_value >= 0 else d.dim_param or "?"
        for d in tensor.shape.dim
    )
    return f"[{', '.join(sizes)}]"
