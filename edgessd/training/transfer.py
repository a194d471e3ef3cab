"""Weights to start from: which file holds what, and how class heads of one data set become those of another."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from edgessd.classes.class_map import ClassMap
from edgessd.errors import ModelError
from edgessd.models.checkpoint import load_checkpoint
from edgessd.models.ssd import SSD
from edgessd.models.weights import (
    TORCHVISION_COCO,
    load_imagenet_vgg16,
    load_timm_backbone,
    read_state,
    tensorflow_ssdlite,
    torchvision_detector,
)
from edgessd.spec import METADATA_KEY, ModelSpec

# A class without a partner starts with this score (Lin et al. 2017, section 4.1).
PRIOR_PROBABILITY = 0.01


@dataclass(frozen=True, eq=False)
class Source:
    """What `init` names: a whole detector with its spec, or the weights of a classifier for the backbone."""

    name: str
    detector: tuple[SSD, ModelSpec] | None = None
    classifier: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class TransferReport:
    """What a transfer did.

    mapped: (class of the model, class of the source) pairs. fresh: classes that start anew.
    copied: number of tensors taken over; new: names of those that were not, class rows aside.
    """

    source: str
    mapped: tuple[tuple[str, str], ...] = ()
    fresh: tuple[str, ...] = ()
    copied: int = 0
    new: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report for people."""
        result = [f"{self.copied} tensors from {self.source}"]
        if self.mapped:
            pairs = [ours if ours == theirs else f"{ours} = {theirs}" for ours, theirs in self.mapped]
            result.append(f"classes taken over: {', '.join(pairs)}")
        if self.fresh:
            result.append(f"classes that start anew: {', '.join(self.fresh)}")
        if self.new:
            more = f" and {len(self.new) - 3} more" if len(self.new) > 3 else ""
            result.append(f"tensors that start anew: {', '.join(self.new[:3])}{more}")
        return result


