"""The contents of a segmentation as named arrays, and the judgement of those that come out of a changed copy.

The judges share no code with the extractors: the bytes at the place of an array that is stored as it is, and the lines of the
arrays that numpy, h5py, zarr, tifffile and scipy read from the same files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .oracles import PixelMap, quietly

__all__ = ["Judgement", "Lines", "contents_of", "disagreement_of", "is_same", "judge_contents", "maps_of"]

_MAX_BYTES = 64 << 20  # of one array; a quarter of the memory allowed, since reading may take copies
_MAX_LINES = 200_000
_SPARSE = "MATLAB_sparse"  # the attribute of a group of a file of version 7.3, with the number of rows
_MIN_MAPPED = 32  # bytes; shorter arrays could be anywhere in a file


def contents_of(opened: Any) -> dict[str, np.ndarray]:
    """Read everything that a segmentation contains: ids, masks, traces, images, properties, background."""
    ids, count = opened.get_roi_ids(), opened.get_num_samples()
    parts = {"ids": _text(ids), "samples": np.array(count)}
    if any(opened.get_mask_shape()):  # (0, 0) where the file does not say
        parts["frame shape"] = np.array(opened.get_mask_shape())
    if opened.has_masks:
        parts |= _masks("mask", opened.get_roi_masks())
    for name in opened.get_trace_names():
        parts[f"trace {name}"] = opened.get_traces(None, 0, readable_samples(count, len(ids)), name)
    for name in opened.get_image_names():
        parts[f"image {name}"] = np.asarray(opened.get_image(name))
    for key in opened.get_property_keys():
        parts[f"property {key}"] = opened.get_property(key)
    background = opened.get_background()
    if background is not None:
        parts["background ids"] = _text(background.ids)
        parts |= _masks("background mask", opened.get_background_masks())
        for name in background.traces:
            most = readable_samples(count, len(background.ids))
            parts[f"background trace {name}"] = opened.get_traces(None, 0, most, name)
    return {name: _text(part.tolist()) if part.dtype.hasobject else part for name, part in parts.items()}


def readable_samples(count: int, width: int) -> int:
    """Return how many samples of a trace are read: a damaged number of them may ask for gigabytes."""
    size = max(1, width) * 8
    return count if count * size <= _MAX_BYTES else max(1, min(count, _MAX_BYTES // size))


def disagreement_of(opened: Any, parts: Mapping[str, np.ndarray]) -> str:
    """Return in words where a part of the contents, read alone, is not that part of the whole; nothing if it is."""
    ids = opened.get_roi_ids()
    if not ids:
        return ""
    # Damage that one path checks may pass through another
    chosen = list(dict.fromkeys((ids[-1], ids[0])))
    places = [len(ids) - 1, 0][: len(chosen)]
    if opened.has_masks:
        whole, some = opened.get_roi_masks(), opened.get_roi_masks(chosen)
        if some != whole[np.array(places)]:
            return f"get_roi_masks({chosen}) gives other masks than get_roi_masks()"
    for name in opened.get_trace_names():
        series = parts[f"trace {name}"]
        end = len(series)
        if end and not is_same(opened.get_traces(chosen, end - 1, end, name), series[end - 1 : end][:, places]):
            return f"get_traces({chosen}, {end - 1}, {end}, {name!r}) gives other values than all traces"
    view = opened.select_rois(chosen)
    if view.get_roi_ids() != chosen:
        return f"a view of {chosen} has the ROIs {view.get_roi_ids()}"
    return ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found about the contents of a changed copy.

    Attributes
    ----------
    outcome : str
    words : str
    """

    outcome: str
    words: str = ""


