"""XML parsed by expat, without a DOCTYPE: no entity is declared or expanded, and nothing outside of the file is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ..errors import CorruptRecordingError, RoiExtractorsError, UnsupportedRecordingError, printable

__all__ = ["feed_xml", "parse_xml", "xml_parser", "xml_problems"]

_MAX_DEPTH = 256
_MAX_ELEMENTS = 500_000
_MAX_TAG = 4 << 20  # bytes of one tag with all of its attributes, or of a comment; the parser keeps it whole
_PIECE = 1 << 18


def xml_parser(name: str, encoding: str | None = None) -> expat.XMLParserType:
    """Return an expat parser that refuses a DOCTYPE; set its handlers and feed it pieces of any size.

    Parameters
    ----------
    name : str
        The file's name, for messages.
    encoding : str, optional
        Overrides the encoding that the document declares.
    """

    def refuse(*_: object) -> None:
        raise UnsupportedRecordingError(
            f"{printable(name)} contains a DOCTYPE, which is refused because it could declare entities"
        )

    parser = expat.ParserCreate(encoding)
    parser.StartDoctypeDeclHandler = refuse
    return parser


def feed_xml(parser: expat.XMLParserType, pieces: Iterable[bytes], name: str) -> None:
    """Feed a document to a parser in pieces, without its end; the caller parses ``b""`` with ``True`` afterwards.

    The parser keeps a tag, with its attributes, until its end, and looks through it again at each piece.

    Parameters
    ----------
    parser : expat parser
        From :func:`xml_parser`.
    pieces : iterable of bytes
        Of any size.
    name : str
        The file's name, for messages.

    Raises
    ------
    CorruptRecordingError
        A tag, with its attributes, or a comment is longer than 4 MiB.
    """
    fed = 0
    for piece in pieces:
        for at in range(0, len(piece), _PIECE):
            part = piece[at : at + _PIECE]
            parser.Parse(part, False)
            fed += len(part)
            if fed - parser.CurrentByteIndex > _MAX_TAG:
                raise CorruptRecordingError(
                    f"{printable(name)} contains an XML tag, attribute or comment of more than {_MAX_TAG:,} bytes at byte "
                    f"{max(0, parser.CurrentByteIndex):,}; the file is damaged"
                )


@contextmanager
def xml_problems(name: str, advice: str = "the file is damaged; copy it again") -> Iterator[None]:
    """Raise what a parser raises as an error of this library.

    Parameters
    ----------
    name : str
        The file's name.
    advice : str
        The end of the sentence: what is probably wrong, and what to do.

    Raises
    ------
    CorruptRecordingError
        The XML is not well-formed, or its encoding is unknown.
    """
    try:
        yield
    except RoiExtractorsError:  # some of these are a ValueError too
        raise
    except expat.ExpatError as error:
        raise CorruptRecordingError(
            f"{printable(name)} is not well-formed XML: {expat.ErrorString(error.code)} at line {error.lineno:,}, "
            f"column {error.offset:,}; {advice}"
        ) from error
    except (LookupError, ValueError) as error:  # an encoding that Python does not know
        raise CorruptRecordingError(
            f"{printable(name)} is in an encoding that cannot be read: {printable(error)}"
        ) from error


def parse_xml(
    data: bytes | Iterable[bytes],
    name: str,
    *,
    max_elements: int = _MAX_ELEMENTS,
    max_depth: int = _MAX_DEPTH,
    advice: str = "the file is damaged; copy it again",
) -> Element:
    """Return the root element of an XML document.

    Namespaces are not resolved: tags are given as they are written, prefix included.

    Parameters
    ----------
    data : bytes, or an iterable of bytes
        The document, whole or in pieces.
    name : str
        The file's name, for messages.
    max_elements, max_depth : int
        A document with more elements, or nested deeper, is refused.
    advice : str
        The end of the sentence about a damaged document.

    Raises
    ------
    UnsupportedRecordingError
        The document contains a DOCTYPE.
    CorruptRecordingError
        It is not well-formed, or is over a limit.
    """
    builder, parser, state = TreeBuilder(), xml_parser(name), [0, 0]  # elements so far, depth

    def start(tag: str, attributes: dict[str, str]) -> None:
        state[0] += 1
        state[1] += 1
        if state[0] > max_elements or state[1] > max_depth:
            raise CorruptRecordingError(
                f"{printable(name)} has more than {max_elements:,} XML elements, or more than {max_depth} levels of them; {advice}"
            )
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        state[1] -= 1
        builder.end(tag)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    with xml_problems(name, advice):
        feed_xml(parser, (data,) if isinstance(data, bytes) else data, name)
        parser.Parse(b"", True)
    root: Any = builder.close()
    return root  # type: ignore[no-any-return]
