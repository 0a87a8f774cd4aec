"""Leica LIF through liffile, the library of bioio-lif: it finds a frame without indexing all of them."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import math
import os
import re
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np

from roiextractors_core.errors import RoiExtractorsWarning, TruncatedRecordingError, printable
from roiextractors_core.io import ProcessLock, to_seconds

from .extractor import BioioImagingExtractor, moment, regular_rate

__all__ = ["LifImagingExtractor"]

_FROM_1601_TO_1970 = 116_444_736_000_000_000  # in 100 ns: time stamps are Windows FILETIMEs
_DESCRIPTION = "./Data/Image/ImageDescription"
_NUMBERS = {"X": "1", "Y": "2", "Z": "3", "T": "4", "M": "10"}  # DimID of the axes in the XML
_PULSED_LASERS = re.compile(r"\b(IR|MP)\b|chameleon|mai ?tai|insight|multi-?photon", re.IGNORECASE)


class LifImagingExtractor(BioioImagingExtractor):
    """One channel of one image of a Leica LIF file; parameters and errors are those of the base class.

    The clock is 0 s at the image's first time stamp.

    References
    ----------
    The package liffile: memory blocks, dimensions, frames, ``TimeStampList``.
    """

    package = "liffile"
    takes_folders = False
    advice = '"roiextractors-bioio[lif]"'

    @classmethod
    def _open_image(cls, path: str) -> Any:
        cls._import_package(path)
        return _Images(path)

    def _omissions(self) -> tuple[str, ...]:
        """Leave out samples that end beyond the pixels that are there, and samples that were not recorded."""
        with self._image.open() as image:
            block, stated = image.memory_block, int(image.sizes.get("T", 1))
            step, first_end = self._steps(image)
            described = math.prod(image.sizes.values()) * image.dtype.itemsize
            stamps = len(_stamps(image))
        if described and block.size >= 2 * described and block.size % described == 0:
            self._report(
                f"{self._name}: the pixels of {printable(self._image.scenes[self._scene])!r} take {block.size // described:,} times "
                "as many bytes as its axes describe; only the first part is read",
                RoiExtractorsWarning,
            )
        there = min(max(0, os.stat(self._path).st_size - block.offset), block.size)
        whole = min(stated, (there - first_end) // step + 1 if there >= first_end else 0)
        if whole < stated:
            words = f"{self._name} ends inside its image {printable(self._image.scenes[self._scene])!r}"
            if whole == 0:
                raise TruncatedRecordingError(
                    f"{words}: {there:,} of {max(described, block.size):,} bytes of pixels are present"
                )
            note = f"{words}: {whole:,} of {stated:,} samples are complete and can be read"
        # Zeros at the end are data if each sample has a time stamp; reading them comes last, as it decodes pixels
        elif 0 < stamps < stated and (recorded := self._last_recorded(stated)) < stated:
            whole, note = recorded, f"{self._name} was stopped early: {recorded:,} of {stated:,} samples were recorded"
        else:
            return ()
        self._sizes["T"], self._missing = whole, np.arange(whole, stated)
        return (note,)

    def _steps(self, image: Any) -> tuple[int, int]:
        """Return the bytes from one sample to the next, and where the first sample of the chosen streams ends."""
        steps = {axis: int(_axis(image, axis).get("BytesInc", 0)) for axis in _NUMBERS}
        sizes = {axis: int(_axis(image, axis).get("NumberOfElements", 1)) for axis in _NUMBERS}
        increments = _described_channels(image)
        channel = int(increments[self._channel].get("BytesInc", 0)) if self._channel < len(increments) else 0
        inside = sum((sizes[axis] - 1) * steps[axis] for axis in "XYZ")
        others = sum(steps[axis] * index for axis, index in self._others.items() if axis in steps)
        return max(1, steps["T"]), inside + channel + others + image.dtype.itemsize

    def _last_recorded(self, stated: int) -> int:
        """Return the number of samples before those of zeros at the end."""
        for sample in range(stated - 1, 0, -1):
            rows, columns, planes = (slice(0, self._sizes[axis]) for axis in "YXZ")
            if self._read(slice(sample, sample + 1), rows, columns, planes).any():
                return sample + 1
        return 1

    def _read(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> Any:
        wanted = {
            "T": samples if isinstance(samples, slice) else samples.tolist(),
            "Z": planes,
            "C": [self._channel],
        }
        with self._image.open() as image:
            inside = image.frames.frame_dims
            # liffile selects whole frames: axes inside of a frame are indexed after decoding
            chosen = {axis: value for axis, value in wanted.items() if axis in image.sizes and axis not in inside}
            others = {axis: [self._others.get(axis, 0)] for axis in image.sizes if axis not in "TCZYX"}
            frames = image.frames(**chosen, **others)
            found, axes = frames.asarray(), "".join(frames.dims)
        for axis in filter(axes.__contains__, others):
            found, axes = found.take(0, axes.index(axis)), axes.replace(axis, "")
        for axis in "TCZYX":
            if axis not in axes:
                found, axes = found[np.newaxis], axis + axes
        found = found.transpose([axes.index(axis) for axis in "CTZYX"])[0]
        kept = found if "T" in chosen else found[samples]
        return kept[:, slice(None) if "Z" in chosen else planes, rows, columns]

    def _file_rate(self) -> float | None:
        """Return the nominal rate, which is the steps on the time axis divided by its length in seconds, else that of regular times."""
        self._stated_times = self._read_times()
        with self._image.open() as image:
            axis = _axis(image, "T")
        steps, length = (
            int(axis.get("NumberOfElements", 1)) - 1,
            to_seconds(axis.get("Length", 0), axis.get("Unit")) or 0.0,
        )
        if steps > 0 and 0 < length < math.inf:  # the length is from the first to the last sample
            return steps / length
        return None if self._stated_times is None else regular_rate(self._stated_times)

    def _recorded_times(self, start: int, end: int) -> np.ndarray | None:
        return None if self._stated_times is None else self._stated_times[start:end].copy()

    def _micrometres(self, axis: str) -> float | None:
        with self._image.open() as image:
            found = _axis(image, axis)
        steps = int(found.get("NumberOfElements", 1)) - 1  # Length is from the first to the last pixel
        return float(found.get("Length", 0)) / steps * 1e6 if found.get("Unit") == "m" and steps > 0 else None

    def _read_times(self) -> np.ndarray | None:
        """Return the first time stamp of each sample in seconds since the image's first, or None if they cannot be assigned."""
        with self._image.open() as image:
            stamps, axes = _stamps(image), list(image.sizes)
            sizes = {axis: int(image.sizes[axis]) for axis in axes}
        order = [axis for axis in axes if axis not in "CYX"]
        while order and order[-1] != "T" and order[-1] not in self._others:
            order.pop()  # planes inside of a sample
        if not len(stamps) or ("T" in axes and {"C", "Y"} & set(axes[: axes.index("T")])):
            return None
        counts = [sizes[axis] for axis in order]
        if "T" in sizes and order[0] == "T" and len(stamps) % math.prod(counts):
            counts[0] = len(self)  # an image that was stopped early
        if len(stamps) % math.prod(counts):
            if "T" in sizes:
                self._report(
                    f"{self._name} contains {len(stamps):,} time stamps, which cannot be assigned to its {len(self):,} samples",
                    RoiExtractorsWarning,
                )
            return None
        grid = stamps.reshape(*counts, -1)[..., 0]
        chosen = grid[tuple(slice(None) if axis == "T" else self._others.get(axis, 0) for axis in order)]
        times = np.asarray((np.atleast_1d(chosen)[: len(self)] - stamps[0]) / 1e7)
        if len(times) > 1 and (times[-1] <= times[0] or (np.diff(times) < 0).any()):
            self._report(f"{self._name}: its time stamps do not increase, so they are not used", None)
            return None
        return times

    def _described(self) -> dict[str, Any]:
        with self._image.open() as image:
            stamps, system = _stamps(image), image.xml_element.find(".//*[@SystemTypeName]")
            channels = _described_channels(image)
            setting = next(
                (a for a in image.xml_element.iter("Attachment") if a.get("Name") == "HardwareSetting"), None
            )
            depth = channels[self._channel].get("Resolution") if self._channel < len(channels) else None
            return {
                "start": moment(int(stamps[0]) - _FROM_1601_TO_1970) if len(stamps) else None,
                "device": None if system is None else printable(system.get("SystemTypeName")) or None,
                "software": None if setting is None else printable(setting.get("Software") or "") or None,
                "bit_depth": _number(depth),
                **({} if setting is None else _optics(setting, self._channel, len(channels))),
            }

    def _vendor(self) -> dict[str, Any]:
        with self._image.open() as image:
            return {"xml": ElementTree.tostring(image.xml_element, encoding="unicode")}


