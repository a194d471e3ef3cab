"""The clients, one entry each: what it needs, how it is called, which files it gets, how near it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .outcome import Limits

CV = "opencv-python-headless==4.14.0.94"
CV_NUMPY1 = ("opencv-python-headless==4.10.0.84", "numpy<2")

SAME = Limits()
FRIGATE = Limits(at=0.4, most=20)
OTHER_KERNELS = Limits(score=0.05, iou=0.9, slack=0.1)
OWN_RESIZE = Limits(score=0.1, iou=0.9, slack=0.2)

INT8 = "int8 kernels that round otherwise than those of edgessd's runtime"
KERNELS = "int8 kernels of 2023, which round otherwise than LiteRT's"
RESIZE = "its own resize: the network sees a picture shifted by up to half a pixel"
TOP_K = "lacks operators of the suppression in the file (TopK, NonMaxSuppression): take layout `opencv`"
THREADS = "its 3 threads: TensorFlow Lite's suppression never returns class 3 then (motorcycle)"
SATURATES = "casts the uint8 input with saturation at 127"


@dataclass(frozen=True)
class Client:
    """A program that knows nothing of edgessd.

    needs: packages, the client itself first; python: the version that they need. script: in scripts/, and its options.
    files: names of `files.make`. limits: of all files, own: of single ones. differs: by file or for all (""), why what
    it finds may be farther off than the limits; it must be found all the same. fails: files that it is known not to
    take or to answer wrongly, and why.
    """

    name: str
    needs: tuple[str, ...]
    script: tuple[str, ...]
    files: tuple[str, ...]
    limits: Limits = SAME
    own: Mapping[str, Limits] = field(default_factory=dict)
    differs: Mapping[str, str] = field(default_factory=dict)
    fails: Mapping[str, str] = field(default_factory=dict)
    python: str = ""

    @property
    def version(self) -> str:
        """Of the client, without the package's name."""
        return self.needs[0].replace("@", "==").rpartition("==")[2]

    def limits_of(self, file: str) -> Limits:
        return self.own.get(file, self.limits)

    def reason(self, file: str) -> str:
        """Return why it may differ, "" where it must not."""
        return self.differs.get(file, self.differs.get("", ""))


def _files(*levels: str, suffix: str) -> tuple[str, ...]:
    return tuple(f"{precision}-{level}.{suffix}" for precision in ("int8", "float") for level in levels)


def _int8(value: Any, *levels: str, suffix: str) -> dict[str, Any]:
    """Return one value for the int8 files."""
    return {f"int8-{level}.{suffix}": value for level in levels}


BOTH = ("nms", "decoded")
ONNX = _files(*BOTH, suffix="onnx")
TFLITE = _files(*BOTH, suffix="tflite")
FINAL_ONNX = _files("nms", suffix="onnx")
FINAL_TFLITE = _files("nms", suffix="tflite")
OPENCVS = ("opencv-python-headless==5.0.0.93", CV, "opencv-python-headless==4.10.0.84")
RUNTIME_214 = ("tflite-runtime==2.14.0", *CV_NUMPY1)
OLD_OPENCV = {
    "own": _int8(OTHER_KERNELS, *BOTH, suffix="onnx"),
    "fails": {"int8-nms.onnx": TOP_K, "float-nms.onnx": TOP_K, "int8-decoded.onnx": SATURATES},
}

