"""What the core's tests share: the real recordings, one recording of every kind, distributions made on the spot, fresh processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core import testing

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", ROOT.parent / "shared" / "recordings"))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture(autouse=True)
def no_settings_of_the_person_who_runs_the_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROIEXTRACTORS_CONFIG", str(tmp_path / "no-such-config.toml"))
    monkeypatch.delenv("ROIEXTRACTORS_BLOCK", raising=False)
    monkeypatch.delenv("ROIEXTRACTORS_PREFER", raising=False)


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Run Python code in a fresh process and return what it prints."""
    return _run


def _run(code: str, *, path: tuple[Path, ...] = (), environment: Mapping[str, str] | None = None) -> str:
    folders = os.pathsep.join([*map(str, path), str(ROOT)])
    everything = {**os.environ, "PYTHONPATH": folders, **(environment or {})}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=everything,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def distribution() -> Callable[..., Path]:
    """Write a distribution as pip leaves it: a package and its ``.dist-info``."""
    return _distribution


def _distribution(
    site: Path,
    name: str,
    hooks: str,
    *,
    package: str | None = None,
    version: str = "1.2.3",
    entry_points: str | None = None,
    metadata: str | None = None,
) -> Path:
    package = package or name.replace("-", "_")
    folder = site / package
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "hooks.py").write_text(hooks)
    info = site / f"{package}-{version}.dist-info"
    info.mkdir()
    told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" if metadata is None else metadata
    if told:
        (info / "METADATA").write_text(told)
    points = f"[roiextractors_core]\n{package} = {package}.hooks\n" if entry_points is None else entry_points
    (info / "entry_points.txt").write_text(points)
    return folder


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording of one format on the disk.

    Attributes
    ----------
    path : pathlib.Path
        What is opened.
    options : dict
        For ``open``.
    pixels : pathlib.Path
        A file that holds pixels of the middle of the recording.
    expected : numpy.ndarray
        ``(samples, rows, columns)``.
    """

    path: Path
    options: dict[str, Any]
    pixels: Path
    expected: np.ndarray


@pytest.fixture(scope="session")
def kinds() -> tuple[str, ...]:
    """The kinds of recordings that can be written."""
    return KINDS


@pytest.fixture(scope="session")
def write_recorded() -> Callable[..., Recorded]:
    """Write a recording of a format, ``write_recorded(kind, folder)``, or skip where its plugin is not installed."""
    return _write_recorded


def _write_recorded(
    kind: str, folder: Path, *, shape: tuple[int, int, int] = (48, 64, 96), stem: str = "movie", seed: int = 0
) -> Recorded:
    for module in _NEEDED.get(kind, ()):
        pytest.importorskip(module, reason=f"{module} is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    high = 1 << 8 if kind == "video" else 1 << 12
    movie = np.random.default_rng(seed).integers(0, high, shape).astype(np.int16)
    path, options, pixels = _WRITERS[kind](folder / stem, movie)
    return Recorded(path, options, pixels, movie)


def _write_npy(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    path = stem.with_name(f"{stem.name}.npy")
    np.save(path, movie)
    return path, {}, path


def _write_npy_by_pixel(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    path = stem.with_name(f"{stem.name}.npy")
    np.save(path, np.asfortranarray(movie))
    return path, {}, path


def _write_raw(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    path = stem.with_name(f"{stem.name}.raw")
    path.write_bytes(movie.tobytes())
    return path, {"format": "raw", "shape": movie.shape[1:], "dtype": "<i2"}, path


def _write_raw_by_pixel(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    path = stem.with_name(f"{stem.name}.raw")
    path.write_bytes(movie.transpose(2, 1, 0).tobytes())
    return path, {"format": "raw", "shape": movie.shape, "dtype": "<i2", "order": "F"}, path


def _write_tiff(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    path = stem.with_name(f"{stem.name}.tif")
    testing.write_tiff(roi.NumpyImagingExtractor(movie), path)
    return path, {}, path


def _write_packed_tiff(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    import tifffile

    path = stem.with_name(f"{stem.name}.tif")
    tifffile.imwrite(path, movie, compression="zlib", photometric="minisblack", metadata=None)
    return path, {}, path


def _write_scanimage(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    path = stem.with_name(f"{stem.name}.tif")
    from roiextractors_scanimage.testing import write_scanimage

    write_scanimage(roi.NumpyImagingExtractor(movie, 30.0), path)
    return path, {}, path


def _write_sequence(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    stem.mkdir()
    for number, frame in enumerate(movie):
        testing.write_tiff(roi.NumpyImagingExtractor(frame[np.newaxis]), stem / f"frame_{number:05d}.tif")
    return stem, {"format": "tiff"}, stem / f"frame_{len(movie) // 2:05d}.tif"


def _write_bruker(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    """Prairie View's PVScan XML, of version 5.6, and one file a frame."""
    stem.mkdir()
    frames = []
    for number, frame in enumerate(movie.astype(np.uint16), start=1):
        name = f"{stem.name}_Cycle00001_Ch2_{number:06d}.ome.tif"
        testing.write_tiff(roi.NumpyImagingExtractor(frame[np.newaxis]), stem / name)
        frames.append(
            f'<Frame relativeTime="{number * 0.05!r}" absoluteTime="{number * 0.05 + 3!r}" index="{number}" '
            f'parameterSet="CurrentSettings"><File channel="2" channelName="Ch2" filename={quoteattr(name)} />'
            '<ExtraParameters lastGoodFrame="0" /><PVStateShard></PVStateShard></Frame>\n'
        )
    (stem / f"{stem.name}.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<PVScan version="5.6.64.400" date="1/2/2024 9:30:09 PM" notes="">\n'
        '<PVStateShard><PVStateValue key="framePeriod" value="0.05" /></PVStateShard>\n'
        f'<Sequence type="TSeries Timed Element" cycle="1" time="09:30:10.5000000">\n{"".join(frames)}</Sequence></PVScan>',
        encoding="utf-8",
        errors="surrogateescape",
    )
    return stem, {}, stem / f"{stem.name}_Cycle00001_Ch2_{len(movie) // 2 + 1:06d}.ome.tif"


