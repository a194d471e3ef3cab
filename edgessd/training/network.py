"""The network of a run: a preset or any backbone, the paper's experiments, and the weights to start from."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgessd import __version__
from edgessd.datasets import LabelledSet
from edgessd.datasets.doctor import fit_priors
from edgessd.datasets.types import Sample
from edgessd.errors import InputError, OptionError
from edgessd.io.images import load_image
from edgessd.models.presets import create_model
from edgessd.models.ssd import SSD, build_ssd
from edgessd.ops.priors import RATIO_ABLATION, SSD300_MAPS, layer_ablation_priors, paper_priors
from edgessd.spec import ModelSpec, PriorSpec, Provenance
from edgessd.training.config import TrainConfig
from edgessd.training.transfer import Source, TransferReport, read_source, start_heads, transfer

# MultiBox (Erhan et al. 2014, section 4) keeps the K best boxes of a picture, whatever they show.
MULTIBOX_TOP_K = 100


def build_network(
    config: TrainConfig, classes: Sequence[str], objects: LabelledSet | None = None
) -> tuple[SSD, ModelSpec, TransferReport | None]:
    """Return the network in training mode, its spec, and what was taken over from `config.init`.

    objects: the data, whose category ids the spec keeps, and what priors are fitted to where `config.priors` asks
    for that.
    Raises OptionError for options that do not fit each other, ModelError for weights that do not fit.
    """
    source = read_source(config.init) if config.init else None
    sigmoid = config.loss != "softmax"
    if source is not None and source.detector is not None and not (config.head or config.backbone or config.size):
        if config.top_down:
            raise OptionError("a top-down step makes another network than that of init: name its backbone (--backbone)")
        spec = _spec_for_classes(source.detector[1], classes, sigmoid)
    elif not config.backbone and config.head in ("", "ssd", "ssdlite"):
        raise OptionError(
            "which network? give a backbone (--backbone timm:mobilenetv2_100), a detector to start from (--init), "
            "or a published one (--head ssd300_vgg16)"
        )
    else:
        spec = create_model(
            config.head or "ssdlite",
            classes=classes,
            size=config.size,
            backbone=config.backbone or None,
            backbone_options=config.backbone_options,
            scores="sigmoid" if sigmoid else "softmax",
            top_down=config.top_down,
            receptive_fields=False,
        )[1]
    spec = msgspec.structs.replace(spec, category_ids=None if objects is None else objects.category_ids)
    spec = _experiment(spec, config, objects)
    if config.class_agnostic:
        limits = msgspec.structs.replace(spec.defaults, max_detections=MULTIBOX_TOP_K, max_candidates=MULTIBOX_TOP_K)
        spec = msgspec.structs.replace(spec, defaults=limits)
    model = build_ssd(spec)
    start_heads(model, spec)
    return model.train(), spec, None if source is None else _start(model, spec, source)


def _start(model: SSD, spec: ModelSpec, source: Source) -> TransferReport:
    return transfer(model, spec, source)


def _spec_for_classes(source: ModelSpec, classes: Sequence[str], sigmoid: bool) -> ModelSpec:
    """The source's spec for other classes; what it says about its own weights is left behind."""
    if source.architecture is None or source.quantization is not None:
        raise OptionError(f"{source.name} has no architecture to train: name a backbone (--backbone)")
    return msgspec.structs.replace(
        source,
        classes=tuple(classes),
        category_ids=None,
        scores="sigmoid" if sigmoid else "softmax",
        provenance=Provenance(edgessd=__version__, license=source.provenance.license),
    )


def _experiment(spec: ModelSpec, config: TrainConfig, objects: LabelledSet | None) -> ModelSpec:
    """Apply the switches of the paper's section 3.2: aspect ratios, prediction layers, boundary boxes; or k-means."""
    if config.layers:
        spec = _with_layers(spec, config.layers)
    if config.ratios:
        spec = msgspec.structs.replace(spec, priors=_with_ratios(spec.priors, config.ratios))
    if config.priors:
        assert objects is not None
        sizes = [_size(sample) for sample in objects.samples]
        fitted = fit_priors(objects, sizes, spec.input, spec.priors, config.seed).proposal
        spec = msgspec.structs.replace(spec, priors=fitted)
    if config.exclude_boundary:
        spec = msgspec.structs.replace(spec, priors=msgspec.structs.replace(spec.priors, exclude_boundary=True))
    return spec


def _size(sample: Sample) -> tuple[int, int] | None:
    """Width and height of a picture; None where it cannot be read, which training counts."""
    if sample.size is not None:
        return sample.size
    try:
        height, width = load_image(sample.image).shape[:2]
    except InputError:
        return None
    return width, height


def _with_ratios(priors: PriorSpec, ratios: str) -> PriorSpec:
    if ratios not in RATIO_ABLATION:
        raise OptionError(f"ratios are one of '1', '1,2' and '1,2,3', not {ratios!r}: the paper's table 2")
    count = len(priors.levels)
    maps = [(level.rows, level.columns) for level in priors.levels]
    narrow = {0, count - 2, count - 1}
    sets = [[r for r in RATIO_ABLATION[ratios] if r == 2 or level not in narrow] for level in range(count)]
    return paper_priors(maps, sets, exclude_boundary=priors.exclude_boundary)


def _with_layers(spec: ModelSpec, layers: int) -> ModelSpec:
    """Leave out the last levels and stack their scales on those that stay, as in the paper's table 3."""
    assert spec.architecture is not None
    levels = spec.priors.levels
    fixed = len(levels) - len(spec.architecture.extras)  # these are the backbone's
    if not fixed <= layers <= len(levels):
        raise OptionError(f"this network can have {fixed} to {len(levels)} prediction layers, not {layers}")
    maps = tuple((level.rows, level.columns) for level in levels)
    if maps == SSD300_MAPS:
        priors = layer_ablation_priors(layers)
    else:
        boxes = [box for level in levels[layers - 1 :] for box in level.boxes]
        kept = [*levels[: layers - 1], msgspec.structs.replace(levels[layers - 1], boxes=tuple(boxes))]
        priors = msgspec.structs.replace(spec.priors, levels=tuple(kept))
    architecture = msgspec.structs.replace(spec.architecture, extras=spec.architecture.extras[: layers - fixed])
    return msgspec.structs.replace(spec, priors=priors, architecture=architecture)
