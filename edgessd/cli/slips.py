"""Words that people expect a command for, and what they mean here: one line with the command to call."""

from __future__ import annotations

import os
import re
from typing import Any

import typer.core

from edgessd.errors import OptionError, did_you_mean
from edgessd.io.address import shown_source, url_scheme
from edgessd.masking import masked_text

_CAMERA = "edgessd camera --source 0"

MEANT = {
    _CAMERA: "webcam cam cameras live stream watch view run start window picamera usb rtsp",
    "edgessd camera --track --source VIDEO": "track tracker tracking follow",
    "edgessd camera --line door=0.1,0.5,0.9,0.5 --source VIDEO": "count counter counting",
    "edgessd camera --web 8000": "serve server web ui dashboard",
    "edgessd camera --source demo": "demo example try",
    "edgessd detect SOURCE": "predict prediction infer inference detection find image picture photo video",
    "edgessd evaluate MODEL --data DATASET": "val valid validate validation eval evaluation test map accuracy metrics",
    "edgessd train --data DATASET": "fit finetune fine-tune training learn",
    "edgessd quantize CHECKPOINT": "quantise quantization ptq int8 calibrate",
    "edgessd export CHECKPOINT": "convert conversion onnx tflite openvino",
    "edgessd benchmark MODEL": "bench speed time timing profile latency fps",
    "edgessd models": "list ls zoo download model",
    "edgessd info MODEL": "show inspect summary describe priors anchors",
    "edgessd doctor --data DATASET": "check verify stats dataset data explore",
    "edgessd bundle MODEL": "deploy package pack",
    "edgessd bulk SOURCE": "batch",
    "edgessd --help": "help",
    "edgessd --version": "version",
}
"""Command to call: the words that it is looked for by."""

_WORDS = {word: command for command, words in MEANT.items() for word in words.split()}
_LIVE = re.compile(r"\d{1,2}|picamera2?(:\d)?|webcam|camera|demo|browser")


class Commands(typer.core.TyperGroup):
    """The list of commands; a word that is none is answered with the command that was meant."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command. Raises OptionError with the one to call."""
        if args and args[0] not in self.commands:
            raise OptionError(meant(args[0], list(self.commands)))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command. What the command line itself refuses shows no secrets, either."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if hasattr(error, "format_message") and hasattr(error, "message"):  # some typers bring a click of their own
                error.message = masked_text(error.message)
            raise


def meant(word: str, commands: list[str]) -> str:
    """Return the message for a word that is no command."""
    shown = shown_source(word)
    if word.lower() in commands:
        return f"there is no command {shown}: use {word.lower()}"
    if word.lower() in _WORDS:
        return f"there is no command {shown}: use {_WORDS[word.lower()]}"
    if is_live(word):
        return f"there is no command {shown}: for a camera or a stream use edgessd camera --source {shown}"
    if os.path.exists(word) or url_scheme(word) is not None:  # noqa: PTH110 (takes any text)
        return f"there is no command {shown}: use edgessd detect {shown}"
    near = did_you_mean(word, commands)
    return f"there is no command {shown}{near}" + ("" if near else ": edgessd --help lists them")


def is_live(source: str) -> bool:
    """Whether a source is one that only `edgessd camera` opens: a camera, a live stream, the demo."""
    if url_scheme(source) is not None:
        return url_scheme(source) not in ("http", "https", "file")
    if source.startswith(("/dev/video", "/dev/v4l/")):
        return True
    named = _LIVE.fullmatch(source) is not None or " ! " in source
    return named and not os.path.exists(source)  # noqa: PTH110 (takes any text)


def refuse_live(sources: list[str]) -> list[str]:
    """Return the sources of `edgessd detect`. Raises OptionError for a camera or a stream among them."""
    for source in sources:
        if is_live(source):
            shown = shown_source("0" if source in ("webcam", "camera") else source)
            raise OptionError(
                f"{shown_source(source)}: detect takes pictures and videos: for a camera or a stream use "
                f"edgessd camera --source {shown}"
            )
    return sources
