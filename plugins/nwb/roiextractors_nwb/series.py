"""The imaging series of an NWB file: their names, and the metadata of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from roiextractors_core.errors import StreamChoiceError, UnsupportedRecordingError, printable
from roiextractors_core.io import Budget, to_micrometres, to_seconds
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .tree import Tree

__all__ = ["Series", "chosen_series", "series_names"]

_PHOTON = ("TwoPhotonSeries", "OnePhotonSeries")
_MODALITIES = {"TwoPhotonSeries": "two-photon", "OnePhotonSeries": "one-photon"}
_NOT_NEURAL = ("OpticalSeries", "IndexSeries", "ImageMaskSeries")  # series for stimuli
_SEARCHED = ("acquisition", "processing", "analysis", "scratch")  # not stimulus, whose images were shown to the animal
_FIRST_YEAR = 1970
_MAX_SERIES = 4000  # takes about 2 s
_VIDEOS = (".avi", ".mp4", ".mov", ".mkv", ".wmv", ".mpg", ".mpeg", ".webm", ".flv")


@dataclass(frozen=True, slots=True)
class Series:
    """One imaging series.

    Attributes
    ----------
    path : str
        Its path: ``"acquisition/TwoPhotonSeries"``.
    data : str or None
        The path of its pixels, with links followed; None when they are in external files.
    shape : tuple of int
        Of the pixels as stored: (time, width, height[, depth]); empty for external files.
    external_files, starting_frames : tuple
        The paths as written in the file, and the number of the first frame of each.
    num_frames : int or None
        The number of frames in the external files, as stated in the file.
    timestamps : str or None
        The path of its times, with links followed.
    num_timestamps : int
    starting_time, rate : float or None
        Seconds, Hz.
    metadata : RecordingMetadata
    notes : tuple of str
    comments : str
        As written in the file; ``roiextractors_core.convert`` stores here what NWB has no fields for.
    dimension : tuple of int
        The numbers of pixels along x, y (and z) that the series states; empty where it states none.
    stated_rate : float or None
        The rate (Hz) that the file states beside timestamps, which it should not.
    time_unit : float
        Seconds in one of the timestamps: 1 by the schema.
    """

    path: str
    data: str | None
    shape: tuple[int, ...]
    external_files: tuple[str, ...]
    starting_frames: tuple[int, ...]
    num_frames: int | None
    timestamps: str | None
    num_timestamps: int
    starting_time: float | None
    rate: float | None
    metadata: RecordingMetadata
    notes: tuple[str, ...]
    comments: str = ""
    dimension: tuple[int, ...] = ()
    stated_rate: float | None = None
    time_unit: float = 1.0


def series_names(tree: Tree) -> dict[str, str]:
    """Return the series to choose from, as name to path; where several have the same name, their paths are the names.

    Raises
    ------
    UnsupportedRecordingError
        The file is NWB 1, or contains no imaging series; the message lists what it contains.
    """
    _require_nwb_2(tree)
    paths = sorted(_paths(tree))
    if not paths:
        raise _nothing(tree)
    names = [path.rpartition("/")[2] for path in paths]
    return {printable(name if names.count(name) == 1 else path): path for name, path in zip(names, paths, strict=True)}


def chosen_series(tree: Tree, series: str | None) -> Series:
    """Return the series that was named, or the only one.

    Raises
    ------
    StreamChoiceError
        Several, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        No imaging series, or one of a type that is not read.
    """
    if series is not None and _is_imaging(tree, str(series).strip("/"), anywhere=True):
        return _series(tree, str(series).strip("/"))
    names = series_names(tree)
    if series is None and len(names) > 1:
        raise StreamChoiceError.for_option(tree.name, "series", names)
    if series is not None and series not in names:
        raise StreamChoiceError.for_option(tree.name, "series", names, seen=series)
    return _series(tree, names[series] if series is not None else next(iter(names.values())))


def _require_nwb_2(tree: Tree) -> None:
    version = tree.attributes("").get("nwb_version") or tree.value("nwb_version")
    text = version[0] if isinstance(version, list) and version else version
    digits = str(text or "2").removeprefix("NWB-")  # NWB 1 writes "NWB-1.0.6"
    if digits.startswith(("0.", "1.")):
        raise UnsupportedRecordingError(
            f"{tree.name} is NWB {printable(digits)}; only NWB 2 is read. Convert it, or read a dataset with format='hdf5'"
        )


def _paths(tree: Tree) -> Iterator[str]:
    candidates = Budget(
        _MAX_SERIES, tree.name, "imaging series", advice="name one: open(..., series='acquisition/...')"
    )
    for top in _SEARCHED:
        for path, kind in tree.below(top):
            if _may_be_imaging(tree, path, kind):
                candidates.spend()
                if _is_imaging(tree, path):
                    yield path


def _may_be_imaging(tree: Tree, path: str, kind: str) -> bool:
    # Files of electrophysiology have thousands of other series
    return kind.endswith("Series") and (kind in (*_PHOTON, "ImageSeries") or _has_plane(tree, path))


def _is_imaging(tree: Tree, path: str, *, anywhere: bool = False) -> bool:
    """Whether a group is a series of images; videos of behaviour and stimuli count only when named by path."""
    if anywhere and "/" not in path:
        return False
    kind = tree.kind(path)
    if kind in _NOT_NEURAL or not kind.endswith("Series"):
        return False
    shape = tree.shape(f"{path}/data")
    pictures = shape is not None and len(shape) in (3, 4) and math.prod(shape) > 0
    # Extensions derive their own types; a link to an imaging plane shows that they are imaging
    if kind not in (*_PHOTON, "ImageSeries") and not (pictures and _has_plane(tree, path)):
        return False
    if pictures:
        return True
    return tree.shape(f"{path}/external_file") is not None and (anywhere or not _is_video(tree, path))


def _has_plane(tree: Tree, path: str) -> bool:
    return tree.target(f"{path}/imaging_plane") is not None


def _is_video(tree: Tree, path: str) -> bool:
    files = _texts(tree.value(f"{path}/external_file"))
    return bool(files) and all(file.lower().endswith(_VIDEOS) for file in files)


def _nothing(tree: Tree) -> UnsupportedRecordingError:
    kinds: dict[str, str] = {}
    for top in (*_SEARCHED, "stimulus"):
        for path, kind in tree.below(top):
            if kind and kind not in kinds and kind != "ProcessingModule":
                kinds[kind] = path
    if "PlaneSegmentation" in kinds:
        return UnsupportedRecordingError(
            f"{tree.name} contains a segmentation ({printable(kinds['PlaneSegmentation'])}, a PlaneSegmentation), not a movie; "
            "segmentation is not read yet"
        )
    shown = ", ".join(f"{printable(path)} ({printable(kind)})" for kind, path in list(kinds.items())[:6])
    return UnsupportedRecordingError(
        f"{tree.name} contains no imaging series (TwoPhotonSeries, OnePhotonSeries or ImageSeries); it contains {shown or 'no data'}"
    )


def _series(tree: Tree, path: str) -> Series:
    shape = tree.shape(f"{path}/data") or ()
    files = _texts(tree.value(f"{path}/external_file"))
    # pynwb writes an empty dataset of pixels beside external files
    external = bool(files) and math.prod(shape or (0,)) == 0
    data = None if external else tree.target(f"{path}/data")
    if data is None and not external:
        raise UnsupportedRecordingError(
            f"{tree.name}: {printable(path)} contains neither pixels nor names of external files"
        )
    timestamps, stamp_notes = _timestamps(tree, path)
    start = tree.value(f"{path}/starting_time")
    timing = tree.attributes(f"{path}/starting_time") if start is not None else {}
    rate = _positive(timing.get("rate"))
    if start is not None and "rate" not in timing:
        stamp_notes = (
            *stamp_notes,
            f"{printable(path)}/starting_time has no rate, which NWB requires: the clock is unknown",
        )
    sizes = tree.value(f"{path}/dimension")
    starts = tree.attributes(f"{path}/external_file").get("starting_frame") if external else None
    return Series(
        path,
        data,
        () if external else shape,
        tuple(files) if external else (),
        tuple(int(k) for k in starts) if isinstance(starts, list) else (),
        _whole(tree.value(f"{path}/num_samples")) if external else None,
        timestamps,
        (tree.shape(timestamps) or (0,))[0] if timestamps else 0,
        _scaled_start(start, timing) if timestamps is None else None,
        rate if timestamps is None else None,
        _metadata(tree, path),
        (*stamp_notes, *_notes(tree, path)),
        str(tree.attributes(path).get("comments", "")),
        tuple(size for size in map(_whole, sizes) if size) if isinstance(sizes, list) else (),
        rate if timestamps is not None else None,
        _seconds_in(tree.attributes(timestamps)) if timestamps else 1.0,
    )


def _seconds_in(attributes: Mapping[str, Any]) -> float:
    """Return the seconds in the unit that is stated; the schema knows none but seconds, and programs write others."""
    return to_seconds(1.0, str(attributes.get("unit", "s"))) or 1.0


def _scaled_start(start: Any, timing: Mapping[str, Any]) -> float | None:
    value = _finite(start)
    return None if value is None else value * _seconds_in(timing)


def _timestamps(tree: Tree, path: str) -> tuple[str | None, tuple[str, ...]]:
    try:
        where = tree.target(f"{path}/timestamps")
    except UnsupportedRecordingError as error:
        return None, (str(error),)  # a link to another file; the pixels can be read without it
    shape = tree.shape(where) if where else None
    if where is None or shape is None or len(shape) != 1:
        return None, ()
    facts = tree.attributes(where)
    if _seconds_in(facts) == 1.0:
        return where, ()
    unit = printable(facts["unit"])[:40]
    return where, (f"its timestamps are stated in {unit!r}, against the schema, and are converted to seconds",)


def _notes(tree: Tree, path: str) -> Iterator[str]:
    facts = tree.attributes(f"{path}/data")
    factor, shift = _finite(facts.get("conversion")), _finite(facts.get("offset"))
    if (factor is not None and factor != 1.0) or shift:
        unit = printable(facts.get("unit", ""))
        yield f"pixels are as stored; the file's conversion to {unit!r} is {factor if factor is not None else 1.0:g} * pixel + {shift or 0.0:g}"


# Metadata


def _metadata(tree: Tree, path: str) -> RecordingMetadata:
    plane = tree.target(f"{path}/imaging_plane") or ""
    device = tree.target(f"{plane}/device") if plane else None
    device = device or tree.target(f"{path}/device")
    rows, columns, depth = _spacing(tree, plane)
    software = _texts(tree.value("general/was_generated_by"))
    kind_facts = tree.attributes(path)  # the schema stores exposure, binning, power, gain and line rate as attributes
    return RecordingMetadata(
        # Times count from this reference, which is the session's start unless stated
        start_time=_moment(tree.value("timestamps_reference_time")) or _moment(tree.value("session_start_time")),
        pixel_size=(rows, columns) if rows and columns else None,
        plane_spacing=depth if len(tree.shape(f"{path}/data") or ()) == 4 else None,
        channels=_channels(
            tree, plane, _positive(tree.value(f"{path}/exposure_time") or kind_facts.get("exposure_time"))
        ),
        bit_depth=_whole(tree.value(f"{path}/bits_per_pixel")) or None,
        modality=_MODALITIES.get(tree.kind(path)),
        device=printable(device.rpartition("/")[2]) if device else None,
        software=printable(" ".join(software)) or None,
        vendor=_vendor(tree, path, plane, device),
    )


def _spacing(tree: Tree, plane: str) -> tuple[float | None, float | None, float | None]:
    """Return the (row, column, plane) distances in micrometres from grid_spacing, which is (x, y[, z])."""
    values = tree.value(f"{plane}/grid_spacing") if plane else None
    if not isinstance(values, list) or len(values) not in (2, 3):
        return None, None, None
    unit = str(tree.attributes(f"{plane}/grid_spacing").get("unit", "meters"))  # the schema's default
    x, y, z = (to_micrometres(_positive(value), unit) for value in [*values, None][:3])
    return y, x, z


def _channels(tree: Tree, plane: str, exposure: float | None) -> tuple[ChannelMetadata, ...]:
    if not plane:
        return ()
    excitation = _wavelength(tree.value(f"{plane}/excitation_lambda"))
    found = []
    for name in tree.groups(plane):
        if tree.kind(f"{plane}/{name}") == "OpticalChannel":
            emission = _wavelength(tree.value(f"{plane}/{name}/emission_lambda"))
            found.append(ChannelMetadata(printable(name), emission, excitation, exposure_time=exposure))
    return tuple(found)


def _vendor(tree: Tree, path: str, plane: str, device: str | None) -> Mapping[str, Any]:
    root = tree.attributes("")
    found: dict[str, Any] = {key: root[key] for key in ("nwb_version",) if key in root}
    for key in ("identifier", "session_description", "session_start_time"):
        found[key] = tree.value(key)
    found["series"] = {"path": path, **tree.attributes(path), "data": tree.attributes(f"{path}/data")}
    for key in ("dimension", "field_of_view", "format"):
        found["series"][key] = tree.value(f"{path}/{key}")
    if plane:
        words = (
            "description",
            "excitation_lambda",
            "imaging_rate",
            "indicator",
            "location",
            "grid_spacing",
            "origin_coords",
            "reference_frame",
        )
        values = {key: tree.value(f"{plane}/{key}") for key in words}
        optical = {name: tree.value(f"{plane}/{name}/description") for name in tree.groups(plane)}
        found["optical_channels"] = {name: text for name, text in optical.items() if text is not None} or None
        found["imaging_plane"] = {"path": plane, **{key: value for key, value in values.items() if value is not None}}
    if device:
        found["device"] = {"path": device, **tree.attributes(device)}
    return {key: value for key, value in found.items() if value is not None}


def _moment(value: Any) -> datetime | None:
    text = value[0] if isinstance(value, list) and value else value
    try:
        found = datetime.fromisoformat(text.strip()) if isinstance(text, str) else None
    except ValueError:
        return None
    # Programs that do not know the start write the beginning of their own clock
    return found if found is not None and found.year > _FIRST_YEAR else None


def _wavelength(value: Any) -> float | None:
    found = _positive(value)
    # In nm by the schema; other units are out of this range
    return found if found is not None and 50 < found < 20_000 else None


def _positive(value: Any) -> float | None:
    found = _finite(value)
    return found if found is not None and found > 0 else None


def _finite(value: Any) -> float | None:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: Any) -> int | None:
    found = _finite(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def _texts(value: Any) -> Sequence[str]:
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, str)]
