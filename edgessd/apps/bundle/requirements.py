"""What pip has to install on a device, from the package's own metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgessd.apps.bundle.wheel import distribution
from edgessd.errors import OptionError

# The extra that brings each runtime.
EXTRAS = {"onnx": "", "litert": "tflite", "openvino": "openvino"}


def requirements(extras: Iterable[str] = (), screen: bool = False) -> list[str]:
    """Return the requirements of the core and of these extras, without torch's world.

    screen: opencv-python, which can open windows, instead of opencv-python-headless, which needs no system library.
    Raises OptionError for an unknown extra.
    """
    wanted = [""]
    for extra in extras:
        if extra and extra not in wanted:
            wanted.append(extra)
    found: dict[str, list[str]] = {}
    for text in distribution().requires or []:
        requirement, _, marker = text.partition(";")
        named = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        found.setdefault(named[1] if named else "", []).append(requirement.strip())
    lines: list[str] = []
    while wanted:
        extra = wanted.pop(0)
        if extra not in found:
            known = ", ".join(sorted(name for name in found if name))
            raise OptionError(f"edgessd has no extra {extra!r}: there are {known}")
        for line in found[extra]:
            inner = re.match(r"edgessd\[([\w,-]+)\]", line)
            if inner:  # an extra made of others
                wanted += inner[1].split(",")
            elif line not in lines:
                lines.append(line)
    if screen:
        return lines
    return [re.sub(r"^opencv-python\b(?!-)", "opencv-python-headless", line) for line in lines]