CLIENTS = (
    Client("onnxruntime", ("onnxruntime==1.32.0", CV), ("use_onnxruntime.py",), ONNX),
    Client("onnxruntime", ("onnxruntime==1.18.1", *CV_NUMPY1), ("use_onnxruntime.py",), ONNX, python="3.11"),
    Client(
        "onnxruntime-node",
        ("npm:onnxruntime-node@1.30.0",),
        ("use_onnxruntime.cjs", "onnxruntime-node"),
        FINAL_ONNX,
    ),
    Client(
        "onnxruntime-web",
        ("npm:onnxruntime-web@1.30.0",),
        ("use_onnxruntime.cjs", "onnxruntime-web"),
        FINAL_ONNX,
    ),
    Client(
        "OpenCV",
        ("opencv-python-headless==5.0.0.93",),
        ("use_opencv.py",),
        ONNX,
        own=_int8(OTHER_KERNELS, *BOTH, suffix="onnx"),
        differs=_int8(INT8, *BOTH, suffix="onnx"),
    ),
    Client("OpenCV", (CV,), ("use_opencv.py",), ONNX, **OLD_OPENCV),
    Client("OpenCV", ("opencv-python-headless==4.10.0.84",), ("use_opencv.py",), ONNX, **OLD_OPENCV),
    *(
        Client("OpenCV DetectionModel", (package,), ("use_detection_model.py",), ("float-opencv.onnx",))
        for package in OPENCVS
    ),
    Client("LiteRT Interpreter", ("ai-edge-litert==2.3.0", CV), ("use_tflite.py",), TFLITE),
    Client("LiteRT CompiledModel", ("ai-edge-litert==2.3.0", CV), ("use_compiled_model.py",), TFLITE),
    Client(
        "tflite-runtime",
        RUNTIME_214,
        ("use_tflite.py",),
        TFLITE,
        own=_int8(OTHER_KERNELS, *BOTH, suffix="tflite"),
        differs=_int8(KERNELS, *BOTH, suffix="tflite"),
        python="3.11",
    ),
    Client(
        "tflite-support",
        ("tflite-support==0.4.4", *CV_NUMPY1),
        ("use_tflite_support.py",),
        FINAL_TFLITE,
        OWN_RESIZE,
        differs={**_int8(KERNELS, "nms", suffix="tflite"), "": RESIZE},
        python="3.11",
    ),
    Client(
        "MediaPipe Tasks",
        ("mediapipe==1.2.3",),
        ("use_mediapipe.py",),
        FINAL_TFLITE,
        OWN_RESIZE,
        differs={"": RESIZE},
    ),
    Client(
        "MediaPipe Tasks, picture resized first",
        ("mediapipe==1.2.3",),
        ("use_mediapipe.py", "resized"),
        FINAL_TFLITE,
        Limits(pixels=4.5),
    ),
    Client("OpenVINO", ("openvino==2026.4.1", CV), ("use_openvino.py",), _files(*BOTH, suffix="xml")),
    Client(
        "Model API",
        ("openvino-model-api==0.4.7",),
        ("use_model_api.py",),
        _files("nms", suffix="xml"),
        OWN_RESIZE,
        differs={"": RESIZE},
    ),
    Client(
        "Frigate, cpu",
        RUNTIME_214,
        ("use_frigate.py", "cpu"),
        ("int8-nms.tflite", "float-nms-uint8.tflite"),
        FRIGATE,
        fails=dict.fromkeys(("int8-nms.tflite", "float-nms-uint8.tflite"), THREADS),
        python="3.11",
    ),
    Client(
        "Frigate, cpu, `num_threads: 1`",
        RUNTIME_214,
        ("use_frigate.py", "cpu-one-thread"),
        ("int8-nms.tflite", "float-nms-uint8.tflite"),
        FRIGATE,
        own=_int8(replace(OTHER_KERNELS, at=0.4, most=20), "nms", suffix="tflite"),
        differs=_int8(KERNELS, "nms", suffix="tflite"),
        python="3.11",
    ),
    Client(
        "Frigate, openvino",
        ("openvino==2026.4.1", CV),
        ("use_frigate.py", "openvino"),
        ("int8-detections7.xml", "float-detections7.xml"),
        FRIGATE,
        fails={"float-detections7.xml": "wants the input as [1, W, H, 3]: float files have [1, 3, H, W]"},
    ),
    Client(
        "Frigate, onnx",
        ("onnxruntime==1.32.0", CV),
        ("use_frigate.py", "onnx"),
        ("int8-frigate.onnx",),
        FRIGATE,
    ),
    Client(
        "pycoral, scrypted",
        RUNTIME_214,
        ("use_pycoral.py",),
        ("int8-nms.tflite",),
        OTHER_KERNELS,
        differs={"": KERNELS},
        python="3.11",
    ),
    Client(
        "jetson-inference",
        ("onnxruntime==1.32.0", CV),
        ("use_jetson.py",),
        ("float-jetson.onnx",),
        Limits(iou=0.75, at=0.5),
        differs={"": "joins overlapping boxes to one that holds them, where edgessd keeps the best"},
    ),
)
