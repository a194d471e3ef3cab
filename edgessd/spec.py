"""What a model file says about itself.

A `ModelSpec` travels inside every model file (ONNX `metadata_props`, safetensors header, ...) as
JSON, so that a file alone is enough to detect. Decoding is strict: unknown fields, wrong types and
values out of bounds raise `SpecError` with the path of the field; texts are printable, numbers finite
and within reason. All structs are frozen and hashable. docs/model-file.md is the contract in words.

Shapes here and elsewhere: B batch, P priors, C classes (background not counted), H and W pixels.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from edgessd.errors import UNPRINTABLE, SpecError, printable

SCHEMA = 1
METADATA_KEY = "edgessd.spec"

Level = Literal["raw", "decoded", "nms"]

OUTPUT_NAMES: dict[Level, tuple[str, ...]] = {
    "raw": ("logits", "offsets"),
    "decoded": ("scores", "boxes"),
    "nms": ("boxes", "scores", "labels", "count"),
}
"""The outputs of each level, in the order of `OutputSpec.names`, and their usual names."""

Layout = Literal["standard", "detections7", "opencv", "jetson"]


class Arrangement(NamedTuple):
    """A layout other than the standard one: the level that it arranges, and the names of its outputs."""

    level: Level
    names: tuple[str, ...]


LAYOUTS: dict[str, Arrangement] = {
    "detections7": Arrangement("nms", ("detections",)),
    "opencv": Arrangement("nms", ("onnx_node!detections",)),
    "jetson": Arrangement("decoded", ("scores", "boxes")),
}
"""How the outputs of a level are arranged for one kind of client, see `OutputSpec`."""

Side = Annotated[int, Meta(ge=1, le=8192)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
# In units of the input: a millionth of a pixel to a thousand inputs.
Length = Annotated[float, Meta(ge=1e-9, le=1e3)]
Factor = Annotated[float, Meta(ge=1e-9, le=1e6)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=2000)]
CategoryId = Annotated[int, Meta(gt=-(2**53), lt=2**53)]
Triple = tuple[float, float, float]

MAX_PRIORS = 1_000_000
MAX_NUMBER = 2.0**31
MAX_JSON = 8_000_000
"""Bytes of JSON that `from_json` reads; the spec of 10,000 classes with long names has less than a quarter of it."""


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Common settings of all parts of a spec."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if name != "category_ids":  # numbers of other people's, that nothing is computed with
                _check_values(name, getattr(self, name))

    def __hash__(self) -> int:
        fields = msgspec.structs.astuple(self)
        try:
            return hash((type(self), *fields))  # every picture asks for it, to find its priors
        except TypeError:
            return hash((type(self), *map(_hashable, fields)))


def _check_values(name: str, value: object) -> None:
    """Hold texts to printable characters, and numbers to finite ones below MAX_NUMBER. Raises ValueError."""
    if isinstance(value, str):
        if UNPRINTABLE.search(value):
            raise ValueError(f"{name} must be printable text, not {printable(value, 60)!r}")
    elif isinstance(value, (int, float)):
        if not (math.isfinite(value) and abs(value) <= MAX_NUMBER):
            raise ValueError(f"{name} must be a number below {MAX_NUMBER:g}")
    elif isinstance(value, dict):
        for key, each in value.items():
            _check_values(name, key)
            _check_values(name, each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            _check_values(name, each)


def _hashable(value: object) -> object:
    """The same value without dicts and lists, which have no hash; equal values stay equal."""
    if isinstance(value, dict):
        return frozenset((key, _hashable(each)) for key, each in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


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
    quantization_scale: Factor | None = None
    quantization_zero_point: Annotated[int, Meta(ge=-128, le=255)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(map(abs, self.scale)) < 1e-9:
            raise ValueError("scale must not be 0")
        quantized = self.quantization_scale is not None
        if quantized != (self.quantization_zero_point is not None):
            raise ValueError("quantization_scale and quantization_zero_point belong together")
        if quantized != (self.dtype != "float32"):
            raise ValueError(f"dtype {self.dtype} {'has no' if quantized else 'needs a'} quantization scale")

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
    boxes: Annotated[tuple[tuple[Length, Length], ...], Meta(min_length=1, max_length=256)]
    step: tuple[Length, Length] | None = None
    receptive_field: Count | None = None

    @property
    def count(self) -> int:
        """Number of priors of this level."""
        return self.rows * self.columns * len(self.boxes)


class PriorSpec(_Part, frozen=True):
    """All priors (default boxes, anchors), in the order level, row, column, box.

    rule: who made the list; it explains the numbers and is not needed to use them. `unknown` is that of
        `UNKNOWN_PRIORS`.
    clip: cut the corners of every prior to the picture, as Caffe's `clip` does.
    exclude_boundary: ignore priors that cross the picture's border (the paper's table 3). The
        network still predicts them; matching and detection leave them out.
    """

    levels: Annotated[tuple[PriorLevel, ...], Meta(min_length=1, max_length=64)]
    rule: Literal["paper", "caffe", "torchvision", "tensorflow", "multibox", "kmeans", "explicit", "unknown"] = (
        "explicit"
    )
    clip: bool = False
    exclude_boundary: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count > MAX_PRIORS:
            raise ValueError(f"{self.count} priors are more than the {MAX_PRIORS} that edgessd accepts")

    @property
    def count(self) -> int:
        """Number P of priors that the network predicts."""
        return sum(level.count for level in self.levels)


UNKNOWN_PRIORS = PriorSpec(levels=(PriorLevel(rows=1, columns=1, boxes=((1.0, 1.0),)),), rule="unknown")
"""Stands in the spec of another tool's file of level `nms`, whose priors are buried in its graph and not needed."""


