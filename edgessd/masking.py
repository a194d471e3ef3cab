"""What may be shown of an address: no login, and no value of a parameter whose name sounds like a secret.

Messages show what a user gave by `errors.printable`, which goes through `masked`; every error of ours goes through
`masked_text`; a source is called by its `shown_address` from the beginning. Nothing depends on somebody remembering it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"
_SCHEME = re.compile(r"\s*([a-zA-Z][a-zA-Z0-9+.\-]*)://")
# In texts, and where a path was made of it, which leaves one slash.
_LOOSE = re.compile(r"\s*([a-zA-Z][a-zA-Z0-9+.\-]+:/)/?")
_AUTHORITY = re.compile(r"[^/?#\\]*")
# A host that cannot be taken for a user: with a dot in it, or in brackets, or this machine.
_HOST = re.compile(r"(?:[^\s:@\[\]]*\.[^\s:@\[\]]*|localhost|\[[0-9a-fA-F:.]+\])(?::\d{0,5})?")
_NAMED = ("s3", "gs", "file")  # their first part is a bucket, or nothing
_SECRET = (
    r"(?:(?:pass|pwd|psw|secret|token|credential|signature|auth(?!or(?!i))|api[\-_.]?key|session|jwt|bearer)[\w.\-]*"
    r"|(?<![a-z])(?:pw|code|pin|otp|tok|hash|sas|login|policy|hdnea|hdnts)|key|sig|hmac|pas|pswd|psk)"
)
_SECRET_NAME = re.compile(rf"{_SECRET}\Z", re.IGNORECASE)
_JOINTS = re.compile(r"[^\w.\-;]+")  # of names such as `camera[password]`
_SECRET_AND_REST = re.compile(rf"({_SECRET}=).*", re.IGNORECASE | re.DOTALL)
_SECRET_PROPERTY = re.compile(rf"({_SECRET}\s*=\s*)(?:\"[^\"]*\"?|'[^']*'?|[^\s,;\"']+)", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\b((?:basic|bearer)\s+)[^\s\"']+", re.IGNORECASE)  # of `Authorization: Bearer ...`
_IN_TEXT = re.compile(
    r"(?<![a-zA-Z0-9+.\-])[a-zA-Z][a-zA-Z0-9+.\-]+:/{1,2}(?!/*(?:\[user@\]|USER@))[^\s\"'<>]*[^\s\"'<>:.,;)]"
)
_FORGOTTEN_SCHEME = re.compile(r"(?<![^\s(\"'])[a-zA-Z][\w+.\-]+:(?!/)[^\s]*@(?=[^\s@])")


def url_scheme(text: str) -> str | None:
    """Return the scheme of an address such as `https://...` in lower case, None for anything else (a path)."""
    match = _SCHEME.match(text)
    return match.group(1).lower() if match else None


def shown_address(text: str) -> str:
    """Return what may be shown of an address, be it well-formed or not.

    The login is left out. Where it is not sure where it ends (`rtsp://me:p/ss@host`), everything up to the last @ is
    `***`: rather too little is shown than too much.
    """
    match = _LOOSE.match(text)
    if match is None:
        return text
    start, rest = match.group().lstrip(), text[match.end() :].rstrip()
    scheme = match.group(1).rstrip(":/")
    place, last = _AUTHORITY.match(rest).group(), rest.rfind("@")  # type: ignore[union-attr]  # it matches nothing, too
    if last < 0 or rest.rfind(f"{HIDDEN}@") == 0 == rest.find("@") - len(HIDDEN):
        pass  # no login, or one that is hidden already
    elif last == place.rfind("@"):
        rest = rest[last + 1 :]
    elif "@" in place or not _is_host(scheme.lower(), place):
        rest = f"{HIDDEN}@{rest[last + 1 :]}"
    return f"{start}{_without_secrets(rest.partition('#')[0])}"


def _is_host(scheme: str, place: str) -> bool:
    """Whether the text before the first slash is surely no login, although there is an @ behind it."""
    if scheme in _NAMED:
        return ":" not in place
    return scheme in ("http", "https") and _HOST.fullmatch(place) is not None


def _without_secrets(rest: str) -> str:
    path, mark, query = rest.partition("?")
    hidden = _SECRET_AND_REST.sub(rf"\1{HIDDEN}", path)  # some cameras have paths such as /user=me_password=pw
    if hidden != path:
        return hidden
    parts, secret = [], False
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if equals:
            secret = _SECRET_NAME.search(_JOINTS.sub(".", unquote(name)).strip(".")) is not None
            inner = unquote(unquote(value))  # an address in an address
            hide = secret or masked(inner) != inner or (_LOOSE.match(inner) and shown_address(inner) != inner)
            part = f"{name}={HIDDEN}" if hide else _SECRET_AND_REST.sub(rf"\1{HIDDEN}", part)
        elif secret and part:  # a secret with an & in it goes on
            part = HIDDEN
        parts.append(part)
    return f"{path}{mark}{'&'.join(parts)}"


def masked(text: str) -> str:
    """Return what a user gave, an address or something else, as it may be shown."""
    if _LOOSE.match(text) and ": " not in text:  # one address, with a blank in it perhaps; not a message about one
        return shown_address(text)
    return masked_text(text)


def masked_text(text: str) -> str:
    """Return a sentence with every address in it as `shown_address` has it; also those whose scheme was forgotten."""
    if ":/" in text:
        text = _IN_TEXT.sub(lambda match: shown_address(match[0]), text)
    return _FORGOTTEN_SCHEME.sub(f"{HIDDEN}@", text) if "@" in text else text


def masked_properties(text: str) -> str:
    """Return a pipeline of GStreamer, or a command, without logins and values of what sounds like secrets."""
    return _CREDENTIALS.sub(rf"\1{HIDDEN}", _SECRET_PROPERTY.sub(rf"\1{HIDDEN}", masked_text(text)))
