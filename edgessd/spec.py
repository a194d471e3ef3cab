"""What a model file says about itself.

A `ModelSpec` travels inside every model file (ONNX `metadata_props`, safetensors header, ...) as
JSON, so that a file alone is enough to detect. Decoding is strict: unknown fields, wrong types and
values out of bounds raise `SpecError` with the path of the field. All structs are frozen and
hashable.

Shapes here and elsewhere: B batch, P priors, C classes (background not counted), H and W pixels.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from edgessd.errors import SpecError

SCHEMA = 1
METADATA_KEY = "edgessd.spec"

Side = Annotated[int, Meta(ge=1, le=8192)]
Positive = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Triple = tuple[float, float, float]

MAX_PRIORS = 1_000_000


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Common settings of all parts of a spec."""


def _finite(name: str, values: tuple[float, ...]) -> None:
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{name} must be finite, not {values}")


class InputSpec(_Part, frozen=True):
    """The input tensor and how a picture becomes one.

    A picture is resized to `width` x `height`, its channels are put into the order `channels`, and
    every value p of 0..255 becomes `(p - mean) / scale`. An integer input tensor then holds
    `round(x / quantization_scale) + quantization_zero_point`; where that is p itself,
    preprocessing is the resize and nothing else.

    resize: `stretch` ignores the aspect ratio (SSD's way); `letterbox` keeps it, puts the picture
    at the top left and fills the rest with `pad_value`.
    """

    width: Side
    height: Side
    channels: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["float32", "uint8", "int8"] = "float32"
    mean: Triple = (0.0, 0.0, 0.0)
    scale: Triple = (1.0, 1.0, 1.0)
    resize: Literal["stretch", "letterbox"] = "stretch"
    interpolation: Literal["nearest", "linear", "area", "cubic"] = "linear"
    pad_value: Annotated[int, Meta(ge=0, le=255)] = 114
    quantization_scale: Positive | None = None
    quantization_zero_point: Annotated[int, Meta(ge=-128, le=255)] | None = None

    def __post_init__(self) -> None:
        _finite("mean", self.mean)
        _finite("scale", self.scale)
        if 0.0 in self.scale:
            raise ValueError("scale must not be 0")
        quantized = self.quantization_scale is not None
        if quantized != (self.quantization_zero_point is not None):
            raise ValueError("quantization_scale and quantization_zero_point belong together")
        if quantized != (self.dtype != "float32"):
            raise ValueError(f"dtype {self.dtype} {'has no' if quantized else 'needs a'} quantization scale")
        if self.quantization_scale is not None:
            _finite("quantization_scale", (self.quantization_scale,))

    @property
    def tensor_shape(self) -> tuple[int, int, int]:
        """Shape of one picture in the tensor, without the batch: (3, H, W) or (H, W, 3)."""
        if self.layout == "NCHW":
            return (3, self.height, self.width)
        return (self.height, self.width, 3)


class PriorLevel(_Part, frozen=True):
    """The priors of one feature map.

    boxes: (width, height) of each prior of a cell, in units of the input (1.0 = its whole side).
    step: (horizontal, vertical) distance of neighbouring centres in the same units; None means
        (1 / columns, 1 / rows), so that cell i has its centre at (i + 0.5) / f.
    receptive_field: side of the input region that one cell sees, in pixels, measured when the
        model was built; equal to the input's side where it is at least as large. None if unknown.
    """

    rows: Side
    columns: Side
    boxes: Annotated[tuple[tuple[Positive, Positive], ...], Meta(min_length=1, max_length=256)]
    step: tuple[Positive, Positive] | None = None
    receptive_field: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        for box in self.boxes:
            _finite("boxes", box)
        if self.step is not None:
            _finite("step", self.step)

    @property
    def count(self) -> int:
        """Number of priors of this level."""
        return self.rows * self.columns * len(self.boxes)


class PriorSpec(_Part, frozen=True):
    """All priors (default boxes, anchors), in the order level, row, column, box.

    rule: who made the list; it explains the numbers and is not needed to use them.
    clip: cut the corners of every prior to the picture, as Caffe's `clip` does.
    exclude_boundary: ignore priors that cross the picture's border (the paper's table 3). The
        network still predicts them; matching and detection leave them out.
    """

    levels: Annotated[tuple[PriorLevel, ...], Meta(min_length=1, max_length=64)]
    rule: Literal["paper", "caffe", "torchvision", "tensorflow", "multibox", "kmeans", "explicit"] = "explicit"
    clip: bool = False
    exclude_boundary: bool = False

    def __post_init__(self) -> None:
        if self.count > MAX_PRIORS:
            raise ValueError(f"{self.count} priors are more than the {MAX_PRIORS} that edgessd accepts")

    @property
    def count(self) -> int:
        """Number P of priors that the network predicts."""
        return sum(level.count for level in self.levels)


