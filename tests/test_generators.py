"""Made-up recordings: the same however they are read, cheap at any length, and written so that others read them."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import roiextractors_core as roi
from roiextractors_core.testing.generators import (
    CalciumImagingExtractor,
    CalciumSegmentationExtractor,
    NoiseImagingExtractor,
)
from roiextractors_core.testing.writing import TargetExistsError, write_npy, write_tiff

KINDS = [NoiseImagingExtractor, CalciumImagingExtractor]


def peak_of(call: Any) -> int:
    """Return the most bytes that were in use at once during the call, beyond those before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(30, 16, 20), (6, 16, 20, 3)])
class TestEveryKind:
    def test_a_sample_is_the_same_however_it_is_read(self, kind: Any, shape: tuple[int, ...]) -> None:
        recording = kind(shape, "int16", 7)
        whole = recording.get_series()
        assert whole.shape == shape
        np.testing.assert_array_equal(kind(shape, "int16", 7).get_samples([5, 2]), whole[[5, 2]])
        np.testing.assert_array_equal(kind(shape, "int16", 7)[3:5, 4:9, 2:7], whole[3:5, 4:9, 2:7])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(recording)).get_series(4, 6), whole[4:6])

    def test_another_seed_is_another_recording(self, kind: Any, shape: tuple[int, ...]) -> None:
        assert not np.array_equal(kind(shape, "int16", 7).get_series(), kind(shape, "int16", 8).get_series())

    def test_no_two_samples_are_alike(self, kind: Any, shape: tuple[int, ...]) -> None:
        samples = kind(shape, "int16", 7).get_series()
        assert len({sample.tobytes() for sample in samples}) == len(samples)

    def test_a_longer_recording_begins_like_a_shorter_one(self, kind: Any, shape: tuple[int, ...]) -> None:
        longer = kind((10**7, *shape[1:]), "int16", 7)
        np.testing.assert_array_equal(longer.get_series(0, shape[0]), kind(shape, "int16", 7).get_series())
        assert longer.get_series(10**7 - 1, 10**7).shape == (1, *shape[1:])

    def test_threads_read_the_same(self, kind: Any, shape: tuple[int, ...]) -> None:
        recording = kind(shape, "int16", 7)
        whole = recording.get_series()
        with ThreadPoolExecutor(4) as pool:
            for index, found in enumerate(pool.map(lambda k: recording.get_series(k, k + 1)[0], range(6))):
                np.testing.assert_array_equal(found, whole[index])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint64", "float32", "float64", ">i2"])
def test_any_dtype_is_made_in_native_byte_order(kind: Any, dtype: str) -> None:
    found = kind((3, 9, 7), dtype, 1).get_series()
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.dtype.isnative
    assert found.std() > 0


@pytest.mark.parametrize("dtype", ["bool", "float16", "complex64"])
def test_noise_comes_in_rarer_dtypes_too(dtype: str) -> None:
    found = NoiseImagingExtractor((3, 9, 7), dtype, 1).get_series()
    assert found.dtype == dtype
    assert 0 <= found.real.min() < found.real.max() <= 1


def test_noise_fills_the_range_of_its_dtype() -> None:
    found = NoiseImagingExtractor((20, 100, 100), "uint8", 1).get_series()
    counts = np.bincount(found.ravel(), minlength=256)
    expected = found.size / 256
    assert abs(counts - expected).max() < 6 * np.sqrt(expected)
    assert NoiseImagingExtractor((1, 100, 100), "int16").get_series().min() < -32_000


