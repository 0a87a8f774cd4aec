"""Finds the frames of an AVI file: by its indices if they agree with the chunks, else by walking the chunks."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, counted
from roiextractors_core.io import PositionedFile

__all__ = ["AviIndex", "AviStream", "avi_index", "is_avi"]

_MAX_HEADER = 4 << 20  # headers have kilobytes, with a codec's own data or a palette
_MAX_STREAMS = 100
_MAX_INDEX = 1 << 30  # idx1 takes 16 bytes a chunk: more than 60 million of them
_KEY_FRAME = 0x10  # AVIIF_KEYFRAME
_MAX_PARTS = 1 << 16  # RIFFs of a file and chunks of one; a recorder writes a few for each GiB
_ZERO_TAIL = 16  # bytes of zeros at the end of a frame that zeros follow
_MAX_IDLE = 100_000  # chunks without pixels before the walk ends; a recording has a few for each frame
_CHECKED = 16  # chunks that an index is compared with: each costs a read


@dataclass(frozen=True, slots=True)
class AviStream:
    """The first video stream, according to the header.

    Attributes
    ----------
    number : int
        The number of the stream in the file, from 0; the names of its chunks begin with it.
    codec : bytes
        Four letters in capitals; four zeros for plain bitmaps.
    rows, columns : int
    is_bottom_up : bool
        Whether a bitmap's first row in the file is the lowest of the picture.
    bits : int
        Bits a pixel.
    extra : bytes
        The bytes after the first 40 of the bitmap header: a palette, or the codec's own header.
    rate, scale : int
        ``rate / scale`` frames a second; 0 where the header does not know.
    claimed : int
        The frames that the header counts, those without a picture among them.
    """

    number: int
    codec: bytes
    rows: int
    columns: int
    is_bottom_up: bool
    bits: int
    extra: bytes
    rate: int
    scale: int
    claimed: int
    super_index: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class AviIndex:
    """The frames of the first video stream.

    Attributes
    ----------
    stream : AviStream
    offsets, sizes : numpy.ndarray
        int64, of the frames' bytes in the file.
    is_key : numpy.ndarray
        bool, according to the index; all False if the chunks were walked.
    ticks : numpy.ndarray
        int64, the place of each frame in the stream's clock; a chunk without bytes takes a place and has no picture.
    was_walked : bool
        Whether there was no index that could be used.
    problem : str
        A description of the missing part that follows the file's name; empty if the file is complete.
    """

    stream: AviStream
    offsets: np.ndarray
    sizes: np.ndarray
    is_key: np.ndarray
    ticks: np.ndarray
    was_walked: bool
    num_places: int
    problem: str = ""


def is_avi(file: PositionedFile) -> bool:
    """Return whether the file begins as AVI."""
    head = file.read(0, 12)
    return head[:4] == b"RIFF" and head[8:12] == b"AVI "


def avi_index(file: PositionedFile) -> AviIndex:
    """Find every frame of the first video stream; no frame is read.

    Parameters
    ----------
    file : PositionedFile

    Raises
    ------
    CorruptRecordingError
        The header is missing or truncated, or does not describe a video.

    References
    ----------
    Microsoft, "AVI RIFF File Reference"; OpenDML AVI File Format Extensions 1.02, 1996.
    """
    layout = _Layout.of(file)
    stream = _stream(file, layout)
    entries: Any = _by_super_index(file, stream, layout)
    if entries is None:
        entries = _by_old_index(file, stream, layout)
    problem = layout.problem
    was_walked = entries is None
    if entries is None:
        entries, walked = _walked(file, stream, layout)
        problem = walked or problem
    found = np.array(entries, np.int64).reshape(-1, 3)
    if not problem and len(found) < stream.claimed:
        problem = f"has {counted(len(found), 'frame')}, but its header says {stream.claimed:,}"
    # An empty chunk repeats the frame before it (a dropped frame): it advances the clock and has no picture
    held = found[:, 1] > 0
    return AviIndex(
        stream,
        found[held, 0],
        found[held, 1],
        found[held, 2] != 0,
        np.flatnonzero(held),
        was_walked,
        len(found),
        problem,
    )


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class _Layout:
    header: _Span | None
    movies: tuple[_Span, ...]
    old_index: _Span | None
    num_riffs: int
    size: int
    problem: str

    @classmethod
    def of(cls, file: PositionedFile) -> _Layout:
        size = file.size
        header, old_index, movies, problem, riffs = None, None, [], "", 0
        for riff in _riffs(file, size):
            # OpenDML continues a recording in RIFFs of the form AVIX; a second "AVI " is another file
            if riffs and riff.is_file:
                problem = problem or f"contains another AVI file from byte {riff.start - 12:,} on, which is not read"
                break
            riffs += 1
            if riffs > _MAX_PARTS:
                raise CorruptRecordingError(f"{file.name} has more than {_MAX_PARTS:,} RIFF chunks; it is damaged")
            if riff.end > size:
                problem = f"is truncated: it ends at byte {size:,}, but its header says {riff.end:,}"
            for name, span in _chunks(file, _Span(riff.start, min(riff.end, size)), size):
                if name == b"hdrl" and header is None:
                    header = span
                elif name == b"movi":
                    movies.append(_Span(span.start, min(span.end, size)))
                elif name == b"idx1" and span.end <= size:
                    old_index = span
        return cls(header, tuple(movies), old_index, riffs, size, problem)


def _riffs(file: PositionedFile, size: int) -> Iterator[_Span]:
    """Yield the content of the RIFF chunks that follow one another; one of length 0 was never closed."""
    at = 0
    while at + 12 <= size:
        head = file.read(at, 12)
        if head[:4] != b"RIFF" or head[8:] not in (b"AVI ", b"AVIX"):
            return
        length = int.from_bytes(head[4:8], "little")
        end = at + 8 + length if length >= 4 else size
        yield _Span(at + 12, end, head[8:] == b"AVI ")
        at = end + end % 2  # chunks begin at even bytes


def _chunks(file: PositionedFile, span: _Span, size: int) -> Iterator[tuple[bytes, _Span]]:
    """Yield the chunks of a RIFF by name, lists by their own; a list of frames that was never closed runs to the end."""
    at = span.start
    for _ in range(_MAX_PARTS):
        if at + 12 > span.end:
            return
        head = file.read(at, 12)
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        if not _is_name(name):
            return
        if name == b"LIST":
            # Writers fill in the length when they close the file
            if head[8:12] == b"movi" and length <= 4:
                yield b"movi", _Span(at + 12, span.end)
                return
            yield head[8:12], _Span(at + 12, at + 8 + length)
        else:
            yield name, _Span(at + 8, at + 8 + length)
        at += 8 + length + length % 2


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= letter < 127 for letter in name)


def _stream(file: PositionedFile, layout: _Layout) -> AviStream:
    if layout.header is None or layout.header.end > layout.size:
        raise CorruptRecordingError(
            f"{file.name} begins as AVI, but ends or is damaged inside its header ({layout.size:,} bytes)"
        )
    length = max(0, min(layout.header.end - layout.header.start, _MAX_HEADER))
    header = file.read(layout.header.start, length)
    pieces = [piece for name, piece in _pieces(header) if name == b"strl"]
    for number, piece in enumerate(pieces[:_MAX_STREAMS]):
        parts = dict(_pieces(piece))
        if parts.get(b"strh", b"")[:4] == b"vids":
            return _video_stream(file.name, number, parts, header)
    raise CorruptRecordingError(f"{file.name} is an AVI file without a video stream")


def _pieces(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + length]
        yield (body[:4], body[4:]) if name == b"LIST" else (name, body)
        at += 8 + length + length % 2


def _video_stream(name: str, number: int, parts: dict[bytes, bytes], header: bytes) -> AviStream:
    head, bitmap = parts[b"strh"], parts.get(b"strf", b"")
    if len(head) < 36 or len(bitmap) < 40:
        raise CorruptRecordingError(f"{name}: the header of video stream {number} is truncated")
    scale, rate, _, claimed = struct.unpack_from("<4I", head, 20)
    size, columns, rows, _, bits = struct.unpack_from("<IiiHH", bitmap)
    if columns <= 0 or rows == 0:
        raise CorruptRecordingError(f"{name}: its header says {abs(rows):,} rows of {columns:,} columns")
    # Some writers leave the stream's rate empty, and state the period in the main header alone (microseconds)
    if not (scale and rate):
        period = int.from_bytes(dict(_pieces(header)).get(b"avih", b"")[:4], "little")
        rate, scale = (1_000_000, period) if period else (0, 0)
    return AviStream(
        number=number,
        codec=bitmap[16:20].upper(),
        rows=abs(rows),
        columns=columns,
        is_bottom_up=rows > 0,  # negative rows are stored from the top down
        bits=bits,
        # A palette follows the bitmap's header, whose size the file states; a codec's own data follow the 40 bytes
        extra=bitmap[max(40, min(size, len(bitmap))) :] if bitmap[16:20] == bytes(4) else bitmap[40:],
        rate=rate,
        scale=scale,
        claimed=claimed,
        super_index=parts.get(b"indx", b""),
    )


Entry = tuple[int, int, int]


def _by_super_index(file: PositionedFile, stream: AviStream, layout: _Layout) -> np.ndarray | None:
    """Follow OpenDML's index of indices; None where there is none, or it does not fit."""
    data = stream.super_index
    if len(data) < 24 or data[3] != 0:  # bIndexType 0: AVI_INDEX_OF_INDEXES
        return None
    count = int.from_bytes(data[4:8], "little")
    if not 0 < count <= (len(data) - 24) // 16:
        return None
    parts: list[np.ndarray] = []
    room = _max_frames(layout)
    for k in range(count):
        at, size, _ = struct.unpack_from("<QII", data, 24 + 16 * k)
        part = _standard_index(file, stream, at, size, layout.size)
        if part is None:
            return None
        parts.append(part)
        room -= len(part)
        if room < 0:
            return None
    found = np.concatenate(parts)
    return found if _fits(file, stream, found, layout.size) else None


