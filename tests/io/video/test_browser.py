"""Saved videos in a real Chromium; needs playwright and a chromium on the machine."""

import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from edgessd.io.video import VideoWriter, browser_suffix

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PLAY = """address => new Promise(done => {
    const video = document.createElement("video");
    video.muted = true; video.playbackRate = 4; video.src = address;
    video.onerror = () => done(video.error.message);
    video.onended = () => done([video.duration, video.videoWidth, video.videoHeight]);
    video.play().catch(error => done(String(error)));
})"""


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def written(path: Path) -> str:
    """Ten frames a second for two seconds, and one at 3."""
    with VideoWriter(path, fps=10, size=(161, 120)) as video:
        for number in range(20):
            video.write(np.full((120, 161, 3), 10 * number, np.uint8), number / 10)
        video.write(np.full((120, 161, 3), 255, np.uint8), 3.0)
    return path.name


@pytest.mark.slow
def test_chromium_plays_them(engine: str, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    names = [written(tmp_path / f"a{browser_suffix()}")]
    if engine == "pyav":
        names += [written(tmp_path / "b.mov"), written(tmp_path / "c.webm")]
        program = (
            "import os, sys; import numpy as np; from edgessd.io.video import VideoWriter; "
            "video = VideoWriter(sys.argv[1], fps=10, size=(160, 120)); "
            "[video.write(np.full((120, 160, 3), 8 * n, np.uint8)) for n in range(30)]; os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "killed.mp4")], check=False)
        names.append("killed.mp4")
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server,
        playwright.sync_playwright() as player,
    ):
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        browser = player.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        played = {name: page.evaluate(PLAY, name) for name in names}
        browser.close()
        server.shutdown()
        thread.join()
    for name, result in played.items():
        assert isinstance(result, list), (name, result)
        duration, width, height = result
        assert height == 120 and width in (160, 161, 162)
        assert 2.4 <= duration <= 3.0 if name == "killed.mp4" else 3.0 <= duration <= 4.1