class Lines:
    """The rows and columns of every array that other libraries read from files, by their values.

    Parameters
    ----------
    paths : sequence of pathlib.Path
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._digests: set[bytes] = set()
        self.failures: list[str] = []
        with quietly(seconds=10.0, failures=self.failures):
            for path in paths:
                self._add(path)

    def _add(self, path: Path) -> None:
        try:
            for array in _arrays_of(path):
                self._digests.update(map(_digest, _lines_of(array)))
                if len(self._digests) > _MAX_LINES:
                    raise ValueError("there are too many lines")
        except Exception as error:  # noqa: BLE001 - another library, on a damaged file
            self.failures.append(f"the judge says {type(error).__name__}: {str(error)[:80]}")

    def contain(self, part: np.ndarray) -> bool:
        """Return whether every row, or every column, of an array is a line of the files."""
        if part.dtype.kind not in "biuf" or part.ndim == 0:
            return False
        flat = part.reshape(len(part), -1) if part.ndim > 1 else part.reshape(1, -1)
        return any(all(_digest(line) in self._digests for line in lines) for lines in (flat.T, flat))


def maps_of(files: Mapping[str, bytes], expected: Mapping[str, np.ndarray]) -> dict[str, PixelMap]:
    """Return the places of the arrays that are stored uncompressed."""
    maps = {}
    for name, part in expected.items():
        if part.dtype.kind in "iuf" and part.nbytes >= _MIN_MAPPED and part.ndim in (1, 2):
            found = PixelMap.of_whole(files, part if part.ndim == 2 else part[np.newaxis])
            if found is not None:
                maps[name] = found
    return maps


def judge_contents(
    seen: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    stored: Mapping[str, np.ndarray],
    *,
    only_values: bool,
    is_reported: bool,
    was_found: Mapping[str, bool],
    lines: Callable[[], Lines],
) -> Judgement:
    """Judge what was read from a changed copy.

    Parameters
    ----------
    seen, expected : mapping of str to numpy.ndarray
        The contents now, and of the unchanged recording.
    stored : mapping of str to numpy.ndarray
        The bytes at the places of the arrays that are stored as they are, now.
    only_values : bool
        Whether bytes of such arrays were changed, and nothing else.
    is_reported : bool
        Whether a warning or a note was given.
    was_found : mapping of str to bool
        Whether the other libraries read this array from the unchanged files: only then do they judge.
    lines : callable
        Returns the :class:`Lines` of the changed files; called only where it is needed.
    """
    changed, fewer, others = [], [], []
    for name, right in expected.items():
        part, now = seen.get(name), stored.get(name)
        if part is None:
            fewer.append(name)
        elif is_same(part, right):
            if only_values and now is not None and not is_same(now, right):
                return Judgement("wrong values", f"{name}: values in the file were changed, and these are the old ones")
        elif now is not None and is_same(part, now[: len(part)] if part.ndim > 1 else now):
            changed.append(name)
        elif only_values and now is not None:
            return Judgement("wrong values", f"{name}: only values were changed, and others are returned")
        elif _is_part(part, right):
            fewer.append(name)
        else:
            others.append(name)
    if not (fewer or others):
        return Judgement("changed values, as in the file" if changed else "same contents")
    if others and not (judged := _judged(others, seen, was_found, is_reported, lines)).outcome.startswith("other"):
        return judged
    if fewer and not is_reported:
        return Judgement("unjudged: fewer contents, not reported", ", ".join(fewer))
    return Judgement("fewer contents, reported" if fewer else "other values, right by another reader")


def _judged(
    names: Sequence[str],
    seen: Mapping[str, np.ndarray],
    was_found: Mapping[str, bool],
    is_reported: bool,
    lines: Callable[[], Lines],
) -> Judgement:
    unknown = [name for name in names if not was_found.get(name)]
    read = lines() if len(unknown) < len(names) else Lines(())
    wrong = [name for name in names if name not in unknown and not read.contain(seen[name])]
    if wrong and not is_reported and not read.failures:
        return Judgement("wrong values", f"{', '.join(wrong)}: no other library reads them from these files")
    if wrong or unknown:
        told = "reported" if is_reported else "not reported"
        return Judgement(f"unjudged: other contents, {told}", ", ".join(wrong + unknown))
    return Judgement("other values, right by another reader")


def is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two arrays are equal, with their types; NaN equals itself."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(
        np.array_equal(one, other) or np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
    )


def _is_part(part: np.ndarray, right: np.ndarray) -> bool:
    """Return whether an array is the beginning of another one, or a number not larger than another."""
    if part.ndim == right.ndim == 0:  # the number of samples
        return bool(part <= right)
    if part.ndim != right.ndim or any(a > b for a, b in zip(part.shape, right.shape, strict=True)):
        return False
    begin = right[tuple(slice(0, n) for n in part.shape)]
    return is_same(part.astype(right.dtype, copy=False) if part.dtype.kind == "U" else part, begin)


def _text(values: Any) -> np.ndarray:
    return np.array([value if isinstance(value, str) else repr(value) for value in values], dtype=np.str_)


def _masks(word: str, masks: Any) -> dict[str, np.ndarray]:
    return {f"{word} offsets": masks.offsets, f"{word} pixels": masks.pixels, f"{word} weights": masks.weights}


# Other libraries


def _arrays_of(path: Path) -> Iterator[np.ndarray]:
    with path.open("rb") as stream:
        head = stream.read(1024)
    if head[:6] == b"\x93NUMPY":
        if b"'|O'" not in head:  # a pickle: nobody else reads it without running it
            yield _small(np.load(path, allow_pickle=False, mmap_mode="r"))
    elif b"\x89HDF\r\n\x1a\n" in head:
        yield from _hdf5_arrays(path)
    elif head[:10] == b"MATLAB 5.0":
        yield from _mat_arrays(path)
    elif path.name in (".zarray", "zarr.json"):
        import zarr

        node: Any = zarr.open(str(path.parent), mode="r")
        if hasattr(node, "shape"):
            yield np.asarray(_small(node)[...])
    elif head[:4] in (b"II*\x00", b"II+\x00", b"MM\x00*", b"MM\x00+"):
        import tifffile

        with tifffile.TiffFile(path) as file:
            yield from (_small(page).asarray() for page in file.pages)


def _hdf5_arrays(path: Path) -> Iterator[np.ndarray]:
    import h5py

    nodes: list[Any] = []
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(
            lambda _, node: nodes.append(node) if getattr(node, "shape", None) or _SPARSE in node.attrs else None
        )
        for node in nodes:
            if hasattr(node, "dtype") and node.dtype.kind in "biuf":
                yield _small(node)[()]
            elif not hasattr(node, "dtype") and "jc" in node:
                yield _sparse_of_matlab(node)


def _sparse_of_matlab(group: Any) -> np.ndarray:
    ends = group["jc"][()].astype(np.int64)
    dense = np.array(_small(np.broadcast_to(np.float64(0), (int(group.attrs[_SPARSE]), len(ends) - 1))))
    if "data" in group:
        columns = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        dense[group["ir"][()][: len(columns)].astype(np.int64), columns] = group["data"][()][: len(columns)]
    return dense


def _mat_arrays(path: Path) -> Iterator[np.ndarray]:
    from scipy.io import loadmat  # type: ignore[import-untyped,unused-ignore]

    waiting: list[Any] = list(loadmat(path, squeeze_me=False, struct_as_record=True).values())
    while waiting:
        value = waiting.pop()
        if hasattr(value, "toarray"):
            value = _small(value).toarray()
        if not isinstance(value, np.ndarray):
            continue
        if value.dtype.names:
            waiting += [value[name] for name in value.dtype.names]
        elif value.dtype == object:
            waiting += value.reshape(-1).tolist()
        elif value.dtype.kind in "biuf":
            yield value


def _small(array: Any) -> Any:
    if int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize > _MAX_BYTES:
        raise ValueError("an array is too large to judge")
    return array


def _lines_of(array: np.ndarray) -> Iterator[np.ndarray]:
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        return
    for axis in range(array.ndim):
        yield from np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])
    if array.ndim > 1:  # vectors are often stored as one row, or with the frame flattened
        yield from np.moveaxis(array, 0, -1).reshape(-1, array.shape[0])
        yield array.reshape(-1)


def _digest(line: np.ndarray) -> bytes:
    # The extractors may convert to another type, and remove the sign of 0
    values = np.ascontiguousarray(line, np.float64) + 0.0
    return hashlib.sha1(values.tobytes(), usedforsecurity=False).digest()
