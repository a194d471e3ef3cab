import io
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io import formats, images
from edgessd.io.images import MAX_PIXELS, load_image

PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8), (120, 80)).astype(np.uint8)


def encoded(suffix: str, image: Any = PICTURE) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def huge_png(width: int, height: int) -> bytes:
    """A whole PNG that announces a size and holds almost nothing, as a decompression bomb does."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def test_every_kind_of_source_gives_the_same_picture(tmp_path: Path) -> None:
    data = encoded(".png")
    path = tmp_path / "täst picture.png"
    path.write_bytes(data)
    sources = [str(path), path, data, bytearray(data), memoryview(data), PICTURE, Image.fromarray(PICTURE[:, :, ::-1])]
    for source in sources:
        image = load_image(source)
        assert image.dtype == np.uint8 and image.flags.c_contiguous
        np.testing.assert_array_equal(image, PICTURE)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".jp2", ".ppm"])
def test_formats(suffix: str) -> None:
    image = load_image(encoded(suffix))
    assert image.shape == PICTURE.shape
    assert np.abs(image.astype(int) - PICTURE).mean() < 6


GREY = PICTURE[:, :, 1]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, np.dstack([GREY] * 3)),
        (GREY[:, :, None], np.dstack([GREY] * 3)),
        (np.dstack([PICTURE, GREY]), PICTURE),
        (PICTURE[:, ::-1], PICTURE[:, ::-1]),
        (PICTURE.astype(np.uint16) * 257, PICTURE),
        ((PICTURE.astype(np.uint16) * 257).astype(">u2"), PICTURE),
        (PICTURE / 255, PICTURE),
        (PICTURE.astype(np.float32) / 255, PICTURE),
        (np.zeros((2, 2)), np.zeros((2, 2, 3))),
        (np.ones((2, 2), np.float16), np.full((2, 2, 3), 255)),
    ],
)
def test_arrays(array: Any, expected: Any) -> None:
    image = load_image(array)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)


def test_a_ready_array_is_not_copied() -> None:
    assert np.shares_memory(load_image(PICTURE), PICTURE)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4, 3), np.inf), "NaN or infinite"),
        (np.full((4, 4, 3), 200.0), "values of 200..200 instead of 0..1"),
        (np.full((4, 4, 3), -0.1), "instead of 0..1"),
        (np.zeros((4, 4, 3), bool), "dtype bool"),
        (np.zeros((4, 4, 3), np.int64), "dtype int64"),
        (np.zeros((4, 4, 3), np.uint32), "dtype uint32"),
        (np.zeros((4, 4, 3), complex), "dtype complex128"),
        (np.zeros((4, 4, 3), object), "dtype object"),
        (np.zeros((4, 4, 2), np.uint8), "shape (4, 4, 2)"),
        (np.zeros((3, 40, 40), np.uint8), "transpose(1, 2, 0)"),
        (np.zeros((1, 40, 40, 3), np.uint8), "one by one"),
        (np.zeros(10, np.uint8), "shape (10,)"),
        (np.zeros((0, 5), np.uint8), "too small"),
        (np.zeros((1, 1, 3), np.uint8), "1 x 1 pixels is too small"),
        (np.broadcast_to(np.uint8(0), (20000, 20000, 3)), "20000 x 20000 pixels is more than the limit"),
    ],
)
def test_arrays_that_are_no_pictures(array: Any, text: str) -> None:
    with pytest.raises(InputError) as caught:
        load_image(array)
    assert text in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_and_grey(suffix: str) -> None:
    deep = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    image = load_image(encoded(suffix, deep))
    assert image.shape == (64, 64, 3)
    assert np.abs(image[:, :, 0] - deep / 257).max() <= 1.01
    np.testing.assert_array_equal(load_image(encoded(suffix, GREY)), np.dstack([GREY] * 3))


def test_alpha_is_dropped() -> None:
    np.testing.assert_array_equal(load_image(encoded(".png", np.dstack([PICTURE, GREY]))), PICTURE)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("1", None),
        ("L", None),
        ("I;16", GREY),
        ("I", GREY),
        ("F", GREY),
        ("RGBA", None),
        ("P", None),
        ("CMYK", None),
    ],
)
def test_modes_of_pil(mode: str, expected: Any) -> None:
    if mode == "I;16":
        image = Image.fromarray(GREY.astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(GREY.astype(np.int32) * 257)
    elif mode == "F":
        image = Image.fromarray(GREY.astype(np.float32) / 255)
    else:
        image = Image.fromarray(PICTURE[:, :, ::-1]).convert(mode)
        if mode in ("1", "L"):
            expected = np.asarray(image.convert("L"))
    assert image.mode == mode
    loaded = load_image(image)
    if expected is not None:
        np.testing.assert_array_equal(loaded, np.dstack([expected] * 3))
    else:
        assert np.abs(loaded.astype(int) - PICTURE).mean() < 25


def test_pil_image_that_is_cut_or_out_of_range() -> None:
    with pytest.raises(InputError, match="PIL image cannot be decoded"):
        load_image(Image.open(io.BytesIO(encoded(".jpg")[:-400])))
    with pytest.raises(InputError, match=r"beyond 0\.\.65535"):
        load_image(Image.fromarray(np.full((4, 4), 70000, np.int32)))


JPEG = encoded(".jpg")
PNG = encoded(".png")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"this is text\nin a file named .jpg\n", "text, not a picture"),
        (JPEG[:-2], "the end of this JPEG is missing"),
        (JPEG[: len(JPEG) // 2], "the end of this JPEG is missing"),
        (PNG[:-4], "the end of this PNG is missing"),
        (PNG[: len(PNG) // 2], "the end of this PNG is missing"),
        (encoded(".webp")[:-5], "the end of this WebP is missing"),
        (encoded(".bmp")[:-5], "this BMP is damaged"),
        (encoded(".tiff")[: len(encoded(".tiff")) // 2], "this TIFF is damaged"),
        (PNG[: len(PNG) // 2] + bytes(20) + PNG[len(PNG) // 2 + 20 :], "this PNG is damaged"),
        (encoded(".png", np.zeros((1, 1, 3), np.uint8)), "1 x 1 pixels is too small"),
        (encoded(".ppm", np.zeros((1, 9, 3), np.uint8)), "9 x 1 pixels is too small"),
        (huge_png(20000, 20000), "20000 x 20000 pixels is more than the limit of 178956970"),
        (b"GIF89a" + bytes(30), "too small"),
        (b"GIF89a\x09\0\x09\0" + bytes(30), "reads no GIF: convert it"),
        (b"\0\0\0\x20ftypavif" + bytes(30), "this AVIF is damaged, its header says no size"),
    ],
)
def test_files_that_are_no_pictures(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    for source, name in ((path, str(path)), (data, f"{len(data)} bytes")):
        with pytest.raises(InputError) as caught:
            load_image(source)
        message = str(caught.value)
        assert name in message and text in message and "\n" not in message


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("no/such.jpg", "no such file"),
        ("", "path of the picture is empty"),
        (".", "a folder, not a picture"),
        ("a\0b.jpg", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        ("two\nlines.jpg", "two?lines.jpg: no such file"),
        ("ftp://host/a.jpg", "ftp addresses cannot be read"),
        ("file:///no/such.jpg", "no such file"),
        ("file:a.jpg", "a file address has a whole path in it"),
        ("file://host/a.jpg", "a file on another host cannot be read"),
        ([1, 2], "a picture cannot be made from list"),
        (None, "a picture cannot be made from NoneType"),
        (3, "a picture cannot be made from int"),
    ],
)
def test_sources_that_are_no_pictures(source: Any, text: str) -> None:
    with pytest.raises(InputError) as caught:
        load_image(source)
    assert text in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_endless_device_is_not_read() -> None:
    with pytest.raises(InputError, match="not a regular file"):
        load_image("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_that_nobody_writes_does_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="not a regular file"):
        load_image(pipe)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG)
    path.chmod(0)
    with pytest.raises(InputError, match="no permission"):
        load_image(path)


def test_limit_of_pixels_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_PIXELS == 178_956_970
    monkeypatch.setenv("EDGESSD_MAX_PIXELS", "9599")
    for source in (JPEG, encoded(".tiff"), PICTURE, Image.fromarray(PICTURE)):
        with pytest.raises(InputError, match="120 x 80 pixels is more than the limit of 9599"):
            load_image(source)
    monkeypatch.setenv("EDGESSD_MAX_PIXELS", "9600")
    assert load_image(JPEG).shape == (80, 120, 3)
    monkeypatch.setenv("EDGESSD_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="EDGESSD_MAX_PIXELS is 'many'"):
        load_image(JPEG)


def test_a_huge_file_that_is_no_picture_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(2**40)  # a terabyte of nothing, which takes no room on the disk
    with pytest.raises(InputError, match="not a picture"):
        load_image(path)


def test_stderr_is_left_alone_while_a_picture_is_decoded(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    decode = cv2.imdecode
    seen = []

    def decode_and_write(*arguments: Any) -> Any:
        thread = threading.Thread(target=os.write, args=(2, b"a line of the program\n"))
        thread.start()
        thread.join()
        seen.append(capfd.readouterr().err)
        return decode(*arguments)

    monkeypatch.setattr(images.cv2, "imdecode", decode_and_write)
    load_image(PNG)
    assert seen == ["a line of the program\n"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([[0.25, 1.0000001], [-0.0009, 1.001]]), None),
        (np.float16([[0, 1.001], [0.5, 1]]), None),
        (np.array([[0, 1.01], [0.5, 1]]), r"values of 0\.\.1\.01 instead of 0\.\.1"),
        (np.array([[-0.00123456, 1.0], [0.5, 1]]), r"values of -0\.00123456\.\.1 instead"),
    ],
)
def test_floats_may_overshoot_by_a_hair(values: Any, text: str | None) -> None:
    for array in (values, np.dstack([values] * 3)):
        if text is None:
            expected = np.rint(np.clip(values.astype(np.float32), 0, 1) * 255)
            np.testing.assert_array_equal(load_image(array)[:, :, 1], expected)
        else:
            with pytest.raises(InputError, match=text):
                load_image(array)


@pytest.mark.parametrize("depth", [np.float32, np.float64])
def test_float_tiffs_are_read_as_arrays_are(depth: Any) -> None:
    for values in (PICTURE / 255, GREY / 255):
        image = load_image(cv2.imencode(".tiff", values.astype(depth))[1].tobytes())
        np.testing.assert_array_equal(image, PICTURE if values.ndim == 3 else np.dstack([GREY] * 3))
    with pytest.raises(InputError, match=r"bytes has float values of 0\.\.200 instead of 0\.\.1: scale them"):
        load_image(cv2.imencode(".tiff", np.array([[0, 200], [1, 2]], depth))[1].tobytes())


def test_tiffs_that_opencv_cannot_read_are_named() -> None:
    buffer = io.BytesIO()
    Image.fromarray(GREY.astype(np.int32)).save(buffer, "TIFF")
    with pytest.raises(InputError, match="a TIFF of 1 x 32-bit whole numbers, which OpenCV cannot read: convert it"):
        load_image(buffer.getvalue())


@pytest.mark.skipif(
    "AVIF:                        avif" not in cv2.getBuildInformation(), reason="this OpenCV reads no AVIF"
)
def test_avif() -> None:
    data = encoded(".avif")
    assert formats.sniff(data) == "AVIF"
    assert load_image(data).shape == PICTURE.shape
