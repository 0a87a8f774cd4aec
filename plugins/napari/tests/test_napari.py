"""Recordings as layers: by the plugin's own function, by npe2's reader API, and in a real window that is not shown."""

from __future__ import annotations

import json
import os
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importlib_metadata import EntryPoint
from roiextractors_napari.layers import image_layer, labels_layer, layers_of, open_as_layers
from roiextractors_scanimage.testing import write_scanimage

import roiextractors_core as roi
from roiextractors_core.cli.commands import find_commands

pytest.importorskip("dask.array", reason="dask is not installed: roiextractors-core[dask]")


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    np.save(tmp_path / "movie.npy", np.random.default_rng(0).integers(0, 99, (12, 8, 9), dtype=np.uint16))
    return tmp_path / "movie.npy"


def channel(seed: int) -> roi.NumpyImagingExtractor:
    data = np.random.default_rng(seed).integers(0, 500, (6, 16, 16, 3), dtype=np.int16)
    return roi.NumpyImagingExtractor(data, sampling_frequency=5.0)


@pytest.fixture
def two_channels(tmp_path: Path) -> Path:
    pytest.importorskip("roiextractors_scanimage", reason="roiextractors-scanimage is not installed")
    write_scanimage([channel(1), channel(2)], tmp_path / "two.tif", pixel_size=0.5, plane_spacing=10.0)
    return tmp_path / "two.tif"


def test_a_recording_is_one_lazy_layer(movie: Path) -> None:
    data, options, kind = layers_of(str(movie), sampling_frequency=4.0)[0]
    assert kind == "image"
    assert type(data).__module__.startswith("dask")
    np.testing.assert_array_equal(data.compute(), np.load(movie))
    assert options["name"] == "movie.npy"
    assert options["scale"] == (0.25, 1.0, 1.0)
    assert options["units"] == ("second", "pixel", "pixel")
    json.dumps(options["metadata"])


def test_each_channel_of_volumes_is_a_layer_with_planes_before_rows(two_channels: Path) -> None:
    layers = layers_of(str(two_channels))
    assert [options["name"] for _, options, _ in layers] == ["two.tif Channel 1", "two.tif Channel 2"]
    for seed, (data, options, _) in enumerate(layers, 1):
        np.testing.assert_array_equal(data.compute(), np.moveaxis(channel(seed).get_series(), 3, 1))
        assert options["axis_labels"] == ("t", "z", "y", "x")
        assert options["scale"][1:] == pytest.approx((10.0, 0.5, 0.5))
    assert {options["blending"] for _, options, _ in layers} == {"additive"}


def test_contrast_is_by_percentiles_of_a_few_samples_without_nan(movie: Path) -> None:
    low, high = image_layer(roi.open(movie))[1]["contrast_limits"]
    some = np.load(movie)[[0, 2, 3, 5, 6, 8, 9, 11]]  # the middles of eight equal parts of twelve samples
    assert (low, high) == pytest.approx(tuple(np.percentile(some, (1, 99.7))))
    data = np.linspace(-3, 5, 40 * 600).reshape(40, 20, 30).astype(np.float32)
    data[:, :2] = np.nan
    data[7] = np.inf
    low, high = image_layer(roi.NumpyImagingExtractor(data))[1]["contrast_limits"]
    assert -3 <= low < high <= 5
    assert "contrast_limits" not in image_layer(roi.NumpyImagingExtractor(data * np.nan))[1]
    flat = roi.NumpyImagingExtractor(np.full((3, 4, 5), 7, np.uint8))
    assert image_layer(flat)[1]["contrast_limits"] == (7.0, 8.0)


def test_the_axis_of_time_is_in_seconds_from_the_first_sample() -> None:
    data = np.zeros((4, 8, 3), np.uint8)
    options = image_layer(roi.NumpyImagingExtractor(data, times=np.array([0.5, 0.75, 1.0, 9.0])))[1]
    assert (options["scale"][0], options["translate"]) == (0.25, (0.5, 0.0, 0.0))
    assert options["units"][0] == "second"
    assert options["rgb"] is False  # though it has three columns
    options = image_layer(roi.NumpyImagingExtractor(data, times=1.6e9 + np.arange(4)))[1]
    assert options["translate"][0] == 0


