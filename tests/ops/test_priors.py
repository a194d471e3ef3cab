import numpy as np
import pytest

from edgessd.errors import OptionError
from edgessd.ops.priors import (
    PUBLISHED,
    SSD300_MAPS,
    caffe_priors,
    cell_boxes,
    explicit_priors,
    inside_mask,
    kept_count,
    layer_ablation_priors,
    linear_scales,
    multibox_priors,
    paper_priors,
    prior_boxes,
    ratio_ablation_priors,
    tensorflow_priors,
    torchvision_priors,
)
from edgessd.spec import PriorLevel, PriorSpec

TF_MAPS = [(side, side) for side in (19, 10, 5, 3, 2, 1)]

# Counts: Liu et al. 2016, sections 2.2, 3.1 (SSD300, SSD512) and tables 2 and 3; Szegedy et al.
# 2014 (MultiBox); TensorFlow Object Detection API, ssdlite_mobilenet_v2_coco.
COUNTS = [
    ("ssd300-paper", 8732),
    ("ssd300-caffe", 8732),
    ("ssd512-caffe", 24564),
    ("ratios-1", 3880),
    ("ratios-1,2", 7760),
    ("ratios-1,2,3", 8732),
    ("layers-1", 8664),
    ("layers-2", 9025),
    ("layers-3", 9864),
    ("layers-4", 8942),
    ("layers-5", 8764),
    ("layers-6", 8732),
    ("multibox", 1420),
    ("ssdlite300-tensorflow", 1917),
]


@pytest.mark.parametrize(("name", "count"), COUNTS)
def test_published_tables_have_exactly_the_published_number_of_priors(name, count):
    _, table = PUBLISHED[name]
    assert table().count == count
    assert prior_boxes(table()).shape == (count, 4)
    assert prior_boxes(table()).dtype == np.float32
    assert (prior_boxes(table())[:, 2:] > 0).all()


def test_linear_scales_are_the_papers():
    # Section 2.2: s_min 0.2, s_max 0.9, m = 6; section 3.1: conv4_3 gets 0.1.
    assert linear_scales(6) == pytest.approx([0.2, 0.34, 0.48, 0.62, 0.76, 0.90, 1.04])
    firsts = [level.boxes[0][0] for level in paper_priors().levels]
    assert firsts == pytest.approx([0.1, 0.34, 0.48, 0.62, 0.76, 0.90])
    assert linear_scales(1) == [0.2, 0.2]


def test_caffe_sizes_are_the_releases():
    firsts = [level.boxes[0][0] * 300 for level in caffe_priors(300).levels]
    assert firsts == pytest.approx([30, 60, 111, 162, 213, 264])
    extra = caffe_priors(300).levels[5].boxes[1][0] * 300
    assert extra == pytest.approx((264 * 315) ** 0.5)
    # conv4_3 has 38 cells of 8 pixels, 304 in all: the last centre lies at 37.5 * 8 = 300.
    assert prior_boxes(caffe_priors(300))[: 38 * 38 * 4, 0].max() == pytest.approx(1.0)


def test_a_cell_has_ratio_1_the_extra_box_then_each_ratio_and_its_inverse():
    cell = paper_priors().levels[1].boxes
    ratios = [width / height for width, height in cell]
    assert ratios == pytest.approx([1, 1, 2, 1 / 2, 3, 1 / 3])
    areas = [width * height for width, height in cell]
    assert areas == pytest.approx([0.34**2, 0.34 * 0.48, *[0.34**2] * 4])


def test_order_is_level_row_column_box():
    spec = explicit_priors([(1, 2), (2, 1)], [[(0.1, 0.2), (0.3, 0.4)], [(0.5, 0.6)]])
    expected = [
        [0.25, 0.5, 0.1, 0.2],
        [0.25, 0.5, 0.3, 0.4],
        [0.75, 0.5, 0.1, 0.2],
        [0.75, 0.5, 0.3, 0.4],
        [0.5, 0.25, 0.5, 0.6],
        [0.5, 0.75, 0.5, 0.6],
    ]
    np.testing.assert_allclose(prior_boxes(spec), expected, rtol=1e-6)


def test_clip_cuts_corners_and_leaves_inner_priors_alone():
    kept, cut = prior_boxes(paper_priors()), prior_boxes(paper_priors(clip=True))
    inside = inside_mask(paper_priors())
    np.testing.assert_allclose(cut[inside], kept[inside], atol=1e-6)
    low, high = cut[:, :2] - cut[:, 2:] / 2, cut[:, :2] + cut[:, 2:] / 2
    assert low.min() >= -1e-6
    assert high.max() <= 1 + 1e-6
    assert (cut[~inside, 2:] < kept[~inside, 2:] - 1e-6).any(axis=1).all()


