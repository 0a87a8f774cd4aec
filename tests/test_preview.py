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
    assert "from the rate" in card
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


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn, as matplotlib has them."""
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    save = Figure.savefig

    def remember(figure: Any, *arguments: Any, **options: Any) -> None:
        drawn.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    return drawn


def words_in(figure: Any) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_text())


def test_the_picture_of_one_frame_is_that_frame_alone(figures: list[Any]) -> None:
    frame = np.arange(600, dtype=np.uint16).reshape(1, 20, 30)
    roi.NumpyImagingExtractor(frame).preview()
    (axes,) = figures[0].get_axes()
    np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()), frame[0])
    words = words_in(figures[0])
    assert "1 frame of 20 x 30 pixels, uint16" in words
    assert "grey values 5.99 to 597.2" in words  # the percentiles 1 and 99.7 of 0 to 599
    assert not {"Mean", "Hz", "unknown"} & set(words.replace(",", " ").split())


def test_single_frames_of_several_channels_stand_side_by_side(figures: list[Any], tmp_path: Path) -> None:
    from roiextractors_core.interop.preview import draw, panel_of

    one = roi.NumpyImagingExtractor(np.arange(600, dtype=np.uint16).reshape(1, 20, 30))
    draw("two", [panel_of(one, {"channel": name}) for name in ("green", "red")], tmp_path / "two.png")
    left, right = (axes.get_window_extent() for axes in figures[0].get_axes())
    assert left.x1 < right.x0
    assert left.y0 == pytest.approx(right.y0)


def test_the_planes_of_a_volume_are_drawn_with_one_contrast(figures: list[Any]) -> None:
    volumes = np.zeros((4, 10, 12, 3), np.int16) + np.array([1, 2, 3], np.int16) * 100
    metadata = roi.RecordingMetadata(pixel_size=(1.0, 1.0), plane_spacing=7.5)
    roi.NumpyImagingExtractor(volumes, metadata=metadata).preview()
    planes, maximum, trace = figures[0].get_axes()
    assert [float(image.get_array().mean()) for image in planes.images] == [100, 200, 300]
    assert {image.get_clim() for image in planes.images} == {(100.0, 300.0)}
    assert float(maximum.images[0].get_array().max()) == 300
    assert trace.lines[0].get_ydata().tolist() == [200] * 4
    words = words_in(figures[0])
    assert "4 volumes of 10 x 12 pixels and 3 planes" in words
    assert all(f"plane {plane}\n{depth} µm" in words for plane, depth in enumerate(("0", "7.5", "15")))


def test_of_many_planes_twelve_that_are_spread_are_drawn(figures: list[Any]) -> None:
    volume = np.zeros((1, 4, 5, 56), np.uint8) + np.arange(56, dtype=np.uint8)
    roi.NumpyImagingExtractor(volume).preview()
    planes, maximum = figures[0].get_axes()  # and no trace of one sample
    assert [float(image.get_array()[0, 0]) for image in planes.images] == [*range(0, 56, 5)]
    assert float(maximum.images[0].get_array()[0, 0]) == 55
    assert "(12 of 56)" in words_in(figures[0])


def test_volumes_of_one_row_are_drawn_as_the_section_that_they_are(figures: list[Any]) -> None:
    sections = np.arange(2 * 1 * 6 * 5, dtype=np.float32).reshape(2, 1, 6, 5)
    roi.NumpyImagingExtractor(sections).preview()
    mean = figures[0].get_axes()[0].images[0].get_array()
    np.testing.assert_array_equal(np.asarray(mean), sections.mean(axis=0)[0].T)


def test_a_line_scan_is_drawn_as_lines_over_time(figures: list[Any]) -> None:
    lines = np.random.default_rng(0).integers(0, 99, (300, 1, 40), dtype=np.uint16)
    roi.NumpyImagingExtractor(lines, sampling_frequency=500.0).preview()
    image, trace = figures[0].get_axes()
    np.testing.assert_array_equal(np.asarray(image.images[0].get_array()), lines[:, 0])
    np.testing.assert_allclose(trace.lines[0].get_ydata(), lines.mean(axis=(1, 2)))
    from roiextractors_core.interop.quicklook import quick_look

    many = np.arange(5000, dtype=np.int32)[:, None, None] + np.zeros((1, 3), np.int32)
    look = quick_look(roi.NumpyImagingExtractor(many))
    assert look.lines is not None
    assert look.lines[:, 0].tolist() == [*range(0, 5000, 3)]


def test_pixels_without_a_value_are_left_out_and_counted(figures: list[Any]) -> None:
    data = np.random.default_rng(1).normal(100, 5, (30, 40, 50)).astype(np.float32)
    data[:, :4] = np.nan
    data[3, 20, 20] = np.inf
    roi.NumpyImagingExtractor(data, sampling_frequency=10.0).preview()
    mean, _, trace = figures[0].get_axes()
    finite = np.where(np.isfinite(data), data, np.nan).astype(np.float64)
    np.testing.assert_allclose(trace.lines[0].get_ydata(), np.nanmean(finite, axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(
        np.ma.getdata(mean.images[0].get_array())[4:], np.nanmean(finite[:, 4:], axis=0), rtol=1e-6
    )
    assert "10 % of the pixels are NaN or infinite and left out" in words_in(figures[0])


def test_a_recording_of_one_value_and_one_without_any_are_drawn_with_words(figures: list[Any]) -> None:
    roi.NumpyImagingExtractor(np.full((3, 8, 9), 7, np.uint8)).preview()
    assert "every pixel is 7" in words_in(figures[0])
    roi.NumpyImagingExtractor(np.full((3, 8, 9), np.nan, np.float32)).preview()
    assert "no pixel is finite" in words_in(figures[1])


def test_the_axis_of_times_since_1970_begins_at_the_first_sample(figures: list[Any]) -> None:
    recording = roi.NumpyImagingExtractor(np.zeros((5, 8, 9), np.uint8))
    recording.set_times(1.6e9 + np.arange(5) / 2)
    recording.preview()
    trace = figures[0].get_axes()[2]
    assert trace.lines[0].get_xdata().tolist() == [0, 0.5, 1, 1.5, 2]
    assert trace.get_xlabel() == "time (s) after 1,600,000,000.000 s, times set by you"


def test_without_matplotlib_a_preview_says_what_to_install(recording: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roiextractors_core.interop.preview.can_draw", lambda: False)
    with pytest.raises(roi.MissingDependencyError, match="pip install matplotlib"):
        recording.preview()
