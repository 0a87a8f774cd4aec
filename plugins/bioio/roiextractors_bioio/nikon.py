"""Nikon ND2: frames through bioio-nd2; names, sizes and times through nd2, its library."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

from roiextractors_core.errors import RoiExtractorsWarning, TruncatedRecordingError, printable
from roiextractors_core.io import PositionedFile, to_seconds

from .extractor import BioioImagingExtractor, regular_rate

__all__ = ["Nd2ImagingExtractor"]

_JULIAN_DAY_OF_1970 = 2440587.5  # days begin at noon
_MAGIC = bytes.fromhex("dacebe0a")  # of the file, and of each chunk in it
_MAP = b"ND2 CHUNK MAP SIGNATURE"
_TIMES = b"CustomData|AcqTimesCache!"
_FRAME = re.compile(rb"ImageDataSeq\|(\d{1,12})!")
_AT_ENDS = 4096  # frames from either end whose beginning is looked at
_MAX_DEVIATION = 0.1  # of the measured period from the nominal one
_LASER = re.compile(r"\{Laser Wavelength\}:\s*([\d.]+)\s*\{Laser Power\}:\s*([\d.]+)")
_EXPOSURE = re.compile(r"(?m)^\s*Exposure:\s*([\d.,]+)\s*(ms|s|us|µs|min)\b")
_SETTINGS = "ImageMetadataSeqLV|0"  # of the first frame
_LINE_USED = re.compile(r"MultiLaserLineUsed(\d+)-(\d+)")
_BAND_PASS = 4  # type of a point of a spectrum
_MODALITIES = (
    ("multiphoton", "two-photon"),
    ("nondescanned", "two-photon"),
    ("confocal", "confocal"),
    ("rcm", "confocal"),
    ("sora", "confocal"),
    ("camera", "one-photon"),
)
_NOT_STATED = (KeyError, IndexError, AttributeError, TypeError, NotImplementedError)


class Nd2ImagingExtractor(BioioImagingExtractor):
    """One channel of one position of a Nikon ND2 file; parameters and errors are those of the base class.

    The clock is the file's own: 0 s is the start of the experiment.

    References
    ----------
    The package nd2, ``ND2File.frame_metadata``: ``relativeTimeMs`` of each frame.
    """

    package = "bioio_nd2"
    takes_folders = False
    advice = '"roiextractors-bioio[nd2]"'
    reads_parts = True

    @classmethod
    def _open_image(cls, path: str) -> Any:
        cls._import_package(path)
        _require_map(path)
        return super()._open_image(path)

    # Frames

    def _omissions(self) -> tuple[str, ...]:
        """Leave out samples of which a frame is not in the file: the library would give zeros."""
        notes: tuple[str, ...] = ()
        with _open_nd2(self._path) as file:
            loops = file.loop_indices
            there = _frames(file, self._path)
        self._numbers = np.full((self._sizes["T"], self._sizes["Z"]), -1, np.int64)
        for number, place in enumerate(loops):
            t, z = place.get("T", 0), place.get("Z", 0)
            if place.get("P", self._scene) == self._scene and t < self._sizes["T"] and z < self._sizes["Z"]:
                self._numbers[t, z] = number
        if there is None:
            return notes
        if len(there) and there[-1] >= len(loops):
            surplus = int((there >= len(loops)).sum())
            self._report(
                f"{self._name} contains {len(there):,} frames, of which {surplus:,} are in none of its loops over time, positions "
                "and planes; they are not read",
                RoiExtractorsWarning,
            )
        are_whole = np.asarray(np.isin(self._numbers, there).all(axis=1))
        missing = int((~np.isin(self._numbers, there)).sum())
        notes = self._keep_whole(are_whole, f"{missing:,} of their frames are missing or damaged")
        self._numbers = self._numbers[are_whole]
        return notes

    # Times

    def _recorded_times(self, start: int, end: int) -> np.ndarray | None:
        return None if self._stated_times is None else self._stated_times[start:end].copy()

    def _file_rate(self) -> float | None:
        """Return the rate of regular times, else the period of the time loop unless the times contradict it."""
        self._stated_times = self._read_times()
        stated = super()._file_rate()
        if self._stated_times is None or len(self) < 2:
            return stated
        numbers = np.arange(len(self)) if self._kept is None else self._kept
        rate = regular_rate(self._stated_times, numbers)
        median = float(np.median(np.diff(self._stated_times) / np.diff(numbers)))
        # The period of the loop is the one that was set, which the camera may not reach
        return rate or (stated if stated and abs(stated * median - 1) <= _MAX_DEVIATION else None)

    def _read_times(self) -> np.ndarray | None:
        """Return seconds, or None if the file has no times or its clock never ran."""
        first = self._numbers[:, 0]
        with _open_nd2(self._path) as file:
            if not _has_times(file):
                return None
            stamps = _stamps(file, self._path)
            if stamps is None or (len(first) and first.max() >= len(stamps)):
                try:
                    places = [file.frame_metadata(k).channels[self._channel].time for k in first.tolist()]
                except _NOT_STATED:
                    return None
                times = np.array([place.relativeTimeMs for place in places], np.float64) / 1e3
            else:
                times = stamps[first] / 1e3
        if not np.isfinite(times).all():
            return None
        if len(times) > 1 and times[-1] <= times[0]:
            self._report(f"{self._name}: the times of its frames do not increase, so they are not used", None)
            return None
        return times if len(times) > 1 or self._kept is not None or times[-1] >= 0 else None

    # Metadata

    @classmethod
    def _channel_names(cls, image: Any) -> Sequence[Any]:
        with _open_nd2(str(image._path)) as file:
            return [channel.channel.name for channel in getattr(file.metadata, "channels", None) or ()]

    def _micrometres(self, axis: str) -> float | None:
        with _open_nd2(self._path) as file, contextlib.suppress(*_NOT_STATED):
            volume, number = file.metadata.channels[0].volume, "XYZ".index(axis)
            # The library gives 1 for an axis without calibration
            return float(volume.axesCalibration[number]) if volume.axesCalibrated[number] else None
        return None

    def _described(self) -> dict[str, Any]:
        found: dict[str, Any] = {"start": None}
        with _open_nd2(self._path) as file:
            with contextlib.suppress(*_NOT_STATED):
                found |= self._optics(file.metadata.channels[self._channel])
            with contextlib.suppress(*_NOT_STATED):
                found["bit_depth"] = file.attributes.bitsPerComponentSignificant
            description = str(file.text_info.get("description", ""))
            camera = re.search(r"Camera Name:[ \t]*([^\r\n]*)", description)
            found["device"] = printable(camera[1].strip()) if camera else None
            found |= _of_plane(file, self._channel, is_camera=not found.get("is_scanner"))
            found |= _light(_part_of_channel(description, self._channel), found)
            found["software"] = _software(file)
            found["start"] = _started(file)
        return found

    def _optics(self, channel: Any) -> dict[str, Any]:
        lens, flags = channel.microscope, [flag.lower() for flag in channel.microscope.modalityFlags or ()]
        return {
            "emission": channel.channel.emissionLambdaNm or None,
            "excitation": channel.channel.excitationLambdaNm or None,
            "objective": lens.objectiveName,
            "magnification": lens.objectiveMagnification,
            "aperture": lens.objectiveNumericalAperture,
            "zoom": lens.zoomMagnification,
            "is_scanner": any("laserscan" in flag for flag in flags),
            "modality": next((kind for flag, kind in _MODALITIES if any(flag in known for known in flags)), None),
        }

    def _vendor(self) -> dict[str, Any]:
        with _open_nd2(self._path) as file:
            return {str(key): str(value) for key, value in dict(file.text_info).items()}


@contextlib.contextmanager
def _open_nd2(path: str) -> Iterator[Any]:
    with import_module("nd2").ND2File(path) as file:
        yield file


def _require_map(path: str) -> None:
    """Raise TruncatedRecordingError if the file does not end with the position of its map of chunks."""
    with contextlib.closing(PositionedFile(path)) as file:
        # The last 40 bytes are the signature (32) and the map's offset; JPEG 2000 files have another magic
        if file.read(0, 4) == _MAGIC and _MAP not in file.read(max(0, file.size - 40), 40):
            raise TruncatedRecordingError(
                f"{file.name} is truncated: it does not end with its map of chunks, without which frames cannot be found; "
                "recover it in NIS-Elements"
            )


def _frames(file: Any, path: str) -> np.ndarray | None:
    """Return the numbers of the frames that are in the file, ascending, or None if the library does not say where they are."""
    chunks = getattr(getattr(file, "_rdr", None), "chunkmap", None)
    if not isinstance(chunks, dict):
        return None
    places = sorted((int(m[1]), *chunks[key][:2]) for key in chunks if (m := _FRAME.fullmatch(key)))
    near = {*range(_AT_ENDS), *range(max(0, len(places) - _AT_ENDS), len(places))}
    with contextlib.closing(PositionedFile(path)) as stream:
        there = [
            number
            for k, (number, offset, size) in enumerate(places)
            if offset + size <= stream.size and (k not in near or stream.read(offset, 4) == _MAGIC)
        ]
    return np.array(there, np.int64)


def _has_times(file: Any) -> bool:
    """Return whether frames have times; asked for those of a file without any, the library issues a warning."""
    chunks = getattr(getattr(file, "_rdr", None), "chunkmap", None)
    # The chunk map is private in nd2, so files without it are asked frame by frame
    return not isinstance(chunks, dict) or _TIMES in chunks


def _stamps(file: Any, path: str) -> np.ndarray | None:
    """Return the milliseconds of all frames, which the library gives frame by frame; None for a format without the list."""
    chunks = getattr(getattr(file, "_rdr", None), "chunkmap", None)
    if not isinstance(chunks, dict) or _TIMES not in chunks:
        return None
    offset, size = chunks[_TIMES][:2]
    with contextlib.closing(PositionedFile(path)) as stream:
        head = stream.read(offset, 16)  # magic, length of the name, length of the data; the name follows
        if len(head) < 16 or head[:4] != _MAGIC:
            return None
        data = stream.read(offset + 16 + int.from_bytes(head[4:8], "little"), min(size, stream.size))
    return np.frombuffer(data[: len(data) // 8 * 8], "<f8").astype(np.float64)


def _started(file: Any) -> datetime | None:
    """Return the start of the experiment: UTC by the Julian day, else the local time in the text."""
    with contextlib.suppress(*_NOT_STATED):
        time = file.frame_metadata(0).channels[0].time if _has_times(file) else SimpleNamespace()
        if time.absoluteJulianDayNumber > _JULIAN_DAY_OF_1970 + 366:  # -1 or 0 if it was not recorded
            days, milliseconds = float(time.absoluteJulianDayNumber), float(time.relativeTimeMs)
            # The Julian day is that of the frame
            since = timedelta(days=days - _JULIAN_DAY_OF_1970, milliseconds=-milliseconds)
            return datetime(1970, 1, 1, tzinfo=UTC) + since
    words = str(dict(file.text_info).get("date", "")).split()
    match = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", words[0]) if len(words) == 2 else None
    if match and int(match[1]) > 12:  # otherwise day and month cannot be told apart
        with contextlib.suppress(ValueError):
            return datetime.strptime(" ".join(words), "%d/%m/%Y %H:%M:%S")
    return None


def _software(file: Any) -> str | None:
    try:
        about = file.custom_data.get("AppInfo_V1_0") or {}
    except Exception:  # noqa: BLE001 - the library raises its own errors for chunks that it does not know
        return None
    words = [str(about.get(key) or "") for key in ("SWNameString", "VersionString")]
    return printable(" ".join(filter(None, words))) or None


def _of_plane(file: Any, channel: int, *, is_camera: bool) -> dict[str, Any]:
    """Return the detection band, the exposure and the laser lines in the settings of a channel's plane of the image."""
    try:
        known = file.unstructured_metadata(include={_SETTINGS})[_SETTINGS]
        known = known.get("SLxPictureMetadata", known)["PicturePlanes"]  # the older form has no root
    except Exception:  # noqa: BLE001 - the library raises its own errors for chunks that it does not know
        return {}
    found: dict[str, Any] = {}
    plane = _item(known.get("PlaneNew"), channel)
    filters = (plane.get("FilterPath") or {}).get("Filter") or {}
    bands = [band for one in _items(filters) if (band := _passed(one.get("EmissionSpectrum") or {}))]
    if len(bands) == 1:
        found["detection_band"] = bands[0]
    setting = _item(known.get("SampleSetting"), int(plane.get("SampleIndex") or 0))
    exposure = setting.get("ExposureTime")
    # Milliseconds; of a scanner it is the time of a whole scan, whatever part of it was saved
    if is_camera and isinstance(exposure, float) and 0 < exposure < 1e9:
        found["exposure_time"] = exposure / 1e3
    lines = _used_lines(setting.get("DeviceSetting") or {})
    if lines:
        found["laser_lines"] = tuple(lines)
        powers = [power for power in lines.values() if power is not None]
        found["laser_power"] = powers[0] if len(powers) == len(lines) == 1 else None
    return found


