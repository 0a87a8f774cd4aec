"""Zeiss CZI: frames by bioio-czi; names, sizes and times by the file's own XML."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from xml.etree import ElementTree

import numpy as np

from roiextractors_core.errors import printable

from .extractor import BioioImagingExtractor, moment
from .subblocks import Subblocks

__all__ = ["CziImagingExtractor"]


class CziImagingExtractor(BioioImagingExtractor):
    """One channel of one scene of a Zeiss CZI file; parameters and errors are those of the base class.

    The clock is 0 s at the first frame of the scene.

    References
    ----------
    ZEISS ZISRAW (CZI) file format: metadata segment, subblock metadata ``AcquisitionTime``.
    """

    package = "bioio_czi"
    takes_folders = False
    advice = '"roiextractors-bioio[czi]"'
    reads_parts = True

    @classmethod
    def _open_image(cls, path: str) -> Any:
        cls._import_package(path)
        _subblocks(path).require_sound()
        return super()._open_image(path)

    def _read(self, samples: slice | np.ndarray, rows: slice, columns: slice, planes: slice) -> Any:
        wanted = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        _subblocks(self._path).require_sound(wanted)
        return super()._read(samples, rows, columns, planes)

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return when the first plane of each sample was acquired, or None if the frames have no times."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._ask_once("first", self._first_time) is None:
            return None
        if end <= 1:  # checking whether there are times must not read those of all frames
            return self._ask_once("time of the first sample", lambda: self._times(1, T=0))[start:end].copy()
        return self._ask_once("times", lambda: self._times(len(self)))[start:end].copy()

    def _first_time(self) -> int | None:
        return min((ticks for _, ticks in self._acquired(T=0)), default=None)

    def _times(self, count: int, **which: int) -> np.ndarray:
        """Return seconds, one for each sample; NaN for a frame without a time."""
        found = np.full(count, np.nan)
        first = self._ask_once("first", self._first_time) or 0
        for place, ticks in self._acquired(**which):
            at = int(place.get("T", 0))
            if at < count and int(place.get("C", 0)) == self._channel and int(place.get("Z", 0)) == 0:
                found[at] = (ticks - first) / 1e7
        return found

    def _acquired(self, **which: int) -> Iterator[tuple[dict[str, str], int]]:
        """Yield the position and the time (100 ns units since 1 January 1970) of each subblock that has a time."""
        there = {axis: number for axis, number in which.items() if axis in self._image.dims.order}
        for block in self._image.get_subblock_metadata(**there):
            ticks = _ticks(block.findtext(".//AcquisitionTime") or "")
            if ticks is not None:
                yield dict(block.attrib), ticks

    @classmethod
    def _channel_names(cls, image: Any) -> Sequence[Any]:
        count = dict(zip(image.dims.order, image.dims.shape, strict=True)).get("C", 1)
        described = _channels(_xml(str(image._path)), image.current_scene_index)
        return [channel.get("Name") or channel.get("Id") for channel in described[:count]]

    def _micrometres(self, axis: str) -> float | None:
        found = self._header().findtext(f"./Metadata/Scaling/Items/Distance[@Id='{axis}']/Value")
        return float(found) * 1e6 if found else None

    def _described(self) -> dict[str, Any]:
        header, first = self._header(), self._ask_once("first", self._first_time)
        channels = _channels(header, self._scene)
        one = channels[self._channel] if self._channel < len(channels) else ElementTree.Element("Channel")
        started = header.findtext("./Metadata/Information/Image/AcquisitionDateAndTime")
        return {
            "start": _moment_of(started) if first is None else moment(first),
            "emission": float(one.findtext("EmissionWavelength") or 0) or None,
            "excitation": float(one.findtext("ExcitationWavelength") or 0) or None,
            "device": f"Zeiss {printable(header.findtext('.//Microscopes/Microscope/System') or '')}".strip(),
            "software": printable(
                " ".join(header.findtext(f".//Application/{key}") or "" for key in ("Name", "Version"))
            ),
        }

    def _omissions(self) -> tuple[str, ...]:
        """Return a note if there are frames of more scenes than the metadata names: bioio-czi reads only the named ones."""
        with open(self._path, "rb") as stream:
            blocks = import_module("aicspylibczi").CziFile(stream).get_dims_shape()
        there = sum(end - start for start, end in (block.get("S", (0, 1)) for block in blocks))
        named = len(self._image.scenes)
        if there <= named:
            return ()
        return (
            f"{self._name} contains frames of {there:,} scenes but its metadata names {named:,}; the others cannot be read",
        )

    def _vendor(self) -> dict[str, Any]:
        return {"xml": ElementTree.tostring(self._header(), encoding="unicode")}

    def _header(self) -> ElementTree.Element:
        return self._ask_once("header", lambda: _xml(self._path))


def _subblocks(path: str) -> Subblocks:
    """Return the subblocks of a file; the directory is read once for as long as the file does not change."""
    found = os.stat(path)
    return _subblocks_of(path, found.st_ino, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _subblocks_of(path: str, *_: int) -> Subblocks:
    return Subblocks(path)


def _xml(path: str) -> ElementTree.Element:
    """Return the file's metadata without bioio-czi, which would index all frames of the file first."""
    with open(path, "rb") as stream:
        found: ElementTree.Element = import_module("aicspylibczi").CziFile(stream).meta
        return found


def _channels(header: ElementTree.Element, scene: int) -> list[ElementTree.Element]:
    found = header.findall(".//Image/Dimensions/Channels")
    return list(found[scene if scene < len(found) else 0].iterfind("Channel")) if found else []


def _ticks(text: str) -> int | None:
    """Return an ISO 8601 time as 100 ns units since 1 January 1970; ZEN writes seven digits, one more than datetime can store."""
    whole, _, rest = text.strip().partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    started = _moment_of(whole + rest[len(digits) :])
    return None if started is None else int(started.timestamp()) * 10_000_000 + int((digits + "0000000")[:7])


def _moment_of(text: str | None) -> datetime | None:
    """Return an ISO 8601 time; ZEN writes UTC."""
    try:
        found = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
