"""Constants in C and Java."""

from __future__ import annotations

import numpy as np


def double(value: float) -> str:
    """Return a literal of a double that reads back as this very number."""
    return repr(float(value))


def single(value: float) -> str:
    """Return a literal of a float that reads back as this very number, rounded to float32."""
    text = str(np.float32(value))
    return f"{text if '.' in text or 'e' in text else text + '.0'}f"


def boolean(value: bool) -> str:
    """Return Java's literal."""
    return "true" if value else "false"


def c_text(text: str) -> str:
    """Return a string literal of C in ASCII: UTF-8 by octal escapes, which end after three digits."""
    return '"' + "".join(_c_byte(byte) for byte in text.encode("utf-8")) + '"'


def _c_byte(byte: int) -> str:
    character = chr(byte)
    if character in '"\\?':  # ? begins trigraphs
        return "\\" + character
    return character if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def java_text(text: str) -> str:
    """Return a string literal of Java in ASCII: the rest by escapes of UTF-16."""
    return '"' + "".join(map(_java_character, text)) + '"'


def _java_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character == "\n":
        return "\\n"
    if " " <= character < "\x7f":
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