def read_source(init: str) -> Source:
    """Find out what `init` is and read it.

    A checkpoint of edgessd (its header has a spec); TensorFlow's SSDLite (`.safetensors`); torchvision's
    `ssd300_vgg16` or `ssdlite320_mobilenet_v3_large`, by that name (downloaded) or as a file; or the weights of
    a classifier (timm's, or torchvision's VGG-16) as `.safetensors` or `.pth`, for the backbone alone.
    Raises ModelError for a file that is none of these, DownloadError.
    """
    if init in TORCHVISION_COCO:
        return Source(f"torchvision's {init}", torchvision_detector(init))
    path = Path(init)
    if path.suffix == ".safetensors" and path.is_file() and METADATA_KEY in _metadata(path):
        return Source(path.name, load_checkpoint(path))
    state = read_state(path)
    if "backbone.scale_weight" in state:
        return Source(f"{path.name} (torchvision's SSD300)", torchvision_detector("ssd300_vgg16", state))
    if any(key.startswith("head.classification_head.") for key in state):
        detector = torchvision_detector("ssdlite320_mobilenet_v3_large", state)
        return Source(f"{path.name} (torchvision's SSDLite320)", detector)
    if "stem.conv.weight" in state and "conv_1.conv.weight" in state:
        return Source(f"{path.name} (TensorFlow's SSDLite)", tensorflow_ssdlite(state))
    return Source(path.name, classifier=state)


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(str(path), framework="pt") as reader:
            return dict(reader.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a whole safetensors file: {error}") from None


def transfer(model: SSD, spec: ModelSpec, source: Source) -> TransferReport:
    """Copy into `model` what `source` has for it. Raises ModelError where that is nothing.

    Class columns go by name, through the alias table. A background column is copied, or is zero where the
    source has sigmoid scores: softmax over (0, l) is nearly the sigmoid of l. From softmax to sigmoid a class
    column becomes its difference to the background. Everything else goes by name and shape, and the head by level:
    where one backbone gives a finer map more than the other, its levels are one further.
    """
    if source.detector is None:
        return _classifier(model, source)
    network, theirs = source.detector
    shift = len(model.backbone.feature_channels) - len(network.backbone.feature_channels)
    own = model.state_dict()
    other = {_at_level(key, shift): value for key, value in network.state_dict().items()}
    ends = _class_layers(model)
    copied, new = 0, []
    for key, value in own.items():
        if key.rpartition(".")[0] in ends:
            continue
        if key in other and other[key].shape == value.shape:
            value.copy_(other[key])
            copied += 1
        elif not key.endswith("num_batches_tracked"):
            new.append(key)
    partners = ClassMap(spec.classes, theirs.classes)
    other_ends = _class_layers(network)
    for level, name in enumerate(ends):
        layer, wanted = model.get_submodule(name), spec.priors.levels[level]
        assert isinstance(layer, nn.Conv2d)
        place = level - shift
        fits = 0 <= place < len(other_ends) and len(theirs.priors.levels[place].boxes) == len(wanted.boxes)
        found = network.get_submodule(other_ends[place]) if fits else None
        if isinstance(found, nn.Conv2d) and found.weight.shape[1:] == layer.weight.shape[1:]:
            _copy_columns(layer, found, len(wanted.boxes), (spec, theirs), partners.table.tolist())
            copied += 2
        else:
            _start_columns(layer, len(wanted.boxes), spec)
            new += [f"{name}.weight", f"{name}.bias"]
    if not copied:
        raise ModelError(f"nothing of {source.name} fits the network: its backbone or head is another")
    return TransferReport(source.name, partners.pairs, partners.only_source, copied, tuple(new))


def _at_level(key: str, shift: int) -> str:
    """The name of a tensor of the head `shift` levels further; another tensor's own."""
    parts = key.split(".")
    if parts[0] == "head":
        parts[2] = str(int(parts[2]) + shift)
    return ".".join(parts)


def start_heads(model: SSD, spec: ModelSpec) -> None:
    """Give every class of a new network the score `PRIOR_PROBABILITY` at the start."""
    for name, level in zip(_class_layers(model), spec.priors.levels, strict=True):
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        _start_columns(layer, len(level.boxes), spec)


def _classifier(model: SSD, source: Source) -> TransferReport:
    vgg = any(key.startswith("features.") for key in source.classifier) and hasattr(model.backbone, "norm4")
    (load_imagenet_vgg16 if vgg else load_timm_backbone)(model, source.classifier)
    names = [f"backbone.{key}" for key in model.backbone.state_dict()]
    rest = [key for key in model.state_dict() if key not in names and not key.endswith("num_batches_tracked")]
    return TransferReport(f"{source.name} (backbone)", copied=len(names), new=tuple(rest))


def _class_layers(model: SSD) -> list[str]:
    """Names of the last convolution of each level's class predictor."""
    return [
        [
            name
            for name, layer in model.named_modules()
            if f"{name}.".startswith(f"head.logits.{level}.") and _is_conv(layer)
        ][-1]
        for level in range(len(model.head.logits))
    ]


def _is_conv(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d)


@torch.no_grad()
def _copy_columns(
    layer: nn.Conv2d, found: nn.Conv2d, boxes: int, specs: tuple[ModelSpec, ModelSpec], partners: list[int]
) -> None:
    ours, theirs = specs
    for mine, other in ((layer.weight, found.weight), (layer.bias, found.bias)):
        assert mine is not None and other is not None
        target = mine.view(boxes, -1, *mine.shape[1:])
        source = other.view(boxes, -1, *other.shape[1:])
        background = source[:, 0] if theirs.scores == "softmax" else torch.zeros_like(source[:, 0])
        kept = ours.scores == "softmax"
        if kept:
            target[:, 0] = background
        for label, partner in enumerate(partners):
            if partner < 0:
                # At the background's level less the odds of the starting score, so that it is drowned at first.
                row = background.clone() if kept else torch.zeros_like(background)
                if mine.dim() == 1:
                    row += _start_bias(ours)
                else:
                    row += torch.randn_like(row) * 0.01
            else:
                row = source[:, partner + (theirs.scores == "softmax")]
                row = row if kept else row - background
            target[:, label + kept] = row


@torch.no_grad()
def _start_columns(layer: nn.Conv2d, boxes: int, spec: ModelSpec) -> None:
    assert layer.bias is not None
    bias = layer.bias.view(boxes, -1)
    bias[:] = _start_bias(spec)
    if spec.scores == "softmax":
        bias[:, 0] = 0


def _start_bias(spec: ModelSpec) -> float:
    """Log-odds of the starting score; with softmax the classes share what is not background."""
    odds = PRIOR_PROBABILITY / (1 - PRIOR_PROBABILITY)
    if spec.scores == "softmax":
        odds /= len(spec.classes)
    return float(torch.log(torch.tensor(odds)))
