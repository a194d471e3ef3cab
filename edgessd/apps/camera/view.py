"""The picture that is shown: boxes, what was counted, how fast it goes, and what is wrong."""

from __future__ import annotations

import numpy as np

from edgessd.apps.camera.capture import Capture
from edgessd.apps.camera.control import KEYS, Control
from edgessd.apps.camera.counters import Shape
from edgessd.apps.camera.drawing import Drawing, draw_shapes
from edgessd.apps.camera.engine import EngineInfo
from edgessd.apps.camera.overlay import draw_banner, draw_strip, speed_panel
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.recorder import Recorder
from edgessd.io.images import Image

_AMBER = (80, 200, 255)


class View:
    """Makes the annotated picture of a result, and the picture of a moment without one."""

    def __init__(
        self, capture: Capture, control: Control, recorder: Recorder, drawing: Drawing, shapes: list[Shape]
    ) -> None:
        self._capture, self._control, self._recorder = capture, control, recorder
        self._drawing, self._shapes = drawing, shapes
        self._plain: Image | None = None  # the latest picture, without messages of the moment

    def draw(self, result: Result) -> Image:
        """Return the annotated frame; it is drawn into the frame's own picture."""
        frame, size = result.frame, result.detections.image_size
        total = self._capture.source.frame_count
        number = f"{frame.index + 1}" if total is None else f"{frame.index + 1} / {total}"
        rows = [("frame", number)]
        if self._capture.source.live:
            rows.append(("dropped", f"{self._capture.dropped}"))
        # The numbers are those of the frames before; the first frame has no panel.
        recorder = self._recorder
        panel = speed_panel(size, recorder.recent_fps(), recorder.recent_age(), recorder.recent_timings(), rows)
        rect = panel.rect if recorder.frames > 0 and self._control.numbers else None
        picture = self._drawing.draw(frame.image, result, () if rect is None else (rect,))
        result.drawn = True
        draw_shapes(picture, self._shapes, result)
        if rect is not None:
            panel.draw(picture)
        if self._control.numbers:
            draw_strip(picture, facts(self._control.engine.info))
        # A message comes on a copy only in `idle`, so that nothing of it stays when it is over.
        self._plain = picture
        return self._with_messages(picture.copy() if self._messages() else picture)

    def idle(self) -> Image | None:
        """Return the picture for a moment without a frame; None where the last one will do."""
        if not self._messages():
            return None
        plain = self._plain if self._plain is not None else np.full((480, 640, 3), 40, np.uint8)
        return self._with_messages(plain.copy())

    def _messages(self) -> list[str]:
        control = self._control
        messages = [text for text in (self._capture.trouble, control.notice) if text is not None]
        if control.engine.changing:
            messages.append("loading ...")
        if control.paused:
            messages.append("paused")
        if control.help:
            messages.extend(f"{key}: {text}" for key, text in KEYS.items())
        return messages

    def _with_messages(self, picture: Image) -> Image:
        messages = self._messages()
        if messages:
            draw_banner(picture, messages, _AMBER)
        return picture


def facts(info: EngineInfo) -> str:
    """Return model, precision, runtime, threads and threshold in one line."""
    threads = "threads auto" if info.threads is None else f"{info.threads} thread{'s' if info.threads > 1 else ''}"
    return f"{info.title}, {info.precision}, {info.runtime}, {threads}, score {info.score_threshold:.2f}"
