"""The imaging series of an NWB file: their names, and the metadata of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from roiextractors_core.errors import StreamChoiceError, UnsupportedRecordingError, printable
from roiextractors_core.io import Budget
from roiextractors_core.metadata import RecordingMetadata

from .plane import metadata_of
from .times import StatedTimes, stated_times
from .tree import Tree
from .values import finite, texts, whole

__all__ = ["SEARCHED", "Series", "chosen_series", "require_nwb_2", "series_names"]

_PHOTON = ("TwoPhotonSeries", "OnePhotonSeries")
_NOT_NEURAL = ("OpticalSeries", "IndexSeries", "ImageMaskSeries")  # series for stimuli
SEARCHED = ("acquisition", "processing", "analysis", "scratch")  # not stimulus, whose images were shown to the animal
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
    times : StatedTimes
    metadata : RecordingMetadata
    notes : tuple of str
    comments : str
        As written in the file; ``roiextractors_core.convert`` stores here what NWB has no fields for.
    dimension : tuple of int
        The numbers of pixels along x, y (and z) that the series states; empty where it states none.
    """

    path: str
    data: str | None
    shape: tuple[int, ...]
    external_files: tuple[str, ...]
    starting_frames: tuple[int, ...]
    num_frames: int | None
    times: StatedTimes
    metadata: RecordingMetadata
    notes: tuple[str, ...]
    comments: str = ""
    dimension: tuple[int, ...] = ()


def series_names(tree: Tree) -> dict[str, str]:
    """Return the series to choose from, as name to path; where several have the same name, their paths are the names.

    Raises
    ------
    UnsupportedRecordingError
        The file is NWB 1, or contains no imaging series; the message lists what it contains.
    """
    require_nwb_2(tree)
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


def require_nwb_2(tree: Tree) -> None:
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
    for top in SEARCHED:
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
    return bool(texts(tree.value(f"{path}/external_file"))) and (anywhere or not _is_video(tree, path))


def _has_plane(tree: Tree, path: str) -> bool:
    return tree.target(f"{path}/imaging_plane") is not None


def _is_video(tree: Tree, path: str) -> bool:
    files = texts(tree.value(f"{path}/external_file"))
    return bool(files) and all(file.lower().endswith(_VIDEOS) for file in files)


def _nothing(tree: Tree) -> UnsupportedRecordingError:
    kinds: dict[str, str] = {}
    for top in (*SEARCHED, "stimulus"):
        for path, kind in tree.below(top):
            if kind and kind not in kinds and kind != "ProcessingModule":
                kinds[kind] = path
    if "PlaneSegmentation" in kinds:
        return UnsupportedRecordingError(
            f"{tree.name} contains a segmentation ({printable(kinds['PlaneSegmentation'])}, a PlaneSegmentation), not a movie"
        )
    for path in filter(None, map(kinds.get, _PHOTON)):
        files, shape = texts(tree.value(f"{path}/external_file")), tree.shape(f"{path}/data")
        seen = (
            f"the images of {printable(path)} are in the video {printable(files[0])!r}; open that file"
            if files
            else f"{printable(path)} contains no images: "
            + ("it has no data" if shape is None else f"its data have the shape {shape}")
        )
        return UnsupportedRecordingError(f"{tree.name}: {seen}")
    shown = ", ".join(f"{printable(path)} ({printable(kind)})" for kind, path in list(kinds.items())[:6])
    return UnsupportedRecordingError(
        f"{tree.name} contains no imaging series (TwoPhotonSeries, OnePhotonSeries or ImageSeries); it contains {shown or 'no data'}"
    )


def _series(tree: Tree, path: str) -> Series:
    shape = tree.shape(f"{path}/data") or ()
    files = texts(tree.value(f"{path}/external_file"))
    # pynwb writes an empty dataset of pixels beside external files
    external = bool(files) and math.prod(shape or (0,)) == 0
    data = None if external else tree.target(f"{path}/data")
    if data is None and not external:
        raise UnsupportedRecordingError(
            f"{tree.name}: {printable(path)} contains neither pixels nor names of external files"
        )
    times = stated_times(tree, path)
    sizes = tree.value(f"{path}/dimension")
    starts = tree.attributes(f"{path}/external_file").get("starting_frame") if external else None
    return Series(
        path,
        data,
        () if external else shape,
        tuple(files) if external else (),
        tuple(int(k) for k in starts) if isinstance(starts, list) else (),
        whole(tree.value(f"{path}/num_samples")) if external else None,
        times,
        metadata_of(tree, path),
        (*times.notes, *_notes(tree, path)),
        str(tree.attributes(path).get("comments", "")),
        tuple(size for size in map(whole, sizes) if size) if isinstance(sizes, list) else (),
    )


def _notes(tree: Tree, path: str) -> Iterator[str]:
    facts = tree.attributes(f"{path}/data")
    factor, shift = finite(facts.get("conversion")), finite(facts.get("offset"))
    if (factor is not None and factor != 1.0) or shift:
        unit = printable(facts.get("unit", ""))
        yield f"pixels are as stored; the file's conversion to {unit!r} is {factor if factor is not None else 1.0:g} * pixel + {shift or 0.0:g}"
