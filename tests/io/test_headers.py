"""Sizes, turns and bombs: files made up of headers, and files of Pillow, held against what is decoded."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin, features

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io import images
from edgessd.io.headers import read_header
from edgessd.io.headers.tiff import exif_orientation
from edgessd.io.images import load_image, picture_size

PICTURE = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
READS_AVIF = "AVIF:                        avif" in cv2.getBuildInformation()


def _save(image: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def encoded(suffix: str, *parameters: int) -> bytes:
    if suffix == ".jp2":  # OpenCV writes none so small
        return _save(Image.fromarray(PICTURE), format="JPEG2000", num_resolutions=2)
    return cv2.imencode(suffix, PICTURE, parameters)[1].tobytes()


WEBP_EXTENDED = b"RIFF\x32\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (29).to_bytes(3, "little") + (19).to_bytes(3, "little")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (encoded(".jpg"), (30, 20)),
        (encoded(".png"), (30, 20)),
        (encoded(".bmp"), (30, 20)),
        (encoded(".webp"), (30, 20)),
        (encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80), (30, 20)),
        (encoded(".tiff"), (30, 20)),
        (encoded(".jp2"), (30, 20)),
        (encoded(".jp2")[encoded(".jp2").index(b"\xff\x4f\xff\x51") :], (30, 20)),
        (encoded(".ppm"), (30, 20)),
        (encoded(".pam"), (30, 20)),
        (b"P5 #a comment\n30 # another\r20\n255\n", (30, 20)),
        (WEBP_EXTENDED, (30, 20)),
        (b"GIF89a" + struct.pack("<HH", 30, 20), (30, 20)),
        (b"BM" + bytes(12) + struct.pack("<IHH", 12, 30, 20), (30, 20)),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 30, -20), (30, 20)),
        # A JPEG with fill bytes, a comment and garbage before its frame.
        (b"\xff\xd8\xff\xff\xfe\0\x06abcd garbage \0\xff\xc2\0\x11\x08\0\x14\0\x1e\x03", (30, 20)),
        (encoded(".jpg")[:30], None),
        (encoded(".png")[:20], None),
        (encoded(".tiff")[:100], None),
        (encoded(".jp2")[:90], None),
        (b"P5 30", None),
        (b"P7\nWIDTH 30\nENDHDR\n", None),
        (b"no picture", None),
        (b"", None),
    ],
)
def test_size_is_read_from_the_header(data: bytes, size: tuple[int, int] | None) -> None:
    header = read_header(data)
    assert (header and header.upright) == size


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".jp2"])
def test_a_missing_end_is_seen_and_a_whole_file_is_not_suspected(suffix: str) -> None:
    def whole(data: bytes) -> bool:
        header = read_header(data)
        return header is not None and header.whole

    data = encoded(suffix)
    assert whole(data) and (suffix == ".jp2" or whole(data + b"\0trailing bytes"))
    for end in (len(data) - 1, len(data) - 3, len(data) // 2, 40):
        assert not whole(data[:end])


def test_end_marker_of_a_thumbnail_does_not_count() -> None:
    data = encoded(".jpg")
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    for end, whole in ((len(data), True), (-2, False)):
        header = read_header(data[:2] + thumbnail + data[2:end])
        assert header is not None and header.whole is whole


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(11))
def test_exif_orientation(order: str, value: int) -> None:
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 5, 0) + struct.pack(f"{order}HHIHH", 0x0112, 3, 1, value, 0)
    block = magic + struct.pack(f"{order}IH", 8, 2) + entries
    expected = value if 1 <= value <= 8 else 1
    assert exif_orientation(block) == expected
    assert exif_orientation(b"Exif\0\0" + block) == expected


@pytest.mark.parametrize("block", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_means_upright(block: bytes) -> None:
    assert exif_orientation(block) == 1


# Eight orientations, every format that has one, every way in: what Pillow's `exif_transpose` makes of it.

SCENE = np.zeros((40, 60, 3), np.uint8)
SCENE[:20, :30] = (255, 40, 0)
SCENE[20:, 30:] = (0, 160, 255)
SCENE[:10, 40:] = 90


def _exif(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def _xmp(value: int) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{value}"/></x:xmpmeta>'.encode()


def _text(value: int, packed: bool) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", _xmp(value).decode(), zip=packed)
    return info


def _raw_profile(value: int) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    block = _exif(value).tobytes()
    info.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    return info


def _late_exif(image: Any, value: int) -> bytes:
    """A PNG whose eXIf chunk comes behind the pixels."""
    data = _save(image, format="PNG", exif=_exif(value))
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    return data[:start] + data[end:-12] + data[start:end] + data[-12:]


def _tiff(image: Any, mode: str, value: int, **options: Any) -> bytes:
    if mode == "16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    else:
        image = image.convert(mode)
    return _save(image, format="TIFF", tiffinfo={0x0112: value}, **options)


WAYS = {
    "jpeg": lambda image, value: _save(image, format="JPEG", quality=95, exif=_exif(value)),
    "jpeg-xmp": lambda image, value: _save(image, format="JPEG", quality=95, xmp=_xmp(value)),
    "jpeg-both": lambda image, value: _save(image, format="JPEG", quality=95, exif=_exif(value), xmp=_xmp(3)),
    "png": lambda image, value: _save(image, format="PNG", exif=_exif(value)),
    "png-late": _late_exif,
    "png-xmp": lambda image, value: _save(image, format="PNG", pnginfo=_text(value, False)),
    "png-xmp-packed": lambda image, value: _save(image, format="PNG", pnginfo=_text(value, True)),
    "png-imagemagick": lambda image, value: _save(image, format="PNG", pnginfo=_raw_profile(value)),
    "webp": lambda image, value: _save(image, format="WEBP", lossless=True, exif=_exif(value)),
    "webp-xmp": lambda image, value: _save(image, format="WEBP", lossless=True, xmp=_xmp(value)),
    "avif": lambda image, value: _save(image, format="AVIF", quality=95, exif=_exif(value)),
    "tiff": lambda image, value: _tiff(image, "RGB", value),
    "tiff-lzw": lambda image, value: _tiff(image, "RGB", value, compression="tiff_lzw"),
    "tiff-grey": lambda image, value: _tiff(image, "L", value),
    "tiff-palette": lambda image, value: _tiff(image, "P", value),
    "tiff-alpha": lambda image, value: _tiff(image, "RGBA", value),
    "tiff-bits": lambda image, value: _tiff(image, "1", value),
    "tiff-16": lambda image, value: _tiff(image, "16", value),
    "tiff-float": lambda image, value: _tiff(image, "F", value),
}


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    if kind == "avif" and not (READS_AVIF and features.check("avif")):
        pytest.skip("this OpenCV or Pillow has no AVIF")
    stored = SCENE.swapaxes(0, 1) if orientation >= 5 else SCENE
    data = WAYS[kind](Image.fromarray(np.ascontiguousarray(stored)), orientation)
    path = tmp_path / "a"
    path.write_bytes(data)
    expected = load_image(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert expected.shape == SCENE.shape
    # Not Image.open(path): Pillow 13 maps an uncompressed TIFF that lies on its side wrongly into memory.
    for source in (data, path, str(path), Image.open(io.BytesIO(data))):
        image = load_image(source)
        assert image.shape == expected.shape and np.abs(image.astype(int) - expected).mean() < 3
    assert picture_size(path) == (60, 40)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_picture_size_is_what_load_image_gives(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    kind = data.draw(st.sampled_from([kind for kind in WAYS if kind != "avif"]))
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    bytes_ = bytearray(WAYS[kind](Image.new("RGB", (width, height)), data.draw(st.integers(1, 8))))
    for _ in range(data.draw(st.integers(0, 3))):  # and of damaged files
        bytes_[data.draw(st.integers(0, len(bytes_) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "picture"
    path.write_bytes(bytes_)
    try:
        height, width = load_image(path).shape[:2]
    except InputError:
        return
    assert picture_size(path) == (width, height)


ALL = {
    **{suffix: encoded(suffix) for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff", ".jp2", ".ppm", ".pam")},
    **({".avif": encoded(".avif")} if READS_AVIF else {}),
    "big": b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0\x02" + bytes(7) + b"\0\1\4\0\1" + bytes(7) + b"\x1e" + bytes(30),
}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_bytes_have_a_header_or_none(data: st.DataObject) -> None:
    changed = bytearray(ALL[data.draw(st.sampled_from([*ALL]))])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(changed), 700) - 1))
        new = data.draw(st.sampled_from([b"\0", b"\xff", b"\xff" * 4, b"\xff" * 8, b"\x80", b"\1"]))
        changed[place : place + len(new)] = new
    header = read_header(bytes(changed[: data.draw(st.integers(0, len(changed)))]))
    assert header is None or (1 <= header.orientation <= 8 and header.room >= 0)


def test_a_header_that_lies_is_found_out() -> None:
    data = bytearray(encoded(".jp2"))
    box = data.index(b"ihdr") + 4
    data[box : box + 8] = struct.pack(">II", 9, 9)
    header = read_header(bytes(data))
    assert header is not None and header.upright == (30, 20)
    if READS_AVIF:
        data = bytearray(encoded(".avif"))
        box = data.index(b"ispe") + 8
        data[box : box + 8] = struct.pack(">II", 9, 9)
        header = read_header(bytes(data))
        assert header is not None and header.room == 600


# Files that take little room and ask for much.


def png_bomb(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def tiff_bomb(
    width: int, height: int, bits: int = 8, samples: int = 3, *, order: str = "<", big: bool = False, tile: int = 0
) -> bytes:
    """A TIFF of strips (or one tile) that all hold the same packed zeros."""
    row = (width * bits * samples + 7) // 8
    rows = min(height, max(1, 2**20 // row))
    packed = zlib.compress(bytes(row * rows))
    head, strips = 16 if big else 8, -(-height // rows)
    tags = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * samples), (259, 3, [8])]
    tags += [(262, 3, [2 if samples > 2 else 1])]
    if tile:
        tags += [(277, 3, [samples]), (322, 4, [tile]), (323, 4, [tile]), (324, 4, [head]), (325, 4, [len(packed)])]
    else:
        tags += [(273, 4, [head] * strips), (277, 3, [samples]), (278, 4, [rows]), (279, 4, [len(packed)] * strips)]
    if bits > 16:
        tags.append((339, 3, [3] * samples))
    offset, entry, count = ("Q", 20, "Q") if big else ("I", 12, "H")
    start = head + len(packed)
    behind = start + struct.calcsize(f"={count}{offset}") + entry * len(tags)
    entries = after = b""
    for tag, kind, values in tags:
        field = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(field) > entry // 2 - 2:
            field, after = struct.pack(order + offset, behind + len(after)), after + field
        entries += struct.pack(f"{order}HH{offset}", tag, kind, len(values)) + field.ljust(entry // 2 - 2, b"\0")
    magic = (b"II" if order == "<" else b"MM") + struct.pack(order + ("HHHQ" if big else "HI"), *_magic(big, start))
    return magic + packed + struct.pack(order + count, len(tags)) + entries + bytes(struct.calcsize(offset)) + after


def _magic(big: bool, start: int) -> tuple[int, ...]:
    return (43, 8, 0, start) if big else (42, start)


def jp2_bomb(width: int, height: int, told: tuple[int, int] | None = None) -> bytes:
    """A JPEG 2000 of one tile. told: (width, height) in the box in front of it."""
    data = bytearray(cv2.imencode(".jp2", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    struct.pack_into(">8I", data, data.index(b"\xff\x51") + 6, width, height, 0, 0, width, height, 0, 0)
    struct.pack_into(">II", data, data.index(b"ihdr") + 4, *reversed(told or (width, height)))
    return bytes(data)


def avif_bomb(side: int) -> bytes:
    data = bytearray(encoded(".avif"))
    struct.pack_into(">II", data, data.index(b"ispe") + 8, side, side)
    return bytes(data)


SIDE = 30_000
BOMBS: dict[str, Any] = {
    "png": lambda: png_bomb(SIDE, SIDE),
    "jpeg": lambda: b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", SIDE, SIDE) + b"\x03" + bytes(9) + b"\xff\xd9",
    "tiff": lambda: tiff_bomb(SIDE, SIDE, 1, 1),
    "tiff-big-endian": lambda: tiff_bomb(SIDE, SIDE, 1, 1, order=">"),
    "bigtiff": lambda: tiff_bomb(SIDE, SIDE, 1, 1, big=True),
    "bigtiff-big-endian": lambda: tiff_bomb(SIDE, SIDE, 1, 1, order=">", big=True),
    "tiff-tile": lambda: tiff_bomb(64, 64, tile=16384),
    "tiff-deep": lambda: tiff_bomb(13_000, 8000, 64),
    "tiff-bands": lambda: tiff_bomb(8000, 8000, 8, 60),
    "jp2": lambda: jp2_bomb(SIDE, SIDE),
    "jp2-that-lies": lambda: jp2_bomb(SIDE, SIDE, (64, 64)),
    "jp2-colour": lambda: jp2_bomb(13_000, 13_000),
    "avif": lambda: avif_bomb(SIDE),
    "webp": lambda: b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (SIDE - 1).to_bytes(3, "little") * 2,
    "gif": lambda: b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0) + b";",
    "bmp": lambda: b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, SIDE, -SIDE, 1, 24, 0) + bytes(99),
    "ppm": lambda: b"P6\n30000 30000\n255\n" + bytes(99),
    "pbm": lambda: b"P4 # so many\n30000\t30000\n" + bytes(99),
    "pam": lambda: b"P7\nDEPTH 3\nHEIGHT 30000\nWIDTH 30000\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(99),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_before_they_are_decoded(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if kind == "avif" and not READS_AVIF:
        pytest.skip("this OpenCV writes no AVIF")
    data = BOMBS[kind]()
    assert len(data) < 150_000
    path = tmp_path / "bomb"
    path.write_bytes(data)
    monkeypatch.setattr(images.cv2, "imdecode", lambda *arguments: pytest.fail("decoded"))
    for read in (load_image, picture_size):
        with pytest.raises(InputError, match="more than the limit of") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_opencv_has_the_same_limit() -> None:
    with pytest.raises(cv2.error, match="IO_MAX_IMAGE_PIXELS"):
        cv2.imdecode(np.frombuffer(png_bomb(20_000, 10_000), np.uint8), cv2.IMREAD_COLOR)
    assert images.OPENCV_PIXELS == images.MAX_PIXELS


def test_a_size_that_the_decoder_does_not_find_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.cv2, "imdecode", lambda *arguments: PICTURE[:7])
    with pytest.raises(InputError, match=r"holds 30 x 7 pixels, and its header says 30 x 20"):
        load_image(encoded(".png"))
