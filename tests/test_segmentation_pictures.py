"""A segmentation as a Dataset of xarray, a picture, and a card in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.interop.outlines import outline

ROWS, COLUMNS, SAMPLES = 12, 20, 50


class Counting(roi.NumpySegmentationExtractor):
    """Remembers what was read."""

    reads: list[tuple[int, int, int]]

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        vars(self).setdefault("reads", []).append((start_sample, end_sample, len(roi_indices)))
        return super().get_trace(name, start_sample, end_sample, roi_indices)


def made(kind: type = roi.NumpySegmentationExtractor, **changes: Any) -> Any:
    rng = np.random.default_rng(3)
    masks = roi.RoiMasks.from_pixels((ROWS, COLUMNS), [([1, 1, 2], [3, 4, 4]), ([8], [15]), ([5, 5], [0, 1])])
    return kind(
        masks,
        {"raw": rng.random((SAMPLES, 3)).astype(np.float32)},
        **{
            "roi_ids": ["a", "b", "c"],
            "sampling_frequency": 25.0,
            "images": {"mean": rng.random((ROWS, COLUMNS))},
            "properties": {"iscell": np.array([True, False, True])},
            "background": roi.Background(("bg",), None, {"background": np.ones((SAMPLES, 1))}),
            **changes,
        },
    )


# xarray


def test_a_dataset_has_traces_by_time_and_roi() -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    rois = made(Counting)
    data = rois.to_xarray()
    assert data.raw.dims == ("time", "roi")
    assert data.roi.values.tolist() == ["a", "b", "c"]
    assert data.iscell.values.tolist() == [True, False, True]
    np.testing.assert_allclose(data.time.values, np.arange(SAMPLES) / 25)
    np.testing.assert_allclose(data.roi_y.values, rois.get_roi_masks().centers()[:, 0])
    assert data.image_mean.dims == ("y", "x")
    assert data.background_trace.dims == ("time", "background")
    assert data.attrs["sampling_frequency"] == 25.0


def test_a_dataset_reads_what_is_used() -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    rois = made(Counting)
    data, whole = rois.to_xarray(), rois.get_traces()
    rois.reads.clear()
    np.testing.assert_array_equal(data.raw.sel(roi="b").isel(time=slice(4, 9)).values, whole[4:9, 1])
    assert rois.reads == [(4, 9, 1)]
    np.testing.assert_array_equal(data.raw.isel(time=[7, 3, 3], roi=[2, 0]).values, whole[[7, 3, 3]][:, [2, 0]])
    np.testing.assert_array_equal(data.raw.isel(time=5).values, whole[5])
    np.testing.assert_array_equal(data.raw.isel(time=5, roi=1).values, whole[5, 1])
    assert data.raw.isel(time=slice(0, 0)).values.shape == (0, 3)
    np.testing.assert_array_equal(data.raw.values, whole)


def test_a_dataset_of_a_view_and_of_nothing() -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    rois = made()
    view = rois.select_rois(["c", "a"]).slice_samples(10, 20)
    data = view.to_xarray()
    np.testing.assert_array_equal(data.raw.values, rois.get_traces(["c", "a"], 10, 20))
    assert data.time.values[0] == 0.4
    empty = roi.NumpySegmentationExtractor(roi.RoiMasks((4, 5), [0], []))
    assert dict(empty.to_xarray().sizes) == {"roi": 0}


# The picture


def test_outlines_are_the_edges_of_pixels() -> None:
    one = outline(np.array([4]), np.array([7]))
    ends = {tuple(sorted(map(tuple, edge.tolist()))) for edge in one}
    assert ends == {
        ((6.5, 3.5), (7.5, 3.5)),
        ((6.5, 4.5), (7.5, 4.5)),
        ((6.5, 3.5), (6.5, 4.5)),
        ((7.5, 3.5), (7.5, 4.5)),
    }
    assert len(outline(np.array([0, 0, 1]), np.array([0, 1, 1]))) == 8
    assert outline(np.array([], int), np.array([], int)).shape == (0, 2, 2)


def test_a_picture_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    rois = made()
    drawn = rois.preview(tmp_path / "rois.png")
    assert (tmp_path / "rois.png").read_bytes() == drawn.png
    assert drawn.png.startswith(b"\x89PNG")
    for other in (
        rois.select_rois(["b"]),
        made(images={}),
        made(sampling_frequency=None),
        roi.NumpySegmentationExtractor(roi.RoiMasks((4, 5), [0], [])),
        roi.NumpySegmentationExtractor(roi.RoiMasks((4, 5), [0, 0], [])),
    ):
        assert other.preview().png != drawn.png
    volume = roi.NumpySegmentationExtractor(np.ones((6, 7, 3, 2), np.float32), np.zeros((9, 2)))
    assert volume.preview().png.startswith(b"\x89PNG")
    with pytest.raises(roi.RangeError, match="there is no image 'maximum'; available: 'mean'"):
        rois.preview(image="maximum")
    with pytest.raises(roi.RangeError, match="there is no trace 'dff'"):
        rois.preview(trace="dff")
    with pytest.raises(roi.SourceKindError, match=r"must end in \.png"):
        rois.preview(tmp_path / "rois.jpg")


def test_the_captions_of_a_picture_say_how_many_rois_the_rate_and_the_origin_of_the_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    words: list[str] = []
    save = Figure.savefig

    def read(figure: Any, *arguments: Any, **options: Any) -> None:
        words.extend(text.get_text() for text in figure.findobj(Text))
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", read)
    made(images={"summary_image": np.ones((ROWS, COLUMNS))}).preview()
    for caption in (
        "3 ROIs, 50 samples, rate 25 Hz",
        "3 ROIs over the summary image",  # and not "image image"
        "raw: 3 of 3 ROIs, each scaled to its own range",
        "time (s), times from the rate",
    ):
        assert caption in words


def test_a_picture_without_masks_shows_traces() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")

    class Events(roi.NumpySegmentationExtractor):
        has_masks = False

    assert made(Events).preview().png.startswith(b"\x89PNG")


def test_the_card_of_a_notebook() -> None:
    card = made()._repr_html_()
    for words in ("ROIs", ">3<", "in frames of 12 x 20", "raw; 50 samples", "1 component", "iscell", "25 Hz"):
        assert words in card
    closed = made()
    closed.close()
    assert "closed" in closed._repr_html_()
