"""Recordings in the forms of CaImAn: values exact or refused, memory maps whole or not there, and read by CaImAn's own code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_caiman.writer import for_caiman

import roiextractors_core as roi
from roiextractors_core.testing import NoiseImagingExtractor, WriterTests


def recording(shape: tuple[int, ...] = (40, 6, 9), dtype: Any = np.int16, **options: Any) -> Any:
    return NoiseImagingExtractor(shape, dtype=dtype, sampling_frequency=12.5, **options)


def array(values: Any, dtype: Any = None) -> Any:
    return roi.NumpyImagingExtractor(np.asarray(values, dtype).reshape(-1, 1, 1), 10.0)


class StoppedError(Exception):
    """What a test stops a writer with."""


def stop_after(count: int) -> Callable[[int, int], None]:
    calls: list[int] = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == count:
            raise StoppedError

    return progress


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roiextractors_caiman.writer._FRAME_BLOCK", 1000)
    monkeypatch.setattr("roiextractors_caiman.writer._PIXEL_BLOCK", 1000)


def write(recording: Any, target: Path, **options: Any) -> Path:
    return roi.convert(recording, target, **options)


# Arrays


def test_an_array_for_caiman_is_float32_with_planes_last() -> None:
    made = recording((7, 4, 6, 3), np.uint16)
    found = for_caiman(made)
    assert (found.shape, found.dtype) == ((7, 4, 6, 3), np.float32)
    np.testing.assert_array_equal(found[2:5, :, 1], made.get_series(2, 5)[:, :, 1].astype(np.float32))


@pytest.mark.parametrize("values", [np.int32([0, 16_777_217]), np.float64([0.1]), np.int64([1 << 60])])
def test_values_that_float32_cannot_hold_are_refused_or_rounded_when_told(values: np.ndarray) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match="cannot store exactly; pass rounding=True"):
        for_caiman(array(values))[:]
    np.testing.assert_array_equal(for_caiman(array(values), rounding=True)[:].ravel(), values.astype(np.float32))


def test_whole_numbers_and_nan_pass_to_float32() -> None:
    np.testing.assert_array_equal(for_caiman(array([16_777_216, -5], np.int32))[:].ravel(), [16_777_216, -5])
    assert np.isnan(for_caiman(array([np.nan], np.float64))[:]).all()
    with pytest.raises(roi.UnsupportedRecordingError, match="beyond its range"):
        for_caiman(array([1e300], np.float64), rounding=True)[:]


def test_an_array_pickles_as_its_recording_does(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", recording().get_series())
    with roi.open(tmp_path / "movie.npy") as opened:
        found = for_caiman(opened)
        again = pickle.loads(pickle.dumps(found))
        np.testing.assert_array_equal(again[3:5], found[3:5])


# CaImAn's files


def caimans_load_memmap(path: Path) -> tuple[Any, tuple[int, ...], int]:
    mmapping = pytest.importorskip("caiman.mmapping", reason="CaImAn is not installed; it comes by conda")
    loaded: tuple[Any, tuple[int, ...], int] = mmapping.load_memmap(str(path))
    return loaded


def as_caiman_maps(path: Path) -> np.ndarray:
    """Return ``(samples, d1, d2, d3)`` by what CaImAn says of its files: pixels by frames, float32, pixels in Fortran's order."""
    parts = path.stem.split("_")
    d1, d2, d3, count = (int(parts[parts.index(key) + 1]) for key in ("d1", "d2", "d3", "frames"))
    matrix = np.fromfile(path, np.float32).reshape((d1 * d2 * d3, count), order=parts[parts.index("order") + 1])
    return matrix.T.reshape((count, d1, d2, d3), order="F")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(40, 6, 9), (41, 4, 6, 3)], ids=["planar", "volumetric"])
class TestMemoryMaps:
    def test_is_what_caimans_description_says(self, tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
        made = recording(shape, np.uint16)
        path = write(made, tmp_path / "movie.mmap", order=order)
        d3 = shape[3] if len(shape) == 4 else 1
        assert path.name == f"movie_d1_{shape[1]}_d2_{shape[2]}_d3_{d3}_order_{order}_frames_{shape[0]}.mmap"
        np.testing.assert_array_equal(as_caiman_maps(path).reshape(made.shape), made.get_series())
        assert [p.name for p in tmp_path.iterdir()] == [path.name]

    def test_is_read_by_caiman(self, tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
        made = recording(shape, np.uint16)
        matrix, dims, count = caimans_load_memmap(write(made, tmp_path / "memmap.mmap", order=order))
        assert (dims, count) == (shape[1:], shape[0])
        movie = np.reshape(matrix.T, (count, *dims), order="F")
        np.testing.assert_array_equal(movie, made.get_series())

    def test_opens_here_again(self, tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
        made = recording(shape, np.uint16)
        with roi.open(write(made, tmp_path / "memmap.mmap", order=order), sampling_frequency=12.5) as again:
            np.testing.assert_array_equal(again.get_series(), made.get_series())

    def test_an_interruption_leaves_nothing(self, tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(StoppedError):
            write(recording(shape), tmp_path / "movie.mmap", order=order, progress=stop_after(3))
        assert list(tmp_path.iterdir()) == []


def test_an_order_and_a_folder_are_checked(tmp_path: Path) -> None:
    with pytest.raises(roi.DeclarationError, match="order must be 'C' or 'F', got 'A'"):
        write(recording(), tmp_path / "a.mmap", order="A")
    with pytest.raises(roi.SourceKindError, match="nowhere does not exist"):
        write(recording(), tmp_path / "nowhere" / "a.mmap")
    with pytest.raises(roi.UnsupportedRecordingError, match="empty recording"):
        write(recording().slice_samples(0, 0), tmp_path / "a.mmap")
    with pytest.raises(roi.UnsupportedRecordingError, match="contains values beyond its range"):
        write(array([1e300], np.float64), tmp_path / "a.mmap", rounding=True)
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_another_map_gives_its_base(tmp_path: Path) -> None:
    first = write(recording(), tmp_path / "movie.mmap", order="F")
    again = write(recording((7, 6, 9)), first)
    assert again.name == "movie_d1_6_d2_9_d3_1_order_C_frames_7.mmap"


def test_a_map_that_exists_is_replaced_with_overwrite_and_at_the_end(tmp_path: Path) -> None:
    path = write(recording(), tmp_path / "movie.mmap")
    before = path.read_bytes()
    with pytest.raises(roi.SourceKindError, match=r"frames_40\.mmap already exists; pass overwrite=True"):
        write(recording(seed=2), tmp_path / "movie.mmap")
    with pytest.raises(StoppedError):
        write(recording(seed=2), tmp_path / "movie.mmap", overwrite=True, progress=stop_after(2))
    assert path.read_bytes() == before
    write(recording(seed=2), tmp_path / "movie.mmap", overwrite=True)
    np.testing.assert_array_equal(as_caiman_maps(path)[..., 0], recording(seed=2).get_series())


class TestWritingCaiman(WriterTests):
    format = "caiman"
    target_name = "movie.mmap"
    dtypes = {"float32": "float32", "uint16": "float32"}
    keeps_rate = False
    keeps_metadata = False


class TestWritingCaimanFrames(TestWritingCaiman):
    write_options = {"order": "F"}
