import numpy as np
import pytest

from edgessd.errors import OptionError
from edgessd.ops.preprocess import resize
from edgessd.spec import InputSpec
from edgessd.training.augment import PRESETS, Augmentation, augment, preset

SPEC = InputSpec(width=120, height=100, mean=(100.0, 110.0, 120.0))
LETTERBOX = InputSpec(width=120, height=120, resize="letterbox")


def picture(rng, height=90, width=140):
    return rng.integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_switched_off_it_is_the_resize(rng):
    image, boxes = picture(rng), np.array([[10, 20, 50, 60], [0, 0, 140, 90]], np.float32)
    shown, moved, kept = augment(image, boxes, SPEC, Augmentation(), rng)
    assert np.array_equal(shown, resize(image, SPEC))
    assert np.allclose(moved, boxes / [140, 90, 140, 90], atol=1e-6)
    assert kept.tolist() == [0, 1]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("spec", [SPEC, LETTERBOX], ids=["stretch", "letterbox"])
def test_boxes_stay_inside_and_solid(name, spec, rng):
    boxes = np.array([[10, 20, 50, 60], [60, 5, 139, 88], [0, 0, 4, 4]], np.float32)
    for _ in range(60):
        shown, moved, kept = augment(picture(rng), boxes, spec, PRESETS[name], rng)
        assert shown.shape == (spec.height, spec.width, 3) and shown.dtype == np.uint8
        assert len(moved) == len(kept) <= 3
        assert (moved >= 0).all() and (moved <= 1).all()
        assert ((moved[:, 2:] - moved[:, :2]) * [spec.width, spec.height] >= 1 - 1e-4).all()


@pytest.mark.parametrize("spec", [SPEC, LETTERBOX], ids=["stretch", "letterbox"])
@pytest.mark.parametrize("step", ["expand", "crop", "flip"])
def test_boxes_move_with_the_pixels(step, spec, rng):
    image = np.zeros((90, 140, 3), np.uint8)
    image[30:60, 40:100] = 255
    box = np.array([[40, 30, 100, 60]], np.float32)
    options = Augmentation(**{step: 1.0})
    spec = InputSpec(width=spec.width, height=spec.height, resize=spec.resize, pad_value=0)
    for _ in range(40):
        shown, moved, _ = augment(image, box, spec, options, rng)
        rows, columns = np.nonzero(shown[..., 0] > 127)
        seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(moved[0] * [spec.width, spec.height, spec.width, spec.height] - seen).max() <= 1.5


def test_an_object_stays_if_and_only_if_its_centre_is_seen(rng):
    image = np.zeros((200, 200, 3), np.uint8)
    image[20:60, 20:60, 0] = np.arange(40, 80)[:, None]
    boxes = np.array([[20, 20, 60, 60], [120, 120, 180, 180]], np.float32)
    image[39:41, 39:41] = (0, 0, 255)  # the centres
    image[149:151, 149:151] = (0, 255, 0)
    spec = InputSpec(width=400, height=400)
    lost = 0
    for _ in range(60):
        shown, _, kept = augment(image, boxes, spec, Augmentation(crop=1.0), rng)
        # The last pixels at the border may or may not show; judge by the clear cases.
        inner = shown[8:-8, 8:-8]
        for number, channel in ((0, 2), (1, 1)):
            if (inner[..., channel] > 200).any():
                assert number in kept
            if not (shown[..., channel] > 100).any():
                assert number not in kept
        lost += len(kept) < 2
    assert lost > 10


def test_expanded_pictures_are_filled_with_the_mean(rng):
    image = np.zeros((50, 50, 3), np.uint8)
    shown, moved, _ = augment(image, np.array([[0, 0, 50, 50]], np.float32), SPEC, Augmentation(expand=1.0), rng)
    colors = {tuple(color) for color in shown.reshape(-1, 3).tolist()}
    assert colors <= {(0, 0, 0), (120, 110, 100)}  # BGR
    area = np.prod(moved[0, 2:] - moved[0, :2])
    assert 1 / 16 - 0.01 <= area < 1


def test_seeded():
    image, boxes = picture(np.random.default_rng(1)), np.array([[10, 20, 50, 60]], np.float32)
    first, second, other = (augment(image, boxes, SPEC, PRESETS["paper"], np.random.default_rng(k)) for k in (5, 5, 6))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_the_callers_picture_is_left_alone(rng):
    image, boxes = picture(rng, 100, 120), np.array([[10, 20, 50, 60]], np.float32)
    before = image.copy()
    for _ in range(20):
        augment(image, boxes, SPEC, PRESETS["paper"], rng)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "boxes", [[], [[5, 5, 5, 30]], [[30, 30, 10, 10]], [[-500, -500, -400, -400]], [[float("nan"), 0, 10, 10]]]
)
def test_degenerate_objects(boxes, rng):
    for _ in range(20):
        _, moved, kept = augment(picture(rng), np.array(boxes, np.float32).reshape(-1, 4), SPEC, PRESETS["paper"], rng)
        assert len(moved) == len(kept) == 0


@pytest.mark.parametrize("size", [(2, 2), (3, 500), (500, 3)])
def test_odd_pictures(size, rng):
    image = picture(rng, *size)
    boxes = np.array([[0, 0, size[1], size[0]]], np.float32)
    for _ in range(20):
        assert augment(image, boxes, SPEC, PRESETS["paper"], rng)[0].shape == (100, 120, 3)


def test_unknown_preset():
    with pytest.raises(OptionError, match="did you mean 'paper'"):
        preset("papers")
