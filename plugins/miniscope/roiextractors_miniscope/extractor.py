"""Reads the videos of one Miniscope as one recording."""

from __future__ import annotations

import bisect
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from roiextractors_video.frames import VideoFrames, open_frames
from roiextractors_video.times import FrameTimes, parse_times, rate_of

from roiextractors_core import BlockImagingExtractor, RecordingMetadata
from roiextractors_core.errors import (
    CorruptRecordingError,
    EmptySourceError,
    RecordingError,
    UnsupportedRecordingError,
    counted,
    listed,
    printable,
)
from roiextractors_core.io import PositionedFile, Source, folder_names, plausible_start, warn

from .layout import Device, find_device, json_of, sessions_of

__all__ = ["MiniscopeImagingExtractor"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_MAX_FRAMES_A_FILE = 10_000_000
_MAX_PLACES = 1 << 28  # two months at 50 Hz; a number beyond is not that of a video of a recording
_MAX_NOTES = 1 << 16
_MAX_SHOWN = 6


class MiniscopeImagingExtractor(BlockImagingExtractor):
    """The recording of one UCLA Miniscope, V3 or V4: all of its videos in natural order.

    Parameters
    ----------
    file_path : str, os.PathLike, or a list of videos
        The folder of a device, of a session, or of several sessions; or any file of the recording: a video,
        ``metaData.json``, ``timeStamps.csv``, ``timestamp.dat``, ``settings_and_notes.dat``.
    sampling_frequency : float, optional
        Frames a second (Hz); overrides the rates from the times and from ``metaData.json``.
    session : str, optional
        Which session of a folder of several, by its folder's name.
    device : str, optional
        Which miniscope of a session with several, by its folder's name.

    Raises
    ------
    StreamChoiceError
        There are several sessions or devices and none was named, or the named one does not exist.
    UnsupportedRecordingError
        The files are of a behaviour camera.
    CorruptRecordingError
        A video cannot be read, or differs from the others in size or type.

    References
    ----------
    Aharoni lab, Miniscope-DAQ-QT-Software (V4) and Miniscope V3 wiki: names and content of the files.
    """

    def __init__(
        self,
        file_path: Paths,
        *,
        sampling_frequency: float | None = None,
        session: str | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._device = _device_of(file_path, session, device)
        self._videos, gaps, full = _open_videos(self._device, is_list=not isinstance(file_path, str | os.PathLike))
        try:
            self._starts = _starts(self._videos)
            places = _places(self._device, self._videos, full)
            self._noted, self._native_times, self._missing, said = _times_of(self._device, places)
            if self._native_times is None:
                self._native_times = _times_by_rate(places, self.get_sampling_frequency())
        except BaseException:
            self.close()
            raise
        first = self._videos[0].frames
        problems = [problem for video in self._videos for problem in video.frames.problems]
        self._problems = (*gaps, *problems, *said.problems)
        self._notes = (*_left_out(self._device), *said.notes)
        self._shape, self._dtype = (first.rows, first.columns), first.dtype
        for problem in self._problems:
            warn(problem)

    def get_image_shape(self) -> tuple[int, int]:
        return self._shape

    def get_num_samples(self) -> int:
        return self._starts[-1]

    def get_dtype(self) -> np.dtype[Any]:
        return self._dtype

    def get_sampling_frequency(self) -> float | None:
        """Return the rate (Hz) from the recorded times, else from ``metaData.json``; the rate in the videos is meaningless."""
        # All recorded times, even if they do not match the frames: their interval is right all the same
        rate = None if self._noted is None else rate_of(self._noted)
        return _stated_rate(self._device.facts) if rate is None else rate

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the times of the computer that recorded, in seconds since the recording began; None where they do not fit."""
        start, end = self.resolve_range(start_sample, end_sample)
        return None if self._native_times is None else np.array(self._native_times[start:end])

    def get_missing_samples(self) -> np.ndarray:
        """Return which frames of the acquisition are not in the videos: by the numbers of frames and videos, and the times."""
        return self._missing.copy()

    def get_paths(self) -> tuple[str, ...]:
        """Return the videos, and the files of times and settings next to them."""
        return tuple(dict.fromkeys([*super().get_paths(), *self._device.videos, *_companions(self._device)]))

    def get_block(
        self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice | None = None
    ) -> np.ndarray:
        self.check_open()
        indices = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        result = np.empty((len(indices), rows.stop - rows.start, columns.stop - columns.start), self._dtype)
        for number, places in _by_video(indices, self._starts):
            frames, first = self._videos[number].frames, self._starts[number]
            # A slice of the result is a view, so the frames are decoded straight into it
            if isinstance(places, slice):
                frames.read_into(result[places], indices[places] - first, rows=rows, columns=columns)
            else:
                result[places] = frames.read(indices[places] - first, rows=rows, columns=columns)
        return result

    def get_metadata(self) -> RecordingMetadata:
        session = _session_facts(self._device)
        vendor: dict[str, Any] = {}
        if self._device.facts:
            vendor["device"] = dict(self._device.facts)
        if session:
            vendor["session"] = dict(session)
        vendor.update(_settings(self._device))
        # V3 does not write a deviceType
        kind = self._device.kind or ("Miniscope_V3" if self._device.generation == 3 else "")
        return RecordingMetadata(
            start_time=plausible_start(
                _start_time(session.get("recordingStartTime") or self._device.facts.get("recordingStartTime"))
            ),
            device=printable(kind) if kind else None,
            modality="one-photon",
            vendor=vendor,
        )

    def get_notes(self) -> tuple[str, ...]:
        return (*self._problems, *self._notes, *(note for video in self._videos for note in video.frames.notes))

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the sessions, or the miniscopes of the one session, where there are several."""
        if not isinstance(file_path, str | os.PathLike):
            return {}
        found = sessions_of(os.fspath(file_path))
        wanted = options.get("session")
        if len(found) > 1 and wanted is None:
            return {"session": tuple(one.name for one in found)}
        chosen = [one for one in found if wanted in (None, one.name)]
        scopes = chosen[0].scopes if chosen else ()
        return {"device": tuple(scope.name for scope in scopes)} if len(scopes) > 1 else {}

    def close(self) -> None:
        for video in self._videos:
            video.frames.close()
        super().close()


@dataclass(frozen=True, slots=True)
class _Video:
    number: int
    path: str
    frames: VideoFrames


@dataclass(frozen=True, slots=True)
class _Said:
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _device_of(file_path: Paths, session: str | None, device: str | None) -> Device:
    if isinstance(file_path, str | os.PathLike):
        return find_device(os.path.abspath(os.fspath(file_path)), session=session, device=device)
    paths = [os.path.abspath(os.fspath(path)) for path in file_path]
    if not paths:
        raise EmptySourceError("got an empty list; pass the videos of one Miniscope, in order")
    found = find_device(paths[0], session=session, device=device)
    known = dict(zip(found.videos, found.numbers, strict=True))
    if any(os.path.dirname(path) != found.folder for path in paths):
        raise UnsupportedRecordingError("the videos of one recording must be in one folder, but the list names several")
    # Videos without a number in their name are numbered by their place in the list
    numbers = tuple(known.get(path, place) for place, path in enumerate(paths))
    return Device(found.folder, tuple(paths), numbers, found.generation, found.facts)


def _open_videos(device: Device, *, is_list: bool) -> tuple[list[_Video], tuple[str, ...], int | None]:
    """Index the videos; a sentence says what is missing between them.  A list of videos is taken as it is.

    The number of a video says how many frames came before it, if the videos have an equal number of frames.  Unless that
    number is known, the frames after a gap would get wrong numbers and times, so that the recording ends there.

    Returns
    -------
    list of _Video, tuple of str, int or None
        The frames of a video before the next one begins are None where the videos follow each other without a gap.
    """
    if not is_list:
        _require_one_of_each(device)
    videos: list[_Video] = []
    failed: dict[int, str] = {}
    gaps: tuple[str, ...] = ()
    try:
        for number, path in zip(device.numbers, device.videos, strict=True):
            try:
                videos.append(_Video(number, path, open_frames(path)))
            except RecordingError as error:
                if is_list or (not videos and path == device.videos[-1]):
                    raise
                failed[number] = str(error)
        full = _known_full(device, videos)
        if not is_list:
            ends = _gaps(device, videos, full, failed)
            if (ends or failed) and full is None:
                return _end_at_gap(device, videos, ends, tuple(failed.values()))
            gaps = (*failed.values(), *ends.values())
        _require_alike(videos)
    except BaseException:
        for video in videos:
            video.frames.close()
        raise
    if not gaps:
        return videos, (), None
    more = f" (and {len(gaps) - 1:,} more gaps)" if len(gaps) > 1 else ""
    count = sum(video.frames.num_frames for video in videos)
    return (
        videos,
        (
            f"{gaps[0]}{more}; the {count:,} frames of {printable(device.name)} that are present keep their "
            f"numbers, as a full video has {full:,} frames",
        ),
        full,
    )


def _require_one_of_each(device: Device) -> None:
    for place, number in enumerate(device.numbers[1:], 1):
        if number == device.numbers[place - 1]:
            names = listed(printable(os.path.basename(path)) for path in device.videos[place - 1 : place + 1])
            raise UnsupportedRecordingError(
                f"{printable(device.name)} contains two videos of the number {number}, {names}; pass a list of the videos that belong together"
            )


def _gaps(device: Device, videos: Sequence[_Video], full: int | None, failed: Mapping[int, str]) -> dict[int, str]:
    """Return for each place in the list of videos why that video does not follow the one before."""
    found = {}
    base = 1 if device.generation == 3 else 0  # msCam1.avi, but 0.avi
    first = min([video.number for video in videos[:1]] + list(failed), default=base)
    if full is not None and first > base:
        found[0] = f"the videos before {videos[0].frames.name} are missing"
    for place, (last, video) in enumerate(itertools.pairwise(videos), 1):
        # A video that cannot be read has a sentence of its own
        if last.number + 1 < video.number and all(number in failed for number in range(last.number + 1, video.number)):
            continue
        why = _gap(last, video.number, full)
        if why:
            found[place] = why
    return found


def _end_at_gap(
    device: Device, videos: list[_Video], ends: Mapping[int, str], failed: Sequence[str]
) -> tuple[list[_Video], tuple[str, ...], int | None]:
    """Keep the videos before the first gap, and close the others."""
    broken = next(
        (k for k, path in enumerate(device.videos) if k >= len(videos) or videos[k].path != path), len(videos)
    )
    end = min([*ends, broken])
    if end == 0:
        raise CorruptRecordingError(f"{failed[0]}; pass a list of videos, open([...]), to read others")
    why = ends[end] if end in ends else failed[0]
    for video in videos[end:]:
        video.frames.close()
    videos = videos[:end]
    _require_alike(videos)
    rest = [printable(os.path.basename(path)) for path in device.videos[end:]]
    count = sum(video.frames.num_frames for video in videos)
    sentence = (
        f"{listed(rest, limit=6)} of {printable(device.name)} {'are' if len(rest) > 1 else 'is'} skipped: {why}; reading the {count:,} frames "
        "before, as metaData.json does not say how many frames a video has (framesPerFile). Pass a list of videos, open([...]), to read others"
    )
    return videos, (sentence,), None


def _known_full(device: Device, videos: Sequence[_Video]) -> int | None:
    """Return how many frames a video has before the next one begins: the stated number, or that of two videos that are followed by others."""
    counts = [video.frames.num_frames for video in videos]
    stated = device.facts.get("framesPerFile")
    # A video with more frames than framesPerFile disproves it
    if (
        isinstance(stated, int)
        and not isinstance(stated, bool)
        and max(counts, default=1) <= stated <= _MAX_FRAMES_A_FILE
    ):
        return stated
    most = max(counts, default=0)
    return most if counts[:-1].count(most) > 1 else None


def _gap(last: _Video, number: int, full: int | None) -> str:
    """Return why a video of this number does not follow the last one, or an empty string."""
    frames = last.frames
    if number != last.number + 1:
        return f"the video between {frames.name} and number {number} is missing"
    if frames.problems:
        return frames.problems[0]
    if full is not None and frames.num_frames < full:
        return f"{frames.name} has {counted(frames.num_frames, 'frame')}, but a video that is not the last should have {full:,}"
    return ""


def _require_alike(videos: Sequence[_Video]) -> None:
    first = videos[0].frames
    for video in videos[1:]:
        frames = video.frames
        if (frames.rows, frames.columns, frames.dtype) != (first.rows, first.columns, first.dtype):
            raise CorruptRecordingError(
                f"{frames.name} has {frames.rows} rows of {frames.columns} columns of {frames.dtype}, but {first.name} "
                f"has {first.rows} rows of {first.columns} columns of {first.dtype}; pass a list of the videos that belong together"
            )


def _left_out(device: Device) -> tuple[str, ...]:
    if not device.left_out:
        return ()
    return (
        f"{listed((printable(n) for n in device.left_out), limit=6)} "
        f"next to the videos {'has' if len(device.left_out) == 1 else 'have'} no number and "
        f"{'is' if len(device.left_out) == 1 else 'are'} skipped",
    )


def _starts(videos: Sequence[_Video]) -> list[int]:
    return [0, *itertools.accumulate(video.frames.num_frames for video in videos)]


def _places(device: Device, videos: Sequence[_Video], full: int | None) -> np.ndarray:
    """Return which frame of the whole recording each frame is; the number of a video says how many came before it."""
    counts = [video.frames.num_frames for video in videos]
    base = 1 if device.generation == 3 else 0  # msCam1.avi, but 0.avi
    if full is None:
        # Without a gap the frames are counted through, whatever framesPerFile says
        if [video.number for video in videos] == list(range(base, base + len(videos))):
            return np.arange(sum(counts))
        full = _known_full(device, videos) or (max(counts) if len(counts) > 1 else None)
    last = max(video.number for video in videos) - base
    if full is None or min(video.number for video in videos) < base or last * full > _MAX_PLACES:
        return np.arange(sum(counts))
    return np.concatenate(
        [(video.number - base) * full + np.arange(count) for video, count in zip(videos, counts, strict=True)]
    )


def _times_by_rate(places: np.ndarray, rate: float | None) -> np.ndarray | None:
    """Return times where frames are missing between others and nothing but the rate is known; else None."""
    if rate is None or np.array_equal(places, np.arange(len(places))):
        return None
    return places / rate


def _by_video(indices: np.ndarray, starts: list[int]) -> list[tuple[int, Any]]:
    """Return each video that is needed, and which of the indices it serves."""
    if len(indices) and (np.diff(indices) == 1).all():
        first, last = int(indices[0]), int(indices[-1]) + 1
        numbers = range(bisect.bisect_right(starts, first) - 1, bisect.bisect_left(starts, last))
        spans = ((k, slice(max(starts[k], first) - first, min(starts[k + 1], last) - first)) for k in numbers)
        return [(k, span) for k, span in spans if span.start < span.stop]
    owners = np.searchsorted(starts, indices, "right") - 1
    return [(int(k), np.flatnonzero(owners == k)) for k in np.unique(owners)]


# Times


def _times_of(device: Device, places: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray, _Said]:
    """Return the recorded times of this camera, those of the frames, the frames that are missing, and sentences about them."""
    name = "timestamp.dat" if device.generation == 3 else "timeStamps.csv"
    path = _beside(device, name)
    lost = _absent(places, 0)
    if path is None:
        return None, None, lost, _Said((f"{name} is not next to the videos, so the frames have no times",))
    file = PositionedFile(path)
    try:
        cameras, problems = parse_times(file)
    finally:
        file.close()
    chosen, why = _camera(device, cameras, len(places))
    if chosen is None:
        return None, None, lost, _Said((*problems, f"{why}; the frames have no times"))
    camera = chosen.unwrapped()
    acquired, gap = _acquired(name, camera, places)
    if camera.is_standing:
        said = _Said(problems + gap, (f"the clock in {name} does not advance; its times are not used",))
        return None, None, acquired, said
    times = camera.of_frames(places)
    doubts = (*_misfit(name, camera, len(places), times), *gap, *_backwards(name, camera.times))
    return camera.times, times, acquired, _Said((*problems, *doubts), _overflow(name, chosen, camera))


def _acquired(name: str, camera: FrameTimes, places: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return which frames of the acquisition are missing, and a sentence about those that were lost before they were saved."""
    acquired = camera.acquired()
    # With fewer rows than frames, the numbers cannot be matched with the videos
    if not len(places) or not len(acquired) or int(places.max()) >= len(acquired):
        return _absent(places, 0), ()
    # Rows after the last video count too: their frames were acquired and are not in the videos
    missing = _absent(acquired[places], int(acquired[-1]) + 1)
    dropped = int(acquired[-1]) + 1 - len(acquired)
    if not dropped:
        return missing, ()
    first = int(np.flatnonzero(np.diff(acquired) > 1)[0])
    return missing, (
        f"{dropped:,} of {int(acquired[-1]) + 1:,} frames were lost during the recording according to the frame numbers in "
        f"{name}, the first after frame {first:,}; the others have their own times",
    )


def _absent(present: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers below ``count``, and below the last one that is present, that are not present."""
    total = max(count, int(present.max()) + 1 if len(present) else 0)
    is_absent = np.ones(total, bool)
    is_absent[present] = False
    return np.flatnonzero(is_absent).astype(np.int64)


def _overflow(name: str, before: FrameTimes, after: FrameTimes) -> tuple[str, ...]:
    if after is before:
        return ()
    return (f"the clock in {name} restarted at 0 when its counter was full; its times continue from there",)


def _beside(device: Device, name: str) -> str | None:
    return _in_folder(device.folder, name)


def _in_folder(folder: str, name: str) -> str | None:
    try:
        names = folder_names(folder)
    except OSError:
        return None
    found = next((n for n in names if n.lower() == name.lower()), None)
    return None if found is None else os.path.join(folder, found)


def _camera(device: Device, cameras: Sequence[FrameTimes], count: int) -> tuple[FrameTimes | None, str]:
    """Return the rows of the scope: of several cameras the one with as many rows as the videos have frames."""
    name = "timestamp.dat" if device.generation == 3 else "timeStamps.csv"
    if not cameras:
        return None, f"{name} contains no times"
    if len(cameras) == 1:
        return cameras[0], ""
    fitting = [camera for camera in cameras if len(camera.times) == count]
    if len(fitting) == 1:
        return fitting[0], ""
    # Only where the counts leave a choice: it indexes all videos of the behaviour camera
    others = _behaviour_frames(device)
    rest = [camera for camera in cameras if len(camera.times) != others]
    if others is not None and len(rest) == 1:
        return rest[0], ""
    rows = ", ".join(f"{len(camera.times):,} of camera {camera.camera}" for camera in cameras[:_MAX_SHOWN])
    rows += f", and {len(cameras) - _MAX_SHOWN:,} more" if len(cameras) > _MAX_SHOWN else ""
    return (
        None,
        f"{name} contains rows of {len(cameras)} cameras ({rows}), and none matches the {count:,} frames",
    )


def _companions(device: Device) -> list[str]:
    """Return the files next to the videos that are read."""
    names = (
        ("timestamp.dat", "settings_and_notes.dat") if device.generation == 3 else ("timeStamps.csv", "metaData.json")
    )
    found = [_beside(device, name) for name in names]
    if device.generation == 4:
        found.append(_in_folder(os.path.dirname(device.folder), "metaData.json"))  # the session's
    return [path for path in found if path is not None]


def _behaviour_frames(device: Device) -> int | None:
    """Return how many frames the behaviour camera of V3 took, or None where its videos are not all readable."""
    try:
        listing = folder_names(device.folder)
    except OSError:
        return None
    names = sorted(n for n in listing if re.fullmatch(r"behavcam\d+\.avi", n.lower()))
    total = 0
    for name in names:
        try:
            frames = open_frames(os.path.join(device.folder, name))
        except RecordingError:
            return None
        total += frames.num_frames
        frames.close()
    return total if names else None


def _misfit(name: str, camera: FrameTimes, count: int, times: np.ndarray | None) -> tuple[str, ...]:
    noted = len(camera.times)
    if times is None:
        return (f"{name} has {counted(noted, 'time')}, too few for the {count:,} frames; the times are not used",)
    if noted > count:
        return (
            f"{name} has {counted(noted, 'time')} but the videos have {counted(count, 'frame')}; each frame "
            f"gets the time with its number, and {noted - count:,} times are unused",
        )
    return ()


def _backwards(name: str, times: np.ndarray) -> tuple[str, ...]:
    steps = np.flatnonzero(np.diff(times) <= 0)
    if not len(steps):
        return ()
    return (
        f"the times in {name} do not increase at {len(steps):,} place{'s' if len(steps) > 1 else ''}, the first after "
        f"frame {int(steps[0]):,}; they are given as recorded",
    )


# Files next to the videos


def _stated_rate(facts: Mapping[str, Any]) -> float | None:
    """Return ``frameRate``, which is a number or text as ``"15FPS"``."""
    stated = facts.get("frameRate")
    if isinstance(stated, str):
        match = re.match(r"\s*(\d{1,6}(?:\.\d+)?)\s*(?:fps|hz)?\s*\Z", stated, re.IGNORECASE)
        stated = float(match[1]) if match else None
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return None
    return float(stated) if 0 < stated < 1e6 else None


def _session_facts(device: Device) -> Mapping[str, Any]:
    if device.generation == 3:
        return {}
    found = json_of(os.path.dirname(device.folder))
    # Any other metaData.json may be in the folder above; the session's has one of these keys
    return found if "recordingStartTime" in found or "miniscopes" in found else {}


def _start_time(stated: Any) -> datetime | None:
    """Return the moment at which the recording began, by the clock of the computer; no time zone is noted."""
    if not isinstance(stated, Mapping):
        return None
    # A missing year, month or day becomes 0, which datetime refuses
    parts = [stated.get(key, 0) for key in ("year", "month", "day", "hour", "minute", "second", "msec")]
    if not all(isinstance(part, int) for part in parts):
        return None
    year, month, day, hour, minute, second, milliseconds = parts
    try:
        return datetime(year, month, day, hour, minute, second, milliseconds * 1000)
    except (ValueError, OverflowError, TypeError):
        return None


def _settings(device: Device) -> dict[str, Any]:
    """Return V3's ``settings_and_notes.dat``: its first two lines are names and values."""
    path = _beside(device, "settings_and_notes.dat") if device.generation == 3 else None
    if path is None or not os.path.getsize(path):
        return {}
    with Source(path) as source:
        lines = source.head(_MAX_NOTES).decode("utf-8-sig", "replace").splitlines()
    if len(lines) < 2:
        return {}
    names, values = lines[0].split("\t"), lines[1].split("\t")
    settings = dict(zip((name.strip() for name in names), (value.strip() for value in values), strict=False))
    return {"settings": {key: value for key, value in settings.items() if key}}
