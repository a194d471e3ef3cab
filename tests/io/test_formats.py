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
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif" + bytes(20), "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(20), None),
        (b"II+\0\x08\0\0\0" + bytes(20), "TIFF"),
        (b"MM\0+\0\x08\0\0" + bytes(20), "TIFF"),
        (b"RIFF\0\0\0\0AVI LIST", None),
    ],
)
def test_format_is_known_by_content(data: bytes, kind: str | None) -> None:
    assert formats.sniff(data) == kind


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
