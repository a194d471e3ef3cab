"""Reading and writing videos: one reader, one writer, and behind them PyAV or OpenCV."""

from edgessd.io.video.reader import VideoFile, open_decoder
from edgessd.io.video.sniff import is_stream, is_video
from edgessd.io.video.types import DEFAULT_FPS, Decoder, VideoFrame, VideoInfo, usable_fps
from edgessd.io.video.writer import VideoWriter, browser_suffix, check_video_target, shortcoming_of

__all__ = [
    "DEFAULT_FPS",
    "Decoder",
    "VideoFile",
    "VideoFrame",
    "VideoInfo",
    "VideoWriter",
    "browser_suffix",
    "check_video_target",
    "is_stream",
    "is_video",
    "open_decoder",
    "shortcoming_of",
    "usable_fps",
]
