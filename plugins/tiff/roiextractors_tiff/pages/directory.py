"""One TIFF file's header, and its directories (IFDs) with their tags."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError
from roiextractors_core.io import PositionedFile

__all__ = [
    "HEADER_BYTES",
    "MAX_TAGS",
    "NEW_SUBFILE_TYPE",
    "SUBFILE_TYPE",
    "TYPE_FORMS",
    "UIC2",
    "Directory",
    "Tags",
    "TiffFile",
    "too_many_tags",
    "truncated_directory",
]

# By the number of the tag's type: bytes of one value, and its struct code.
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
TYPE_FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_SHORT_TYPES = (3, 4)  # of which one value is in the table itself
_TEXT_TYPE, _RATIONAL_TYPES, _DESCRIPTION = 2, (5, 10), 270

HEADER_BYTES = 8
NEW_SUBFILE_TYPE, SUBFILE_TYPE = 254, 255
UIC2 = 33629  # MetaMorph: one entry for each plane of a stack
_REDUCED_OR_MASK, _REDUCED = 1 | 4, 2
# The format allows 65,535 tags, BigTIFF 2^64. Real files have below 100; a damaged count must not become a read of gigabytes.
MAX_TAGS = 4096
_MAX_VALUE = 64 << 20
_OFFSET_PERIOD = 1 << 32  # offsets of 32 bits begin at 0 again behind it
_MAX_NUMBERS = 1 << 22  # of one tag; as Python numbers they take up to 40 bytes each
_FIRST_READ = 1024  # a directory of 80 classic tags, or of 50 of BigTIFF, in one read


class TiffFile:
    """One file's header, and the reads of its directories.

    Attributes
    ----------
    file : PositionedFile
    size : int
        Bytes of the file.
    order : str
        Byte order as struct and numpy write it, ``"<"`` or ``">"``.
    big : bool
        Whether it is BigTIFF.
    count_size, entry_size, field_size : int
        Bytes of a directory's number of tags, of one tag, and of an offset.
    count_form, offset_form : str
        Struct codes of the number of tags and of an offset.
    first : int
        Offset of the first directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.file = PositionedFile(path)
        self.size = self.file.size
        head = self.file.read(0, 16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        version = struct.unpack(order + "H", head[2:4])[0] if order and len(head) >= HEADER_BYTES else 0
        if version not in (42, 43):
            raise CorruptRecordingError(f"{self.name} is not TIFF: its first bytes are {head[:8].hex(' ') or 'none'}")
        self.order = str(order)
        self.big = version == 43
        if self.big and (len(head) < 16 or struct.unpack(self.order + "HH", head[4:8]) != (8, 0)):
            raise CorruptRecordingError(
                f"{self.name} begins as BigTIFF, but its header does not declare 8-byte offsets: {head[:16].hex(' ')}"
            )
        self.count_size, self.entry_size, self.field_size = (8, 20, 8) if self.big else (2, 12, 4)
        self.count_form = self.order + ("Q" if self.big else "H")
        self.offset_form = self.order + ("Q" if self.big else "I")
        self.first = struct.unpack(self.offset_form, head[8:16] if self.big else head[4:8])[0]

    @property
    def name(self) -> str:
        return self.file.name

    def directory(self, offset: int, page: int) -> Directory:
        """Read the directory of a page."""
        if offset < HEADER_BYTES or offset + self.count_size > self.size:
            raise CorruptRecordingError(
                f"{self.name}: the directory of page {page:,} should be at byte {offset:,}, outside the file of {self.size:,} bytes"
            )
        raw = self.file.read(offset, _FIRST_READ)
        count = struct.unpack_from(self.count_form, raw)[0]
        if not 0 < count <= MAX_TAGS:
            raise too_many_tags(self, page, offset, count)
        length = self.count_size + count * self.entry_size + self.field_size
        if length > len(raw):
            raw = self.file.read(offset, length)
        if len(raw) < length - self.field_size:
            raise truncated_directory(self, page, offset)
        after = raw[length - self.field_size : length]
        following = struct.unpack(self.offset_form, after)[0] if len(after) == self.field_size else 0
        return Directory(self, offset, raw[: length - self.field_size], following, page)


class Directory:
    """One TIFF directory: its offset, its table of tags, and the offset of the next one.

    Attributes
    ----------
    tiff : TiffFile
    offset, next : int
        In bytes; ``next`` is 0 at the end of the chain.
    table : bytes
        The number of tags and the tags, without the offset of the next directory.
    page : int
        Number of the page, for messages.
    entries : dict
        From a tag's code to its type, its number of values, and where in the table its value or offset is.

    References
    ----------
    TIFF Revision 6.0, Adobe 1992, section 2; BigTIFF design, Joris Van Damme et al., 2007.
    """

    __slots__ = ("entries", "next", "offset", "page", "table", "tiff")

    def __init__(self, tiff: TiffFile, offset: int, table: bytes, following: int, page: int) -> None:
        self.tiff = tiff
        self.offset = offset
        self.table = table
        self.next = following
        self.page = page
        form = tiff.order + ("HHQ8x" if tiff.big else "HHI4x")
        self.entries: dict[int, tuple[int, int, int]] = {}
        places = range(tiff.count_size + tiff.entry_size - tiff.field_size, len(table), tiff.entry_size)
        for at, (code, kind, count) in zip(
            places, struct.iter_unpack(form, memoryview(table)[tiff.count_size :]), strict=True
        ):
            # libtiff reads the first of two tags with one code. ImageDescription is the exception: tifffile puts its
            # own shape into a second one, behind the description that the user gave.
            if code not in self.entries or code == _DESCRIPTION:
                self.entries[code] = (kind, count, at)

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Directory:
        """Return the first directory of a file.

        Raises
        ------
        CorruptRecordingError, TruncatedRecordingError
            The file is not TIFF, or its first directory is missing.
        """
        tiff = TiffFile(path)
        return tiff.directory(tiff.first, 0)

    @property
    def is_secondary(self) -> bool:
        """Whether the file marks the page as a reduced image (a thumbnail, a level of a pyramid) or as a mask."""
        return bool(self.number(NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK) or self.number(SUBFILE_TYPE, 0) == _REDUCED

    @property
    def end(self) -> int:
        """Offset of the first byte after the directory."""
        return self.offset + len(self.table) + self.tiff.field_size

    def place(self, code: int) -> tuple[int, int]:
        """Return the offset of a tag's value in the file, and its length in bytes."""
        kind, count, at = self.entries[code]
        size = _TYPE_SIZES.get(kind, 1) * count
        if size <= self.tiff.field_size:
            return self.offset + at, size
        offset = struct.unpack_from(self.tiff.offset_form, self.table, at)[0]
        # Classic TIFF cannot state an offset behind 4 GiB: of a directory that is there, the nearest one is meant
        if not self.tiff.big and self.offset >= _OFFSET_PERIOD:
            offset += (self.offset - offset + _OFFSET_PERIOD // 2) // _OFFSET_PERIOD * _OFFSET_PERIOD
        return offset, size

    def is_inline(self, code: int) -> bool:
        """Return whether a tag's value is in the table itself."""
        kind, count, _ = self.entries[code]
        return int(_TYPE_SIZES.get(kind, 1) * count) <= self.tiff.field_size

    def begins_with(self, code: int, prefix: bytes) -> bool:
        """Return whether a tag's value begins with these bytes; reads only as many as it compares."""
        if code not in self.entries:
            return False
        offset, size = self.place(code)
        return size >= len(prefix) and self.tiff.file.read(offset, len(prefix)) == prefix

    def value(self, code: int) -> Any:
        """Return a tag's value: text as bytes, one number, or a tuple of numbers; None when the tag is missing."""
        if code not in self.entries:
            return None
        kind, count, at = self.entries[code]
        if count == 1 and kind in _SHORT_TYPES:  # nearly always
            value: int = struct.unpack_from(self.tiff.order + TYPE_FORMS[kind], self.table, at)[0]
            return value
        offset, size = self.place(code)
        is_numbers = kind not in (1, _TEXT_TYPE) and (kind in TYPE_FORMS or kind in _RATIONAL_TYPES)
        if size > _MAX_VALUE or (is_numbers and count > _MAX_NUMBERS):
            raise CorruptRecordingError(
                f"{self.tiff.name}: tag {code} of page {self.page:,} claims {count:,} values; at most {_MAX_NUMBERS:,} numbers or "
                f"{_MAX_VALUE:,} bytes are read"
            )
        if not self.is_inline(code) and offset + size > self.tiff.size:
            raise CorruptRecordingError(
                f"{self.tiff.name}: tag {code} of page {self.page:,} claims {count:,} values at byte {offset:,}, "
                f"beyond the file of {self.tiff.size:,} bytes"
            )
        data = self.table[at : at + size] if self.is_inline(code) else self.tiff.file.read(offset, size)
        if kind in _RATIONAL_TYPES:
            return tuple(struct.unpack(f"{self.tiff.order}{2 * count}{'I' if kind == 5 else 'i'}", data))
        form = TYPE_FORMS.get(kind)
        if form is None or (kind == 1 and count > 8):
            return data.split(b"\0", 1)[0] if kind == _TEXT_TYPE else data
        numbers = struct.unpack(f"{self.tiff.order}{count}{form}", data)
        return numbers[0] if count == 1 else numbers

    def number(self, code: int, default: int) -> int:
        """Return a tag's first number."""
        value = self.value(code)
        if value is None:
            return default
        if isinstance(value, tuple):
            value = value[0] if value else default
        if not isinstance(value, int):
            raise CorruptRecordingError(
                f"{self.tiff.name}: tag {code} of page {self.page:,} at byte {self.offset:,} should be a number, got {value!r:.40}"
            )
        return value


class Tags(Mapping[int, Any]):
    """The tags of a directory by code, each decoded when it is asked for: a file may have thousands of megabytes each.

    Parameters
    ----------
    directory : Directory
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._decoded: dict[int, Any] = {}

    def __getitem__(self, code: int) -> Any:
        if code not in self._decoded:
            if code not in self._directory.entries:
                raise KeyError(code)
            self._decoded[code] = self._directory.value(code)
        return self._decoded[code]

    def __contains__(self, code: object) -> bool:
        return code in self._directory.entries  # not inherited: it would decode the value

    def __iter__(self) -> Iterator[int]:
        return iter(self._directory.entries)

    def __len__(self) -> int:
        return len(self._directory.entries)


def too_many_tags(tiff: TiffFile, page: int, offset: int, count: int) -> CorruptRecordingError:
    """Return the error for a directory whose number of tags is impossible."""
    return CorruptRecordingError(
        f"{tiff.name}: the directory of page {page:,} at byte {offset:,} claims {count:,} tags; the file is damaged"
    )


def truncated_directory(tiff: TiffFile, page: int, offset: int) -> TruncatedRecordingError:
    """Return the error for a file that ends inside a directory."""
    return TruncatedRecordingError(
        f"{tiff.name} is truncated: it ends at byte {tiff.size:,}, inside the directory of page {page:,} at byte {offset:,}"
    )