class CoderSpec(_Part, frozen=True):
    """Variances of the box coder, for centres and sizes: 0.1 and 0.2 in the paper's code.

    Offsets (tx, ty, tw, th) and a prior (cx, cy, w, h) make the box with the centre
    (cx + tx * center_variance * w, ...) and the size (w * exp(tw * size_variance), ...).
    """

    center_variance: Factor = 0.1
    size_variance: Factor = 0.2


class OutputSpec(_Part, frozen=True, omit_defaults=True):
    """What the graph returns, and the names of its output tensors in that order. K is `defaults.max_detections`.

    level `raw`: class logits [B, P, C + 1] (softmax, background first) or [B, P, C] (sigmoid), and
        offsets [B, P, 4].
    `decoded`: scores [B, P, C] without the background, and boxes [B, P, 4] xyxy in units of the input
        (0..1 is the input; not cut to it).
    `nms`: what is left after the suppression, best first: boxes [B, K, 4] as above, scores [B, K], labels
        [B, K] (index into `classes`; -1 behind the last), and their number [B]. In TFLite these are the
        four float outputs of `TFLite_Detection_PostProcess`, see docs/model-file.md. The thresholds of
        `defaults` are baked in.

    layout `standard`: these outputs.
    `detections7` (of level `nms`): one output [B, 1, K, 7], the rows (image_id, label, score, x1, y1, x2, y2) as of
        Caffe's and OpenVINO's DetectionOutput, best first, boxes in units of the input. Behind the last detection
        stand image_id -1, label -1, score 0 and an empty box.
    `opencv` (of level `nms`): rows as of `detections7`, made by OpenCV's own layer, class by class; behind the last
        stand zeros.
    `jetson` (of level `decoded`): as jetson-inference has it, scores [B, P, C + 1] with the background in column 0.

    names: where empty, the usual ones (`usual_names`).

    The JSON of the standard layout does not speak of layouts, so that edgessd of before them reads such files.
    """

    level: Level = msgspec.field(default_factory=lambda: "raw")  # a factory's value is never left out of the JSON
    names: Annotated[tuple[Name, ...], Meta(max_length=4)] = ()
    layout: Layout = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout != "standard" and self.level != LAYOUTS[self.layout].level:
            raise ValueError(f"layout {self.layout} is of level {LAYOUTS[self.layout].level}, not {self.level}")
        usual = self.usual_names
        if not self.names:
            msgspec.structs.force_setattr(self, "names", usual)
        if len(self.names) != len(usual):
            raise ValueError(f"level {self.level} has {len(usual)} outputs ({', '.join(usual)}), not {len(self.names)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError("names of outputs must differ from each other")

    @property
    def usual_names(self) -> tuple[str, ...]:
        """What the outputs are called where nothing else is said, in the order of `names`."""
        return OUTPUT_NAMES[self.level] if self.layout == "standard" else LAYOUTS[self.layout].names

    @property
    def words(self) -> str:
        """Level and layout, such as `nms, layout detections7`."""
        return self.level if self.layout == "standard" else f"{self.level}, layout {self.layout}"


class Thresholds(_Part, frozen=True):
    """Defaults of detection; every one can be overridden by the caller, except at level `nms`.

    max_candidates: how many of the best priors of each class enter the suppression (Caffe's and
    torchvision's top-k).
    """

    score_threshold: Fraction = 0.3
    iou_threshold: Fraction = 0.45
    max_detections: Annotated[int, Meta(ge=1, le=100_000)] = 100
    max_candidates: Annotated[int, Meta(ge=1, le=1_000_000)] = 400


class QuantizationSpec(_Part, frozen=True):
    """How an integer file was made.

    saturation_free: no two weights that x86 processors without VNNI add in 16 bits can exceed them there; counted in
    the file's own weights when it was written. Where it is False, such processors need slower kernels to be right.
    """

    method: Literal["ptq", "qat"]
    tool: Text
    activations: Literal["uint8", "int8"] = "uint8"
    weights: Literal["int8"] = "int8"
    per_channel: bool = True
    calibration_images: Count | None = None
    calibration_sha256: Text | None = None
    kept_float: Annotated[tuple[Text, ...], Meta(max_length=10_000)] = ()
    saturation_free: bool = False


class Provenance(_Part, frozen=True):
    """Where a model comes from. `metrics` maps a name such as `coco/val206/AP` to its value."""

    edgessd: Text = ""
    weights: Text = ""
    license: Text = ""
    metrics: Annotated[dict[Text, float], Meta(max_length=1000)] = msgspec.field(default_factory=dict)


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
    top_down: channels of the finest level where it is the sum of its own map and the next one, enlarged (a feature
    pyramid of one step); 0 takes the backbone's map as it is.
    """

    backbone: Text
    head: Literal["ssd", "ssdlite"]
    backbone_options: Annotated[dict[Text, Text | int | float | bool | tuple[int, ...]], Meta(max_length=100)] = (
        msgspec.field(default_factory=dict)
    )
    extras: Annotated[tuple[ExtraLayer, ...], Meta(max_length=16)] = ()
    pad_type: Literal["", "same"] = ""
    top_down: Annotated[int, Meta(ge=0, le=4096)] = 0


class ModelSpec(_Part, frozen=True):
    """Everything that a model file says about itself.

    classes: names without the background; the label of a detection is an index into them.
    scores: `softmax` over C + 1 logits with the background in column 0, or `sigmoid` of C logits.
    precision: of the weights in this file; inputs and outputs of an `fp16` file are float32 all the same.
    category_ids: the number of each class in the COCO annotation files that the model was trained with, which
        `Detections.to_coco` writes; None where there were none. The JSON has the field only where there are.
    """

    name: Name
    input: InputSpec
    classes: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=32_768)]
    priors: PriorSpec
    coder: CoderSpec = CoderSpec()
    scores: Literal["softmax", "sigmoid"] = "softmax"
    output: OutputSpec = OutputSpec()
    defaults: Thresholds = Thresholds()
    architecture: ArchitectureSpec | None = None
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    quantization: QuantizationSpec | None = None
    provenance: Provenance = Provenance()
    category_ids: Annotated[tuple[CategoryId, ...], Meta(max_length=32_768)] | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} is unknown")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names must differ from each other")
        if self.category_ids is not None:
            if len(self.category_ids) != len(self.classes):
                raise ValueError(f"{len(self.category_ids)} category_ids for {len(self.classes)} classes")
            if len(set(self.category_ids)) != len(self.category_ids):
                raise ValueError("category_ids must differ from each other")

    @property
    def num_logits(self) -> int:
        """Columns of the class logits: C + 1 for softmax, C for sigmoid."""
        return len(self.classes) + (self.scores == "softmax")

    def to_json(self) -> str:
        """Return the spec as JSON; `from_json` gives an equal spec back."""
        fields = msgspec.to_builtins(self)
        if self.category_ids is None:  # so that edgessd of before there were any reads such files
            del fields["category_ids"]
        return msgspec.json.encode(fields).decode()

    @classmethod
    def from_json(cls, data: str | bytes) -> ModelSpec:
        """Read a spec. Raises SpecError, with the path of the field, for anything it does not understand."""
        if len(data) > MAX_JSON:
            raise SpecError(f"the model's spec has {len(data):,} bytes, edgessd reads up to {MAX_JSON:,}")
        head = _decode(data, _Head)
        if head.schema != SCHEMA:
            raise SpecError(
                f"the model's spec has schema {head.schema}, this edgessd reads schema {SCHEMA}: "
                f"{'upgrade edgessd' if head.schema > SCHEMA else 'export the model again'}"
            )
        return _decode(data, cls)


class _Head(Struct):
    schema: Annotated[int, Meta(ge=0, le=1_000_000)]


_T = TypeVar("_T")


def _decode(data: str | bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: numbers too long for Python
        raise SpecError(f"the model's spec cannot be read: {printable(error, 400)}") from None
