"""The content of a suite2p folder: planes, their descriptions, their movies."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from roiextractors_core import Source
from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceKindError,
    SourceNotFoundError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import (
    PickledArray,
    PositionedFile,
    folder_names,
    is_file,
    is_folder,
    read_pickled_npy,
    texts_of_pickled_npy,
)

__all__ = [
    "CHANNELS",
    "STAGES",
    "Plane",
    "as_number",
    "chosen_by",
    "describe_plane",
    "holds_description",
    "is_movie",
    "planes_of",
    "read_fields",
    "segmented_folders",
    "undescribed_planes",
]

CHANNELS = ("chan1", "chan2")
STAGES = ("registered", "raw")

_MOVIES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("registered", "chan1"): ("data.bin",),
    ("registered", "chan2"): ("data_chan2.bin",),
    ("raw", "chan1"): ("data_raw.bin",),
    ("raw", "chan2"): ("data_chan2_raw.bin", "data_raw_chan2.bin"),
}
_DESCRIPTIONS = ("ops.npy", "db.npy")
_RESULTS = (
    *_DESCRIPTIONS,
    "settings.npy",
    "reg_outputs.npy",
    "detect_outputs.npy",
    "stat.npy",
    "iscell.npy",
    "redcell.npy",
)
# Files that suite2p saves next to the movies; a name may have _chan2 before its suffix
_CONTENTS: Mapping[str, str] = {
    "F": "fluorescence traces",
    "Fneu": "neuropil traces",
    "spks": "deconvolved traces",
    "iscell": "the classification of ROIs",
    "redcell": "the classification of ROIs in the second channel",
    "stat": "ROIs (pixels, weights and statistics)",
    "reg_outputs": "results of the registration",
    "detect_outputs": "results of the detection",
}
_OTHERS = (".npy", ".mat", ".bin", ".nwb", ".log", ".txt", ".png", ".svg", ".pdf")
_ROIS = "stat.npy"
_COMBINED = "combined"
_PLANE = re.compile(r"plane(\d{1,6})", re.IGNORECASE)
_MAX_LENGTH = 1 << 20  # pixels a side
_MAX_PLANES = 10_000


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane, or one region of a mesoscope: a folder with its description.

    Attributes
    ----------
    name : str
        The folder's, ``"plane0"``.
    folder : pathlib.Path
    described_in : str
        The name of the file that describes it.
    fields : mapping
        The entries of the description.
    rows, columns : int
    """

    name: str
    folder: Path
    described_in: str
    fields: Mapping[str, Any]
    rows: int
    columns: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.rows * self.columns * 2

    @property
    def description(self) -> str:
        """The path of the file that describes it."""
        return str(self.folder / self.described_in.rpartition("/")[2])

    @property
    def num_frames(self) -> int | None:
        """The number of frames according to suite2p, or None."""
        value = as_number(self.fields.get("nframes"))
        return int(value) if value is not None and value > 0 and value == int(value) else None

    @property
    def rate(self) -> float | None:
        """Frames of this plane a second (Hz), or None."""
        value = as_number(self.fields.get("fs"))
        return value if value is not None and value > 0 else None

    @property
    def is_region(self) -> bool:
        """Whether the folder is one of several regions of a mesoscope."""
        lines, regions = self.fields.get("lines"), as_number(self.fields.get("nrois"))
        has_lines = lines.shape != (0,) if isinstance(lines, PickledArray) else bool(lines)
        return has_lines or (regions is not None and regions > 1)

    @property
    def number(self) -> int | None:
        """The number in the folder's name, or None."""
        match = _PLANE.fullmatch(self.name)
        return int(match[1]) if match else None

    @property
    def num_planes(self) -> int:
        """The planes of the recording according to suite2p; 1 if it does not say."""
        value = as_number(self.fields.get("nplanes"))
        return int(value) if value is not None and 1 <= value <= _MAX_PLANES and value == int(value) else 1

    @property
    def ignored(self) -> tuple[int, ...]:
        """The planes that suite2p ignored (``ignore_flyback``)."""
        values = _plain(self.fields.get("ignore_flyback"))
        return tuple(int(v) for v in values if isinstance(v, int | float)) if isinstance(values, list) else ()

    @property
    def is_flyback(self) -> bool:
        """Whether suite2p ignored this plane (``ignore_flyback``)."""
        values, number = _plain(self.fields.get("ignore_flyback")), _PLANE.fullmatch(self.name)
        return isinstance(values, list) and number is not None and int(number[1]) in values

    def movie(self, stage: str, channel: str) -> Path | None:
        """Return the file of a stage and channel, or None."""
        places = (self.folder / name for name in _MOVIES[stage, channel])
        return next((place for place in places if is_file(place)), None)

    def movie_name(self, stage: str, channel: str) -> str:
        """Return suite2p's name for the file of a stage and channel."""
        return _MOVIES[stage, channel][0]

    def elsewhere(self) -> str:
        """Return where suite2p wrote the movie, possibly on another machine."""
        value = self.fields.get("reg_file") or self.fields.get("raw_file")
        return printable(value)[:200] if isinstance(value, str) else ""

    def vendor(self) -> dict[str, Any]:
        """Return the description without images: numbers, texts, short lists."""
        plain = {str(key): _plain(value) for key, value in self.fields.items()}
        return {key: value for key, value in plain.items() if value is not _OMITTED}


