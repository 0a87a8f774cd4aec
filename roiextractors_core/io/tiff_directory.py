"""The first directory of a TIFF or BigTIFF file, parsed from bounded reads."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

__all__ = ["TIFF_TAGS", "TiffDirectory"]

TIFF_TAGS: Mapping[str, int] = {
    "NewSubfileType": 254,
    "ImageWidth": 256,
    "ImageLength": 257,
    "BitsPerSample": 258,
    "Compression": 259,
    "ImageDescription": 270,
    "Make": 271,
    "Model": 272,
    "Software": 305,
    "DateTime": 306,
    "Artist": 315,
    "HostComputer": 316,
    "IJMetadata": 50839,
    "MicroManagerMetadata": 51123,
}
"""Codes of the tags that evidence can name."""

ReadAt = Callable[[int, int], bytes]
"""Takes an offset and a count, and returns at most as many bytes; fewer at the end of the file."""

_MAX_VALUE_BYTES = 1 << 16  # evidence looks at the start of a text; some descriptions have megabytes
_MAX_TAGS = 4096  # real directories have fewer than 100
_IMAGE_DESCRIPTION = 270
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGER_FORMS = {3: "H", 4: "I", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}

_Entry = tuple[int, int, bytes]  # type code, count, and the field with the value or its offset


class TiffDirectory:
    """The first directory of a TIFF file: byte order, flavour, and tags that are decoded when asked for.

    References
    ----------
    TIFF Revision 6.0, Adobe 1992, section 2; BigTIFF design, Joris Van Damme et al., 2007.
    """

    __slots__ = ("_entries", "_read_at", "big", "byteorder", "offset")

    def __init__(self, read_at: ReadAt, byteorder: str, big: bool, offset: int, entries: Mapping[int, _Entry]):
        self._read_at = read_at
        self._entries = entries
        self.byteorder = byteorder
        self.big = big
        self.offset = offset

    @classmethod
    def parse(cls, read_at: ReadAt) -> TiffDirectory | None:
        """Return the first directory, or None when the bytes are not TIFF or contain no directory."""
        header = _parse_header(read_at(0, 16))  # the header of BigTIFF; classic TIFF has 8 bytes
        if header is None:
            return None
        byteorder, big, offset = header
        entries = _read_entries(read_at, byteorder, big, offset)
        return None if entries is None else cls(read_at, byteorder, big, offset, MappingProxyType(entries))

    @property
    def codes(self) -> tuple[int, ...]:
        """The codes of the tags in the directory."""
        return tuple(self._entries)

    def value(self, code: int) -> bytes | tuple[int, ...] | None:
        """Return a tag's value: integers as a tuple, all other types as at most 64 KiB of bytes."""
        entry = self._entries.get(code)
        if entry is None:
            return None
        kind, count, field = entry
        item_size = _SIZES.get(kind, 1)  # TIFF 6.0, section 2: readers skip types that they do not know
        data = field[: item_size * count]
        if item_size * count > len(field):  # too long for the field, which has the offset of the value instead
            (offset,) = struct.unpack(self.byteorder + ("Q" if self.big else "I"), field)
            data = self._read_at(offset, min(item_size * count, _MAX_VALUE_BYTES))
        form = _INTEGER_FORMS.get(kind)
        if form is None:
            return data
        num_items = len(data) // item_size
        return struct.unpack(f"{self.byteorder}{num_items}{form}", data[: num_items * item_size])

    def text(self, code: int) -> str | None:
        """Return a tag's text, up to 64 KiB, or None when the tag is missing or contains numbers."""
        value = self.value(code)
        # ASCII in TIFF ends with NUL, and some programs pad the text with more of them
        return value.split(b"\0", 1)[0].decode("utf-8", "replace") if isinstance(value, bytes) else None


def _parse_header(head: bytes) -> tuple[str, bool, int] | None:
    """Return the byte order, whether it is BigTIFF, and the offset of the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    (version,) = struct.unpack(order + "H", head[2:4])
    if version == 42:
        return order, False, struct.unpack(order + "I", head[4:8])[0]
    # BigTIFF states the size of its offsets (8) and a constant (0) before the first one
    if version == 43 and head[4:8] == struct.pack(order + "HH", 8, 0) and len(head) == 16:
        return order, True, struct.unpack(order + "Q", head[8:16])[0]
    return None


def _read_entries(read_at: ReadAt, order: str, big: bool, offset: int) -> dict[int, _Entry] | None:
    """Return the entries by tag code, or None where the directory is outside the file or impossible."""
    count_form, entry_form, entry_size, field_size = ("Q", "HHQ", 20, 8) if big else ("H", "HHI", 12, 4)
    count_size = struct.calcsize(order + count_form)
    raw_count = read_at(offset, count_size)
    if len(raw_count) < count_size:
        return None
    (count,) = struct.unpack(order + count_form, raw_count)
    if not 0 < count <= _MAX_TAGS:  # an offset into pixels gives a random count
        return None
    table = read_at(offset + count_size, count * entry_size)
    if len(table) < count * entry_size:
        return None
    entries: dict[int, _Entry] = {}
    for at in range(0, len(table), entry_size):
        code, kind, num_values = struct.unpack_from(order + entry_form, table, at)
        # Of a repeated tag the first one counts, as for libtiff; of descriptions the last one, since tifffile
        # writes its own behind the one that it was given.
        if code not in entries or code == _IMAGE_DESCRIPTION:
            entries[code] = (kind, num_values, table[at + entry_size - field_size : at + entry_size])
    return entries
