"""Element types that cross a border of the program: their names in the assembly, their numbers in ONNX."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from isa.program import RAW_TYPES

ELEMENTS: Mapping[str, int] = {
    name: int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))) for name, dtype in RAW_TYPES.items()
}
NAMES: Mapping[int, str] = {number: name for name, number in ELEMENTS.items()}
