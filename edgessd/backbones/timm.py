"""Backbones of timm, as `timm:NAME`: every model there that offers feature maps."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edgessd._torchvision import timm
from edgessd.backbones.base import IMAGENET, Backbone, Normalization
from edgessd.backbones.registry import register_family
from edgessd.errors import ModelError, OptionError

TAPS = ("bottleneck", "expansion")
DEFAULT_STRIDES = (8, 16, 32)


def _members() -> list[str]:
    return list(timm.list_models())


@register_family("timm", _members)
def create(
    name: str,
    pad_type: str = "",
    output_stride: int = 32,
    out_strides: tuple[int, ...] = (),
    min_stride: int = 8,
    tap: str = "bottleneck",
    include_head: bool = False,
    img_size: tuple[int, ...] = (),
) -> Backbone:
    """Return timm's model `name` as a backbone with random weights; no network access.

    pad_type: `same` pads like TensorFlow (mobilenets and efficientnets have it).
    output_stride: 8 or 16 dilates the later stages instead of striding (where the model can).
    out_strides: which maps to return, by stride. Empty: those of 8, 16 and 32 that the model has,
        from `min_stride` on.
    tap: `expansion` returns, where the next stage starts with an inverted residual block that halves the map,
        that block's expanded features instead of its input (MobileNetV2 paper, section 6.2).
    img_size: (height, width) of the input, for transformers that are built for one size; see `needs_size`.
    include_head: put the model's 1x1 `conv_head` behind the last map (320 -> 1280 in MobileNetV2).

    Raises OptionError where the model lacks what is asked for.
    """
    if pad_type not in ("", "same"):
        raise OptionError(f"pad_type is '' or 'same', not {pad_type!r}")
    if tap not in TAPS:
        raise OptionError(f"tap is one of {', '.join(TAPS)}, not {tap!r}")
    if output_stride not in (8, 16, 32):
        raise OptionError(f"output_stride is 8, 16 or 32, not {output_stride}")
    strides = tuple(out_strides)
    if list(strides) != sorted(set(strides)):
        raise OptionError(f"out_strides must rise, such as (8, 16, 32), not {strides}")
    wanted = _Wanted(strides, min_stride)
    extra: dict[str, Any] = {"pad_type": pad_type} if pad_type else {}
    if output_stride != 32:
        extra["output_stride"] = output_stride
    if img_size:
        extra["img_size"] = tuple(img_size)
    body = _features(name, extra)
    if _is_block_list(body):
        return _BlockListBackbone(name, body, extra, wanted, tap, include_head)
    if tap != "bottleneck":
        raise OptionError(f"timm:{name} has no inverted residual blocks to tap: leave tap at 'bottleneck'")
    if include_head:
        raise OptionError(f"timm:{name} has no conv_head: leave include_head off")
    return _FeaturesBackbone(name, body, extra, wanted)


class _Wanted(NamedTuple):
    """Which maps to return: these strides, or where there are none the usual ones from `least` on."""

    strides: tuple[int, ...]
    least: int


class TimmBackbone(Backbone):
    """What both kinds of timm's backbones share: their name there, and how its weights are found."""

    def __init__(self, name: str, extra: dict[str, Any]) -> None:
        super().__init__()
        self.timm_name = name
        self._extra = extra
        self.normalization = _normalization(name)

    @abstractmethod
    def _aliases(self, key: str) -> tuple[str, ...]:
        """Names under which a classifier's tensor `key` may be found in this module."""

    def from_classifier(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return this module's part of the state dict of timm's whole classifier.

        A file of the same architecture by other authors, in which every name differs, is taken by its order, if all
        shapes agree. Raises ModelError for keys that the classifier does not have. Keys that are missing are missing in
        the result, except counters of batches, which some files leave out.
        """
        with torch.device("meta"):
            classifier = _build(self.timm_name, self._extra)
        known = classifier.state_dict()
        state = _rename_keys(state, known)
        unknown = [key for key in state if key not in known]
        if unknown:
            raise ModelError(
                f"the weights of timm's {self.timm_name} do not fit the network: "
                f"{len(unknown)} unexpected (such as {unknown[0]})"
            )
        own = self.state_dict()
        result = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
        for key, value in state.items():
            for alias in self._aliases(key):
                if alias in own:
                    result[alias] = value
        return result


def _rename_keys(state: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`state` under the names of `known`, where none of its own is known and the shapes agree one by one."""
    counter = "num_batches_tracked"
    theirs = [key for key in state if not key.endswith(counter)]
    ours = [key for key in known if not key.endswith(counter)]
    if any(key in known for key in theirs):
        return state
    if [state[key].shape for key in theirs] != [known[key].shape for key in ours]:
        return state
    return {mine: state[key] for mine, key in zip(ours, theirs, strict=True)}


class _FeaturesBackbone(TimmBackbone):
    """A model whose feature maps timm itself extracts."""

    def __init__(self, name: str, body: Any, extra: dict[str, Any], wanted: _Wanted) -> None:
        super().__init__(name, extra)
        indices, reductions = _choose(name, list(body.feature_info.reduction()), wanted)
        # Built again with these maps only: timm then leaves out what lies behind the last one.
        body = _features(name, {**extra, "out_indices": tuple(body.feature_info.out_indices[i] for i in indices)})
        self.body = body
        self._nhwc = str(getattr(body, "output_fmt", "NCHW")).endswith("NHWC")
        self.feature_channels, self.feature_strides = _measure(name, self, reductions, _test_size(name, extra))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the chosen maps, [B, C, H, W] whatever the model's own layout is."""
        maps = list(self.body(x))
        return [level.permute(0, 3, 1, 2) for level in maps] if self._nhwc else maps

    def _aliases(self, key: str) -> tuple[str, ...]:
        # timm's extractors keep the names, put the model under a name, or flatten lists: layers.0 -> layers_0
        flat = key.replace(".", "_", 1)
        return f"body.{key}", f"body.model.{key}", f"body.graph_module.{key}", f"body.{flat}"


class _BlockListBackbone(TimmBackbone):
    """MobileNets and EfficientNets of timm: stem, then `blocks`, a list of stages that are lists of blocks."""

    def __init__(
        self, name: str, body: Any, extra: dict[str, Any], wanted: _Wanted, tap: str, include_head: bool
    ) -> None:
        super().__init__(name, extra)
        info = body.feature_info.get_dicts()
        indices, reductions = _choose(name, [entry["reduction"] for entry in info], wanted)
        ends = [info[index]["stage"] for index in indices]  # 0 is the stem, k the end of blocks[k - 1]
        self.stem = nn.Sequential(body.conv_stem, body.bn1, getattr(body, "act1", nn.Identity()))
        self.blocks = nn.ModuleList(body.blocks[: ends[-1]])
        self._after_stage: dict[int, int] = {}  # level that is the output of stage k
        self._inside_stage: dict[int, int] = {}  # level that is tapped in the first block of stage k
        for level, end in enumerate(ends):
            if tap == "expansion" and end < len(self.blocks) and _expansion_length(self.blocks[end][0]):
                self._inside_stage[end] = level
            else:
                self._after_stage[end] = level
        if tap == "expansion" and not self._inside_stage:
            raise OptionError(f"timm:{name} has no block expansion to tap between strides {reductions}")
        self.head = _conv_head(name, extra) if include_head else nn.Identity()
        self.feature_channels, self.feature_strides = _measure(name, self, reductions, _test_size(name, extra))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the chosen maps."""
        maps: dict[int, Tensor] = {}
        x = self.stem(x)
        if 0 in self._after_stage:
            maps[self._after_stage[0]] = x
        for number, stage in enumerate(self.blocks):
            for index, block in enumerate(stage.children()):
                if index == 0 and number in self._inside_stage:
                    x, maps[self._inside_stage[number]] = _run_tapped(block, x)
                else:
                    x = block(x)
            if number + 1 in self._after_stage:
                maps[self._after_stage[number + 1]] = x
        last = max(maps)
        maps[last] = self.head(maps[last])
        return [maps[level] for level in range(len(maps))]

    def _aliases(self, key: str) -> tuple[str, ...]:
        for theirs, ours in (("conv_stem", "stem.0"), ("bn1", "stem.1"), ("conv_head", "head.0")):
            if key.startswith(f"{theirs}."):
                return (ours + key.removeprefix(theirs),)
        for norm in ("bn2", "norm_head"):
            if key.startswith(f"{norm}."):
                return ("head.1" + key.removeprefix(norm),)
        return (key,)


def _is_block_list(body: Any) -> bool:
    return all(hasattr(body, part) for part in ("conv_stem", "bn1", "blocks", "feature_info"))


def _expansion_length(block: nn.Module) -> int:
    """Return how many layers of a halving block come up to its expansion; 0 where it has none to tap.

    A block that halves the map has no shortcut, so it is the chain of its children in their order.
    """
    names = [name for name, _ in block.named_children()]
    if getattr(block, "has_skip", True) or "conv_s2d" in names:
        return 0
    if {"conv_pw", "bn1", "conv_dw", "conv_pwl"} <= set(names) and names.index("conv_pw") == 0:
        return names.index("bn1") + 1
    if {"pw_exp", "dw_mid"} <= set(names) and not isinstance(block.get_submodule("dw_mid"), nn.Identity):
        return names.index("pw_exp") + 1
    return 0


def _run_tapped(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Run a halving block; return its output and its expanded features."""
    length = _expansion_length(block)
    layers = [layer for name, layer in block.named_children() if name != "drop_path"]
    for layer in layers[:length]:
        x = layer(x)
    expanded = x
    for layer in layers[length:]:
        x = layer(x)
    return x, expanded


def _conv_head(name: str, extra: dict[str, Any]) -> nn.Module:
    """Return the 1x1 convolution, norm and activation between the last stage and the classifier."""
    kwargs = {key: value for key, value in extra.items() if key == "pad_type"}
    model = _build(name, kwargs)
    if not isinstance(getattr(model, "conv_head", None), nn.Conv2d):
        raise OptionError(f"timm:{name} has no conv_head: leave include_head off")
    rest = [getattr(model, part) for part in ("bn2", "norm_head", "act2") if hasattr(model, part)]
    return nn.Sequential(model.conv_head, *[layer for layer in rest if not isinstance(layer, nn.Identity)])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep timm's notices about renamed models and missing weights to itself."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _build(name: str, kwargs: dict[str, Any]) -> Any:
    try:
        with _quiet():
            return timm.create_model(name, pretrained=False, **kwargs)
    except TypeError as error:
        for option in kwargs:
            if f"'{option}'" in str(error):
                raise OptionError(f"timm:{name} has no option {option!r}: leave it out") from None
        raise OptionError(f"timm:{name} cannot be made a backbone: {_line(error)}") from None
    except (RuntimeError, ValueError, AssertionError, AttributeError, NotImplementedError, KeyError) as error:
        raise OptionError(f"timm:{name} cannot be made a backbone: {_line(error)}") from None


def _features(name: str, kwargs: dict[str, Any]) -> Any:
    """Build with timm's feature extraction; through a graph where timm itself would use hooks."""
    if "out_indices" not in kwargs:
        body = _first_that_builds(name, kwargs)
    else:
        body = _build(name, {**kwargs, "features_only": True})
    if type(body).__name__ == "FeatureHookNet":
        indices = tuple(body.feature_info.out_indices)
        body = _build(name, {**kwargs, "features_only": True, "feature_cls": "fx", "out_indices": indices})
    return body


def _first_that_builds(name: str, kwargs: dict[str, Any]) -> Any:
    """All maps: timm's default asks for five, and models with fewer refuse."""
    failure: OptionError | None = None
    for indices in (None, (0, 1, 2, 3), (0, 1, 2), (0, 1), (0,)):
        chosen = {} if indices is None else {"out_indices": indices}
        try:
            return _build(name, {**kwargs, "features_only": True, **chosen})
        except OptionError as error:
            failure = failure or error
            if "has no option" in str(error):
                break
    assert failure is not None
    raise failure


def _choose(name: str, reductions: list[int], wanted: _Wanted) -> tuple[list[int], list[int]]:
    """Return the index of the last map of each wanted stride, and those strides."""
    last = {reduction: index for index, reduction in enumerate(reductions)}
    has = ", ".join(map(str, last))
    missing = [stride for stride in wanted.strides if stride not in last]
    if missing:
        raise OptionError(f"timm:{name} has no map of stride {missing[0]}: its strides are {has}")
    usual = [stride for stride in DEFAULT_STRIDES if stride in last]
    # A model whose strides all lie below `min_stride` gives its last one: extra levels go on from there.
    chosen = list(wanted.strides) or [stride for stride in usual if stride >= wanted.least] or usual[-1:]
    if not chosen:
        raise OptionError(f"timm:{name} has no map of stride 8, 16 or 32: its strides are {has}")
    return [last[stride] for stride in chosen], chosen


def _measure(
    name: str, backbone: Backbone, reductions: list[int], size: tuple[int, int]
) -> tuple[list[int], list[int]]:
    """Run the backbone once, without data, and return the channels and strides that it really has."""
    height, width = size
    try:
        with torch.no_grad(), _quiet():
            dry = copy.deepcopy(backbone).eval().to("meta")
            shapes = [tuple(level.shape) for level in dry(torch.zeros(1, 3, height, width, device="meta"))]
    except Exception as error:  # whatever the foreign network raises, the user chose it
        raise OptionError(f"timm:{name} does not run as a backbone at {height}x{width}: {_line(error)}") from None
    if any(len(shape) != 4 for shape in shapes):
        raise OptionError(f"timm:{name} yields features that are not maps: {shapes}")
    measured = [height / shape[2] for shape in shapes]
    # Networks without padding lose some cells at the border, so the quotient is only near the stride.
    if any(abs(math.log2(real / declared)) > 0.5 for real, declared in zip(measured, reductions, strict=True)):
        strides = ", ".join(f"{real:.3g}" for real in measured)
        raise OptionError(f"timm:{name} declares the strides {reductions}, its maps have {strides}")
    return [shape[1] for shape in shapes], reductions


def _config(name: str) -> dict[str, Any]:
    with _quiet():
        config = timm.get_pretrained_cfg(name)
    return dict(config.to_dict()) if config is not None else {}


def needs_size(name: str) -> bool:
    """Return whether timm's model `name` is built for one size of input, and so wants the option `img_size`."""
    return bool(_config(name).get("fixed_input_size"))


def _test_size(name: str, extra: dict[str, Any]) -> tuple[int, int]:
    """A (height, width) that the model accepts: its own where that is fixed, else 256."""
    if "img_size" in extra:
        height, width = extra["img_size"]
        return height, width
    if needs_size(name):
        _, height, width = _config(name)["input_size"]
        return height, width
    return 256, 256


def _normalization(name: str) -> Normalization:
    config = _config(name)
    mean, std = config.get("mean"), config.get("std")
    if mean is None or std is None or len(mean) != 3:
        return IMAGENET
    return Normalization((mean[0] * 255, mean[1] * 255, mean[2] * 255), (std[0] * 255, std[1] * 255, std[2] * 255))


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
