"""Published detectors by name, and `ssd` / `ssdlite` on any backbone at any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from edgessd import __version__
from edgessd.backbones import Backbone, Normalization, create_backbone
from edgessd.backbones.base import HALF
from edgessd.backbones.registry import Option
from edgessd.classes.coco import COCO_CLASSES
from edgessd.errors import OptionError, did_you_mean
from edgessd.models.receptive_field import receptive_fields as measure_receptive_fields
from edgessd.models.ssd import SSD, assemble, build_ssd, measure_maps
from edgessd.ops.priors import caffe_priors, paper_priors, tensorflow_priors, torchvision_priors
from edgessd.spec import ArchitectureSpec, ExtraLayer, InputSpec, ModelSpec, PriorSpec, Provenance, Thresholds

Maps = Sequence[tuple[int, int]]
PriorRule = Callable[[Maps], PriorSpec]

SMALLEST, LARGEST = 160, 8192


def _valid3(hidden: int, channels: int) -> ExtraLayer:
    return ExtraLayer(hidden=hidden, channels=channels, stride=1, padding=0)


_HALF512 = ExtraLayer(hidden=256, channels=512)
_HALF256 = ExtraLayer(hidden=128, channels=256)
_HALF128 = ExtraLayer(hidden=64, channels=128)

# conv8_2 ... conv11_2 of the paper's figure 2, and the Caffe release's conv6_2 ... conv10_2 for 512.
_SSD300_EXTRAS = (_HALF512, _HALF256, _valid3(128, 256), _valid3(128, 256))
_LAST512 = ExtraLayer(hidden=128, channels=256, kernel=4, stride=1, padding=1)
_SSD512_EXTRAS = (_HALF512, _HALF256, _HALF256, _HALF256, _LAST512)
_SSDLITE_EXTRAS = (_HALF512, _HALF256, _HALF256, _HALF128)


def _torchvision_ssd300(maps: Maps) -> PriorSpec:
    ratios = [[2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0]]
    steps = [(step / 300, step / 300) for step in (8, 16, 32, 64, 100, 300)]
    scales = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
    return torchvision_priors(maps, ratios, scales=scales, steps=steps)


def _torchvision_ssdlite(maps: Maps) -> PriorSpec:
    return torchvision_priors(maps, [[2.0, 3.0]] * len(maps), min_ratio=0.2, max_ratio=0.95)


def _paper(maps: Maps) -> PriorSpec:
    """The paper's scales; ratios 3 and 1/3 left out on the first and the two last levels, as in SSD300."""
    count = len(maps)
    narrow = {0, count - 2, count - 1}
    return paper_priors(maps, [[2.0] if level in narrow else [2.0, 3.0] for level in range(count)])


@dataclass(frozen=True)
class Preset:
    """One detector: what `create_model` builds where its caller says nothing else.

    size: side of the input in pixels. fixed_size: its priors hold for that size alone.
    backbone: empty where the caller must name one. extras: None makes as many as the size needs.
    normalization: None takes the backbone's own.
    """

    summary: str
    head: str
    size: int
    rule: PriorRule
    backbone: str = ""
    backbone_options: Mapping[str, Option] = field(default_factory=dict)
    extras: tuple[ExtraLayer, ...] | None = None
    pad_type: str = ""
    scores: str = "softmax"
    fixed_size: bool = False
    normalization: Normalization | None = None
    defaults: Thresholds = field(default_factory=Thresholds)


# Stride of the map that a preset's extra layers follow.
_LAST_STRIDES = {"ssd": 16, "ssdlite": 32}

_CAFFE = Thresholds(score_threshold=0.01, iou_threshold=0.45, max_detections=200, max_candidates=400)

