"""A node against ONNX's own declaration of its operator, at the model's opset."""

from __future__ import annotations

import onnx

from redc.errors import did_you_mean
from redc.frontend.nodes import Node
from redc.frontend.rejected import Broken, Rejected


def check_schema(node: Node, opset: int) -> None:
    """Reject unknown, mistyped or missing attributes, and inputs or outputs too few or too many."""
    try:
        schema = onnx.defs.get_schema(node.op, opset, "")
    except onnx.defs.SchemaError:
        raise Rejected(f"operator set {opset} has no {node.op}") from None
    for name, kind in node.kinds.items():
        if name not in schema.attributes:
            raise Rejected(
                f"{node.op} has no attribute {name!r} in operator set {opset}",
                hint=did_you_mean(name, schema.attributes),
            )
        found = onnx.AttributeProto.AttributeType.Name(kind)
        if getattr(onnx.defs.OpSchema.AttrType, found, None) != schema.attributes[name].type:
            wanted = str(schema.attributes[name].type).rpartition(".")[2].lower()
            raise Rejected(f"attribute {name!r} is of type {found.lower()}, expected {wanted}")
    lost = [name for name, a in schema.attributes.items() if a.required and name not in node.kinds]
    if lost:
        raise Rejected(f"its attribute {lost[0]!r} is missing")
    present = len(node.inputs)
    if not schema.min_input <= present <= schema.max_input:
        raise Rejected(f"it has {present} inputs, expected {schema.min_input} to {schema.max_input}")
    for index in range(schema.min_input):
        if not node.inputs[index]:
            raise Rejected(f"its input {schema.inputs[index].name!r} is left out")
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    if schema.inputs and schema.inputs[-1].option == variadic and "" in node.inputs[len(schema.inputs) - 1 :]:
        raise Broken("one of the inputs that it takes any number of is left out")
    if not node.outputs or not node.outputs[0]:
        raise Rejected("it has no output")
    if len(node.outputs) > schema.max_output:
        raise Rejected(f"it has {len(node.outputs)} outputs, at most {schema.max_output} are allowed")
