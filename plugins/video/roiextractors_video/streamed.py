"""Streams that FFmpeg demuxes: an index of their packets, and decoding from the preceding key frame."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, counted, listed, printable
from roiextractors_core.io import PositionedFile

from .avi import AviIndex
from .base import NOTE, Facts, VideoFrames, check_size
from .boxes import rotation_of, second_file_at
from .coded import CodedFrames, Decoder, PacketDecoder, Packets, check_picture, undecodable
from .pixels import PixelFormat
from .stored import avi_words, tick_clock

# Functions import PyAV, which takes long: AVI files that need no demuxer are opened without it
__all__ = ["demuxed_frames"]

# Their packets may have no picture: hidden reference frames, and repeated ones
_COUNTED_BY_DECODING = ("vp8", "theora")
# AVI stores no times, and FFmpeg's guess for a stream with B frames exchanges those of neighbours
_REORDERED = ("h264", "hevc")
_NO_STAMP = -(1 << 63)  # AV_NOPTS_VALUE
_MAX_EBML = 4096  # the EBML header and the head of the segment are the first bytes
_MAX_BLOCK_HEAD, _COMPARED = 64, 64
_MAX_UNCOMPARED = 1 << 25  # pixels of a frame (8K); the file must have a byte for some of those of a larger one
_MAX_PACKED = 1024  # pixels for each byte of the file; black frames have a tenth of them
_MAX_ZEROS = 512 << 20  # FFmpeg looks for the next block byte by byte, and takes seconds for this many
_ZERO_TAIL = 16  # bytes of zeros at the end of a coded frame that was not completely written
_FOUND_IN_FILE = ("ffv1", "mjpeg")  # each packet decodes alone or from a key frame, without reordering
# Playlists and devices: a file could make FFmpeg read others, or the network
_NOT_VIDEOS = frozenset({"applehttp", "concat", "dash", "hls", "image2", "imf", "lavfi", "rtsp", "sdp", "tty"})


@dataclass(frozen=True, slots=True)
class _PacketTable:
    """The packets of a stream in the order of the file."""

    stamps: np.ndarray
    seeks: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    is_key: np.ndarray
    problem: str = ""
    is_counted: bool = False

    def kept(self, chosen: np.ndarray, problem: str = "") -> _PacketTable:
        return _PacketTable(
            self.stamps[chosen],
            self.seeks[chosen],
            self.offsets[chosen],
            self.sizes[chosen],
            self.is_key[chosen],
            "; ".join(words for words in (self.problem, problem) if words),
            self.is_counted,
        )


def demuxed_frames(file: PositionedFile, index: AviIndex | None) -> VideoFrames:
    """Index the stream by its packets, which FFmpeg finds without decoding them."""
    if index is None:
        _require_few_zeros_at_the_end(file)
    with _container(file) as container:
        stream = _video_stream(file, container)
        head = _head(file, stream)
        is_reordered = index is not None and head.codec in _REORDERED and stream.codec_context.has_b_frames
        read = _counted(file) if is_reordered else _table(file, container, stream)
        table = _without_short_frames(_without_a_head(read), head, file.name)
        comment = str(container.metadata.get("comment", ""))
    facts = _facts(file, index, head, table)
    if comment.startswith(NOTE):
        facts = replace(facts, notes=(*facts.notes, f"{file.name} was made {printable(comment)[:300]}"))
    if head.codec in _FOUND_IN_FILE and _are_stored(table):
        sums = head.codec == "ffv1" and bool(head.extra)
        packets = Packets(file, table.offsets, table.sizes, may_have_sums=sums)
        keys = np.flatnonzero(packets.ffv1_keys()) if head.codec == "ffv1" else np.arange(len(table.stamps))
        if len(keys) and keys[0] == 0:
            return CodedFrames(facts, keys, lambda: PacketDecoder(facts, packets, head.extra), file.close)
    return _streamed(file, facts, table)


def _require_few_zeros_at_the_end(file: PositionedFile) -> None:
    size = file.size
    step = _MAX_ZEROS // 128
    if size > _MAX_ZEROS and not any(any(file.read(size - 4096 - k * step, 4096)) for k in range(128)):
        raise CorruptRecordingError(
            f"{file.name} has {size:,} bytes, of which at least the last {_MAX_ZEROS:,} are zeros; "
            "it was not finished or is damaged: truncate a copy of it after its last frame"
        )


@dataclass(frozen=True, slots=True)
class _Head:
    """Facts from the container, copied because its objects must not be used once it is closed."""

    codec: str
    extra: bytes
    pixels: PixelFormat
    rows: int
    columns: int
    frame_bytes: int
    claimed: int
    base: tuple[int, int]
    nominal: float | None


def _head(file: PositionedFile, stream: Any) -> _Head:
    context = stream.codec_context
    check_size(file.name, context.height, context.width)
    pixels = context.height * context.width
    if pixels > _MAX_UNCOMPARED and pixels > _MAX_PACKED * file.size:
        raise CorruptRecordingError(
            f"{file.name} claims frames of {context.height:,} x {context.width:,} pixels in a file of {file.size:,} bytes; it is damaged"
        )
    if context.format is None:
        raise CorruptRecordingError(f"{file.name}: its {context.name} frames have no known pixel format")
    return _Head(
        codec=context.name,
        extra=bytes(context.extradata or b""),
        pixels=PixelFormat.of(context.format),
        rows=context.height,
        columns=context.width,
        frame_bytes=context.height * context.width * context.format.bits_per_pixel // 8,
        claimed=stream.frames or 0,
        base=(stream.time_base.numerator, stream.time_base.denominator),
        nominal=next((float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate), None),
    )


def _missing(file: PositionedFile, claimed: int, found: int) -> str:
    """Return a description of the frames or bytes that the container states and the file lacks."""
    if claimed > found:
        return f"has {counted(found, 'frame')}, but its header says {claimed:,}"
    end = _end_of_matroska(file.read(0, _MAX_EBML))
    if end > file.size:
        return f"is truncated: it ends at byte {file.size:,}, but its header says {end:,}"
    return ""


def _end_of_matroska(head: bytes) -> int:
    """Return where the one segment of a Matroska file ends; 0 if it does not say, or is not Matroska.

    References
    ----------
    RFC 8794 (EBML), section 4: the leading zeros of a length's first byte give its number of bytes; all ones is unknown.
    """
    at = 0
    for name in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if head[at : at + 4] != name or at + 12 > len(head) or not head[at + 4]:
            return 0
        width = 9 - head[at + 4].bit_length()
        most = (1 << 7 * width) - 1
        length = int.from_bytes(head[at + 4 : at + 4 + width], "big") & most
        if length == most:
            return 0
        at += 4 + width + length
    return at


@functools.cache
def _containers() -> str:
    """Return the formats that FFmpeg may take a file for: none that name other files to read, and no single pictures."""
    import av

    found = (name for name in av.formats_available if not name.endswith("pipe") or name == "yuv4mpegpipe")
    return ",".join(sorted(set(found) - _NOT_VIDEOS))


def _container(file: PositionedFile) -> Any:
    import av

    # Titles in another encoding than UTF-8 are no reason to refuse the pixels
    lenient: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    try:
        return av.open(str(file.path), "r", options={"format_whitelist": _containers()}, **lenient)
    except (av.FFmpegError, EOFError) as error:
        raise CorruptRecordingError(
            f"{file.name} begins as a video but cannot be opened: {printable(error)}; it may be truncated"
        ) from error


def _video_stream(file: PositionedFile, container: Any) -> Any:
    import av

    cover = av.stream.Disposition.attached_pic  # the cover picture of MP4 is a video stream of one frame
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        raise UnsupportedRecordingError(f"{file.name} contains no video stream")
    if len(streams) > 1:
        kinds = listed(f"{s.codec_context.name} {s.width} x {s.height}" for s in streams)
        raise UnsupportedRecordingError(
            f"{file.name} contains {len(streams)} video streams ({kinds}), but only files with one are supported; "
            f"extract one first: ffmpeg -i {file.name} -map 0:v:0 -c copy one.mkv"
        )
    if streams[0].codec_context is None:
        raise UnsupportedRecordingError(f"{file.name} uses a codec that FFmpeg does not know")
    return streams[0]


def _table(file: PositionedFile, container: Any, stream: Any) -> _PacketTable:
    found, problem = _packets(file, container, stream)
    if not found:
        raise CorruptRecordingError(f"{file.name} contains no frame{': ' + problem if problem else ''}")
    stamps, seeks, offsets, sizes, is_key = (np.array(column, np.int64) for column in zip(*found, strict=True))
    table = _PacketTable(stamps, seeks, offsets, sizes, is_key.astype(bool), problem)
    # Without a time of its own for each packet, pictures cannot be matched with packets after decoding
    is_plain = (table.stamps != _NO_STAMP).all() and len(np.unique(table.stamps)) == len(table.stamps)
    if is_plain and stream.codec_context.name not in _COUNTED_BY_DECODING:
        return table
    return _counted(file)


def _packets(file: PositionedFile, container: Any, stream: Any) -> tuple[list[tuple[int, ...]], str]:
    import av

    found: list[tuple[int, ...]] = []
    is_sought = stream.codec_context.name in _FOUND_IN_FILE
    is_coded, num_empty = stream.codec_context.name != "rawvideo", 0
    # FFmpeg reads on into a second Matroska file behind the first, whose frames have the same times
    end = _end_of_matroska(file.read(0, _MAX_EBML))
    is_second = 0 < end < file.size and file.read(end, 4) == b"\x1a\x45\xdf\xa3"
    try:
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            if is_second and (packet.pos or 0) >= end:
                return found, f"contains another file from byte {end:,} on, which is not read"
            if packet.is_corrupt:  # FFmpeg marks a packet that the end of the file has cut
                return found, f"is truncated or damaged: the packet after frame {len(found):,} is incomplete"
            stamp = _NO_STAMP if packet.pts is None else packet.pts
            # FFmpeg seeks by decoding times, which come before the times of display where there are B frames
            seek = stamp if packet.dts is None else packet.dts
            offset = _offset_of(file, packet) if is_sought else -1  # two small reads a packet, for codecs that use it
            found.append((stamp, seek, offset, packet.size, int(packet.is_keyframe)))
            num_empty = num_empty + 1 if is_coded and not any(memoryview(packet)[-_ZERO_TAIL:]) else 0
    except (av.FFmpegError, EOFError) as error:
        return found, f"cannot be demuxed after frame {len(found):,} ({printable(error)})"
    # Coded frames do not end in zeros, and a Matroska file ends in its index or in a frame
    is_matroska = file.read(0, 4) == b"\x1a\x45\xdf\xa3"
    if is_coded and (num_empty or is_matroska) and not any(file.read(file.size - _ZERO_TAIL, _ZERO_TAIL)):
        whole = len(found) - num_empty
        return found[:whole], f"ends in zeros from byte {file.end_of_data(0, file.size):,} on, after frame {whole:,}"
    return found, ""


def _counted(file: PositionedFile) -> _PacketTable:
    """Count by decoding the whole stream once, where the packets do not say which picture each contains."""
    stamps: list[int] = []
    keys: list[bool] = []
    problem = ""
    with _container(file) as container:
        try:
            for picture in _pictures(container, _video_stream(file, container)):
                stamps.append(_NO_STAMP if picture.pts is None else picture.pts)
                keys.append(bool(picture.key_frame))
        except CorruptRecordingError as error:
            problem = f"cannot be decoded after frame {len(stamps):,} ({error})"
    if not stamps:
        raise CorruptRecordingError(f"{file.name} contains no frame that can be decoded")
    table = np.array(stamps, np.int64)
    # Pictures come in the order in which they are shown: times that repeat or fall name no frame, so all or none are used
    if _NO_STAMP in stamps or (np.diff(table) <= 0).any():
        table = np.full(len(stamps), _NO_STAMP)
    nothing = np.full(len(stamps), -1)
    return _PacketTable(table, table, nothing, nothing, np.array(keys), problem, is_counted=True)


def _pictures(container: Any, stream: Any) -> Iterator[Any]:
    import av

    try:
        for packet in container.demux(stream):
            yield from packet.decode()
    except (av.FFmpegError, EOFError) as error:
        raise CorruptRecordingError(printable(error)) from error


def _without_a_head(table: _PacketTable) -> _PacketTable:
    """Leave out the frames before the first key frame, which cannot be decoded."""
    if table.is_counted or table.is_key[0] or not table.is_key.any():
        return table
    first = int(np.argmax(table.is_key))
    words = f"begins with {first:,} frames before its first key frame, which cannot be decoded and are skipped"
    return table.kept(np.arange(len(table.stamps)) >= first, words)


def _without_short_frames(table: _PacketTable, head: _Head, name: str) -> _PacketTable:
    """Leave out uncompressed frames that are shorter than a picture: FFmpeg fills these up with what is in memory."""
    if head.codec != "rawvideo" or table.is_counted:
        return table
    is_whole = table.sizes >= head.frame_bytes
    if is_whole.all():
        return table
    if not is_whole.any():
        raise CorruptRecordingError(
            f"{name} says that its frames have {counted(head.rows, 'row')} of {head.columns:,} columns, which takes "
            f"{head.frame_bytes:,} bytes, but the largest has {int(table.sizes.max()):,}"
        )
    words = f"contains {int((~is_whole).sum()):,} frames that are shorter than a picture and are skipped"
    return table.kept(is_whole, words)


def _facts(file: PositionedFile, index: AviIndex | None, head: _Head, table: _PacketTable) -> Facts:
    stamps = np.sort(table.stamps)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    rate, times = head.nominal, None
    if index is not None:
        problems, notes = avi_words(file.name, index, len(stamps))
        notes += _other_size(file.name, (index.stream.rows, index.stream.columns), (head.rows, head.columns))
        if stamps[0] >= 0:
            # The first picture of a stream with B frames is displayed one or two places after it is decoded
            delay = int(stamps[0] - table.seeks.min())
            rate, times = tick_clock(stamps - delay, head.base[1], head.base[0])
    elif stamps[0] != _NO_STAMP:
        times = stamps * head.base[0] / head.base[1]
        rate = _rate(times, head.nominal)
    missing = "" if index is not None else _missing(file, head.claimed, len(stamps))
    second = None if index is not None else second_file_at(file)
    another = "" if second is None else f"contains another file from byte {second:,} on, which is not read"
    causes = [words for words in (table.problem, missing, another) if words and not problems]
    if causes:
        problems += (f"{file.name} {'; it '.join(causes)}; reading {counted(len(stamps), 'frame')}",)
    turn = 0 if index is not None else rotation_of(file)
    if turn:
        notes += (f"{file.name} is rotated by {turn} degrees on playback; reading the pixels as they are stored",)
    if table.is_counted:
        notes += (
            f"{file.name} was decoded once to count its frames: its packets do not say which picture they contain",
        )
    return Facts(file.name, head.codec, head.pixels, len(stamps), head.rows, head.columns, rate, times, notes, problems)


def _other_size(name: str, stated: tuple[int, int], seen: tuple[int, int]) -> tuple[str, ...]:
    if stated == seen:
        return ()
    return (
        f"{name} says {stated[0]:,} rows of {stated[1]:,} columns, but its frames have {seen[0]:,} rows of {seen[1]:,}; using those of the frames",
    )


def _rate(times: np.ndarray, nominal: float | None) -> float | None:
    """Return the container's rate where the times bear it out (Matroska rounds them to milliseconds), else theirs."""
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    if step <= 0 or (nominal is not None and abs(nominal * step - 1) <= 0.1):
        return nominal
    return 1.0 / step