PRESETS: dict[str, Preset] = {
    "ssd300_vgg16": Preset(
        summary="the paper's SSD300, with torchvision's priors and thresholds",
        head="ssd",
        size=300,
        rule=_torchvision_ssd300,
        backbone="vgg16",
        extras=_SSD300_EXTRAS,
        fixed_size=True,
        defaults=_CAFFE,  # torchvision's SSD has the same four values
    ),
    "ssd512_vgg16": Preset(
        summary="the paper's SSD512, as in the authors' Caffe release",
        head="ssd",
        size=512,
        rule=lambda maps: caffe_priors(512),
        backbone="vgg16",
        extras=_SSD512_EXTRAS,
        fixed_size=True,
        defaults=_CAFFE,
    ),
    "ssdlite320_mobilenet_v3_large": Preset(
        summary="torchvision's SSDLite320",
        head="ssdlite",
        size=320,
        rule=_torchvision_ssdlite,
        backbone="torchvision:mobilenet_v3_large",
        extras=_SSDLITE_EXTRAS,
        defaults=Thresholds(score_threshold=0.001, iou_threshold=0.55, max_detections=300, max_candidates=300),
    ),
    "ssdlite300_mobilenet_v2": Preset(
        summary="TensorFlow's SSDLite-MobileNetV2",
        head="ssdlite",
        size=300,
        rule=tensorflow_priors,
        backbone="timm:mobilenetv2_100",
        backbone_options={"pad_type": "same", "out_strides": (16, 32), "tap": "expansion", "include_head": True},
        extras=_SSDLITE_EXTRAS,
        pad_type="same",
        scores="sigmoid",
        normalization=HALF,
        # Suppression as in TensorFlow's ssdlite_mobilenet_v2_coco.config.
        defaults=Thresholds(score_threshold=0.3, iou_threshold=0.6, max_detections=100, max_candidates=100),
    ),
    "ssd": Preset(
        summary="SSD on any backbone at any size: 3x3 heads, strides from 8 on, the paper's priors",
        head="ssd",
        size=300,
        rule=_paper,
    ),
    "ssdlite": Preset(
        summary="SSDLite on any backbone at any size: depthwise heads, strides from 16 on, TensorFlow's priors",
        head="ssdlite",
        size=320,
        rule=tensorflow_priors,
    ),
}


def create_model(
    name: str,
    *,
    classes: Sequence[str] = COCO_CLASSES,
    size: int | tuple[int, int] | None = None,
    backbone: str | None = None,
    backbone_options: Mapping[str, Option] | None = None,
    scores: str | None = None,
    priors: PriorRule | None = None,
    top_down: int = 0,
    receptive_fields: bool = True,
) -> tuple[SSD, ModelSpec]:
    """Return a network with random weights, in training mode, and its spec.

    name: one of `PRESETS`; `ssd` and `ssdlite` need a `backbone`, such as `timm:mobilenetv3_small_100`.
    classes: names without the background.
    size: side of the square input, or (width, height), in pixels, 160 at least.
    backbone_options: replace the preset's for the same backbone.
    scores: `softmax` or `sigmoid`.
    priors: a rule of one's own: takes the (rows, columns) of the levels, returns their `PriorSpec`.
    top_down: channels of a finest level that sees the next one as well, see `ArchitectureSpec`; 0 is off. `ssdlite`
        then starts at stride 8.
    receptive_fields: measure them and write them into the spec; costs a run forwards and a few backwards.

    Raises OptionError for an unknown name or an option that does not fit.
    """
    if name not in PRESETS:
        raise OptionError(f"unknown model {name!r}{did_you_mean(name, PRESETS)}: there are {', '.join(PRESETS)}")
    preset = PRESETS[name]
    if isinstance(classes, str) or not classes:
        raise OptionError(f"classes are a list of names, at least one class, not {classes!r}")
    kind = _scores(scores or preset.scores)
    width, height = _size(name, preset, size)
    chosen, options = _backbone(name, preset, backbone, backbone_options)
    if chosen.startswith("timm:"):
        _complete_timm_options(preset, chosen.removeprefix("timm:"), options, (height, width), 8 if top_down else 16)
    network = create_backbone(chosen, **options)
    if chosen.startswith("timm:"):
        options.pop("min_stride", None)
        options["out_strides"] = tuple(network.feature_strides)
    extras = preset.extras
    if extras is None or chosen != preset.backbone:
        extras = extra_layers(preset.head, measure_maps(network, height, width), max(width, height))
    else:
        # A map beyond the usual ones (the full VGG-16 has one) is of the size of the first extra layer's.
        last = _LAST_STRIDES[preset.head]
        extras = extras[sum(stride > last for stride in network.feature_strides) :]
    architecture = ArchitectureSpec(
        backbone=chosen,
        head="ssd" if preset.head == "ssd" else "ssdlite",
        backbone_options=options,
        extras=extras,
        pad_type="same" if preset.pad_type == "same" else "",
        top_down=top_down,
    )
    maps = _maps(network, architecture, height, width)
    normalization = preset.normalization if preset.normalization and chosen == preset.backbone else None
    normalization = normalization or network.normalization
    try:
        spec = ModelSpec(
            name=name if chosen == preset.backbone else f"{name}_{chosen}",
            input=InputSpec(width=width, height=height, mean=normalization.mean, scale=normalization.scale),
            classes=tuple(classes),
            priors=(priors or preset.rule)(maps),
            scores=kind,
            defaults=preset.defaults,
            architecture=architecture,
            provenance=Provenance(edgessd=__version__),
        )
    except ValueError as error:
        raise OptionError(f"{name} cannot be made so: {error}") from None
    model = build_ssd(spec, network)
    if receptive_fields:
        fields = measure_receptive_fields(model, (width, height))
        levels = tuple(
            msgspec.structs.replace(level, receptive_field=value)
            for level, value in zip(spec.priors.levels, fields, strict=True)
        )
        spec = msgspec.structs.replace(spec, priors=msgspec.structs.replace(spec.priors, levels=levels))
    return model, spec


