"""Finds the PVScan XML of a recording from its folder or from any of its files, and looks at the head of one."""

from __future__ import annotations

import os
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
from roiextractors_core.registry.source import Source

__all__ = ["describes_images", "lies_beside_its_scan", "scan_of"]

_BESIDE = re.compile(
    r"_(Cycle\d+|MarkPoints|VoltageRecording|VoltageOutput|BOT)\w*(-\w+)?(_\d+)?\.xml$|^\._", re.IGNORECASE
)
_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(?:<\?.*?\?>\s*+|<!--.*?-->\s*+|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>\s*+)*+<([A-Za-z_][\w.:-]*)",
    re.DOTALL,
)
_MAX_CANDIDATES = 100
_HEAD, _PIECE = 1 << 20, 1 << 16


def describes_images(source: Source) -> bool:
    """Return whether a PVScan XML, or a folder that holds one, describes images.

    A scan that only recorded voltages is a PVScan too, and holds no frame.  One that ends early counts: the extractor says so,
    where any other format would read the frames and miss what the XML should say.

    Parameters
    ----------
    source : Source
        An XML, or a folder.
    """
    if source.is_folder:
        return bool(_in_folder(source.path, source.members))
    if _root_of(source) != "PVScan":
        return False
    pieces = (source.read_at(at, _PIECE + len(b"<Frame")) for at in range(0, min(source.size, _HEAD), _PIECE))
    if source.size > _HEAD or any(b"<Frame" in piece for piece in pieces):
        return True
    return b"</PVScan" not in source.read_at(max(0, source.size - _PIECE), _PIECE)


def lies_beside_its_scan(source: Source) -> bool:
    """Return whether the PVScan XML of the recording that a file is named after lies beside it.

    Parameters
    ----------
    source : Source
    """
    return _beside(source.path) is not None


def scan_of(path: str) -> str:
    """Return the path of the PVScan XML to which a path belongs.

    Parameters
    ----------
    path : str
        The XML itself, the recording's folder, or any TIFF, ``.env``, ``.companion.ome`` or configuration file of it.

    Raises
    ------
    SourceNotFoundError
        No XML is there.
    SourceKindError
        The folder holds several recordings.
    UnsupportedRecordingError
        An XML of another kind.
    """
    place = Path(path)
    if place.is_dir():
        own = place / f"{place.name}.xml"  # the usual case, found without a listing of half a million names
        return str(own) if _has_images(own) else _only(place, _in_folder(place, _names(place)))
    if not place.exists():
        raise SourceNotFoundError(f"{printable(path)} is not there")
    root = _root(place)
    if root == "PVScan":
        return str(place)
    if root is not None and root not in ("Environment", "OME", "PVConfig"):
        raise UnsupportedRecordingError(
            f"{printable(place.name)} is XML with the root {printable(root)!r:.80}, and not a PVScan; open the folder, or the XML "
            "that is named as the recording"
        )
    found = _beside(place)
    return (
        str(found) if found is not None else _only(place.parent, _in_folder(place.parent, _names(place.parent)), place)
    )


def _only(folder: Path, found: list[str], of: Path | None = None) -> str:
    if len(found) == 1:
        return str(folder / found[0])
    name = printable(folder.name)
    if found:
        raise SourceKindError(
            f"the folder {name} holds {len(found):,} recordings of Prairie View: {listed(found, limit=6)}; open one of these XML files"
        )
    what = "" if of is None else f"{printable(of.name)} is of Prairie View, and "
    alone = "" if of is None or _root(of) is not None else "; this file alone: open(..., format='tiff')"
    raise SourceNotFoundError(
        f"{what}the folder {name} holds no PVScan XML that describes images, which says what the frames are and when they came; "
        f"copy it there ('{_stem(of) if of is not None else name}.xml'){alone}"
    )


def _stem(path: Path) -> str:
    return printable(re.split(r"_Cycle\d+", path.name.partition(".")[0])[0])


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.lower().endswith(".xml")]
    except OSError as error:
        raise SourceReadError(f"the folder {printable(folder)} could not be listed: {error.strerror}") from error


def _in_folder(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the names of the PVScan XML files that describe images; that of the folder's own name alone, when it is one."""
    xml = sorted(name for name in names if name.lower().endswith(".xml") and not _BESIDE.search(name))
    own = [name for name in xml if name[:-4] == folder.name]
    if own and _has_images(folder / own[0]):
        return own
    return [name for name in xml[:_MAX_CANDIDATES] if _has_images(folder / name)]


def _beside(path: Path) -> Path | None:
    """Return the XML whose name is the beginning of the file's, without a listing of the folder."""
    stem = path.name.partition(".")[0]
    starts = [stem, *(stem[: match.start()] for match in reversed(list(re.finditer("_", stem))))]
    for start in starts[:40]:
        for suffix in (".xml", ".XML"):
            found = path.with_name(start + suffix)
            if start and found != path and found.is_file() and _has_images(found):
                return found
    return None


def _has_images(path: Path) -> bool:
    try:
        with Source(path) as source:
            return describes_images(source)
    except (RoiExtractorsError, OSError):
        return False


def _root(path: Path) -> str | None:
    """Return the root element of an XML file; None for any other file."""
    with Source(path) as source:
        return _root_of(source)


def _root_of(source: Source) -> str | None:
    """Return the name of the first element, though a DOCTYPE stands before it: the extractor is to refuse that in words."""
    found = _ROOT.match(source.head(1 << 16))
    return None if found is None else found.group(1).decode()
