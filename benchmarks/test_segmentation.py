"""Segmentations: ROIs, masks and traces of suite2p beside roiextractors; traces over a movie beside scipy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from benchmarks.conftest import Beside

ROIS, SAMPLES, SIDE = 5000, 50_000, 2048
MAPPED = "a memory map touches only the requested bytes, but a disk error would then kill the process"


def write_rois(path: Path) -> None:
    """Write a stat.npy file of round ROIs of some 200 pixels, with all that suite2p 1.0 says of each."""
    rng, radius = np.random.default_rng(0), 8
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = rows**2 + columns**2 <= radius**2
    array = np.empty(ROIS, object)
    for k in range(ROIS):
        kept = disk & (rng.random(disk.shape) < 0.95)
        top, left = rng.integers(radius, SIDE - radius, 2)
        ypix, xpix = (rows[kept] + top).astype(np.int32), (columns[kept] + left).astype(np.int32)
        lam = rng.random(len(ypix)).astype(np.float32)
        numbers = ("mrs", "mrs0", "compact", "radius", "aspect_ratio")
        shorter = ("footprint", "npix_norm", "npix_norm_no_crop", "snr", "skew", "std")
        array[k] = {
            "ypix": ypix,
            "xpix": xpix,
            "lam": lam / lam.sum(),
            "med": [ypix[len(ypix) // 2], xpix[len(xpix) // 2]],
            "soma_crop": rng.random(len(ypix)) < 0.9,
            "overlap": rng.random(len(ypix)) < 0.1,
            "npix": len(ypix),
            "npix_soma": len(ypix),
            **{key: rng.random() for key in numbers},
            **{key: np.float32(rng.random()) for key in shorter},
        }
    np.save(path, array, allow_pickle=True)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one plane; neuropil and deconvolved traces are not read, and take no room on the disk."""
    folder = tmp_path_factory.mktemp("suite2p") / "plane0"
    folder.mkdir()
    write_rois(folder / "stat.npy")
    traces = np.lib.format.open_memmap(folder / "F.npy", "w+", np.float32, (ROIS, SAMPLES))
    for k, trace in enumerate(traces):
        trace[:] = np.arange(k, k + SAMPLES)
    del traces
    with (folder / "F.npy").open("rb") as stream:
        header = stream.read(128)
    for name in ("Fneu", "spks"):
        (folder / f"{name}.npy").write_bytes(header)
        os.truncate(folder / f"{name}.npy", (folder / "F.npy").stat().st_size)
    np.save(folder / "iscell.npy", np.random.default_rng(1).random((ROIS, 2)).round())
    images: Any = {key: np.zeros((SIDE, SIDE), np.float32) for key in ("meanImg", "meanImgE", "max_proj", "Vcorr")}
    ranges = {"yrange": [0, SIDE], "xrange": [0, SIDE]}
    files = [f"/data/mouse/file_{k:05}.tif" for k in range(100)]
    ops = {"nplanes": 1, "nchannels": 1, "Ly": SIDE, "Lx": SIDE, "nframes": SAMPLES, "fs": 30.0, "tau": 1.0}
    np.save(folder / "ops.npy", {**ops, **ranges, **images, "filelist": files}, allow_pickle=True)  # type: ignore[arg-type]
    return folder


def published(plane: Path) -> Any:
    """The reader of roiextractors; it unpickles these files, which the benchmark has written."""
    from roiextractors import Suite2pSegmentationExtractor

    return Suite2pSegmentationExtractor(folder_path=plane.parent)


def mapped(plane: Path) -> np.ndarray:
    """The traces as numpy maps them."""
    return np.load(plane / "F.npy", mmap_mode="r")


def preadv(plane: Path, number: int | None = None) -> np.ndarray:
    """The physical limit: all traces, or that of one ROI."""
    result = np.empty((ROIS if number is None else 1, SAMPLES), np.float32)
    descriptor = os.open(plane / "F.npy", os.O_RDONLY)
    try:
        flat, at, start = result.reshape(-1).view(np.uint8), 0, 128 + 4 * SAMPLES * (number or 0)
        while at < flat.size:
            at += os.preadv(descriptor, [flat[at:].data], start + at)
    finally:
        os.close(descriptor)
    return result.T


def test_opening(plane: Path, beside: Beside) -> None:
    beside(
        f"suite2p, {ROIS:,} ROIs of {SAMPLES:,} samples, opening",
        lambda: roi.open(plane, kind="segmentation").close(),
        {"roiextractors": lambda: published(plane) and None},
        group="segmentation",
        at_most=50,
    )


