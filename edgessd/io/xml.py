"""XML of strangers: without document types and entities, which can grow without bound or name other files."""

from __future__ import annotations

from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from edgessd.errors import printable


def strict_parser() -> expat.XMLParserType:
    """Return a parser that raises ValueError at a document type or an entity."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = lambda *_: _refuse("a document type")
    parser.EntityDeclHandler = lambda *_: _refuse("an entity")
    return parser


def parse_xml(data: bytes) -> Element:
    """Return the root element. Raises ValueError, in one line, for what is no XML or has a document type."""
    builder = TreeBuilder()
    parser = strict_parser()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(printable(error)) from None
    return builder.close()


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"{what} is not taken here")