def test_noise_is_the_philox_generator_keyed_by_seed_and_counted_by_sample() -> None:
    bits = np.random.Philox(key=[3, 0], counter=[0, 0, 0, 41]).random_raw(3)
    expected = np.frombuffer(struct.pack("<3Q", *bits.tolist()), "<u2")[:10].reshape(2, 5)
    np.testing.assert_array_equal(NoiseImagingExtractor((50, 2, 5), "uint16", 3).get_series(41, 42)[0], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_of_100_gb_costs_no_memory(kind: Any) -> None:
    recording = kind((190_000, 512, 512), "int16", 1)
    assert recording.nbytes > 99e9
    ten_frames = 10 * 512 * 512 * 2
    of_one_frame = 512 * 512 * 8
    assert peak_of(lambda: recording.get_series(100_000, 100_010)) < ten_frames + 10 * of_one_frame


def test_making_a_long_recording_costs_no_more_than_its_scene() -> None:
    assert peak_of(lambda: CalciumImagingExtractor((10**9, 128, 128))) < 8e6


@pytest.mark.parametrize(
    ("shape", "dtype"), [((3, 4), "u1"), ((3, 0, 4), "u1"), ((-1, 3, 4), "u1"), ((3, 4, 5), "M8[s]")]
)
def test_what_cannot_be_made_is_refused(shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(
        roi.DeclarationError, match=r"shape must be \(samples, rows, columns|cannot generate samples of the dtype"
    ):
        NoiseImagingExtractor(shape, dtype)


class TestCalcium:
    def test_photons_are_counted_so_that_the_variance_is_the_mean(self) -> None:
        still = CalciumImagingExtractor((400, 64, 64), "float64", 3, functional=False).get_series()
        mean, variance = still.mean(axis=0), still.var(axis=0)
        assert (still == np.round(still)).all()
        assert abs((variance / mean)[mean > 1].mean() - 1) < 0.01

    def test_cells_flash_and_the_marker_does_not(self) -> None:
        green = CalciumImagingExtractor((600, 64, 64), "float32", 3)
        red = CalciumImagingExtractor((600, 64, 64), "float32", 3, functional=False)
        brightest = red.get_series().mean(axis=0)
        change = green.get_activity()
        assert change.max() > 1
        assert red.get_activity().max() == 0
        assert brightest.max() > 4 * np.median(brightest)

    @pytest.mark.thorough
    def test_the_pixels_follow_the_activity(self) -> None:
        recording = CalciumImagingExtractor((900, 96, 96), "float32", 5, num_cells=1, photons=200)
        activity = recording.get_activity()[:, 0]
        movie = recording.get_series().astype(float)
        correlation = (movie - movie.mean(axis=0)).reshape(900, -1).T @ (activity - activity.mean())
        pixel = np.unravel_index(np.argmax(correlation), (96, 96))
        assert np.corrcoef(movie[:, pixel[0], pixel[1]], activity)[0, 1] > 0.8

    def test_a_transient_rises_fast_and_decays_exponentially(self) -> None:
        activity = CalciumImagingExtractor((3000, 32, 32), "int16", 1, sampling_frequency=100.0).get_activity()
        rising = np.diff(activity, axis=0) > 0
        onsets, cells = np.nonzero(rising[1:] & ~rising[:-1])
        alone = [
            (onset + 1, cell)
            for onset, cell in zip(onsets.tolist(), cells.tolist(), strict=True)
            if not any(cell == c and 0 < abs(onset - o) < 250 for o, c in zip(onsets, cells, strict=True))
        ]
        assert len(alone) > 5
        for onset, cell in (place for place in alone if 250 < place[0] < 2750):
            course = activity[onset : onset + 150, cell]
            assert 0.05 < np.argmax(course) / 100 < 0.35
            tail = np.log(activity[onset + 100 : onset + 150, cell])
            assert abs(np.diff(tail, 2)).max() < 1e-4  # the logarithm of an exponential is a line
            assert 0.39 < -0.01 / np.diff(tail).mean() < 0.91

    def test_events_come_at_random_and_as_often_early_as_late(self) -> None:
        recording = CalciumImagingExtractor((10**6, 32, 32), "int16", 2, sampling_frequency=10.0, num_cells=200)
        early, late = recording.get_activity(0, 1000).mean(), recording.get_activity(900_000, 901_000).mean()
        assert 0.8 < early / late < 1.25
        assert recording.get_activity(0, 1).mean() > 0.2 * early  # it was alive before it began

    def test_vessels_cast_their_shadow_on_both_channels(self) -> None:
        green, red = (
            CalciumImagingExtractor((60, 128, 128), "float32", 4, functional=functional).get_series().mean(axis=0)
            for functional in (True, False)
        )
        dark = green < np.percentile(green, 4)
        assert red[dark].mean() < 0.5 * np.median(red)

    def test_a_dtype_of_eight_bits_is_not_clipped(self) -> None:
        found = CalciumImagingExtractor((300, 64, 64), "uint8", 1).get_series()
        assert (found == 255).mean() < 1e-4
        assert found.max() > 40

    def test_wrong_numbers_are_refused(self) -> None:
        with pytest.raises(roi.DeclarationError, match="photons above 0 and at most 1e9, got 4 and -1"):
            CalciumImagingExtractor((3, 8, 8), num_cells=4, photons=-1)


@pytest.mark.parametrize("shape", [(7, 5, 6), (7, 5, 6, 3), (0, 5, 6)])
def test_written_npy_reads_by_numpy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    recording = NoiseImagingExtractor(shape, "float32", 2)
    assert write_npy(recording, tmp_path / "m.npy") == tmp_path / "m.npy"
    found = np.load(tmp_path / "m.npy", allow_pickle=False)
    assert found.shape == shape
    np.testing.assert_array_equal(found, recording.get_series())


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("layout", ["pages", "trailing"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_written_tiff_reads_by_tifffile(tmp_path: Path, byteorder: str, bigtiff: bool, layout: str, dtype: str) -> None:
    recording = NoiseImagingExtractor((4, 5, 6, 3), dtype)
    path = tmp_path / "m.tif"
    write_tiff(recording, path, byteorder=byteorder, bigtiff=bigtiff, layout=layout, description="made up")
    with tifffile.TiffFile(path) as file:
        assert (file.byteorder, file.is_bigtiff, len(file.pages)) == (byteorder, bigtiff, 12)
        assert file.pages[0].description == "made up"
        assert "ImageDescription" not in file.pages[1].aspage().tags
        pages = np.stack([page.asarray() for page in file.pages])
    np.testing.assert_array_equal(pages.reshape(4, 3, 5, 6), np.moveaxis(recording.get_series(), -1, 1))


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 3)])
def test_written_imagej_is_imagej_to_tifffile(tmp_path: Path, shape: tuple[int, ...]) -> None:
    recording = NoiseImagingExtractor(shape, "uint16", sampling_frequency=8.0)
    write_tiff(recording, tmp_path / "j.tif", byteorder=">", layout="imagej", description="unit=pixel")
    with tifffile.TiffFile(tmp_path / "j.tif") as file:
        assert file.is_imagej
        assert file.imagej_metadata["finterval"] == 0.125
        assert file.imagej_metadata["unit"] == "pixel"
        assert file.series[0].axes == "TZYX"[: len(shape) :] if len(shape) == 4 else "TYX"
        pixels = file.asarray()
    expected = recording.get_series()
    np.testing.assert_array_equal(pixels, np.moveaxis(expected, -1, 1) if len(shape) == 4 else expected)


@pytest.mark.parametrize(
    ("recording", "options", "said"),
    [
        (NoiseImagingExtractor((3, 4, 5), "bool"), {}, "integers and floats"),
        (NoiseImagingExtractor((0, 4, 5)), {}, "without samples"),
        (NoiseImagingExtractor((3, 4, 5), "int16"), {"layout": "imagej"}, "ImageJ supports uint8, uint16 and float32"),
        (NoiseImagingExtractor((3, 4, 5)), {"layout": "tiles"}, "layout one of 'pages', 'trailing' and 'imagej'"),
        (NoiseImagingExtractor((10**6, 512, 512)), {}, "exceed the 4 GiB of classic TIFF; pass bigtiff=True"),
    ],
)
def test_what_tiff_cannot_hold_is_refused(tmp_path: Path, recording: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(roi.DeclarationError, match=said):
        write_tiff(recording, tmp_path / "m.tif", **options)
    assert list(tmp_path.iterdir()) == []


WRITERS = [write_npy, write_tiff]


@pytest.mark.parametrize("write", WRITERS)
class TestEveryWriter:
    def test_replaces_a_file_only_when_asked(self, tmp_path: Path, write: Any) -> None:
        (tmp_path / "m").write_text("mine")
        with pytest.raises(TargetExistsError, match="already exists; pass overwrite=True"):
            write(NoiseImagingExtractor((2, 3, 4), "int16"), tmp_path / "m")
        assert (tmp_path / "m").read_text() == "mine"
        write(NoiseImagingExtractor((2, 3, 4), "int16"), tmp_path / "m", overwrite=True)
        assert (tmp_path / "m").read_bytes() != b"mine"

    def test_leaves_nothing_behind_when_it_is_interrupted(self, tmp_path: Path, write: Any) -> None:
        (tmp_path / "m").write_text("mine")

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(NoiseImagingExtractor((2, 3, 4), "int16"), tmp_path / "m", overwrite=True, progress=stop)
        assert [path.name for path in tmp_path.iterdir()] == ["m"]
        assert (tmp_path / "m").read_text() == "mine"

    def test_tells_how_far_it_is(self, tmp_path: Path, write: Any) -> None:
        told: list[tuple[int, int]] = []
        recording = NoiseImagingExtractor((40, 512, 512), "int16")
        write(recording, tmp_path / "m", progress=lambda done, total: told.append((done, total)))
        assert len(told) > 2
        assert told == sorted(told)
        assert told[-1] == (40, 40)

    def test_writes_a_long_recording_in_little_memory(self, tmp_path: Path, write: Any) -> None:
        recording = NoiseImagingExtractor((200, 512, 512), "int16")
        assert peak_of(lambda: write(recording, tmp_path / "m")) < 32 << 20
        assert (tmp_path / "m").stat().st_size > recording.nbytes > 100e6

    def test_says_when_the_folder_is_missing(self, tmp_path: Path, write: Any) -> None:
        with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
            write(NoiseImagingExtractor((2, 3, 4), "int16"), tmp_path / "nowhere" / "m")


@pytest.mark.parametrize("shape", [(400, 48, 64), (40, 32, 40, 4)], ids=["planar", "volumetric"])
def test_the_segmentation_is_the_truth_behind_the_movie(shape: tuple[int, ...]) -> None:
    movie = CalciumImagingExtractor(shape, "float32", seed=3, num_cells=6, photons=200.0)
    rois = CalciumSegmentationExtractor(movie)
    assert rois.get_mask_shape() == shape[1:]
    np.testing.assert_array_equal(rois.get_traces(["4", "0"], 3, 9, "dff"), movie.get_activity(3, 9)[:, [4, 0]])
    assert pickle.loads(pickle.dumps(rois)).get_roi_masks() == rois.get_roi_masks()
    if len(shape) == 4:
        return
    # The brightness inside of a mask follows the activity of its cell more than that of any other
    inside = movie.get_series().reshape(shape[0], -1) @ rois.get_roi_image_masks().reshape(-1, 6)
    activity = rois.get_traces(name="dff")
    active = np.flatnonzero(activity.std(axis=0) > 0)
    together = np.corrcoef(inside.T, activity[:, active].T)[:6, 6:]
    assert (together.argmax(axis=0) == active).all()
    # And the image at rest is the movie without activity
    still = CalciumImagingExtractor(shape, "float32", seed=3, num_cells=6, photons=200.0).get_series().min(axis=0)
    assert np.corrcoef(still.ravel(), rois.get_image("resting").ravel())[0, 1] > 0.9