@pytest.mark.parametrize("count", [1, 100])
def test_traces_of_some_rois(plane: Path, count: int, beside: Beside) -> None:
    numbers = np.random.default_rng(2).permutation(ROIS)[:50].tolist()
    theirs: dict[str, Callable[[], object]] = {"os.preadv": lambda: [preadv(plane, k) for k in numbers]}
    with roi.open(plane, kind="segmentation") as rois:
        if count == 1:
            other = published(plane)
            beside(
                "suite2p, all samples of one ROI",
                lambda: [rois.get_traces([k]) for k in numbers],
                {
                    **theirs,
                    "numpy.memmap": lambda: [np.array(mapped(plane)[[k]].T) for k in numbers],
                    "roiextractors": lambda: [np.array(other.get_traces(roi_ids=[k])) for k in numbers],
                },
                group="segmentation",
                limit="os.preadv",
                at_least=0.5,
                nbytes=len(numbers) * SAMPLES * 4,
                per=len(numbers),
                note=MAPPED,
            )
            return
        beside(
            "suite2p, 1,000 samples of all ROIs",
            lambda: rois.get_traces(None, 20_000, 21_000),
            {"numpy.memmap": lambda: np.array(mapped(plane)[:, 20_000:21_000]).T},
            group="segmentation",
            nbytes=ROIS * 1000 * 4,
            note=MAPPED,
        )


def test_all_traces(plane: Path, beside: Beside) -> None:
    other = published(plane)
    with roi.open(plane, kind="segmentation") as rois:
        beside(
            "suite2p, all traces",
            rois.get_traces,
            {"os.preadv": lambda: preadv(plane), "roiextractors": lambda: np.array(other.get_traces())},
            group="segmentation",
            limit="os.preadv",
            at_least=0.85,
            nbytes=ROIS * SAMPLES * 4,
            note="roiextractors returns a memory map, which is copied here",
        )


def masks(plane: Path) -> object:
    with roi.open(plane, kind="segmentation") as rois:
        return rois.get_roi_masks()


def test_masks(plane: Path, beside: Beside) -> None:
    beside(
        f"suite2p, masks of {ROIS:,} ROIs in {SIDE:,} x {SIDE:,}, opening included",
        lambda: masks(plane),
        {"roiextractors": lambda: published(plane).get_roi_pixel_masks()},
        group="segmentation",
        at_most=1000,
        note="roiextractors unpickles, which may run any code; ours reads the same bytes without",
    )


def test_memory_of_masks(plane: Path, beside: Beside) -> None:
    beside.memory(
        f"suite2p, masks of {ROIS:,} ROIs in {SIDE:,} x {SIDE:,}",
        lambda: masks(plane),
        {"roiextractors": lambda: published(plane).get_roi_pixel_masks()},
        at_most=200,
    )


@pytest.mark.parametrize(("side", "count", "samples"), [(512, 300, 4000), (512, 2000, 2000), (2048, 5000, 200)])
def test_traces_over_a_movie(tmp_path: Path, side: int, count: int, samples: int, beside: Beside) -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    rng, radius = np.random.default_rng(3), 6
    np.save(tmp_path / "movie.npy", rng.integers(0, 4000, (samples, side, side), dtype=np.uint16))
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = rows**2 + columns**2 <= radius**2
    centres = rng.integers(radius, side - radius, (count, 2))
    masks = roi.RoiMasks.from_pixels(
        (side, side), [(rows[inside] + r, columns[inside] + c, rng.random(inside.sum())) for r, c in centres]
    )
    movie = np.load(tmp_path / "movie.npy", mmap_mode="r")
    totals = np.add.reduceat(masks.weights, masks.offsets[:-1])
    shares = (masks.weights / np.repeat(totals, masks.num_pixels)).astype(np.float32)
    matrix = sparse.csr_array((shares, masks.pixels, masks.offsets), shape=(count, side * side))
    block = max(1, (16 << 20) // movie[0].nbytes)

    def by_scipy() -> np.ndarray:
        parts = (movie[k : k + block].reshape(-1, side * side) for k in range(0, samples, block))
        return np.concatenate([(matrix @ part.T.astype(np.float32)).T for part in parts])

    with roi.open(tmp_path / "movie.npy") as recording:
        np.testing.assert_allclose(by_scipy(), roi.traces(recording, masks), rtol=1e-4)
        beside(
            f"traces of {count:,} ROIs over {samples:,} frames of {side:,} x {side:,}",
            lambda: roi.traces(recording, masks),
            {"scipy.sparse @ movie": by_scipy},
            group="segmentation",
            nbytes=movie.nbytes,
            unequal=("scipy.sparse @ movie",),
            note="in blocks of 16 MiB; scipy computes in float32 on one core, ours in float64 on all",
        )
