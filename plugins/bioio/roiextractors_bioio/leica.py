"""Leica LIF through liffile, the library of bioio-lif: it finds a frame without indexing all of them."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np

from roiextractors_core.errors import TruncatedRecordingError, printable

from .extractor import BioioImagingExtractor, moment

__all__ = ["LifImagingExtractor"]

_FROM_1601_TO_1970 = 116_444_736_000_000_000
_DESCRIPTION = "./Data/Image/ImageDescription"
_NUMBERS = {"X": "1", "Y": "2", "Z": "3", "T": "4"}


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

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return the first time stamp of each sample, or None if the stamps cannot be assigned to samples."""
        start, end = self.resolve_range(start_sample, end_sample)
        times = self._ask_once("times", self._times)
        return None if times is None else times[start:end].copy()

    @classmethod
    def _open_image(cls, path: str) -> Any:
        cls._import_package(path)
        return _Images(path)

    def _omissions(self) -> tuple[str, ...]:
        """Leave out samples beyond the end of the file; if time is not the outermost axis, no sample is complete without them."""
        with self._image.open() as image:
            block, outermost = image.memory_block, next(iter(image.sizes), "") == "T"
            stated = int(_axis(image, "T").get("NumberOfElements", 1)) if outermost else 1
        there = max(0, os.stat(self._path).st_size - block.offset)
        whole = there // max(1, block.size // max(1, stated))
        if there >= block.size or whole >= stated:
            return ()
        words = f"{self._name} ends inside its image {printable(self._image.scenes[self._scene])!r}"
        if whole == 0:
            raise TruncatedRecordingError(f"{words}: {there:,} of {block.size:,} bytes of pixels are present")
        self._sizes["T"] = whole
        return (f"{words}: {whole:,} of {stated:,} samples are complete and can be read",)

    def _read(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> Any:
        wanted = {
            "T": samples if isinstance(samples, slice) else samples.tolist(),
            "Z": planes,
            "C": [self._channel],
        }
        with self._image.open() as image:
            inside = image.frames.frame_dims
            chosen = {axis: value for axis, value in wanted.items() if axis in image.sizes and axis not in inside}
            frames = image.frames(**chosen)
            found, axes = frames.asarray(), "".join(frames.dims)
        for axis in "TCZYX":
            if axis not in axes:
                found, axes = found[np.newaxis], axis + axes
        found = found.transpose([axes.index(axis) for axis in "CTZYX"])[0]
        kept = found if "T" in chosen else found[samples]
        return kept[:, slice(None) if "Z" in chosen else planes, rows, columns]

    def _file_rate(self) -> float | None:
        """Return the nominal rate: the number of steps on the time axis divided by its length in seconds."""
        with self._image.open() as image:
            axis = _axis(image, "T")
        steps, length = int(axis.get("NumberOfElements", 1)) - 1, float(axis.get("Length", 0))
        return steps / length if axis.get("Unit") == "s" and steps > 0 and length > 0 else None

    def _micrometres(self, axis: str) -> float | None:
        with self._image.open() as image:
            found = _axis(image, axis)
        steps = int(found.get("NumberOfElements", 1)) - 1
        return float(found.get("Length", 0)) / steps * 1e6 if found.get("Unit") == "m" and steps > 0 else None

    def _times(self) -> np.ndarray | None:
        with self._image.open() as image:
            stamps, outermost = _stamps(image), next(iter(image.sizes), "") == "T"
            stated = int(_axis(image, "T").get("NumberOfElements", 1))
        if not len(stamps) or len(stamps) % stated or not (outermost or stated == 1):
            return None
        found = (stamps[:: len(stamps) // stated] - stamps[0]) / 1e7
        return found[: len(self)] if (np.diff(found) >= 0).all() else None

    def _described(self) -> dict[str, Any]:
        with self._image.open() as image:
            stamps, system = _stamps(image), image.xml_element.find(".//*[@SystemTypeName]")
        return {
            "start": moment(int(stamps[0]) - _FROM_1601_TO_1970) if len(stamps) else None,
            "device": None if system is None else printable(system.get("SystemTypeName")) or None,
        }

    def _vendor(self) -> dict[str, Any]:
        with self._image.open() as image:
            return {"xml": ElementTree.tostring(image.xml_element, encoding="unicode")}


class _Images:
    """A LIF file with the attributes of bioio's readers; the file is open only while it is read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = 0
        with _Bounded(path) as stream, import_module("liffile").LifFile(stream) as file:
            self.scenes = tuple(image.path for image in file.images)
        self.set_scene(0)

    def set_scene(self, number: int) -> None:
        self.number = number
        with self.open() as image:
            self.dims = SimpleNamespace(order=tuple(image.sizes), shape=tuple(image.sizes.values()))
            self.dtype = image.dtype
            described = image.xml_element.findall(f"{_DESCRIPTION}/Channels/ChannelDescription")
        self.channel_names = [c.get("LUTName") for c in sorted(described, key=lambda c: int(c.get("BytesInc", 0)))]

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        with _Bounded(self.path) as stream, import_module("liffile").LifFile(stream) as file:
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


def _stamps(image: Any) -> np.ndarray:
    """Return the image's time stamps in units of 100 ns since 1 January 1601 (UTC); liffile itself rounds them."""
    stated = image.xml_element.find("./Data/Image/TimeStampList")
    if stated is None:
        return np.empty(0, np.int64)
    pairs = [(int(e.get("HighInteger", 0)), int(e.get("LowInteger", 0))) for e in stated.iterfind("TimeStamp")]
    values = [high << 32 | low for high, low in pairs] or [int(text, 16) for text in (stated.text or "").split()]
    return np.array(values, np.int64)
