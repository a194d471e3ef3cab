import msgspec
import numpy as np
import pytest

from edgessd.ops.preprocess import content_size, preprocess, resize, source_scale, value_table
from edgessd.spec import InputSpec

SMALL = InputSpec(width=4, height=2, mean=(10, 20, 30), scale=(1, 2, 4))


def replaced(**changes):
    return msgspec.structs.replace(SMALL, **changes)


def picture(rng, height=2, width=4):
    return rng.integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_float_input_is_pixel_minus_mean_over_scale_in_the_tensors_channel_order(rng, channels):
    image = picture(rng)
    ordered = image[..., ::-1] if channels == "RGB" else image
    expected = ((ordered.astype(np.float64) - [10, 20, 30]) / [1, 2, 4]).astype(np.float32)
    nchw = preprocess(image, replaced(channels=channels))
    assert nchw.dtype == np.float32
    np.testing.assert_array_equal(nchw, expected.transpose(2, 0, 1))
    nhwc = preprocess(image, replaced(channels=channels, layout="NHWC"))
    np.testing.assert_array_equal(nhwc, expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_uint8_input_with_one_step_a_pixel_is_the_picture_itself(rng, layout):
    spec = InputSpec(
        width=4,
        height=2,
        layout=layout,
        dtype="uint8",
        mean=(128,) * 3,
        scale=(127.5,) * 3,
        quantization_scale=1 / 127.5,
        quantization_zero_point=128,
    )
    image = picture(rng)
    assert value_table(spec) is None
    expected = image[..., ::-1] if layout == "NHWC" else image[..., ::-1].transpose(2, 0, 1)
    result = preprocess(image, spec)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("dtype", "zero_point"), [("int8", 0), ("uint8", 100)])
def test_integer_inputs_hold_the_quantised_values(rng, dtype, zero_point):
    spec = InputSpec(
        width=4,
        height=2,
        channels="BGR",
        layout="NHWC",
        dtype=dtype,
        mean=(127.5,) * 3,
        scale=(127.5,) * 3,
        quantization_scale=0.01,
        quantization_zero_point=zero_point,
    )
    image = picture(rng)
    limits = np.iinfo(dtype)
    expected = np.clip(np.rint((image - 127.5) / 127.5 / 0.01) + zero_point, limits.min, limits.max)
    result = preprocess(image, spec)
    assert result.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result, expected)


def test_stretch_ignores_the_aspect_ratio_and_letterbox_keeps_it(rng):
    stretch, letterbox = replaced(), replaced(resize="letterbox", mean=(0,) * 3, scale=(1,) * 3)
    assert content_size(stretch, 100, 100) == (4, 2)
    assert content_size(letterbox, 100, 100) == (2, 2)
    assert source_scale(stretch, 100, 50) == (100, 50)
    assert source_scale(letterbox, 100, 100) == (200, 100)
    padded = preprocess(np.full((100, 100, 3), 7, np.uint8), letterbox)
    assert padded[0].tolist() == [[7, 7, 114, 114], [7, 7, 114, 114]]


def test_the_picture_is_not_changed(rng):
    image = picture(rng)
    before = image.copy()
    preprocess(image, SMALL)
    np.testing.assert_array_equal(image, before)


def shrunk(interpolation):
    """A picture of 8x8 as 2x2: the centres of the new pixels lie at 1.5 and 5.5 of the old ones."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[...] = ((np.arange(8)[:, None] * 8 + np.arange(8)) ** 2 % 61 * 4)[..., None]
    spec = InputSpec(width=2, height=2, interpolation=interpolation, layout="NHWC")
    return image[..., 0].astype(float), resize(image, spec)[..., 0].astype(float)


def test_linear_takes_the_four_nearest_pixels_and_area_all():
    image, linear = shrunk("linear")
    expected = [[image[y : y + 2, x : x + 2].mean() for x in (1, 5)] for y in (1, 5)]
    np.testing.assert_allclose(linear, expected, atol=0.51)
    image, area = shrunk("area")
    expected = [[image[y : y + 4, x : x + 4].mean() for x in (0, 4)] for y in (0, 4)]
    np.testing.assert_allclose(area, expected, atol=0.51)
    assert np.abs(area - linear).max() > 5  # so that the one cannot stand for the other


def test_nearest_takes_one_pixel_and_cubic_sixteen():
    image, nearest = shrunk("nearest")
    assert nearest.tolist() == [[image[y, x] for x in (0, 4)] for y in (0, 4)]
    image, cubic = shrunk("cubic")
    weights = np.array([-0.09375, 0.59375, 0.59375, -0.09375])  # Keys' kernel at 1.5 and 0.5, a = -0.75
    expected = [[weights @ image[y : y + 4, x : x + 4] @ weights for x in (0, 4)] for y in (0, 4)]
    np.testing.assert_allclose(cubic, np.clip(expected, 0, 255), atol=1)


@pytest.mark.parametrize(
    ("width", "height", "content"),
    [
        (1000, 333, (300, 100)),  # 99.9 rows
        (1000, 331, (300, 99)),  # 99.3
        (333, 1000, (100, 300)),
        (5000, 3, (300, 1)),  # never nothing
        (3, 5000, (1, 300)),
        (300, 300, (300, 300)),
        (100, 50, (300, 150)),
    ],
)
def test_sizes_in_a_letterbox_are_rounded_and_undone(width, height, content):
    spec = InputSpec(width=300, height=300, resize="letterbox")
    assert content_size(spec, width, height) == content
    assert source_scale(spec, width, height) == (300 * width / content[0], 300 * height / content[1])
    image = np.full((height, width, 3), 9, np.uint8)
    filled = (resize(image, spec)[..., 0] == 9).sum(axis=0), (resize(image, spec)[..., 0] == 9).sum(axis=1)
    assert (filled[1].max(), filled[0].max()) == content


def test_a_picture_of_the_right_size_is_not_copied():
    image = np.zeros((2, 4, 3), np.uint8)
    assert resize(image, SMALL) is image
    assert resize(np.zeros((2, 5, 3), np.uint8), SMALL).shape == (2, 4, 3)
    assert resize(np.zeros((3, 4, 3), np.uint8), SMALL).shape == (2, 4, 3)


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 255), ("int8", -128, 127)])
def test_integer_inputs_are_cut_at_the_ends_of_their_type(dtype, low, high):
    spec = InputSpec(
        width=4, height=2, dtype=dtype, mean=(127.5,) * 3, scale=(1,) * 3,
        quantization_scale=0.1, quantization_zero_point=3,
    )  # fmt: skip
    table = value_table(spec)
    assert (table.min(), table.max()) == (low, high)
    assert table[0, 127:129].tolist() == [max(low, -2), 8]


def test_values_are_cached_by_spec():
    assert value_table(SMALL) is value_table(replaced())
