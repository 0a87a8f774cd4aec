"""The traces of a table of ROIs: its RoiResponseSeries, under the names that this library gives to traces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from roiextractors_core.errors import UnsupportedRecordingError, counted, printable

from .series import SEARCHED
from .times import StatedTimes, stated_times
from .tree import Tree
from .values import finite

__all__ = ["Response", "Responses", "name_suffix", "responses_of"]

_MAX_ROIS = 1 << 20
_NAMES = ("raw", "dff", "neuropil", "deconvolved", "denoised", "baseline", "background")
# As NeuroConv, roiextractors and the examples of pynwb name them, without spaces and underscores
_KNOWN = {"roiresponseseries": "raw", "dfoverf": "dff", **{name: name for name in _NAMES}}
_CONTAINERS = ("Fluorescence", "DfOverF")


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """The traces of one RoiResponseSeries.

    Attributes
    ----------
    path : str
        Of the series.
    name : str
        Of the trace.
    where : str
        The path of its values, with links followed.
    axes : str
        ``"TX"`` for samples first, ``"XT"`` for ROIs first (against the schema), ``"T"`` for the samples of a single ROI.
    num_samples : int
    columns : numpy.ndarray or None
        int64; the column of each ROI of the table, -1 for one that the series does not have.  None: of every ROI, in their order.
    times : StatedTimes
    notes : tuple of str
    """

    path: str
    name: str
    where: str
    axes: str
    num_samples: int
    columns: np.ndarray | None
    times: StatedTimes
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The path of the series, for messages."""
        return printable(self.path)


@dataclass(frozen=True, slots=True)
class Responses:
    """The traces of a table; those that contradict the file are left out, each with a sentence.

    Attributes
    ----------
    series : tuple of Response
        The one whose samples and times count comes first.
    doubts, notes : tuple of str
    """

    series: tuple[Response, ...]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]


def responses_of(tree: Tree, table: str, num_rois: int, names: Mapping[str, str] = MappingProxyType({})) -> Responses:
    """Return the traces of the ROIs of a table; series of other tables are not among them.

    Parameters
    ----------
    tree : Tree
    table : str
        The path of the table.
    num_rois : int
        The number of its rows.
    names : mapping of str to str
        The names of traces that are known by the paths of their series.
    """
    doubts: list[str] = []
    series = _named(tree, list(_series_of(tree, table, num_rois, doubts)), name_suffix(table), names)
    kept = []
    for response in series:
        if response.num_samples == series[0].num_samples:
            kept.append(response)
        else:
            doubts.append(
                f"{tree.name}: {response.label} has {counted(response.num_samples, 'sample')}, but "
                f"{series[0].label} has {series[0].num_samples:,}; the former is left out"
            )
    partial = [
        f"trace {response.name!r} has values of {int((response.columns >= 0).sum()):,} of {counted(num_rois, 'ROI')}"
        for response in kept
        if response.columns is not None and (response.columns < 0).any()
    ]
    notes = [note for response in kept for note in (*response.times.notes, *response.notes)]
    return Responses(tuple(kept), tuple(doubts), (*partial, *notes))


def name_suffix(table: str) -> str:
    """Return the end of a table's name that tells it from others: ``"Plane0"`` of ``"PlaneSegmentationPlane0"``."""
    name = table.rpartition("/")[2]
    return name.partition("PlaneSegmentation")[2] if "PlaneSegmentation" in name else ""


def _series_of(tree: Tree, table: str, num_rois: int, doubts: list[str]) -> Iterator[Response]:
    own = tree.identity(table)
    for top in SEARCHED:
        for path, kind in tree.below(top):
            if not kind.endswith("ResponseSeries"):
                continue
            try:
                where = tree.target(f"{path}/rois")
                belongs = tree.reference(where, "table") if where else None
                if belongs is None:
                    why = "does not say which table its ROIs belong to" if where else "does not name its ROIs"
                    doubts.append(f"{tree.name}: {printable(path)} {why}, and is left out")
                elif belongs == own:
                    found = _response(tree, path, where or "", num_rois)
                    if isinstance(found, str):
                        doubts.append(f"{tree.name}: {printable(path)} {found}, and is left out")
                    else:
                        doubts.extend(_turned(tree, found))
                        yield found
            except UnsupportedRecordingError as error:  # a link to another file, or a circle of links
                doubts.append(f"{error}; {printable(path)} is left out")


