"""One picture in, one array out: `load_image`.

Whatever the source, the result is the same kind of array, and whatever goes wrong is an InputError
of one line that names the source and says what to do.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import MAX_PIXELS, OPENCV_PIXELS, cv2
from edgessd.errors import InputError
from edgessd.io import formats
from edgessd.io.address import is_url, shown_source, url_scheme
from edgessd.io.files import printable
from edgessd.io.headers import Header, read_header
from edgessd.io.local import local_path
from edgessd.io.remote import fetch_bytes

Image: TypeAlias = NDArray[np.uint8]
"""A picture: uint8 [H, W, 3], BGR."""

MIN_SIDE = 2
FLOAT_TOLERANCE = 1e-3
"""How far beyond 0..1 the values of a float picture may lie (a cubic resize overshoots by less); they are cut to it."""


def load_image(source: Any, *, timeout: float = 10.0, max_bytes: int = 64 * 2**20) -> Image:
    """Read a picture and return it as uint8 [H, W, 3], BGR, contiguous, upright.

    source: a path; an http or https address; the bytes of an image file; an array (H x W grey,
        H x W x 1 grey, H x W x 3 BGR or H x W x 4 BGRA; uint8, uint16, or float of 0..1); or a PIL image.
        EXIF orientation is honoured for files, bytes and PIL images; transparency is dropped; of an
        animation the first frame is taken.
    timeout: seconds that an address may take, from the name to the last byte.
    max_bytes: how large the file at an address may be.

    A contiguous uint8 BGR array is returned as it is, not copied: do not draw on the result unless you
    may draw on the source. Raises InputError for everything that is not a usable picture.
    """
    if isinstance(source, str | os.PathLike):
        return decode_image(read_encoded(source, timeout=timeout, max_bytes=max_bytes), name=shown_source(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_image(bytes(source), name=f"{len(bytes(source))} bytes")
    if isinstance(source, np.ndarray):
        return from_array(source)
    # Asked of the class: on a PIL image the attribute itself decodes the file, and may fail.
    if hasattr(source, "convert") and hasattr(type(source), "__array_interface__"):
        return _from_pil(source)
    raise InputError(
        f"a picture cannot be made from {type(source).__name__}: pass a path, an http(s) address, the bytes of "
        "a file, a numpy array (H x W x 3, BGR) or a PIL image"
    )


def read_encoded(source: str | os.PathLike[str], *, timeout: float = 10.0, max_bytes: int = 64 * 2**20) -> bytes:
    """Return the bytes of the image file at a path or an http(s) address, as they are; `decode_image` does the rest.

    timeout, max_bytes: limits of an address, as for `load_image`. Raises InputError.
    """
    if isinstance(source, str) and is_url(source):
        return fetch_bytes(source, timeout=timeout, max_bytes=max_bytes)
    return _read_file(source)


def max_pixels() -> int:
    """Return the largest number of pixels that a picture may have."""
    text = os.environ.get("EDGESSD_MAX_PIXELS", "")
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"EDGESSD_MAX_PIXELS is {text!r}: set it to a whole number of pixels, such as {MAX_PIXELS}")
    return int(text)


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return (width, height) in pixels of a picture file as `load_image` gives it, from its headers alone.

    Raises InputError as `load_image` does, for everything that the headers show.
    """
    with _open_picture(path) as file:
        return _checked_header(file, printable(path)).upright


def decode_image(data: bytes, *, name: str) -> Image:
    """Decode the bytes of an image file; `name` stands for them in messages. Raises InputError."""
    header = _checked_header(io.BytesIO(data), name)
    kind = formats.sniff(data[: formats.HEAD])
    image = _decode(data, header)
    if image is None:
        raise InputError(_why_not(name, kind, header))
    if kind != formats.TIFF:  # which OpenCV turns whatever one asks for
        image = _turn_upright(image, header.orientation)
    if image.shape[1::-1] != header.upright:
        raise InputError(
            f"{name}: damaged: this {kind} holds {image.shape[1]} x {image.shape[0]} pixels, and its header says "
            f"{header.upright[0]} x {header.upright[1]}"
        )
    return _to_bgr(image, name)


def _decode(data: bytes, header: Header) -> NDArray[Any] | None:
    """Return the pixels as they are stored; None where OpenCV cannot read them."""
    flags = cv2.IMREAD_UNCHANGED if header.floating else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError):
        return None


def _why_not(name: str, kind: str | None, header: Header) -> str:
    if header.width * header.height > OPENCV_PIXELS:
        return f"{name}: over OpenCV's limit of {OPENCV_PIXELS}: set EDGESSD_MAX_PIXELS before edgessd is imported"
    if kind == formats.TIFF and (
        header.samples > 4 or header.depth not in ((32, 64) if header.floating else (1, 8, 16))
    ):
        word = "float" if header.floating else "whole"
        return (
            f"{name}: a TIFF of {header.samples} x {header.depth}-bit {word} numbers, which OpenCV cannot read: "
            "convert it to 8-bit RGB"
        )
    if kind in (formats.AVIF, formats.GIF, formats.JP2):
        return f"{name}: damaged, or this OpenCV ({cv2.__version__}) reads no {kind}: convert it to PNG or JPEG"
    return f"{name}: this {kind} is damaged: copy or download it again"


