import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io.video import VideoFile, pyav
from edgessd.io.video.types import StreamClock, usable_fps

MILLIS = Fraction(1, 1000)
TENTHS = [number / 10 for number in range(10)]
TWENTYFIFTHS = [number / 25 for number in range(10)]
VARYING = [0.0, 0.1, 0.2, 0.3] + [0.4 + number / 30 for number in range(6)]  # 10, then 30 frames a second
SPARSE = [0.0, 0.1, 5.0, 5.1]  # a screen recording: frames only where something happens
LATE = [7 + number / 10 for number in range(10)]  # a recording that goes on with the clock of its camera

# file, codec, stamps, what else is special about it
TABLE: list[tuple[str, str, list[float], dict[str, Any]]] = [
    *((f"{kind}.{name}", "libx264", stamps, {}) for name in ("mp4", "mov", "ts", "m2ts")
      for kind, stamps in (("fixed", TENTHS), ("varying", VARYING), ("sparse", SPARSE), ("late", LATE))),
    *((f"{kind}.{name}", codec, stamps, {"base": MILLIS})
      for name, codec in (("mkv", "libx264"), ("webm", "libvpx"), ("flv", "flv1"))
      for kind, stamps in (("fixed", TENTHS), ("varying", VARYING), ("sparse", SPARSE), ("late", LATE))),
    ("fixed.avi", "mpeg4", TENTHS, {"base": None}),
    ("fixed.wmv", "mpeg4", TENTHS, {"base": None}),
    ("fixed.mpg", "mpeg1video", TWENTYFIFTHS, {"base": None, "rate": 25}),
    ("fixed.vob", "mpeg2video", TWENTYFIFTHS, {"base": None, "rate": 25}),
    ("fixed.mjpeg", "mjpeg", TWENTYFIFTHS, {"base": None, "rate": 25, "pixels": "yuvj420p"}),
    ("fixed.gif", "gif", TENTHS, {"base": Fraction(1, 100), "pixels": "rgb8"}),
    ("fixed.h264", "libx264", TENTHS, {"base": None}),
    ("fixed.hevc", "libx265", TENTHS, {"base": None}),
    ("fragmented.mp4", "libx264", TENTHS, {"options": {"movflags": "frag_keyframe+empty_moov"}}),
]  # fmt: skip

