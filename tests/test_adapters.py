"""Recordings in the forms of suite2p and CaImAn: values exact or refused, files whole or not there, and read by their own code."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.registry.registry import default_registry
from roiextractors_core.testing import NoiseImagingExtractor


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
    monkeypatch.setattr("roiextractors_core.interop.adapters._FRAME_BLOCK", 1000)
    monkeypatch.setattr("roiextractors_core.interop.adapters._PIXEL_BLOCK", 1000)


# Arrays


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int8, bool])
def test_what_fits_into_int16_stays_as_it_is(dtype: Any) -> None:
    made = np.random.default_rng(0).integers(0, 2, (5, 4, 3)).astype(dtype)
    found = roi.for_suite2p(roi.NumpyImagingExtractor(made, 10.0))
    assert (found.shape, found.dtype, found.ndim, len(found), found.size) == ((5, 4, 3), np.int16, 3, 5, 60)
    np.testing.assert_array_equal(np.asarray(found), made.astype(np.int16))
    np.testing.assert_array_equal(found[1:4, ::2], made[1:4, ::2])
    assert found[0].dtype == np.int16
    assert sum(1 for _ in found) == 5


def test_an_array_for_suite2p_is_read_where_it_is_asked_for() -> None:
    made = recording((30, 8, 10))
    np.testing.assert_array_equal(roi.for_suite2p(made)[3:9, 2:4], made.get_series(3, 9)[:, 2:4])


def test_uint16_within_int16_needs_no_scale_and_beyond_it_is_refused() -> None:
    np.testing.assert_array_equal(np.asarray(roi.for_suite2p(array([0, 32767], np.uint16))).ravel(), [0, 32767])
    with pytest.raises(roi.UnsupportedRecordingError, match="holds values from 0 to 32768; pass a scale"):
        roi.for_suite2p(array([0, 32768], np.uint16))[:]


def test_a_scale_multiplies_and_rounds() -> None:
    np.testing.assert_array_equal(
        roi.for_suite2p(array([0, 40_001, 65_535], np.uint16), scale=0.5)[:].ravel(), [0, 20_000, 32_767]
    )
    np.testing.assert_array_equal(
        roi.for_suite2p(array([0.5014, -1.2], np.float32), scale=1000)[:].ravel(), [501, -1200]
    )
    np.testing.assert_array_equal(roi.for_suite2p(array([1.5, 2.5], np.float32), scale=1)[:].ravel(), [2, 2])


@pytest.mark.parametrize(
    ("values", "words"),
    [([0.25], "holds fractions"), ([np.nan], "values from nan"), ([np.inf], "to inf"), ([1e9], "to 1000000000")],
)
def test_floats_that_are_no_int16_are_refused(values: list[float], words: str) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match=words):
        roi.for_suite2p(array(values, np.float64))[:]


def test_volumes_and_complex_values_are_refused_for_suite2p() -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match="planes one by one, and the recording has 3"):
        roi.for_suite2p(recording((5, 4, 6, 3)))
    with pytest.raises(roi.UnsupportedRecordingError, match="holds complex64"):
        roi.for_suite2p(array([1j], np.complex64))
    with pytest.raises(roi.DeclarationError, match="scale must be a finite number other than 0"):
        roi.for_suite2p(array([1]), scale=0)


def test_an_array_for_caiman_is_float32_with_planes_last() -> None:
    made = recording((7, 4, 6, 3), np.uint16)
    found = roi.for_caiman(made)
    assert (found.shape, found.dtype) == ((7, 4, 6, 3), np.float32)
    np.testing.assert_array_equal(found[2:5, :, 1], made.get_series(2, 5)[:, :, 1].astype(np.float32))


@pytest.mark.parametrize("values", [np.int32([0, 16_777_217]), np.float64([0.1]), np.int64([1 << 60])])
def test_values_that_float32_cannot_hold_are_refused_or_rounded_when_told(values: np.ndarray) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match="cannot hold exactly; pass rounding=True"):
        roi.for_caiman(array(values))[:]
    np.testing.assert_array_equal(roi.for_caiman(array(values), rounding=True)[:].ravel(), values.astype(np.float32))


def test_whole_numbers_and_nan_pass_to_float32() -> None:
    np.testing.assert_array_equal(roi.for_caiman(array([16_777_216, -5], np.int32))[:].ravel(), [16_777_216, -5])
    assert np.isnan(roi.for_caiman(array([np.nan], np.float64))[:]).all()
    with pytest.raises(roi.UnsupportedRecordingError, match="beyond its range"):
        roi.for_caiman(array([1e300], np.float64), rounding=True)[:]


def test_an_array_pickles_as_its_recording_does(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", recording().get_series())
    with roi.open(tmp_path / "movie.npy") as opened:
        for found in (roi.for_suite2p(opened, scale=0.5), roi.for_caiman(opened)):
            again = pickle.loads(pickle.dumps(found))
            np.testing.assert_array_equal(again[3:5], found[3:5])


# suite2p's files


def theirs_binary_file() -> Any:
    """suite2p's own class; its file alone, where the rest of suite2p (torch) is not there."""
    try:
        files = importlib.metadata.files("suite2p") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("suite2p is not installed")
    path = next(str(f.locate()) for f in files if str(f).endswith("suite2p/io/binary.py"))
    pytest.importorskip("tifffile")
    spec = importlib.util.spec_from_file_location("suite2p_io_binary", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BinaryFile


def test_a_binary_is_frames_of_int16_one_behind_the_other(tmp_path: Path) -> None:
    made = recording()
    told = roi.write_suite2p_binary(made, tmp_path)
    place = tmp_path / "suite2p" / "plane0"
    assert (place / "data.bin").read_bytes() == made.get_series().astype("<i2").tobytes()
    assert sorted(p.name for p in place.iterdir()) == ["data.bin", "db.npy", "ops.npy", "settings.npy"]
    assert (told["Ly"], told["Lx"], told["nframes"], told["nplanes"], told["nchannels"]) == (6, 9, 40, 1, 1)
    assert told["fs"] == 12.5
    json.dumps(told)


def test_what_describes_a_binary_is_made_of_plain_values(tmp_path: Path) -> None:
    roi.write_suite2p_binary(recording((10, 4, 5, 2)), tmp_path)
    for k in range(2):
        place = tmp_path / "suite2p" / f"plane{k}"
        ops = np.load(place / "ops.npy", allow_pickle=True).item()
        assert json.loads(json.dumps(ops)) == ops
        assert ops == np.load(place / "db.npy", allow_pickle=True).item()
        assert (ops["iplane"], ops["reg_file"], ops["save_path"]) == (k, str(place / "data.bin"), str(place))
        assert np.load(place / "settings.npy", allow_pickle=True).item() == {"fs": 12.5}


def test_suite2ps_own_class_reads_each_plane_and_channel(tmp_path: Path) -> None:
    binary_file = theirs_binary_file()
    first, second = recording((25, 7, 5, 3), seed=1), recording((25, 7, 5, 3), seed=2)
    roi.write_suite2p_binary(first, tmp_path, second_channel=second)
    for k in range(3):
        for name, made in (("data.bin", first), ("data_chan2.bin", second)):
            with binary_file(7, 5, str(tmp_path / "suite2p" / f"plane{k}" / name)) as file:
                assert file.shape == (25, 7, 5)
                np.testing.assert_array_equal(file[:], made.get_series()[..., k])


@pytest.mark.parametrize("shape", [(12, 6, 9), (12, 6, 9, 2)], ids=["planar", "volumetric"])
def test_a_folder_for_suite2p_opens_here_again(tmp_path: Path, shape: tuple[int, ...]) -> None:
    if default_registry().get("suite2p") is None:
        pytest.skip("no format suite2p is registered: roiextractors-suite2p is not installed")
    made = recording(shape)
    roi.write_suite2p_binary(made, tmp_path, second_channel=recording(shape, seed=3))
    with roi.open(tmp_path / "suite2p", channel="chan1") as again:
        np.testing.assert_array_equal(again.get_series(), made.get_series())
        assert again.get_sampling_frequency() == 12.5


def test_a_rate_must_be_known_for_suite2p(tmp_path: Path) -> None:
    with pytest.raises(roi.TimesError, match="would take 10 Hz"):
        roi.write_suite2p_binary(roi.NumpyImagingExtractor(np.zeros((5, 4, 3))), tmp_path)


def test_channels_of_two_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match="channels differ in shape"):
        roi.write_suite2p_binary(recording(), tmp_path, second_channel=recording((41, 6, 9)))


