"""Errors that are the user's to mend; each message is one line and says what to do.

    EdgeSSDError
    |-- InputError        a picture, video, folder, URL or array cannot be used
    |-- OptionError       an option, name or combination of them is not valid
    |-- ModelError        a model file cannot be read, or is not of a kind edgessd runs
    |   |-- SpecError     the description inside a model file is missing or wrong
    |   `-- EngineError   an engine failed while it ran a model, or can run it no longer
    |-- DeviceError       another machine cannot be reached, or cannot do what it is asked
    |-- DownloadError     a weights file could not be fetched or does not have its checksum
    `-- DependencyError   an optional package or a system library is missing

The command line turns every one of them into one line on stderr and exit code 2. Anything else
that escapes is a fault of edgessd and shows its traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from edgessd.masking import masked, masked_text


class EdgeSSDError(Exception):
    """Base of all errors that edgessd raises on purpose. No message has a login or a secret of an address in it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(masked_text(each) if isinstance(each, str) else each for each in args))


class InputError(EdgeSSDError):
    """A picture, video, folder, URL or array cannot be used."""


class OptionError(EdgeSSDError):
    """An option, a name, or a combination of options is not valid."""


class ModelError(EdgeSSDError):
    """A model file cannot be read, or is not of a kind that edgessd runs."""


class SpecError(ModelError):
    """The description (`ModelSpec`) inside a model file is missing, damaged or does not fit it."""


class EngineError(ModelError):
    """An engine failed while it ran a model, or can run it no longer: it was closed, or its process was forked."""


class DeviceError(EdgeSSDError):
    """Another machine (a board, a phone) cannot be reached, or cannot do what it is asked."""


class DownloadError(EdgeSSDError):
    """A file could not be fetched, or what came does not have the expected checksum."""


class DependencyError(EdgeSSDError, ImportError):
    """An optional package or a system library is missing."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'a', 'b'?)` for the known names nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" (did you mean {', '.join(map(repr, near))}?)" if near else ""


def missing_extra(package: str, extra: str) -> DependencyError:
    """Return the error for an optional package that is not installed, with the pip command."""
    return DependencyError(f"{package} is not installed: pip install 'edgessd[{extra}]'")


def one_line(error: BaseException) -> str:
    """Return what another library says of its error as one line of printable text, its type where it says nothing."""
    return printable(" ".join(str(error).split()) or type(error).__name__)


# Line breaks and control characters, ASCII and Unicode (C1, LS, PS, changes of direction), and lone surrogates
# (bytes that are no UTF-8).
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(name: object, limit: int = 200) -> str:
    """Return `name` as one line of printable text for a message, its middle left out when it is very long.

    Of an address, the login and what sounds like a secret are left out (`edgessd.masking`).
    """
    text = UNPRINTABLE.sub("?", masked(str(name)))
    return text if len(text) <= limit else f"{text[: limit // 2]}...{text[-limit // 2 :]}"
