"""The writer of this format keeps the rules of the core, and what it writes opens again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import WriterTests


class TestWritingOmeZarr(WriterTests):
    format = "omezarr"
    target_name = "movie.zarr"
    dtypes = {name: name for name in ("uint16", "bool", "int64", "float16", "float64")}


def test_a_folder_that_is_a_target_is_replaced_whole(tmp_path: Path) -> None:
    recording = roi.NumpyImagingExtractor(np.ones((3, 4, 5), np.uint8), sampling_frequency=2.0)
    roi.convert(recording, tmp_path / "a.zarr")
    old = tmp_path / "a.zarr" / "0" / "c" / "9" / "0" / "0"
    old.parent.mkdir(parents=True)
    old.write_text("x")
    roi.convert(recording, tmp_path / "a.zarr", overwrite=True)
    assert not old.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize("name", ["notes.txt", "labels/cells/zarr.json", "0/c/readme", "1/mask.tif"])
def test_a_zarr_folder_with_something_else_in_it_is_not_replaced(tmp_path: Path, name: str) -> None:
    recording = roi.NumpyImagingExtractor(np.ones((3, 4, 5), np.uint8), sampling_frequency=2.0)
    roi.convert(recording, tmp_path / "a.zarr")
    other = tmp_path / "a.zarr" / name
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("three years")
    with pytest.raises(roi.SourceKindError, match="contains something other"):
        roi.convert(recording, tmp_path / "a.zarr", overwrite=True)
    assert other.read_text() == "three years"


class TestWritingOmeZarr04(WriterTests):
    format = "omezarr"
    target_name = "movie.zarr"
    dtypes = {name: name for name in ("uint16", "bool", "float32")}
    write_options = {"version": "0.4", "compression": "blosc"}


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"compression": "zstd", "level": 9},
    {"compression": "blosc"},
    {"compression": "blosc", "level": 9},
    {"compression": "gzip"},
    {"compression": "gzip", "level": 6},
    {"compression": None},
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "complex64", "bool"])
def test_the_library_zarr_reads_the_same_pixels(tmp_path: Path, options: dict[str, Any], dtype: str) -> None:
    zarr = pytest.importorskip("zarr")
    movie = np.random.default_rng(1).integers(0, 90, (23, 11, 13, 3)).astype(dtype)
    versions = ("0.4", "0.5") if zarr.__version__ >= "3" else ("0.4",)  # zarr 2 reads no Zarr 3
    for data in (movie, movie[..., 0]):
        recording = roi.NumpyImagingExtractor(data, sampling_frequency=2.0)
        for version in versions:
            path = roi.convert(recording, tmp_path / f"{version}-{data.ndim}.zarr", version=version, **options)
            array = zarr.open_group(str(path), mode="r")["0"]
            stored = np.moveaxis(array[...], 1, -1) if data.ndim == 4 else array[...]
            np.testing.assert_array_equal(stored, data)
            assert stored.dtype == data.dtype
            with roi.open(path) as again:
                np.testing.assert_array_equal(again[...], data)
                assert again.get_sampling_frequency() == 2.0


def test_chunks_follow_the_size_of_frames_and_cover_the_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roiextractors_omezarr import writer

    monkeypatch.setattr(writer, "_CHUNK_BYTES", 700)
    monkeypatch.setattr(writer, "_MAX_CHUNK_BYTES", 100)
    monkeypatch.setattr(writer, "_TASK_BYTES", 1500)
    movie = np.random.default_rng(1).integers(0, 90, (29, 11, 13)).astype(np.uint16)
    path = roi.convert(roi.NumpyImagingExtractor(movie), tmp_path / "a.zarr")
    with roi.open(path) as again:
        np.testing.assert_array_equal(again[...], movie)
        assert again.get_chunk_shape() == (2, 3, 13)
        assert not again.get_notes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compression": "jpeg"}, "compression must be 'zstd', 'blosc', 'gzip' or None, got 'jpeg'"),
        ({"level": 30}, "level of zstd must be a number from 1 to 22, got 30"),
        ({"compression": None, "level": 1}, "level= needs a compression"),
        ({"version": 0.4}, "version must be '0.5' or '0.4', got 0.4"),
        ({"compresion": "zstd"}, "did you mean 'compression'"),
    ],
)
def test_an_option_with_an_unknown_value_is_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    recording = roi.NumpyImagingExtractor(np.ones((3, 4, 5), np.uint8))
    with pytest.raises(roi.UnknownOptionError, match=words.replace("(", r"\(")):
        roi.convert(recording, tmp_path / "a.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_the_library_zarr_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np, roiextractors_core as roi\n"
        f"path = roi.convert(roi.NumpyImagingExtractor(np.ones((3, 4, 5), np.uint8)), {str(tmp_path / 'a.zarr')!r})\n"
        "assert roi.open(path)[...].all()\n"
        "sys.exit('zarr' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def cluster_of(count: int) -> Any:
    distributed: Any = pytest.importorskip("distributed", reason="distributed is not installed: the extra [dask]")
    with (
        distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.thorough
@pytest.mark.filterwarnings("default", "error::roiextractors_core.errors.RoiExtractorsWarning")
def test_a_cluster_writes_the_same_bytes_and_survives_the_loss_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roiextractors_omezarr import writer

    monkeypatch.setattr(writer, "_CHUNK_BYTES", 20_000)
    monkeypatch.setattr(writer, "_TASK_BYTES", 40_000)
    np.save(tmp_path / "movie.npy", np.random.default_rng(0).integers(0, 900, (900, 64, 48)).astype(np.uint16))
    recording = roi.open(tmp_path / "movie.npy", sampling_frequency=30.0)
    here = contents(roi.convert(recording, tmp_path / "here.zarr"))
    with cluster_of(2) as client:
        victims = list(client.run(os.getpid).values())
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if not killed and done > total // 9:
                os.kill(victims[0], signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
                killed.append(victims[0])

        there = contents(roi.convert(recording, tmp_path / "there.zarr", scheduler=client, progress=kill))
        assert killed
        assert there == here

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            roi.convert(recording, tmp_path / "stopped.zarr", scheduler=client, progress=stop)
        address = client.scheduler.address
        assert contents(roi.convert(recording, tmp_path / "by_address.zarr", scheduler=address)) == here
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "by_address.zarr",
        "here.zarr",
        "movie.npy",
        "there.zarr",
    ]
