"""YOLOX (Ge et al. 2021), from the ONNX files that its own exporter writes: a living YOLO for the paper's table."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd._onnxruntime import import_onnxruntime
from edgessd.classes.coco import COCO_CLASSES
from edgessd.detector import Runtime, default_threads
from edgessd.errors import ModelError, OptionError, printable
from edgessd.ops.outputs import DecodedOutputs
from edgessd.ops.priors import explicit_priors
from edgessd.spec import InputSpec, ModelSpec, OutputSpec, Thresholds

STRIDES = (8, 16, 32)
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class YoloxRuntime(Runtime):
    """A YOLOX file for COCO's 80 classes, in onnxruntime, as a runtime of level `decoded`.

    Its output [B, P, 85] has (x, y, w, h, objectness, classes) of every cell, centres relative to the cell and
    sizes as logarithms, both in units of the stride. Preprocessing as in its demo: BGR, 0..255, letterbox at the
    top left, filled with 114. A file of a fixed batch of one runs a batch picture by picture.
    """

    thread_safe = True

    def __init__(self, path: str | Path, provider: str = "cpu", threads: int | None = None) -> None:
        onnxruntime = import_onnxruntime()
        wanted = PROVIDERS.get(provider, provider)
        if wanted not in onnxruntime.get_available_providers():
            raise OptionError(f"provider {provider!r} is not in this onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or default_threads() or 0
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=list(dict.fromkeys([wanted, PROVIDERS["cpu"]]))
            )
        except Exception as error:  # onnxruntime raises a dozen types of its own
            raise ModelError(f"{printable(path)} cannot be loaded: {printable(error)}") from None
        self.name = f"onnxruntime ({self._session.get_providers()[0].removesuffix('ExecutionProvider').lower()})"
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or not all(isinstance(side, int) for side in shape[1:]):
            raise ModelError(f"{printable(path)} is no YOLOX file: it should have one input [B, 3, H, W]")
        self._input, self._batch = inputs[0].name, shape[0]
        height, width = int(shape[2]), int(shape[3])
        self._maps = [(height // stride, width // stride) for stride in STRIDES]
        cells = sum(rows * columns for rows, columns in self._maps)
        if len(outputs) != 1 or list(outputs[0].shape[1:]) != [cells, 5 + len(COCO_CLASSES)]:
            raise ModelError(
                f"{printable(path)} is no YOLOX file for COCO: its output should be [B, {cells}, 85], "
                f"not {printable(outputs[0].shape)}"
            )
        boxes = [[(stride / width, stride / height)] for stride in STRIDES]
        self.spec = ModelSpec(
            name=Path(path).stem,
            input=InputSpec(width=width, height=height, channels="BGR", resize="letterbox", pad_value=114),
            classes=COCO_CLASSES,
            priors=explicit_priors(self._maps, boxes),
            scores="sigmoid",
            output=OutputSpec(level="decoded"),
            defaults=Thresholds(score_threshold=0.3, iou_threshold=0.45, max_detections=100),
        )

    def infer(self, batch: NDArray[Any]) -> DecodedOutputs:
        """Run a batch [B, 3, H, W] float32."""
        parts = [batch] if not isinstance(self._batch, int) else np.split(batch, len(batch) // self._batch)
        found = np.concatenate([self._session.run(None, {self._input: part})[0] for part in parts])
        cells, strides = self._grid
        centres = (found[..., :2] + cells) * strides
        halves = np.exp(np.minimum(found[..., 2:4], 10)) * strides / 2
        sides = np.tile(np.array([self.spec.input.width, self.spec.input.height], np.float32), 2)
        boxes = np.concatenate([centres - halves, centres + halves], axis=-1) / sides
        return DecodedOutputs(found[..., 5:] * found[..., 4:5], boxes.astype(np.float32))

    @cached_property
    def _grid(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Column and row of every cell [P, 2], and its stride [P, 1]."""
        cells, strides = [], []
        for (rows, columns), stride in zip(self._maps, STRIDES, strict=True):
            y, x = np.mgrid[:rows, :columns]
            cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
            strides.append(np.full((rows * columns, 1), stride))
        return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)

    def free(self) -> None:
        """Free the session."""
        del self._session