class CoderSpec(_Part, frozen=True):
    """Variances of the box coder, for centres and sizes: 0.1 and 0.2 in the paper's code.

    Offsets (tx, ty, tw, th) and a prior (cx, cy, w, h) make the box with the centre
    (cx + tx * center_variance * w, ...) and the size (w * exp(tw * size_variance), ...).
    """

    center_variance: Positive = 0.1
    size_variance: Positive = 0.2

    def __post_init__(self) -> None:
        _finite("variances", (self.center_variance, self.size_variance))


class OutputSpec(_Part, frozen=True):
    """What the graph returns.

    level `raw`: class logits [B, P, C + 1] (softmax, background first) or [B, P, C] (sigmoid), and
    offsets [B, P, 4]. `decoded` and `nms` are the levels that contain more of the postprocessing.
    names: of the output tensors, in that order.
    """

    level: Literal["raw", "decoded", "nms"] = "raw"
    names: tuple[str, ...] = ("logits", "offsets")


class Thresholds(_Part, frozen=True):
    """Defaults of detection; every one can be overridden by the caller.

    max_candidates: how many of the best priors of each class enter the suppression (Caffe's and
    torchvision's top-k).
    """

    score_threshold: Fraction = 0.3
    iou_threshold: Fraction = 0.45
    max_detections: Annotated[int, Meta(ge=1, le=100_000)] = 100
    max_candidates: Annotated[int, Meta(ge=1, le=1_000_000)] = 400


class QuantizationSpec(_Part, frozen=True):
    """How an integer file was made."""

    method: Literal["ptq", "qat"]
    tool: str
    activations: Literal["uint8", "int8"] = "uint8"
    weights: Literal["int8"] = "int8"
    per_channel: bool = True
    calibration_images: Annotated[int, Meta(ge=1)] | None = None
    calibration_sha256: str | None = None
    kept_float: tuple[str, ...] = ()


class Provenance(_Part, frozen=True):
    """Where a model comes from. `metrics` maps a name such as `coco/val206/AP` to its value."""

    edgessd: str = ""
    weights: str = ""
    license: str = ""
    metrics: dict[str, float] = msgspec.field(default_factory=dict)


class ExtraLayer(_Part, frozen=True):
    """One extra feature level behind the backbone: 1x1 convolution to `hidden`, then `kernel` to `channels`."""

    hidden: Annotated[int, Meta(ge=1, le=8192)]
    channels: Annotated[int, Meta(ge=1, le=8192)]
    kernel: Annotated[int, Meta(ge=1, le=7)] = 3
    stride: Annotated[int, Meta(ge=1, le=4)] = 2
    padding: Annotated[int, Meta(ge=0, le=3)] = 1


class ArchitectureSpec(_Part, frozen=True):
    """What is needed to build the network again from a checkpoint (input size, classes and priors are in the spec).

    backbone: a name of the registry, such as `vgg16` or `timm:mobilenetv2_100`, with its options.
    head: `ssd` (3x3 convolutions) or `ssdlite` (depthwise separable; the extra layers as well).
    pad_type: padding of strided convolutions of extras and heads; `same` is TensorFlow's.
    """

    backbone: str
    head: Literal["ssd", "ssdlite"]
    backbone_options: dict[str, str | int | float | bool | tuple[int, ...]] = msgspec.field(default_factory=dict)
    extras: Annotated[tuple[ExtraLayer, ...], Meta(max_length=16)] = ()
    pad_type: Literal["", "same"] = ""


class ModelSpec(_Part, frozen=True):
    """Everything that a model file says about itself.

    classes: names without the background; the label of a detection is an index into them.
    scores: `softmax` over C + 1 logits with the background in column 0, or `sigmoid` of C logits.
    """

    name: str
    input: InputSpec
    classes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100_000)]
    priors: PriorSpec
    coder: CoderSpec = CoderSpec()
    scores: Literal["softmax", "sigmoid"] = "softmax"
    output: OutputSpec = OutputSpec()
    defaults: Thresholds = Thresholds()
    architecture: ArchitectureSpec | None = None
    quantization: QuantizationSpec | None = None
    provenance: Provenance = Provenance()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} is unknown")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names must differ from each other")
        if not all(self.classes):
            raise ValueError("class names must not be empty")

    @property
    def num_logits(self) -> int:
        """Columns of the class logits: C + 1 for softmax, C for sigmoid."""
        return len(self.classes) + (self.scores == "softmax")

    def to_json(self) -> str:
        """Return the spec as JSON; `from_json` gives an equal spec back."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, data: str | bytes) -> ModelSpec:
        """Read a spec. Raises SpecError, with the path of the field, for anything it does not understand."""
        head = _decode(data, _Head)
        if head.schema != SCHEMA:
            raise SpecError(
                f"the model's spec has schema {head.schema}, this edgessd reads schema {SCHEMA}: "
                f"{'upgrade edgessd' if head.schema > SCHEMA else 'export the model again'}"
            )
        return _decode(data, cls)


class _Head(Struct):
    schema: int


_T = TypeVar("_T")


def _decode(data: str | bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise SpecError(f"the model's spec cannot be read: {error}") from None