# Where OpenCV is wrong: a bare stream has no stamps, and OpenCV does not tell the rate that stands in it.
ONLY_PYAV = {"fixed.h264", "fixed.hevc"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.mark.parametrize(("name", "codec", "stamps", "special"), TABLE, ids=[row[0] for row in TABLE])
def test_frames_stamps_and_size(
    engine: str,
    folder: Path,
    make_clip: Callable[..., Path],
    name: str,
    codec: str,
    stamps: list[float],
    special: dict[str, Any],
) -> None:
    path = folder / name
    if not path.exists():
        make_clip(path, stamps, codec, **special)
    with VideoFile(path) as video:
        frames = list(video)
        assert video.info.size == (64, 48) and video.info.pixel_aspect == 1
    assert len(frames) == len(stamps)
    # Before 4.13 OpenCV tells no stamps of a Matroska file whose second frame comes late.
    old = tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 13)
    if engine == "pyav" or (name not in ONLY_PYAV and not (old and name == "sparse.mkv")):
        times = [stamp - stamps[0] for stamp in stamps]
        assert [each.time for each in frames] == pytest.approx(times, abs=0.012 if name.endswith(".gif") else 0.002)
    for number, (image, _) in enumerate(frames):
        assert image.shape == (48, 64, 3) and image.dtype == np.uint8
        assert abs(float(image[-7:-1, -7:-1].mean()) - (20 + 10 * number)) < 12
    assert not np.shares_memory(frames[0].image, frames[1].image)


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "corners"),
    [
        (0, "RG/BK"),
        (90, "GK/RB"),  # counter-clockwise
        (180, "KB/GR"),
        (-90, "BR/KG"),
        ([-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30], "GR/KB"),  # mirrored
        ([ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30], "BK/RG"),
        ([0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30], "RB/GK"),
        ([0, -ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30], "KG/BR"),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_turned_and_mirrored(
    engine: str, tmp_path: Path, make_clip: Callable[..., Path], suffix: str, matrix: Any, corners: str
) -> None:
    path = make_clip(tmp_path / f"clip{suffix}", TENTHS[:3], matrix=matrix, aspect=Fraction(64, 45))
    with VideoFile(path) as video:
        image = next(iter(video)).image
        upright = corners[:2] in ("RG", "KB", "GR", "BK")
        assert video.info.size == image.shape[1::-1] == ((64, 48) if upright else (48, 64))
        assert video.info.pixel_aspect == (Fraction(64, 45) if upright else Fraction(45, 64))
    height, width = image.shape[:2]
    seen = [
        "BGRK"[int(pixel.argmax())] if pixel.max() > 90 else "K"
        for pixel in (image[y, x] for y in (height // 4, height * 5 // 8) for x in (width // 4, width * 5 // 8))
    ]
    assert f"{seen[0]}{seen[1]}/{seen[2]}{seen[3]}" == corners


def test_edit_list_is_no_damage(engine: str, tmp_path: Path, make_clip: Callable[..., Path]) -> None:
    """Frames in front that an editor has cut off without encoding again."""
    av = pytest.importorskip("av")
    whole = make_clip(tmp_path / "whole.mp4", [number / 10 for number in range(40)], "mpeg4", base=None)
    with (
        av.open(str(whole)) as source,
        av.open(str(tmp_path / "cut.mp4"), "w", options={"avoid_negative_ts": "disabled"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                shift = round(2 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                target.mux(packet)
    with VideoFile(tmp_path / "cut.mp4") as video:
        assert video.info.frame_count == (20 if engine == "pyav" else 40)
        assert [seconds for _, seconds in video] == pytest.approx([number / 10 for number in range(20)], abs=0.002)


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.webm", "a.mp4", "a.mov"])
def test_missing_end_is_an_error_after_the_frames(
    engine: str, tmp_path: Path, make_clip: Callable[..., Path], name: str
) -> None:
    codec = {"avi": "mjpeg", "webm": "libvpx"}.get(name[2:], "libx264")
    options = {"movflags": "faststart"} if name[2:] in ("mp4", "mov") else {}
    base, pixels = (None, "yuvj420p") if name == "a.avi" else (MILLIS, "yuv420p")
    path = make_clip(
        tmp_path / name, [number / 10 for number in range(60)], codec, base=base, options=options, pixels=pixels
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    count = 0
    with VideoFile(path) as video, pytest.raises(InputError) as caught:
        for _ in video:
            count += 1
    assert 5 < count < 59
    assert f"damaged after {count} frames" in str(caught.value) and "\n" not in str(caught.value)


def test_sound_that_goes_on_is_no_missing_end(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mkv"), "w") as target:
        pictures, sound = target.add_stream("mjpeg", rate=10), target.add_stream("pcm_s16le", rate=8000)
        pictures.width, pictures.height, pictures.pix_fmt, sound.layout = 64, 48, "yuvj420p", "mono"
        for _ in range(5):
            target.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * 4), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        target.mux(sound.encode(silence))
        for stream in (pictures, sound):
            target.mux(stream.encode(None))
    with VideoFile(tmp_path / "a.mkv") as video:
        assert video.info.duration == pytest.approx(4.0, abs=0.01)
        assert len(list(video)) == 5


@pytest.mark.parametrize(("zeroed", "whole"), [(1, True), (20, False)])
def test_frames_that_cannot_be_decoded(
    tmp_path: Path, make_clip: Callable[..., Path], zeroed: int, whole: bool
) -> None:
    av = pytest.importorskip("av")
    path = make_clip(tmp_path / "a.avi", [number / 10 for number in range(40)], "mjpeg", base=None, pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as clip:
        for packet in list(clip.demux(video=0))[5 : 5 + zeroed]:
            place = data.index(bytes(packet))
            data[place : place + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    count = 0
    with VideoFile(path) as video:
        if whole:
            count = len(list(video))
        else:
            with pytest.raises(InputError, match="20 of 40 frames cannot be decoded"):
                for _ in video:
                    count += 1
    assert count == 40 - zeroed


def test_recording_that_begins_between_two_key_frames_is_whole(
    engine: str, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    av = pytest.importorskip("av")
    path = make_clip(tmp_path / "a.ts", [number / 10 for number in range(60)], gop=30)
    with av.open(str(path)) as clip:
        places = [packet.pos for packet in clip.demux(video=0) if packet.pos is not None]
    (tmp_path / "b.ts").write_bytes(path.read_bytes()[places[5] :])
    with VideoFile(tmp_path / "b.ts") as video:
        assert [seconds for _, seconds in video] == pytest.approx([number / 10 for number in range(30)], abs=0.002)


@pytest.mark.parametrize("limit", [64 * 48 - 1, 64 * 48])
def test_frames_have_the_limit_of_pictures(
    engine: str, tmp_path: Path, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    path = make_clip(tmp_path / "a.mp4", TENTHS[:2])
    monkeypatch.setenv("EDGESSD_MAX_PIXELS", str(limit))
    if limit == 64 * 48:
        VideoFile(path).close()
        return
    with pytest.raises(InputError, match=r"\(64 x 48 pixels is more than the limit of 3071"):
        VideoFile(path)


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("missing.mp4", None, "no such file"),
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"this is text\n" * 50, "cannot be opened as a video"),
        ("folder.mp4", "folder", "a folder, not a video"),
        ("nul\0.mp4", None, "cannot be read"),
    ],
)
def test_files_that_are_no_videos(
    engine: str, tmp_path: Path, name: str, data: Any, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if data == "folder":
        path.mkdir()
    elif data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        VideoFile(path)
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_mp4_without_its_end_cannot_be_opened(
    engine: str, tmp_path: Path, make_clip: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_clip(tmp_path / "clip.mp4", TENTHS)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") + 200])
    with pytest.raises(InputError, match="its end is missing"):
        VideoFile(path)
    assert capfd.readouterr() == ("", "")


def test_name_with_a_colon_is_a_file(
    engine: str, tmp_path: Path, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "plain.avi", TENTHS[:5], "mpeg4", base=None).rename(tmp_path / "concat:a.avi")
    monkeypatch.chdir(tmp_path)
    with VideoFile("concat:a.avi") as video:
        assert len(list(video)) == 5


def test_an_address_that_hangs_is_given_up(engine: str) -> None:
    """A server that takes the connection and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        with pytest.raises(InputError, match=r"cannot be opened as a video .*check the address"):
            VideoFile(f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4", timeout=0.3)
        assert time.monotonic() - begun < 5


def test_without_pyav_nothing_of_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not pyav.available() and not pyav.writes(".mp4")


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0.0, 0.1, 0.5], [0.0, 0.1, 0.5]),
        ([7.0, 7.1], [0.0, 0.1]),
        ([None, None, None], [0.0, 0.1, 0.2]),  # a bare stream
        ([0.0, None, 0.2], [0.0, 0.1, 0.2]),
        ([5.0, 5.1, 0.0, 0.1], [0.0, 0.1, 0.2, 0.3]),  # two recordings, one behind the other
        ([0.0, 0.2, 0.15, 0.3], [0.0, 0.2, 0.2, 0.3]),
        ([0.0, 0.0, 0.1], [0.0, 0.0, 0.1]),
    ],
)
def test_clock_never_goes_back(stamps: list[float | None], times: list[float]) -> None:
    clock = StreamClock(10.0)
    assert [clock.at(stamp) for stamp in stamps] == pytest.approx(times)


@pytest.mark.parametrize(
    ("fps", "usable"),
    [(30, 30), (29.97, 29.97), (0, 25), (None, 25), (-1, 25), (float("nan"), 25), (1e9, 25), (1000, 25), (240, 240)],
)
def test_frame_rates(fps: float | None, usable: float) -> None:
    assert usable_fps(fps) == usable


def test_videos_in_threads_do_not_disturb_each_other(
    engine: str, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    path = make_clip(tmp_path / "a.mp4", TENTHS)
    counts: list[int] = []

    def read() -> None:
        with VideoFile(path) as video:
            counts.append(len(list(video)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [10] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_child_of_a_fork_refuses_an_open_video_and_ends(
    engine: str, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    """A decoder's threads are not in the child, where freeing it would wait for them."""
    script = tmp_path / "fork.py"
    script.write_text(
        "import os, signal, sys\n"
        "from edgessd.io.video import VideoFile, pyav\n"
        "pyav.available = (lambda: False) if sys.argv[1] == 'opencv' else pyav.available\n"
        "with VideoFile(sys.argv[2]) as video:\n"
        "    frames = iter(video)\n"
        "    next(frames)\n"
        "    child = os.fork()\n"
        "    if child:\n"
        "        print(os.waitpid(child, 0)[1], len(list(frames)))\n"
        "    else:\n"
        "        signal.alarm(20)\n"
        "        next(frames)\n"
    )
    clip = make_clip(tmp_path / "a.mp4", [number / 10 for number in range(30)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, engine, clip], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["256", "29"], done.stderr  # it ended with exit code 1
    assert "a.mp4: was opened before this process was forked: open it in the child" in done.stderr