def test_a_value_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    values = np.zeros((40, 6, 9), np.uint16)
    values[33] = 40_000
    with pytest.raises(roi.UnsupportedRecordingError, match="to 40000; pass a scale"):
        roi.write_suite2p_binary(roi.NumpyImagingExtractor(values, 10.0), tmp_path, resume=True)
    assert list((tmp_path / "suite2p" / "plane0").iterdir()) == []
    roi.write_suite2p_binary(roi.NumpyImagingExtractor(values, 10.0), tmp_path, scale=0.5)
    stored = np.fromfile(tmp_path / "suite2p" / "plane0" / "data.bin", "<i2")
    assert stored.max() == 20_000


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
        path = roi.write_caiman_mmap(made, tmp_path, order=order, base="movie")
        d3 = shape[3] if len(shape) == 4 else 1
        assert path.name == f"movie_d1_{shape[1]}_d2_{shape[2]}_d3_{d3}_order_{order}_frames_{shape[0]}.mmap"
        np.testing.assert_array_equal(as_caiman_maps(path).reshape(made.shape), made.get_series())
        assert [p.name for p in tmp_path.iterdir()] == [path.name]

    def test_is_read_by_caiman(self, tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
        made = recording(shape, np.uint16)
        matrix, dims, count = caimans_load_memmap(roi.write_caiman_mmap(made, tmp_path, order=order))
        assert (dims, count) == (shape[1:], shape[0])
        movie = np.reshape(matrix.T, (count, *dims), order="F")
        np.testing.assert_array_equal(movie, made.get_series())

    def test_opens_here_again(self, tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
        if default_registry().get("caiman-mmap") is None:
            pytest.skip("no format caiman-mmap is registered: roiextractors-caiman is not installed")
        made = recording(shape, np.uint16)
        with roi.open(roi.write_caiman_mmap(made, tmp_path, order=order), sampling_frequency=12.5) as again:
            np.testing.assert_array_equal(again.get_series(), made.get_series())

    def test_continues_where_it_was_stopped(self, tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
        made = recording(shape, np.uint16)
        with pytest.raises(StoppedError):
            roi.write_caiman_mmap(made, tmp_path, order=order, resume=True, progress=stop_after(3))
        begun = Counted(made)
        path = roi.write_caiman_mmap(begun, tmp_path, order=order, resume=True)
        np.testing.assert_array_equal(as_caiman_maps(path).reshape(made.shape), made.get_series())
        assert sum(end - start > 1 for start, end in begun.asked) < len(made) // 2
        assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_order_a_base_and_a_folder_are_checked(tmp_path: Path) -> None:
    with pytest.raises(roi.DeclarationError, match="order must be 'C' or 'F', and is 'A'"):
        roi.write_caiman_mmap(recording(), tmp_path, order="A")
    with pytest.raises(roi.DeclarationError, match="base must be the beginning of a file's name"):
        roi.write_caiman_mmap(recording(), tmp_path, base="../movie")
    with pytest.raises(roi.SourceKindError, match="there is no folder"):
        roi.write_caiman_mmap(recording(), tmp_path / "nowhere")
    with pytest.raises(roi.UnsupportedRecordingError, match="no empty recording"):
        roi.write_caiman_mmap(recording().slice_samples(0, 0), tmp_path)


# Interruptions


class Counted(roi.NumpyImagingExtractor):
    """A recording that keeps what it was asked for."""

    def __init__(self, other: Any) -> None:
        super().__init__(other.get_series(), 12.5)
        self.asked: list[tuple[int, int]] = []

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        self.asked.append(self.resolve_range(start_sample, end_sample))
        return super().get_series(start_sample, end_sample)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt])
def test_an_interruption_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def progress(done: int, total: int) -> None:
        raise error

    with pytest.raises(error):
        roi.write_suite2p_binary(recording(), tmp_path, progress=progress)
    with pytest.raises(error):
        roi.write_caiman_mmap(recording(), tmp_path, progress=progress)
    assert names(tmp_path) == []


def test_progress_is_in_bytes_and_ends_with_all_of_them(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = recording()
    roi.write_suite2p_binary(made, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (made.nbytes, made.nbytes)


def test_a_binary_of_planes_continues_where_it_was_stopped(tmp_path: Path) -> None:
    made = recording((40, 5, 4, 2))
    with pytest.raises(StoppedError):
        roi.write_suite2p_binary(made, tmp_path, resume=True, progress=stop_after(2))
    assert ".data.bin.partial" in names(tmp_path)
    begun = Counted(made)
    roi.write_suite2p_binary(begun, tmp_path, resume=True)
    for k in range(2):
        stored = np.fromfile(tmp_path / "suite2p" / f"plane{k}" / "data.bin", "<i2").reshape(40, 5, 4)
        np.testing.assert_array_equal(stored, made.get_series()[..., k])
    assert (0, 12) not in begun.asked
    assert not [name for name in names(tmp_path) if "partial" in name]


def test_half_a_frame_at_the_end_of_what_is_there_is_written_again(tmp_path: Path) -> None:
    made = recording()
    with pytest.raises(StoppedError):
        roi.write_suite2p_binary(made, tmp_path, resume=True, progress=stop_after(2))
    partial = tmp_path / "suite2p" / "plane0" / ".data.bin.partial"
    with partial.open("ab") as stream:
        stream.write(b"half of a frame")
    roi.write_suite2p_binary(made, tmp_path, resume=True)
    assert (tmp_path / "suite2p" / "plane0" / "data.bin").read_bytes() == made.get_series().astype("<i2").tobytes()


@pytest.mark.parametrize("other", [recording(seed=9), recording((41, 6, 9))], ids=["other_pixels", "other_shape"])
def test_what_is_of_another_recording_is_not_continued(tmp_path: Path, other: Any) -> None:
    with pytest.raises(StoppedError):
        roi.write_suite2p_binary(recording(), tmp_path, resume=True, progress=stop_after(2))
    before = names(tmp_path)
    with pytest.raises(roi.SourceKindError, match="begun with another recording or other options; delete it"):
        roi.write_suite2p_binary(other, tmp_path, resume=True)
    assert names(tmp_path) == before
    roi.write_suite2p_binary(other, tmp_path)
    assert (tmp_path / "suite2p" / "plane0" / "data.bin").stat().st_size == other.nbytes


def test_damage_in_what_is_there_is_seen(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        roi.write_suite2p_binary(recording(), tmp_path, resume=True, progress=stop_after(2))
    partial = tmp_path / "suite2p" / "plane0" / ".data.bin.partial"
    data = bytearray(partial.read_bytes())
    data[-1] ^= 1
    partial.write_bytes(data)
    with pytest.raises(roi.SourceKindError, match="begun with another recording"):
        roi.write_suite2p_binary(recording(), tmp_path, resume=True)


def test_another_scale_is_another_file(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        roi.write_suite2p_binary(recording(), tmp_path, resume=True, progress=stop_after(2))
    with pytest.raises(roi.SourceKindError, match="other options"):
        roi.write_suite2p_binary(recording(), tmp_path, resume=True, scale=0.5)


def test_resuming_where_nothing_was_begun_begins(tmp_path: Path) -> None:
    made = recording(dtype=np.uint16)
    path = roi.write_caiman_mmap(made, tmp_path, resume=True)
    np.testing.assert_array_equal(as_caiman_maps(path).reshape(made.shape), made.get_series())


# What is there


def test_what_is_there_is_replaced_when_told_and_at_the_end(tmp_path: Path) -> None:
    roi.write_suite2p_binary(recording(), tmp_path)
    place = tmp_path / "suite2p" / "plane0" / "data.bin"
    before = place.read_bytes()
    with pytest.raises(roi.SourceKindError, match="is there already; pass overwrite=True"):
        roi.write_suite2p_binary(recording(seed=2), tmp_path)
    with pytest.raises(StoppedError):
        roi.write_suite2p_binary(recording(seed=2), tmp_path, overwrite=True, progress=stop_after(2))
    assert place.read_bytes() == before
    roi.write_suite2p_binary(recording(seed=2), tmp_path, overwrite=True)
    assert place.read_bytes() == recording(seed=2).get_series().tobytes()


def test_a_recording_is_never_written_over_itself(tmp_path: Path) -> None:
    if default_registry().get("suite2p") is None:
        pytest.skip("no format suite2p is registered: roiextractors-suite2p is not installed")
    roi.write_suite2p_binary(recording(), tmp_path)
    before = (tmp_path / "suite2p" / "plane0" / "data.bin").read_bytes()
    for place in (tmp_path / "suite2p", tmp_path / "suite2p" / "plane0" / "data.bin"):
        with roi.open(place) as own, pytest.raises(roi.SourceKindError, match="is the recording itself"):
            roi.write_suite2p_binary(own, tmp_path, overwrite=True)
    assert (tmp_path / "suite2p" / "plane0" / "data.bin").read_bytes() == before
