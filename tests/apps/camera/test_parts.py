import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.apps.camera import window
from edgessd.apps.camera.capture import Frame
from edgessd.apps.camera.demo import demo_clip
from edgessd.apps.camera.outputs import VideoOutput, WindowOutput, closing_all
from edgessd.apps.camera.overlay import Panel, draw_banner, draw_strip, speed_panel
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.recorder import Recorder
from edgessd.errors import InputError, OptionError
from edgessd.io.video import VideoFile
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


# panel


def test_panel_darkens_its_corner_only() -> None:
    image = np.full((480, 640, 3), 200, np.uint8)
    panel = speed_panel((640, 480), 24.8, 41.0, {"capture": 1.0, "run": 30.5}, [("frame", "12 / 795")])
    panel.draw(image)
    assert panel.rect is not None
    x1, y1, x2, y2 = panel.rect
    assert (x1, y1) == (0, 0) and 80 < x2 < 220 and 50 < y2 < 160
    assert np.median(image[:y2, :x2]) == 70
    assert (image[:y2, :x2] > 190).any()
    assert (image[y2:] == 200).all() and (image[:, x2:] == 200).all()


def test_panel_of_a_small_picture_keeps_speed_and_age_only() -> None:
    stages = dict.fromkeys(("capture", "preprocess", "run", "postprocess", "draw"), 1.0)
    large, small = speed_panel((640, 480), 9.0, 41.0, stages), speed_panel((160, 120), 9.0, 41.0, stages)
    assert large.rect is not None and small.rect is not None
    assert small.rect[3] < 120 * 0.55 < large.rect[3]


@pytest.mark.parametrize(
    "draw", [lambda i: draw_strip(i, "model " * 30), lambda i: draw_banner(i, ["lost " * 30, "b"])]
)
@pytest.mark.parametrize("size", [(2, 2), (40, 300), (640, 480), (300, 40)])
def test_strip_and_banner_stay_in_the_picture(draw: Any, size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 200, np.uint8)
    draw(image)
    assert image.shape == (size[1], size[0], 3)
    if size == (640, 480):
        assert (image < 100).any() and (image[:100] == 200).all()


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
        return [round(float(image.mean()) / 20) for image, _ in video]


def add(output: VideoOutput, number: int, time: float) -> None:
    picture = np.full((48, 64, 3), 20 * number, np.uint8)
    output.add(Result(Frame(number, picture, 1.0, time, time), detections()), picture)


def test_video_of_a_file_has_each_frame_once(tmp_path: Path) -> None:
    output = VideoOutput(tmp_path / "out.avi", fps=10, live=False)
    for number in range(12):
        add(output, number, number / 10)
    output.close()
    assert written(tmp_path / "out.avi") == list(range(12))


def test_video_of_a_camera_keeps_the_pace_of_the_clock(tmp_path: Path) -> None:
    output = VideoOutput(tmp_path / "out.avi", fps=10, live=True)
    for number, moment in enumerate((50.0, 50.1, 50.12, 50.4, 50.5)):
        add(output, number, moment)
        output._worker._channel.wait_until_taken(2)
    output.close()
    # One frame each tenth of a second: the third came too early to be seen before the gap, which it fills.
    assert written(tmp_path / "out.avi") == [0, 1, 2, 2, 3, 4]


def test_video_on_a_disk_that_fills_ends_early_and_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([1 << 30, 1 << 30, 1 << 20])
    usage = SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=next(free)))
    monkeypatch.setattr("edgessd.apps.camera.outputs.shutil", usage)
    output = VideoOutput(tmp_path / "out.mp4", fps=10, live=False)
    with pytest.raises(InputError, match=r"the disk is nearly full: the video ends after 20 frames"):
        for number in range(200):
            add(output, number % 10, number / 10)
            sleep(0.005)
    output.close()
    with VideoFile(tmp_path / "out.mp4") as video:
        assert len(list(video)) == 20


def test_keys_of_the_window_go_to_control_and_its_button_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, keys, visible = [], [-1, ord("+"), 27], iter([1.0, 1.0, 0.0])
    for name in ("namedWindow", "resizeWindow", "imshow", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(cv2, "waitKey", lambda _: keys[len([c for c in calls if c == "imshow"]) - 1])
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: next(visible))
    told: list[int] = []
    control: Any = SimpleNamespace(key=told.append, stop=threading.Event())
    output = WindowOutput(control)
    output.close()
    output.idle(None)
    assert calls == []  # nothing is open yet
    for _ in range(3):
        assert not control.stop.is_set()
        output.idle(PICTURE)
    output.close()
    assert told == keys and control.stop.is_set()
    assert calls == ["namedWindow", "resizeWindow", "imshow", "imshow", "imshow", "destroyWindow"]


def test_output_without_frames_writes_nothing(tmp_path: Path) -> None:
    VideoOutput(tmp_path / "out.avi", fps=10, live=False).close()
    assert list(tmp_path.iterdir()) == []


def test_all_outputs_are_closed_though_one_fails() -> None:
    closed = []

    class Output:
        pictures = True

        def __init__(self, name: str) -> None:
            self.name = name

        def add(self, result: Result, picture: Any) -> None: ...

        def idle(self, picture: Any) -> None: ...

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
    nothing = {"frames": 0, "dropped": 0, "seconds": 0.0, "fps": 0.0, "median_ms": {}, "age_ms": {}, "objects": {}}
    assert recorder.summary() == nothing
    assert recorder.recent_fps() == 0.0 and recorder.recent_timings() == {} and recorder.recent_age() == 0.0
    recorder.start()
    for labels, run, age in [((0, 1, 1), 10.0, 40.0), ((), 30.0, 90.0), ((1,), 11.0, 50.0)]:
        recorder.add(detections(*labels), {"run": run, "capture": 1.0}, age)
    summary = recorder.summary(dropped=4)
    assert (summary["frames"], summary["dropped"]) == (3, 4)
    assert summary["median_ms"] == {"capture": 1.0, "run": 11.0}
    assert summary["age_ms"] == {"median": 50.0, "p99": 50.0}
    assert summary["objects"] == {"dog": 3, "cat": 1} and list(summary["objects"]) == ["dog", "cat"]
    assert summary["seconds"] >= 0 and recorder.recent_fps() > 0
    assert recorder.recent_timings() == {"capture": 1.0, "run": 17.0} and recorder.recent_age() == 60.0


def test_speed_falls_to_nothing_when_no_frames_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("edgessd.apps.camera.recorder.time.perf_counter", lambda: clock[0])
    recorder = Recorder()
    recorder.start()
    for _ in range(10):
        clock[0] += 0.1
        recorder.add(detections(), {})
    assert recorder.recent_fps() == pytest.approx(10)
    clock[0] += 10
    assert recorder.recent_fps() == 0.0
