import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io.video import VideoFile, VideoWriter, usable_fps
from edgessd.io.video import files as video


def frame(number: int, size: tuple[int, int] = (64, 48)) -> Any:
    """A picture whose brightness tells its number."""
    return np.full((size[1], size[0], 3), 10 + 2 * number, np.uint8)


def write(path: Path, count: int = 60, fps: float = 25.0, size: tuple[int, int] = (64, 48)) -> None:
    with VideoWriter(path, fps=fps, size=size) as writer:
        for number in range(count):
            writer.write(frame(number, size))


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov", ".m4v"])
@pytest.mark.parametrize("fps", [10.0, 29.97, 30000 / 1001, 90.123])
def test_written_videos_come_back(tmp_path: Path, suffix: str, fps: float, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"clip{suffix}"
    write(path, fps=fps)
    assert list(tmp_path.iterdir()) == [path]
    with VideoFile(path) as clip:
        assert clip.size == (64, 48)
        assert clip.fps == pytest.approx(fps, rel=0.01)
        assert clip.frame_count == 60
        frames = list(clip)
        assert clip.index == 60
    for number, picture in enumerate(frames):
        assert picture.shape == (48, 64, 3) and picture.dtype == np.uint8
        assert abs(float(picture.mean()) - (10 + 2 * number)) < 4
    assert capfd.readouterr() == ("", "")


def test_video_is_playable_after_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with pytest.raises(ZeroDivisionError), VideoWriter(path, fps=25, size=(64, 48)) as writer:
        for number in range(7):
            writer.write(frame(number))
        raise ZeroDivisionError
    with VideoFile(path) as clip:
        assert len(list(clip)) == 7


def test_without_frames_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with VideoWriter(path, fps=25, size=(64, 48)):
        pass
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_frames_of_another_size_are_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    with VideoWriter(path, fps=25, size=(64, 48)) as writer:
        for size in ((64, 48), (32, 24), (128, 30)):
            writer.write(frame(5, size))
        writer.close()
        writer.close()  # twice does no harm
    with VideoFile(path) as clip:
        assert [picture.shape for picture in clip] == [(48, 64, 3)] * 3


@pytest.mark.parametrize(
    ("name", "size", "text"),
    [
        ("a.gif", (64, 48), "videos are written as .mp4"),
        ("a", (64, 48), "videos are written as .mp4"),
        ("missing/a.mp4", (64, 48), "there is no folder"),
        ("a.mp4", (0, 0), "cannot write 0 x 0 video"),
    ],
)
def test_videos_that_cannot_be_written(tmp_path: Path, name: str, size: tuple[int, int], text: str) -> None:
    with pytest.raises(InputError) as caught:
        VideoWriter(tmp_path / name, fps=25, size=size)
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_video_that_could_not_be_finished_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_playable", lambda path: False)
    with pytest.raises(InputError, match="disk full"):
        write(tmp_path / "a.mp4", 3)
    assert list(tmp_path.iterdir()) == []


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
    tmp_path: Path, name: str, data: Any, text: str, capfd: pytest.CaptureFixture[str]
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


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_video_that_ends_early_gives_its_frames_and_then_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    with VideoWriter(path, fps=25, size=(64, 48)) as writer:
        noise = np.random.default_rng(0)
        for _ in range(60):
            writer.write(noise.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    count = 0
    with VideoFile(path) as clip, pytest.raises(InputError) as caught:
        for _ in clip:
            count += 1
    assert 10 < count < 50
    assert f"ended after {count} of 60 frames" in str(caught.value)


def test_mp4_without_its_end_cannot_be_opened(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clip.mp4"
    write(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="its end is missing"):
        VideoFile(path)
    assert capfd.readouterr() == ("", "")


class FakeCapture:
    """A video of `count` frames that announces `announced`, the last of which stands at `end` seconds."""

    def __init__(self, count: int, announced: float, fps: float, end: float) -> None:
        self.left, self.count, self.announced, self.fps, self.end = count, count, announced, fps, end

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return (True, frame(0)) if self.left >= 0 else (False, None)

    def get(self, prop: int) -> float:
        position = 1000 * self.end * (self.count - self.left - 1) / max(1, self.count - 1)
        return {
            cv2.CAP_PROP_FRAME_COUNT: self.announced,
            cv2.CAP_PROP_FPS: self.fps,
            cv2.CAP_PROP_POS_MSEC: position,
        }.get(prop, 64.0)

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("count", "announced", "end", "complete"),
    [
        (100, 100, 3.96, True),
        (98, 100, 3.88, True),  # the slack of an estimate
        (97, 100, 3.84, False),
        (990, 1000, 39.56, True),
        (985, 1000, 39.36, False),
        (100, 200, 7.96, True),  # half the frames of the guessed rate, but the whole time: variable rate
        (100, 0, 3.96, True),
        (100, -3e15, 3.96, True),
        (100, 1e12, 3.96, True),
        (120, 100, 4.76, True),
        (100, 200, 0.0, False),
    ],
)
def test_what_counts_as_an_early_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, announced: float, end: float, complete: bool
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    monkeypatch.setattr(video, "open_capture", lambda *_, **__: FakeCapture(count, announced, 25.0, end))
    with VideoFile(path) as clip:
        if complete:
            assert len(list(clip)) == count
        else:
            with pytest.raises(InputError, match=f"ended after {count} of"):
                list(clip)


def test_no_readable_frame_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    monkeypatch.setattr(video, "open_capture", lambda *_, **__: FakeCapture(0, 100, 25.0, 0))
    with VideoFile(path) as clip, pytest.raises(InputError, match="no frame of this video can be read"):
        list(clip)


@pytest.mark.parametrize(
    ("fps", "usable"), [(30, 30), (29.97, 29.97), (0, 25), (-1, 25), (float("nan"), 25), (1e9, 25), (90000, 25)]
)
def test_frame_rates(fps: float, usable: float) -> None:
    assert usable_fps(fps) == usable


def test_writers_in_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    threads = [threading.Thread(target=write, args=(tmp_path / f"{number}.mp4", 20)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        with VideoFile(tmp_path / f"{number}.mp4") as clip:
            assert len(list(clip)) == 20


def test_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "plain.avi", 5)
    (tmp_path / "plain.avi").rename(tmp_path / "concat:a.avi")
    monkeypatch.chdir(tmp_path)
    with VideoFile("concat:a.avi") as clip:
        assert len(list(clip)) == 5
