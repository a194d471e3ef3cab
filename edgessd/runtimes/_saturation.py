"""Whether onnxruntime's fast int8 kernel is exact on this processor.

On x86 without VNNI the kernel for uint8 activations and int8 weights adds pairs of products in 16 bits and
saturates: a detector falls from COCO AP 30 to 1.4. onnxruntime has exact kernels for such processors behind an
option, which where VNNI is present only costs time (SSDLite-MobileNetV2: 10.6 ms instead of 4.3). So it is asked
once, by a convolution whose right answer is known.
"""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import numpy as np

# QLinearConv, 64 channels of 255 times weights of 127, with the output's scale chosen so that the answer is 200.
# Made with onnx.helper: x [1, 64, 4, 4] uint8, w [16, 64, 1, 1] int8 by ConstantOfShape.
_MODEL = (
    "CAg6/wEKLwoBcxIBdyIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARADKgF/QgF2oAEECi4KAXgKA29uZQoBegoBdwoDb25l"
    "CgJ6cwoCeXMKAXoSAXkiC1FMaW5lYXJDb252EgVwcm9iZSopCAQQB0IBc0ogEAAAAAAAAABAAAAAAAAAAAEAAAAAAAAAAQAAAAAA"
    "AAAqDRABQgNvbmVKBAAAgD8qCBACQgF6SgEAKgkQA0ICenNKAQAqDBABQgJ5c0oEzewhRlobCgF4EhYKFAgCEhAKAggBCgIIQAoC"
    "CAQKAggEYhsKAXkSFgoUCAISEAoCCAEKAggQCgIIBAoCCARCBAoAEBI="
)
_ANSWER = 200


@cache
def saturates() -> bool:
    """Run the probe, once in a process: a few milliseconds."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(base64.b64decode(_MODEL), options, providers=["CPUExecutionProvider"])
    [answer] = session.run(None, {"x": np.full((1, 64, 4, 4), 255, np.uint8)})
    return bool(np.any(answer != _ANSWER))