def _are_stored(table: _PacketTable) -> bool:
    """Return whether every packet was found in the file as it is, in the order of the times."""
    return not table.is_counted and bool((table.offsets >= 0).all()) and bool((np.diff(table.stamps) > 0).all())


def _offset_of(file: PositionedFile, packet: Any) -> int:
    """Return the offset of a packet's bytes in the file; -1 if its container wrapped or changed them.

    FFmpeg gives the offset of the packet's block, which begins with a head of its own in Matroska.
    """
    data = memoryview(packet)
    if packet.pos is None or packet.pos < 0:
        return -1
    begun = file.read(packet.pos, _MAX_BLOCK_HEAD + _COMPARED).find(bytes(data[:_COMPARED]))
    at = packet.pos + begun
    tail = min(_COMPARED, len(data))
    return at if begun >= 0 and file.read(at + len(data) - tail, tail) == bytes(data[-tail:]) else -1


def _streamed(file: PositionedFile, facts: Facts, table: _PacketTable) -> VideoFrames:
    order = np.argsort(table.stamps, kind="stable")
    stamps, is_key = table.stamps[order], table.is_key[order]
    if stamps[0] == _NO_STAMP:
        is_key = np.zeros(len(stamps), bool)
    is_key = is_key.copy()
    # The start of the file can always be decoded from, whatever the container says of its first packet
    is_key[0] = True
    whole = _Stream(file, facts, stamps, table.seeks[order], table.sizes[order], np.flatnonzero(is_key))
    # Only of a damaged file: decoding the last group of pictures costs time at each opening
    if facts.problems and not table.is_counted:
        whole = whole.without_an_undecodable_tail()
    return CodedFrames(whole.facts, whole.keys, lambda: _StreamDecoder(whole), file.close)


