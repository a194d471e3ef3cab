"""`edgessd camera`: boxes on a camera, a video or a stream, live."""

from __future__ import annotations

from edgessd.apps.camera.settings import Settings
from edgessd.cli.struct_command import struct_command


def run_camera(settings: Settings) -> None:
    """Detect objects on a camera, a video or a stream, live. q or Esc in the window, or Ctrl-C, ends it."""
    from edgessd.apps.camera.session import run_session  # here, because it takes a while

    run_session(settings)


camera = struct_command(Settings, run_camera, bare="--source")
