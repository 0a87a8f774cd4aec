"""Finds the OME-XML of a TIFF file, or reads a file of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from roiextractors_tiff.pages import Directory

from roiextractors_core.errors import (
    RoiExtractorsError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PositionedFile
from roiextractors_core.io.ome_xml import OmeDocument, ome_root, parse_ome_xml

__all__ = ["Document", "is_tiff", "read_document", "root_attributes"]

_MAX_XML = 1 << 30
_CHUNK = 1 << 20
_ROOT_CHUNK = 1 << 14
_DESCRIPTION = 270
_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(OmeDocument):
    """The contents of an OME-XML, and where it is.

    Attributes
    ----------
    path : str
        The file that contains it.
    in_tiff : bool
        Whether that is a TIFF file.
    """

    path: str
    in_tiff: bool


def is_tiff(path: str) -> bool:
    """Return whether a file begins as TIFF does."""
    with contextlib.closing(PositionedFile(path)) as file:
        return file.read(0, 4) in _TIFF_HEADS


def read_document(path: str) -> Document:
    """Read the OME-XML of a TIFF's first directory, or of a file of its own.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError
        The XML is truncated or not well-formed, or has impossible numbers.
    UnsupportedRecordingError
        It is not OME-XML, contains a DOCTYPE, or is larger than 1 GiB.

    References
    ----------
    The OME Model and its XML schemas, 2003-FC to 2016-06; OME-TIFF specification 6.0.
    """
    with _text_of(path) as text:
        found = parse_ome_xml(text.pieces, text.name)
        known = {f.name: getattr(found, f.name) for f in fields(found)}
        return Document(path=path, in_tiff=text.in_tiff, **known)


def root_attributes(path: str) -> Mapping[str, str]:
    """Return the attributes of a file's OME root; an empty mapping if it has no such root."""
    try:
        with _text_of(path) as text:
            return ome_root(lambda: text.pieces(_ROOT_CHUNK))
    except (RoiExtractorsError, OSError):
        return MappingProxyType({})


@contextlib.contextmanager
def _text_of(path: str) -> Iterator[_Text]:
    """Find a file's XML; the file is closed afterwards, also by an error that somebody keeps."""
    with contextlib.closing(PositionedFile(path)) as file:
        if file.read(0, 4) not in _TIFF_HEADS:
            yield _Text(file, 0, file.size, False)._checked()
            return
        directory = Directory.of(path)
        if _DESCRIPTION not in directory.entries:
            raise UnsupportedRecordingError(
                f"{file.name} is TIFF without an ImageDescription, and therefore without OME-XML"
            )
        yield _Text(file, *directory.place(_DESCRIPTION), True)._checked()


@dataclass(frozen=True, slots=True)
class _Text:
    """Where a file's XML is."""

    file: PositionedFile
    offset: int
    length: int
    in_tiff: bool

    @property
    def name(self) -> str:
        return self.file.name

    def pieces(self, size: int = _CHUNK) -> Iterator[bytes]:
        """Yield the text, without white space before it and padding after it."""
        started = False
        for at in range(0, self.length, size):
            data = self.file.read(self.offset + at, min(size, self.length - at))
            # ASCII in TIFF ends with NUL; in a file of its own, NUL may be part of UTF-16
            piece, nul, _ = data.partition(b"\0") if self.in_tiff else (data, b"", b"")
            if not started:
                piece = piece.lstrip(b" \t\r\n")
                started = bool(piece)
                self._require_xml(piece)
            yield piece
            if nul:
                return

    def _require_xml(self, piece: bytes) -> None:
        if piece and not piece.startswith((b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):  # or a byte order mark
            begin = printable(piece[:40].decode("utf-8", "replace"))
            where = "ImageDescription" if self.in_tiff else "text"
            raise UnsupportedRecordingError(f"{self.name} contains no OME-XML: its {where} begins with {begin!r}")

    def _checked(self) -> _Text:
        if self.offset + self.length > self.file.size:
            raise TruncatedRecordingError(
                f"{self.name} ends at byte {self.file.size:,}, and its OME-XML should take {self.length:,} bytes from byte {self.offset:,}"
            )
        if self.length > _MAX_XML:
            raise UnsupportedRecordingError(
                f"{self.name} contains XML of {self.length:,} bytes; more than {_MAX_XML:,} are not supported"
            )
        return self
