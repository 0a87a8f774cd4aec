"""Recordings in the forms of suite2p: values exact or refused, folders whole or not there, and read by suite2p's own code."""

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
from roiextractors_suite2p.writer import for_suite2p, run_options

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
    monkeypatch.setattr("roiextractors_core.io.blocks.MAX_BLOCK_BYTES", 1000)


def write(recording: Any, folder: Path, **options: Any) -> Path:
    return roi.convert(recording, folder, format="suite2p", **options)


# Arrays


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int8, bool])
def test_what_fits_into_int16_stays_as_it_is(dtype: Any) -> None:
    made = np.random.default_rng(0).integers(0, 2, (5, 4, 3)).astype(dtype)
    found = for_suite2p(roi.NumpyImagingExtractor(made, 10.0))
    assert (found.shape, found.dtype, found.ndim, len(found), found.size) == ((5, 4, 3), np.int16, 3, 5, 60)
    np.testing.assert_array_equal(np.asarray(found), made.astype(np.int16))
    np.testing.assert_array_equal(found[1:4, ::2], made[1:4, ::2])
    assert found[0].dtype == np.int16
    assert sum(1 for _ in found) == 5


def test_an_array_for_suite2p_is_read_where_it_is_asked_for() -> None:
    made = recording((30, 8, 10))
    np.testing.assert_array_equal(for_suite2p(made)[3:9, 2:4], made.get_series(3, 9)[:, 2:4])


def test_uint16_within_int16_needs_no_scale_and_beyond_it_is_refused() -> None:
    np.testing.assert_array_equal(np.asarray(for_suite2p(array([0, 32767], np.uint16))).ravel(), [0, 32767])
    with pytest.raises(roi.UnsupportedRecordingError, match="contains values from 0 to 32768; pass a scale"):
        for_suite2p(array([0, 32768], np.uint16))[:]


def test_a_scale_multiplies_and_rounds() -> None:
    np.testing.assert_array_equal(
        for_suite2p(array([0, 40_001, 65_535], np.uint16), scale=0.5)[:].ravel(), [0, 20_000, 32_767]
    )
    np.testing.assert_array_equal(for_suite2p(array([0.5014, -1.2], np.float32), scale=1000)[:].ravel(), [501, -1200])
    np.testing.assert_array_equal(for_suite2p(array([1.5, 2.5], np.float32), scale=1)[:].ravel(), [2, 2])


@pytest.mark.parametrize(
    ("values", "words"),
    [([0.25], "contains fractions"), ([np.nan], "values from nan"), ([np.inf], "to inf"), ([1e9], "to 1000000000")],
)
def test_floats_that_are_no_int16_are_refused(values: list[float], words: str) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match=words):
        for_suite2p(array(values, np.float64))[:]


def test_volumes_and_complex_values_are_refused_for_suite2p() -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match="one plane at a time and this recording has 3"):
        for_suite2p(recording((5, 4, 6, 3)))
    with pytest.raises(roi.UnsupportedRecordingError, match="is complex64"):
        for_suite2p(array([1j], np.complex64))
    with pytest.raises(roi.DeclarationError, match="scale must be a finite number other than 0"):
        for_suite2p(array([1]), scale=0)


def test_an_array_pickles_as_its_recording_does(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", recording().get_series())
    with roi.open(tmp_path / "movie.npy") as opened:
        found = for_suite2p(opened, scale=0.5)
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
    write(made, tmp_path / "suite2p")
    told = run_options(made, tmp_path / "suite2p")
    place = tmp_path / "suite2p" / "plane0"
    assert (place / "data.bin").read_bytes() == made.get_series().astype("<i2").tobytes()
    assert sorted(p.name for p in place.iterdir()) == ["data.bin", "db.npy", "ops.npy", "settings.npy"]
    assert (told["Ly"], told["Lx"], told["nframes"], told["nplanes"], told["nchannels"]) == (6, 9, 40, 1, 1)
    assert told["fs"] == 12.5
    json.dumps(told)


def test_what_describes_a_binary_is_made_of_plain_values(tmp_path: Path) -> None:
    write(recording((10, 4, 5, 2)), tmp_path / "suite2p")
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
    write(first, tmp_path / "suite2p", second_channel=second)
    for k in range(3):
        for name, made in (("data.bin", first), ("data_chan2.bin", second)):
            with binary_file(7, 5, str(tmp_path / "suite2p" / f"plane{k}" / name)) as file:
                assert file.shape == (25, 7, 5)
                np.testing.assert_array_equal(file[:], made.get_series()[..., k])


@pytest.mark.parametrize("shape", [(12, 6, 9), (12, 6, 9, 2)], ids=["planar", "volumetric"])
def test_a_folder_for_suite2p_opens_here_again(tmp_path: Path, shape: tuple[int, ...]) -> None:
    made = recording(shape)
    write(made, tmp_path / "suite2p", second_channel=recording(shape, seed=3))
    with roi.open(tmp_path / "suite2p", channel="chan1") as again:
        np.testing.assert_array_equal(again.get_series(), made.get_series())
        assert again.get_sampling_frequency() == 12.5


def test_a_rate_must_be_known_for_suite2p(tmp_path: Path) -> None:
    with pytest.raises(roi.TimesError, match="would assume 10 Hz"):
        write(roi.NumpyImagingExtractor(np.zeros((5, 4, 3))), tmp_path / "suite2p")


def test_channels_of_two_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match="channels differ in shape"):
        write(recording(), tmp_path / "suite2p", second_channel=recording((41, 6, 9)))


