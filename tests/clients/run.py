"""One client, one file: run it in its environment, hold its detections against `detect` on the same file."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec

from edgessd import Detections, Detector, zoo
from edgessd._cv2 import cv2
from edgessd.io.images import load_image

from .clients import Client
from .environments import FOLDER, ROOT, environment, program
from .files import SAME_GRAPH, make
from .outcome import MissingError, Outcome, compare

SCRIPTS = Path(__file__).parent / "scripts"
SECONDS = 600


def pictures(*, bundled: bool = False) -> tuple[Path, ...]:
    """Return the bundled photos and, where they are, those of ../shared/data/photos, each once, as PPM files.

    Every client gets the same pixels that way, whatever decodes JPEG there.
    """
    more = [] if bundled else sorted((ROOT.parent / "shared" / "data" / "photos").rglob("*.jpg"))
    sources = {path.stem: path for path in (*more, *zoo.photos())}
    folder = FOLDER / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in sources.items():
        if not (folder / f"{name}.ppm").exists():
            assert cv2.imwrite(str(folder / f"{name}.ppm"), load_image(path))
    return tuple(folder / f"{name}.ppm" for name in sorted(sources))


@cache
def detect(path: Path, images: tuple[Path, ...]) -> tuple[Sequence[Detections], float]:
    """Return what edgessd finds with a file, and the file's threshold."""
    detector = Detector.load(path, threads=1)
    return detector([str(image) for image in images]), detector.thresholds.score_threshold


def run(client: Client, name: str, images: tuple[Path, ...]) -> Outcome:
    """Raises MissingError where the environment or the file cannot be made here."""
    path, reference = make(name), make(SAME_GRAPH.get(name, name))
    home = environment(client.needs, client.python)
    with tempfile.TemporaryDirectory() as folder:
        facts, answer = Path(folder) / "facts.json", Path(folder) / "answer.json"
        facts.write_text(Detector.load(reference).spec.to_json())
        script, *options = client.script
        done = subprocess.run(
            [program(home), str(SCRIPTS / script), *options, *map(str, (path, facts, answer, *images))],
            cwd=home,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if done.returncode:
            lacking = re.search(r"ImportError: (lib\S+): cannot open shared object", done.stderr)
            if lacking:
                raise MissingError(f"needs the system's {lacking[1]}")
            return Outcome(error=_reason(done.stderr or done.stdout))
        theirs = msgspec.json.decode(answer.read_bytes())
    found, threshold = detect(reference, images)
    return compare(found, theirs, client.limits_of(name), threshold)


def _reason(text: str) -> str:
    """Return the line of the error, the last line where none looks like one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|error|Exception)\b", line)]
    return (errors or lines or ["ended without a word"])[-1][:300]
