from itertools import pairwise

import numpy as np
import pytest

from edgessd.draw.detections import class_color, draw_detections, text_color
from edgessd.draw.text import put_text, text_width

EMPTY = np.zeros((0, 4), np.float32)


def canvas(width: int = 320, height: int = 240, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def draw(image: np.ndarray, boxes: object, *, name: str = "person", **options: object) -> np.ndarray:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(array)
    return draw_detections(image, array, np.zeros(count, int), np.linspace(0.9, 0.5, count), [name] * count, **options)  # type: ignore[arg-type]


def test_without_detections_the_picture_stays_as_it_is() -> None:
    image = canvas()
    drawn = draw_detections(image, EMPTY, np.zeros(0, int), np.zeros(0), [])
    np.testing.assert_array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_copy_and_in_place() -> None:
    image = canvas()
    draw(image, [40, 60, 200, 180])
    assert (image == 128).all()
    assert draw(image, [40, 60, 200, 180], copy=False) is image
    assert (image != 128).any()


def test_box_has_the_colour_of_its_class_and_leaves_its_inside_free() -> None:
    drawn = draw(canvas(), [40, 60, 200, 180])
    assert tuple(drawn[120, 40]) == class_color(0) == tuple(drawn[120, 199])
    assert tuple(drawn[179, 120]) == class_color(0)
    assert (drawn[70:170, 50:190] == 128).all()


def test_label_stands_above_the_box_and_inside_at_the_upper_border() -> None:
    changed = (draw(canvas(), [40, 60, 200, 180]) != 128).any(axis=2)
    assert changed[48:58, 44:90].mean() > 0.5
    changed = (draw(canvas(), [40, 0, 200, 180]) != 128).any(axis=2)
    assert changed[2:12, 44:90].mean() > 0.5


@pytest.mark.parametrize("box", [(300, 200, 320, 240), (0, 0, 5, 5), (315, 0, 320, 240), (0, 236, 320, 240)])
def test_labels_stay_in_the_picture(box: tuple[int, int, int, int]) -> None:
    # A label of the same box in the middle of a larger picture has as many pixels.
    colors = (draw(canvas(), box, name="traffic light") == class_color(0)).all(axis=2).sum()
    assert colors > 400


@pytest.mark.parametrize(
    "box",
    [
        (np.nan, 0, 10, 10),
        (0, 0, np.inf, 10),
        (-50, -50, -10, -10),
        (400, 300, 500, 400),
        (100, 100, 50, 50),
    ],
)
def test_boxes_that_are_not_in_the_picture_are_left_out(box: tuple[float, float, float, float]) -> None:
    assert (draw(canvas(), box) == 128).all()


@pytest.mark.parametrize(
    "box", [(10, 10, 10, 10), (-1e30, -1e30, 1e30, 1e30), (319.6, 239.6, 319.9, 239.9), (5, 5, 6, 6)]
)
@pytest.mark.parametrize("size", [(320, 240), (2, 2), (3, 200), (200, 3), (40, 40)])
def test_odd_boxes_and_pictures_do_no_harm(box: tuple[float, ...], size: tuple[int, int]) -> None:
    drawn = draw(canvas(*size), box, name="a very long name for so small a picture")
    assert drawn.shape == (size[1], size[0], 3)


def test_lines_and_letters_grow_with_the_picture() -> None:
    def share(factor: int) -> float:
        image = canvas(320 * factor, 240 * factor)
        box = np.array([40, 60, 200, 180]) * factor
        return float((draw(image, box) != 128).any(axis=2).mean())

    assert share(8) == pytest.approx(share(2), rel=0.25)


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    image = canvas(640, 480)
    boxes = np.array([[100, 100, 200, 300], [110, 102, 210, 300], [120, 98, 220, 300]], np.float32)
    drawn = draw_detections(image, boxes, np.array([0, 1, 2]), np.array([0.9, 0.8, 0.7]), ["aaaaaaaa"] * 3)
    areas = [(drawn == class_color(label)).all(axis=2).sum() for label in range(3)]
    assert min(areas) > 0.6 * max(areas)


def test_labels_keep_away_from_what_they_are_told() -> None:
    image = canvas()
    drawn = draw(image, [0, 0, 300, 200], avoid=[(0, 0, 150, 100)])
    assert (drawn[10:100, 10:150] == 128).all()
    assert (drawn != 128).sum() > (draw(image, [0, 0, 300, 200], name="") != 128).sum()


def test_a_crowd_keeps_the_labels_of_the_surest() -> None:
    image = canvas(300, 200)
    generator = np.random.default_rng(0)
    corners = generator.uniform(80, 120, (60, 2))
    drawn = draw(image, np.hstack([corners, corners + 15]))
    assert 0 < (drawn != 128).any(axis=2).mean() < 0.9


def test_colours_of_classes_are_stable_and_differ() -> None:
    # The first colours are part of what users know; they change on purpose only.
    assert [class_color(label) for label in (0, 1, 2)] == [(255, 151, 38), (95, 250, 221), (204, 10, 184)]
    colors = [class_color(label) for label in range(90)]
    assert len(set(colors)) == 90
    neighbours = [np.abs(np.subtract(a, b)).sum() for a, b in pairwise(colors)]
    assert min(neighbours) > 100


@pytest.mark.parametrize(
    ("background", "dark"), [((255, 255, 255), True), ((0, 255, 255), True), ((0, 0, 0), False), ((255, 0, 0), False)]
)
def test_text_is_readable_on_its_field(background: tuple[int, int, int], dark: bool) -> None:
    assert (sum(text_color(background)) < 100) == dark


@pytest.mark.parametrize("text", ["", "person 87%", "é ü ñ", "日本語", "a\nb"])
def test_any_text_can_be_measured_and_written(text: str) -> None:
    image = canvas()
    assert (text_width(text, 14) > 0) == bool(text)
    put_text(image, text, 10, 100, 14, (255, 255, 255))


def test_a_box_that_fills_the_picture_has_its_label_between_the_panels():
    picture = np.zeros((240, 320, 3), np.uint8)
    panels = [(0, 0, 320, 60), (0, 180, 320, 240)]
    drawn = draw_detections(
        picture, np.array([[0.0, 0, 320, 240]]), np.array([0]), np.array([0.9]), ["cat"], avoid=panels
    )
    lines = draw_detections(picture, np.array([[0.0, 0, 320, 240]]), np.array([0]), np.array([0.9]), [""], avoid=panels)
    rows = np.flatnonzero((drawn != lines).any(axis=(1, 2)))
    assert len(rows) and rows.min() >= 60 and rows.max() < 180
