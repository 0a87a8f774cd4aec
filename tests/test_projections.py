"""Projections in one pass: against numpy's own, and on a cluster that loses a worker."""

from __future__ import annotations

import itertools
import math
import os
import signal
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.interop import one_pass, pixel_sums
from roiextractors_core.testing import NoiseImagingExtractor


def correlation_by_hand(data: np.ndarray, row: int, column: int) -> float:
    found = []
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        r, c = row + down, column + right
        if (down or right) and 0 <= r < data.shape[1] and 0 <= c < data.shape[2]:
            found.append(np.corrcoef(data[:, row, column], data[:, r, c])[0, 1])
    return float(np.mean(found))


def use_small_parts(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", block)
    monkeypatch.setattr(one_pass, "_MIN_BLOCK_SAMPLES", 1)
    if block < 1 << 20:  # tiles that end inside a row
        monkeypatch.setattr(pixel_sums, "_TILE_PIXELS", 10)


@pytest.fixture(params=["planar", "volumetric", "float", "far from zero", "negative", "32 bits", "bool"])
def data(request: pytest.FixtureRequest) -> np.ndarray:
    rng = np.random.default_rng(5)
    shape = (50, 9, 7, 3) if request.param == "volumetric" else (50, 9, 7)
    if request.param == "float":
        return rng.normal(size=shape).astype(np.float32)
    if request.param == "negative":
        return rng.integers(-(2**15), 2**15, shape).astype(np.int16)
    if request.param == "32 bits":
        return (2_000_000_000 + rng.integers(0, 300, shape)).astype(np.uint32)
    if request.param == "bool":
        return rng.random(shape) < 0.4
    offset = 60_000 if request.param == "far from zero" else 0
    return (offset + rng.integers(0, 300, shape)).astype(np.uint16)


@pytest.mark.parametrize("block", [1, 700, 1 << 20])
def test_one_pass_gives_what_numpy_gives(data: np.ndarray, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_parts(block, monkeypatch)
    told: list[tuple[int, int]] = []
    recording = roi.NumpyImagingExtractor(data, sampling_frequency=10.0)
    found = roi.projections(recording, progress=lambda done, total: told.append((done, total)))
    exact = data.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.standard_deviation, exact.std(0), rtol=1e-9)
    np.testing.assert_array_equal(found.maximum, exact.max(0))
    np.testing.assert_allclose(found.trace, exact.mean(axis=tuple(range(1, data.ndim))), rtol=1e-12)
    np.testing.assert_allclose(found.times, np.arange(50) / 10)
    plane = exact[..., 0] if data.ndim == 4 else exact
    correlation = found.correlation[..., 0] if data.ndim == 4 else found.correlation
    for row, column in ((0, 0), (4, 3), (8, 6), (0, 6), (5, 0)):
        assert correlation[row, column] == pytest.approx(correlation_by_hand(plane, row, column), rel=1e-9)
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == list(range(1, len(told) + 1))


def test_sums_of_16_bits_have_no_rounding() -> None:
    # A large offset, and a change in one sample of many: sums of squares as float64 would lose it
    data = np.full((5000, 2, 3), 65535, np.uint16)
    data[1234, 0, 0] -= 1
    result = roi.projections(roi.NumpyImagingExtractor(data))
    p = Fraction(1, 5000)
    assert result.mean is not None
    assert result.standard_deviation is not None
    assert result.mean[0, 0] == float(65535 - p)
    assert result.standard_deviation[0, 0] == pytest.approx(math.sqrt(p * (1 - p)), rel=1e-14)
    assert result.standard_deviation[1, 2] == 0


@pytest.mark.parametrize("bits", [8, 12, 14, 16])
def test_numbers_of_few_and_of_many_bits_give_the_same_sums(bits: int) -> None:
    data = np.random.default_rng(bits).integers(0, 2**bits, (300, 17, 11)).astype(np.uint16)
    sums = pixel_sums.PixelSums((17, 11), data.dtype, pixel_sums.NAMES)
    sums.add([data[:150], data[150:]])
    exact = data.astype(np.int64)
    np.testing.assert_array_equal(sums.total.reshape(17, 11), exact.sum(axis=0))
    np.testing.assert_array_equal(sums.squares.reshape(17, 11), (exact**2).sum(axis=0))
    below = np.zeros((17, 11), np.int64)
    below.reshape(-1)[: len(sums.products[1])] = sums.products[1]
    np.testing.assert_array_equal(below[:-1], (exact[:, :-1] * exact[:, 1:]).sum(axis=0))
    np.testing.assert_array_equal(sums.trace, exact.sum(axis=(1, 2)) / (17 * 11))


def finite_correlation_by_hand(data: np.ndarray, row: int, column: int) -> float:
    """Over the samples where both pixels are finite, as pandas computes it."""
    coefficients = []
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        r, c = row + down, column + right
        if (down or right) and 0 <= r < data.shape[1] and 0 <= c < data.shape[2]:
            both = np.isfinite(data[:, row, column]) & np.isfinite(data[:, r, c])
            if both.sum() > 1:
                coefficients.append(np.corrcoef(data[both, row, column], data[both, r, c])[0, 1])
    return float(np.mean(coefficients)) if coefficients else np.nan


@pytest.mark.parametrize("block", [1, 700, 1 << 20])
def test_values_that_are_not_finite_are_left_out_and_counted(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_parts(block, monkeypatch)
    data = np.random.default_rng(2).normal(1000, 5, (40, 9, 7)).astype(np.float32)
    data[:, :, 0] = np.nan  # a border, as registration leaves it
    data[5:20, :3] = np.nan  # a larger one for a while
    data[7, 4, 4] = np.inf
    data[9, 5, 4] = -np.inf
    data[30] = np.nan
    result = roi.projections(roi.NumpyImagingExtractor(data))
    nan = np.where(np.isfinite(data), data, np.nan).astype(np.float64)
    with warnings.catch_warnings():  # numpy warns of the border; projections does not
        warnings.simplefilter("ignore")
        mean, std, highest = np.nanmean(nan, axis=0), np.nanstd(nan, axis=0), np.nanmax(nan, axis=0)
        trace = np.nanmean(nan, axis=(1, 2))
    np.testing.assert_allclose(result.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(result.standard_deviation, std, rtol=1e-9)
    np.testing.assert_array_equal(result.maximum, highest)
    np.testing.assert_allclose(result.trace, trace, rtol=1e-12)
    expected = [[finite_correlation_by_hand(nan, row, column) for column in range(7)] for row in range(9)]
    np.testing.assert_allclose(result.correlation, expected, rtol=1e-9)
    assert np.isnan(trace[30])
    assert np.isnan(mean[:, 0]).all()
    assert result.num_left_out == np.count_nonzero(~np.isfinite(data))


def test_an_infinite_first_sample_is_left_out_too() -> None:
    data = np.random.default_rng(2).normal(1000, 5, (40, 4, 4))
    data[0] = np.inf
    result = roi.projections(roi.NumpyImagingExtractor(data))
    np.testing.assert_allclose(result.mean, data[1:].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result.standard_deviation, data[1:].std(axis=0), rtol=1e-9)
    assert result.num_left_out == 16


def test_only_what_is_asked_for_is_computed(data: np.ndarray) -> None:
    recording = roi.NumpyImagingExtractor(data)
    whole = roi.projections(recording)
    for name in ("mean", "standard_deviation", "maximum", "correlation", "trace"):
        one = roi.projections(recording, only=[name])
        np.testing.assert_array_equal(getattr(one, name), getattr(whole, name))
        assert [key for key, value in one.to_dict().items() if value is not None] == [name]
    broken = np.full((3, 2, 2), np.nan)
    assert roi.projections(roi.NumpyImagingExtractor(broken), only=["maximum"]).num_left_out == 12
    with pytest.raises(roi.RangeTypeError, match=r"'median'.*'mean', 'standard_deviation'"):
        roi.projections(recording, only=["median"])


def test_of_complex_pixels_the_magnitude_counts() -> None:
    data = np.random.default_rng(3).normal(size=(20, 4, 5, 2)).view(np.complex128)[..., 0]
    result = roi.projections(roi.NumpyImagingExtractor(data))
    np.testing.assert_allclose(result.mean, np.abs(data).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result.standard_deviation, np.abs(data).std(axis=0), rtol=1e-9)


def test_a_pixel_that_never_changes_correlates_with_nothing() -> None:
    data = np.random.default_rng(1).normal(size=(20, 4, 4))
    data[:, 0, 0] = 3.0
    found = roi.projections(roi.NumpyImagingExtractor(data))
    assert np.isnan(found.correlation[0, 0])
    assert np.isfinite(found.correlation[1, 1])
    assert found.times is None


def test_nothing_to_project_is_said() -> None:
    with pytest.raises(roi.RangeError, match=r"cannot project an empty recording"):
        roi.projections(roi.NumpyImagingExtractor(np.empty((0, 4, 4), np.uint8)))


def test_memory_is_bounded_by_the_parts_and_not_by_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", 1 << 20)
    recording = NoiseImagingExtractor((600, 128, 128), "uint16", 3)
    tracemalloc.start()
    roi.projections(recording)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert recording.nbytes > 18 << 20
    assert peak < recording.nbytes * 0.8


@pytest.mark.thorough
@pytest.mark.filterwarnings("default", "error::roiextractors_core.errors.RoiExtractorsWarning")
def test_a_cluster_gives_the_same_to_the_last_bit_and_survives_the_loss_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed: the extra [dask]")
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", 40_000)
    # Floats, whose sums depend on the order in which they are added
    data = np.random.default_rng(0).normal(100, 7, (900, 64, 48)).astype(np.float32)
    data[:, :2] = np.nan
    np.save(tmp_path / "movie.npy", data)
    recording = roi.open(tmp_path / "movie.npy", sampling_frequency=30.0)
    here = roi.projections(recording)
    connect: Any = distributed.Client
    cluster_of: Any = distributed.LocalCluster
    with (
        cluster_of(n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        connect(cluster) as client,
    ):
        processes = {worker: info["nanny"] for worker, info in client.scheduler_info()["workers"].items()}
        assert len(processes) == 3
        victims = client.run(os.getpid)
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if done == 3:
                victim = next(iter(victims.values()))
                os.kill(victim, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
                killed.append(victim)

        there = roi.projections(recording, scheduler=client, progress=kill)
        by_address = roi.projections(recording, scheduler=cluster.scheduler_address)
    assert killed
    for found in (there, by_address):
        for name in ("mean", "standard_deviation", "maximum", "correlation", "trace", "times"):
            np.testing.assert_array_equal(getattr(found, name), getattr(here, name))


@pytest.mark.parametrize(
    ("samples", "threads", "sizes"),
    [(4096, 2, {4}), (4096, 8, {1}), (2048, 2, {2}), (400_000, 2, {4}), (100, 1, {1, 2})],
)
def test_a_cluster_gets_few_tasks_that_are_nodes_of_one_tree(samples: int, threads: int, sizes: set[int]) -> None:
    recording = NoiseImagingExtractor((samples, 512, 512), "uint16", 1)
    groups = one_pass._groups_of(recording)
    assert [span for group in groups for span in group][-1][1] == samples
    tasks = one_pass._tasks_of(groups, recording.nbytes, threads)
    assert [group for task in tasks for group in task] == groups
    assert {len(task) for task in tasks[:-1]} <= sizes
    assert len(tasks) >= min(4 * threads, len(groups))
    assert all(task[-1][-1][1] - task[0][0][0] <= (1 << 30) / (2 * 512 * 512) for task in tasks)
