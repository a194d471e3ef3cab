"""Whether the fast int8 kernels of onnxruntime and OpenVINO are exact on this processor, for a given file.

On x86 without VNNI the kernels for uint8 activations and int8 weights add pairs of products in 16 bits and
saturate: a detector falls from COCO AP 30 to 1.4. Files that edgessd writes have weights with which that cannot happen
(`saturation_free` in their spec). For others both engines have exact ways, which cost time. So the processor is
asked once, by a convolution whose right answer is known.
"""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import numpy as np

from edgessd._onnxruntime import import_onnxruntime
from edgessd.spec import ModelSpec

# QLinearConv, 64 channels of 255 times weights of 127, with the output's scale chosen so that the answer is 200.
# Made with onnx.helper: x [1, 64, 4, 4] uint8, w [16, 64, 1, 1] int8 by ConstantOfShape.
_MODEL = (
    "CAg6/wEKLwoBcxIBdyIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARADKgF/QgF2oAEECi4KAXgKA29uZQoBegoBdwoDb25l"
    "CgJ6cwoCeXMKAXoSAXkiC1FMaW5lYXJDb252EgVwcm9iZSopCAQQB0IBc0ogEAAAAAAAAABAAAAAAAAAAAEAAAAAAAAAAQAAAAAA"
    "AAAqDRABQgNvbmVKBAAAgD8qCBACQgF6SgEAKgkQA0ICenNKAQAqDBABQgJ5c0oEzewhRlobCgF4EhYKFAgCEhAKAggBCgIIQAoC"
    "CAQKAggEYhsKAXkSFgoUCAISEAoCCAEKAggQCgIIBAoCCARCBAoAEBI="
)
_ANSWER = 200


def needs_exact(spec: ModelSpec, *, given: bool) -> bool:
    """Say whether a file must be run the exact way here. Where its spec was `given` from outside nothing is known."""
    proved = spec.quantization is not None and spec.quantization.saturation_free
    return (given or (spec.precision == "int8" and not proved)) and saturates()


@cache
def saturates() -> bool:
    """Run the probe, once in a process: a few milliseconds."""
    onnxruntime = import_onnxruntime()
    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(base64.b64decode(_MODEL), options, providers=["CPUExecutionProvider"])
    [answer] = session.run(None, {"x": np.full((1, 64, 4, 4), 255, np.uint8)})
    return bool(np.any(answer != _ANSWER))
