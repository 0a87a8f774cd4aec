"""Checks beyond declared evidence: whether an OLE compound file is an OIB, and a text file the settings of an OIF."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from roiextractors_core import Source
from roiextractors_core.errors import CorruptRecordingError

from .settings import Settings

__all__ = ["is_oib", "is_oif"]

_ENTRY_BYTES = 128
_MARK = "OibInfo.txt"
_MAX_SECTORS = 64  # detection stays cheap, and a chain that is a loop ends
_SECTORS_OF_TABLE = 109
_HEAD = 1 << 18


def is_oib(source: Source) -> bool:
    """Return whether the directory of an OLE compound file contains ``OibInfo.txt``, within its first 64 sectors.

    Parameters
    ----------
    source : Source

    References
    ----------
    [MS-CFB] Compound File Binary File Format, sections 2.2 (header), 2.3 (sector table) and 2.6 (directory).
    """
    header = source.head(512)
    if len(header) < 512 or header[30:32] not in (b"\x09\x00", b"\x0c\x00"):
        return False
    return any(_MARK in names for names in _directory(source, header))


def is_oif(source: Source) -> bool:
    """Return whether a text has the sections in which FluoView describes the axes and the frames of a recording.

    Parameters
    ----------
    source : Source
    """
    try:
        sections = Settings.of(source.head(_HEAD), "").sections
    except CorruptRecordingError:
        return False
    return "AxisOrder" in sections.get("Axis Parameter Common", {}) and "ProfileSaveInfo" in sections


def _directory(source: Source, header: bytes) -> Iterator[set[str]]:
    """Yield the names in each sector of the directory, following the sector table."""
    size = 1 << header[30]
    number = struct.unpack_from("<I", header, 48)[0]
    for _ in range(_MAX_SECTORS):
        sector = source.read_at((number + 1) * size, size)
        if len(sector) < size:
            return
        yield {_entry_name(sector[at : at + _ENTRY_BYTES]) for at in range(0, size, _ENTRY_BYTES)}
        table = number // (size // 4)
        # Further sectors of the table are listed outside the header, which detection does not read
        if table >= _SECTORS_OF_TABLE:
            return
        place = (struct.unpack_from("<I", header, 76 + 4 * table)[0] + 1) * size
        following = source.read_at(place + number % (size // 4) * 4, 4)
        if len(following) < 4:
            return
        number = struct.unpack("<I", following)[0]


def _entry_name(entry: bytes) -> str:
    length = struct.unpack_from("<H", entry, 64)[0]
    return entry[: min(64, max(0, length - 2))].decode("utf-16-le", "replace")
