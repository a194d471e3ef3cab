"""The addresses of the web view."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgessd.apps.camera.web.browser_camera import BrowserCamera
from edgessd.apps.camera.web.state import State
from edgessd.errors import EdgeSSDError

MAX_VIEWERS = 24
_BODY = 64 << 10  # bytes of a request
_BOUNDARY = "edgessd-frame"
_PAGE = Path(__file__).parent / "static" / "index.html"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
}


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """What a visitor may change; what is left out stays as it is. `classes`: null is all of them."""

    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | msgspec.UnsetType = msgspec.UNSET
    classes: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET
    runtime: str | msgspec.UnsetType = msgspec.UNSET
    paused: bool | msgspec.UnsetType = msgspec.UNSET
    numbers: bool | msgspec.UnsetType = msgspec.UNSET


class Routes:
    """The handlers, and what they share."""

    def __init__(self, state: State) -> None:
        self.state, self.hub = state, state.hub
        self.browser_camera = BrowserCamera(state.control.engine)

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(
            routes=[
                Route("/", self.page),
                Route("/stream.mjpg", self.stream),
                Route("/snapshot.jpg", self.snapshot),
                Route("/api/state", self.whole),
                Route("/api/settings", self.change, methods=["POST"]),
                Route("/metrics", self.metrics),
                Route("/health", self.health),
                WebSocketRoute("/ws", self.messages),
                WebSocketRoute("/ws/camera", self.browser_camera.serve),
            ]
        )

    async def page(self, request: Request) -> Response:
        """The page."""
        return FileResponse(_PAGE, headers=_HEADERS)

    async def stream(self, request: Request) -> Response:
        """The live picture as MJPEG, for `<img>`, VLC, ffmpeg and the like."""
        if self.hub.pictures.readers >= MAX_VIEWERS:
            return PlainTextResponse(f"{MAX_VIEWERS} are looking already: try again later\n", 503)
        return StreamingResponse(
            self._parts(), media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}", headers=_HEADERS
        )

    async def _parts(self) -> AsyncIterator[bytes]:
        async for data in self.hub.pictures.read():
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            yield head.encode() + data + b"\r\n"

    async def snapshot(self, request: Request) -> Response:
        """One picture, as new as possible."""
        self.hub.ask()
        pictures = self.hub.pictures.read(fresh=True)
        try:
            data = await asyncio.wait_for(anext(pictures), 5.0)
        except (TimeoutError, StopAsyncIteration):
            return PlainTextResponse("no picture comes from the source\n", 503)
        finally:
            await pictures.aclose()  # type: ignore[attr-defined]
        return Response(data, media_type="image/jpeg", headers=_HEADERS)

    async def whole(self, request: Request) -> Response:
        """Settings, speed, and what can be chosen."""
        return JSONResponse(self.state.whole(), headers=_HEADERS)

    async def change(self, request: Request) -> Response:
        """Change settings."""
        try:
            body = b""
            async for part in request.stream():
                body += part
                if len(body) > _BODY:
                    return JSONResponse({"error": "too long"}, 413)
            settings = msgspec.json.decode(body, type=Settings)
            await asyncio.to_thread(self._apply, settings)
        except ClientDisconnect:
            return Response(status_code=400)
        except (msgspec.DecodeError, EdgeSSDError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(self.state.now(), headers=_HEADERS)

    def _apply(self, settings: Settings) -> None:
        control, unset = self.state.control, msgspec.UNSET
        if settings.threshold is not unset:
            control.engine.set_threshold(settings.threshold)
        if settings.classes is not unset:
            control.engine.set_classes(settings.classes)
        if settings.model is not unset or settings.runtime is not unset:
            control.engine.choose(
                None if settings.model is unset else settings.model,
                None if settings.runtime is unset else settings.runtime,
            )
        if settings.paused is not unset:
            control.paused = settings.paused
        if settings.numbers is not unset:
            control.numbers = settings.numbers

    async def metrics(self, request: Request) -> Response:
        """Numbers for Prometheus."""
        return PlainTextResponse(self.state.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def health(self, request: Request) -> Response:
        """200 while frames come, 503 otherwise."""
        well, body = self.state.health()
        return JSONResponse(body, 200 if well else 503, headers=_HEADERS)

    async def messages(self, socket: WebSocket) -> None:
        """Detections, speed and settings as JSON: one message per frame, the newest where the reader is slow."""
        if self.hub.messages.readers >= MAX_VIEWERS:
            await socket.close(1013)
            return
        await socket.accept()
        sender = asyncio.create_task(self._send(socket))
        try:
            while True:  # what the visitor says is of no interest, that it goes away is
                await socket.receive_bytes()
        except (WebSocketDisconnect, KeyError, RuntimeError):
            pass
        finally:
            sender.cancel()

    async def _send(self, socket: WebSocket) -> None:
        async for message in self.hub.messages.read():
            await socket.send_text(message.decode())
        await socket.close(1001)


def application(state: State) -> Any:
    """Return the ASGI application of the web view, without its guard."""
    return Routes(state).app()
