"""Recordings written in another format: the same pixels, times and metadata, whole or not at all."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.interop import convert as conversion
from roiextractors_core.io import Sidecar
from roiextractors_core.testing import NoiseImagingExtractor

METADATA = roi.RecordingMetadata(
    start_time=datetime(2026, 3, 4, 5, 6, 7, 89000),
    pixel_size=(0.5, 0.7),
    plane_spacing=12.5,
    channels=(roi.ChannelMetadata("Green", 510.0, 920.0),),
    device="2p-RAM",
    software="ScanImage 2023.0.0",
    vendor={"laser": {"power": 12.25}, "names": ["a", "b"]},
)


def made(planes: int, clock: str, dtype: str = "uint16") -> roi.NumpyImagingExtractor:
    rng = np.random.default_rng(planes)
    shape = (23, 14, 11) if planes == 1 else (23, 14, 11, planes)
    times = np.cumsum(rng.random(23)) - 0.1 if clock == "native" else None
    data = rng.integers(0, 200, shape).astype(dtype)
    return roi.NumpyImagingExtractor(data, sampling_frequency=7.3, times=times, metadata=METADATA)


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("clock", ["computed", "native"])
@pytest.mark.parametrize("suffix", conversion.target_formats())
def test_the_result_opens_and_is_the_same(tmp_path: Path, suffix: str, clock: str, planes: int) -> None:
    recording = made(planes, clock)
    target = tmp_path / f"written{suffix}"
    told: list[tuple[int, int]] = []
    written = _converted(recording, target, progress=lambda done, total: told.append((done, total)))
    with _opened(written) as found:
        np.testing.assert_array_equal(found.get_series(), recording.get_series())
        assert found.dtype == recording.dtype
        assert found.get_sampling_frequency() == pytest.approx(7.3, rel=1e-12)
        np.testing.assert_allclose(found.get_timestamps(), recording.get_timestamps(), rtol=1e-12)
        assert found.times_source == ("native" if clock == "native" else "computed")
        assert found.metadata.replaced(start_time=None).to_dict() == METADATA.replaced(start_time=None).to_dict()
        assert found.metadata.start_time is not None
        assert found.metadata.start_time.replace(tzinfo=None) == METADATA.start_time
    assert told[-1] == (recording.nbytes, recording.nbytes)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {target.name} | ({f"{target.name}.json"} if suffix == ".npy" else set())


def _converted(recording: Any, target: Path, **options: Any) -> Path:
    try:
        return roi.convert(recording, target, **options)
    except roi.MissingDependencyError as error:
        pytest.skip(str(error))


def _opened(path: Path) -> Any:
    try:
        return roi.open(path)
    except roi.FormatNotInstalledError as error:
        pytest.skip(str(error))


def test_a_slice_keeps_its_place_in_time(tmp_path: Path) -> None:
    recording = made(1, "computed")
    roi.convert(recording.slice_samples(5, 20).slice_field_of_view(2, 9), tmp_path / "part.npy")
    found = roi.open(tmp_path / "part.npy")
    np.testing.assert_array_equal(found.get_series(), recording[5:20, 2:9])
    np.testing.assert_array_equal(found.get_timestamps(), recording.get_timestamps(5, 20))


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
@pytest.mark.parametrize("dtype", ["bool", "int64", "float16", "float64"])
def test_any_dtype_is_kept_where_the_format_has_it(tmp_path: Path, suffix: str, dtype: str) -> None:
    recording = made(1, "computed", dtype)
    with _opened(_converted(recording, tmp_path / f"a{suffix}")) as found:
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found.get_series(), recording.get_series())


def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match=r"OME-TIFF holds no int64; write \.npy or \.zarr"):
        _converted(made(1, "computed", "int64"), tmp_path / "a.tif")
    bare = roi.NumpyImagingExtractor(np.zeros((3, 4, 5), np.uint8), sampling_frequency=1.0)
    with pytest.raises(roi.UnsupportedRecordingError, match=r"NWB must have a start time.*--start-time"):
        _converted(bare, tmp_path / "a.nwb")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", conversion.target_formats())
def test_an_interruption_leaves_nothing_and_no_half_file(tmp_path: Path, suffix: str) -> None:
    class Interrupted(roi.NumpyImagingExtractor):
        def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
            raise KeyboardInterrupt

        def get_block(self, *args: Any, **kwargs: Any) -> np.ndarray:
            raise KeyboardInterrupt

    recording = Interrupted(np.ones((9, 8, 7), np.uint8), sampling_frequency=2.0, metadata=METADATA)
    try:
        roi.convert(recording, tmp_path / f"a{suffix}")
    except roi.MissingDependencyError as error:
        pytest.skip(str(error))
    except KeyboardInterrupt:
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_existing_target_is_replaced_only_when_that_is_asked_for_and_only_at_the_end(tmp_path: Path) -> None:
    recording = made(1, "native")
    target = roi.convert(recording, tmp_path / "a.npy")
    before = target.read_bytes()
    with pytest.raises(roi.SourceKindError, match=r"a\.npy is there already; pass overwrite"):
        roi.convert(recording.slice_samples(0, 3), target)
    assert target.read_bytes() == before
    roi.convert(recording.slice_samples(0, 3), target, overwrite=True)
    assert roi.open(target).shape == (3, 14, 11)


def test_a_folder_that_is_a_target_is_replaced_whole(tmp_path: Path) -> None:
    _converted(made(1, "native"), tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "old").write_text("x")
    _converted(made(1, "native"), tmp_path / "a.zarr", overwrite=True)
    assert not (tmp_path / "a.zarr" / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_recording_is_never_written_over_itself(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4, 5)))
    with roi.open(tmp_path / "a.npy") as recording:
        with pytest.raises(roi.SourceKindError, match=r"a\.npy is the recording itself"):
            roi.convert(recording, tmp_path / "a.npy", overwrite=True)
    assert np.load(tmp_path / "a.npy").shape == (3, 4, 5)


@pytest.mark.parametrize(("name", "words"), [("a.mp4", r"one of \.npy, \.tif"), ("no/a.npy", "there is no folder")])
def test_a_target_that_cannot_be_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(roi.SourceKindError, match=words):
        roi.convert(made(1, "native"), tmp_path / name)


def test_memory_is_bounded_by_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr(conversion, "_BLOCK_BYTES", 1 << 20)
    recording = NoiseImagingExtractor((2000, 128, 128), "uint16", 3)
    tracemalloc.start()
    roi.convert(recording, tmp_path / "a.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert recording.nbytes > 60 << 20
    assert peak < 24 << 20


# What stands beside a .npy


def test_a_companion_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4, 5)))
    for text in ("{}", "not json", '{"fps": 30}'):
        (tmp_path / "a.npy.json").write_text(text)
        assert roi.open(tmp_path / "a.npy").get_sampling_frequency() is None


def test_a_companion_of_another_shape_is_noted_and_not_used(tmp_path: Path) -> None:
    roi.convert(made(1, "native"), tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.ones((3, 4, 5)))
    found = roi.open(tmp_path / "a.npy")
    assert found.times_source is None
    assert found.provenance.notes == (
        "a.npy.json was not used: it is of a recording of shape (23, 14, 11), and this one is (3, 4, 5)",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 7}, "it is version 7, and 1 is read"),
        ({"times": [1.0, 2.0]}, "it holds 2 times for 23 samples"),
        ({"sampling_frequency": "fast"}, "could not convert string to float"),
        ({"metadata": {"start_time": "yesterday"}}, "Invalid isoformat"),
        ({"metadata": 5}, "cannot be used"),
    ],
)
def test_a_companion_that_contradicts_itself_is_an_error_in_words(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    roi.convert(made(1, "native"), tmp_path / "a.npy")
    beside = tmp_path / "a.npy.json"
    told = json.loads(beside.read_text(encoding="utf-8"))
    told["roiextractors"] |= change
    beside.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(roi.CorruptRecordingError, match=words):
        roi.open(tmp_path / "a.npy")


def test_metadata_is_the_same_after_json() -> None:
    assert roi.RecordingMetadata.from_dict(json.loads(json.dumps(METADATA.to_dict()))) == METADATA
    assert roi.RecordingMetadata.from_dict({}) == roi.RecordingMetadata()
    companion = Sidecar.of(made(3, "native"))
    again = Sidecar.from_json(companion.to_json(), where="here")
    assert again is not None
    assert again.times is not None
    assert again.times.tobytes() == (companion.times.tobytes() if companion.times is not None else b"")
