"""Times, rate and metadata that a file format has no place for, as plain data beside or inside a converted file."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import CorruptRecordingError, counted, printable
from ..metadata import RecordingMetadata
from .json_text import require_bounded_json

__all__ = ["SIDECAR_KEY", "Sidecar"]

SIDECAR_KEY = "roiextractors"
"""The key of a sidecar inside other formats: an OME annotation, a Zarr attribute."""

_VERSION = 1
_HEAD = 100  # characters, in which the key is
_CHECKED_PIECES, _PIECE_BYTES = 16, 4096


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The clock and metadata of a recording, without its pixels.

    Attributes
    ----------
    shape : tuple of int
        Of the recording, ``(samples, rows, columns[, planes])``.
    rate : float or None
        Samples per second (Hz).
    times : numpy.ndarray or None
        Seconds, float64, one per sample; None if they follow from the rate, starting at 0.
    metadata : RecordingMetadata
    file : mapping
        Of the file that it describes: ``size`` in bytes, ``dtype``, and ``crc32`` of 16 pieces of 4,096 bytes; empty if unknown.
        A sum, unlike a modification time, is still right after both files were copied.
    """

    shape: tuple[int, ...]
    rate: float | None
    times: np.ndarray | None
    metadata: RecordingMetadata
    file: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, recording: Any) -> Sidecar:
        """Return the sidecar of a recording; times on the grid of the rate, starting at 0 s, are left out."""
        clock = recording.clock
        on_grid = clock.source is None or (clock.source == "computed" and clock.first == 0)
        times = None if on_grid else recording.get_timestamps()
        return cls(recording.shape, recording.get_sampling_frequency(), times, recording.metadata)

    def describing(self, read: Callable[[int, int], bytes], size: int, dtype: Any) -> Sidecar:
        """Return a sidecar that knows the file it describes.

        Parameters
        ----------
        read : callable
            ``read(offset, count)`` returns bytes of the file.
        size : int
            Bytes in the file.
        dtype : numpy.dtype
        """
        return replace(self, file=_file_facts(read, size, dtype))

    def why_not_of(self, read: Callable[[int, int], bytes], size: int, dtype: Any) -> str:
        """Return in words how a file differs from the one that the sidecar was written for; empty if it does not.

        Parameters
        ----------
        read, size, dtype
            As for :meth:`describing`.
        """
        if not self.file:
            return ""
        facts = _file_facts(read, size, dtype)
        words = {"size": "another size", "dtype": "another dtype", "crc32": "other pixels"}
        return next((word for key, word in words.items() if self.file.get(key) != facts[key]), "")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``; floats keep every digit."""
        return {
            **({"file": dict(self.file)} if self.file else {}),
            "version": _VERSION,
            "shape": list(self.shape),
            "sampling_frequency": self.rate,
            "times": None if self.times is None else self.times.tolist(),
            "metadata": self.metadata.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Any, *, where: str) -> Sidecar:
        """Make a sidecar from its data.

        Parameters
        ----------
        data : mapping
            From :meth:`to_dict`, through JSON.
        where : str
            Where it was read from, for the error message.

        Raises
        ------
        CorruptRecordingError
            The data contradict each other or are of another version.
        """
        try:
            if data["version"] != _VERSION:
                raise ValueError(f"version {data['version']!r} is not supported, expected {_VERSION}")
            shape = tuple(int(n) for n in data["shape"])
            rate = None if data["sampling_frequency"] is None else float(data["sampling_frequency"])
            times = None if data["times"] is None else np.asarray(data["times"], np.float64)
            if times is not None and times.shape != shape[:1]:
                raise ValueError(f"got {counted(times.size, 'time')} for {counted(shape[0], 'sample')}")
            return cls(shape, rate, times, RecordingMetadata.from_dict(data["metadata"]), dict(data.get("file") or {}))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise CorruptRecordingError(
                f"the times and metadata in {printable(where)} cannot be used: {printable(error)}; correct or remove them"
            ) from error

    def to_json(self) -> str:
        """Return the sidecar as JSON text under its key."""
        return json.dumps({SIDECAR_KEY: self.to_dict()}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str) -> Sidecar | None:
        """Make a sidecar from JSON text; None if the text is something else.

        Raises
        ------
        CorruptRecordingError
            As :meth:`from_dict`.
        """
        try:
            require_bounded_json(text.encode() if isinstance(text, str) else text, where)
        except CorruptRecordingError:
            if _is_named(text):
                raise
            return None
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            if _is_named(text):
                raise CorruptRecordingError(
                    f"the times and metadata in {printable(where)} cannot be used: the text is truncated or damaged ({printable(error)}); "
                    "copy it again or remove it"
                ) from error
            return None
        if not isinstance(found, Mapping) or SIDECAR_KEY not in found:
            return None
        return cls.from_dict(found[SIDECAR_KEY], where=where)


def _is_named(text: str | bytes) -> bool:
    """Return whether a text begins as a sidecar does."""
    return f'"{SIDECAR_KEY}"' in (text[:_HEAD] if isinstance(text, str) else text[:_HEAD].decode("utf-8", "replace"))


def _file_facts(read: Callable[[int, int], bytes], size: int, dtype: Any) -> dict[str, Any]:
    total = 0
    last = max(0, size - _PIECE_BYTES)
    for place in dict.fromkeys(last * k // (_CHECKED_PIECES - 1) for k in range(_CHECKED_PIECES)):
        total = zlib.crc32(read(place, min(_PIECE_BYTES, size - place)), total)
    return {"size": size, "dtype": np.dtype(dtype).str, "crc32": f"{total:08x}"}
