import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgessd.cli.noise import NOISE, Filter

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"libpng warning: iCCP\n", b"kept\n"], [b"kept\n"]),
        ([b"one\nlibpng error: x\ntwo\n"], [b"one\n", b"two\n"]),
        ([b"Corrupt JPEG data: 5 bytes", b" before marker\n", b"kept"], [b"kept"]),
        ([b"lib", b"png warning", b"\nkept\n"], [b"kept\n"]),
        ([b"lib", b"rary\n"], [b"library\n"]),
        ([b"12%\r", b"13%\r"], [b"12%\r", b"13%\r"]),
        ([b"no end: libpng ", b"goes on\n"], [b"no end: libpng ", b"goes on\n"]),
        ([b"Cor"], [b"Cor"]),
        ([b"\n", b"\xff\xfe\n"], [b"\n", b"\xff\xfe\n"]),
        (
            [
                b"[2026-11-29 11:43:08,614 I 20135 20135] logging.cc:303: Set ray log",
                b" level from environment variable X\n",
            ],
            [],
        ),
        ([b"[2026-11-29 11:43:08,614 E 1] lost", b" a node\n"], [b"[2026-11-29 11:43:08,614 E 1] lost a node\n"]),
    ],
)
def test_only_known_lines_are_dropped_and_nothing_else_waits(pieces: list[bytes], expected: list[bytes]) -> None:
    seen: list[bytes] = []
    lines = Filter(seen.append)
    for piece in pieces:
        lines.feed(piece)
    lines.end()
    assert seen == expected


def test_a_line_waits_only_while_it_may_become_noise() -> None:
    seen: list[bytes] = []
    lines = Filter(seen.append)
    for noise in NOISE:
        lines.feed(noise[:-1])
        assert seen == []
        lines.feed(b"!\n")
        assert seen.pop() == noise[:-1] + b"!\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_last_words_of_a_crash_are_kept() -> None:
    script = (
        "import os, sys\nfrom edgessd.cli.noise import drop_noise\ndrop_noise()\nos.write(2, b'libpng error: x\\n')\n"
        "print('of Python', file=sys.stderr)\nos.write(2, b'terminate called: ')\nos.abort()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode < 0 and sorted(done.stderr.splitlines()) == [b"of Python", b"terminate called: "]) or (
        done.stderr == b"terminate called: of Python\n"
    )
