"""Nikon ND2: frames through bioio-nd2; names, sizes and times through nd2, its library."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import numpy as np

from roiextractors_core.errors import printable

from .extractor import BioioImagingExtractor

__all__ = ["Nd2ImagingExtractor"]

_JULIAN_DAY_OF_1970 = 2440587.5
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

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> np.ndarray | None:
        """Return when the first plane of each sample was acquired, or None if the file has no times."""
        start, end = self.resolve_range(start_sample, end_sample)
        if self._ask_once("last", lambda: self._times(len(self) - 1, len(self))) is None:
            return None
        if end <= 1:
            found = self._ask_once("time of the first sample", lambda: self._times(0, 1))
        else:
            found = self._ask_once("times", lambda: self._times(0, len(self)))
        return None if found is None else found[start:end].copy()

    def _times(self, start: int, end: int) -> np.ndarray | None:
        """Return seconds, or None if the file has no times: a clock that is still 0 at the end never ran."""
        with _open_nd2(self._path) as file:
            places = self._places(file)
            try:
                stamps = [file.frame_metadata(places[k]).channels[self._channel].time for k in range(start, end)]
            except _NOT_STATED:
                return None
        times = np.array([stamp.relativeTimeMs for stamp in stamps], np.float64) / 1e3
        return times if np.isfinite(times).all() and (not start or times[-1] > 0) else None

    def _places(self, file: Any) -> dict[int, int]:
        """Return the number in the file of the first plane of each sample."""
        found: dict[int, int] = {}
        for number, place in enumerate(file.loop_indices):
            if place.get("P", self._scene) == self._scene and place.get("Z", 0) == 0:
                found.setdefault(place.get("T", 0), number)
        return found

    @classmethod
    def _channel_names(cls, image: Any) -> Sequence[Any]:
        with _open_nd2(str(image._path)) as file:
            return [channel.channel.name for channel in getattr(file.metadata, "channels", None) or ()]

    def _micrometres(self, axis: str) -> float | None:
        with _open_nd2(self._path) as file:
            return float(getattr(file.voxel_size(), axis.lower()))

    def _described(self) -> dict[str, Any]:
        found: dict[str, Any] = {"start": None}
        with _open_nd2(self._path) as file, contextlib.suppress(*_NOT_STATED):
            camera = re.search(r"Camera Name:[ \t]*([^\r\n]*)", file.text_info.get("description", ""))
            found["device"] = printable(camera[1].strip()) if camera else None
            one = file.metadata.channels[self._channel].channel
            found |= {"emission": one.emissionLambdaNm or None, "excitation": one.excitationLambdaNm or None}
            time = file.frame_metadata(0).channels[0].time
            if time.absoluteJulianDayNumber:
                days = time.absoluteJulianDayNumber - _JULIAN_DAY_OF_1970
                found["start"] = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
                    days=days, milliseconds=-time.relativeTimeMs
                )
        return found

    def _vendor(self) -> dict[str, Any]:
        with _open_nd2(self._path) as file:
            return {str(key): str(value) for key, value in dict(file.text_info).items()}


@contextlib.contextmanager
def _open_nd2(path: str) -> Iterator[Any]:
    with import_module("nd2").ND2File(path) as file:
        yield file