def from_array(array: NDArray[Any]) -> Image:
    """Return an array of one of the accepted shapes and dtypes as uint8 [H, W, 3] BGR. Raises InputError."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = ": channels come last, use array.transpose(1, 2, 0)"
        elif array.ndim == 4:
            hint = ": pass the pictures of a batch one by one or as a list"
        raise InputError(f"an array of shape {array.shape} is not a picture (H x W, or H x W x 1, 3 or 4){hint}")
    height, width = array.shape[:2]
    _check_size(width, height, f"array of shape {array.shape}")
    return _to_bgr(array, "the array")


def _to_bgr(array: NDArray[Any], name: str) -> Image:
    """Return pixels [H, W] or [H, W, 1, 3 or 4] as uint8 [H, W, 3], contiguous."""
    height, width = array.shape[:2]
    image = _to_uint8(array, name)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(height, width, 1), 3, axis=2)
    return np.ascontiguousarray(image[:, :, :3])


def _to_uint8(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return np.asarray(array)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        # v / 257 rounded to the nearest, in integers: 257 * 255 = 65535.
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"{name} has NaN or infinite values: a picture has 0..1 as float, or 0..255 as uint8")
        if low < -FLOAT_TOLERANCE or high > 1 + FLOAT_TOLERANCE:
            raise InputError(
                f"{name} has float values of {low:.6g}..{high:.6g} instead of 0..1: scale them, "
                "or give 0..255 as uint8 (array.astype('uint8'))"
            )
        result = np.empty(array.shape, np.uint8)
        rows = max(1, (1 << 20) // array[0].size)  # some at a time, because floats take four or eight times the room
        for start in range(0, len(array), rows):
            part = array[start : start + rows].astype(np.float32)
            result[start : start + rows] = np.rint(np.clip(part, 0, 1) * 255)
        return result
    raise InputError(
        f"an array of dtype {array.dtype} is not a picture: use uint8 (0..255), uint16 (0..65535) or float (0..1)"
    )


def _from_pil(image: Any) -> Image:
    width, height = image.size
    _check_size(width, height, "PIL image")
    try:
        image.load()  # which turns a TIFF, and then says so
        return np.ascontiguousarray(_turn_upright(_pil_pixels(image), image.getexif().get(0x0112, 1)))
    except (OSError, ValueError, SyntaxError) as error:  # Pillow decodes late, and fails so
        raise InputError(f"the PIL image cannot be decoded: {printable(error)}") from error


def _pil_pixels(image: Any) -> Image:
    """Return the pixels as they lie in the image."""
    if image.mode.startswith("I;16"):
        return from_array(np.asarray(image).astype(np.uint16))
    if image.mode not in ("I", "F"):
        return np.asarray(image.convert("RGB"), dtype=np.uint8)[:, :, ::-1]
    # Pillow's `convert` would cut these at 255; I holds the 16 bits of a PNG, F has no fixed range.
    values = np.asarray(image)
    if values.dtype.kind == "i" and (values.min() < 0 or values.max() > 65535):
        raise InputError("the PIL image of mode I has values beyond 0..65535: scale it and convert it to RGB")
    return from_array(values.astype(np.uint16) if values.dtype.kind == "i" else values)


def _turn_upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation (1..8): transpose first for 5..8, then flip."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def _read_file(source: str | os.PathLike[str]) -> bytes:
    with _open_picture(source) as file:
        # The headers first: a huge file that is no picture, or a huge picture, is refused without reading it.
        _checked_header(file, shown_source(source))
        file.seek(0)
        return file.read()


@contextmanager
def _open_picture(source: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a picture file for reading. What goes wrong here and in the block is an InputError that names the file."""
    shown = shown_source(source)
    if isinstance(source, str):
        source = local_path(source)
        scheme = url_scheme(source)
        if scheme is not None and not Path(source).exists():
            raise InputError(f"{shown}: {scheme} addresses cannot be read, only http and https; or give a path")
        if not source:
            raise InputError("the path of the picture is empty: give the path of an image file")
    try:
        mode = Path(source).stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe or device may never end
            raise InputError(f"{shown}: not a regular file: save the picture in a file first")
        with Path(source).open("rb") as file:
            yield file
    except IsADirectoryError:
        raise InputError(f"{shown}: a folder, not a picture: name a file in it") from None
    except FileNotFoundError:
        raise InputError(f"{shown}: no such file: check the path (now in {printable(Path.cwd())})") from None
    except PermissionError:
        raise InputError(f"{shown}: no permission to read this file: change its mode or owner") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{shown}: cannot be read: {printable(getattr(error, 'strerror', None) or error)}") from error


def _checked_header(file: BinaryIO, name: str) -> Header:
    """Read the headers of a picture. Raises InputError where it is none, is cut, or is beyond the limits."""
    file.seek(0)
    head = file.read(formats.HEAD)
    if not head:
        raise InputError(f"{name}: empty: copy or download it again")
    kind = formats.sniff(head)
    if kind is None:
        raise InputError(f"{name}: {formats.describe_other(head)}")
    header = read_header(file)
    if header is None:
        raise InputError(f"{name}: this {kind} is damaged, its header says no size: copy or download it again")
    _check_size(header.width, header.height, name)
    if header.room > max_pixels():
        raise InputError(
            f"{name}: to read this {kind} takes the memory of {header.room} pixels, more than the limit of "
            f"{max_pixels()}: convert it to PNG, or raise the limit with EDGESSD_MAX_PIXELS"
        )
    if not header.whole:
        raise InputError(f"{name}: the end of this {kind} is missing: copy or download it again")
    return header


def _check_size(width: int, height: int, name: str) -> None:
    if width < MIN_SIDE or height < MIN_SIDE:
        raise InputError(f"{name}: {width} x {height} pixels is too small: there is nothing to detect in it")
    limit = max_pixels()
    if width * height > limit:
        raise InputError(
            f"{name}: {width} x {height} pixels is more than the limit of {limit}: scale it down, "
            "or raise the limit with EDGESSD_MAX_PIXELS"
        )