def test_planes_are_spaced_by_their_positions_where_only_these_are_known() -> None:
    metadata = roi.RecordingMetadata(pixel_size=(0.5, 0.7), plane_positions=(30.0, 20.0, 10.0))
    options = image_layer(roi.NumpyImagingExtractor(np.zeros((2, 4, 5, 3), np.uint8), metadata=metadata))[1]
    assert options["scale"][1:] == (10.0, 0.5, 0.7)
    assert options["units"][1:] == ("micrometer",) * 3


def test_complex_pixels_are_shown_by_their_magnitude() -> None:
    data, options, _ = image_layer(roi.NumpyImagingExtractor(np.full((2, 4, 5), 3 + 4j)))
    assert data.compute().max() == 5
    assert options["contrast_limits"] == (5.0, 6.0)


def some_rois(planes: int = 1) -> roi.NumpySegmentationExtractor:
    shape = (8, 9) if planes == 1 else (8, 9, planes)
    third = [] if planes == 1 else [[1, 1]]
    masks = roi.RoiMasks.from_pixels(
        shape, [([1, 1], [3, 4], *third, [1.0, 1.0]), ([1, 2], [4, 4], *third, [2.0, 1.0])]
    )
    rois = roi.NumpySegmentationExtractor(
        masks,
        {"raw": np.zeros((12, 2))},
        roi_ids=["a", "b"],
        images={"mean": np.ones(shape)},
        properties={"snr": np.array([1.5, 2.5]), "colour": np.zeros((2, 3))},
    )
    return rois


def test_rois_are_labels_with_features() -> None:
    data, options, kind = labels_layer(some_rois(), name="plane0")
    assert kind == "labels"
    assert (data[1, 3], data[1, 4], data[2, 4], data[0, 0]) == (1, 2, 2, 0)  # the overlap is of the greater weight
    assert options["name"].endswith("plane0 ROIs")
    assert options["features"]["index"] == [1, 2]
    assert options["features"]["id"] == ["a", "b"]
    assert options["features"]["snr"].tolist() == [1.5, 2.5]
    assert "colour" not in options["features"]
    json.dumps(options["metadata"])
    assert labels_layer(some_rois(3))[0].shape == (3, 8, 9)


class Both(roi.NpyImagingExtractor):
    """A movie."""


class Rois(roi.SegmentationExtractor):
    """ROIs in the same file."""

    def __init__(self, file_path: Any, *, error: str = "", sampling_frequency: float | None = None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        if "none" in Path(file_path).name:
            raise roi.UnsupportedRecordingError("no ROIs in it")
        self._rois = some_rois()

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, "__dict__").get("_rois")
        forwarded = name.startswith("get_") and name not in ("get_notes", "get_paths") and own is not None
        return getattr(own, name) if forwarded else object.__getattribute__(self, name)


Rois.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


def test_a_movie_and_its_rois_are_layers(tmp_path: Path, movie: Path) -> None:
    roi.register(Both, name="both", extensions=(".both",))
    roi.register(Rois, name="both-segmentation", extensions=(".both", ".rois"))
    try:
        path = movie.rename(tmp_path / "a.both")
        layers = layers_of(str(path))
        assert [kind for _, _, kind in layers] == ["image", "labels"]
        assert [kind for _, _, kind in layers_of(str(path), kind="imaging")] == ["image"]
        (tmp_path / "b.rois").write_bytes(b"x")
        image, labels = layers_of(str(tmp_path / "b.rois"))  # no movie: the mean image is below the labels
        assert (image[1]["name"], image[2], labels[2]) == ("b.rois mean", "image", "labels")
        assert image[1]["scale"] == labels[1]["scale"]
        reader = open_as_layers(str(tmp_path / "b.rois"))
        assert reader is not None
        assert [kind for _, _, kind in reader(str(tmp_path / "b.rois"))] == ["image", "labels"]
        none = path.rename(tmp_path / "none.both")
        assert [kind for _, _, kind in layers_of(str(none))] == ["image"]
    finally:
        for name in ("both", "both-segmentation"):
            roi.default_registry().unregister(name)