def _passed(spectrum: dict[str, Any]) -> tuple[float, float] | None:
    """Return the limits of an emission filter: a centre with half of its width (525/50 is stated as 525 and 25)."""
    points = list(_items(spectrum.get("Point") or {}))
    if len(points) != 1 or points[0].get("Type") != _BAND_PASS:
        return None
    # The library does not know the name in the older form
    centre = float(points[0].get("Wavelength") or points[0].get("i0000000001") or 0.0)
    half = float(points[0].get("TValue") or 0.0)
    return (centre - half, centre + half) if 0 < half < centre / 2 else None


def _used_lines(devices: dict[str, Any]) -> dict[float, float | None]:
    """Return the lines of the laser boxes that were used for a plane, each with its power in percent."""
    found: dict[float, float | None] = {}
    for key, is_used in devices.items():
        match = _LINE_USED.fullmatch(str(key))
        if match and is_used and devices.get(f"MultiLaserUse{match[1]}", 1):
            line = devices.get(f"MultiLaserLineWavelength{match[1]}-{match[2]}")
            power = devices.get(f"MultiLaserLinePower{match[1]}-{match[2]}")
            if isinstance(line, int | float) and 100 < line < 3000:
                found[float(line)] = float(power) if isinstance(power, int | float) and 0 < power <= 100 else None
    return found