def chosen_by(path: str) -> tuple[str | None, str | None]:
    """Return the stage and the channel that the name of a file says, or None and None."""
    name = os.path.basename(path).lower()
    return next((choice for choice, names in _MOVIES.items() if name in names), (None, None))


def is_movie(path: str) -> bool:
    """Whether this is a file of frames, whatever its name, rather than a .npy file of a description.

    Raises
    ------
    SourceNotFoundError, SourcePermissionError, SourceReadError
        It cannot be read.
    """
    if is_folder(path):
        return False
    file = PositionedFile(path)
    try:
        return file.read(0, 6) != b"\x93NUMPY"
    finally:
        file.close()


def planes_of(path: str) -> tuple[Plane, ...]:
    """Return the planes of a recording in order: all of a suite2p folder, or the one of a plane's folder or file.

    Raises
    ------
    SourceKindError
        The folder is not a suite2p folder.
    SourceNotFoundError
        The description is missing.
    UnsupportedRecordingError, CorruptRecordingError
        The description contains settings only, or cannot be read.
    """
    place = Path(path)
    if is_file(place):
        is_description = not is_movie(path)
        if is_description:
            _refuse_results(place)
        below = _plane_folders(place.parent) if is_description else []
        if below:
            return tuple(_described(folder, None) for folder in below)
        return (_described(place.parent, place if is_description and place.name not in _RESULTS else None),)
    below = _plane_folders(place) or _plane_folders(place / "suite2p")
    if below:
        return tuple(_described(folder, None) for folder in below)
    if not any(is_file(place / name) for name in _DESCRIPTIONS):
        raise SourceKindError(
            f"{printable(place)} is not a suite2p folder: it does not contain plane0, plane1, ..., ops.npy or db.npy"
        )
    return (_described(place, None),)


def segmented_folders(path: str) -> tuple[Path, ...]:
    """Return the folders that contain ROIs: the one of a plane or of a file in it, else all planes in order and ``combined``.

    Raises
    ------
    SourceKindError
        There are none.
    """
    place = Path(path)
    folder = place.parent if is_file(place) else place
    if is_file(folder / _ROIS):
        return (folder,)
    for above in (folder, folder / "suite2p"):
        folders = [*_numbered_folders(above), above / _COMBINED]
        with_rois = tuple(below for below in folders if is_file(below / _ROIS))
        if with_rois:
            return with_rois
    traces = next((name for name in ("F.npy", "spks.npy", "iscell.npy") if is_file(folder / name)), None)
    if traces:
        raise SourceNotFoundError(
            f"{printable(folder)} contains {traces} but not {_ROIS}, the ROIs that these results belong to; copy it there"
        )
    raise SourceKindError(
        f"{printable(folder)} contains no ROIs by suite2p: neither it nor its folders plane0, plane1, ... contain {_ROIS}, "
        "which suite2p writes when it detects cells"
    )


def describe_plane(folder: Path) -> Plane:
    """Return the plane in a folder, or the mosaic of planes in ``combined``, with its description.

    Raises
    ------
    SourceNotFoundError
        The description is missing.
    UnsupportedRecordingError, CorruptRecordingError
        As for :func:`planes_of`.
    """
    if not any(is_file(folder / name) for name in _DESCRIPTIONS):
        raise SourceNotFoundError(
            f"{printable(folder)} contains neither ops.npy nor db.npy, which give the size of the frames and the rate; "
            "copy the one from the same run there"
        )
    return _described(folder, None)


def _refuse_results(place: Path) -> None:
    content = _content_of(place.name)
    if content is not None:
        raise UnsupportedRecordingError(
            f"{printable(place.name)} contains {content} by suite2p, not a movie; for the movie open the folder that contains it: "
            f"open({printable(place.parent)!r}). ROIs and traces are a segmentation (kind='segmentation')"
        )


def _content_of(name: str) -> str | None:
    """Return what a file of suite2p's results contains, or None for other files."""
    stem, end = os.path.splitext(name)
    return _CONTENTS.get(stem.removesuffix("_chan2")) if end.lower() == ".npy" else None


