import struct

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.io import formats

PICTURE = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)


def encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, PICTURE)[1].tobytes()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", None),
        (b"P", None),
        (b"hello, this is no picture", None),
        (encoded(".jpg"), "JPEG"),
        (encoded(".png"), "PNG"),
        (encoded(".webp"), "WebP"),
        (encoded(".bmp"), "BMP"),
        (encoded(".tiff"), "TIFF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "JPEG 2000"),
        (encoded(".ppm"), "PNM"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"\0\0\0\x20ftypavif" + bytes(20), "AVIF"),
        (b"RIFF\0\0\0\0AVI LIST", None),
    ],
)
def test_format_is_known_by_content(data: bytes, kind: str | None) -> None:
    assert formats.sniff(data) == kind


WEBP_EXTENDED = b"RIFF\x32\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (29).to_bytes(3, "little") + (19).to_bytes(3, "little")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (encoded(".jpg"), (30, 20)),
        (encoded(".png"), (30, 20)),
        (encoded(".bmp"), (30, 20)),
        (encoded(".webp"), (30, 20)),
        (cv2.imencode(".webp", PICTURE, [cv2.IMWRITE_WEBP_QUALITY, 80])[1].tobytes(), (30, 20)),
        (WEBP_EXTENDED, (30, 20)),
        (b"GIF89a" + struct.pack("<HH", 30, 20), (30, 20)),
        (b"BM" + bytes(12) + struct.pack("<IHH", 12, 30, 20), (30, 20)),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 30, -20), (30, 20)),
        # A JPEG with fill bytes and a comment before its frame.
        (b"\xff\xd8\xff\xff\xfe\0\x06abcd\xff\xc2\0\x11\x08\0\x14\0\x1e\x03", (30, 20)),
        (encoded(".jpg")[:30], None),
        (encoded(".png")[:20], None),
        (encoded(".tiff"), None),
        (b"no picture", None),
    ],
)
def test_size_is_read_from_the_header(data: bytes, size: tuple[int, int] | None) -> None:
    assert formats.picture_size(data) == size


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_missing_end_is_seen_and_a_whole_file_is_not_suspected(suffix: str) -> None:
    data = encoded(suffix)
    assert not formats.truncated(data)
    assert not formats.truncated(data + b"\0trailing bytes")
    for end in (len(data) - 1, len(data) - 3, len(data) // 2, 40):
        assert formats.truncated(data[:end])


def test_end_marker_of_a_thumbnail_does_not_count() -> None:
    data = encoded(".jpg")
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    assert not formats.truncated(data[:2] + thumbnail + data[2:])
    assert formats.truncated(data[:2] + thumbnail + data[2:-2])


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"\xef\xbb\xbf <!DOCTYPE html><html>", "web page"),
        (b"<svg xmlns=", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"PK\x03\x04....", "unpack"),
        (b"\0\0\0\x20ftypheic....", "convert it to JPEG"),
        (b"\0\0\0\x20ftypisom....", "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        ("just a note in UTF-8: größer".encode(), "text, not a picture"),
        (b"\x00\x01\x02\x03binary", "not a picture that edgessd knows"),
    ],
)
def test_other_files_are_called_by_their_name(head: bytes, text: str) -> None:
    assert text in formats.describe_other(head)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(11))
def test_exif_orientation(order: str, value: int) -> None:
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 5, 0) + struct.pack(f"{order}HHIHH", 0x0112, 3, 1, value, 0)
    block = magic + struct.pack(f"{order}IH", 8, 2) + entries
    expected = value if 1 <= value <= 8 else 1
    assert formats.exif_orientation(block) == expected
    assert formats.exif_orientation(b"Exif\0\0" + block) == expected


@pytest.mark.parametrize("block", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_means_upright(block: bytes) -> None:
    assert formats.exif_orientation(block) == 1
