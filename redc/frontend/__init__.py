"""ONNX to the graph IR.  The only part of the compiler proper that imports onnx."""

from redc.frontend.importer import import_graph
from redc.frontend.load import load_model

__all__ = ["import_graph", "load_model"]
