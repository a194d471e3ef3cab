import msgspec
import numpy as np
import pytest

from edgessd.ops.preprocess import content_size, preprocess, source_scale, value_table
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