@functools.cache
def _library() -> Any:
    """Import liffile, with cached properties that are free in a forked process.

    Before Python 3.12 a cached property has a lock for all objects of its class.  liffile computes some at every read, and
    a process that is forked meanwhile would wait for ever.
    """
    library = import_module("liffile.liffile")
    for kind in filter(inspect.isclass, list(vars(library).values())):
        for item in list(vars(kind).values()):
            if isinstance(item, functools.cached_property) and hasattr(item, "lock"):
                item.lock = ProcessLock()
    return library


class _Images:
    """A LIF file with the attributes of bioio's readers; the file is open only while it is read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = 0
        with _Bounded(path) as stream, _library().LifFile(stream) as file:
            self.scenes = tuple(image.path for image in file.images)
        self.set_scene(0)

    def set_scene(self, number: int) -> None:
        self.number = number
        with self.open() as image:
            self.dims = SimpleNamespace(order=tuple(image.sizes), shape=tuple(image.sizes.values()))
            self.dtype = image.dtype
            self.channel_names = [channel.get("LUTName") for channel in _described_channels(image)]

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        with _Bounded(self.path) as stream, _library().LifFile(stream) as file:
            yield file.images[self.number]


class _Bounded(io.FileIO):
    """A file that limits reads to its own size: a damaged length would otherwise allocate any amount of memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or not 0 <= size < left else size)


