"""The rows that Frigate's ONNX detector reads, in place on an `onnx.ModelProto`; it needs onnx, and no torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgessd.export.onnx_file import Nodes, check, expect_outputs
from edgessd.spec import LAYOUTS, ModelSpec

COLUMNS = (0, 3, 4, 5, 6, 2, 1)
"""Of layout detections7: image, x1, y1, x2, y2, score, label."""


def append_rows(proto: Any, spec: ModelSpec) -> None:
    """Turn a graph of layout detections7 into one with one output [K, 7], in place.

    A row is (image, x1, y1, x2, y2, score, label), best first, the box in pixels of the input. Behind the last
    detection stands label -1. These are the rows of YOLO-NAS's flat export, which Frigate's ONNX detector takes over
    as they are under `model_type: yolonas`. Source of the contract: Frigate's documentation of its object detectors,
    and its ONNX detector (MIT), version 0.17.
    """
    from onnx import TensorProto, helper

    expect_outputs(proto, LAYOUTS["detections7"].names)
    most = proto.graph.output[0].type.tensor_type.shape.dim[2].dim_value
    width, height = spec.input.width, spec.input.height
    nodes = Nodes(proto, "frigate")
    picked = nodes.op("Gather", ["detections", nodes.constant("columns", COLUMNS, np.int64)], "picked", axis=3)
    pixels = nodes.constant("pixels", [1, width, height, width, height, 1, 1], np.float32)
    scaled = nodes.op("Mul", [picked, pixels], "scaled")
    rows = nodes.op("Reshape", [scaled, nodes.constant("shape", [most, 7], np.int64)], "found_rows")
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info(rows, TensorProto.FLOAT, [most, 7]))
    check(proto)
