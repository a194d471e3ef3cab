"""The paper's augmentation (Liu et al. 2016, sections 2.2 and 3.6), in numpy and OpenCV.

The steps are those of torchvision's `RandomPhotometricDistort`, `RandomZoomOut`, `RandomIoUCrop` and
`RandomHorizontalFlip`. They are not used themselves: they draw from torch's global generator, and they
build the enlarged picture (16 times the area) before they cut it. Here all geometry is drawn first, as one
window of the source picture; the part of it that shows the picture is resized once, straight into its place,
and colours are changed on that small result.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.errors import OptionError, did_you_mean
from edgessd.ops.boxes import iou_matrix
from edgessd.ops.preprocess import content_size, resize, source_scale
from edgessd.spec import InputSpec

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]
Probability = Annotated[float, Meta(ge=0, le=1)]

# Smallest IoU of a crop with an object, section 2.2; 0 is the crop without a condition.
CROP_OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
TRIALS = 50
_INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
}


class Augmentation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often each step happens (0 switches it off), and how far it may go.

    photometric: of each of brightness, contrast, saturation and hue; `colour` scales their ranges, 1 is the
        paper's. expand: put the picture on a canvas of up to `expand_side` times its
        side, filled with the mean. crop: a window of `crop_size` ... 1 times the picture's sides with an
        aspect ratio of 1/2 ... 2 relative to it. flip: left to right.
    """

    photometric: Probability = 0.0
    colour: Probability = 1.0
    expand: Probability = 0.0
    expand_side: Annotated[float, Meta(ge=1, le=16)] = 4.0
    crop: Probability = 0.0
    crop_size: Annotated[float, Meta(gt=0, le=1)] = 0.1
    flip: Probability = 0.0


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "flip": Augmentation(flip=0.5),
    # For fine-tuning: objects keep about their size.
    "light": Augmentation(photometric=0.5, colour=0.5, crop=0.5, crop_size=0.5, flip=0.5),
    # 6 of the 7 choices of section 2.2 are crops, the seventh is the whole picture.
    "paper": Augmentation(photometric=0.5, expand=0.5, crop=6 / 7, flip=0.5),
}


def preset(name: str) -> Augmentation:
    """Return a preset: none, flip, light or paper. Raises OptionError for another name."""
    if name not in PRESETS:
        raise OptionError(f"unknown augmentation {name!r}{did_you_mean(name, PRESETS)}: use {', '.join(PRESETS)}")
    return PRESETS[name]


def augment(
    image: Image, boxes: Boxes, spec: InputSpec, options: Augmentation, rng: np.random.Generator
) -> tuple[Image, Boxes, NDArray[np.int64]]:
    """Return the picture at the input's size, its boxes, and which objects they are.

    image: [H, W, 3] BGR. boxes: [G, 4] xyxy in its pixels. Returns uint8 [spec.height, spec.width, 3] BGR,
    boxes [N, 4] in units of the input (0..1), cut to it, and the indices [N] of the objects that are left: those
    whose centre lies in the window and of which a pixel of the input is left. Without augmentation the picture
    is exactly `ops.preprocess.resize`'s.
    """
    height, width = image.shape[:2]
    window = (0.0, 0.0, float(width), float(height))
    if rng.random() < options.expand:
        window = _expand(width, height, 1 + rng.random() * (options.expand_side - 1), rng)
    if rng.random() < options.crop:
        window = _crop(window, (width, height), boxes, options.crop_size, rng)
    if window == (0.0, 0.0, float(width), float(height)):
        picture, place = resize(image, spec), None
    else:
        picture, place = _cut(image, window, spec)
    moved, kept = _move(boxes, window, (width, height), place, spec)
    if options.photometric:
        if place is None:
            picture = distort(picture, options.photometric, options.colour, rng)
        else:
            _, (x1, y1, x2, y2) = place
            picture[y1:y2, x1:x2] = distort(picture[y1:y2, x1:x2], options.photometric, options.colour, rng)
    if rng.random() < options.flip:
        picture, moved = _flip(picture, moved, spec, window)
    return np.ascontiguousarray(picture), moved, kept