def test_boundary_priors_can_be_left_out():
    spec = paper_priors(exclude_boundary=True)
    assert spec.count == 8732
    assert kept_count(paper_priors()) == 8732
    boxes = prior_boxes(spec)[inside_mask(spec)]
    assert kept_count(spec) == len(boxes) < 8732
    assert (boxes[:, :2] - boxes[:, 2:] / 2).min() >= -1e-5
    assert (boxes[:, :2] + boxes[:, 2:] / 2).max() <= 1 + 1e-5


def test_tensorflow_rule_by_hand():
    # models/weights README: first level (0.1, 1), (0.2, 2), (0.2, 0.5); others 1, 2, 1/2, 3, 1/3, extra.
    first, second, *_, last = tensorflow_priors(TF_MAPS).levels
    assert first.boxes == pytest.approx(
        np.array([(0.1, 0.1), (0.2 * 2**0.5, 0.2 / 2**0.5), (0.2 / 2**0.5, 0.2 * 2**0.5)])
    )
    assert second.boxes[0] == pytest.approx((0.35, 0.35))
    assert second.boxes[5] == pytest.approx(((0.35 * 0.5) ** 0.5,) * 2)
    assert last.boxes[5] == pytest.approx(((0.95 * 1.0) ** 0.5,) * 2)


def test_tensorflow_rule_matches_the_published_anchors(shared):
    safetensors = pytest.importorskip("safetensors.numpy")
    anchors = safetensors.load_file(shared / "weights" / "ssdlite_mobilenet_v2_coco.safetensors")["anchors"]
    ours = prior_boxes(tensorflow_priors(TF_MAPS))
    corners = np.concatenate([ours[:, 1::-1] - ours[:, :1:-1] / 2, ours[:, 1::-1] + ours[:, :1:-1] / 2], axis=1)
    np.testing.assert_allclose(corners, anchors, atol=5e-5)


def test_torchvision_rule_cuts_sizes_to_the_picture():
    spec = torchvision_priors([(1, 1)], [[3.0]], scales=[0.9, 1.0])
    assert max(max(box) for box in spec.levels[0].boxes) == 1.0
    free = torchvision_priors([(1, 1)], [[3.0]], scales=[0.9, 1.0], clip=False)
    assert max(max(box) for box in free.levels[0].boxes) > 1.5


def test_layers_of_the_ablation_keep_the_cells_own_boxes_first():
    full, fewer = layer_ablation_priors(6), layer_ablation_priors(3)
    for own, stacked in zip(full.levels[:3], fewer.levels, strict=True):
        assert stacked.boxes[: len(own.boxes)] == own.boxes


def test_multibox_has_eleven_boxes_a_cell_and_one_of_the_whole_picture():
    levels = multibox_priors().levels
    assert [len(level.boxes) for level in levels] == [11, 11, 11, 11, 11, 1]
    assert levels[-1].boxes == ((1.0, 1.0),)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: caffe_priors(400), "300 and 512"),
        (lambda: layer_ablation_priors(0), "1 to 6"),
        (lambda: ratio_ablation_priors("4"), "aspect-ratio sets"),
        (lambda: explicit_priors([(1, 1)], []), "one for each"),
        (lambda: paper_priors(SSD300_MAPS, [[2.0]]), "1 ratios for 6"),
        (lambda: torchvision_priors([(1, 1)], [[2.0]], scales=[0.1]), "2 scales"),
        (lambda: torchvision_priors([(1, 1)], [[2.0], [3.0]], scales=[0.1, 0.2]), "2 ratios for 1"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(OptionError, match=message):
        call()


def test_the_table_is_read_only_because_it_is_shared():
    with pytest.raises(ValueError, match="read-only"):
        prior_boxes(paper_priors())[0] = 0


# ssd_pascal.py of the Caffe release: min_sizes, max_sizes and steps. SSD300: the first level 10 % of the input, then
# 20 to 90 % in steps of 17 (integers); SSD512: 7 %, then 15 to 90 in steps of 15, of 512 pixels.
@pytest.mark.parametrize(
    ("size", "smallest", "largest", "steps"),
    [
        (300, [30, 60, 111, 162, 213, 264], [60, 111, 162, 213, 264, 315], [8, 16, 32, 64, 100, 300]),
        (
            512,
            [35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8],
            [76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6],
            [8, 16, 32, 64, 128, 256, 512],
        ),
    ],
)
def test_caffe_sizes_and_steps_of_every_level(size, smallest, largest, steps):
    levels = caffe_priors(size).levels
    assert [level.boxes[0][0] * size for level in levels] == pytest.approx(smallest)
    between = [(low * high) ** 0.5 for low, high in zip(smallest, largest, strict=True)]
    assert [level.boxes[1][1] * size for level in levels] == pytest.approx(between)
    assert [[side * size for side in level.step] for level in levels] == pytest.approx(np.array([steps, steps]).T)
    first = [prior_boxes(caffe_priors(size))[0, :2] * size]
    np.testing.assert_allclose(first, [[4, 4]], rtol=1e-6)  # half a step of 8


@pytest.mark.parametrize(("name", "ratios"), [
    ("ssd300-caffe", [[2], [2, 3], [2, 3], [2, 3], [2], [2]]),
    ("ssd512-caffe", [[2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2]]),
    ("ssd300-paper", [[2], [2, 3], [2, 3], [2, 3], [2], [2]]),
    ("ratios-1", [[]] * 6),
    ("ratios-1,2", [[2]] * 6),
    ("ratios-1,2,3", [[2], [2, 3], [2, 3], [2, 3], [2], [2]]),
])  # fmt: skip
def test_ratios_and_maps_of_every_level(name, ratios):
    size, table = PUBLISHED[name]
    maps = [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4), (2, 2), (1, 1)] if size == 512 else SSD300_MAPS
    assert [(level.rows, level.columns) for level in table().levels] == list(maps)
    for level, expected in zip(table().levels, ratios, strict=True):
        found = [width / height for width, height in level.boxes]
        assert found == pytest.approx([1, 1, *(each for ratio in expected for each in (ratio, 1 / ratio))])


