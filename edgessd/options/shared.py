"""Options of several programs, so that they read and behave the same."""

from __future__ import annotations

from edgessd.options.declare import Option

MODEL = Option("A bundled model's name or a model file.", short="m", metavar="MODEL", file="there")
RUNTIME = Option("onnx, litert, openvino or torch; default: the one for the file.", metavar="RUNTIME")
THREADS = Option("Threads of the engine; default: one for each core that may be used.")
SPEC = Option("JSON description, for a model file that carries none.")
LABELS = Option(
    "Class names for another tool's TFLite detector: a text file, one name a line, or coco90.", file="there"
)
SCORE_THRESHOLD = Option("Only scores above this, 0..1; default: the model's own.")
CLASSES = Option("Only these classes.", commas=True, metavar="CLASS[,CLASS]")
