"""The browser's own camera: pictures come in, go through the model, and go back with boxes."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgessd.apps.camera.engine import Engine
from edgessd.apps.camera.jpeg import encode_jpeg
from edgessd.draw.detections import draw_detections
from edgessd.errors import EdgeSSDError
from edgessd.io.images import load_image

MAX_CAMERAS = 4
MAX_BYTES = 4 << 20  # of one picture


class BrowserCamera:
    """Answers each JPEG with two messages: JSON with objects and milliseconds, then the picture with boxes.

    The browser sends its next picture when it has the answer to the last, so nothing piles up. A picture that
    cannot be read is answered with JSON that has `error`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.open = 0

    async def serve(self, socket: WebSocket) -> None:
        """Serve one browser until it goes away."""
        if self.open >= MAX_CAMERAS:
            await socket.close(1013)
            return
        await socket.accept()
        self.open += 1
        try:
            while True:
                data = await socket.receive_bytes()
                try:
                    text, picture = await asyncio.to_thread(self._answer, data)
                except EdgeSSDError as error:
                    await socket.send_text(msgspec.json.encode({"error": str(error)}).decode())
                    continue
                await socket.send_text(text.decode())
                await socket.send_bytes(picture)
        except (WebSocketDisconnect, KeyError, RuntimeError):  # gone; text instead of bytes; gone while sending
            pass
        finally:
            self.open -= 1

    def _answer(self, data: bytes) -> tuple[bytes, bytes]:
        image = np.array(load_image(data), order="C")
        found = self._engine.detect(image)
        drawn = draw_detections(image, found.boxes, found.labels, found.scores, found.names, copy=False)
        return msgspec.json.encode(found.to_dict(classes=False)), encode_jpeg(drawn)