def test_names_stand_for_their_input_and_rule():
    assert {name: size for name, (size, _) in PUBLISHED.items() if size != 300} == {
        "ssd512-caffe": 512,
        "multibox": 299,
    }
    assert PUBLISHED["ssd300-inside"][1]().exclude_boundary and not PUBLISHED["ssd300-paper"][1]().exclude_boundary
    assert PUBLISHED["ssdlite300-tensorflow"][1]() == tensorflow_priors(TF_MAPS)
    rules = {name: table().rule for name, (_, table) in PUBLISHED.items()}
    wanted = ("ssd300-paper", "ssd512-caffe", "multibox", "layers-3", "ssdlite300-tensorflow")
    assert [rules[name] for name in wanted] == ["paper", "caffe", "multibox", "paper", "tensorflow"]


def test_steps_shift_the_centres_and_nothing_else():
    spec = torchvision_priors([(2, 3)], [[2.0]], scales=[0.1, 0.2], steps=[(0.25, 0.4)])
    table = prior_boxes(spec)
    assert sorted({round(float(x), 6) for x in table[:, 0]}) == [0.125, 0.375, 0.625]
    assert sorted({round(float(y), 6) for y in table[:, 1]}) == [0.2, 0.6]
    assert spec.levels[0].boxes == torchvision_priors([(2, 3)], [[2.0]], scales=[0.1, 0.2]).levels[0].boxes


def test_torchvision_scales_by_ratio_are_even_and_end_in_1():
    spec = torchvision_priors([(4, 4), (2, 2), (1, 1)], [[2.0]] * 3)
    sizes = [0.15, 0.525, 0.9, 1.0]
    assert [level.boxes[0][0] for level in spec.levels] == pytest.approx(sizes[:3])
    assert [level.boxes[1][0] for level in spec.levels] == pytest.approx(
        [(sizes[k] * sizes[k + 1]) ** 0.5 for k in range(3)]
    )
    other = torchvision_priors([(4, 4), (2, 2)], [[2.0]] * 2, min_ratio=0.3, max_ratio=0.6)
    assert [level.boxes[0][0] for level in other.levels] == pytest.approx([0.3, 0.6])


def test_tensorflow_scales_are_even_and_end_in_1():
    levels = tensorflow_priors(TF_MAPS).levels
    assert [level.boxes[0][0] for level in levels[1:]] == pytest.approx([0.35, 0.5, 0.65, 0.8, 0.95])
    scales = [0.35, 0.5, 0.65, 0.8, 0.95, 1.0]
    assert [level.boxes[5][1] for level in levels[1:]] == pytest.approx(
        [(scales[k] * scales[k + 1]) ** 0.5 for k in range(5)]
    )
    for level in levels[1:]:
        assert [w / h for w, h in level.boxes] == pytest.approx([1, 2, 1 / 2, 3, 1 / 3, 1])
    other = tensorflow_priors([(2, 2), (1, 1)], min_scale=0.3, max_scale=0.5).levels
    assert other[0].boxes[1] == pytest.approx((0.3 * 2**0.5, 0.3 / 2**0.5)) and other[1].boxes[0][0] == pytest.approx(
        0.5
    )