def undescribed_planes(path: str) -> tuple[str, ...]:
    """Return the folders of planes that contain a movie and neither ops.npy nor db.npy."""
    place = Path(path)
    for folder in (place, place / "suite2p"):
        if not _plane_folders(folder):
            continue
        names = sorted(name for name in folder_names(folder) if _PLANE.fullmatch(name))
        movies = [movie for names_of_movie in _MOVIES.values() for movie in names_of_movie]
        return tuple(
            name
            for name in names[:_MAX_PLANES]
            if not any(is_file(folder / name / described) for described in _DESCRIPTIONS)
            and any(is_file(folder / name / movie) for movie in movies)
        )
    return ()


def holds_description(source: Source) -> bool:
    """Whether this is a description by suite2p, or a folder of suite2p's files that contains one."""
    if not source.is_folder:
        return _is_described(source)
    names = [name.lower() for name in source.members if not name.startswith(".")]
    found = source.related("ops.npy") or source.related("db.npy")
    return (
        found is not None
        and all(name.endswith(_OTHERS) or name.startswith("reg_tif") for name in names)
        and _is_described(found)
    )


def _is_described(source: Source) -> bool:
    texts = texts_of_pickled_npy(source.read_at, min(source.size, 1 << 20))
    # The second set is that of settings.npy since suite2p 1.0, which has no nplanes
    return {"nplanes", "nchannels"} <= texts or {"tau", "fs", "torch_device"} <= texts


def _plane_folders(folder: Path) -> list[Path]:
    return [place for place in _numbered_folders(folder) if any(is_file(place / name) for name in _DESCRIPTIONS)]


def _numbered_folders(folder: Path) -> list[Path]:
    try:
        names = folder_names(folder)
    except OSError:
        return []
    # By number: as text, plane10 would come before plane2
    numbered = sorted((int(match[1]), name) for name in names if (match := _PLANE.fullmatch(name)))
    return [folder / name for _, name in numbered[:_MAX_PLANES]]


def _described(folder: Path, given: Path | None) -> Plane:
    names = [given.name] if given else [name for name in _DESCRIPTIONS if is_file(folder / name)]
    if not names:
        raise SourceNotFoundError(
            f"{printable(folder)} contains neither ops.npy nor db.npy, which give the size of the frames; copy it there, "
            "or pass the size: open(..., format='raw', shape=(rows, columns), dtype='<i2')"
        )
    fields = read_fields(folder / names[0])
    # suite2p 1.0 split ops.npy: the frames are described in db.npy, the processing in settings.npy
    if names[0].lower() == "db.npy" and is_file(folder / "settings.npy"):
        fields = {**read_fields(folder / "settings.npy"), **fields}
    name = f"{printable(folder.name)}/{printable(names[0])}"
    return Plane(folder.name, folder, name, fields, _side(fields, "Ly", name), _side(fields, "Lx", name))


def read_fields(path: Path) -> dict[str, Any]:
    """Return the one dictionary of a .npy file."""
    file = PositionedFile(path)
    try:
        objects = read_pickled_npy(file)
    finally:
        file.close()
    if len(objects) != 1 or not isinstance(objects[0], dict):
        raise CorruptRecordingError(f"{file.name} does not contain a dictionary, which suite2p writes")
    return objects[0]


def _side(fields: Mapping[str, Any], key: str, name: str) -> int:
    if key not in fields:
        raise UnsupportedRecordingError(
            f"{name} contains settings of suite2p, not a recording: it has no {key}, which suite2p adds after reading the frames; "
            "open the folder that suite2p wrote, which contains plane0/ops.npy and plane0/data.bin"
        )
    value = as_number(fields[key])
    if value is None or value != int(value) or not 0 < value <= _MAX_LENGTH:
        raise CorruptRecordingError(
            f"{name} says {key} = {printable(repr(fields[key]))[:60]}, which is not a number of pixels"
        )
    return int(value)


def as_number(value: Any) -> float | None:
    """Return a number, or the one number of an array, as float; None for anything else."""
    if _is_small(value) and math.prod(value.shape) == 1:
        with contextlib.suppress(CorruptRecordingError):
            value = value.read().ravel()[0].item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with contextlib.suppress(OverflowError):
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def _is_small(value: Any) -> bool:
    return isinstance(value, PickledArray) and value.dtype.kind in "biuf" and math.prod(value.shape) <= 64


_OMITTED = object()


def _plain(value: Any) -> Any:
    """Return a value as it goes into the metadata, or ``_OMITTED``."""
    if value is None or isinstance(value, str | int | float | datetime):
        return value
    if _is_small(value) and len(value.shape) < 2:
        return value.read().tolist()
    if isinstance(value, list | tuple) and len(value) <= 64:
        items = [_plain(item) if not isinstance(item, list | tuple) else _OMITTED for item in value]
        return _OMITTED if _OMITTED in items else items
    if isinstance(value, dict) and len(value) <= 64:
        return {
            str(k): v if v is None or isinstance(v, str | int | float) else type(v).__name__ for k, v in value.items()
        }
    return _OMITTED
