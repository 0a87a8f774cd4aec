"""Identifies the axes of a dataset (time, planes, rows, columns, channels): by labels, by the writer, or by the user."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roiextractors_core.errors import ChoiceError, StreamChoiceError, UnsupportedRecordingError, counted, printable

from .contents import HDF5_FAULTS, text_of

__all__ = ["AxisOrder", "axis_order"]

_WORDS = {
    "T": ("t", "time", "times", "frame", "frames", "sample", "samples", "num_frames", "n_frames"),
    "Z": ("z", "plane", "planes", "depth", "slice", "slices", "num_planes"),
    "Y": ("y", "row", "rows", "height", "num_rows", "ypix", "lines"),
    "X": ("x", "column", "columns", "col", "cols", "width", "num_cols", "num_columns", "xpix"),
    "C": ("c", "channel", "channels", "colour", "color", "num_channels"),
}
_LETTERS = {word: letter for letter, words in _WORDS.items() for word in words}
_ATTRIBUTES = (
    "axes",
    "axis_order",
    "axes_order",
    "dim_order",
    "dimension_order",
    "dimensions",
    "axis_labels",
    "axislabels",
)
_MIN_PIXELS = 16  # along an axis; smaller ones are not compared
_FOUR = ("TZYX", "TYXZ", "TCYX", "TYXC")


@dataclass(frozen=True, slots=True)
class AxisOrder:
    """The axes of a dataset.

    Attributes
    ----------
    letters : str
        One for each dimension: T, Z, Y, X, C; ``1``, ``2``, ... for axes of length 1 that are left out.
    basis : str
        How the axes were identified, for messages.
    is_stated : bool
        Whether the file or the user states the axes, so that nothing is assumed.
    doubt : str
        A sentence when the file contradicts itself, or when its shape contradicts the assumed order; empty otherwise.
    """

    letters: str
    basis: str
    is_stated: bool = True
    doubt: str = ""


def axis_order(dataset: Any, attributes: Mapping[str, Any], *, where: str, given: str | None = None) -> AxisOrder:
    """Return the order of a dataset's axes.

    Parameters
    ----------
    dataset : h5py.Dataset
        Open.
    attributes : mapping
        Its attributes as plain values.
    where : str
        File and dataset, for messages.
    given : str, optional
        The order that the user passed: one letter for each dimension.

    Raises
    ------
    ChoiceError
        The user's order does not fit the dataset.
    StreamChoiceError
        The file does not identify the axes.

    References
    ----------
    HDF5 Dimension Scales specification (DIMENSION_LABELS, DIMENSION_LIST); vigra's axistags; SIMA 1.3, ``Sequence``.
    """
    shape = tuple(map(int, dataset.shape))
    if given is not None:
        return AxisOrder(_checked(given, shape, where), "dimension_order")
    stated = []
    for words, basis in _labels(dataset, attributes):
        # Labels that are incomplete or unknown are skipped: another kind of label may be complete
        letters = _letters_of(words)
        if letters and len(letters) == len(shape) and {"Y", "X"} <= set(letters):
            stated.append((letters, basis))
    if stated:
        letters, basis = stated[0]
        return AxisOrder(_without_ones(letters, shape), f"the {basis}", doubt=_contradiction(stated, where))
    return _by_writer(dataset, attributes, shape) or _by_shape(shape, where)


def _contradiction(stated: Sequence[tuple[str, str]], where: str) -> str:
    letters, basis = stated[0]
    for others, other_basis in stated[1:]:
        if others != letters:
            return (
                f"{where}: the {basis} name the axes {letters}, but the {other_basis} names them {others}; {letters} is used; "
                f"pass dimension_order={others!r} if that is wrong"
            )
    return ""


def _checked(given: str, shape: tuple[int, ...], where: str) -> str:
    letters = str(given).upper()
    if (
        len(letters) != len(shape)
        or len(set(letters)) != len(letters)
        or not {"Y", "X"} <= set(letters) <= set("TZYXC")
    ):
        raise ChoiceError(
            f"dimension_order={printable(given)!r} does not fit {where} of the shape {shape}: pass one letter for each dimension, of "
            "T (time), Z (planes), Y (rows), X (columns), C (channels), for example "
            f"{'TYX' if len(shape) == 3 else 'TZYX' if len(shape) == 4 else 'YX' if len(shape) == 2 else 'TZYXC'!r}"
        )
    return _without_ones(letters, shape)


def _labels(dataset: Any, attributes: Mapping[str, Any]) -> Sequence[tuple[Sequence[str], str]]:
    """Return everything that labels the axes: words, and where they were found."""
    found: list[tuple[Sequence[str], str]] = []
    labels = attributes.get("DIMENSION_LABELS")
    if isinstance(labels, list):
        found.append(([str(label) for label in labels], "dimension labels"))
    if "DIMENSION_LIST" in dataset.attrs:
        found.append((_scales(dataset), "dimension scales"))
    for name, value in attributes.items():
        if name.lower() in _ATTRIBUTES:
            found.append((_words_in(value), f"attribute {name}"))
    if "axistags" in attributes:
        found.append((_tags_in(text_of(attributes, "axistags")), "attribute axistags"))
    return found


def _scales(dataset: Any) -> list[str]:
    try:
        return [str(axis[0].name).rsplit("/", 1)[-1] if len(axis) else "" for axis in dataset.dims]
    except HDF5_FAULTS:
        return []


def _words_in(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    text = value if isinstance(value, str) else ""
    words = re.findall(r"[A-Za-z_]+", text)
    # A single word is a string of letters, such as "TYX"
    return words if len(words) > 1 else list(text.strip())


def _tags_in(text: str) -> list[str]:
    try:
        tags = json.loads(text)["axes"]
        return [str(tag["key"]) for tag in tags]
    except (ValueError, KeyError, TypeError, RecursionError):  # RecursionError: deeply nested brackets
        return []


def _letters_of(words: Sequence[str]) -> str:
    letters = "".join(_LETTERS.get(word.strip().lower(), "?") for word in words)
    return letters if "?" not in letters and len(set(letters)) == len(letters) else ""


def _by_writer(dataset: Any, attributes: Mapping[str, Any], shape: tuple[int, ...]) -> AxisOrder | None:
    name = dataset.name.strip("/")
    if "MATLAB_class" in attributes and len(shape) in (3, 4):
        # MATLAB stores the first axis fastest, so HDF5 lists its axes in reverse
        letters = "TXY" if len(shape) == 3 else "TZXY"
        return AxisOrder(
            _without_ones(letters, shape), "written by MATLAB, whose arrays are (rows, columns, ..., time)", False
        )
    if name == "imaging" and len(shape) == 3 and 2 * shape[2] < min(shape[:2]):
        return AxisOrder("YXT", "SIMA's /imaging of three axes, the last by far the shortest", False)
    if name == "imaging" and len(shape) == 5:
        return AxisOrder(_without_ones("TZYXC", shape), "SIMA's /imaging of five axes", False)
    return None


def _by_shape(shape: tuple[int, ...], where: str) -> AxisOrder:
    if len(shape) == 2:
        return AxisOrder("YX", "one frame")
    if len(shape) == 3:
        return AxisOrder("TYX", "three axes without labels", False, _doubt_of_three(shape, where))
    if len(shape) == 4:
        for at, letters in ((1, "TZYX"), (3, "TYXZ")):
            others = [n for k, n in enumerate(shape) if k in (1, 2, 3) and k != at]
            if 2 * shape[at] <= min(others):
                return AxisOrder(
                    _without_ones(letters, shape), "four axes without labels, the planes by far the fewest", False
                )
    choices = _FOUR if len(shape) == 4 else ("TZYXC", "TCZYX")
    if len(shape) not in (4, 5):
        raise UnsupportedRecordingError(f"{where} has the shape {shape}; a movie has 2 to 5 axes")
    raise StreamChoiceError(
        f"{where} has the shape {shape} and its axes have no labels; pass their order: open(..., dimension_order={choices[0]!r})",
        option="dimension_order",
        choices=choices,
    )


def _doubt_of_three(shape: tuple[int, ...], where: str) -> str:
    """Return a sentence for a shape that looks like rows, columns and time: a square first, or a last axis that is by far the longest."""
    first, second, last = shape
    is_square = first == second != last
    is_long = last >= 4 * max(first, second) and max(first, second) <= 4 * min(first, second)
    if min(first, second) < _MIN_PIXELS or not (is_square or is_long):
        return ""
    return (
        f"{where} has the shape {shape} and no labels: it is read as {counted(first, 'frame')} of {second:,} x {last:,} pixels, but it looks like "
        f"{counted(first, 'row')}, {counted(second, 'column')} and {counted(last, 'frame')}; if so, pass dimension_order='YXT', else dimension_order='TYX'"
    )


def _without_ones(letters: str, shape: tuple[int, ...]) -> str:
    """Return the letters with planes and channels of length 1 numbered, which leaves them out."""
    return "".join(
        str(k) if n == 1 and letter in "ZC" else letter
        for k, (letter, n) in enumerate(zip(letters, shape, strict=True))
    )
