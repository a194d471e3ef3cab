"""Types and shapes in annotations: held in the tests, and nothing anywhere else."""

import runpy
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

from edgessd.ops.boxes import decode, iou_matrix, to_xyxy
from edgessd.ops.nms import class_wise_nms
from edgessd.ops.preprocess import preprocess
from edgessd.results.arrays import shortest
from edgessd.spec import CoderSpec, InputSpec

SHAPES = Path(__file__).resolve().parent.parent / "edgessd" / "_shapes.py"


def floats(*shape):
    return np.zeros(shape, np.float32)


def labels(count):
    return np.zeros(count, np.int64)


@pytest.mark.parametrize(
    "call",
    [
        lambda: to_xyxy(floats(3, 5)),
        lambda: to_xyxy(floats(4)),
        lambda: to_xyxy(np.zeros((3, 4))),
        lambda: iou_matrix(floats(3, 4), floats(4, 3)),
        lambda: decode(floats(3, 4), floats(2, 4), CoderSpec()),
        lambda: class_wise_nms(floats(3, 4), labels(2), 0.5, 10),
        lambda: preprocess(np.zeros((8, 8, 4), np.uint8), InputSpec(width=4, height=4)),
        lambda: shortest(np.zeros(3)),
    ],
)
def test_a_wrong_shape_or_type_is_refused(call):
    jaxtyping = pytest.importorskip("jaxtyping")
    pytest.importorskip("beartype")
    with pytest.raises(jaxtyping.TypeCheckError):
        call()


def test_right_ones_pass():
    assert to_xyxy(floats(0, 4)).shape == (0, 4)
    assert iou_matrix(floats(3, 4), floats(2, 4)).shape == (3, 2)
    assert shortest(floats(3)).dtype == np.float64


def test_in_the_workshop_too():
    torch = pytest.importorskip("torch")
    jaxtyping = pytest.importorskip("jaxtyping")
    pytest.importorskip("beartype")
    from edgessd.training.matching import match

    priors, valid = torch.full((3, 4), 0.5), torch.ones(1, 2, dtype=torch.bool)
    assert match(priors, torch.rand(1, 2, 4), valid).shape == (1, 3)
    for boxes, flags in (
        (torch.rand(1, 2, 5), valid),
        (torch.rand(1, 3, 4), valid),
        (torch.rand(1, 2, 4), valid.int()),
    ):
        with pytest.raises(jaxtyping.TypeCheckError):
            match(priors, boxes, flags)


def test_elsewhere_they_are_plain_annotations_and_nothing_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "jaxtyping", raising=False)
    assert runpy.run_path(str(SHAPES))["Float32"] is Annotated
    assert "jaxtyping" not in sys.modules
