"""The oracle: what every crossbar layer must compute, to the last bit, found without the compiler.

It starts from the original ONNX file, the text of the program (which tensor a layer makes, the
types, scales and zeros of its buffers, the bits of its weights) and the interpreter's own input
codes.  It reads no weight, bias or scale of the program's data, and shares no code with the
importer, the passes, the mappings or the backend.
"""

from redc.oracle.given import real
from redc.oracle.layer import Expected, LayerText, Oracle
from redc.oracle.network import Network, OracleError, describe
from redc.oracle.reference import run_model

__all__ = ["Expected", "LayerText", "Network", "Oracle", "OracleError", "describe", "real", "run_model"]
