"""Reads Femtonics MESc files: one channel of one unit, with the file's own conversion or as stored."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import h5py
import numpy as np
from roiextractors_hdf5.contents import attributes_of, missing_bytes, named, open_hdf5
from roiextractors_hdf5.dataset import Hdf5Dataset

from roiextractors_core.errors import (
    CorruptRecordingError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.imaging import BlockImagingExtractor, Samples
from roiextractors_core.io import Budget, Source, single_file, to_micrometres, to_seconds, warn
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

__all__ = ["FemtonicsImagingExtractor", "is_mesc"]

# Attributes that MESc stores as text; other lists of numbers can end in 0 too
_TEXTS = re.compile(
    r".*(Name|Title|UnitNamePrefix|UnitNamePostfix|Comment|Hostname|Profilename|SetupID|Username|MEScVersion)"
)
_MAX_GROUPS = 10_000
_MAX_UNITS = 2000
_USUAL_CONVERSIONS = ((-1.0, 65535.0), (-1.0, 255.0))
_FIRST_SECOND = 365 * 86400  # a start in 1970 is that of a clock that was not set


class FemtonicsImagingExtractor(BlockImagingExtractor):
    """One channel of one measurement unit of a MESc file: ``(samples, rows, columns)``; a stack in depth is one volume.

    Parameters
    ----------
    file_path : str or os.PathLike
        The ``.mesc`` file.
    session : str or int, optional
        ``"MSession_0"`` or 0; needed when several of them contain recordings.
    unit : str or int, optional
        ``"MUnit_0"`` or 0; needed when the session contains several recordings.
    channel : str or int, optional
        The channel's name (``"UG"``), or MESc's number of it (``"Channel_0"`` or 0); needed when there are several.
    apply_conversion : bool
        True, the default, applies the channel's linear conversion (scale and offset): for the usual scale -1 and offset 65535,
        because MESc stores the detector's signal inverted, the result stays uint16; for others it is float64.  False returns the
        stored integers, as roiextractors does: bright cells are then dark.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the file's.

    Raises
    ------
    StreamChoiceError
        Several sessions, units or channels, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        No recording in the file, or the unit is of another kind (a line scan, a curve).
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged or truncated.

    Notes
    -----
    ``ZDim`` is the number of frames that were planned; the length of the dataset is the number that were recorded.

    References
    ----------
    roiextractors, ``FemtonicsImagingExtractor``, and Mesmerize, its MESc importer, for the names of the attributes.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        session: str | int | None = None,
        unit: str | int | None = None,
        channel: str | int | None = None,
        apply_conversion: bool = True,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        path = single_file(file_path)
        self._unit, self._channel = _find_unit(path, session, unit, channel)
        self._scale, self._offset = self._unit.sure_conversion(self._channel) if apply_conversion else (1.0, 0.0)
        axes = "ZYX" if self._unit.is_stack else "TYX"
        # Frames that were never written are black, not the brightest of all
        blank = int(self._offset) if self._scale == -1.0 and self._offset >= 0 else None
        self._movie = Hdf5Dataset(path, self._unit.dataset(self._channel), axes=axes, missing_value=blank)
        self.is_volumetric = self._unit.is_stack
        self._notes = tuple(_notes(self._unit, self._channel, self._movie, apply_conversion))
        for words in self._movie.get_warnings(self._unit.file_name):
            warn(words)

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the sessions, units and channels, where there are several, within the session and unit that are named.

        Returns
        -------
        dict
            ``{"session": ("MSession_0", ...), "unit": ("MUnit_0", ...), "channel": ("UG", "UR")}``
        """
        units = _units_in(single_file(file_path))
        sessions = tuple(dict.fromkeys(one.session for one in units))
        units = [one for one in units if _fits(options.get("session"), one.session)]
        names = tuple(dict.fromkeys(one.name for one in units))
        units = [one for one in units if _fits(options.get("unit"), one.name)]
        channels = tuple(dict.fromkeys(name for one in units for name in one.channels))
        found = {"session": sessions, "unit": names, "channel": channels}
        return {option: choices for option, choices in found.items() if len(choices) > 1}

    keeps_missing_samples = True

    def get_image_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._movie.frame_shape

    def get_num_samples(self) -> int:
        """Return the number of frames in the dataset; 1 for a stack in depth."""
        return self._movie.num_samples

    def get_num_planes(self) -> int:
        """Return the number of planes of a stack in depth; 1 for a movie."""
        return self._movie.num_planes

    def get_dtype(self) -> np.dtype[Any]:
        """Return the dtype: the file's, or float64 for a conversion whose results do not fit it."""
        return self._movie.dtype if self._is_kept or self._is_inverted else np.dtype(np.float64)

    def get_chunk_shape(self) -> tuple[int, ...]:
        """Return the shape of the file's chunks; one whole sample without chunks."""
        return self._movie.chunk_shape

    def get_sampling_frequency(self) -> float | None:
        """Return the rate (Hz) by the conversion of the time axis; None for a stack."""
        return self._unit.rate

    def get_block(self, samples: Samples, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        """Return a part; reads only the chunks that it touches."""
        self.check_open()
        return self._converted(self._movie.read(samples, rows, columns, planes))

    def get_metadata(self) -> RecordingMetadata:
        """Return the start time, sizes, channel, microscope, software, and the unit's attributes."""
        return RecordingMetadata(
            start_time=self._unit.start_time,
            pixel_size=self._unit.pixel_size,
            plane_spacing=self._unit.length("Z") if self._unit.is_stack else None,
            channels=(ChannelMetadata(self._unit.channels[self._channel]),),
            modality="two-photon",
            device=" ".join(filter(None, ("Femtonics", self._unit.text("ExperimenterSetupID")))),
            software=self._unit.software,
            vendor=self._unit.attributes,
        )

    def get_notes(self) -> tuple[str, ...]:
        """Return notes: the conversion, sizes that differ from the dataset's, and missing chunks."""
        return (*self._notes, *self._movie.get_notes(self._unit.file_name))

    def get_missing_samples(self) -> np.ndarray:
        """Return the frames that lack at least one chunk, which reads as the fill value of the file."""
        return self._movie.missing.samples.copy()

    def close(self) -> None:
        """Release the file."""
        self._movie.close()
        super().close()

    @property
    def _is_kept(self) -> bool:
        return (self._scale, self._offset) == (1.0, 0.0)

    @property
    def _is_inverted(self) -> bool:
        """Whether the conversion inverts an unsigned type within its range, as 65535 - x does."""
        dtype = self._movie.dtype
        return dtype.kind == "u" and self._scale == -1.0 and self._offset == np.iinfo(dtype).max

    def _converted(self, stored: np.ndarray) -> np.ndarray:
        if self._is_kept:
            return stored
        if self._is_inverted:
            # For unsigned integers, max - x is the bitwise inverse; in place, as the array was made for this read
            np.invert(stored, out=stored)
            return stored
        scaled: np.ndarray = np.multiply(stored, self._scale, dtype=np.float64)
        scaled += self._offset
        return scaled


def is_mesc(source: Source) -> bool:
    """Return whether a file, which may be truncated, contains sessions of MESc."""
    if not source.is_hdf5:
        return False
    with open_hdf5(source.path) as file:
        return "VecMSessionsSize" in file.attrs or bool(_groups(file, "MSession"))


@dataclass(frozen=True, slots=True)
class _Unit:
    """One measurement unit: its path, channels, and attributes with their texts decoded."""

    file_name: str
    session: str
    name: str
    channels: tuple[str, ...]
    numbers: tuple[int, ...]
    attributes: Mapping[str, Any]
    is_cut: bool = False

    def dataset(self, channel: int) -> str:
        return f"{self.session}/{self.name}/Channel_{self.numbers[channel]}"

    def conversion(self, channel: int) -> tuple[float, float]:
        """Return (scale, offset) of a channel; (1, 0) without a linear conversion."""
        prefix = f"Channel_{self.numbers[channel]}_Conversion_ConversionLinear"
        scale, offset = self.number(f"{prefix}Scale"), self.number(f"{prefix}Offset")
        return (1.0, 0.0) if not scale or offset is None else (scale, offset)

    def sure_conversion(self, channel: int) -> tuple[float, float]:
        """Return the conversion to apply to the pixels.

        Raises
        ------
        TruncatedRecordingError
            The file is cut, so that the numbers may be zeros in place of what was there.
        CorruptRecordingError
            The file states a conversion that is not one: a scale of 0, or what is not a number.
        """
        scale, offset = self.conversion(channel)
        prefix = f"Channel_{self.numbers[channel]}_Conversion_ConversionLinear"
        stated = [
            f"{word.lower()} {self.attributes[prefix + word]!s:.40}"
            for word in ("Scale", "Offset")
            if prefix + word in self.attributes
        ]
        unusable = not self.number(f"{prefix}Scale") or self.number(f"{prefix}Offset") is None
        if len(stated) == 2 and unusable and not self.is_cut:
            raise CorruptRecordingError(
                f"{self.file_name} states a conversion of its pixels that cannot be applied ({printable(', '.join(stated))}); "
                "apply_conversion=False returns the stored integers"
            )
        if self.is_cut and (scale, offset) not in _USUAL_CONVERSIONS:
            raise TruncatedRecordingError(
                f"{self.file_name} is truncated, and the conversion of its pixels may be lost (scale {scale:g}, offset {offset:g}); "
                "apply_conversion=False returns the stored integers"
            )
        return scale, offset

    def number(self, key: str) -> float | None:
        value = self.attributes.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            return None
        return float(value)

    def text(self, key: str) -> str:
        value = self.attributes.get(key)
        return printable(value.strip()) if isinstance(value, str) else ""

    def length(self, axis: str) -> float | None:
        """Return the distance between pixels along an axis, in micrometres."""
        step = self.number(f"{axis}AxisConversionConversionLinearScale")
        # Negative for a reversed axis
        return to_micrometres(abs(step), self.text(f"{axis}AxisConversionUnitName")) if step else None

    @property
    def is_stack(self) -> bool:
        """Whether the third axis is depth: its unit is a length; the unit of a movie is a time."""
        return self.length("Z") is not None

    @property
    def rate(self) -> float | None:
        step = self.number("ZAxisConversionConversionLinearScale")
        seconds = to_seconds(step, self.text("ZAxisConversionUnitName"))
        return 1.0 / seconds if seconds and seconds > 0 else None

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        row, column = self.length("Y"), self.length("X")
        return None if row is None or column is None else (row, column)

    @property
    def start_time(self) -> datetime | None:
        seconds = self.number("MeasurementDatePosix")
        if not seconds or not _FIRST_SECOND < seconds < 1 << 36:
            return None
        fraction = timedelta(microseconds=(self.number("MeasurementDateNanoSecs") or 0.0) // 1000)
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds) + fraction

    @property
    def software(self) -> str | None:
        version, revision = self.text("CreatingMEScVersion"), self.number("CreatingMEScRevision")
        if not version:
            return None
        version = version if "MESc" in version else f"MESc {version}"
        return version if revision is None else f"{version} (revision {revision:.0f})"


def _find_unit(
    path: str | os.PathLike[str], session: str | int | None, unit: str | int | None, channel: str | int | None
) -> tuple[_Unit, int]:
    """Return the unit that the options name, and the position of the channel in it."""
    units = _units_in(path)
    name = units[0].file_name
    units = _only(units, "session", [one.session for one in units], session, name)
    units = _only(units, "unit", [one.name for one in units], unit, name)
    found = units[0]
    if channel is None and len(found.channels) == 1:
        return found, 0
    if channel is not None:
        for place, names in enumerate(zip(found.channels, found.numbers, strict=True)):
            if str(channel) in (names[0], f"Channel_{names[1]}", str(names[1])):
                return found, place
    raise StreamChoiceError.for_option(name, "channel", found.channels, seen=channel)


def _only(
    units: Sequence[_Unit], option: str, names: Sequence[str], given: str | int | None, file_name: str
) -> list[_Unit]:
    choices = tuple(dict.fromkeys(names))
    if given is None and len(choices) == 1:
        return list(units)
    found = [one for one, name in zip(units, names, strict=True) if given is not None and _fits(given, name)]
    if not found:
        raise StreamChoiceError.for_option(file_name, option, choices, seen=given)
    return found


def _fits(given: str | int | None, name: str) -> bool:
    return given is None or str(given) in (name, name.rpartition("_")[2])


def _units_in(path: str | os.PathLike[str]) -> list[_Unit]:
    """Return the units that contain images, in the order of their numbers."""
    file_name = printable(os.path.basename(os.fspath(path)))
    found: list[_Unit] = []
    others: list[str] = []
    budget = Budget(
        _MAX_UNITS, file_name, "units in its sessions"
    )  # links may lead from many sessions to the same units
    with open_hdf5(path) as file:
        for session in _groups(file, "MSession"):
            for name in _groups(file[session], "MUnit"):
                group = file[session][name]
                budget.spend()
                unit = _unit(file_name, session, name, group)
                if unit.channels:
                    found.append(unit)
                else:
                    others.append(
                        f"{session}/{name} ({printable(unit.attributes.get('TypeDebugString', 'of an unknown type'))})"
                    )
    if not found:
        reason = f"its units are of other types: {', '.join(others[:6])}" if others else "it contains no units"
        raise UnsupportedRecordingError(f"{file_name} contains no MESc movie: {reason}")
    return found


def _groups(group: Any, word: str) -> list[str]:
    names = [name for name in list(group)[:_MAX_GROUPS] if re.fullmatch(rf"{word}_\d+", name)]
    # HDF5 lists names alphabetically: MSession_10 before MSession_2
    names.sort(key=lambda name: int(name.rpartition("_")[2]))
    return [name for name in names if isinstance(named(group, name), h5py.Group)]


def _unit(file_name: str, session: str, name: str, group: Any) -> _Unit:
    attributes = {key: _decoded(key, value) for key, value in attributes_of(group).items()}
    numbers = []
    for key in list(group)[:_MAX_GROUPS]:
        if re.fullmatch(r"Channel_\d+", key) and _is_movie(named(group, key)):
            numbers.append(int(key[8:]))
    numbers.sort()
    titles = [printable(attributes.get(f"Channel_{k}_Name") or f"Channel_{k}") for k in numbers]
    names = [title if titles.count(title) == 1 else f"Channel_{k}" for k, title in zip(numbers, titles, strict=True)]
    is_cut = missing_bytes(group.file) > 0
    return _Unit(file_name, session, name, tuple(names), tuple(numbers), attributes, is_cut)


def _is_movie(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and node.ndim == 3 and node.dtype.kind in "iuf" and 0 not in node.shape


def _decoded(key: str, value: Any) -> Any:
    """Return text that MESc stores as a list of UTF-16 code units ending in zero; any other value unchanged."""
    if not isinstance(value, list) or not value or value[-1] != 0 or not _TEXTS.fullmatch(key):
        return value
    if not all(isinstance(code, int) and -(1 << 15) <= code < 1 << 16 for code in value):
        return value
    # Codes from 0x8000 on are negative where MESc stores them as int16
    return (np.array(value[:-1], np.int64) & 0xFFFF).astype("<u2").tobytes().decode("utf-16-le", "replace")


def _notes(unit: _Unit, channel: int, movie: Hdf5Dataset, applied: bool) -> list[str]:
    rows, columns = movie.frame_shape
    # Not num_samples: an end that was never written is reported as missing already
    count = movie.num_planes if unit.is_stack else movie.missing.stated_samples
    notes = []
    for key, number, word in (("ZDim", count, "frames"), ("YDim", rows, "rows"), ("XDim", columns, "columns")):
        claimed = unit.number(key)
        if claimed is not None and claimed != number:
            notes.append(
                f"{unit.session}/{unit.name}: {key} states {claimed:,.0f} {word}, but the dataset has {number:,}"
            )
    scale, offset = unit.conversion(channel)
    if (scale, offset) != (1.0, 0.0):
        numbers = f"the file's conversion (scale {scale:g}, offset {offset:g})"
        notes.append(
            f"pixels have {numbers} applied; apply_conversion=False returns the stored integers"
            if applied
            else f"pixels are as stored; leave out apply_conversion=False to apply {numbers}"
        )
    return notes