def test_what_no_format_recognises_is_left_to_others(tmp_path: Path, movie: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear reader\n")
    assert open_as_layers(str(tmp_path / "letter.txt")) is None
    assert open_as_layers(str(tmp_path / "nowhere.tif")) is None
    assert open_as_layers(str(movie)) is not None


@pytest.mark.filterwarnings("default", "error::roiextractors_core.errors.RoiExtractorsWarning")
def test_the_manifest_is_valid_and_npe2_reads_through_it(movie: Path) -> None:
    npe2 = pytest.importorskip("npe2", reason="npe2 is not installed: the extra [test]")
    manifest = npe2.PluginManifest.from_distribution("roiextractors-napari")
    manifest.validate_imports()
    npe2.PluginManager.instance().discover()
    layers, used = npe2.read_get_reader([str(movie)], plugin_name="roiextractors-napari", stack=False)
    assert used.command == "roiextractors-napari.open"
    np.testing.assert_array_equal(np.asarray(layers[0][0]), np.load(movie))


@pytest.mark.filterwarnings("default", "error::roiextractors_core.errors.RoiExtractorsWarning")
def test_a_window_of_napari_shows_the_channels(two_channels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("napari", reason="napari is not installed: the extra [test]")
    has_screen = bool(os.environ.get("DISPLAY"))  # under Xvfb, for example: without a screen there is no OpenGL
    if not has_screen:
        monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    import napari

    viewer = napari.Viewer(show=False)
    try:
        viewer.open(str(two_channels), plugin="roiextractors-napari")
        assert [layer.name for layer in viewer.layers] == ["two.tif Channel 1", "two.tif Channel 2"]
        assert viewer.dims.ndim == 4
        from roiextractors_napari.window import overlays_of, show

        assert all(overlay.visible for overlay in overlays_of(viewer))
        viewer.dims.set_current_step(0, 5)
        shown = np.asarray(viewer.layers[0].data[5, 0])
        np.testing.assert_array_equal(shown, channel(1).get_series()[5, :, :, 0])
        other = show(str(two_channels), block=False)
        assert [layer.colormap.name for layer in other.layers] == ["green", "magenta"]
        scale_bar, text = overlays_of(other)
        assert scale_bar.visible
        times = roi.open(two_channels, channel="Channel 1").get_timestamps()
        for step in (0, 3, 5):
            other.dims.set_current_step(0, step)
            assert text.text == f"{times[step]:,.3f} s"
        other.close()
        if has_screen:
            assert viewer.screenshot(canvas_only=False, flash=False)[..., :3].std() > 1
    finally:
        viewer.close()


def test_the_command_is_declared_and_opens_the_window(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["entry-points"]["roiextractors_core.commands"]
    point = EntryPoint("view", declared["view"], "roiextractors_core.commands")
    ((command,), notes) = find_commands(("info",), [point])
    assert (command.name, notes) == ("view", ())
    shown: list[tuple[str, dict[str, Any]]] = []
    window = types.ModuleType("roiextractors_napari.window")
    window.show = lambda path, **options: shown.append((path, options))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "roiextractors_napari.window", window)
    command.load().main([str(movie), "--option", "sampling_frequency=4"], standalone_mode=False)
    assert shown == [(str(movie), {"format": None, "sampling_frequency": 4})]


def test_without_napari_the_command_names_what_to_install(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roiextractors_napari.command import view

    monkeypatch.setitem(sys.modules, "napari", None)
    monkeypatch.delitem(sys.modules, "roiextractors_napari.window", raising=False)
    with pytest.raises(roi.MissingDependencyError, match="python -m pip install"):
        view(str(movie))
