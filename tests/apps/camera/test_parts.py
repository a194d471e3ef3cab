import contextlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.apps.camera import window
from edgessd.apps.camera.capture import Frame
from edgessd.apps.camera.demo import demo_clip
from edgessd.apps.camera.outputs import VideoOutput, WindowOutput, closing_all
from edgessd.apps.camera.overlay import Panel, speed_panel
from edgessd.apps.camera.recorder import Recorder
from edgessd.apps.camera.sources import open_source
from edgessd.errors import InputError, OptionError
from edgessd.io.video import VideoFile, VideoWriter
from edgessd.results import Detections

PICTURE = np.full((48, 64, 3), 90, np.uint8)


def detections(*labels: int) -> Detections:
    count = len(labels)
    return Detections(
        np.tile(np.array([1, 2, 30, 40], np.float32), (count, 1)),
        np.full(count, 0.5, np.float32),
        np.array(labels, np.int64),
        ("cat", "dog"),
        (64, 48),
        {"preprocess": 1.0, "run": 2.0, "postprocess": 3.0},
    )


# demo


@pytest.mark.parametrize(("frames", "size"), [(1, (64, 48)), (3, (48, 64)), (40, (160, 120)), (7, (33, 2))])
def test_demo_clip_has_the_frames_and_the_size_asked_for(frames: int, size: tuple[int, int]) -> None:
    clip = list(demo_clip(frames, size))
    assert len(clip) == frames
    assert all(frame.shape == (size[1], size[0], 3) and frame.dtype == np.uint8 for frame in clip)


def test_demo_clip_moves_slowly_and_is_the_same_every_time(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 300)
    for name, values in (("a.png", np.tile(ramp, (200, 1))), ("b.png", np.tile(ramp[:200, None], (1, 300)))):
        cv2.imwrite(str(tmp_path / name), values.astype(np.uint8))
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    clip = list(demo_clip(100, (160, 120), photos))
    steps = [np.abs(np.subtract(a, b, dtype=int)).mean() for a, b in pairwise(clip)]
    assert 0 < np.median(steps) < 3
    assert max(steps) < 20  # a soft cut
    for first, second in zip(clip, demo_clip(100, (160, 120), photos), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("frames", "size", "photos"), [(0, (64, 48), None), (5, (0, 48), None), (5, (64, 48), [])])
def test_demo_clip_of_nothing(frames: int, size: tuple[int, int], photos: Any) -> None:
    with pytest.raises(OptionError):
        list(demo_clip(frames, size, photos))