def extra_layers(head: str, maps: Maps, side: int) -> tuple[ExtraLayer, ...]:
    """Return the extra layers behind a backbone with these maps, for an input of `side` pixels.

    Levels are added until there are six (seven from 512 pixels on) or the map is a single cell. Each
    halves the map; `ssd` goes from 3x3 to one cell by an unpadded 3x3 convolution, as the paper does.
    """
    wanted = 7 if side >= 512 else 6
    rows, columns = maps[-1]
    layers: list[ExtraLayer] = []
    last = _HALF128 if head == "ssdlite" else _HALF256
    while len(maps) + len(layers) < wanted and (rows, columns) != (1, 1):
        usual = [_HALF512, _HALF256, _HALF256, last]
        layer = usual[min(len(layers), 3)]
        if head == "ssd" and (rows, columns) == (3, 3):
            layer = _valid3(layer.hidden, layer.channels)
            rows, columns = 1, 1
        else:
            rows, columns = -(-rows // 2), -(-columns // 2)
        layers.append(layer)
    return tuple(layers)


def _maps(network: Backbone, architecture: ArchitectureSpec, height: int, width: int) -> list[tuple[int, int]]:
    """Measure all levels, through a throw-away network with one prior per cell."""
    levels = len(network.feature_channels) + len(architecture.extras)
    return measure_maps(assemble(architecture, [1] * levels, 1, network), height, width)


def _size(name: str, preset: Preset, size: int | tuple[int, int] | None) -> tuple[int, int]:
    width, height = (size, size) if isinstance(size, int) else size or (preset.size, preset.size)
    if not (min(width, height) >= SMALLEST and max(width, height) <= LARGEST):
        raise OptionError(f"the input's sides must be {SMALLEST} to {LARGEST} pixels, not {width}x{height}")
    if preset.fixed_size and (width, height) != (preset.size, preset.size):
        raise OptionError(
            f"{name} is for {preset.size}x{preset.size} pixels, not {width}x{height}: "
            f"use '{preset.head}' with backbone {preset.backbone!r} for other sizes"
        )
    return width, height


def _backbone(
    name: str, preset: Preset, backbone: str | None, given: Mapping[str, Option] | None
) -> tuple[str, dict[str, Option]]:
    chosen = backbone or preset.backbone
    if not chosen:
        raise OptionError(f"{name!r} needs a backbone, such as backbone='timm:mobilenetv3_small_100'")
    if preset.fixed_size and chosen != preset.backbone:
        raise OptionError(f"{name} has the backbone {preset.backbone!r}: use '{preset.head}' for others")
    options = dict(preset.backbone_options) if chosen == preset.backbone else {}
    options |= given or {}
    return chosen, options


def _complete_timm_options(
    preset: Preset, name: str, options: dict[str, Option], size: tuple[int, int], stride: int
) -> None:
    """SSDLite starts at `stride`; a network for one size of input is made for this one."""
    from edgessd.backbones.timm import needs_size

    if "out_strides" not in options and preset.head == "ssdlite":
        options.setdefault("min_stride", stride)
    if "img_size" not in options and needs_size(name):
        options["img_size"] = size


def _scores(name: str) -> Literal["softmax", "sigmoid"]:
    if name == "softmax":
        return "softmax"
    if name == "sigmoid":
        return "sigmoid"
    raise OptionError(f"scores are 'softmax' or 'sigmoid', not {name!r}")
