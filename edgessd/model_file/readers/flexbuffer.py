"""A map of scalars in FlexBuffers (https://flatbuffers.dev/flexbuffers): the options of TFLite's custom operators.

Offsets lead backwards; the root's type and width stand at the end of the buffer.
"""

from __future__ import annotations

import struct

from edgessd.model_file.readers.facts import damaged

_FORMS = {"i": "bhiq", "u": "BHIQ", "f": "?efd"}
_INT, _UINT, _FLOAT, _BOOL, _MAP = 1, 2, 3, 26, 9
_INDIRECT = {6: "i", 7: "u", 8: "f"}
MAX_ENTRIES = 1000


def read_flex_map(data: bytes | memoryview) -> dict[str, float]:
    """Return the scalars of the root map; entries of other types are left out. Raises ModelError."""
    data = bytes(data)
    if len(data) < 3:
        damaged("options of an operator")
    width, packed = data[-1], data[-2]
    if packed >> 2 != _MAP or width not in (1, 2, 4, 8):
        damaged("options of an operator are no map")
    values = _follow(data, len(data) - 2 - width, width)
    size = 1 << (packed & 3)
    count = _number(data, values - size, size, "u")
    keys, key_size = _follow(data, values - 3 * size, size), _number(data, values - 2 * size, size, "u")
    if count > MAX_ENTRIES or key_size not in (1, 2, 4, 8):
        damaged("options of an operator")
    found: dict[str, float] = {}
    for index in range(int(count)):
        key = _key(data, _follow(data, keys + index * int(key_size), int(key_size)))
        kind, bits = divmod(int(_number(data, values + int(count) * size + index, 1, "u")), 4)
        place = values + index * size
        if kind in (_INT, _UINT, _BOOL):
            found[key] = _number(data, place, size, "i" if kind == _INT else "u")
        elif kind == _FLOAT:
            found[key] = _number(data, place, size, "f")
        elif kind in _INDIRECT:
            found[key] = _number(data, _follow(data, place, size), 1 << bits, _INDIRECT[kind])
    return found


def _number(data: bytes, position: int, size: int, sort: str) -> float:
    form = _FORMS[sort][size.bit_length() - 1]
    if position < 0 or position + size > len(data) or form == "?":
        damaged("options of an operator")
    value: float = struct.unpack_from("<" + form, data, position)[0]
    return value


def _follow(data: bytes, position: int, size: int) -> int:
    return position - int(_number(data, position, size, "u"))


def _key(data: bytes, position: int) -> str:
    end = data.find(b"\0", position, position + 200) if position >= 0 else -1
    if end < 0:
        damaged("options of an operator")
    return data[position:end].decode("utf-8", errors="replace")
