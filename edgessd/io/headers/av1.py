"""The size of the pictures in an AV1 stream, from its sequence header (AV1 specification, 5.5)."""

from __future__ import annotations

from collections.abc import Iterator

_SEQUENCE_HEADER = 1


class _Bits:
    """Bits from the highest on. Raises IndexError behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - self._at & 7) & 1
            self._at += 1
        return value

    def skip_exp_golomb(self) -> None:
        zeros = 0
        while not self.number(1):
            zeros += 1
        self.number(min(zeros, 32))


def frame_size(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (width, height) of each sequence header in `data`, which starts with an OBU; nothing where it is none."""
    position = 0
    try:
        while position < len(data):
            head = data[position]
            position += 2 if head & 4 else 1  # an extension byte
            length = len(data) - position
            if head & 2:
                length, position = _leb128(data, position)
            if head >> 3 & 15 == _SEQUENCE_HEADER and not head & 0x81:
                yield _sequence(_Bits(data[position : position + length]))
            position += length
    except IndexError:  # cut, or no AV1
        return


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            break
    return value, position


def _sequence(bits: _Bits) -> tuple[int, int]:
    bits.number(3 + 1)  # seq_profile, still_picture
    if bits.number(1):  # reduced_still_picture_header
        bits.number(5)
    else:
        _operating_points(bits)
    wide, high = bits.number(4) + 1, bits.number(4) + 1
    return bits.number(wide) + 1, bits.number(high) + 1


def _operating_points(bits: _Bits) -> None:
    delay = 0
    if bits.number(1):  # timing_info
        bits.number(32 + 32)
        if bits.number(1):  # equal_picture_interval
            bits.skip_exp_golomb()
        if bits.number(1):  # decoder_model_info
            delay = bits.number(5) + 1
            bits.number(32 + 5 + 5)
    display = bits.number(1)
    for _ in range(bits.number(5) + 1):
        bits.number(12)
        if bits.number(5) > 7:  # seq_level_idx, seq_tier
            bits.number(1)
        if delay and bits.number(1):
            bits.number(2 * delay + 1)
        if display and bits.number(1):
            bits.number(4)
