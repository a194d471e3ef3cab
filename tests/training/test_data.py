import math

import numpy as np
import pytest
import torch

from edgessd.datasets import load_dataset
from edgessd.ops.preprocess import preprocess
from edgessd.spec import InputSpec
from edgessd.training.augment import PRESETS
from edgessd.training.data import Batches, TrainingSet, collate, make_loader, normalize
from edgessd.training.preview import draw_augmented
from edgessd.training.schedule import learning_rate

SPEC = InputSpec(width=64, height=48, mean=(127.5, 100.0, 90.0), scale=(127.5, 50.0, 60.0))


@pytest.mark.parametrize(("length", "batch", "world"), [(1, 4, 1), (7, 3, 1), (8, 4, 1), (10, 2, 2), (3, 4, 2)])
def test_batches_are_full_and_hold_every_sample(length, batch, world):
    parts = [list(Batches(length, batch, seed=1, epoch=0, rank=rank, world=world)) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    keys = [key for part in parts for keys in part for key in keys]
    assert all(len(keys) == batch for part in parts for keys in part)
    assert {key.sample for key in keys} == set(range(length))
    assert len(set(keys)) == len(keys)  # a sample that comes again gets another augmentation


def test_processes_share_what_one_would_see():
    one = list(Batches(16, 4, seed=1, epoch=3))
    two = [list(Batches(16, 2, seed=1, epoch=3, rank=rank, world=2)) for rank in range(2)]
    assert one == [first + second for first, second in zip(*two, strict=True)]
    assert list(Batches(16, 4, seed=1, epoch=3, start=2)) == one[2:]
    assert list(Batches(16, 4, seed=1, epoch=4)) != one


def test_without_augmentation_the_input_is_the_detectors(voc):
    data = load_dataset(voc, "train")
    item = TrainingSet(data, SPEC, PRESETS["none"], 0)[next(iter(Batches(8, 1, 0, 0)))[0]]
    batch = collate([item])
    from edgessd.io.images import load_image

    expected = preprocess(load_image(data.samples[item.key.sample].image), SPEC)
    assert np.allclose(normalize(batch.images, SPEC)[0].numpy(), expected, atol=1e-6)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_collate_pads_and_marks(voc):
    data = load_dataset(voc, "train")
    (voc / "JPEGImages/001.png").write_bytes(b"nothing")
    dataset = TrainingSet(data, SPEC, PRESETS["none"], 0)
    [keys] = list(Batches(8, 8, 0, 0))
    items = [dataset[key] for key in keys]
    batch = collate(items)
    assert batch.images.shape == (8, 3, 48, 64) and batch.boxes.shape == (8, 2, 4)
    assert batch.valid.sum(dim=1).tolist() == [len(item.boxes) for item in items]
    broken = [key.sample for key in keys].index(1)
    assert batch.usable.tolist() == [row != broken for row in range(8)]
    assert [index for index, _ in batch.failures] == [1]
    assert not batch.valid[broken].any() and batch.images[broken].any()


def test_loader_gives_the_same_with_workers(voc):
    dataset = TrainingSet(load_dataset(voc, "train"), SPEC, PRESETS["paper"], 7)
    first, second = (list(make_loader(dataset, Batches(8, 4, 7, 0), workers)) for workers in (0, 2))
    assert all(
        torch.equal(a.images, b.images) and torch.equal(a.boxes, b.boxes) for a, b in zip(first, second, strict=True)
    )


def test_classes_can_be_mapped_and_left_out(voc):
    data = load_dataset(voc, "train")
    dataset = TrainingSet(data, SPEC, PRESETS["none"], 0, labels=[-1, 5])
    labels = torch.cat([collate([dataset[key]]).labels.flatten() for [key] in Batches(8, 1, 0, 0)])
    assert set(labels.tolist()) <= {0, 5}


def test_preview(voc):
    data = load_dataset(voc, "train")
    sheet = draw_augmented(data, SPEC, 5, 3)
    assert sheet.ndim == 3 and sheet.dtype == np.uint8
    assert np.array_equal(sheet, draw_augmented(data, SPEC, 5, 3))
    assert not np.array_equal(sheet, draw_augmented(data, SPEC, 5, 4))


@pytest.mark.parametrize(
    ("step", "schedule", "expected"),
    [
        (0, "cosine", 0.1),
        (9, "cosine", 1.0),
        (10, "cosine", 1.0),
        (55, "cosine", 0.5),
        (100, "cosine", 0.0),
        (66, "steps", 1.0),
        (67, "steps", 0.1),
        (84, "steps", 0.01),
        (99, "constant", 1.0),
    ],
)
def test_learning_rate(step, schedule, expected):
    assert math.isclose(learning_rate(step, 100, 1.0, schedule, warmup=10), expected, abs_tol=1e-9)