@dataclass(frozen=True, slots=True)
class _Stream:
    """A stream's frames in the order of their times."""

    file: PositionedFile
    facts: Facts
    stamps: np.ndarray
    seeks: np.ndarray
    sizes: np.ndarray
    keys: np.ndarray

    @property
    def is_stamped(self) -> bool:
        return int(self.stamps[0]) != _NO_STAMP

    def place_of(self, stamp: int | None) -> int:
        """Return the index of the frame with this time, or -1."""
        if stamp is None:
            return -1
        place = int(np.searchsorted(self.stamps, stamp))
        return place if place < len(self.stamps) and self.stamps[place] == stamp else -1

    def is_at_key(self, packet: Any, key: int) -> bool:
        """Return whether a packet is the given key frame or one before it.

        Containers without an index of their own land anywhere, and give the packets there other times.
        """
        place = self.place_of(packet.pts)
        return 0 <= place <= key and packet.size == self.sizes[place] and bool((self.keys == place).any())

    def without_an_undecodable_tail(self) -> _Stream:
        """Decode from the last key frame on, and leave out the frames that fail: the file is truncated there."""
        decoder, last = _StreamDecoder(self), int(self.keys[-1])
        count = last
        try:
            while count < len(self.stamps):
                decoder.picture(count, last)
                count += 1
        except CorruptRecordingError:
            pass
        finally:
            decoder.close()
        if count == len(self.stamps):
            return self
        return self._shortened(count)

    def _shortened(self, count: int) -> _Stream:
        if not count:
            raise CorruptRecordingError(f"{self.facts.name} contains no frame that can be decoded")
        words = f"{self.facts.name}: the last {len(self.stamps) - count:,} frames cannot be decoded; reading {count:,}"
        times = None if self.facts.times is None else self.facts.times[:count]
        facts = replace(self.facts, num_frames=count, times=times, problems=(*self.facts.problems, words))
        return replace(
            self,
            facts=facts,
            stamps=self.stamps[:count],
            seeks=self.seeks[:count],
            sizes=self.sizes[:count],
            keys=self.keys[self.keys < count],
        )


