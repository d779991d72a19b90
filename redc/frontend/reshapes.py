"""Importers of what moves no value: Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout."""

from __future__ import annotations

from redc.frontend.builder import Builder, channel_axis
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.frontend.views import flattened, reshaped, squeezed, unsqueezed
from redc.ir.graph import ReshapeOp


def import_reshape(build: Builder, node: Node) -> None:
    """Reshape, its target shape a constant."""
    wanted = build.integers(node, 1, "target shape")
    allow_zero = bool(node.attributes.get("allowzero", 0))
    _add(build, node, reshaped(build.data(node).shape, wanted, allow_zero))


def import_flatten(build: Builder, node: Node) -> None:
    """Flatten to two axes."""
    _add(build, node, flattened(build.data(node).shape, node.attributes.get("axis", 1)))


def import_squeeze(build: Builder, node: Node) -> None:
    """Squeeze; axes are an attribute until opset 12, an input since."""
    _add(build, node, squeezed(build.data(node).shape, _axes(build, node)))


def import_unsqueeze(build: Builder, node: Node) -> None:
    """Unsqueeze; axes are an attribute until opset 12, an input since."""
    _add(build, node, unsqueezed(build.data(node).shape, _axes(build, node)))


def import_identity(build: Builder, node: Node) -> None:
    """Identity."""
    _add(build, node, build.data(node).shape)


def import_dropout(build: Builder, node: Node) -> None:
    """Dropout does nothing at inference; its mask is not there to be read."""
    name = node.input(2)
    if name and name not in build.constants:
        raise Rejected("its training_mode depends on the input's values", tensor=name)
    if name and build.constants[name].any():
        raise Rejected("it is in training mode", hint="export the model for inference (model.eval())")
    _add(build, node, build.data(node).shape)


def _axes(build: Builder, node: Node) -> tuple[int, ...] | None:
    if node.input(1):
        return build.integers(node, 1, "list of axes")
    axes = node.attributes.get("axes")
    return None if axes is None else tuple(axes)


def _add(build: Builder, node: Node, shape: tuple[int, ...]) -> None:
    """A ReshapeOp; the channel axis stays where it is if the shape does."""
    x = build.data(node)
    axis = x.axis if shape == x.shape else channel_axis(len(shape))
    op = ReshapeOp(build.op_name(node), node.op, x.name, node.outputs[0], (node.label,))
    build.add(op, shape, axis)
