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


@pytest.mark.parametrize(("name", "words"), [("a.jpg", "must end in .png"), ("no/a.png", "does not exist")])
def test_a_place_that_is_none_for_a_picture_is_refused(
    recording: roi.NumpyImagingExtractor, tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(roi.SourceKindError, match=words):
        recording.preview(tmp_path / name)


def test_an_empty_recording_has_no_preview() -> None:
    with pytest.raises(roi.SourceKindError, match=r"cannot draw an empty recording \(shape \(0, 4, 4\)\)"):
        roi.NumpyImagingExtractor(np.zeros((0, 4, 4), np.uint8)).preview()


def test_a_notebooks_card_shows_facts_and_escapes_names_and_reads_no_pixels(
    recording: roi.NumpyImagingExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> np.ndarray:
        raise AssertionError("pixels were read")

    for name in ("get_series", "get_samples", "get_block"):
        monkeypatch.setattr(type(recording), name, refuse)
    card = recording._repr_html_()
    assert "30 samples x 40 rows x 50 columns" in card
    assert "computed from the rate" in card
    assert "&lt;b&gt;scope&lt;/b&gt;" in card
    assert "<b>scope" not in card


def test_a_card_names_the_file_and_opens_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((9, 8, 7), np.uint8))
    with roi.open(tmp_path / "movie.npy") as recording:
        (tmp_path / "movie.npy").unlink()
        card = recording._repr_html_()
    assert "movie.npy" in card
    assert "9 samples" in card


def test_a_card_never_fails_even_where_the_file_is_gone(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((9, 8, 7), np.uint8))
    recording = roi.open(tmp_path / "movie.npy")
    (tmp_path / "movie.npy").unlink()
    recording.close()
    card = recording._repr_html_()
    assert "<img" not in card
    assert "closed" in card
    assert "9 samples" in card


def test_without_matplotlib_a_preview_says_what_to_install(recording: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roiextractors_core.interop.preview.can_draw", lambda: False)
    with pytest.raises(roi.MissingDependencyError, match=r"roiextractors-core\[plot\]"):
        recording.preview()