def _turned(tree: Tree, response: Response) -> Iterator[str]:
    if response.axes == "XT":
        yield (
            f"{tree.name}: the values of {response.label} are stored as (ROIs, samples), contrary to the "
            "schema, and are read as such: "
            f"their shape is {tree.shape(response.where)}"
        )


def _response(tree: Tree, path: str, rois: str, num_rois: int) -> Response | str:
    """Return a series, or in words why it cannot be read."""
    where = tree.target(f"{path}/data")
    shape = tree.shape(where) if where else None
    if where is None or shape is None or len(shape) not in (1, 2):
        return "has no values (samples, ROIs)" if shape is None else f"has values of shape {shape}, not (samples, ROIs)"
    region = tree.value(rois, most=_MAX_ROIS)
    region = region if isinstance(region, list) else [region]  # one row: some files store the number alone
    if not all(isinstance(row, int) and not isinstance(row, bool) for row in region):
        return "identifies its ROIs by something other than rows of the table"
    outside = [row for row in region if not 0 <= row < num_rois]
    if outside:
        return f"names row {outside[0]:,} of a table of {counted(num_rois, 'ROI')}"
    if len(set(region)) < len(region):
        return "lists an ROI more than once"
    times = stated_times(tree, path)
    axes = _axes(shape, len(region), times.num_timestamps if times.timestamps else None)
    if axes is None:
        return f"has values of shape {shape} for {counted(len(region), 'ROI')}"
    columns = None
    if region != list(range(num_rois)):
        columns = np.full(num_rois, -1, np.int64)
        columns[region] = np.arange(len(region))
    notes = tuple(_conversion(tree, path, where))
    return Response(path, "", where, axes, shape[axes.index("T")], columns, times, notes)


def _axes(shape: tuple[int, ...], num_rois: int, num_times: int | None) -> str | None:
    if len(shape) == 1:
        return "T" if num_rois == 1 else None
    fits = [axes for axes in ("TX", "XT") if shape[axes.index("X")] == num_rois]
    if len(fits) == 2 and num_times is not None and shape[0] != num_times == shape[1]:
        return "XT"
    return fits[0] if fits else None


def _conversion(tree: Tree, path: str, where: str) -> Iterator[str]:
    facts = tree.attributes(where)
    factor, shift = finite(facts.get("conversion")), finite(facts.get("offset"))
    if (factor is not None and factor != 1.0) or shift:
        unit = printable(facts.get("unit", ""))
        yield (
            f"values of {printable(path)} are as stored; the file's conversion to {unit!r} is "
            f"{1.0 if factor is None else factor:g} * value + {shift or 0.0:g}"
        )


# Names


def _named(tree: Tree, series: list[Response], suffix: str, given: Mapping[str, str]) -> list[Response]:
    """Return the series with the names of their traces, those with known names first."""
    names = {response.path: given[response.path] for response in series if response.path in given}
    known = {
        response.path: _known_name(tree, response.path, series, suffix)
        for response in series
        if response.path not in names
    }
    for name in _NAMES:
        candidates = [path for path, known_name in known.items() if known_name == name]
        usual = [path for path in candidates if path.split("/")[-2] in _CONTAINERS]
        chosen = candidates if len(candidates) == 1 else usual
        if len(chosen) == 1 and name not in names.values():
            names[chosen[0]] = name
    for path in sorted(known):
        if path not in names:
            names[path] = _free_name(path, [response.path for response in series], set(names.values()))
    ordered = sorted(
        series, key=lambda r: (_NAMES.index(names[r.path]) if names[r.path] in _NAMES else len(_NAMES), r.path)
    )
    return [replace(response, name=names[response.path]) for response in ordered]


def _known_name(tree: Tree, path: str, series: list[Response], suffix: str) -> str | None:
    container, _, name = path.rpartition("/")
    plain = name.removesuffix(suffix) if suffix else name
    known = _KNOWN.get("".join(letter for letter in plain.lower() if letter not in " _-"))
    if tree.kind(container) == "DfOverF":
        # By the schema, what is in this container is dF/F, whatever its name
        alone = sum(response.path.rpartition("/")[0] == container for response in series) == 1
        return "dff" if alone or known in ("raw", "dff") else known
    return known


def _free_name(path: str, paths: list[str], taken: set[str]) -> str:
    """Return the shortest end of a path that no other series ends with and that is not a trace's name already."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        name = "/".join(parts[-count:])
        if name not in taken and sum(f"/{other}".endswith(f"/{name}") for other in paths) == 1:
            return printable(name)
    return printable(path)
