"""Leica LIF as recordings: the contract on files that other means wrote, choices, refusals, and who comes first."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.testing import ImagingExtractorTests


def made(
    times: int, planes: int, channels: int, rows: int = 24, columns: int = 32, dtype: Any = np.uint16
) -> np.ndarray:
    """Return ``(times, planes, channels, rows, columns)``, each frame another."""
    return np.random.default_rng(7).integers(0, 250, (times, planes, channels, rows, columns)).astype(dtype)


class TestLif(ImagingExtractorTests):
    """A planar LIF image of two channels, with stamps that are not equidistant."""

    format = "lif"
    open_options = {"channel": "Colour 2"}

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("liffile", reason="liffile is not installed")

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return made(64, 1, 2)[:, 0, 1]

    @pytest.fixture
    def expected_rate(self) -> float:
        return 4.0

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.arange(64) * 0.25 + np.arange(64) % 2 * 0.01

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("Colour 1", "Colour 2")}

    @pytest.fixture
    def recording(self, tmp_path: Path, write_lif: Callable[..., Path], expected_times: np.ndarray) -> Path:
        return write_lif(tmp_path / "made.lif", {"series": made(64, 1, 2)}, stamps=expected_times)


class TestLifVolumes(TestLif):
    """Volumes of 8 bits, one stamp for each frame, one of two images."""

    open_options = {"scene": "second"}

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return np.moveaxis(made(6, 4, 1, 8, 12, np.uint8)[:, :, 0], 1, 3)

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.arange(24)[::4] * 0.0625

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"scene": ("first", "second")}

    @pytest.fixture
    def recording(self, tmp_path: Path, write_lif: Callable[..., Path]) -> Path:
        data = made(6, 4, 1, 8, 12, np.uint8)
        return write_lif(tmp_path / "made.lif", {"first": data[::-1], "second": data}, stamps=np.arange(24) * 0.0625)


def test_a_lif_tells_sizes_start_and_rate(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    stamps = np.arange(12) / 6.0
    path = write_lif(tmp_path / "a.lif", {"one": made(4, 3, 1)}, stamps=stamps)
    with roi.open(path) as recording:
        found = recording.metadata
        assert found.pixel_size == pytest.approx((0.75, 0.5))
        assert found.plane_spacing == pytest.approx(2.0)
        assert found.start_time == datetime(2021, 1, 29, 15, 45, 49, 503000, UTC)
        assert found.channels[0].name == "Colour 1"
        assert recording.get_native_timestamps() == pytest.approx([0.0, 0.5, 1.0, 1.5])
        assert recording.get_sampling_frequency() == 4.0
        json.dumps(found.to_dict())


@pytest.mark.parametrize(
    "stamps", [None, (), (0.0, 1.0, 2.0), (0.0, 3.0, 1.0, 2.0)], ids=["none", "empty", "few", "back"]
)
def test_stamps_that_fit_no_sample_are_no_times(tmp_path: Path, write_lif: Callable[..., Path], stamps: Any) -> None:
    pytest.importorskip("liffile")
    path = write_lif(tmp_path / "a.lif", {"one": made(4, 1, 1)}, stamps=stamps, seconds=None)
    is_few = stamps is not None and len(stamps) == 3
    said = pytest.warns(roi.RoiExtractorsWarning, match="3 time stamps") if is_few else contextlib.nullcontext()
    with said:
        recording = roi.open(path)
    with recording:
        assert recording.get_native_timestamps() is None
        assert recording.times_source is None


def test_channels_of_one_name_are_chosen_by_number(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    data = made(3, 1, 2)
    path = write_lif(tmp_path / "a.lif", {"one": data}, colours=("Gray", "Gray"))
    assert roi.streams(path) == {"channel": ("1", "2")}
    with roi.open(path, channel=2) as recording:
        np.testing.assert_array_equal(recording.get_series(), data[:, 0, 1])


def test_a_scene_is_chosen_by_its_number_from_0(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    data = {"first": made(3, 1, 1), "second": made(4, 1, 1)[:, ::-1]}
    path = write_lif(tmp_path / "a.lif", data)
    with pytest.raises(roi.StreamChoiceError, match="has the scenes 'first' and 'second'; choose one"):
        roi.open(path)
    with roi.open(path, scene=1) as recording:
        np.testing.assert_array_equal(recording.get_series(), data["second"][:, 0, 0])


def test_a_lif_that_was_cut_gives_its_whole_samples(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    data = made(5, 2, 1)
    path = write_lif(tmp_path / "a.lif", {"one": data}, stamps=np.arange(5.0))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(roi.IncompleteRecordingWarning, match="ends inside its image 'one': 4 of 5 samples are complete"):
        recording = roi.open(path)
    np.testing.assert_array_equal(recording.get_series(), np.moveaxis(data[:4, :, 0], 1, 3))
    assert recording.get_native_timestamps() == pytest.approx([0.0, 1.0, 2.0, 3.0])
    assert "4 of 5 samples" in recording.get_notes()[0]


def test_a_file_that_liffile_cannot_read_is_a_corrupt_recording(tmp_path: Path) -> None:
    pytest.importorskip("liffile")
    broken = b"\x70\0\0\0\x20\0\0\0\x2a\x0c\0\0\0" + "<broken".encode("utf-16-le")
    (tmp_path / "a.lif").write_bytes(broken)
    with pytest.raises(roi.CorruptRecordingError, match=r"a\.lif cannot be read by liffile: "):
        roi.open(tmp_path / "a.lif")


def test_a_folder_and_several_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.lif").write_bytes(b"x")
    with pytest.raises(roi.SourceKindError, match="is a folder; open the file inside it"):
        roi.open(tmp_path, format="lif")
    with pytest.raises(roi.SourceKindError, match="expected one file, got 2"):
        roi.open([tmp_path / "a.lif", tmp_path / "a.lif"], format="lif")


def test_a_length_in_a_lif_is_no_reason_to_make_room_for_it(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    pytest.importorskip("liffile")
    path = write_lif(tmp_path / "a.lif", {"one": made(4, 1, 1)})
    content, name = path.read_bytes(), "MemBlock_1".encode("utf-16-le")
    at = content.rindex(name) - 4
    path.write_bytes(content[:at] + struct.pack("<I", 2_000_000_000) + content[at + 4 :])
    tracemalloc.start()
    with pytest.raises(roi.RecordingError):
        roi.open(path).get_series()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_a_missing_library_is_named_with_what_to_type(
    tmp_path: Path, write_lif: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lif(tmp_path / "a.lif", {"one": made(2, 1, 1)})
    monkeypatch.setitem(sys.modules, "liffile", None)
    with pytest.raises(roi.MissingDependencyError, match=r"Leica LIF needs liffile, .*: python -m pip install liffile"):
        roi.open(path)


def test_neither_declaring_nor_importing_the_extractor_imports_the_library() -> None:
    code = "import roiextractors_lif.hooks, roiextractors_lif.extractor, sys; print('liffile' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_positioned_reads_are_what_the_library_reads(tmp_path: Path, write_lif: Callable[..., Path]) -> None:
    path = write_lif(tmp_path / "a.lif", {"zero": made(3, 1, 1), "one": made(4, 3, 2)})
    with roi.open(path, scene="one", channel=2) as recording:
        assert recording._frames is not None
        here = recording[[3, 0], 2:9, 5:, 1:]
        recording._frames = None
        np.testing.assert_array_equal(recording[[3, 0], 2:9, 5:, 1:], here)


def test_relatives_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x70\0\0\0".ljust(600, b"\x01"))
    np.save(tmp_path / "a.npy", made(3, 1, 1)[:, 0, 0])
    (tmp_path / "a.lif").write_bytes((tmp_path / "a.npy").read_bytes())
    for name in ("a.bin", "a.lif"):
        best = roi.explain(tmp_path / name).best
        assert best is None or best.plugin != "roiextractors-lif"