def test_a_value_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    values = np.zeros((40, 6, 9), np.uint16)
    values[33] = 40_000
    with pytest.raises(roi.UnsupportedRecordingError, match="to 40000; pass a scale"):
        write(roi.NumpyImagingExtractor(values, 10.0), tmp_path / "suite2p")
    assert list(tmp_path.iterdir()) == []
    write(roi.NumpyImagingExtractor(values, 10.0), tmp_path / "suite2p", scale=0.5)
    stored = np.fromfile(tmp_path / "suite2p" / "plane0" / "data.bin", "<i2")
    assert stored.max() == 20_000


def test_a_folder_of_another_name_and_its_paths(tmp_path: Path) -> None:
    write(recording(), tmp_path / "mouse1")
    db = np.load(tmp_path / "mouse1" / "plane0" / "db.npy", allow_pickle=True).item()
    assert (db["save_path0"], db["save_folder"]) == (str(tmp_path), "mouse1")
    assert db["reg_file"] == str(tmp_path / "mouse1" / "plane0" / "data.bin")
    assert Path(db["reg_file"]).is_file()


# Interruptions


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt])
def test_an_interruption_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def progress(done: int, total: int) -> None:
        raise error

    with pytest.raises(error):
        write(recording(), tmp_path / "suite2p", progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_in_bytes_of_all_channels_and_ends_with_all_of_them(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = recording()
    options = {"second_channel": recording(seed=2), "progress": lambda done, total: seen.append((done, total))}
    write(made, tmp_path / "suite2p", **options)
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (2 * made.nbytes, 2 * made.nbytes)


# A target that exists


def test_a_target_that_exists_is_replaced_with_overwrite_and_at_the_end(tmp_path: Path) -> None:
    write(recording(), tmp_path / "suite2p")
    place = tmp_path / "suite2p" / "plane0" / "data.bin"
    before = place.read_bytes()
    with pytest.raises(roi.SourceKindError, match="already exists; pass overwrite=True"):
        write(recording(seed=2), tmp_path / "suite2p")
    with pytest.raises(StoppedError):
        write(recording(seed=2), tmp_path / "suite2p", overwrite=True, progress=stop_after(2))
    assert place.read_bytes() == before
    write(recording(seed=2), tmp_path / "suite2p", overwrite=True)
    assert place.read_bytes() == recording(seed=2).get_series().tobytes()


def test_results_of_suite2p_are_never_replaced(tmp_path: Path) -> None:
    write(recording(), tmp_path / "suite2p")
    (tmp_path / "suite2p" / "plane0" / "iscell.npy").write_bytes(b"curated")
    with pytest.raises(roi.SourceKindError, match="contains suite2p's results"):
        write(recording(seed=2), tmp_path / "suite2p", overwrite=True)
    assert (tmp_path / "suite2p" / "plane0" / "iscell.npy").read_bytes() == b"curated"


def test_a_folder_of_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "suite2p").mkdir()
    (tmp_path / "suite2p" / "raw.tif").write_bytes(b"data")
    with pytest.raises(roi.SourceKindError, match="other content"):
        write(recording(), tmp_path / "suite2p", overwrite=True)
    assert names(tmp_path) == ["raw.tif"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "suite2p").mkdir()
    write(recording(), tmp_path / "suite2p")
    assert "data.bin" in names(tmp_path)


def test_a_recording_is_never_written_over_itself(tmp_path: Path) -> None:
    write(recording(), tmp_path / "suite2p")
    before = (tmp_path / "suite2p" / "plane0" / "data.bin").read_bytes()
    for place in (tmp_path / "suite2p", tmp_path / "suite2p" / "plane0" / "data.bin"):
        with roi.open(place) as own:
            with pytest.raises(roi.SourceKindError, match="is the recording itself"):
                write(own, tmp_path / "suite2p", overwrite=True)
            with pytest.raises(roi.SourceKindError, match="second channel is read from"):
                write(recording(), tmp_path / "suite2p", second_channel=own, overwrite=True)
    assert (tmp_path / "suite2p" / "plane0" / "data.bin").read_bytes() == before


class TestWritingSuite2p(WriterTests):
    format = "suite2p"
    target_name = "suite2p"
    dtypes = {"int16": "int16", "uint8": "int16"}
    keeps_times = False
    keeps_metadata = False
