"""ONNX to the graph IR.  The only part of the compiler proper that imports onnx."""

from redc.frontend.bind import bind_inputs, graph_inputs, needed_values
from redc.frontend.importer import import_graph, taken_branches
from redc.frontend.load import load_model

__all__ = ["bind_inputs", "graph_inputs", "import_graph", "load_model", "needed_values", "taken_branches"]
