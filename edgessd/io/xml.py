"""XML of strangers: without document types and entities, which can grow without bound or name other files."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from edgessd.errors import printable

Start = Callable[[str, dict[str, str]], object]
Text = Callable[[str], object]


def walk_xml(data: bytes, start: Start, end: Text, text: Text) -> None:
    """Call `start`, `end` and `text` for what is in the file, in its order; what they raise comes through.

    Raises ValueError, in one line, for what is no XML or has a document type.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = lambda *_: _refuse("a document type")
    parser.EntityDeclHandler = lambda *_: _refuse("an entity")
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(printable(error)) from None


def parse_xml(data: bytes) -> Element:
    """Return the root element. Raises ValueError as `walk_xml` does."""
    builder = TreeBuilder()
    walk_xml(data, builder.start, builder.end, builder.data)
    return builder.close()


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"{what} is not taken here")
