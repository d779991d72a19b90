"""What redc leaves to onnxruntime about windows."""

from __future__ import annotations

import pytest

from redc.frontend.rejected import Rejected
from redc.frontend.windows import convolution


def test_same_pads_that_would_skip_pixels_are_left_to_onnxruntime() -> None:
    """Below -2 in all, onnxruntime moves the window by a rule that its documents do not give."""
    assert convolution((4,), (2,), {"auto_pad": "SAME_UPPER", "strides": [4]}).pads == (0,)
    with pytest.raises(Rejected, match="leaves out too much"):
        convolution((5,), (1,), {"auto_pad": "SAME_UPPER", "strides": [5]})
