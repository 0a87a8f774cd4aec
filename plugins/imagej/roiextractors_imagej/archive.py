"""The ROIs in a file: a single ``.roi``, or the entries of a ``RoiSet.zip``, read within bounds and never unpacked to a disk."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from typing import IO, Any

from roiextractors_core import (
    CorruptRecordingError,
    RoiExtractorsError,
    SourceReadError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.errors import counted, listed, printable
from roiextractors_core.io import Source, open_regular, read_bounded

from .decoder import MAGIC

__all__ = ["has_rois", "read_entries"]

_MAX_ROI_BYTES = 8 << 20  # 100,000 vertices with fractions have 1.2 MB
_MAX_TOTAL_BYTES = 64 << 20
_MAX_ENTRIES = 100_000
_MAX_DIRECTORY_BYTES = 16 << 20  # zipfile makes an object of ten times its size
_ZIP_MAGIC = b"PK\x03\x04"
_END_MAGIC = b"PK\x05\x06"
_END = struct.Struct("<4s4HIIH")
_ZIP64 = 0xFFFF  # of a number that is stated elsewhere
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that Java writes
_SUFFIX = ".roi"
# What zipfile raises for damaged archives, some of it by accident
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, ValueError, ArithmeticError, LookupError)


class _BoundedReads:
    """A file whose single reads are bounded: zipfile reads a directory of the size that the file states."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream, self._name = stream, name
        self.tell, self.close, self.seekable = stream.tell, stream.close, stream.seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET and offset < 0:  # the system would call it an invalid argument
            raise zipfile.BadZipFile("an entry starts before the file")
        return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(_MAX_DIRECTORY_BYTES + 1 if size < 0 else min(size, _MAX_DIRECTORY_BYTES + 1))
        if len(data) > _MAX_DIRECTORY_BYTES:
            raise CorruptRecordingError(
                f"{self._name} is a zip archive with a directory of more than {_MAX_DIRECTORY_BYTES:,} bytes"
            )
        return data


def read_entries(path: str | os.PathLike[str]) -> tuple[list[tuple[str, bytes]], tuple[str, ...]]:
    """Return the ROIs of a file as ``(name, bytes)``, in order, and sentences about what was left out.

    The name is that of the entry without ``.roi``, and empty for a single ROI. It is a label and never used as a path.

    Raises
    ------
    CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError
        The archive is damaged, too large, encrypted or without ROIs.
    SourceNotFoundError, SourcePermissionError, SourceReadError
    """
    name = os.path.basename(os.fspath(path))
    if read_bounded(path, len(_ZIP_MAGIC), count=len(_ZIP_MAGIC)) != _ZIP_MAGIC:
        return [("", read_bounded(path, _MAX_ROI_BYTES))], ()
    shown = printable(name)
    try:
        # Not by its path: zipfile would wait for a pipe
        with open_regular(path) as stream, _archive(stream, shown) as archive:
            _require_all_entries(stream, archive, shown)
            return _read_archive(archive, shown)
    except RoiExtractorsError:
        raise
    except EOFError as error:
        raise TruncatedRecordingError(f"{shown} ends inside its last entry") from error
    except _DAMAGE as error:
        raise CorruptRecordingError(f"{shown} is a damaged zip archive: {printable(error)[:120]}") from error
    except OSError as error:
        raise SourceReadError(f"cannot read {shown}: {error.strerror or printable(error)}") from error


def has_rois(source: Source) -> bool | None:
    """Return whether a zip archive contains ROIs, by its first entries; for the evidence of the format."""
    try:
        with open_regular(source.path) as stream, _archive(stream, source.path.name) as archive:
            first = next((entry for entry in archive.infolist() if _is_roi(entry.filename)), None)
            return first is not None and _is_readable(first) and archive.open(first).read(len(MAGIC)) == MAGIC
    except (*_DAMAGE, EOFError):
        return False


def _archive(stream: IO[bytes], name: str) -> zipfile.ZipFile:
    reads: Any = _BoundedReads(stream, name)
    return zipfile.ZipFile(reads)


def _read_archive(archive: zipfile.ZipFile, name: str) -> tuple[list[tuple[str, bytes]], tuple[str, ...]]:
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    rois = [entry for entry in entries if _is_roi(entry.filename)]
    if not rois:
        raise UnsupportedRecordingError(f"{name} is a zip archive without ROIs (entries that end in .roi)")
    if len(rois) > _MAX_ENTRIES:
        raise CorruptRecordingError(
            f"{name} contains {counted(len(rois), 'ROI')}; at most {_MAX_ENTRIES:,} are supported"
        )
    total = sum(entry.file_size for entry in rois)
    if total > _MAX_TOTAL_BYTES:
        raise CorruptRecordingError(
            f"{name} contains {total:,} bytes of ROIs once decompressed; at most {_MAX_TOTAL_BYTES:,} are supported"
        )
    others = [printable(entry.filename) for entry in entries if not _is_roi(entry.filename)]
    notes = (f"{name} also contains {listed(others, limit=3)}; these are not ROIs and are not read",) if others else ()
    return [(entry.filename[: -len(_SUFFIX)], _read_entry(archive, entry, name)) for entry in rois], notes


def _require_all_entries(stream: IO[bytes], archive: zipfile.ZipFile, name: str) -> None:
    """Refuse an archive whose directory has fewer entries than its end states: zipfile skips damaged ones silently."""
    stream.seek(-_END.size - len(archive.comment), os.SEEK_END)
    end = stream.read(_END.size)
    if end[:4] != _END_MAGIC:  # bytes that another program appended
        return
    stated, seen = _END.unpack(end)[4], len(archive.infolist())
    if stated != _ZIP64 and stated != seen % (_ZIP64 + 1):
        raise CorruptRecordingError(f"{name} is a damaged zip archive: it states {stated:,} entries but has {seen:,}")


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> bytes:
    shown = f"{printable(entry.filename)[:80]!r} in {name}"
    if not _is_readable(entry):
        what = "is encrypted" if entry.flag_bits & _ENCRYPTED else f"is compressed by method {entry.compress_type}"
        raise UnsupportedRecordingError(f"{shown} {what}; ImageJ does not write such entries")
    if entry.file_size > _MAX_ROI_BYTES:
        raise CorruptRecordingError(f"{shown} has {entry.file_size:,} bytes; an ROI has at most {_MAX_ROI_BYTES:,}")
    with archive.open(entry) as stream:
        data = stream.read(entry.file_size + 1)  # zipfile stops at the stated size, and checks the CRC there
    if len(data) != entry.file_size:
        raise TruncatedRecordingError(f"{shown} has {len(data):,} bytes, expected {entry.file_size:,}")
    return data


def _is_readable(entry: zipfile.ZipInfo) -> bool:
    return entry.compress_type in _METHODS and not entry.flag_bits & _ENCRYPTED


def _is_roi(filename: str) -> bool:
    # macOS adds a folder of resource forks, with the names of the files
    return filename.lower().endswith(_SUFFIX) and not filename.startswith("__MACOSX/")
