"""Weights made by others: torchvision's detectors, TensorFlow's SSDLite, ImageNet's VGG-16 and timm's files.

Everything here is strict: a key that is missing, unexpected or of another shape is a one-line ModelError.
Pickled files are read with `torch.load(weights_only=True)` and in no other way.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edgessd.backbones.vgg16 import VGG16, imagenet_state
from edgessd.classes.coco import COCO_CLASSES, COCO_CLASSES_90, COCO_IDS
from edgessd.errors import ModelError, OptionError, did_you_mean
from edgessd.models.presets import create_model
from edgessd.models.ssd import SSD
from edgessd.spec import ModelSpec

State = Mapping[str, Tensor]
Source = State | str | os.PathLike[str]

# (address, first characters of the file's SHA-256), as in torchvision's `SSD300_VGG16_Weights.COCO_V1` and
# `SSDLite320_MobileNet_V3_Large_Weights.COCO_V1`.
TORCHVISION_COCO = {
    "ssd300_vgg16": ("https://download.pytorch.org/models/ssd300_vgg16_coco-b556d3b4.pth", "b556d3b4"),
    "ssdlite320_mobilenet_v3_large": (
        "https://download.pytorch.org/models/ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
        "a79551df",
    ),
}


def read_state(source: Source) -> dict[str, Tensor]:
    """Return the tensors of a state dict, a `.safetensors` file or a `.pth` file that torch.save wrote.

    Raises ModelError where the file is missing, damaged or holds anything but named tensors.
    """
    if isinstance(source, Mapping):
        state: object = dict(source)
        file = "the state dict"
    else:
        path = Path(source)
        file = str(path)
        if not path.is_file():
            raise ModelError(f"no such weights file: {path}")
        try:
            if path.suffix == ".safetensors":
                state = load_file(path)
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # torch's doubts about a file that it then refuses
                    state = torch.load(path, map_location="cpu", weights_only=True)
        except (
            SafetensorError,
            pickle.UnpicklingError,
            RuntimeError,
            OSError,
            ValueError,
            EOFError,
            KeyError,
        ) as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ModelError(f"{file} cannot be read as weights: {line}") from None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ModelError(f"{file} holds other things than named tensors: give a plain state dict")
    return state


def load_strictly(module: nn.Module, state: State, origin: str) -> None:
    """Load `state` into `module`; `origin` names it in the ModelError for keys that do not fit."""
    own = module.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or unexpected or shapes:
        parts = [
            f"{len(keys)} {what} (such as {keys[0]})"
            for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
            if keys
        ]
        raise ModelError(f"the weights of {origin} do not fit the network: {', '.join(parts)}")
    module.load_state_dict(dict(state), strict=True)


# --- torchvision's detectors ---------------------------------------------------------------------------

_SSD300_RULES = (
    (r"backbone\.scale_weight", r"backbone.norm4.scale"),
    (r"backbone\.features\.(.+)", r"backbone.conv4.\1"),
    (r"backbone\.extra\.0\.7\.(.+)", r"backbone.fc.\1"),
    (r"backbone\.extra\.0\.(.+)", r"backbone.conv5.\1"),
    (r"backbone\.extra\.(\d+)\.0\.(.+)", r"extras.[\1-1].reduce.\2"),
    (r"backbone\.extra\.(\d+)\.2\.(.+)", r"extras.[\1-1].conv.\2"),
    (r"head\.classification_head\.module_list\.(.+)", r"head.logits.\1"),
    (r"head\.regression_head\.module_list\.(.+)", r"head.offsets.\1"),
)
_SSDLITE_RULES = (
    (r"backbone\.features\.(.+)", r"backbone.features.\1"),
    (r"backbone\.extra\.(\d+)\.0\.0\.(.+)", r"extras.\1.reduce.conv.\2"),
    (r"backbone\.extra\.(\d+)\.0\.1\.(.+)", r"extras.\1.reduce.norm.\2"),
    (r"backbone\.extra\.(\d+)\.1\.0\.(.+)", r"extras.\1.depthwise.conv.\2"),
    (r"backbone\.extra\.(\d+)\.1\.1\.(.+)", r"extras.\1.depthwise.norm.\2"),
    (r"backbone\.extra\.(\d+)\.2\.0\.(.+)", r"extras.\1.expand.conv.\2"),
    (r"backbone\.extra\.(\d+)\.2\.1\.(.+)", r"extras.\1.expand.norm.\2"),
    (r"head\.classification_head\.module_list\.(\d+)\.0\.0\.(.+)", r"head.logits.\1.0.conv.\2"),
    (r"head\.classification_head\.module_list\.(\d+)\.0\.1\.(.+)", r"head.logits.\1.0.norm.\2"),
    (r"head\.classification_head\.module_list\.(\d+)\.1\.(.+)", r"head.logits.\1.1.\2"),
    (r"head\.regression_head\.module_list\.(\d+)\.0\.0\.(.+)", r"head.offsets.\1.0.conv.\2"),
    (r"head\.regression_head\.module_list\.(\d+)\.0\.1\.(.+)", r"head.offsets.\1.0.norm.\2"),
    (r"head\.regression_head\.module_list\.(\d+)\.1\.(.+)", r"head.offsets.\1.1.\2"),
)
_TORCHVISION_RULES = {"ssd300_vgg16": _SSD300_RULES, "ssdlite320_mobilenet_v3_large": _SSDLITE_RULES}


def torchvision_state(name: str, state: State) -> dict[str, Tensor]:
    """Return the state dict of torchvision's detector `name` under our names, otherwise unchanged.

    name: `ssd300_vgg16` or `ssdlite320_mobilenet_v3_large`. Keys that it does not know are kept as they are.
    """
    rules = _rules(name)
    return {_rename(key, rules): value for key, value in state.items()}


def _rules(name: str) -> Sequence[tuple[str, str]]:
    if name not in _TORCHVISION_RULES:
        known = ", ".join(_TORCHVISION_RULES)
        raise OptionError(
            f"no torchvision detector {name!r}{did_you_mean(name, _TORCHVISION_RULES)}: known are {known}"
        )
    return _TORCHVISION_RULES[name]


def _rename(key: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, key)
        if match:
            return re.sub(r"\[(\d+)-1\]", lambda found: str(int(found[1]) - 1), match.expand(replacement))
    return key


def torchvision_detector(
    name: str, weights: Source | None = None, *, classes: Sequence[str] | None = None, receptive_fields: bool = False
) -> tuple[SSD, ModelSpec]:
    """Return torchvision's detector `name` as our network in evaluation mode, and its spec.

    weights: a state dict or file of torchvision's detector; None downloads the published COCO weights.
    classes: None names the 90 COCO ids, `N/A 12` and the like for the ten that COCO does not use: the
        published networks have a class column for each of them, the softmax runs over all, and only with all
        do the detections equal torchvision's. `COCO_CLASSES` drops the ten columns; scores then rise by
        what those had (next to nothing in trained networks). Other names are for networks with as many classes.

    Raises ModelError for weights that do not fit, OptionError for an unknown name, DownloadError.
    """
    _rules(name)
    state = torchvision_state(name, read_state(_download(name) if weights is None else weights))
    names = COCO_CLASSES_90 if classes is None else classes
    model, spec = create_model(name, classes=names, receptive_fields=receptive_fields)
    origin = str(weights) if isinstance(weights, str | os.PathLike) else f"torchvision's {name}"
    if tuple(spec.classes) == COCO_CLASSES:
        state = _select_columns(state, [len(level.boxes) for level in spec.priors.levels], 91, (0, *COCO_IDS))
    load_strictly(model, state, origin)
    return model.eval(), spec


def _download(name: str) -> Path:
    from edgessd.zoo.download import fetch

    url, checksum = TORCHVISION_COCO[name]
    return Path(fetch(url, checksum))


def _select_columns(state: State, boxes: Sequence[int], columns: int, kept: Sequence[int]) -> dict[str, Tensor]:
    """Keep only some class columns of the last layers of `head.logits`; layers of other sizes stay as they are."""
    result = dict(state)
    for level, count in enumerate(boxes):
        for key in (f"head.logits.{level}{middle}.{part}" for middle in ("", ".1") for part in ("weight", "bias")):
            value = state.get(key)
            if value is not None and value.shape[0] == count * columns:
                chosen = value.reshape(count, columns, *value.shape[1:])[:, list(kept)]
                result[key] = chosen.reshape(-1, *value.shape[1:])
    return result


# --- TensorFlow's SSDLite ------------------------------------------------------------------------------

# blocks 0..16 of MobileNetV2 as timm groups them in stages
_MOBILENET_V2_STAGES = (1, 2, 3, 4, 3, 3, 1)


def _tensorflow_layers() -> list[tuple[str, str, str]]:
    """(their layer, our convolution, our batch norm or '') of every convolution."""
    layers = [("stem.conv", "backbone.stem.0", "backbone.stem.1")]
    number = 0
    for stage, length in enumerate(_MOBILENET_V2_STAGES):
        for index in range(length):
            ours = f"backbone.blocks.{stage}.{index}"
            parts = ("expand", "depthwise", "project") if number else ("depthwise", "project")
            names = ("conv_pw", "conv_dw", "conv_pwl") if number else ("conv_dw", "conv_pw")
            for order, (part, name) in enumerate(zip(parts, names, strict=True), start=1):
                layers.append((f"blocks.{number}.{part}.conv", f"{ours}.{name}", f"{ours}.bn{order}"))
            number += 1
    layers.append(("conv_1.conv", "backbone.head.0", "backbone.head.1"))
    for level in range(4):
        for part, name in (("pw1", "reduce"), ("dw", "depthwise"), ("pw2", "expand")):
            layers.append((f"extras.{level}.{part}.conv", f"extras.{level}.{name}.conv", f"extras.{level}.{name}.norm"))
    for level in range(6):
        for theirs, name in (("cls", "logits"), ("box", "offsets")):
            ours = f"head.{name}.{level}"
            layers.append((f"{theirs}.{level}.dw.conv", f"{ours}.0.conv", f"{ours}.0.norm"))
            layers.append((f"{theirs}.{level}.pw", f"{ours}.1", ""))
    return layers


def tensorflow_ssdlite(weights: Source, *, receptive_fields: bool = False) -> tuple[SSD, ModelSpec]:
    """Return TensorFlow's SSDLite-MobileNetV2 (COCO, 80 classes) in evaluation mode, and its spec.

    weights: `ssdlite_mobilenet_v2_coco.safetensors`, converted from the TensorFlow Object Detection API's
    model of 2018-05-09. Its batch norm is folded, so ours becomes one that adds the bias and nothing else;
    of its 91 class columns the 80 of COCO's categories are kept (sigmoid scores do not depend on the others);
    its box code (ty, tx, th, tw) is put into our order (tx, ty, tw, th).

    Raises ModelError for weights that do not fit.
    """
    origin = str(weights) if isinstance(weights, str | os.PathLike) else "TensorFlow's SSDLite"
    theirs = read_state(weights)
    model, spec = create_model("ssdlite300_mobilenet_v2", classes=COCO_CLASSES, receptive_fields=receptive_fields)
    theirs.pop("anchors", None)
    own = model.state_dict()
    state: dict[str, Tensor] = {}
    for source, conv, norm in _tensorflow_layers():
        for part in ("weight", "bias"):
            if f"{source}.{part}" not in theirs:
                raise ModelError(f"the weights of {origin} do not fit the network: {source}.{part} is missing")
        weight, bias = theirs.pop(f"{source}.weight"), theirs.pop(f"{source}.bias")
        state[f"{conv}.weight"] = weight
        if not norm:
            state[f"{conv}.bias"] = bias
            continue
        eps = _epsilon(model, norm)
        state[f"{norm}.weight"] = torch.full_like(bias, math.sqrt(1 + eps))
        state[f"{norm}.bias"] = bias
        state[f"{norm}.running_mean"] = torch.zeros_like(bias)
        state[f"{norm}.running_var"] = torch.ones_like(bias)
        state[f"{norm}.num_batches_tracked"] = own[f"{norm}.num_batches_tracked"]
    if theirs:
        raise ModelError(
            f"the weights of {origin} do not fit the network: {len(theirs)} unexpected (such as {next(iter(theirs))})"
        )
    boxes = [len(level.boxes) for level in spec.priors.levels]
    state = _select_columns(state, boxes, 91, COCO_IDS)
    for level in range(len(boxes)):
        for key in (f"head.offsets.{level}.1.weight", f"head.offsets.{level}.1.bias"):
            value = state[key]
            state[key] = value.reshape(-1, 4, *value.shape[1:])[:, [1, 0, 3, 2]].reshape(value.shape)
    load_strictly(model, state, origin)
    return model.eval(), spec


def _epsilon(model: nn.Module, name: str) -> float:
    return float(getattr(model.get_submodule(name), "eps"))  # noqa: B009


# --- backbones -----------------------------------------------------------------------------------------


def load_imagenet_vgg16(model: SSD, weights: Source) -> None:
    """Load torchvision's ImageNet VGG-16, with its classifier, into the backbone; norm4's scale stays.

    Raises ModelError where the backbone is not `vgg16` or the weights are not VGG-16's.
    """
    backbone = model.backbone
    if not isinstance(backbone, VGG16):
        raise ModelError(f"ImageNet's VGG-16 fits the backbone 'vgg16', not a {type(backbone).__name__}")
    state = imagenet_state(read_state(weights), backbone.atrous)
    state["norm4.scale"] = backbone.norm4.scale.detach()
    load_strictly(backbone, state, "ImageNet's VGG-16")


def load_timm_backbone(model: SSD, weights: Source) -> None:
    """Load a classifier of timm, as a file or state dict of the whole network, into a `timm:NAME` backbone.

    What lies behind the backbone's last level (later stages, classifier) is left out; any other key that is
    missing, unknown to the classifier or of another shape raises ModelError.
    """
    from edgessd.backbones.timm import TimmBackbone

    backbone = model.backbone
    if not isinstance(backbone, TimmBackbone):
        raise ModelError(f"timm's weights fit a backbone 'timm:NAME', not a {type(backbone).__name__}")
    load_strictly(backbone, backbone.from_classifier(read_state(weights)), f"timm's {backbone.timm_name}")
