"""Turns recordings into napari layers: one a channel, lazy, with scale, name and units; and segmentations into labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import roiextractors_core as roi
from roiextractors_core.errors import (
    RoiExtractorsError,
    StreamChoiceError,
    UnknownOptionError,
    UnsupportedRecordingError,
)
from roiextractors_core.io import contrast_limits

__all__ = ["each_layer", "image_layer", "labels_layer", "layers_of", "open_as_layers"]

LayerData = tuple[Any, dict[str, Any], str]
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_MIN_EPOCH = 1e6  # seconds
_COLORMAPS = ("green", "magenta", "cyan", "yellow", "red", "blue")


def open_as_layers(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the function that turns this path into layers, or None if no format recognises it; napari's manifest names this.

    Parameters
    ----------
    path : str, os.PathLike or a sequence of them
    """
    try:
        # napari may ask about any dropped file, so this neither opens it nor raises
        recognised = roi.explain(path).best is not None
    except (RoiExtractorsError, OSError):
        return None
    return _read if recognised else None


def layers_of(path: Paths, **options: Any) -> list[LayerData]:
    """Open every channel of a recording as a layer, and every segmentation as labels above them.

    Parameters
    ----------
    path : str, os.PathLike or a sequence of them
    **options
        As ``roiextractors_core.open`` takes them; ``kind="imaging"`` or ``kind="segmentation"`` leaves the other out.

    Returns
    -------
    list of tuple
        ``(data, options, "image")``, where data is a dask array ``(t, y, x)`` or ``(t, z, y, x)``; and
        ``(labels, options, "labels")``.
    """
    return [layer for layer, _ in each_layer(path, **options)]


def each_layer(path: Paths, **options: Any) -> list[tuple[LayerData, roi.Extractor]]:
    """Like :func:`layers_of`, with the recording or segmentation that each layer shows."""
    layers: list[tuple[LayerData, roi.Extractor]] = []
    for kind in (options.pop("kind"),) if options.get("kind") else _kinds_in(path, options.get("format")):
        try:
            if kind == "imaging":
                layers += _image_layers(path, options)
            else:
                for chosen, rois in _every_channel(path, {**options, "kind": kind}):
                    name = " ".join(chosen.values())
                    layers += [(layer, rois) for layer in _roi_layers(rois, name, has_movie=bool(layers))]
        except RoiExtractorsError as error:
            # A file of a general format often has nothing of the other kind
            lacks_it = any(
                isinstance(e, UnsupportedRecordingError | UnknownOptionError) for e in (error, error.__cause__)
            )
            if not layers or not lacks_it:
                raise
    return layers


def _read(path: Paths) -> list[LayerData]:
    """Return the layers for the window that asks for them, which gets a scale bar and the time of the sample too."""
    opened = each_layer(path)
    napari = sys.modules.get("napari")  # not imported: npe2 reads without a window too
    viewer = None if napari is None else napari.current_viewer()
    if viewer is not None:
        from .window import show_time_and_scale

        show_time_and_scale(viewer, opened)
    return [layer for layer, _ in opened]


def _kinds_in(path: Paths, format: str | None) -> tuple[str, ...]:
    if format is not None:
        return tuple(spec.kind for spec in roi.formats() if spec.name == format) or ("imaging",)
    found = roi.explain(path)
    kinds = {match.spec.kind for match in (*found.matches[:1], *found.other_kinds)}
    return tuple(sorted(kinds)) or ("imaging",)


def _image_layers(path: Paths, options: Mapping[str, Any]) -> list[tuple[LayerData, roi.Extractor]]:
    opened = list(_every_channel(path, options))
    layers: list[tuple[LayerData, roi.Extractor]] = []
    for number, (chosen, recording) in enumerate(opened):
        data, words, kind = image_layer(recording, name=" ".join(chosen.values()))
        if len(opened) > 1:
            words |= {"colormap": _COLORMAPS[number % len(_COLORMAPS)], "blending": "additive"}
        layers.append(((data, words, kind), recording))
    return layers


def _roi_layers(rois: roi.SegmentationExtractor, name: str, *, has_movie: bool) -> Iterator[LayerData]:
    """Yield the labels, and below them the first image of the segmentation if no movie is shown."""
    names = rois.get_image_names()
    if not has_movie and names:
        chosen = next((image for image in ("mean", "correlation") if image in names), names[0])
        data = rois.get_image(chosen)
        # On the same grid as the labels above it
        options = {"name": f"{_file_name(rois)} {chosen}", "rgb": False, **_grid(rois)}
        yield (data.transpose(2, 0, 1) if data.ndim == 3 else data), options, "image"
    if rois.has_masks:
        yield labels_layer(rois, name=name)