def _write_hdf5(stem: Path, movie: np.ndarray, **storage: Any) -> tuple[Path, dict[str, Any], Path]:
    import h5py

    path = stem.with_name(f"{stem.name}.h5")
    with h5py.File(path, "w") as file:
        file.create_dataset("movie", data=movie, **storage)
    return path, {}, path


def _write_packed_hdf5(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    return _write_hdf5(stem, movie, chunks=(4, *movie.shape[1:]), compression="gzip", shuffle=True)


def _write_oib(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    """By what the plugin's own tests write with."""
    place = ROOT / "plugins" / "olympus" / "tests" / "conftest.py"
    spec = importlib.util.spec_from_file_location("writer_of_oib", place)
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    path: Path = writer._write_oib(stem.with_name(f"{stem.name}.oib"), movie[:, np.newaxis, np.newaxis])
    return path, {}, path


def _write_omezarr(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    import zarr

    path = stem.with_name(f"{stem.name}.zarr")
    axes = [{"name": name, "type": "time" if name == "t" else "space"} for name in "tyx"]
    image = {"axes": axes, "datasets": [{"path": "0"}], "version": "0.4"}
    group = zarr.open_group(path, mode="w", zarr_format=2, attributes={"multiscales": [image]})
    array = group.create_array(
        "0", shape=movie.shape, dtype=movie.dtype, chunks=(1, *movie.shape[1:]), compressors=None
    )
    array[...] = movie
    return path, {}, path / "0" / f"{len(movie) // 2}.0.0"


def _write_video(stem: Path, movie: np.ndarray) -> tuple[Path, dict[str, Any], Path]:
    import av

    path = stem.with_name(f"{stem.name}.avi")
    with av.open(os.fsencode(path).decode("utf-8", "surrogateescape"), "w", format="avi") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.height, stream.width, stream.pix_fmt = movie.shape[1], movie.shape[2], "gray"
        for frame in movie.astype(np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode())
    return path, {}, path


_WRITERS: dict[str, Callable[[Path, np.ndarray], tuple[Path, dict[str, Any], Path]]] = {
    "npy": _write_npy,
    "npy by pixel": _write_npy_by_pixel,
    "raw": _write_raw,
    "raw by pixel": _write_raw_by_pixel,
    "tiff": _write_tiff,
    "packed tiff": _write_packed_tiff,
    "tiff sequence": _write_sequence,
    "scanimage": _write_scanimage,
    "bruker": _write_bruker,
    "hdf5": _write_hdf5,
    "packed hdf5": _write_packed_hdf5,
    "oib": _write_oib,
    "omezarr": _write_omezarr,
    "video": _write_video,
}
_NEEDED = {
    "raw": ("roiextractors_raw",),
    "raw by pixel": ("roiextractors_raw",),
    "tiff": ("roiextractors_tiff",),
    "packed tiff": ("roiextractors_tiff", "tifffile"),
    "tiff sequence": ("roiextractors_tiff",),
    "scanimage": ("roiextractors_scanimage",),
    "bruker": ("roiextractors_bruker",),
    "hdf5": ("roiextractors_hdf5", "h5py"),
    "packed hdf5": ("roiextractors_hdf5", "h5py"),
    "oib": ("roiextractors_olympus", "tifffile"),
    "omezarr": ("roiextractors_omezarr", "zarr"),
    "video": ("roiextractors_video", "av"),
}
KINDS = tuple(_WRITERS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``kind`` once for every format that can be written here."""
    if "kind" in metafunc.fixturenames and not any(
        "kind" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("kind", KINDS)