class _StreamDecoder(Decoder):
    """A container of its own, which seeks to key frames and decodes forward."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._container: Any = None
        self._pictures: Iterator[Any] = iter(())

    def picture(self, index: int, key: int) -> Any:
        if not key <= self.following <= index:
            self._seek(key)
        facts, wanted = self._stream.facts, int(self._stream.stamps[index])
        try:
            for picture in self._pictures:
                place = self._place(picture)
                # Pictures come in the order of their times, so the requested one was lost
                if place > index:
                    break
                self.following = place + 1 if place >= 0 else self.following
                if place == index:
                    check_picture(facts, index, picture)
                    return picture
        except CorruptRecordingError as error:
            self.close()
            raise undecodable(facts, index, str(error)) from error
        self.close()
        raise undecodable(
            facts, index, f"no picture has its time, {wanted}" if self._stream.is_stamped else "no more pictures"
        )

    def close(self) -> None:
        self.following = -1
        self._pictures = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def _place(self, picture: Any) -> int:
        """Return which frame a picture is; -1 if it is not part of the recording."""
        if not self._stream.is_stamped:
            return max(self.following, 0)
        # A picture decoded without its reference frames has the right time and wrong pixels
        return -1 if picture.is_corrupt else self._stream.place_of(picture.pts)

    def _seek(self, key: int) -> None:
        """Move to a key frame, or to an earlier one, from which it can be reached by decoding.

        A container may land anywhere: without an index of its own it guesses the byte from the bit rate.  So a place is
        only used if the packet there is known from the index that was made when the file was opened.  Decoding from a
        wrong place would give pictures with the right times and wrong content.
        """
        import av

        for candidate in self._seek_candidates(key):
            try:
                packets = self._packets_from(candidate)
                first = next(packets, None)
            except (av.FFmpegError, EOFError):  # the container's index is damaged
                continue
            # the start of the file needs no proof: it is reached by opening the file again, not by seeking
            if first is not None and (candidate == 0 or self._stream.is_at_key(first, key)):
                self._pictures = self._decoded(first, packets)
                self.following = candidate if candidate == 0 else -1
                return
        self._pictures = iter(())

    def _seek_candidates(self, key: int) -> Sequence[int]:
        """Return the key frames to try, nearest first: this one, the one before it, the start of the file.

        The one before helps if the container lands behind the place asked for, which is one key frame too far.
        """
        if not self._stream.is_stamped:  # without times there is nothing to seek by
            return (0,)
        before = self._stream.keys[self._stream.keys < key]
        return tuple(dict.fromkeys((key, *before[::-1][:1].tolist(), 0)))

    def _packets_from(self, key: int) -> Iterator[Any]:
        if self._container is None or key == 0:
            self.close()
            self._container = _container(self._stream.file)
            _video_stream(self._stream.file, self._container).codec_context.thread_count = 1
        stream = _video_stream(self._stream.file, self._container)
        if key and stream.codec_context.name == "rawvideo":
            self._take_palette(stream)
        if key:
            self._container.seek(int(self._stream.seeks[key]), stream=stream)
        return iter(self._container.demux(stream))

    def _take_palette(self, stream: Any) -> None:
        """Decode the first frame: the colour table of uncompressed video comes with it, and stays."""
        first = next(self._container.demux(stream), None)
        if first is not None:
            for _ in self._decoded(first, iter(())):
                pass

    def _decoded(self, first: Any, packets: Iterator[Any]) -> Iterator[Any]:
        import av

        try:
            yield from first.decode()
            for packet in packets:
                yield from packet.decode()
        except (av.FFmpegError, EOFError) as error:
            raise CorruptRecordingError(printable(error)) from error
