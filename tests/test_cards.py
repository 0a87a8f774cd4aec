"""What notebooks show: compact tables that are safe whatever a file contains."""

from __future__ import annotations

import base64
import io
import os
import re
import threading
from collections.abc import Callable
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
SAFE_TAGS = {"div", "table", "tr", "td", "th", "details", "summary", "img", "svg", "polyline"}


class Reader(HTMLParser):
    """Collects the tags, their attributes and the text, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "img" and tag != "polyline":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def read(value: Any) -> Reader:
    """Read what a notebook shows, and check that nothing in it can run or load anything."""
    shown = Reader(value._repr_html_())
    assert not shown.open
    assert set(shown.tags) <= SAFE_TAGS
    for name, attribute in shown.attributes:
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert attribute.startswith("data:image/png;base64,")
    return shown


def metadata(text: str = "scope") -> roi.RecordingMetadata:
    return roi.RecordingMetadata(
        start_time=datetime(2026, 3, 4, 5, 6, 7),
        pixel_size=(0.5, 0.7),
        plane_spacing=12.5,
        plane_positions=(0.0, 12.5, 25.0),
        channels=(roi.ChannelMetadata(text, 510.123456, 920.0, laser_lines=(488.0, 561.0)),),
        objective=roi.ObjectiveMetadata("Plan", 16.0, 0.8),
        device=text,
        vendor={text: {"power": 12.25, text: [1, 2]}, "numbers": list(range(100_000))},
    )


def recording(text: str = "scope", **options: Any) -> roi.NumpyImagingExtractor:
    data = np.random.default_rng(0).integers(0, 500, (30, 40, 50), dtype=np.uint16)
    return roi.NumpyImagingExtractor(data, metadata=metadata(text), **options)


def test_metadata_is_a_table_with_units_and_the_files_own_header_is_folded() -> None:
    shown = read(metadata())
    for words in (
        "2026-03-04 05:06:07",
        "0.5 x 0.7 µm",
        "12.5 µm",
        "3 planes from 0 to 25 µm",
        "scope (emission 510.12 nm, excitation 920 nm, laser lines 488 and 561 nm)",
        "Plan (16x, NA 0.8)",
        "the file's own header (3 values)",
        "scope.power",
    ):
        assert words in shown.text
    assert "details" in shown.tags
    assert len(shown.text) < 2000  # a list of a hundred thousand numbers is shortened


def test_empty_metadata_and_deep_or_large_headers_are_short() -> None:
    assert "no metadata" in read(roi.RecordingMetadata()).text
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    assert len(metadata().replaced(vendor=deep)._repr_html_()) < 5000
    wide = read(metadata().replaced(vendor={str(k): k for k in range(5000)}))
    assert wide.tags.count("tr") < 400
    assert "and 4,700 more" in wide.text


@pytest.mark.skipif(os.name == "nt", reason="Windows permits no file of this name")
@pytest.mark.parametrize(
    "make",
    [
        lambda path: metadata(EVIL),
        lambda path: recording(EVIL),
        lambda path: roi.explain(path),
        lambda path: roi.Provenance(format=EVIL, paths=(EVIL,), options={EVIL: EVIL}, notes=(EVIL,)),
        lambda path: type(roi.streams(path))({EVIL: (EVIL,)}),
    ],
)
def test_text_from_a_file_is_shown_and_never_executed(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / EVIL.replace("/", "_")
    with path.open("wb") as stream:
        np.save(stream, np.zeros((3, 4, 5)))
    shown = read(make(path))
    assert "<script>alert(1)" in shown.text  # as text


def test_an_explanation_says_what_opens_a_path_and_folds_what_does_not(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((3, 4, 5)))
    shown = read(roi.explain(tmp_path / "movie.npy"))
    assert re.search(r"opens as\s+npy\s+roiextractors-core", shown.text)
    assert shown.text.index("opens as") < shown.text.index("did not match")
    (tmp_path / "letter.txt").write_text("Dear reader")
    assert "no format can be chosen" in read(roi.explain(tmp_path / "letter.txt")).text


def test_formats_plugins_and_streams_are_tables_and_what_they_were(tmp_path: Path) -> None:
    formats, plugins = roi.formats(), roi.plugins()
    assert isinstance(formats, tuple)
    assert isinstance(plugins, tuple)
    assert formats == roi.default_registry().formats()
    shown = read(formats)
    assert shown.tags.count("tr") == len(formats) + 1
    assert all(spec.name in shown.text for spec in formats)
    assert "roiextractors-core" in read(plugins).text
    np.save(tmp_path / "movie.npy", np.zeros((3, 4, 5)))
    streams = roi.streams(tmp_path / "movie.npy")
    assert streams == {}
    assert "nothing to choose" in read(streams).text


def test_projections_are_small_pictures_and_a_curve_without_walls_of_numbers() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: it comes with matplotlib")
    result = roi.projections(recording(sampling_frequency=10.0))
    assert repr(result) == "<Projections: 30 samples of 40 x 50 pixels>"
    shown = read(result)
    assert len(shown.text) < 600
    pictures = [value for name, value in shown.attributes if name == "src"]
    assert len(pictures) == 4
    grey = np.asarray(image.open(io.BytesIO(base64.b64decode(pictures[0].partition(",")[2]))))
    assert grey.shape == (40, 50)
    low, high = np.percentile(result.mean, (1, 99.7))
    expected = np.clip((result.mean - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(grey, expected, atol=1)
    (points,) = [value for name, value in shown.attributes if name == "points"]
    assert len(points.split()) == 30


def test_projections_of_part_of_volumes_with_nan_are_shown_too() -> None:
    data = np.random.default_rng(0).normal(size=(7, 300, 20, 3)).astype(np.float32)
    data[:, :5] = np.nan
    result = roi.projections(roi.NumpyImagingExtractor(data), only=["maximum", "mean"])
    shown = read(result)
    assert "maximum over planes" in shown.text
    assert f"{7 * 5 * 20 * 3:,} values left out (NaN or infinite)" in shown.text
    assert len([1 for name, _ in shown.attributes if name == "src"]) == 2
    constant = roi.projections(roi.NumpyImagingExtractor(np.full((2, 4, 4), np.nan)))
    assert "no finite values" in read(constant).text


def test_cards_of_a_recording_are_made_in_any_thread() -> None:
    texts: list[str] = []
    one = recording()
    threads = [threading.Thread(target=lambda: texts.append(one._repr_html_())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(texts)) == 1
