"""Reads Scanbox recordings: one channel with all of its planes, the stored values inverted."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from roiextractors_core.errors import (
    ChoiceError,
    RoiExtractorsWarning,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    counted,
    printable,
)
from roiextractors_core.imaging import BlockImagingExtractor, Samples
from roiextractors_core.io import StoredFrames, missing_samples, run_on_cores, warn
from roiextractors_core.metadata import ChannelMetadata, ObjectiveMetadata, RecordingMetadata

from .info import Layout, find, layout_of, listed, number, plain
from .lines import suspect_channels
from .pair import pair_of

__all__ = ["ScanboxImagingExtractor"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_BATCH_BYTES = 4 << 20  # little enough to be still in the cache when its channel is picked out
_COLOURS = {"green": 0, "red": 1}


class ScanboxImagingExtractor(BlockImagingExtractor):
    """One channel of a Scanbox recording: a movie ``(samples, rows, columns)``, or volumes with the planes last.

    Scanbox stores the values of its digitizer, which fall as the light rises; the pixels are 65535 minus the stored value,
    as in the vendor's ``sbxread``.

    Parameters
    ----------
    file_path : str, os.PathLike, or a list of both files
        The ``.sbx`` file or its ``.mat``; the other one is found beside it, under the same name.
    channel : str or int, optional
        The channel's name (``"PMT0"``; in version 3 the name that was given to it), or the number of its PMT (0 is the
        green one, 1 the red one).  Needed when several were saved.
    deinterleave : bool
        With the optotune, True gives volumes, the planes in the order in which the frames go through them; False gives
        the frames one after the other.
    num_channels : int, optional
        How many channels were saved, 1 or 2, if the info is wrong about it.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the rate in the info.

    Raises
    ------
    SourceNotFoundError
        One of the two files is missing.
    StreamChoiceError
        There are several channels and none was chosen, or the chosen one does not exist.
    UnsupportedRecordingError
        A version of Scanbox whose layout is unknown, or a MATLAB file without the info.
    CorruptRecordingError
        The info is damaged or contains impossible numbers.
    TruncatedRecordingError
        Not one complete frame, or volume.

    Warns
    -----
    IncompleteRecordingWarning
        The last frame or volume is incomplete and is skipped, or the file contains fewer frames than the info says.

    References
    ----------
    https://scanbox.org/2014/08/04/reading-raw-data-with-sbxread/; see :mod:`roiextractors_scanbox.info` for the layout.
    """

    def __init__(
        self,
        file_path: Paths,
        *,
        channel: str | int | None = None,
        deinterleave: bool = True,
        num_channels: int | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        pair = pair_of(file_path)
        self._file, self._info = pair.pixels, pair.info
        self._both = [os.path.abspath(file.path) for file in (pair.pixels, pair.described_by)]
        self._layout = layout = _with_channels(layout_of(pair.info, pair.info_name), num_channels)
        self._planes = layout.planes if deinterleave else 1
        self.is_volumetric = self._planes > 1
        self._size = self._file.size
        _require_frames(self._size, layout, self._planes, self._file.name, info=self._info)
        self._channel = _channel(layout, channel, self._file.name)
        shape = (layout.rows, layout.columns, len(layout.channels))
        self._frames = StoredFrames((self._file,), shape=shape[: 2 if shape[2] == 1 else 3], dtype="<u2")
        self._num_stored = self._size // layout.frame_bytes
        # 0 is the brightest value, so frames of zeros were never written
        self._num_frames = self._frames.count_written(self._num_stored)
        is_checked = num_channels is None and layout.expected_frames is None and not self._contradictions
        self._suspected = suspect_channels(self._file, layout, self._num_frames) if is_checked else None
        for sentence in self._incomplete:
            warn(f"{self._file.name}: {sentence}")
        for sentence in (*self._contradictions, *self._suspicion):
            warn(f"{self._file.name}: {sentence}", RoiExtractorsWarning)

    @classmethod
    def get_streams(cls, file_path: Paths, **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the channels where there are several: ``{"channel": ("PMT0", "PMT1")}``."""
        pair = pair_of(file_path)
        channels = _with_channels(layout_of(pair.info, pair.info_name), options.get("num_channels")).channels
        return {"channel": channels} if len(channels) > 1 else {}

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._layout.rows, self._layout.columns

    def get_num_samples(self) -> int:
        """Return the number of complete frames, or of complete volumes."""
        return self._num_frames // self._planes

    def get_num_planes(self) -> int:
        """Return the number of planes of a sample; 1 for a movie."""
        return self._planes

    def get_dtype(self) -> np.dtype[Any]:
        """Return uint16."""
        return np.dtype(np.uint16)

    def get_sampling_frequency(self) -> float | None:
        """Return frames or volumes a second (Hz), by the resonant mirror's frequency and the lines of a frame."""
        return None if self._layout.frame_rate is None else self._layout.frame_rate / self._planes

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        """Return a part of the recording; see :meth:`BlockImagingExtractor.get_block`."""
        self.check_open()
        indices = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        if not self.is_volumetric:
            return self._read(indices, rows, columns)
        chosen = np.arange(self._planes)[slice(None) if planes is None else planes]
        frames = indices[:, None] * self._planes + chosen
        block = self._read(frames.ravel(), rows, columns)
        return np.moveaxis(block.reshape(*frames.shape, *block.shape[1:]), 1, 3)

    def get_metadata(self) -> RecordingMetadata:
        """Return the metadata of the info; ``vendor`` is all of it, with the TTL events (``frame``, ``line``, ``event_id``)."""
        return self._metadata

    def get_paths(self) -> tuple[str, ...]:
        """Return the ``.sbx`` file and its ``.mat`` file."""
        return tuple(dict.fromkeys([*super().get_paths(), *self._both]))

    def get_notes(self) -> tuple[str, ...]:
        """Return the decisions made and the data skipped while opening."""
        return (*self._layout.notes, *self._incomplete, *self._contradictions, *self._suspicion, *self._extra_frames)

    def get_missing_samples(self) -> np.ndarray:
        """Return the samples that the info counts and the file does not have."""
        expected = max(self._layout.expected_frames or 0, self._num_stored) // self._planes
        return missing_samples(expected, self.get_num_samples())

    def close(self) -> None:
        """Release the file."""
        self._file.close()
        super().close()

    @cached_property
    def _metadata(self) -> RecordingMetadata:
        version = number(self._info, "scanbox_version")
        made_by = "Scanbox" if version is None else f"Scanbox {version:g}"
        wavelength = number(self._info, "config.wavelength")
        # Nanometres
        known = wavelength is not None and 100 < wavelength < 10_000
        return RecordingMetadata(
            pixel_size=_pixel_size(self._info),
            plane_positions=_positions(self._info, self._planes),
            objective=_objective(self._info),
            zoom=_zoom(self._info),
            modality="two-photon",
            channels=(
                ChannelMetadata(
                    self._layout.channels[self._channel], excitation_wavelength=wavelength if known else None
                ),
            ),
            device=made_by,
            software=made_by,
            vendor=listed(plain(self._info)),
        )

    @property
    def _incomplete(self) -> tuple[str, ...]:
        frames, rest = self._num_frames, self._size % self._layout.frame_bytes
        expected, planes = self._layout.expected_frames, frames % self._planes
        found = []
        if frames < self._num_stored:
            found.append(
                f"the file ends in zeros, as an interrupted recording does: {frames:,} of {self._num_stored:,} frames were written"
            )
            rest = 0
        if rest:
            found.append(
                f"the file ends inside frame {frames:,} (after {rest:,} of {self._layout.frame_bytes:,} bytes), which is skipped"
            )
        if planes:
            found.append(f"the last volume has {planes} of {self._planes} planes and is skipped")
        if expected is not None and frames < expected:
            words = (
                f"the info says {counted(expected, 'frame')} (max_idx), but the file contains {frames:,} complete ones"
            )
            found.append(words + ("" if rest or found else self._explain_fewer(frames, expected)))
        return (*found, *self._half_of_the_plan)

    @property
    def _half_of_the_plan(self) -> tuple[str, ...]:
        """A sentence where two channels of which one was saved would explain half of the planned frames."""
        planned, is_aborted = self._layout.planned_frames, bool(number(self._info, "abort_bit"))
        # Recordings that the user ended early are usual, and Scanbox notes them
        if self._layout.expected_frames is not None or planned is None or is_aborted or len(self._layout.channels) != 2:
            return ()
        if 2 * self._num_frames != planned or self._size % self._layout.frame_bytes:
            return ()
        return (
            f"{planned:,} frames were planned (config.frames), but the file contains {self._num_frames:,} complete ones; it is exactly "
            "1/2, so only one channel was saved (num_channels=1), or the recording was ended early",
        )

    def _explain_fewer(self, frames: int, expected: int) -> str:
        """Return the likely reason for an exact factor between the numbers of frames."""
        # An aborted recording hardly ends at an exact fraction, but a wrong layout gives one
        factor, rest = divmod(expected, frames) if frames else (0, 1)
        if rest:
            return ""
        count = len(self._layout.channels)
        channel = "only one channel was saved (num_channels=1), or " if factor == count > 1 else ""
        return f"; it is exactly 1/{factor}, so {channel}the .mat is of another recording or says a wrong size (sz)"

    @property
    def _contradictions(self) -> tuple[str, ...]:
        """A sentence where the file has exactly two, three, ... times the frames of the info."""
        key, expected = "max_idx", self._layout.expected_frames
        if expected is None:
            # Without max_idx only the planned number of frames is left to compare
            key, expected = "config.frames", self._layout.planned_frames
        factor, rest = divmod(self._num_frames, expected) if expected else (0, 1)
        if rest or factor < 2 or self._size % self._layout.frame_bytes:
            return ()
        # A second channel doubles the size of the file, so that each frame counts as two
        is_second = factor == 2 and len(self._layout.channels) == 1
        channel = "both channels were saved (num_channels=2), or " if is_second else ""
        return (
            f"the info says {expected:,} frames ({key}), but the file contains {self._num_frames:,}, exactly {factor} times as many, so "
            f"{channel}the .mat is of another recording or says a wrong size (sz); reading all of them",
        )

    @property
    def _suspicion(self) -> tuple[str, ...]:
        """A sentence where the info has no number of frames, and the pixels suggest another number of channels."""
        if self._suspected is None:
            return ()
        seen = {
            1: "the info says 2 channels, but the values are arranged like lines of one",
            2: "the info says 1 channel, but every other value resembles the next, as if both had been saved",
        }
        return (f"{seen[self._suspected]}; if so, open(..., num_channels={self._suspected}). Reading as the info says",)

    @property
    def _extra_frames(self) -> tuple[str, ...]:
        expected = self._layout.expected_frames
        if expected is None or self._num_frames <= expected or self._contradictions:
            return ()
        return (
            f"the info says {counted(expected, 'frame')} (max_idx), but the file contains {self._num_frames:,}; reading all of them",
        )

    def _read(self, frames: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return frames ``(frames, rows, columns)`` of the channel, inverted."""
        offsets = frames * self._layout.frame_bytes
        # With one channel the pixels are contiguous and can be inverted in the buffer they were read into
        if len(self._frames.shape) == 2:
            return self._frames.read(offsets, rows, columns, apply=_inverted_in_place)
        # With two channels, reading all frames at once would take twice the memory of the result
        shape = (len(range(*rows.indices(self._layout.rows))), len(range(*columns.indices(self._layout.columns))))
        result = np.empty((len(frames), *shape), np.uint16)
        step = max(1, _BATCH_BYTES // self._layout.frame_bytes)
        run_on_cores(
            [
                partial(self._pick, result[a : a + step], offsets[a : a + step], rows, columns)
                for a in range(0, len(frames), step)
            ]
        )
        return result

    def _pick(self, part: np.ndarray, offsets: np.ndarray, rows: slice, columns: slice) -> None:
        """Fill ``part`` with the channel; the channels of a pixel are stored side by side."""
        np.invert(self._frames.read(offsets, rows, columns)[..., self._channel], out=part)


def _inverted_in_place(part: np.ndarray) -> None:
    np.invert(part, out=part)


def _require_frames(size: int, layout: Layout, planes: int, name: str, *, info: Mapping[str, Any]) -> None:
    """Refuse a file without one complete sample, and the raw digitizer samples of version 1."""
    if number(info, "scanbox_version") is None:
        raw = (number(info, "postTriggerSamples") or 0) * layout.rows * len(layout.channels) * 2
        # Version 1 writes no scanbox_version, and neither do some later files: the size of the file decides
        if raw > layout.frame_bytes and size and size % raw == 0:
            raise UnsupportedRecordingError(
                f"{name} was written by Scanbox 1, which stored every sample of the digitizer ({raw:,.0f} bytes a frame) instead of pixels; "
                "convert it with Scanbox's own tools"
            )
    needed = layout.frame_bytes * planes
    if size < needed:
        what = f"volume of {planes} planes (deinterleave=False reads frames)" if planes > 1 else "frame"
        raise TruncatedRecordingError(
            f"{name} has {size:,} bytes, but one {what} of {layout.rows} x {layout.columns} pixels needs {needed:,}: the file is truncated"
        )


def _channel(layout: Layout, wanted: str | int | None, name: str) -> int:
    """Return the place of the channel inside a pixel."""
    if wanted is None and len(layout.channels) == 1:
        return 0
    if isinstance(wanted, str):
        texts = [text.casefold() for text in layout.channels]
        if wanted.casefold() in texts:
            return texts.index(wanted.casefold())
        wanted_pmt = _COLOURS.get(wanted.casefold())
    else:
        # bool is an int: True would choose PMT 1
        wanted_pmt = None if isinstance(wanted, bool) else wanted
    if wanted_pmt in layout.numbers:
        return layout.numbers.index(wanted_pmt)
    raise StreamChoiceError.for_option(name, "channel", layout.channels, wanted)


def _with_channels(layout: Layout, count: Any) -> Layout:
    if count is None:
        return layout
    if isinstance(count, bool) or count not in (1, 2):
        raise ChoiceError(f"num_channels must be 1 or 2, got {count!r:.40}")
    return layout.holding(int(count))


def _objective(info: Mapping[str, Any]) -> ObjectiveMetadata | None:
    """Return the objective; its name contains the magnification, and sometimes the aperture (``Nikon 16x/0.8w``)."""
    values = find(info, "objective")
    while isinstance(values, list) and values:
        values = values[0]
    if not isinstance(values, str) or not values.strip():
        return None
    times, aperture = (
        re.search(r"(\d{1,3}(?:\.\d)?)\s*x", values, re.IGNORECASE),
        re.search(r"/\s*(\d\.\d{1,3})", values),
    )
    return ObjectiveMetadata(
        printable(values.strip()), float(times[1]) if times else None, float(aperture[1]) if aperture else None
    )


def _zoom(info: Mapping[str, Any]) -> float | None:
    """Return the magnification of the scanner: ``config.magnification`` counts the entries of a list, from 1."""
    place, table = number(info, "config.magnification"), plain(find(info, "config.magnification_list"))
    if place is None or not isinstance(table, list) or not 1 <= place <= len(table) or place != int(place):
        return None
    try:
        zoom = float(table[int(place) - 1])
    except (TypeError, ValueError):
        return None
    return zoom if 0 < zoom < 1000 else None


def _pixel_size(info: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return ``(row, column)`` in micrometres: the calibration of the magnification in use."""
    found = number(info, "dycal"), number(info, "dxcal")
    if found == (None, None):
        table, place = find(info, "calibration"), number(info, "config.magnification")
        if isinstance(table, list) and place is not None and 1 <= place <= len(table):
            entry = table[int(place) - 1]
            found = number(entry, "y"), number(entry, "x")
    rows, columns = found
    if rows is None or columns is None or not (0 < rows < 1e4 and 0 < columns < 1e4):
        return None
    return float(rows), float(columns)


def _positions(info: Mapping[str, Any], planes: int) -> tuple[float, ...]:
    """Return the optotune's positions in micrometres, if the info has one for each plane."""
    values = info.get("otwave_um")
    if planes < 2 or not isinstance(values, np.ndarray) or values.size != planes or not np.isfinite(values).all():
        return ()
    return tuple(float(value) for value in values.ravel())