def labels_layer(rois: roi.SegmentationExtractor, *, name: str = "") -> LayerData:
    """Return the ROIs of a segmentation as labels, with their ids and properties.

    Parameters
    ----------
    rois : SegmentationExtractor
    name : str, optional
        Name of the stream; it follows the file's name.

    Returns
    -------
    tuple
        An image of labels ``(y, x)`` or ``(z, y, x)``: 0 outside, and ``k + 1`` in ROI number ``k``; where ROIs overlap, the one
        with the greater weight. The features of the layer are the ids and the properties.
    """
    labels = rois.get_roi_masks().to_labels()
    features: dict[str, Any] = {"index": [*range(1, rois.get_num_rois() + 1)], "id": rois.get_roi_ids()}
    for key in rois.get_property_keys():
        values = rois.get_property(key)
        if values.ndim == 1:  # a table has one value in each cell
            features.setdefault(key, values)
    options = {
        "name": " ".join(filter(None, (_file_name(rois), name, "ROIs"))),
        **_grid(rois),
        "features": features,
        "metadata": _layer_metadata(rois),
    }
    return (labels.transpose(2, 0, 1) if rois.is_volumetric else labels), options, "labels"


def _grid(recording: Any) -> dict[str, tuple[Any, ...]]:
    """Return the names, scale and units of the axes of an image: planes first, micrometres where they are known."""
    found = recording.metadata
    scale, units, labels = (
        [*(found.pixel_size or (1.0, 1.0))],
        ["micrometer" if found.pixel_size else "pixel"] * 2,
        ["y", "x"],
    )
    if recording.is_volumetric:
        spacing = _plane_spacing(found)
        scale.insert(0, spacing or 1.0)
        units.insert(0, "micrometer" if spacing else "pixel")
        labels.insert(0, "z")
    return {"scale": tuple(scale), "units": tuple(units), "axis_labels": tuple(labels)}


def _plane_spacing(found: roi.RecordingMetadata) -> float | None:
    """Return the distance of the planes in micrometres, by their positions if only these are known."""
    if found.plane_spacing or len(found.plane_positions) < 2:
        return found.plane_spacing
    first, last = found.plane_positions[0], found.plane_positions[-1]
    return abs(last - first) / (len(found.plane_positions) - 1) or None


def _file_name(recording: roi.Extractor) -> str:
    paths = recording.provenance.paths
    return os.path.basename(paths[0].rstrip("/\\")) if paths else type(recording).__name__


def image_layer(recording: roi.ImagingExtractor, *, name: str = "") -> LayerData:
    """Return a recording as a layer.

    Parameters
    ----------
    recording : ImagingExtractor
        It must stay open as long as the layer is shown.
    name : str, optional
        Name of the stream; it follows the file's name.

    Returns
    -------
    tuple
        A dask array with planes before rows; the scale in seconds and micrometres where these are known, else in steps of 1.
        Complex pixels are shown by their magnitude.
    """
    # Where only the times are known, napari's even steps are those of the median interval
    rate = recording.get_sampling_frequency() or recording.median_rate
    data = recording.to_dask()
    if data.dtype.kind == "c":
        data = abs(data)
    if recording.is_volumetric:
        data = data.transpose(0, 3, 1, 2)  # napari's sliders are the leading axes; recordings have planes last
    grid = _grid(recording)
    options = {
        "name": f"{_file_name(recording)} {name}".strip(),
        "scale": (1.0 / rate if rate else 1.0, *grid["scale"]),
        "translate": (_first_time(recording), *(0.0 for _ in grid["scale"])),
        "axis_labels": ("t", *grid["axis_labels"]),
        "units": ("second" if rate else "pixel", *grid["units"]),
        "rgb": False,  # three or four columns are not colours
        "metadata": _layer_metadata(recording),
        "contrast_limits": _contrast(recording),
    }
    return data, {key: value for key, value in options.items() if value is not None}, "image"


def _first_time(recording: roi.ImagingExtractor) -> float:
    """Return the time of the first sample in seconds; 0 for times since 1970 and the like, whose digits fill the slider."""
    if recording.times_source is None or not len(recording):
        return 0.0
    first = float(recording.get_timestamps(0, 1)[0])
    return first if abs(first) < _MIN_EPOCH else 0.0


def _every_channel(path: Paths, options: Mapping[str, Any]) -> Iterator[tuple[dict[str, str], Any]]:
    try:
        yield {}, roi.open(path, **options)
    except StreamChoiceError as error:
        if not error.option or error.option in options or not error.choices:
            raise
        for choice in map(str, error.choices):  # each channel may have streams of its own, which raise again
            for further, recording in _every_channel(path, {**options, error.option: choice}):
                yield {error.option: choice, **further}, recording


def _layer_metadata(recording: roi.Extractor) -> dict[str, Any]:
    """Return the metadata of a layer, which JSON can store."""
    return {
        "recording": repr(recording),
        "sampling_frequency": recording.get_sampling_frequency(),
        "times_source": recording.times_source,
        "metadata": recording.get_metadata().to_dict(),
        "provenance": recording.provenance.to_dict(),
    }


def _contrast(recording: roi.ImagingExtractor) -> tuple[float, float] | None:
    """Return limits by the percentiles of a few samples, so that napari computes none over all of them."""
    limits = contrast_limits(recording)
    if limits is None:
        return None
    low, high = limits
    return low, high if high > low else low + 1.0  # a flat image: equal limits are not a range
