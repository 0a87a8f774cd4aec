"""Knows the results of common analyses by their names and first bytes, so that an error can say that they are not a movie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Collection, Iterator

from ..errors import printable

__all__ = ["results_in_file", "results_in_folder"]

ReadAt = Callable[[int, int], bytes]

_MAX_NAMES = 1000  # folders of results are small; those of frames are not searched
_MAX_VARIABLES, _MAX_VARIABLE_HEAD = 64, 512
_MAT_HEADER, _COMPRESSED, _MATRIX = 128, 15, 14
_NOT_A_MOVIE = "not a movie; open the file of the movie"


def results_in_folder(name: str, names: Collection[str]) -> str:
    """Return which analysis left its results in a folder with these names; empty if none is known.

    Parameters
    ----------
    name : str
        Of the folder.
    names : collection of str
        Of its contents.
    """
    if len(names) > _MAX_NAMES:
        return ""
    known = {one.lower() for one in names}
    if {"sequences.pkl", "dataset.pkl"} & known and (name.lower().endswith(".sima") or len(known & _SIMA) > 1):
        return "a dataset of SIMA, whose frames are in files that its pickles name (pickles are never loaded); open these files"
    if {"a.zarr", "c.zarr"} <= known:
        return f"the results of minian (footprints and traces), {_NOT_A_MOVIE}"
    if name.lower() in _MINIAN and name.lower().removesuffix(".zarr") in known:
        return f"an array of the results of minian, {_NOT_A_MOVIE}"
    if {"images", "regions"} <= known:
        return "a dataset of Neurofinder; its movie is in the folder 'images': open that folder"
    if {"stat.npy", "ops.npy"} <= known or {"stat.npy", "f.npy"} <= known:
        return f"a folder of ROIs and traces (stat.npy, F.npy) without the registered movie (data.bin), {_NOT_A_MOVIE}"
    return ""


def results_in_file(name: str, head: bytes, read_at: ReadAt) -> str:
    """Return which results a file contains; empty if none are known.

    Parameters
    ----------
    name : str
    head : bytes
        Its first bytes.
    read_at : callable
        Returns bytes by offset and count.
    """
    if head.startswith(b"Iout"):
        return f"a region of interest of ImageJ, {_NOT_A_MOVIE}"
    if head.startswith(b"PK\x03\x04") and len(head) > 30:
        first = head[30 : 30 + struct.unpack_from("<H", head, 26)[0]].lower()
        if first.endswith(b".roi"):
            return f"a set of regions of interest of ImageJ, {_NOT_A_MOVIE}"
        if first.endswith(b".npy"):
            return "a set of NumPy arrays (.npz); save the array of the movie as .npy"
    text = head.lstrip()
    if text.startswith(b"[") and b'"coordinates"' in text[:60]:
        return f"regions of Neurofinder, {_NOT_A_MOVIE} (the folder 'images' beside 'regions')"
    if text.startswith((b"<SpimData", b"<?xml")) and b"<SpimData" in text:
        return "the description of a BigDataViewer dataset, which cannot be opened as one movie; convert it to OME-TIFF or OME-Zarr"
    if head.startswith(b"MATLAB 5.0"):
        return _results_of(set(_variables(read_at, "<" if head[126:128] == b"IM" else ">")))
    return ""


def _results_of(variables: Collection[str]) -> str:
    """Return which analysis wrote these variables of MATLAB."""
    for variable, analysis in _STRUCTURES.items():
        if variable in variables:
            return f"the results of {analysis} (variable {printable(variable)}: footprints and traces), {_NOT_A_MOVIE}"
    for several, analysis in _SEVERAL:
        if several <= set(variables):
            return f"the results of {analysis} (variables {', '.join(sorted(several))}), {_NOT_A_MOVIE}"
    return ""


def _variables(read_at: ReadAt, order: str) -> Iterator[str]:
    """Yield the names of a file's variables, of each of which a few hundred bytes are read.

    References
    ----------
    MAT-File Format, MathWorks: level 5, "Data Element Format" and "miMATRIX".
    """
    at = _MAT_HEADER
    for _ in range(_MAX_VARIABLES):
        tag = read_at(at, 8)
        if len(tag) < 8:
            return
        kind, length = struct.unpack(order + "II", tag)
        body = read_at(at + 8, min(length, _MAX_VARIABLE_HEAD))
        if kind == _COMPRESSED:
            try:
                body = zlib.decompressobj().decompress(body, _MAX_VARIABLE_HEAD)
            except zlib.error:
                return
            if len(body) < 8 or struct.unpack_from(order + "I", body)[0] != _MATRIX:
                return
            body = body[8:]
        elif kind != _MATRIX:
            return
        yield _variable(body, order)
        at += 8 + length


def _variable(body: bytes, order: str) -> str:
    """Return the name in a matrix, behind its flags (16 bytes) and its dimensions."""
    if len(body) < 32:
        return ""
    dimensions = struct.unpack_from(order + "I", body, 20)[0]
    at = 24 + (dimensions + 7) // 8 * 8
    if at + 8 > len(body):
        return ""
    kind, length = struct.unpack_from(order + "II", body, at)
    if kind >> 16:  # a small element: its length is in the upper half of the first word, and its data in the second
        return body[at + 4 : at + 4 + (kind >> 16)].decode("ascii", "replace")
    return body[at + 8 : at + 8 + min(length, 64)].decode("ascii", "replace")


_SIMA = frozenset(("sequences.pkl", "dataset.pkl", "rois.pkl", "signals_0.pkl", "time_averages.pkl"))
_MINIAN = frozenset(f"{name}.zarr" for name in ("a", "c", "s", "b", "f", "yra", "c0", "b0", "max_proj", "unit_id"))
_STRUCTURES = {
    "extractAnalysisOutput": "EXTRACT through CIAtah",
    "cnmfAnalysisOutput": "CNMF through CIAtah",
    "cnmfeAnalysisOutput": "CNMF-E through CIAtah",
    "emAnalysisOutput": "CELLMax through CIAtah",
    "cellmaxAnalysisOutput": "CELLMax through CIAtah",
    "pcaicaAnalysisOutput": "PCA-ICA through CIAtah",
    "neuron": "CNMF-E",
}
_SEVERAL = (
    (frozenset(("F", "Fneu", "spks")), "a segmentation saved for MATLAB (Fall.mat)"),
    (frozenset(("A", "C", "C_raw")), "CNMF-E"),
    (frozenset(("A", "C", "Cn")), "CNMF"),
    (frozenset(("output",)), "EXTRACT, or of another analysis"),
    (frozenset(("results",)), "CNMF-E, or of another analysis"),
)
