"""Traces of ROIs over a movie: against numpy, scipy and suite2p's formula, in threads, in processes and on a cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.interop import one_pass
from roiextractors_core.testing import NoiseImagingExtractor

ROWS, COLUMNS = 9, 7


def masks_in(shape: tuple[int, ...]) -> roi.RoiMasks:
    """Masks of which the first two share a pixel, the third is one pixel, the fourth has none and the last is all of the frame."""
    planes = () if len(shape) == 2 else ([0, 1, 1],)
    single = () if len(shape) == 2 else ([2],)
    everything = np.unravel_index(np.arange(np.prod(shape)), shape)
    return roi.RoiMasks.from_pixels(
        shape,
        [
            ([0, 0, 8], [0, 6, 6], *planes, [0.5, 1.5, 3.0]),
            ([0, 1, 2], [6, 2, 2], *([1, 1, 0] for _ in planes), [2.0, 0.0, 2.0]),
            ([4], [5], *single, [0.25]),
            ([], [], *([] for _ in planes), []),
            (*everything, np.linspace(0.1, 1, len(everything[0]))),
        ],
    )


class NotSent(roi.NumpySegmentationExtractor):
    """ROIs in memory, whose traces may be large: only the masks are sent to a cluster."""

    def __reduce__(self) -> Any:
        raise AssertionError("the traces are sent too")


def by_hand(data: np.ndarray, masks: roi.RoiMasks, *, weights: bool = True, overlap: bool = True) -> np.ndarray:
    """Pixel by pixel, in float64, from the dense masks."""
    dense, listed = masks.to_dense().astype(np.float64), np.zeros((*masks.shape, len(masks)), bool)
    for k in range(len(masks)):
        listed[(*masks.coordinates(k), k)] = True
    if not weights:
        dense = (dense != 0).astype(np.float64)
    if not overlap:
        dense[listed.sum(axis=-1) > 1] = 0.0
    flat, dense = data.reshape(len(data), -1).astype(np.float64), dense.reshape(-1, len(masks))
    known = ~np.isnan(flat)
    with np.errstate(invalid="ignore"):
        return (np.where(known, flat, 0) @ dense) / (known @ dense)


@pytest.fixture(params=["uint16", "int16", ">i2", "float32", "volumetric"])
def data(request: pytest.FixtureRequest) -> np.ndarray:
    rng = np.random.default_rng(7)
    shape = (53, ROWS, COLUMNS, 3) if request.param == "volumetric" else (53, ROWS, COLUMNS)
    dtype = "uint16" if request.param == "volumetric" else request.param
    return rng.integers(0, 30_000, shape).astype(dtype)


@pytest.mark.parametrize("block", [1, 700, 1 << 20])
@pytest.mark.parametrize("options", [{}, {"weights": False}, {"overlap": False}, {"weights": False, "overlap": False}])
def test_traces_are_the_means_of_the_masks(
    data: np.ndarray, block: int, options: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", block)
    masks, progress = masks_in(data.shape[1:]), []
    recording = roi.NumpyImagingExtractor(data)
    traces = roi.traces(recording, masks, progress=lambda done, total: progress.append((done, total)), **options)
    assert traces.dtype == np.float64
    np.testing.assert_allclose(traces, by_hand(data, masks, **options), rtol=1e-12)
    assert progress[-1][0] == progress[-1][1] == len(progress)


def test_a_segmentation_and_its_views_are_taken_as_they_are(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 999, (30, ROWS, COLUMNS)).astype(np.uint16)
    recording, masks = roi.NumpyImagingExtractor(data), masks_in((ROWS, COLUMNS))
    rois = roi.NumpySegmentationExtractor(masks, {"raw": np.zeros((30, 5))}, roi_ids=["a", "b", "c", "d", "e"])
    whole = roi.traces(recording, rois)
    np.testing.assert_array_equal(whole, roi.traces(recording, masks))
    chosen = roi.traces(recording.slice_samples(10, 20), rois.select_rois(["e", "a"]))
    np.testing.assert_array_equal(chosen, whole[10:20][:, [4, 0]])


def test_without_overlap_they_are_what_suite2p_computes() -> None:
    # suite2p, extraction/masks.py and extract.py: lam of the pixels that overlap with no other ROI, divided by its sum, in float32
    rng = np.random.default_rng(3)
    movie = rng.integers(-200, 9000, (40, 24, 30)).astype(np.int16)
    stat = []
    for row, column in ((6, 7), (8, 9), (15, 20), (20, 4)):
        ypix, xpix = (axis.reshape(-1) for axis in np.mgrid[row - 3 : row + 4, column - 3 : column + 4])
        stat.append({"ypix": ypix, "xpix": xpix, "lam": rng.random(49).astype(np.float32)})
    count = np.zeros((24, 30), int)
    for s in stat:
        count[s["ypix"], s["xpix"]] += 1
    expected = np.zeros((4, 40), np.float32)
    for k, s in enumerate(stat):
        alone = count[s["ypix"], s["xpix"]] == 1
        lam = s["lam"][alone] / s["lam"][alone].sum()
        expected[k] = movie[:, s["ypix"][alone], s["xpix"][alone]].astype(np.float32) @ lam
    masks = roi.RoiMasks.from_pixels((24, 30), [(s["ypix"], s["xpix"], s["lam"]) for s in stat])
    traces = roi.traces(roi.NumpyImagingExtractor(movie), masks, overlap=False)
    np.testing.assert_allclose(traces.T, expected, rtol=2e-6)
    assert not np.allclose(roi.traces(roi.NumpyImagingExtractor(movie), masks).T, expected, rtol=1e-3)


def test_nan_pixels_do_not_count() -> None:
    data = np.random.default_rng(2).normal(5, 1, (12, ROWS, COLUMNS)).astype(np.float32)
    data[3, 0, 6] = np.nan  # in the first two masks
    data[5, 4, 5] = np.nan  # all of the third mask
    data[:, :, 0] = np.nan  # a border, as registration leaves it
    masks = masks_in((ROWS, COLUMNS))
    traces = roi.traces(roi.NumpyImagingExtractor(data), masks)
    np.testing.assert_allclose(traces, by_hand(data, masks), rtol=1e-6)
    assert np.isnan(traces[5, 2])
    assert not np.isnan(traces[[3, 4], :3]).any()
    assert np.isnan(traces[:, 3]).all()
    data[7, 4, 5] = np.inf
    assert np.isposinf(roi.traces(roi.NumpyImagingExtractor(data), masks)[7, 2])


def test_of_complex_pixels_the_magnitude_counts() -> None:
    data = np.full((2, ROWS, COLUMNS), 3 + 4j, np.complex64)
    np.testing.assert_allclose(roi.traces(roi.NumpyImagingExtractor(data), masks_in((ROWS, COLUMNS)))[:, :3], 5.0)


def test_nothing_is_computed_of_nothing() -> None:
    recording = roi.NumpyImagingExtractor(np.zeros((4, ROWS, COLUMNS), np.uint8))
    assert roi.traces(recording, masks_in((ROWS, COLUMNS))[[]]).shape == (4, 0)
    assert roi.traces(recording.slice_samples(2, 2), masks_in((ROWS, COLUMNS))).shape == (0, 5)


@pytest.mark.parametrize(
    ("frame", "masks", "words"),
    [
        ((7, 9), (9, 7), r"samples of 7 x 9 pixels \(rows x columns\), and the ROIs are in 9 x 7"),
        ((9, 7, 3), (9, 7), r"volumes and the ROIs are in frames; choose one: recording.select_plane\(k\)"),
        ((9, 7), (9, 7, 3), "frames and the ROIs are in volumes"),
        (
            (9, 7, 2),
            (9, 7, 3),
            r"samples of 9 x 7 x 2 pixels \(rows x columns x planes\), and the ROIs are in 9 x 7 x 3",
        ),
    ],
)
def test_rois_of_other_frames_are_refused(frame: tuple[int, ...], masks: tuple[int, ...], words: str) -> None:
    recording = roi.NumpyImagingExtractor(np.zeros((4, *frame), np.uint8))
    with pytest.raises(roi.RecordingError, match=words):
        roi.traces(recording, masks_in(masks))


def test_weights_that_add_up_to_0_are_refused_with_the_way_out() -> None:
    recording = roi.NumpyImagingExtractor(np.arange(12.0).reshape(3, 2, 2))
    masks = roi.RoiMasks.from_pixels((2, 2), [([0], [0], [1.0]), ([0, 1], [1, 1], [2.0, -2.0])])
    with pytest.raises(roi.RecordingError, match=r"ROI number 1 add up to 0.*weights=False"):
        roi.traces(recording, masks)
    rois = roi.NumpySegmentationExtractor(masks, {"raw": np.zeros((3, 2))}, roi_ids=["x", "y"])
    with pytest.raises(roi.RecordingError, match="ROI 'y' add up to 0"):
        roi.traces(recording, rois)
    np.testing.assert_array_equal(roi.traces(recording, rois, weights=False)[:, 1], [2, 6, 10])


def test_a_movie_and_rois_in_the_wrong_order_are_refused() -> None:
    recording = roi.NumpyImagingExtractor(np.zeros((3, ROWS, COLUMNS)))
    masks = masks_in((ROWS, COLUMNS))
    for first, second in ((masks, recording), (recording, recording), (np.zeros((3, 2, 2)), masks)):
        with pytest.raises(roi.UnsupportedRecordingError, match=r"needs a movie and ROIs, traces\(recording, rois\)"):
            roi.traces(first, second)


def test_memory_is_bounded_by_the_parts_and_not_by_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", 1 << 20)
    recording = NoiseImagingExtractor((600, 128, 128), "uint16", 3)
    masks = roi.RoiMasks.from_labels(np.arange(128 * 128).reshape(128, 128) // 400)
    tracemalloc.start()
    roi.traces(recording, masks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert recording.nbytes > 18 << 20
    assert peak < recording.nbytes * 0.8


def test_another_process_computes_the_same(tmp_path: Path) -> None:
    data = np.random.default_rng(4).integers(0, 999, (40, 9, 7), dtype=np.uint16)
    np.save(tmp_path / "movie.npy", data)
    recording = roi.open(tmp_path / "movie.npy").slice_samples(5, 35)
    rois = roi.NumpySegmentationExtractor(masks_in((9, 7)), {"raw": np.zeros((40, 5))}, roi_ids=list("abcde"))
    chosen = rois.select_rois(["e", "b"])
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = [pool.submit(roi.traces, recording, chosen, overlap=overlap) for overlap in (True, False)]
        for overlap, part in zip((True, False), parts, strict=True):
            np.testing.assert_array_equal(part.result(), roi.traces(recording, chosen, overlap=overlap))


@pytest.mark.thorough  # projections share the pass, and their test of a cluster is quick
@pytest.mark.filterwarnings("default", "error::roiextractors_core.errors.RoiExtractorsWarning")
def test_a_cluster_gives_the_same_to_the_last_bit_and_survives_the_loss_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed: the extra [dask]")
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", 40_000)
    data = np.random.default_rng(0).integers(0, 999, (400, 64, 48), dtype=np.uint16)
    np.save(tmp_path / "movie.npy", data)
    recording = roi.open(tmp_path / "movie.npy", sampling_frequency=30.0)
    masks = roi.RoiMasks.from_labels(np.arange(64 * 48).reshape(64, 48) // 50)
    rois = NotSent(masks, {"raw": np.zeros((400, len(masks)), np.float32)})
    here = roi.traces(recording, rois)
    connect: Any = distributed.Client
    cluster_of: Any = distributed.LocalCluster
    with (
        cluster_of(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        connect(cluster) as client,
    ):
        victims = client.run(os.getpid)
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if done == 3:
                victim = next(iter(victims.values()))
                os.kill(victim, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
                killed.append(victim)

        there = roi.traces(recording, rois, scheduler=client, progress=kill)
        by_address = roi.traces(recording, masks, scheduler=cluster.scheduler_address)
    assert killed
    np.testing.assert_array_equal(there, here)
    np.testing.assert_array_equal(by_address, here)
