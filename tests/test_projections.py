"""Projections in one pass: against numpy's own, and on a cluster that loses a worker."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.interop import one_pass
from roiextractors_core.testing import NoiseImagingExtractor


def correlation_by_hand(data: np.ndarray, row: int, column: int) -> float:
    found = []
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        r, c = row + down, column + right
        if (down or right) and 0 <= r < data.shape[1] and 0 <= c < data.shape[2]:
            found.append(np.corrcoef(data[:, row, column], data[:, r, c])[0, 1])
    return float(np.mean(found))


@pytest.fixture(params=["planar", "volumetric", "float", "far from zero"])
def data(request: pytest.FixtureRequest) -> np.ndarray:
    rng = np.random.default_rng(5)
    shape = (50, 9, 7, 3) if request.param == "volumetric" else (50, 9, 7)
    if request.param == "float":
        return rng.normal(size=shape).astype(np.float32)
    offset = 60_000 if request.param == "far from zero" else 0
    return (offset + rng.integers(0, 300, shape)).astype(np.uint16)


@pytest.mark.parametrize("block", [1, 700, 1 << 20])
def test_one_pass_gives_what_numpy_gives(data: np.ndarray, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", block)
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


@pytest.mark.filterwarnings("default", "error::roiextractors_core.errors.RoiExtractorsWarning")
def test_a_cluster_gives_the_same_to_the_last_bit_and_survives_the_loss_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed: the extra [dask]")
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", 40_000)
    data = np.random.default_rng(0).integers(0, 999, (400, 64, 48), dtype=np.uint16)
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
