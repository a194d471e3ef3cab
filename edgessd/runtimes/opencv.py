"""OpenCV's own engine, for the ONNX files of layout `opencv`, which no other engine runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.errors import ModelError, one_line, printable
from edgessd.model_file.contract import check_batch, check_input, check_names, check_outputs, to_outputs
from edgessd.model_file.readers.facts import FileFacts
from edgessd.ops.outputs import Outputs
from edgessd.runtimes.base import Runtime
from edgessd.runtimes.threads import default_threads
from edgessd.spec import ModelSpec


class OpenCvRuntime(Runtime):
    """An ONNX file with a fixed batch of one, in `cv2.dnn`.

    facts: of the file. spec: instead of the one inside. threads: OpenCV has them for the whole process, so that the
    last one to say a number is heard; None lowers them to `default_threads`.
    """

    fixed_batch = 1

    def __init__(
        self, path: Path, facts: FileFacts, *, spec: ModelSpec | None = None, threads: int | None = None
    ) -> None:
        self.spec = spec or facts.spec(path)
        check_input(self.spec, [each.shape or () for each in facts.inputs], [each.dtype for each in facts.inputs], path)
        shapes = {each.name: each.shape or () for each in facts.outputs}
        check_names(self.spec, list(shapes), path)
        check_outputs(self.spec, [shapes[name] for name in self.spec.output.names], path)
        self.name = f"opencv {cv2.__version__} (cpu)"
        threads = threads or min(cv2.getNumThreads(), default_threads() or cv2.getNumThreads())
        cv2.setNumThreads(threads)
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise ModelError(f"{printable(path)} cannot be loaded by OpenCV: {one_line(error)}") from None

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch [1, *spec.input.tensor_shape]."""
        check_batch(self.fixed_batch, len(batch))
        self._net.setInput(np.ascontiguousarray(batch))
        answers = self._net.forward(list(self.spec.output.names))
        return to_outputs(self.spec, [np.array(answer) for answer in answers])

    def free(self) -> None:
        """Free the network."""
        del self._net