def _items(container: Any) -> Iterator[dict[str, Any]]:
    """Yield the parts of a list, which the library returns as a list or as a mapping of numbered keys."""
    parts = container.values() if isinstance(container, dict) else container if isinstance(container, list) else ()
    yield from (part for part in parts if isinstance(part, dict))


def _item(container: Any, number: int) -> dict[str, Any]:
    parts = list(_items(container))
    return parts[number] if 0 <= number < len(parts) else {}


def _part_of_channel(description: str, channel: int) -> str:
    """Return the lines of the description on one channel."""
    parts = re.split(r"(?m)^\s*Plane #\d+:", description)
    return parts[channel + 1] if channel + 1 < len(parts) else parts[0]


def _light(text: str, optics: dict[str, Any]) -> dict[str, Any]:
    """Return lasers, their power and the exposure by the lines on a channel."""
    pairs = [(float(m[1]), float(m[2])) for m in _LASER.finditer(text)]
    lines = {line: power for line, power in pairs if line > 0 and power > 0}
    excitation = optics.get("excitation") or 0.0
    nearest = min(lines, key=lambda line: abs(line - excitation), default=None)
    found: dict[str, Any] = {"laser_lines": tuple(lines)} if lines else {}
    if nearest is not None and (len(lines) == 1 or abs(nearest - excitation) <= 5):
        found["laser_power"] = lines[nearest]
    exposure = _EXPOSURE.search(text)
    if exposure:
        # Decimal comma of the user's system
        found["exposure_time"] = to_seconds(float(exposure[1].replace(",", ".")), exposure[2])
    return found
