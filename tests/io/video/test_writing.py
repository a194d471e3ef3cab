import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgessd.errors import InputError
from edgessd.io.video import VideoFile, VideoWriter, browser_suffix, shortcoming_of, writer

SUFFIXES = [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"]


def frame(number: int, size: tuple[int, int] = (64, 48)) -> Any:
    """A picture whose brightness tells its number."""
    return np.full((size[1], size[0], 3), 30 + 8 * number, np.uint8)


def write(path: Path, count: int = 20, fps: float = 25.0, size: tuple[int, int] = (64, 48)) -> None:
    with VideoWriter(path, fps=fps, size=size) as video:
        for number in range(count):
            video.write(frame(number, size))


def read(path: Path) -> list[tuple[int, float]]:
    """Number and time of each frame."""
    with VideoFile(path) as video:
        return [(round((float(image.mean()) - 30) / 8), seconds) for image, seconds in video]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fps", [10.0, 30000 / 1001, 90.123])
def test_written_videos_come_back(
    engine: str, tmp_path: Path, suffix: str, fps: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"clip{suffix}"
    write(path, fps=fps)
    assert list(tmp_path.iterdir()) == [path]
    with VideoFile(path) as clip:
        assert clip.info.size == (64, 48)
    found = read(path)
    if fps <= 60 or (engine == "pyav" and suffix != ".avi"):
        assert [number for number, _ in found] == list(range(20))
        assert [seconds for _, seconds in found] == pytest.approx([i / fps for i in range(20)], rel=0.01, abs=0.002)
    assert found[-1][1] == pytest.approx(19 / fps, abs=0.03)
    if (engine, suffix) != ("opencv", ".webm"):  # a line of OpenCV's about its tag, which the command drops
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_video_keeps_the_clock(engine: str, tmp_path: Path, suffix: str) -> None:
    """A camera that gives 10 frames a second, then 30, and then nothing for three seconds."""
    stamps = [100 + i / 10 for i in range(5)] + [100.5 + i / 30 for i in range(6)] + [103.7, 103.8]
    path = tmp_path / f"clip{suffix}"
    with VideoWriter(path, fps=25, size=(64, 48)) as video:
        for number, stamp in enumerate(stamps):
            video.write(frame(number), stamp)
    found = read(path)
    if engine == "pyav" and suffix != ".avi":
        assert [number for number, _ in found] == list(range(13))
        assert [seconds for _, seconds in found] == pytest.approx([each - 100 for each in stamps], abs=0.002)
    else:  # a fixed rate: what is shown at any moment is the latest frame
        for number, seconds in found:
            latest = max(i for i, stamp in enumerate(stamps) if stamp - 100 <= seconds + 0.021)
            assert latest - 1 <= number <= latest
    with VideoFile(path) as video:
        assert found[-1][1] == pytest.approx(3.8, abs=0.05)
        assert video.info.duration == pytest.approx(3.9, abs=0.1)


def test_time_that_goes_back_stands_still(engine: str, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=10, size=(64, 48)) as video:
        for number, stamp in enumerate((5.0, 5.5, 2.0, 5.6)):
            video.write(frame(number), stamp)
    assert read(tmp_path / "a.mp4")[-1] == (3, pytest.approx(0.6, abs=0.002))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_aspect_is_kept(engine: str, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    with VideoWriter(path, fps=10, size=(64, 48), pixel_aspect=Fraction(64, 45)) as video:
        video.write(frame(1))
    with VideoFile(path) as clip:
        (width, height), aspect = clip.info.size, clip.info.pixel_aspect
    assert float(width * aspect / height) == pytest.approx(64 * 64 / 45 / 48, rel=0.02)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colours_are_kept(engine: str, tmp_path: Path, suffix: str) -> None:
    colour = np.array((30, 60, 200), np.uint8)
    with VideoWriter(tmp_path / f"a{suffix}", fps=10, size=(64, 48)) as video:
        for _ in range(2):
            video.write(np.broadcast_to(colour, (48, 64, 3)).copy())
    with VideoFile(tmp_path / f"a{suffix}") as video:
        assert np.abs(next(iter(video)).image[20, 30].astype(int) - colour).max() <= 8


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_odd_sides_lose_less_than_a_pixel(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("av")
    write(tmp_path / f"a{suffix}", 2, size=(63, 47))
    with VideoFile(tmp_path / f"a{suffix}") as video:
        assert video.info.size == (64, 48)


def test_what_browsers_play(tmp_path: Path) -> None:
    """H.264 in 4:2:0 of 8 bits, in an MP4 that is a plain one when it is finished."""
    av = pytest.importorskip("av")
    write(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as clip:
        codec = clip.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt, int(codec.colorspace)) == ("h264", "yuv420p", 6)
        assert clip.streams.video[0].frames == 20 and clip.duration == 800_000
    data = (tmp_path / "a.mp4").read_bytes()
    assert b"moof" not in data[:200]


def test_suffix_for_browsers(engine: str) -> None:
    assert browser_suffix() == {"pyav": ".mp4", "opencv": ".webm"}[engine]


@pytest.mark.parametrize(("suffix", "lacking"), [(".mp4", True), (".mov", True), (".webm", False), (".avi", False)])
def test_what_a_video_lacks_without_pyav_is_said(engine: str, suffix: str, lacking: bool) -> None:
    text = shortcoming_of(Path(f"a{suffix}"))
    assert (text is not None and "edgessd[video]" in text) == (lacking and engine == "opencv")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_recording_survives_a_kill(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("av")
    program = """
import os, sys
import numpy as np
from edgessd.io.video import VideoWriter
video = VideoWriter(sys.argv[1], fps=10, size=(64, 48))
for number in range(25):
    video.write(np.full((48, 64, 3), 30 + 8 * number, np.uint8))
os.kill(os.getpid(), 9)
"""
    path = tmp_path / f"a{suffix}"
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False, capture_output=True)
    assert ended.returncode == -9
    found = read(path)
    assert [number for number, _ in found] == list(range(len(found)))
    assert len(found) >= 15  # all but the last second
    with VideoFile(path) as video:
        assert video.info.frame_count in (None, len(found))
    write(path, 2)  # and the next run does not write over it
    assert len(read(path)) == 2
    assert read(tmp_path / f"a.recovered{suffix}") == found
    write(path, 3)
    assert len(read(path)) == 3 and len(list(tmp_path.iterdir())) == 2


def test_file_that_is_there_stays_until_the_new_one_is_whole(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    video = VideoWriter(path, fps=25, size=(64, 48))
    video.write(frame(0))
    assert path.read_bytes() == b"old"
    video.close()
    video.close()  # twice does no harm
    assert len(read(path)) == 1 and list(tmp_path.iterdir()) == [path]


def test_video_is_playable_after_an_exception(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with pytest.raises(ZeroDivisionError), VideoWriter(path, fps=25, size=(64, 48)) as video:
        for number in range(7):
            video.write(frame(number))
        raise ZeroDivisionError
    assert len(read(path)) == 7


@pytest.mark.parametrize("before", [None, b"old"])
def test_without_frames_nothing_changes(engine: str, tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "clip.mp4"
    if before is not None:
        path.write_bytes(before)
    with VideoWriter(path, fps=25, size=(64, 48)):
        pass
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([] if before is None else [before])


def test_frames_of_another_size_are_not_lost(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    with VideoWriter(path, fps=25, size=(64, 48)) as video:
        for size in ((64, 48), (32, 24), (128, 30)):
            video.write(frame(5, size))
    with VideoFile(path) as clip:
        assert [image.shape for image, _ in clip] == [(48, 64, 3)] * 3


@pytest.mark.parametrize(
    ("name", "size", "text"),
    [
        ("a.gif", (64, 48), "videos are written as .mp4"),
        ("a", (64, 48), "videos are written as .mp4"),
        ("missing/a.mp4", (64, 48), "there is no folder"),
        ("a.mp4", (0, 0), "0 x 0 video cannot be written"),
    ],
)
def test_videos_that_cannot_be_written(
    engine: str, tmp_path: Path, name: str, size: tuple[int, int], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as caught:
        VideoWriter(tmp_path / name, fps=25, size=size)
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_video_that_could_not_be_finished_is_not_kept(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"old")
    monkeypatch.setattr(writer, "_playable", lambda path: False)
    with pytest.raises(InputError, match="disk full"):
        write(tmp_path / "a.mp4", 3)
    assert (tmp_path / "a.mp4").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_full_disk_is_one_line_and_what_was_written_stays(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    pytest.importorskip("av")
    resource = pytest.importorskip("resource")
    before, noise = resource.getrlimit(resource.RLIMIT_FSIZE), np.random.default_rng(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        video = VideoWriter(tmp_path / "a.mp4", fps=10, size=(320, 240))
        with pytest.raises(InputError, match=r"cannot write .*a\.mp4: File too large"), video:
            for _ in range(60):
                video.write(noise.integers(0, 255, (240, 320, 3), dtype=np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    with VideoFile(tmp_path / "a.mp4") as clip:
        next(iter(clip))


def test_writers_in_threads_do_not_disturb_each_other(engine: str, tmp_path: Path) -> None:
    threads = [threading.Thread(target=write, args=(tmp_path / f"{number}.mp4", 20)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(read(tmp_path / f"{number}.mp4")) for number in range(4)] == [20] * 4
