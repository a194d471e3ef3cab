"""GIF, BMP and PNM: the size stands at the start, and nothing says how to turn the picture."""

from __future__ import annotations

import re

from edgessd.io.headers.view import Header, View

_GAP = rb"(?:\s|#[^\n\r]*[\n\r])+"
_PNM = re.compile(rb"P[1-6]" + _GAP + rb"(\d{1,10})" + _GAP + rb"(\d{1,10})\s")
_MOST = 1 << 16


def gif(view: View) -> Header:
    """Read the screen of a GIF, on which its pictures lie."""
    width, height = view.numbers(6, "<HH")
    return Header(width, height)


def bmp(view: View) -> Header:
    """Read a BMP; a negative height means that rows run from the top."""
    (header,) = view.numbers(14, "<I")
    width, height = view.numbers(18, "<HH" if header == 12 else "<ii")  # 12: OS/2
    return Header(abs(width), abs(height))


def pnm(view: View) -> Header:
    """Read a PBM, PGM, PPM or PAM."""
    head = view.up_to(0, _MOST)
    if head[:2] != b"P7":
        found = _PNM.match(head)
        if found is None:
            raise ValueError
        return Header(int(found[1]), int(found[2]))
    lines = head.partition(b"ENDHDR")[0].splitlines()
    words = dict(line.split()[:2] for line in lines[1:] if not line.startswith(b"#") and len(line.split()) > 1)
    return Header(int(words[b"WIDTH"]), int(words[b"HEIGHT"]))
