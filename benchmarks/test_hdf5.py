"""Reading HDF5 against `os.preadv` of the same bytes and against h5py's own reading, side by side in one run."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from roiextractors_hdf5.dataset import Hdf5Dataset

import roiextractors_core as roi

COUNT, ROWS, COLUMNS = 400, 512, 512
PACKED = {
    "gzip": {"chunks": (1, ROWS, COLUMNS), "compression": "gzip", "compression_opts": 1},
    "gzip_shuffle": {"chunks": (1, ROWS, COLUMNS), "compression": "gzip", "compression_opts": 1, "shuffle": True},
    "gzip_tiles": {"chunks": (13, 32, 64), "compression": "gzip", "compression_opts": 1, "shuffle": True},
    "lzf_tiles": {"chunks": (8, 64, 64), "compression": "lzf", "shuffle": True},
    "unpacked_chunks": {"chunks": (1, ROWS, COLUMNS)},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("movie") / "movie.h5"
    movie = np.random.default_rng(1).poisson(200, (COUNT, ROWS, COLUMNS)).astype(np.uint16)
    with h5py.File(found, "w") as file:
        file["plain"] = movie
        for name, how in PACKED.items():
            file.create_dataset(name, data=movie[: COUNT // 2], **how)
    return found


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    del result
    return took


def ratio(limit: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
    pairs = [(seconds(limit), seconds(ours)) for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs[1:])


def by_h5py(path: Path, name: str, *key: slice) -> np.ndarray:
    with h5py.File(path, "r", locking=False) as file:
        return np.asarray(file[name][key])


def test_plain_datasets_against_preadv(path: Path) -> None:
    dataset = Hdf5Dataset(path, "plain")
    frame = ROWS * COLUMNS * 2
    descriptor = os.open(path, os.O_RDONLY)
    scattered = np.random.default_rng(2).permutation(COUNT)[:200]

    def whole() -> np.ndarray:
        result = np.empty((COUNT, ROWS, COLUMNS), np.uint16)
        os.preadv(descriptor, [result], dataset.layout.offset)
        return result

    def frames() -> None:
        for k in range(COUNT):
            os.preadv(descriptor, [np.empty((ROWS, COLUMNS), np.uint16)], dataset.layout.offset + k * frame)

    def chosen() -> np.ndarray:
        result = np.empty((len(scattered), ROWS, COLUMNS), np.uint16)
        for part, k in zip(result, scattered.tolist(), strict=True):
            os.preadv(descriptor, [part], dataset.layout.offset + k * frame)
        return result

    def our_frames() -> None:
        for k in range(COUNT):
            dataset.read(slice(k, k + 1))

    try:
        print(f"\nplain, whole: {ratio(whole, lambda: dataset.read(slice(0, COUNT))):.2f} of preadv")
        print(f"plain, frame by frame: {ratio(frames, our_frames):.2f} of preadv")
        print(f"plain, 200 scattered frames: {ratio(chosen, lambda: dataset.read(scattered)):.2f} of preadv")
    finally:
        os.close(descriptor)
    crop = (slice(0, COUNT), slice(100, 164), slice(100, 164))
    print(
        f"plain, 64 x 64 of every frame: {ratio(lambda: by_h5py(path, 'plain', *crop), lambda: dataset.read(*crop)):.2f} times h5py"
    )


@pytest.mark.parametrize("name", PACKED)
def test_chunked_datasets_against_h5py(path: Path, name: str) -> None:
    dataset = Hdf5Dataset(path, name)
    count = dataset.num_samples
    parts = {
        "whole": (slice(0, count), slice(0, ROWS), slice(0, COLUMNS)),
        "10 frames": (slice(50, 60), slice(0, ROWS), slice(0, COLUMNS)),
        "64 x 64 of every frame": (slice(0, count), slice(100, 164), slice(100, 164)),
    }
    for words, key in parts.items():
        found = ratio(
            lambda key=key: by_h5py(path, name, *key), lambda key=key: Hdf5Dataset(path, name).read(*key), rounds=5
        )
        print(f"\n{name}, {words}: {found:.2f} times h5py", end="")


def test_frames_one_by_one_out_of_long_chunks_against_h5py(path: Path) -> None:
    dataset = Hdf5Dataset(path, "gzip_tiles")

    def one_by_one() -> None:
        for k in range(26):
            dataset.read(slice(k, k + 1))

    def by_h5py_alone() -> None:
        with h5py.File(path, "r", locking=False) as file:
            for k in range(26):
                file["gzip_tiles"][k]

    print(f"\ngzip_tiles, 26 frames one by one: {ratio(by_h5py_alone, one_by_one, rounds=3):.2f} times h5py")


def test_opening(path: Path) -> None:
    times = [seconds(lambda: roi.open(path, dataset="gzip").close()) for _ in range(20)]
    print(f"\nopening: {1000 * statistics.median(times):.1f} ms")
