"""Acquisitions that are split over files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_scanimage.extractor import ScanImageImagingExtractor

from roiextractors_core.errors import ChoiceError, IncompleteRecordingWarning, UnknownFormatError

Make = Callable[..., Any]
SPLIT = {"SI.hScan2D.logFramesPerFile": "5"}


@pytest.fixture
def split(tmp_path: Path, write_bigtiff: Make, header_text: Make, page_texts: Make, numbered_frames: Make) -> Make:
    """Write pages ``first`` to ``first + count - 1`` of one acquisition into a file."""

    def written(
        name: str,
        first: int,
        count: int,
        changes: dict[str, str | None] | None = None,
        shape: Any = (4, 6),
        **more: Any,
    ) -> Path:
        frames = numbered_frames(first + count, *shape)[first:]
        texts = page_texts(count, first=more.pop("number", first + 1), **more)
        return Path(write_bigtiff(tmp_path / name, header_text(SPLIT | (changes or {})), texts, frames))

    return written


def pages_of(recording: ScanImageImagingExtractor) -> list[int]:
    return [int(page) for page in recording.get_series()[:, 0, 0] // 100]


def test_files_are_joined_in_natural_order_from_any_of_them(split: Make, tmp_path: Path) -> None:
    for k in range(11):
        split(f"mouse_1_00001_{k + 1}.tif", 3 * k, 3)
    split("mouse_1_00002_1.tif", 0, 2)
    for name in ("mouse_1_00001_1.tif", "mouse_1_00001_10.tif"):
        with ScanImageImagingExtractor(tmp_path / name) as found:
            assert pages_of(found) == list(range(33))
            np.testing.assert_allclose(found.get_timestamps(), np.arange(33) * 0.1)
            assert found.get_notes() == ()


def test_a_volume_may_go_on_in_the_next_file(split: Make) -> None:
    changes = {
        "SI.hStackManager.enable": "true",
        "SI.hStackManager.actualNumSlices": "3",
        "SI.hStackManager.numFramesPerVolume": "3",
        "SI.hStackManager.numFramesPerVolumeWithFlyback": "4",
    }
    path = split("v_00001_00001.tif", 0, 5, changes)
    split("v_00001_00002.tif", 5, 5, changes)
    split("v_00001_00003.tif", 10, 2, changes)
    with ScanImageImagingExtractor(path) as recording:
        assert recording.shape == (3, 4, 6, 3)
        np.testing.assert_array_equal(recording.get_series()[:, 0, 0, :] // 100, [[0, 1, 2], [4, 5, 6], [8, 9, 10]])
        np.testing.assert_allclose(recording.get_timestamps(), [0.2, 0.6, 1.0])


def test_a_missing_file_is_named(split: Make) -> None:
    path = split("m_00001_00001.tif", 0, 5)
    split("m_00001_00003.tif", 10, 5)
    with (
        pytest.warns(IncompleteRecordingWarning, match=r"m_00001_00002\.tif of the sequence is missing"),
        pytest.warns(IncompleteRecordingWarning, match=r"5 of 15 frames are missing.*the first is frame 5"),
    ):
        recording = ScanImageImagingExtractor(path)
    np.testing.assert_array_equal(recording.get_missing_samples(), range(5, 10))
    assert pages_of(recording) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    np.testing.assert_allclose(recording.get_timestamps()[[4, 5]], [0.4, 1.0])
    assert any("m_00001_00002.tif" in note for note in recording.get_notes())
    recording.close()


def test_a_missing_first_file_is_named(split: Make) -> None:
    path = split("m_00001_00002.tif", 5, 5)
    with (
        pytest.warns(IncompleteRecordingWarning, match=r"m_00001_00001\.tif of the sequence is missing"),
        pytest.warns(IncompleteRecordingWarning, match=r"5 of 10 frames are missing"),
        pytest.warns(IncompleteRecordingWarning, match=r"the files begin with frame 6 of the acquisition"),
    ):
        recording = ScanImageImagingExtractor(path)
    assert len(recording) == 5
    np.testing.assert_array_equal(recording.get_missing_samples(), range(5))
    np.testing.assert_allclose(recording.get_timestamps(), np.arange(5, 10) * 0.1)
    recording.close()


def test_a_huge_gap_in_the_numbers_is_counted_and_not_listed(split: Make) -> None:
    path = split("m_00001_00001.tif", 0, 5)
    split("m_00001_99999999999.tif", 5, 5)
    with pytest.warns(IncompleteRecordingWarning, match=r"m_00001_00002\.tif, .* and 99,999,999,989 more"):
        recording = ScanImageImagingExtractor(path)
    recording.close()


def test_a_name_that_bears_no_number_is_left_out_and_reported(split: Make) -> None:
    path = split("m_00001_00001.tif", 0, 5)
    split("m_00001_00001_registered.tif", 0, 5)
    with pytest.warns(IncompleteRecordingWarning, match=r"m_00001_00001_registered\.tif beside it bears no number"):
        recording = ScanImageImagingExtractor(path)
    assert len(recording) == 5
    recording.close()


def test_files_of_another_kind_or_size_are_left_out_with_a_note(split: Make, tmp_path: Path) -> None:
    path = split("m_00001_00001.tif", 0, 5)
    split("m_00001_00002.tif", 5, 5, shape=(8, 6))
    split("m_00001_00003.tif", 5, 5)
    (tmp_path / "m_00001_00004.tif").write_bytes(b"no TIFF at all")
    (tmp_path / "m_00001_00005.tif").write_bytes(b"")
    (tmp_path / "m_00001_00006.tif").mkdir()
    with (
        pytest.warns(IncompleteRecordingWarning, match=r"m_00001_00002\.tif of the sequence is missing"),
        pytest.warns(IncompleteRecordingWarning, match=r"m_00001_00002\.tif is left out: its frames have another size"),
        pytest.warns(IncompleteRecordingWarning, match=r"m_00001_00004\.tif is left out: it is not a TIFF file"),
        pytest.warns(IncompleteRecordingWarning, match=r"m_00001_00005\.tif is left out"),
        pytest.warns(IncompleteRecordingWarning, match=r"m_00001_00006\.tif is left out"),
    ):
        recording = ScanImageImagingExtractor(path)
    notes = " ".join(recording.get_notes())
    assert "m_00001_00002.tif is left out: its frames have another size or type" in notes
    assert "m_00001_00004.tif is left out: it is not a TIFF file" in notes
    assert "m_00001_00005.tif" in notes
    assert "m_00001_00006.tif" in notes
    assert pages_of(recording) == list(range(10))
    recording.close()


def test_the_files_of_a_loop_are_joined_and_their_clocks_too(split: Make) -> None:
    loop: dict[str, str | None] = {"SI.acqState": "'loop'", "SI.hScan2D.logFramesPerFile": "Inf"}
    path = split("trial_00007.tif", 0, 5, loop)
    split("trial_00008.tif", 5, 5, loop, number=1, epoch="[2024  3 21 9 6 7.75]")
    with ScanImageImagingExtractor(path) as recording:
        assert pages_of(recording) == list(range(10))
        np.testing.assert_allclose(recording.get_timestamps()[[0, 4, 5, 9]], [0.0, 0.4, 60.5, 60.9])


def test_separate_grabs_of_slow_stacks_stay_separate(split: Make) -> None:
    slow = {
        "SI.hScan2D.logFramesPerFile": "Inf",
        "SI.hStackManager.enable": "true",
        "SI.hStackManager.stackMode": "'slow'",
        "SI.hStackManager.actualNumSlices": "5",
        "SI.hStackManager.numFramesPerVolume": "5",
        "SI.hStackManager.numFramesPerVolumeWithFlyback": "5",
    }
    path = split("stack_00001.tif", 0, 5, slow)
    split("stack_00002.tif", 5, 5, slow, number=1, epoch="[2024  3 21 9 15 0]")
    with ScanImageImagingExtractor(path) as recording:
        assert recording.shape == (1, 4, 6, 5)
        assert "stack_00002.tif is left out: it is a separate acquisition, started at 2024-03-21 09:15:00" in (
            recording.get_notes()
        )
    split("stack_00002.tif", 5, 5, slow)
    with ScanImageImagingExtractor(path) as recording:
        assert recording.shape == (2, 4, 6, 5)


def test_a_grab_without_a_limit_is_one_file(split: Make) -> None:
    changes = {"SI.hScan2D.logFramesPerFile": "Inf"}
    path = split("grab_00001.tif", 0, 5, changes)
    split("grab_00002.tif", 5, 5, changes)
    with ScanImageImagingExtractor(path) as recording:
        assert len(recording) == 5


def test_a_list_is_exactly_these_files_in_the_order_of_their_frame_numbers(split: Make) -> None:
    paths = [split(f"m_00001_{k:05d}.tif", 5 * k - 5, 5) for k in (1, 2, 3)]
    chosen = [paths[2], paths[0]]
    for options in ({"file_path": chosen}, {"file_paths": chosen}):
        with pytest.warns(IncompleteRecordingWarning, match=r"5 of 15 frames are missing"):
            recording = ScanImageImagingExtractor(**options)
        assert pages_of(recording) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
        assert (np.diff(recording.get_timestamps()) > 0).all()
        assert "frames are read in the order of their numbers, which is not that of the files" in recording.get_notes()
        assert recording.get_paths() == tuple(map(str, chosen))
        recording.close()


def test_a_folder_that_holds_one_acquisition_is_opened(split: Make, tmp_path: Path) -> None:
    for k in (1, 2, 10):
        split(f"m_00001_{k}.tif", k, 1, {"SI.acqState": "'loop'", "SI.hScan2D.logFramesPerFile": "Inf"})
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "average.tif").write_bytes(b"no TIFF")
    with (
        pytest.warns(IncompleteRecordingWarning, match=r"m_00001_3\.tif.*m_00001_9\.tif of the sequence are missing"),
        pytest.warns(IncompleteRecordingWarning, match=r"8 of 11 frames are missing"),
        pytest.warns(IncompleteRecordingWarning, match=r"the files begin with frame 2 of the acquisition"),
    ):
        recording = ScanImageImagingExtractor(tmp_path)
    assert pages_of(recording) == [1, 2, 10]
    assert "average.tif in the folder is not a ScanImage file and is left out" in recording.get_notes()
    recording.close()
    split("n_00001.tif", 0, 1)
    with pytest.raises(ChoiceError, match=r"several acquisitions, among them 'm_00001_1\.tif' and 'n_00001\.tif'"):
        ScanImageImagingExtractor(tmp_path)


def test_a_folder_without_scanimage_files_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.tif").write_bytes(b"nothing")
    with pytest.raises(UnknownFormatError, match="contains no ScanImage TIFF file"):
        ScanImageImagingExtractor(tmp_path)
