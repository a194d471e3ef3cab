from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.io.video import is_stream, is_video
from edgessd.io.video.sniff import is_video_data

PICTURE = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)


def encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, PICTURE)[1].tobytes()


JPEG = encoded(".jpg")
MPF = b"\xff\xd8\xff\xe2\0\x08MPF\0\0\0" + JPEG[2:]


@pytest.mark.parametrize(
    ("made", "codec", "special"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mov", "libx264", {}),
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx", {}),
        ("a.ts", "libx264", {}),
        ("a.m2ts", "libx264", {}),
        ("a.avi", "mpeg4", {"base": None}),
        ("a.wmv", "mpeg4", {"base": None}),
        ("a.flv", "flv1", {"base": Fraction(1, 1000)}),
        ("a.mpg", "mpeg1video", {"base": None, "rate": 25}),
        ("a.vob", "mpeg2video", {"base": None, "rate": 25}),
        ("a.m2v", "mpeg2video", {"base": None, "rate": 25}),
        ("a.h264", "libx264", {"base": None}),
        ("a.hevc", "libx265", {"base": None}),
        ("a.mjpeg", "mjpeg", {"base": None, "pixels": "yuvj420p"}),
        ("a.gif", "gif", {"base": Fraction(1, 100), "pixels": "rgb8"}),
    ],
)
@pytest.mark.parametrize("name", ["recording", "recording.bin"])
def test_videos_are_known_by_their_content(
    tmp_path: Path, make_clip: Callable[..., Path], made: str, codec: str, special: dict[str, object], name: str
) -> None:
    make_clip(tmp_path / made, [0.0, 0.1, 0.2], codec, **special).rename(tmp_path / name)
    assert is_video(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data", "video"),
    [
        ("a.mp4", b"text, not a video", True),  # by its name; whoever opens it says what is wrong
        ("a.ts", b"export const answer = 42\n", True),
        ("a.mp4", JPEG, False),
        ("a.jpg", JPEG, False),
        ("a", JPEG, False),
        ("a.mjpg", JPEG, False),
        ("a.mjpg", JPEG * 3, True),
        ("a", JPEG + b"\0" * 8 + JPEG, True),
        ("a.jpg", JPEG * 2, False),  # a photo with something behind it
        ("a", MPF + JPEG, False),  # a gain map or the other view
        ("a", b"\0\0\0\x20ftypavif" + bytes(40), False),
        ("a", b"\0\0\0\x20ftypheic" + bytes(40), False),
        ("a", b"\0\0\0\x20ftypisom" + bytes(40), True),
        ("a.txt", b"GGGG", False),
        ("a", b"\0" * 77 + (b"G" + bytes(187)) * 6, True),  # a transport stream that begins within a packet
        ("a", (bytes(4) + b"G" + bytes(187)) * 6, True),
        ("a", (b"G" + bytes(187)) * 3, False),
        ("a.gif", b"GIF89a" + bytes(7), False),
        ("a.gif", b"GIF89a", False),
        ("a.png", encoded(".png"), False),
        ("a.webp", encoded(".webp"), False),
        ("a", b"", False),
        ("a.mkv", b"", True),
    ],
)
def test_what_is_a_video(tmp_path: Path, name: str, data: bytes, video: bool) -> None:
    (tmp_path / name).write_bytes(data)
    assert is_video(tmp_path / name) == video


@pytest.mark.parametrize("code", [b"\0\0\1", b"\0\0\0\1"])
@pytest.mark.parametrize("first", [b"\x67\x42", b"\x27\x42", b"\x09\xf0", b"\x40\x01", b"\x42\x01", b"\x46\x01"])
def test_bare_streams_begin_with_a_start_code(code: bytes, first: bytes) -> None:
    assert is_video_data(code + first + bytes(40))


def test_addresses_go_by_scheme_and_suffix() -> None:
    assert is_video("rtsp://host/live") and is_stream("rtsp://host/live")
    assert is_video("http://host/a.webm?token=1") and not is_stream("http://host/a.webm")
    assert not is_video("http://host/a.jpg") and not is_video("http://host/")


def test_folder_and_missing_file_go_by_their_names(tmp_path: Path) -> None:
    assert not is_video(tmp_path) and is_video(tmp_path / "no.mts") and not is_video(tmp_path / "no.jpg")
    assert not is_video("nul\0.jpg")
