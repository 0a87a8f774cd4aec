"""Calls on the files of a recording while it opens: on a network share each of them takes 1 to 10 ms."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from benchmarks.calls import KINDS, count_calls, why_not
from benchmarks.conftest import Beside
from roiextractors_core.testing import write_npy, write_tiff

MOVIE = np.random.default_rng(0).integers(0, 200, (120, 32, 48))
PLUGINS = Path(__file__).resolve().parents[1] / "plugins"


def recording(dtype: str = "int16") -> roi.NumpyImagingExtractor:
    return roi.NumpyImagingExtractor(MOVIE.astype(dtype), sampling_frequency=30.0)


def writers_of(plugin: str) -> ModuleType:
    """Return what a plugin's own tests write recordings with."""
    spec = importlib.util.spec_from_file_location(f"writers_of_{plugin}", PLUGINS / plugin / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_sequence(folder: Path) -> Path:
    for number, frame in enumerate(MOVIE.astype(np.uint16)):
        write_tiff(roi.NumpyImagingExtractor(frame[np.newaxis]), folder / f"frame_{number:05d}.tif")
    return folder


def write_packed_sequence(folder: Path) -> Path:
    tifffile = pytest.importorskip("tifffile")
    for number, frame in enumerate(MOVIE.astype(np.uint16)):
        tifffile.imwrite(folder / f"frame_{number:05d}.tif", frame, compression="zlib", metadata=None)
    return folder


def write_scanimage(folder: Path) -> Path:
    writers = writers_of("scanimage")
    header = writers._header_text({"SI.hScan2D.logFramesPerFile": "12"})
    for k in range(10):
        texts = writers._page_texts(12, first=12 * k + 1)
        writers._write_bigtiff(folder / f"mouse_00001_{k + 1:05d}.tif", header, texts, MOVIE[12 * k : 12 * k + 12])
    return folder / "mouse_00001_00001.tif"


def write_ometiff_set(folder: Path) -> Path:
    ome, movie = writers_of("ometiff"), MOVIE[:10].astype(np.uint16)
    names = [f"s_{k + 1}.ome.tif" for k in range(len(movie))]
    data = [ome.tiff_data(name, f"u{k}", IFD=0, FirstT=k) for k, name in enumerate(names)]
    image = ome.pixels("XYZCT", t=len(movie), frame=movie[0], data=data)
    for k, name in enumerate(names):
        ome.write_tiff(folder / name, [movie[k]], ome.document(image, uuid=f"u{k}"))
    return folder / names[0]


def write_bruker(folder: Path) -> Path:
    from benchmarks.test_bruker import NAME, written

    return written(folder / NAME, len(MOVIE), 64)


def write_miniscope(folder: Path) -> Path:
    pytest.importorskip("av")
    written: Path = writers_of("miniscope")._write_v4(folder / "session", MOVIE.astype(np.uint8), a_file=40)
    return written.parent


def converted(name: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        roi.convert(recording(), folder / name, **options)
        return folder / name

    return write


# What is opened, and how many calls there may be: an open, a stat and a few reads of each file that must be looked at
RECORDINGS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "folder of 120 TIFFs": (write_sequence, 150),
    "folder of 120 compressed TIFFs": (write_packed_sequence, 650),
    "ten ScanImage files": (write_scanimage, 100),
    "NWB": (converted("movie.nwb", start_time=datetime(2026, 1, 2, tzinfo=UTC)), 40),
    "npy": (lambda folder: write_npy(recording(), folder / "movie.npy"), 20),
    "OME-TIFF, ten files": (write_ometiff_set, 50),
    "Prairie View, 120 files": (write_bruker, 60),
    "OME-Zarr": (converted("movie.zarr"), 60),
    "Miniscope, three videos": (write_miniscope, 100),
    "suite2p": (converted("suite2p", format="suite2p"), 40),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_calls_while_opening(tmp_path: Path, name: str, beside: Beside) -> None:
    if why_not():
        pytest.skip(why_not())
    write, most = RECORDINGS[name]
    paths = []
    for copy in ("warm", "watched"):
        (tmp_path / copy).mkdir()
        paths.append(write(tmp_path / copy))
    found = count_calls(*paths, tmp_path / "watched")
    beside.calls(name, {kind: found[kind] for kind in KINDS}, at_most=most)