Window = tuple[float, float, float, float]
# Part of the source that is seen, and where in the input it goes, both x1, y1, x2, y2 in whole pixels.
Place = tuple[tuple[int, int, int, int], tuple[int, int, int, int]]


def _expand(width: int, height: int, side: float, rng: np.random.Generator) -> Window:
    left = -rng.random() * (side - 1) * width
    top = -rng.random() * (side - 1) * height
    return _round(left), _round(top), _round(left + side * width), _round(top + side * height)


def _round(value: float) -> float:
    return float(round(value))


def _crop(window: Window, picture: tuple[int, int], boxes: Boxes, smallest: float, rng: np.random.Generator) -> Window:
    """Choose a part of the window; all trials are drawn and judged at once."""
    overlap = CROP_OVERLAPS[int(rng.integers(len(CROP_OVERLAPS)))]
    left, top, right, bottom = window
    size = rng.uniform(smallest, 1.0, TRIALS)
    # A side must not exceed the picture's: Caffe's sampler bounds the ratio by the size in the same way.
    ratio = rng.uniform(np.maximum(0.5, size**2), np.minimum(2.0, 1 / size**2))
    wide, high = size * np.sqrt(ratio), size / np.sqrt(ratio)
    x = left + rng.random(TRIALS) * (1 - wide) * (right - left)
    y = top + rng.random(TRIALS) * (1 - high) * (bottom - top)
    # In whole pixels, so that no strip at a border is neither picture nor outside.
    crops = np.rint(np.stack([x, y, x + wide * (right - left), y + high * (bottom - top)], axis=1))
    # Some of the picture must be seen, also where it has no objects or they lie outside of it.
    shown = np.minimum(crops[:, 2:], picture) - np.maximum(crops[:, :2], 0)
    passed = np.all(shown >= 1, axis=1)
    if len(boxes):
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = (centers[None] > crops[:, None, :2]) & (centers[None] < crops[:, None, 2:])
        passed &= np.any(np.all(inside, axis=2), axis=1)
        if overlap:
            passed &= (iou_matrix(crops.astype(np.float32), boxes) >= overlap).any(axis=1)
    found = np.flatnonzero(passed)
    if not len(found):
        return window
    x1, y1, x2, y2 = crops[found[0]].tolist()
    # No source pixel may be enlarged without end.
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= 4 else window


def _cut(image: Image, window: Window, spec: InputSpec) -> tuple[Image, Place | None]:
    """Show the window at the input's size; what lies outside of the picture is the mean."""
    height, width = image.shape[:2]
    left, top, right, bottom = window
    shown_width, shown_height = content_size(spec, max(1, round(right - left)), max(1, round(bottom - top)))
    canvas = _canvas(spec, shown_width, shown_height)
    x1, y1 = max(0, round(left)), max(0, round(top))
    x2, y2 = min(width, max(x1 + 1, round(right))), min(height, max(y1 + 1, round(bottom)))
    if x2 <= x1 or y2 <= y1:
        return canvas, ((0, 0, 1, 1), (0, 0, 0, 0))
    scale_x, scale_y = shown_width / (right - left), shown_height / (bottom - top)
    u1, v1 = max(0, round((x1 - left) * scale_x)), max(0, round((y1 - top) * scale_y))
    u2, v2 = min(shown_width, round((x2 - left) * scale_x)), min(shown_height, round((y2 - top) * scale_y))
    u1, v1 = min(u1, shown_width - 1), min(v1, shown_height - 1)
    u2, v2 = max(u2, u1 + 1), max(v2, v1 + 1)
    content = cv2.resize(image[y1:y2, x1:x2], (u2 - u1, v2 - v1), interpolation=_INTERPOLATION[spec.interpolation])
    canvas[v1:v2, u1:u2] = content
    return canvas, ((x1, y1, x2, y2), (u1, v1, u2, v2))


def _canvas(spec: InputSpec, shown_width: int, shown_height: int) -> Image:
    """The input filled with the model's mean, and with its padding where letterbox leaves room."""
    mean = np.clip(np.rint(spec.mean), 0, 255)
    canvas = np.empty((spec.height, spec.width, 3), np.uint8)
    canvas[:] = mean[::-1] if spec.channels == "RGB" else mean
    if (shown_width, shown_height) != (spec.width, spec.height):
        canvas[shown_height:], canvas[:, shown_width:] = spec.pad_value, spec.pad_value
    return canvas