def test_multibox_shapes_are_those_that_its_docstring_says():
    for side, level in zip((8, 6, 4, 3, 2), multibox_priors().levels, strict=False):
        assert (level.rows, level.columns) == (side, side)
        squares = [2 ** (k / 2) / side for k in range(5)]
        assert [box[0] for box in level.boxes[:5]] == [box[1] for box in level.boxes[:5]] == pytest.approx(squares)
        ratios = [w / h for w, h in level.boxes[5:]]
        assert ratios == pytest.approx([2, 1 / 2] * 3)
        areas = [(w * h) ** 0.5 for w, h in level.boxes[5:]]
        assert areas == pytest.approx([square for square in squares[1:4] for _ in range(2)])


def test_layers_of_the_ablation_by_hand():
    scales = [0.1, 0.34, 0.48, 0.62, 0.76, 0.90, 1.04]
    for layers in range(1, 7):
        for level in layer_ablation_priors(layers).levels:
            index = [rows for rows, _ in SSD300_MAPS].index(level.rows)
            ratios = [[2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0]][index]
            expected = [box for k in range(index, 6) for box in cell_boxes(scales[k], scales[k + 1], ratios)]
            assert level.boxes == pytest.approx(np.array(expected[: len(level.boxes)]))
    counts = {n: [len(level.boxes) for level in layer_ablation_priors(n).levels] for n in range(1, 7)}
    assert counts == {1: [24], 2: [4, 9], 3: [4, 8, 12], 4: [4, 6, 8, 8], 5: [4, 6, 6, 6, 8], 6: [4, 6, 6, 6, 4, 4]}
    assert layer_ablation_priors(2, exclude_boundary=True).exclude_boundary


def test_inside_means_inside_to_a_millionth():
    just = explicit_priors([(1, 1)], [[(1.0, 1.0), (1.000001, 1.0), (1.00001, 1.0), (1.0, 1.00001)]])
    assert inside_mask(just).tolist() == [True, True, False, False]
    beyond = explicit_priors([(1, 2)], [[(0.6, 0.5)]])  # over the left, over the right
    assert inside_mask(beyond).tolist() == [False, False]


def test_clipping_by_hand():
    spec = explicit_priors([(1, 2)], [[(0.8, 1.4)]], clip=True)
    np.testing.assert_allclose(prior_boxes(spec), [[0.325, 0.5, 0.65, 1], [0.675, 0.5, 0.65, 1]], rtol=1e-6)
    assert explicit_priors([(1, 1)], [[(0.5, 0.5)]], rule="kmeans").rule == "kmeans"


def test_options_of_the_paper_s_rule():
    spec = paper_priors(smallest=0.3, largest=0.8, first=None, clip=True)
    assert [level.boxes[0][0] for level in spec.levels] == pytest.approx([0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert spec.clip and paper_priors(first=0.05).levels[0].boxes[0] == (0.05, 0.05)
    assert caffe_priors(clip=True).clip and caffe_priors(exclude_boundary=True).exclude_boundary
    assert not (paper_priors().clip or caffe_priors().clip or caffe_priors().exclude_boundary)
    assert explicit_priors([(1, 1)], [[(1.0, 1.0)]], exclude_boundary=True).exclude_boundary


def test_centres_beyond_the_picture_are_cut_at_its_edge():
    level = PriorLevel(rows=1, columns=2, boxes=((0.2, 0.2),), step=(0.9, 0.5))
    table = prior_boxes(PriorSpec(levels=(level,), clip=True))
    np.testing.assert_allclose(table, [[0.45, 0.25, 0.2, 0.2], [1, 0.25, 0, 0.2]], rtol=1e-6)


def test_which_priors_are_inside_is_read_only_because_it_is_shared():
    with pytest.raises(ValueError, match="read-only"):
        inside_mask(multibox_priors())[0] = True


def test_priors_over_the_boundary_take_part_unless_they_are_excluded():
    specs = [
        torchvision_priors([(1, 1)], [[2.0]]),
        tensorflow_priors(TF_MAPS),
        multibox_priors(),
        explicit_priors([(1, 1)], [[(1.0, 1.0)]]),
        layer_ablation_priors(6),
    ]
    assert not any(spec.exclude_boundary or spec.clip for spec in specs)


def test_torchvision_cuts_each_side_to_1():
    assert torchvision_priors([(1, 1)], [[]], scales=[2.0, 2.0]).levels[0].boxes == ((1, 1), (1, 1))


def test_a_cell_without_the_box_between_the_scales():
    assert cell_boxes(0.5, None, [4.0]) == [(0.5, 0.5), (1.0, 0.25), (0.25, 1.0)]
