from pathlib import Path

import numpy as np
import pytest

from edgessd.datasets import LabelledSet
from edgessd.datasets.types import Sample
from edgessd.errors import OptionError
from edgessd.models.checkpoint import save_checkpoint
from edgessd.training import make_config
from edgessd.training.network import build_network

SMALL = {"backbone": "timm:mobilenetv3_small_050", "head": "ssd", "size": 160}


def build(**values):
    return build_network(make_config(data="data", out="out", **{**SMALL, **values}), ("cat", "dog"))[:2]


@pytest.mark.parametrize(
    ("values", "boxes"),
    [
        # Maps of 20, 10, 5, 3 and 1 cells a side.
        ({}, 400 * 4 + 100 * 6 + 25 * 6 + 9 * 4 + 4),
        ({"ratios": "1,2"}, 4 * (400 + 100 + 25 + 9 + 1)),
        ({"ratios": "1"}, 2 * (400 + 100 + 25 + 9 + 1)),
        # The boxes of the levels that go are stacked on the last one that stays.
        ({"layers": 4}, 400 * 4 + 100 * 6 + 25 * 6 + 9 * 8),
        ({"layers": 3}, 400 * 4 + 100 * 6 + 25 * 14),
    ],
)
def test_switches_change_the_priors(values, boxes):
    model, spec = build(**values)
    assert spec.priors.count == boxes
    assert len(model.head.logits) == values.get("layers", 5)


def test_boundary_boxes_are_excluded_by_the_spec():
    assert build(exclude_boundary=True)[1].priors.exclude_boundary


def test_a_top_down_step_starts_one_level_finer(tmp_path):
    model, spec = build(head="ssdlite", top_down=16)
    assert model.neck is not None and spec.priors.levels[0].rows == 20
    plain = build(head="ssdlite")
    assert plain[0].neck is None and plain[1].priors.levels[0].rows == 10
    save_checkpoint(tmp_path / "plain.safetensors", *plain)
    config = make_config(data="data", out="out", init=str(tmp_path / "plain.safetensors"), top_down=16)
    with pytest.raises(OptionError, match="name its backbone"):
        build_network(config, ("cat",))


@pytest.mark.parametrize(
    ("layers", "boxes"),
    [(6, 8732), (5, 8764), (4, 8942), (3, 9864), (2, 9025)],  # the paper's table 3
)
def test_layers_of_the_papers_network(layers, boxes):
    config = make_config(data="data", out="out", head="ssd300_vgg16", layers=layers)
    model, spec, _ = build_network(config, ("cat",))
    assert spec.priors.count == boxes and len(model.head.logits) == layers


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 1}, "3 to 5 prediction layers"),
        ({"layers": 9}, "3 to 5 prediction layers"),
        ({"ratios": "1,3"}, "table 2"),
        ({"backbone_options": {"atrous": False}}, "has no option 'atrous'"),
    ],
)
def test_switches_that_do_not_fit(values, message):
    with pytest.raises(OptionError, match=message):
        build(**values)


@pytest.mark.parametrize(("loss", "scores"), [("softmax", "softmax"), ("focal", "sigmoid"), ("sigmoid", "sigmoid")])
def test_scores_follow_the_loss(loss, scores):
    assert build(loss=loss)[1].scores == scores


def test_the_spec_keeps_the_category_ids_of_the_data():
    for ids in ((17, 3), None):
        objects = LabelledSet((), ("cat", "dog"), ids)
        spec = build_network(make_config(data="data", out="out", **SMALL), objects.classes, objects)[1]
        assert (spec.classes, spec.category_ids) == (("cat", "dog"), ids)


def test_priors_are_fitted_to_the_objects_and_keep_the_heads_channels():
    boxes = np.array([[10, 10, 90, 22], [5, 40, 85, 54]], np.float32)
    flags, area = np.zeros(2, bool), np.ones(2)
    sample = Sample(Path("a.jpg"), 1, boxes, np.array([0, 1]), flags, flags, area, size=(100, 100))
    objects = LabelledSet((sample,), ("cat", "dog"), (1, 2))
    config = make_config(data="data", out="out", priors="kmeans", **SMALL)
    spec = build_network(config, objects.classes, objects)[1]
    plain = build()[1]
    assert spec.priors.rule == "kmeans"
    assert [len(level.boxes) for level in spec.priors.levels] == [len(level.boxes) for level in plain.priors.levels]
    assert all(width > 4 * height for level in spec.priors.levels for width, height in level.boxes)
