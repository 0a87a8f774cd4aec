"""Pictures and notebook cards: what they show, and that showing never fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

pytest.importorskip("matplotlib", reason="matplotlib is not installed: the extra [plot]")


@pytest.fixture
def recording() -> roi.NumpyImagingExtractor:
    data = np.random.default_rng(0).integers(0, 500, (30, 40, 50), dtype=np.uint16)
    metadata = roi.RecordingMetadata(pixel_size=(1.0, 1.0), device="<b>scope</b>")
    return roi.NumpyImagingExtractor(data, sampling_frequency=10.0, metadata=metadata)


def test_a_preview_is_shown_by_notebooks_and_written_on_request(
    recording: roi.NumpyImagingExtractor, tmp_path: Path
) -> None:
    shown = recording.preview()
    assert isinstance(shown, roi.Preview)
    assert shown._repr_png_().startswith(b"\x89PNG")
    assert shown.path is None
    written = recording.preview(tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").read_bytes() == written.png
    assert [path.name for path in tmp_path.iterdir()] == ["drawn.png"]


def test_the_picture_shows_the_mean_of_the_pixels(recording: roi.NumpyImagingExtractor, tmp_path: Path) -> None:
    bright = np.zeros((20, 64, 64), np.uint8)
    bright[:, :, 32:] = 200
    roi.NumpyImagingExtractor(bright).preview(tmp_path / "halves.png")
    from matplotlib.image import imread

    picture = imread(tmp_path / "halves.png")[..., :3].mean(axis=-1)
    middle = picture[picture.shape[0] // 3, : picture.shape[1] // 2]
    dark, light = np.flatnonzero(middle < 0.05), np.flatnonzero(middle > 0.95)
    assert dark.size > 100
    assert light[light > dark.min()].size > 100


@pytest.mark.parametrize(("name", "words"), [("a.jpg", "ends in .png"), ("no/a.png", "there is no folder")])
def test_a_place_that_is_none_for_a_picture_is_refused(
    recording: roi.NumpyImagingExtractor, tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(roi.SourceKindError, match=words):
        recording.preview(tmp_path / name)


def test_an_empty_recording_has_no_preview() -> None:
    with pytest.raises(roi.SourceKindError, match=r"nothing to draw: the recording's shape is \(0, 4, 4\)"):
        roi.NumpyImagingExtractor(np.zeros((0, 4, 4), np.uint8)).preview()


def test_a_notebooks_card_shows_thumbnail_and_facts_and_escapes_names(recording: roi.NumpyImagingExtractor) -> None:
    card = recording._repr_html_()
    assert "data:image/png;base64," in card
    assert "30 samples x 40 rows x 50 columns" in card
    assert "computed from the rate" in card
    assert "&lt;b&gt;scope&lt;/b&gt;" in card
    assert "<b>scope" not in card


def test_a_card_names_the_file_and_what_could_be_chosen(tmp_path: Path) -> None:
    from roiextractors_core.testing import write_scanimage

    pytest.importorskip("roiextractors_scanimage", reason="roiextractors-scanimage is not installed")
    channels = [roi.NumpyImagingExtractor(np.full((4, 16, 16), k, np.int16), sampling_frequency=9.0) for k in range(2)]
    write_scanimage(channels, tmp_path / "two.tif")
    with roi.open(tmp_path / "two.tif", channel="Channel 2") as recording:
        card = recording._repr_html_()
    assert "two.tif" in card
    assert "Channel 1, Channel 2" in card


def test_a_card_never_fails_even_where_the_file_is_gone(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((9, 8, 7), np.uint8))
    recording = roi.open(tmp_path / "movie.npy")
    (tmp_path / "movie.npy").unlink()
    recording.close()
    card = recording._repr_html_()
    assert "<img" not in card
    assert "closed" in card
    assert "9 samples" in card


def test_without_matplotlib_a_preview_says_what_to_install_and_a_card_does_without(
    recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roiextractors_core.interop.preview.can_draw", lambda: False)
    with pytest.raises(roi.MissingDependencyError, match=r"roiextractors-core\[plot\]"):
        recording.preview()
    assert "<img" not in recording._repr_html_()
