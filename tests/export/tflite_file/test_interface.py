import numpy as np
import pytest
from ai_edge_litert.interpreter import OpResolverType

from edgessd.errors import ModelError
from edgessd.export.tflite_file import normalize_inside, picture_input, take_bytes
from edgessd.export.tflite_file.editor import Editor
from edgessd.ops.preprocess import preprocess, value_table

PICTURE = np.random.default_rng(3).integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)
KERNELS = [OpResolverType.AUTO, OpResolverType.BUILTIN_REF]


@pytest.fixture
def passing(blank):
    """The file of a network that returns its int8 input, quantised with scale 1/127.5 and zero point -1."""
    editor = blank()
    image = editor.tensor("image", (1, 4, 4, 3), "int8", (1 / 127.5, -1))
    shape = editor.constant("shape", np.array([1, 48], np.int32))
    result = editor.tensor("pixels", (1, 48), "int8", (1 / 127.5, -1))
    editor.operator("RESHAPE", [image, shape], [result])
    editor.interface({"image": image}, {"pixels": result})
    return editor.to_bytes()


@pytest.mark.parametrize("kernels", KERNELS)
def test_bytes_are_taken_exactly(passing, run, kernels):
    every = np.resize(np.arange(256, dtype=np.uint8), (6, 1, 4, 4, 3))  # each of the 256 values
    data = take_bytes(passing)
    editor = Editor(data)
    assert editor.scale(editor.inputs()["image"]) == (pytest.approx(1 / 127.5), 127)
    for image in every:
        found = run(data, image, experimental_op_resolver_type=kernels)["pixels"]
        np.testing.assert_array_equal(found, (image.astype(int) - 128).reshape(-1))


def test_another_scale_is_requantised(passing, run):
    found = run(take_bytes(passing, "uint8", 2 / 127.5, 100), PICTURE)["pixels"].astype(int)
    np.testing.assert_array_equal(found, np.clip((PICTURE.astype(int).reshape(-1) - 100) * 2 - 1, -128, 127))


def test_floats_are_quantised(passing, run):
    image = np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 4, 4, 3)
    found = run(take_bytes(passing, "float32"), image)["pixels"]
    expected = np.clip(np.rint(image.reshape(-1) * 127.5) - 1, -128, 127)
    assert np.abs(found - expected).max() <= 1  # ties


def test_float_networks_have_nothing_to_requantise(make_spec, make_raw, outputs):
    spec = make_spec()
    with pytest.raises(ModelError, match="float32, not int8"):
        take_bytes(make_raw(spec, *outputs(spec)))


def test_normalisation_moves_into_the_graph(blank, make_spec, run):
    spec = make_spec().input
    editor = blank()
    image = editor.tensor("image", (1, 4, 4, 3))
    result = editor.node("RESHAPE", [image, editor.constant("shape", np.array([1, 48], np.int32))], "pixels", (1, 48))
    editor.interface({"image": image}, {"pixels": result})
    before = editor.to_bytes()
    after = normalize_inside(before, spec)
    assert list(Editor(after).inputs()) == ["image"]
    expected = run(before, preprocess(PICTURE[0], spec)[None])["pixels"]
    changed = picture_input(spec)
    assert value_table(changed) is None  # the picture as it is
    found = run(after, preprocess(PICTURE[0], changed)[None])["pixels"]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.ptp(found) > 2


def test_integer_networks_have_no_normalisation(passing, make_spec):
    with pytest.raises(ModelError, match="int8, not float32"):
        normalize_inside(passing, make_spec().input)
