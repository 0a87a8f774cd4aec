"""A made-up format and extractors that keep every rule: planar, in volumes, with channels, timed, in a folder, raw.

A file is 64 bytes of header, then, when it is timed, the seconds of every sample, then the frames; of
several channels, one frame of each after the other.  All numbers are little-endian.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

import roiextractors_core as roi
from roiextractors_core.io import PositionedFile, read_bounded, warn

__all__ = [
    "BESIDE",
    "FILE",
    "FOLDER",
    "NUMBERED",
    "RAW",
    "Beside",
    "Delayed",
    "Folder",
    "Numbered",
    "Planted",
    "Raw",
    "SESSION",
    "Session",
    "movie",
    "number_chunks",
    "write_file",
    "write_folder",
    "write_raw",
    "write_session",
]

SIGNATURE = b"\x89PLANTED"
FIELDS = struct.Struct("<8s6Id")
HEADER_BYTES = 64
PIXEL = np.dtype("<u2")
RAW_SHAPE = (48, 64)

FILE = {
    "name": "planted",
    "title": "Planted",
    "extensions": (".planted",),
    "evidence": roi.Magic(SIGNATURE),
    "streams": ("channel",),
    "clock": "native",
    "metadata": ("pixel_size", "software", "vendor"),
    "description": "A made-up format for the tests of the tests.",
}
BESIDE = {
    **FILE,
    "name": "planted-beside",
    "streams": (),
    "evidence": roi.Magic(SIGNATURE) & roi.Sibling("{stem}.times"),
}
FOLDER = {
    "name": "planted-folder",
    "title": "Planted folder",
    "evidence": roi.Member("frames.bin") & roi.Member("header.bin"),
    "clock": "rate",
    "description": "The same in a folder.",
}
SESSION = {
    "name": "planted-session",
    "title": "Planted session",
    "evidence": roi.Member("header.ini") & roi.Member("times.csv"),
    "streams": ("channel",),
    "clock": "native",
    "metadata": ("pixel_size", "software", "channels"),
    "description": "A folder of chunks, with a text header and a table of times.",
}
NUMBERED = {**SESSION, "name": "planted-numbered", "evidence": roi.Member("numbers.ini") & roi.Member("times.csv")}
RAW = {
    "name": "planted-raw",
    "title": "Planted raw",
    "extensions": (".plantedraw",),
    "description": "Frames and nothing else.",
}


def movie(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, shape).astype(np.uint16)


def packed_header(shape: tuple[int, ...], *, channels: int = 1, timed: bool = False, rate: float = 0.0) -> bytes:
    samples, rows, columns = shape[:3]
    planes = shape[3] if len(shape) == 4 else 0
    return FIELDS.pack(SIGNATURE, rows, columns, planes, samples, channels, timed, rate).ljust(HEADER_BYTES, b"\0")


def write_file(path: Path, *movies: np.ndarray, times: Any = None, rate: float = 0.0) -> Path:
    header = packed_header(movies[0].shape, channels=len(movies), timed=times is not None, rate=rate)
    stamps = b"" if times is None else np.asarray(times, "<f8").tobytes()
    path.write_bytes(header + stamps + np.stack(movies, axis=1).astype(PIXEL).tobytes())
    return path


def write_folder(folder: Path, frames: np.ndarray, *, rate: float = 0.0) -> Path:
    folder.mkdir()
    (folder / "header.bin").write_bytes(packed_header(frames.shape, rate=rate))
    (folder / "frames.bin").write_bytes(frames.astype(PIXEL).tobytes())
    return folder


def write_session(folder: Path, times: Any, **movies: np.ndarray) -> Path:
    """Write a folder of chunks of six samples, the last one shorter, whose names are channels."""
    folder.mkdir()
    samples, rows, columns = next(iter(movies.values())).shape
    fields = {"rows": rows, "columns": columns, "samples": samples, "samples_per_file": 6, "channels": " ".join(movies)}
    fields |= {"rate": 15.5, "pixel_size": 0.5, "software": "planted 1"}
    (folder / "header.ini").write_text("[recording]\n" + "".join(f"{key} = {fields[key]}\n" for key in fields))
    (folder / "times.csv").write_text("frame,seconds\n" + "".join(f"{k},{t:.6f}\n" for k, t in enumerate(times)))
    whole = np.stack(list(movies.values()), axis=1).astype(PIXEL)
    for number, first in enumerate(range(0, samples, 6)):
        (folder / f"chunk_{number:03}.bin").write_bytes(whole[first : first + 6].tobytes())
    return folder


def number_chunks(folder: Path) -> Path:
    """Append its number to each chunk of a session."""
    for number, path in enumerate(sorted(folder.glob("chunk_*.bin"))):
        path.write_bytes(path.read_bytes() + number.to_bytes(4, "little"))
    (folder / "numbers.ini").write_text("[numbers]\nare = last\n")
    return folder


def write_raw(path: Path, frames: np.ndarray) -> Path:
    path.write_bytes(frames.astype(PIXEL).tobytes())
    return path


class Planted(roi.BlockImagingExtractor):
    """One channel of a planted file.

    It inherits the class whose ``get_series`` the core does not wrap: the faults in it are not corrected before the kit sees them.
    """

    get_block = roi.ImagingExtractor.get_block
    get_samples = roi.ImagingExtractor.get_samples

    def __init__(
        self, file_path: str | os.PathLike[str], *, channel: str | None = None, sampling_frequency: float | None = None
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._file = PositionedFile(file_path)
        self._read_header(self._file)
        self._check_size(self._file)
        self._channel = self._chosen(channel)
        self._frames_at = HEADER_BYTES + 8 * self._num_samples * self._timed

    def _read_header(self, file: PositionedFile) -> None:
        head = file.read(0, HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            raise roi.TruncatedRecordingError(f"{file.name} ends inside its header, at byte {len(head)} of 64")
        signature, rows, columns, planes, samples, channels, timed, rate = FIELDS.unpack_from(head)
        if signature != SIGNATURE or timed > 1 or rows * columns * channels == 0:
            raise roi.CorruptRecordingError(f"{file.name} is no planted recording, or its header cannot be")
        self._rows, self._columns, self._planes, self._num_samples = rows, columns, planes, samples
        self._num_channels, self._timed, self._rate = channels, bool(timed), rate
        self.is_volumetric = planes > 0

    def _check_size(self, file: PositionedFile) -> None:
        needed = HEADER_BYTES + self._num_samples * (8 * self._timed + self._num_channels * self._frame_bytes)
        if file.size < needed:
            raise roi.TruncatedRecordingError(f"{file.name} holds {file.size:,} bytes, and needs {needed:,}: it is cut")

    def _chosen(self, channel: str | None) -> int:
        names = [str(k + 1) for k in range(self._num_channels)]
        if (channel is None and len(names) > 1) or (channel is not None and channel not in names):
            raise roi.StreamChoiceError.for_option(self._file.name, "channel", names, seen=channel)
        return 0 if channel is None else names.index(channel)

    @property
    def _frame_bytes(self) -> int:
        return self._rows * self._columns * max(1, self._planes) * PIXEL.itemsize

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        with contextlib.closing(PositionedFile(file_path)) as file:
            head = file.read(0, HEADER_BYTES)
            if len(head) < HEADER_BYTES:
                raise roi.TruncatedRecordingError(f"{file.name} ends inside its header, at byte {len(head)} of 64")
            count = min(9, FIELDS.unpack_from(head)[5])
        return {"channel": tuple(str(k + 1) for k in range(count))} if count > 1 else {}

    def get_image_shape(self) -> tuple[int, int]:
        return self._rows, self._columns

    def get_num_samples(self) -> int:
        return self._num_samples

    def get_num_planes(self) -> int:
        return max(1, self._planes)

    def get_dtype(self) -> np.dtype[Any]:
        return PIXEL.newbyteorder("=")

    def get_sampling_frequency(self) -> float | None:
        return self._rate

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        result = np.empty((end - start, *self.get_sample_shape()), PIXEL)
        for place, sample in enumerate(range(start, end)):
            self._file.read_array_into(result[place], self._offset(sample))
        return result.astype(PIXEL.newbyteorder("="), copy=False)

    def _offset(self, sample: int) -> int:
        return self._frames_at + (sample * self._num_channels + self._channel) * self._frame_bytes

    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> Any:
        start, end = self.resolve_range(start_sample, end_sample)
        if not self._timed:
            return None
        return self._file.read_array(HEADER_BYTES + 8 * start, (end - start,), np.dtype("<f8")).astype(float)

    def get_metadata(self) -> roi.RecordingMetadata:
        return roi.RecordingMetadata(pixel_size=(0.5, 0.75), software="planted", vendor={"rows": self._rows})

    def close(self) -> None:
        self._file.close()
        super().close()


class Folder(Planted):
    """A folder of ``header.bin`` and ``frames.bin``."""

    def __init__(self, folder_path: str | os.PathLike[str], *, sampling_frequency: float | None = None) -> None:
        roi.ImagingExtractor.__init__(self, sampling_frequency=sampling_frequency)
        header = PositionedFile(Path(folder_path) / "header.bin")
        try:
            self._read_header(header)
        finally:
            header.close()
        self._file = PositionedFile(Path(folder_path) / "frames.bin")
        self._frames_at, self._channel = 0, 0
        if self._file.size < self._num_samples * self._frame_bytes:
            raise roi.TruncatedRecordingError(f"{self._file.name} is shorter than its header says: it is cut")

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        return {}

    def get_metadata(self) -> roi.RecordingMetadata:
        return roi.RecordingMetadata()


class Beside(Planted):
    """A planted file whose times lie beside it, in a file of the same stem."""

    def __init__(self, file_path: str | os.PathLike[str], *, sampling_frequency: float | None = None) -> None:
        super().__init__(file_path, sampling_frequency=sampling_frequency)
        self._native_times = self._read_times(
            Path(file_path).parent / f"{Path(file_path).name.partition('.')[0]}.times"
        )

    def _read_times(self, path: Path) -> np.ndarray:
        if not path.is_file():
            raise roi.SourceNotFoundError(f"{path.name} is not there; the times of {self._file.name} lie in it")
        with contextlib.closing(PositionedFile(path)) as file:
            if file.size != 8 * self._num_samples:
                raise roi.TruncatedRecordingError(f"{path.name} holds {file.size} bytes for {self._num_samples} times")
            return file.read_array(0, (self._num_samples,), np.dtype("<f8")).astype(float)

    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> Any:
        start, end = self.resolve_range(start_sample, end_sample)
        return self._native_times[start:end].copy()


class Raw(Planted):
    """Frames of a known shape and nothing else: what is left of a cut file cannot be told from a shorter one."""

    def __init__(self, file_path: str | os.PathLike[str], *, sampling_frequency: float | None = None) -> None:
        roi.ImagingExtractor.__init__(self, sampling_frequency=sampling_frequency)
        self._file = PositionedFile(file_path)
        (self._rows, self._columns), self._planes, self._timed = RAW_SHAPE, 0, False
        self._num_channels, self._channel, self._frames_at, self._rate = 1, 0, 0, 0.0
        self._num_samples, left_over = divmod(self._file.size, self._frame_bytes)
        self._notes = (f"{self._file.name} ends with {left_over} bytes of an unfinished frame",) if left_over else ()
        if left_over:
            warn(self._notes[0])

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        return {}

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def get_metadata(self) -> roi.RecordingMetadata:
        return roi.RecordingMetadata()


class Session(Planted):
    """A folder of ``header.ini``, ``times.csv`` and ``chunk_000.bin``, ``chunk_001.bin``, ..., of several channels."""

    def __init__(
        self,
        folder_path: str | os.PathLike[str],
        *,
        channel: str | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        roi.ImagingExtractor.__init__(self, sampling_frequency=sampling_frequency)
        self._folder = Path(folder_path)
        self._names = self.read_names(self._folder)
        header = self.read_header(self._folder)
        self._rows, self._columns = self._count(header, "rows"), self._count(header, "columns")
        self._num_samples, self._in_a_file = self._count(header, "samples"), self._count(header, "samples_per_file")
        self._rate, self._size = self._number(header, "rate"), self._number(header, "pixel_size")
        self._software = self._text(header, "software")
        self._planes, self._num_channels, self._notes = 0, len(self._names), ()
        if (channel is None and len(self._names) > 1) or (channel is not None and channel not in self._names):
            raise roi.StreamChoiceError.for_option(self._folder.name, "channel", self._names, seen=channel)
        self._channel = 0 if channel is None else self._names.index(channel)
        self._seconds = self._read_seconds(self._folder / "times.csv")
        self._files = self._open_chunks()

    @classmethod
    def read_header(cls, folder: Path) -> dict[str, str]:
        path = folder / "header.ini"
        if not path.is_file():
            raise roi.SourceNotFoundError(f"{path.name} is missing")
        lines = read_bounded(path, 1 << 16).decode("utf-8", "replace").splitlines(keepends=True)
        if not lines or lines[0] != "[recording]\n" or not lines[-1].endswith("\n"):
            raise roi.TruncatedRecordingError(f"{path.name} is not a header, or ends inside a line")
        pairs = (line.partition("=") for line in lines[1:])
        return {key.strip(): value.strip() for key, _, value in pairs}

    @classmethod
    def read_names(cls, folder: Path) -> tuple[str, ...]:
        return tuple(cls._text(cls.read_header(folder), "channels").split())

    @classmethod
    def _text(cls, header: dict[str, str], key: str) -> str:
        if not header.get(key):
            raise roi.CorruptRecordingError(f"header.ini lacks {key}")
        return header[key]

    @classmethod
    def _number(cls, header: dict[str, str], key: str) -> float:
        try:
            return float(cls._text(header, key))
        except ValueError:
            raise roi.CorruptRecordingError(f"{key} in header.ini is not a number") from None

    @classmethod
    def _count(cls, header: dict[str, str], key: str) -> int:
        if not 0 < cls._number(header, key) < 1 << 20:
            raise roi.CorruptRecordingError(f"{key} in header.ini cannot be")
        return int(cls._number(header, key))

    def _read_seconds(self, path: Path) -> np.ndarray | None:
        if not path.is_file():
            raise roi.SourceNotFoundError(f"{path.name} is missing")
        lines = read_bounded(path, 1 << 16).decode("utf-8", "replace").splitlines(keepends=True)
        if len(lines) != 1 + self._num_samples or not lines[-1].endswith("\n"):
            raise roi.TruncatedRecordingError(f"{path.name} has {len(lines)} lines for {self._num_samples} samples")
        return np.array([float(line.partition(",")[2]) for line in lines[1:]])

    def _open_chunks(self) -> list[PositionedFile]:
        files = []
        for number, first in enumerate(range(0, self._num_samples, self._in_a_file)):
            path = self._folder / f"chunk_{number:03}.bin"
            needed = min(self._in_a_file, self._num_samples - first) * self._frame_bytes * self._num_channels
            if not self._is_whole(path, needed):
                for file in files:
                    file.close()
                raise roi.TruncatedRecordingError(f"{path.name} is missing, or not of {needed:,} bytes")
            files.append(PositionedFile(path))
        return files

    def _is_whole(self, path: Path, needed: int) -> bool:
        return path.is_file() and path.stat().st_size == needed

    @classmethod
    def get_streams(cls, file_path: Any, **options: Any) -> dict[str, tuple[str, ...]]:
        names = cls.read_names(Path(file_path))
        return {"channel": names} if len(names) > 1 else {}

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        start, end = self.resolve_range(start_sample, end_sample)
        result = np.empty((end - start, *self.get_sample_shape()), PIXEL)
        for place, sample in enumerate(range(start, end)):
            number, within = divmod(sample, self._in_a_file)
            offset = (within * self._num_channels + self._channel) * self._frame_bytes
            self._read_frame(self._files[number], result[place], offset)
        return result.astype(PIXEL.newbyteorder("="), copy=False)

    def _read_frame(self, file: PositionedFile, frame: np.ndarray, offset: int) -> None:
        file.read_array_into(frame, offset)

    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> Any:
        start, end = self.resolve_range(start_sample, end_sample)
        return None if self._seconds is None else self._seconds[start:end].copy()

    def get_notes(self) -> tuple[str, ...]:
        return self._notes

    def get_metadata(self) -> roi.RecordingMetadata:
        channel = roi.ChannelMetadata(self._names[self._channel])
        return roi.RecordingMetadata(pixel_size=(self._size, self._size), software=self._software, channels=(channel,))

    def close(self) -> None:
        for file in getattr(self, "_files", ()):
            file.close()
        roi.ImagingExtractor.close(self)


class Numbered(Session):
    """A session whose chunks end with their number, in four bytes."""

    def _is_whole(self, path: Path, needed: int) -> bool:
        number = int(path.stem.rpartition("_")[2])
        return super()._is_whole(path, needed + 4) and self._number_in(path) == number

    @staticmethod
    def _number_in(path: Path) -> int:
        return int.from_bytes(path.read_bytes()[-4:], "little")


class Delayed(Session):
    """A session whose channels are recorded one after the other, each 0.01 s later and 1 Hz faster than the one before."""

    def get_native_timestamps(self, start_sample: int | None = None, end_sample: int | None = None) -> Any:
        return super().get_native_timestamps(start_sample, end_sample) + 0.01 * self._channel

    def get_sampling_frequency(self) -> float | None:
        return self._rate + self._channel
