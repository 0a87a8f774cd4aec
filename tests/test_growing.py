"""Recordings that are opened again and again while a program writes them: whole samples, or one clear sentence."""

from __future__ import annotations

import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

import roiextractors_core as roi

FRAMES = np.random.default_rng(0).integers(1, 4000, (10, 24, 32)).astype(np.int16)


def opened_again(path: Path, **options: Any) -> int:
    """Return how many whole samples are read; 0 where the error is one of ours.  All of them are right, and fewer are said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with roi.open(path, **options) as recording:
                pixels, missing = recording.get_series(), set(recording.get_missing_samples().tolist())
        except roi.RoiExtractorsError:
            return 0
    assert all(issubclass(one.category, roi.RoiExtractorsWarning) for one in caught)
    whole = [k for k in range(len(pixels)) if k not in missing]
    assert np.array_equal(pixels[whole], FRAMES[whole])
    return len(whole)


def states(content: bytes, count: int = 20) -> list[int]:
    chosen = random.Random(5)
    return sorted({0, 1, 7, 8, 16, 100, *(chosen.randrange(len(content)) for _ in range(count)), len(content)})


def write_pages(path: Path, **options: Any) -> None:
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", False)) as file:
        for frame in FRAMES:
            file.write(frame, contiguous=False, metadata=None, **options)


def write_two_photon(path: Path) -> None:
    module = pytest.importorskip("roiextractors_scanimage.testing")
    from roiextractors_core.npy import NpyImagingExtractor

    np.save(path.with_suffix(".npy"), FRAMES)
    module.write_scanimage(NpyImagingExtractor(path.with_suffix(".npy")), path, frame_rate=30.0)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["even", "zlib", "bigtiff", "imagej", "scanimage", "raw"])
def test_a_file_that_grows_gives_more_whole_samples_each_time(tmp_path: Path, kind: str) -> None:
    path, options = tmp_path / "whole.tif", {}
    if kind == "scanimage":
        write_two_photon(path)
    elif kind == "imagej":
        tifffile.imwrite(path, FRAMES.astype(np.uint16), imagej=True, metadata={"axes": "TYX"})
    elif kind == "raw":
        path.write_bytes(FRAMES.tobytes())
        options = {"format": "raw", "shape": (24, 32), "dtype": "int16"}
    else:
        write_pages(path, **{"even": {}, "zlib": {"compression": "zlib"}, "bigtiff": {"bigtiff": True}}[kind])
    content, counts = path.read_bytes(), []
    growing = tmp_path / "growing" / "movie.tif"
    growing.parent.mkdir()
    for length in states(content):
        growing.write_bytes(content[:length])
        counts.append(opened_again(growing, **options))
    assert counts[-1] == len(FRAMES)
    # A raw file with a part of a sample is refused; a sample that was whole stays whole in the others
    assert kind == "raw" or counts == sorted(counts)


@pytest.mark.thorough
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_dataset_in_swmr_mode_gives_more_whole_samples_each_time(tmp_path: Path, compression: str | None) -> None:
    counts = []
    with h5py.File(tmp_path / "movie.h5", "w", libver="latest") as file:
        made = file.create_dataset(
            "movie", (0, 24, 32), "i2", maxshape=(None, 24, 32), chunks=(1, 24, 32), compression=compression
        )
        file.swmr_mode = True
        for k, frame in enumerate(FRAMES):
            made.resize(k + 1, axis=0)
            if k % 2:
                made.flush()
                shutil.copy(tmp_path / "movie.h5", tmp_path / "seen.h5")
                counts.append(opened_again(tmp_path / "seen.h5"))
            made[k] = frame
            made.flush()
            shutil.copy(tmp_path / "movie.h5", tmp_path / "seen.h5")
            counts.append(opened_again(tmp_path / "seen.h5"))
    counts.append(opened_again(tmp_path / "movie.h5"))
    assert counts == sorted(counts)
    assert counts[-1] == len(FRAMES)


@pytest.mark.thorough
@pytest.mark.parametrize("version", [2, 3])
def test_chunks_that_are_written_one_by_one_give_more_whole_samples_each_time(tmp_path: Path, version: Any) -> None:
    pytest.importorskip("roiextractors_omezarr")
    group = zarr.open_group(str(tmp_path / "m.ome.zarr"), mode="w", zarr_format=version)
    made = group.create_array("0", shape=FRAMES.shape, chunks=(1, 24, 32), dtype="i2")
    axes = [{"name": name, "type": kind} for name, kind in (("t", "time"), ("y", "space"), ("x", "space"))]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    data = [{"path": "0", "coordinateTransformations": scale}]
    image = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": data}]}
    group.attrs.update(image if version == 2 else {"ome": {**image, "version": "0.5"}})
    counts = []
    for k, frame in enumerate(FRAMES):
        made[k] = frame
        counts.append(opened_again(tmp_path / "m.ome.zarr"))
    assert counts == list(range(1, len(FRAMES) + 1))
