"""The clients, one entry each: what it needs, how it is called, which files it gets, how near it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .outcome import Limits

CV = "opencv-python-headless==4.14.0.94"
CV_NUMPY1 = ("opencv-python-headless==4.10.0.84", "numpy<2")

SAME = Limits()
OWN_RESIZE = Limits(score=0.2, iou=0.9)
OLD_KERNELS = Limits(score=0.05, iou=0.9)
"""tflite-runtime 2.14 computes int8 by other kernels than the LiteRT that edgessd is compared in."""
FRIGATE = Limits(at=0.4, most=20)


@dataclass(frozen=True)
class Client:
    """A program that knows nothing of edgessd.

    needs: packages, the client itself first; python: the version that they need. script: in scripts/, and its options.
    files: names of `files.make`. limits: of all files, own: of single ones. fails: files that it is known not to take
    or to answer wrongly, and why.
    """

    name: str
    needs: tuple[str, ...]
    script: tuple[str, ...]
    files: tuple[str, ...]
    limits: Limits = SAME
    own: Mapping[str, Limits] = field(default_factory=dict)
    fails: Mapping[str, str] = field(default_factory=dict)
    python: str = ""

    @property
    def version(self) -> str:
        """Of the client, without the package's name."""
        return self.needs[0].replace("@", "==").rpartition("==")[2]

    def limits_of(self, file: str) -> Limits:
        return self.own.get(file, self.limits)


def _files(*levels: str, suffix: str) -> tuple[str, ...]:
    return tuple(f"{precision}-{level}.{suffix}" for precision in ("int8", "float") for level in levels)


ONNX = _files("nms", "decoded", suffix="onnx")
TFLITE = _files("nms", "decoded", suffix="tflite")
FINAL_TFLITE = _files("nms", suffix="tflite")
RUNTIME_214 = ("tflite-runtime==2.14.0", *CV_NUMPY1)

CLIENTS = (
    Client("onnxruntime", ("onnxruntime==1.32.0", CV), ("use_onnxruntime.py",), ONNX),
    Client("onnxruntime", ("onnxruntime==1.18.1", *CV_NUMPY1), ("use_onnxruntime.py",), ONNX, python="3.11"),
    Client(
        "onnxruntime-node",
        ("npm:onnxruntime-node@1.30.0",),
        ("use_onnxruntime.cjs", "onnxruntime-node"),
        _files("nms", suffix="onnx"),
    ),
    Client(
        "onnxruntime-web",
        ("npm:onnxruntime-web@1.30.0",),
        ("use_onnxruntime.cjs", "onnxruntime-web"),
        _files("nms", suffix="onnx"),
    ),
    Client("OpenCV", ("opencv-python-headless==5.0.0.93",), ("use_opencv.py",), ONNX),
    Client("OpenCV", (CV,), ("use_opencv.py",), ONNX),
    Client("OpenCV", ("opencv-python-headless==4.10.0.84",), ("use_opencv.py",), ONNX),
    Client("LiteRT Interpreter", ("ai-edge-litert==2.3.0", CV), ("use_tflite.py",), TFLITE),
    Client("LiteRT CompiledModel", ("ai-edge-litert==2.3.0", CV), ("use_compiled_model.py",), TFLITE),
    Client(
        "tflite-runtime",
        RUNTIME_214,
        ("use_tflite.py",),
        TFLITE,
        own={file: OLD_KERNELS for file in TFLITE if file.startswith("int8")},
        python="3.11",
    ),
    Client(
        "tflite-support",
        ("tflite-support==0.4.4", *CV_NUMPY1),
        ("use_tflite_support.py",),
        FINAL_TFLITE,
        OWN_RESIZE,
        python="3.11",
    ),
    Client("MediaPipe Tasks", ("mediapipe==1.2.3",), ("use_mediapipe.py",), FINAL_TFLITE, OWN_RESIZE),
    Client("OpenVINO", ("openvino==2026.4.1", CV), ("use_openvino.py",), _files("nms", "decoded", suffix="xml")),
    Client("Model API", ("openvino-model-api==0.4.7",), ("use_model_api.py",), _files("nms", suffix="xml")),
    Client(
        "Frigate, cpu",
        RUNTIME_214,
        ("use_frigate.py", "cpu"),
        ("int8-nms.tflite", "float-nms-uint8.tflite"),
        FRIGATE,
        python="3.11",
    ),
    Client(
        "pycoral, scrypted",
        RUNTIME_214,
        ("use_pycoral.py",),
        ("int8-nms.tflite",),
        OLD_KERNELS,
        python="3.11",
    ),
)
