"""Secrets come from a file or from the environment, so that the list of processes does not show them.

One rule for all: the secret NAME is what stands in the file of `--NAME-file`, else in that of `EDGESSD_NAME_FILE`,
else `EDGESSD_NAME` itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgessd._text import decode
from edgessd.errors import InputError, OptionError, printable
from edgessd.io.address import Address, url_scheme

_MOST = 1 << 16  # bytes of a file with a secret


def read_secret(name: str, file: Path | None = None) -> str | None:
    """Return a secret such as `web-token`, or None where nobody gives it. Raises OptionError for a file that is none.

    file: what the option `--NAME-file` names.
    """
    variable = f"EDGESSD_{name.upper().replace('-', '_')}"
    if file is not None:
        return _read(file, f"--{name}-file")
    named = os.environ.get(f"{variable}_FILE")
    return _read(Path(named), f"{variable}_FILE") if named else os.environ.get(variable) or None


def _read(path: Path, option: str) -> str:
    shown = f"{option} {printable(path)}"
    try:
        with path.open("rb") as file:  # a pipe or a credential of systemd as well
            text = decode(file.read(_MOST)).rstrip("\r\n")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a NUL in the name
        raise OptionError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    if not text or any(mark in text for mark in "\r\n\0"):
        raise OptionError(f"{shown}: give a file with the secret as its only line")
    return text


def with_password(address: Address, name: str, file: Path | None = None) -> Address:
    """Return the address with the password from the file, else its own, else from the environment.

    name: of the secret, such as `mqtt-password`. Raises OptionError where there is a password and no user.
    """
    if file is None and address.password is not None:
        return address
    password = read_secret(name, file)
    if password is None:
        return address
    if not address.user:
        raise OptionError(
            f"{address}: a password needs a user: {address.scheme}://USER@{address.origin.split('//')[1]}"
        )
    return address.with_password(password)


def source_with_password(source: str, file: Path | None = None) -> str:
    """Return a source for the engines: an address with the password of `source-password`, anything else as it is."""
    if url_scheme(source) in (None, "file"):
        return source
    try:
        address = Address.parse(source)
    except InputError as error:
        raise OptionError(str(error)) from None
    return with_password(address, "source-password", file).with_login