def _standard_index(file: PositionedFile, stream: AviStream, at: int, size: int, end: int) -> np.ndarray | None:
    if not 32 <= size <= _MAX_INDEX or at + size > end:
        return None
    data = file.read(at, size)
    if not (data[:2] == b"ix" or data[2:4] == b"ix") or len(data) < 32:
        return None
    count, name, base = struct.unpack_from("<I4sQ", data, 12)
    if data[8:10] != b"\x02\x00" or not _is_frame(name, stream) or count > (len(data) - 32) // 8:
        return None
    table = np.frombuffer(data, "<u4", count * 2, 32).reshape(-1, 2).astype(np.int64)
    # The base is an unsigned 64-bit number: added to int64, a damaged one would overflow
    if base + int(table[:, 0].max(initial=0)) > end:
        return None
    # The highest bit of a size marks a frame that is not a key frame
    sizes = table[:, 1] & 0x7FFFFFFF
    keys = (table[:, 1] & 0x80000000) == 0
    return np.stack([table[:, 0] + base, sizes, keys.astype(np.int64)], axis=1)


def _max_frames(layout: _Layout) -> int:
    """Return how many frames fit into the lists of frames: each has a head of 8 bytes; an index may claim any number."""
    return sum(span.end - span.start for span in layout.movies) // 8


