"""Real recordings against what other people's readers found in them, and the vendor's own library where it is installed."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

MOVIES = ("movie_longer_than_3_min", "movie_u8", "multiplane_movie")


def entry(recordings: Path, name: str) -> dict[str, Any]:
    entries = json.loads((recordings / "EXPECTED.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = next(e for e in entries if e["path"] == f"inscopix/movies/{name}.isxd")
    return found


def digest(frame: np.ndarray) -> str:
    little = np.ascontiguousarray(frame.astype(frame.dtype.newbyteorder("<")))
    return hashlib.sha256(little.tobytes()).hexdigest()[:32]


@pytest.fixture
def isx() -> Any:
    """The vendor's library, or a skip."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("isx", reason="the vendor's library, isx, is not installed", exc_type=ImportError)


@pytest.mark.parametrize("name", MOVIES)
def test_a_real_movie_agrees_with_the_vendors_library(recordings: Path, name: str) -> None:
    wanted = entry(recordings, name)
    with roi.open(recordings / wanted["path"], **wanted["options"]) as recording:
        series = recording.get_series()
        assert recording.provenance.format == "inscopix"
        assert recording.shape == series.shape == (wanted["num_samples"], *wanted["sample_shape"])
        assert str(recording.dtype) == str(series.dtype) == wanted["dtype"]
        assert float(series.sum(dtype=np.float64)) == wanted["sum"]
        assert recording.get_sampling_frequency() == wanted["sampling_frequency"]
        assert recording.get_native_timestamps() is wanted["native_timestamps"] is None
        for index, sha in wanted["frames"].items():
            assert digest(series[int(index)]) == digest(recording[int(index)]) == sha


def test_a_real_multiplane_movie_goes_through_three_planes(recordings: Path) -> None:
    path = recordings / "inscopix" / "movies" / "multiplane_movie.isxd"
    with roi.open(path) as frames, roi.open(path, deinterleave=True) as volumes:
        assert volumes.shape == (10, 100, 160, 3)
        for plane in range(3):
            np.testing.assert_array_equal(volumes.select_plane(plane).get_series(), frames[plane::3])
        counters = frames.get_frame_timestamps()
        assert counters[[0, 1, -1]].tolist() == [560_273_515_867, 560_273_658_672, 560_277_657_225]
        assert frames.metadata.start_time == datetime(2022, 6, 15, 23, 41, 43, 403_000, tzinfo=UTC)
        assert frames.metadata.pixel_size == (24.0, 24.0)
        assert [channel.name for channel in frames.metadata.channels] == ["green"]
    with roi.open(recordings / "inscopix" / "movies" / "movie_longer_than_3_min.isxd") as one_colour:
        # "exp": 20 in the footer, at 50 frames a second
        assert [channel.exposure_time for channel in one_colour.metadata.channels] == [0.02]


def require_same(isx: Any, path: Path) -> None:
    movie = isx.Movie.read(str(path))
    timing = movie.timing
    with roi.open(path) as recording:
        assert recording.shape == (timing.num_samples, *movie.spacing.num_pixels)
        series = recording.get_series()
        for k in range(timing.num_samples):
            np.testing.assert_array_equal(series[k], movie.get_frame_data(k))
        assert recording.get_sampling_frequency() == 1 / timing.period.secs_float
        valid = np.setdiff1d(np.arange(timing.num_samples), recording.get_missing_samples())
        assert valid.tolist() == timing.get_valid_samples().tolist()
        theirs = [offset.secs_float for offset in timing.get_offsets_since_start()]
        native = recording.get_native_timestamps()
        if len(valid) < timing.num_samples:
            assert native is not None
            assert native.tolist() == theirs
        np.testing.assert_allclose(recording.get_timestamps(), theirs, rtol=1e-12)


def info(movie: Any) -> dict[str, Any]:
    return {key: value for key, value in (movie.get_acquisition_info() or {}).items() if value is not None}


@pytest.mark.parametrize("name", MOVIES)
def test_the_vendors_library_reads_the_same_from_real_movies(recordings: Path, isx: Any, name: str) -> None:
    path = recordings / "inscopix" / "movies" / f"{name}.isxd"
    require_same(isx, path)
    movie = isx.Movie.read(str(path))
    with roi.open(path) as recording:
        assert recording.metadata.vendor["acquisition"] == info(movie)
        counters = recording.get_frame_timestamps()
        if counters is not None:
            assert counters.tolist() == [movie.get_frame_timestamp(k) for k in range(len(counters))]


@pytest.mark.filterwarnings("ignore:.*are not stored:roiextractors_core.IncompleteRecordingWarning")
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_movie_that_the_vendors_library_wrote_is_read_as_it_reads_it(tmp_path: Path, isx: Any, dtype: Any) -> None:
    missing = {3, 5, 7, 8, 10}
    timing = isx.Timing(
        num_samples=14,
        period=isx.Duration._from_num_den(179_973, 1_000_000),
        dropped=[5, 3],
        cropped=[[7, 8]],
        blank=[10],
    )
    frames = np.random.default_rng(3).integers(0, 4000, (14, 6, 9)).astype(dtype)
    movie = isx.Movie.write(str(tmp_path / "m.isxd"), timing, isx.Spacing(num_pixels=(6, 9)), dtype)
    for k in sorted(set(range(14)) - missing):
        movie.set_frame_data(k, frames[k])
    movie.flush()
    del movie
    require_same(isx, tmp_path / "m.isxd")
    frames[sorted(missing)] = 0
    with roi.open(tmp_path / "m.isxd") as recording:
        np.testing.assert_array_equal(recording.get_series(), frames)


@pytest.mark.filterwarnings("ignore:.*are not stored:roiextractors_core.IncompleteRecordingWarning")
def test_the_vendors_library_reads_our_synthetic_files_the_same(
    tmp_path: Path, isx: Any, write_isxd: Callable[..., Path], microscope: Callable[..., dict[str, Any]]
) -> None:
    frames = np.random.default_rng(4).integers(0, 4000, (6, 5, 7)).astype(np.uint16)
    counters = [10**12 + 50_003 * k + (k % 2) for k in range(6)]
    path = write_isxd(
        tmp_path / "m.isxd",
        frames,
        num_times=9,
        dropped=[0, 4, 8],
        counters=counters,
        extra=microscope(version="1.1.1"),
    )
    require_same(isx, path)


def test_the_vendors_library_reads_an_image_the_same(tmp_path: Path, isx: Any) -> None:
    image = np.random.default_rng(5).random((8, 5)).astype(np.float32)
    isx.Image.write(str(tmp_path / "i.isxd"), isx.Spacing(num_pixels=(8, 5)), np.float32, image)
    with roi.open(tmp_path / "i.isxd") as recording:
        np.testing.assert_array_equal(recording.get_series(), image[None])
