"""Finds the PVScan XML of a recording from its folder or from any of its files, and checks the beginning of one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from roiextractors_core.errors import (
    RoiExtractorsError,
    SourceKindError,
    SourceNotFoundError,
    SourceReadError,
    UnsupportedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import Source, folder_names, is_file, is_folder

__all__ = ["describes_images", "lies_beside_its_scan", "scan_of"]

# XML files that belong to a recording but are not its PVScan, and `._`, the files that macOS adds
_BESIDE = re.compile(
    r"_(Cycle\d+|MarkPoints|VoltageRecording|VoltageOutput|BOT)\w*(-\w+)?(_\d+)?\.xml$|^\._", re.IGNORECASE
)
# Possessive quantifiers: on a long run of comments without an element, backtracking would take quadratic time.
_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(?:<\?.*?\?>\s*+|<!--.*?-->\s*+|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>\s*+)*+<([A-Za-z_][\w.:-]*)",
    re.DOTALL,
)
_MAX_CANDIDATES = 100  # each is opened to check its beginning
_HEAD, _PIECE = 1 << 20, 1 << 16


def describes_images(source: Source) -> bool:
    """Return whether a PVScan XML, or a folder that contains one, describes images.

    A scan that only recorded voltages is a PVScan too, but has no frames.  A truncated one counts: the extractor raises an
    error about it, while any other format would read the frames without the metadata of the XML.

    Parameters
    ----------
    source : Source
        An XML, or a folder.
    """
    if source.is_folder:
        return bool(_in_folder(source.path, source.members))
    if _root_of(source) != "PVScan":
        return False
    # The pieces overlap, so that a tag across the edge of two is seen
    pieces = (source.read_at(at, _PIECE + len(b"<Frame")) for at in range(0, min(source.size, _HEAD), _PIECE))
    # A PVScan without frames is not so large, and searching all of a large one takes long
    if source.size > _HEAD or any(b"<Frame" in piece for piece in pieces):
        return True
    return b"</PVScan" not in source.read_at(max(0, source.size - _PIECE), _PIECE)


def lies_beside_its_scan(source: Source) -> bool:
    """Return whether the folder of a file also contains the PVScan XML of the recording in the file's name.

    Parameters
    ----------
    source : Source
    """
    return _scan_named_in(source.path) is not None


def scan_of(path: str) -> str:
    """Return the path of the PVScan XML to which a path belongs.

    Parameters
    ----------
    path : str
        The XML itself, the recording's folder, or any TIFF, ``.env``, ``.companion.ome`` or configuration file of it.

    Raises
    ------
    SourceNotFoundError
        There is no such XML.
    SourceKindError
        The folder contains several recordings.
    UnsupportedRecordingError
        The path is an XML of another kind.
    """
    place = Path(path)
    if is_folder(place):
        own = place / f"{place.name}.xml"  # the usual case, found without a listing of half a million names
        return str(own) if _has_images(own) else _only(place, _in_folder(place, _names(place)))
    if not place.exists():
        raise SourceNotFoundError(f"{printable(path)} does not exist")
    root = _root(place)
    if root == "PVScan":
        return str(place)
    if root is not None and root not in ("Environment", "OME", "PVConfig"):
        raise UnsupportedRecordingError(
            f"{printable(place.name)} is XML with the root {printable(root)!r:.80}, not a PVScan; open the folder, or the XML "
            "with the name of the recording"
        )
    scan = _scan_named_in(place)
    return str(scan) if scan is not None else _only(place.parent, _in_folder(place.parent, _names(place.parent)), place)


def _only(folder: Path, scans: list[str], of: Path | None = None) -> str:
    if len(scans) == 1:
        return str(folder / scans[0])
    name = printable(folder.name)
    if scans:
        raise SourceKindError(
            f"the folder {name} contains {len(scans):,} Prairie View recordings: {listed(scans, limit=6)}; open one of these XML files"
        )
    what = "" if of is None else f"{printable(of.name)} is a file of Prairie View, but "
    alone = "" if of is None or _root(of) is not None else ", or read this file alone: open(..., format='tiff')"
    raise SourceNotFoundError(
        f"{what}the folder {name} contains no PVScan XML that describes images, and the frames cannot be identified without it; "
        f"copy '{_stem(of) if of is not None else name}.xml' there{alone}"
    )


def _stem(path: Path) -> str:
    return printable(re.split(r"_Cycle\d+", path.name.partition(".")[0])[0])


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in folder_names(folder) if name.lower().endswith(".xml")]
    except OSError as error:
        raise SourceReadError(f"the folder {printable(folder)} could not be listed: {error.strerror}") from error


def _in_folder(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the names of the PVScan XML files that describe images; only the one with the folder's name, if it exists."""
    xml = sorted(name for name in names if name.lower().endswith(".xml") and not _BESIDE.search(name))
    own = [name for name in xml if name[:-4] == folder.name]
    if own and _has_images(folder / own[0]):
        return own
    return [name for name in xml[:_MAX_CANDIDATES] if _has_images(folder / name)]


def _scan_named_in(path: Path) -> Path | None:
    """Return the XML whose name is the beginning of the file's name, without listing the folder."""
    stem = path.name.partition(".")[0]
    # The longest name first: the name of one recording may begin with that of another
    starts = [stem, *(stem[: match.start()] for match in reversed(list(re.finditer("_", stem))))]
    for start in starts[:40]:
        for suffix in (".xml", ".XML"):
            scan = path.with_name(start + suffix)
            if start and scan != path and is_file(scan) and _has_images(scan):
                return scan
    return None


def _has_images(path: Path) -> bool:
    try:
        with Source(path) as source:
            return describes_images(source)
    except (RoiExtractorsError, OSError):
        return False


def _root(path: Path) -> str | None:
    """Return the name of the root element of an XML file; None for any other file."""
    with Source(path) as source:
        return _root_of(source)


def _root_of(source: Source) -> str | None:
    """Return the name of the first element, even after a DOCTYPE, which the extractor then refuses with a clear message."""
    match = _ROOT.match(source.head(1 << 16))
    return None if match is None else match.group(1).decode()
