"""Reading and writing videos."""

from edgessd.io.video.files import (
    DEFAULT_FPS,
    VideoFile,
    VideoWriter,
    check_video_target,
    open_capture,
    usable_fps,
)

__all__ = ["DEFAULT_FPS", "VideoFile", "VideoWriter", "check_video_target", "open_capture", "usable_fps"]
