"""Metadata and provenance."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from ...errors import counted
from ...imaging.extractor import ImagingExtractor
from ...metadata import ChannelMetadata, RecordingMetadata
from ..cuts import paths_of
from .case import Case, GivenRecording
from .judging import fail

__all__ = ["MetadataTests"]

_PLAIN = (type(None), bool, int, float, str, np.generic, datetime)
PLAUSIBLE_MICROMETRES = (0.01, 1_000)  # a pixel; metres, millimetres and nanometres give others


class MetadataTests(GivenRecording):
    """Metadata is plain, serialises, and is in the units of OME."""

    def test_the_metadata_serialises(self, extractor: ImagingExtractor) -> None:
        metadata = extractor.metadata
        if not isinstance(metadata, RecordingMetadata):
            fail(f"metadata is {type(metadata).__name__}", "return a RecordingMetadata from get_metadata")
        for words, plain in (("metadata", metadata.to_dict()), ("provenance", extractor.provenance.to_dict())):
            try:
                json.dumps(plain, allow_nan=False)
            except (TypeError, ValueError) as error:
                fail(f"{words}.to_dict() is not JSON: {error}", "put numbers, text, lists and dictionaries in it")
        foreign = list(_not_plain(metadata.vendor, "vendor"))
        if foreign:
            fail(
                f"metadata.{foreign[0]}, expected a number, text, a date, a list or a dictionary",
                "convert it in get_metadata: bytes.decode, numpy's tolist, str(path)",
            )
        if pickle.loads(pickle.dumps(metadata)).to_dict() != metadata.to_dict():  # noqa: S301 - made on this line
            fail("the metadata changed by pickling", "put plain values in it")
        if extractor.metadata.to_dict() != metadata.to_dict():
            fail("the metadata differs from one call to the next", "answer from what the file says")

    def test_the_metadata_is_in_the_units_of_ome(self, case: Case, extractor: ImagingExtractor) -> None:
        metadata = extractor.metadata
        wrong = [words for words, right in _metadata_checks(metadata, case) if not right]
        if wrong:
            fail("; ".join(wrong), "change get_metadata; a field that the file does not state stays None or empty")

    def test_the_provenance_says_where_it_came_from(self, case: Case, extractor: ImagingExtractor) -> None:
        provenance = extractor.provenance
        expected = [os.path.abspath(path) for path in paths_of(case.recording)]
        if provenance.format != case.spec.name or list(provenance.paths) != expected:
            fail(
                f"provenance says format {provenance.format!r} and paths {provenance.paths}",
                "leave provenance and bind_provenance to the base class",
            )
        notes = extractor.get_notes()
        if not isinstance(notes, tuple) or not all(isinstance(note, str) and note for note in notes):
            fail(f"get_notes() is {notes!r:.200}", "return a tuple of sentences")


def _not_plain(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str | int):
                yield f"{where} has the key {key!r:.80}, {type(key).__name__}"
            yield from _not_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple | set | frozenset):
        for place, item in enumerate(value):
            yield from _not_plain(item, f"{where}[{place}]")
    elif not isinstance(value, _PLAIN):
        yield f"{where} is {type(value).__name__}"


def _metadata_checks(metadata: RecordingMetadata, case: Case) -> Iterator[tuple[str, bool]]:
    def length(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")

    planes = case.expected.shape[3] if case.is_volumetric else 1
    yield (
        f"start_time is {metadata.start_time!r}, expected a datetime",
        metadata.start_time is None or isinstance(metadata.start_time, datetime),
    )
    size = metadata.pixel_size
    yield (
        f"pixel_size is {size!r}, expected (row, column) in micrometres",
        size is None or (isinstance(size, tuple) and len(size) == 2 and all(map(length, size))),
    )
    low, high = PLAUSIBLE_MICROMETRES
    yield (
        f"pixel_size is {size!r}, and no microscope has pixels of that many micrometres: plausible are {low} to {high:,}",
        size is None or not all(map(length, size)) or all(low <= part <= high for part in size),
    )
    yield (
        f"plane_spacing is {metadata.plane_spacing!r}, expected a distance in micrometres",
        metadata.plane_spacing is None or length(metadata.plane_spacing),
    )
    yield (
        f"plane_spacing is {metadata.plane_spacing!r} micrometres, plausible are {low} to {100 * high:,}",
        not length(metadata.plane_spacing) or low <= (metadata.plane_spacing or low) <= 100 * high,
    )
    positions = metadata.plane_positions
    yield (
        f"plane_positions has {counted(len(positions), 'position')} for {counted(planes, 'plane')}",
        not positions or (isinstance(positions, tuple) and len(positions) == planes),
    )
    yield (
        f"channels is {metadata.channels!r:.120}, expected a tuple of ChannelMetadata",
        isinstance(metadata.channels, tuple) and all(isinstance(c, ChannelMetadata) for c in metadata.channels),
    )
    for channel in (c for c in metadata.channels if isinstance(c, ChannelMetadata)):
        waves = (channel.emission_wavelength, channel.excitation_wavelength)
        yield (
            f"the wavelengths of channel {channel.name!r} are {waves}, expected nanometres between 50 and 20,000",
            all(wave is None or (length(wave) and 50 < wave < 20_000) for wave in waves),
        )
    for name in ("device", "software"):
        value = getattr(metadata, name)
        yield f"{name} is {value!r}, expected text", value is None or (isinstance(value, str) and bool(value))