# sources


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("99", "camera 99 cannot be opened"),
        ("/dev/video98", "camera 98 cannot be opened"),
        ("no.mp4", "no.mp4: no such file"),
        ("photo.jpg", "use 'edgessd detect' for pictures"),
        (".", "a folder, not a video"),
        ("rtsp://me:secret@127.0.0.1:1/live", "rtsp://127.0.0.1:1/live: this stream cannot be opened"),
        ("http://127.0.0.1:1/stream", "this stream cannot be opened"),
        ("http://127.0.0.1:1/clip.mp4", "cannot be opened as a video: check the address"),
        ("", "a folder"),
    ],
)
def test_sources_that_do_not_open(source: str, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as caught:
        open_source(source, timeout=2)
    assert text in str(caught.value) and "\n" not in str(caught.value) and "secret" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_file_and_demo_are_not_live(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.avi", fps=12, size=(64, 48)) as writer:
        writer.write(PICTURE)
    source = open_source(str(tmp_path / "clip.avi"))
    assert (source.live, source.fps, source.frame_count) == (False, 12.0, 1)
    assert len(list(source)) == 1
    source.close()
    demo = open_source("demo")
    assert (demo.live, demo.frame_count) == (False, 150)
    assert next(iter(demo)).shape == (480, 640, 3)


class Camera:
    """Stands for a cv2.VideoCapture that sends `count` frames."""

    def __init__(self, count: int) -> None:
        self.left = count

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return (True, PICTURE[:, :, 0]) if self.left >= 0 else (False, None)

    def get(self, prop: int) -> float:
        return 0.0

    def set(self, prop: int, value: float) -> bool:
        return False

    def release(self) -> None:
        self.left = 0


@pytest.mark.parametrize(("count", "text"), [(0, "sends no frames"), (3, "no more frames after 3")])
def test_end_of_a_camera_is_an_error(monkeypatch: pytest.MonkeyPatch, count: int, text: str) -> None:
    monkeypatch.setattr("edgessd.apps.camera.sources.open_capture", lambda *_, **__: Camera(count))
    source = open_source("0")
    assert source.live and source.fps == 25.0
    found = []
    with pytest.raises(InputError, match=text):
        for frame in source:
            found.append(frame.shape)
    assert found == [(48, 64, 3)] * count
    source.close()


# panel


def test_panel_darkens_its_corner_only() -> None:
    image = np.full((480, 640, 3), 200, np.uint8)
    panel = speed_panel((640, 480), 24.8, {"capture": 1.0, "run": 30.5}, "12 / 795")
    panel.draw(image)
    assert panel.rect is not None
    x1, y1, x2, y2 = panel.rect
    assert (x1, y1) == (0, 0) and 80 < x2 < 220 and 50 < y2 < 140
    assert np.median(image[:y2, :x2]) == 70
    assert (image[:y2, :x2] > 190).any()
    assert (image[y2:] == 200).all() and (image[:, x2:] == 200).all()


@pytest.mark.parametrize("size", [(2, 2), (30, 400), (400, 30)])
def test_panel_without_room_is_left_out(size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 200, np.uint8)
    panel = Panel(size, "title", [("a", "b")] * 5)
    panel.draw(image)
    assert panel.rect is None and (image == 200).all()


# window


def test_without_a_display_there_is_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    assert window.why_no_window() == "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"


def test_headless_build_has_no_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    assert "opencv-python-headless" in str(window.why_no_window())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there Qt ends the process")
def test_display_that_does_not_answer_ends_another_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    monkeypatch.setenv("DISPLAY", ":7654")
    assert window.why_no_window() == "the display cannot be used"


@pytest.mark.parametrize(
    ("outcome", "reason"), [(0, None), (-6, "the display cannot be used"), (None, "the display does not answer")]
)
def test_what_the_trial_says(monkeypatch: pytest.MonkeyPatch, outcome: int | None, reason: str | None) -> None:
    def run(*args: Any, **options: Any) -> Any:
        if outcome is None:
            raise subprocess.TimeoutExpired("python", 20)
        return subprocess.CompletedProcess(args, outcome)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    monkeypatch.setattr(window.subprocess, "run", run)
    monkeypatch.setenv("DISPLAY", ":0")
    assert window.why_no_window() == reason


# outputs


def written(path: Path) -> list[int]:
    with VideoFile(path) as video:
        return [round(float(frame.mean()) / 20) for frame in video]


def frame(index: int, time: float) -> Frame:
    return Frame(index, np.full((48, 64, 3), 20 * index, np.uint8), 1.0, time)


def test_video_of_a_file_has_each_frame_once(tmp_path: Path) -> None:
    output = VideoOutput(tmp_path / "out.avi", fps=10, live=False)
    for number in range(5):
        assert output.add(frame(number, 100.0 + number * 7), frame(number, 0).image)
    output.close()
    assert written(tmp_path / "out.avi") == [0, 1, 2, 3, 4]


def test_video_of_a_camera_keeps_the_pace_of_the_clock(tmp_path: Path) -> None:
    output = VideoOutput(tmp_path / "out.avi", fps=10, live=True)
    for number, time in enumerate((50.0, 50.1, 50.12, 50.4, 50.5)):
        assert output.add(frame(number, time), frame(number, 0).image)
    output.close()
    # One frame each tenth of a second: the third came too early, and the second filled the gap before the fourth.
    assert written(tmp_path / "out.avi") == [0, 1, 1, 1, 3, 4]


@pytest.mark.parametrize(
    ("key", "visible", "going_on"),
    [(-1, 1.0, True), (ord("x"), 1.0, True), (ord("q"), 1.0, False), (27, 1.0, False), (-1, 0.0, False)],
)
def test_keys_and_button_of_the_window(
    monkeypatch: pytest.MonkeyPatch, key: int, visible: float, going_on: bool
) -> None:
    calls = []
    for name in ("namedWindow", "resizeWindow", "imshow", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(cv2, "waitKey", lambda _: key)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: visible)
    output = WindowOutput()
    output.close()  # nothing is open yet
    assert [output.add(frame(number, 0.0), PICTURE) for number in range(2)] == [going_on] * 2
    output.close()
    assert calls == ["namedWindow", "resizeWindow", "imshow", "imshow", "destroyWindow"]


def test_output_without_frames_writes_nothing(tmp_path: Path) -> None:
    VideoOutput(tmp_path / "out.avi", fps=10, live=False).close()
    assert list(tmp_path.iterdir()) == []


def test_all_outputs_are_closed_though_one_fails() -> None:
    closed = []

    class Output:
        def __init__(self, name: str) -> None:
            self.name = name

        def add(self, frame: Frame, picture: Any) -> bool:
            return True

        def close(self) -> None:
            closed.append(self.name)
            if self.name == "b":
                raise InputError("disk full")

    with pytest.raises(InputError, match="disk full"), closing_all([Output("a"), Output("b"), Output("c")]):
        pass
    assert sorted(closed) == ["a", "b", "c"]


# recorder


def test_summary_counts_and_takes_medians() -> None:
    recorder = Recorder()
    assert recorder.summary() == {
        "frames": 0,
        "dropped": 0,
        "seconds": 0.0,
        "fps": 0.0,
        "median_ms": {},
        "objects": {},
    }
    assert recorder.recent_fps() == 0.0 and recorder.recent_timings() == {}
    recorder.start()
    for index, (labels, run) in enumerate([((0, 1, 1), 10.0), ((), 30.0), ((1,), 11.0)]):
        recorder.add(index, detections(*labels), {"run": run, "capture": 1.0})
    summary = recorder.summary(dropped=4)
    assert (summary["frames"], summary["dropped"]) == (3, 4)
    assert summary["median_ms"] == {"capture": 1.0, "run": 11.0}
    assert summary["objects"] == {"dog": 3, "cat": 1} and list(summary["objects"]) == ["dog", "cat"]
    assert summary["seconds"] >= 0 and recorder.recent_fps() > 0
    assert recorder.recent_timings() == {"capture": 1.0, "run": 17.0}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_one_document(tmp_path: Path, count: int) -> None:
    with contextlib.closing(Recorder(keep_frames=True)) as recorder:
        recorder.start()
        for index in range(count):
            recorder.add(index, detections(*[1] * index), {"run": 2.0})
        recorder.write_json(tmp_path / "out.json", {"source": "ä \udcff", "summary": recorder.summary()})
    document = json.loads((tmp_path / "out.json").read_text())
    assert list(document) == ["source", "summary", "frames"]
    assert [entry["index"] for entry in document["frames"]] == list(range(count))
    assert [len(entry["objects"]) for entry in document["frames"]] == list(range(count))
    if count > 1:
        assert document["frames"][1] == {
            "index": 1,
            "objects": [{"name": "dog", "label": 1, "score": 0.5, "box": [1.0, 2.0, 30.0, 40.0]}],
            "milliseconds": {"run": 2.0},
        }