def _axis(image: Any, letter: str) -> dict[str, str]:
    """Return the attributes of an axis; empty for an axis that the image does not have."""
    for axis in image.xml_element.iterfind(f"{_DESCRIPTION}/Dimensions/DimensionDescription"):
        if axis.get("DimID") == _NUMBERS[letter]:
            return dict(axis.attrib)
    return {}


def _described_channels(image: Any) -> list[ElementTree.Element]:
    """Return the descriptions of the channels in the order of their pixels."""
    described = image.xml_element.findall(f"{_DESCRIPTION}/Channels/ChannelDescription")
    return sorted(described, key=lambda channel: int(channel.get("BytesInc", 0)))  # bytes to its pixels


def _optics(setting: ElementTree.Element, channel: int, count: int) -> dict[str, Any]:
    """Return objective, zoom, lasers and detection band of a channel by the settings of the hardware."""
    first = next(
        (e for e in setting.iter() if e.tag in ("ATLConfocalSettingDefinition", "ATLCameraSettingDefinition")), None
    )
    if first is None:
        return {}
    found: dict[str, Any] = {
        "objective": re.sub(r"\s+", " ", first.get("ObjectiveName") or "").strip() or None,
        "magnification": _number(first.get("Magnification")),
        "aperture": _number(first.get("NumericalAperture")),
        "zoom": _number(first.get("Zoom")),
    }
    source = (setting.get("DataSourceTypeName") or "").lower()
    found["modality"] = {"confocal": "confocal", "camera": "one-photon"}.get(source)
    # One setting for each step of a sequential scan; the active detectors of all steps are the channels, in order
    steps = setting.findall(".//LDM_Block_Sequential_List/ATLConfocalSettingDefinition") or [first]
    active = [(step, d) for step in steps for d in step.iter("Detector") if d.get("IsActive") == "1"]
    if len(active) == count:
        step, detector = active[channel]
        bands = (b for b in step.iter("MultiBand") if b.get("Channel") == detector.get("Channel"))
        limits = next(([_number(b.get(key)) for key in ("LeftWorld", "RightWorld")] for b in bands), [None, None])
        if limits[0] and limits[1] and limits[0] < limits[1]:
            found["detection_band"] = (limits[0], limits[1])
    elif len(steps) > 1:
        return found
    else:
        step = first
    return found | _lasers(step, found["modality"]) | _exposure(step, channel)


def _lasers(step: ElementTree.Element, modality: str | None) -> dict[str, Any]:
    """Return the lines that were on, the power if there is one, and the modality by the laser."""
    lines: dict[float, float] = {}
    for source in step.iter("Aotf"):
        for setting in source.iter("LaserLineSetting"):
            line, power = _number(setting.get("LaserLine")), _number(setting.get("IntensityDev"))
            if not line or not power or line <= 0 or power <= 0 or setting.get("IsLineChecked") == "0":
                continue
            lines[line] = power
            # Two-photon scans have the data source 'confocal' too; pulsed lasers start near 680 nm
            if modality == "confocal" and line >= 680 and _PULSED_LASERS.search(source.get("LightSourceName") or ""):
                modality = "two-photon"
    power = next(iter(lines.values())) if len(lines) == 1 else None  # of several, which is the channel's is not stated
    return {"laser_lines": tuple(lines), "laser_power": power, "modality": modality}


def _exposure(step: ElementTree.Element, channel: int) -> dict[str, Any]:
    cameras = list(step.iter("WideFieldChannelInfo"))
    text = cameras[channel].get("ExposureTime") if channel < len(cameras) else None
    match = re.fullmatch(r"\s*([\d.eE+-]+)\s*([a-zµ]*)\s*", text or "")
    return {"exposure_time": to_seconds(match[1], match[2] or "s")} if match else {}


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _stamps(image: Any) -> np.ndarray:
    """Return the image's time stamps in units of 100 ns since 1 January 1601 (UTC); liffile itself rounds them."""
    stated = image.xml_element.find("./Data/Image/TimeStampList")
    if stated is None:
        return np.empty(0, np.int64)
    # One element of two 32-bit halves a stamp in older files, one text of hexadecimal numbers in newer ones
    pairs = [(int(e.get("HighInteger", 0)), int(e.get("LowInteger", 0))) for e in stated.iterfind("TimeStamp")]
    values = [high << 32 | low for high, low in pairs] or [int(text, 16) for text in (stated.text or "").split()]
    return np.array(values, np.int64)