def _move(
    boxes: Boxes, window: Window, size: tuple[int, int], place: Place | None, spec: InputSpec
) -> tuple[Boxes, NDArray[np.int64]]:
    """Boxes in units of the input, of the objects whose centre is inside the window."""
    if not len(boxes):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    if place is None:
        limit = np.asarray(source_scale(spec, *size))
        moved = boxes / np.tile(limit, 2)
        kept = np.arange(len(boxes))
        high = np.asarray(size) / limit
    else:
        (x1, y1, x2, y2), (u1, v1, u2, v2) = place
        # By the pixels that were really moved, not by the window: the two differ by the rounding.
        zoom = np.array([(u2 - u1) / (x2 - x1), (v2 - v1) / (y2 - y1)])
        shift = np.array([u1, v1]) - np.array([x1, y1]) * zoom
        units = np.array([spec.width, spec.height])
        moved = (boxes * np.tile(zoom, 2) + np.tile(shift, 2)) / np.tile(units, 2)
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = (center > window[:2]) & (center < window[2:])
        kept = np.flatnonzero(inside.all(axis=1))
        shown = content_size(spec, max(1, round(window[2] - window[0])), max(1, round(window[3] - window[1])))
        high = np.array(shown) / units
    moved = np.clip(moved[kept], 0, np.tile(high, 2))
    sides = (moved[:, 2:] - moved[:, :2]) * np.array([spec.width, spec.height])
    large = (sides >= 1).all(axis=1)
    return moved[large].astype(np.float32), kept[large]


def _flip(picture: Image, boxes: Boxes, spec: InputSpec, window: Window) -> tuple[Image, Boxes]:
    """Mirror the content; with letterbox the padding stays on the right."""
    shown, _ = content_size(spec, max(1, round(window[2] - window[0])), max(1, round(window[3] - window[1])))
    flipped = picture.copy()
    flipped[:, :shown] = picture[:, :shown][:, ::-1]
    result = boxes.copy()
    right = np.float32(shown / spec.width)
    result[:, 0], result[:, 2] = right - boxes[:, 2], right - boxes[:, 0]
    return flipped, result


def distort(image: Image, probability: float, strength: float, rng: np.random.Generator) -> Image:
    """Change brightness (by up to 32 of 255), contrast and saturation (0.5 .. 1.5), hue (18 of OpenCV's 180 steps).

    Each with `probability`; the ranges are the Caffe release's, scaled by `strength`. Contrast comes before or
    after saturation and hue, by chance (Howard 2013, "Some improvements on deep convolutional neural network
    based image classification", as cited by the paper).
    """
    brightness = strength * rng.uniform(-32, 32) if rng.random() < probability else 0.0
    contrast = 1 + strength * rng.uniform(-0.5, 0.5) if rng.random() < probability else 1.0
    saturation = 1 + strength * rng.uniform(-0.5, 0.5) if rng.random() < probability else 1.0
    hue = strength * rng.uniform(-18, 18) if rng.random() < probability else 0.0
    late = rng.random() < 0.5
    levels = np.arange(256, dtype=np.float32)
    first = np.clip(np.rint((levels + brightness) * (1 if late else contrast)), 0, 255).astype(np.uint8)
    result = image if (first == levels).all() else cv2.LUT(image, first)
    if saturation != 1 or round(hue):
        hsv = cv2.cvtColor(result, cv2.COLOR_BGR2HSV)
        tables = np.stack(
            [
                ((levels + round(hue)) % 180).astype(np.uint8),
                np.clip(np.rint(levels * saturation), 0, 255).astype(np.uint8),
                levels.astype(np.uint8),
            ],
            axis=-1,
        )
        result = cv2.cvtColor(cv2.LUT(hsv, tables[None]), cv2.COLOR_HSV2BGR)
    if late and contrast != 1:
        result = cv2.LUT(result, np.clip(np.rint(levels * contrast), 0, 255).astype(np.uint8))
    return np.asarray(result, np.uint8)