def _by_old_index(file: PositionedFile, stream: AviStream, layout: _Layout) -> np.ndarray | None:
    """Follow ``idx1``, which knows the first RIFF alone; its offsets count from the list of frames or from the file."""
    span = layout.old_index
    if span is None or layout.num_riffs != 1 or len(layout.movies) != 1 or span.end - span.start > _MAX_INDEX:
        return None
    if (span.end - span.start) // 16 > _max_frames(layout):
        return None
    data = file.read(span.start, span.end - span.start)
    table = np.frombuffer(data, "<u4", len(data) // 16 * 4).reshape(-1, 4)
    number = np.frombuffer(b"%02d" % stream.number, "<u2")[0]
    names = table[:, 0]
    mine = ((names & 0xFFFF) == number) & (((names >> 16) & 0xFF) == ord("d"))
    chosen = table[mine].astype(np.int64)
    keys = ((chosen[:, 1] & _KEY_FRAME) != 0).astype(np.int64)
    # The specification counts from the list's name; some writers count from the start of the file
    for base in (layout.movies[0].start - 4, 0):
        found = np.stack([chosen[:, 2] + base + 8, chosen[:, 3], keys], axis=1)
        if _fits(file, stream, found, layout.size):
            return found
    return None


def _fits(file: PositionedFile, stream: AviStream, entries: np.ndarray, end: int) -> bool:
    """Return whether the index agrees with the chunks: within the file, and with some of them by name and length."""
    if not len(entries):
        return False
    offsets, ends = entries[:, 0], entries[:, 0] + entries[:, 1]
    if (offsets < 8).any() or (ends > end).any():
        return False
    if (offsets[1:] - 8 < ends[:-1]).any():  # frames are one behind the other, each with its head
        return False
    step = max(1, len(entries) // _CHECKED)
    for offset, size, _ in [*entries[::step].tolist(), *entries[-1:].tolist()]:
        head = file.read(offset - 8, 8)
        if not _is_frame(head[:4], stream) or int.from_bytes(head[4:], "little") != size:
            return False
    return True


def _is_frame(name: bytes, stream: AviStream) -> bool:
    return name[:2] == b"%02d" % stream.number and name[2:3] == b"d"


def _walked(file: PositionedFile, stream: AviStream, layout: _Layout) -> tuple[list[Entry], str]:
    """Go from chunk to chunk, and say where that ends before the list of frames does."""
    found: list[Entry] = []
    idle = 0
    for movie in layout.movies:
        at = movie.start
        while at + 8 <= movie.end:
            head = file.read(at, 12)
            name, length = head[:4], int.from_bytes(head[4:8], "little")
            if not _is_name(name):
                if found and not name.strip(b"\0") and _ends_in_zeros(file, found[-1]):
                    found.pop()  # zeros that follow the last frame began inside it
                return found, f"is damaged at byte {at:,}: {name.hex(' ')} is not the name of a chunk"
            idle += length == 0 or not _is_frame(name, stream)
            if idle > _MAX_IDLE + 4 * len(found):
                return found, f"is damaged at byte {at:,}: it has {idle:,} chunks without pixels"
            if name == b"LIST":
                at += 12
                continue
            # A list that was never closed runs to the end of the file, over the index and further RIFFs
            if name in (b"idx1", b"RIFF"):
                break
            if at + 8 + length > movie.end:
                return (
                    found,
                    f"is truncated: it ends at byte {layout.size:,}, inside the chunk that begins at byte {at:,}",
                )
            if _is_frame(name, stream):
                found.append((at + 8, length, 0))  # chunks do not mark key frames
            at += 8 + length + length % 2
    if not layout.movies:
        return found, f"is truncated: it ends at byte {layout.size:,}, before its first frame"
    end = layout.movies[-1].end
    # The same where the list of frames ends with the last frame, and zeros are in place of the index
    if found and end < layout.size and _ends_in_zeros(file, found[-1]) and file.end_of_data(end, layout.size) == end:
        return found[:-1], f"ends in zeros from inside the frame at byte {found[-1][0]:,}"
    return found, ""


def _ends_in_zeros(file: PositionedFile, frame: Entry) -> bool:
    offset, size, _ = frame
    tail = min(size, _ZERO_TAIL)
    return tail > 0 and not file.read(offset + size - tail, tail).strip(b"\0")
