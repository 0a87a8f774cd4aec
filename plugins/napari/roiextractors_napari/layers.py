"""Turns recordings into napari layers: one a channel, lazy, with scale, name and units."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import roiextractors_core as roi
from roiextractors_core.errors import RoiExtractorsError, StreamChoiceError

__all__ = ["image_layer", "layers_of", "open_as_layers"]

LayerData = tuple[Any, dict[str, Any], str]
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

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
    return layers_of if recognised else None


def layers_of(path: Paths, **options: Any) -> list[LayerData]:
    """Open every channel of a recording as a layer.

    Parameters
    ----------
    path : str, os.PathLike or a sequence of them
    **options
        As ``roiextractors_core.open`` takes them.

    Returns
    -------
    list of tuple
        ``(data, options, "image")``; data is a dask array ``(t, y, x)`` or ``(t, z, y, x)``.
    """
    opened = list(_every_channel(path, options))
    layers = []
    for number, (chosen, recording) in enumerate(opened):
        data, words, kind = image_layer(recording, name=" ".join(chosen.values()))
        if len(opened) > 1:
            words |= {"colormap": _COLORMAPS[number % len(_COLORMAPS)], "blending": "additive"}
        layers.append((data, words, kind))
    return layers


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
        A dask array with planes before rows; the scale in seconds and micrometres where both are known, else in steps of 1.
    """
    found, rate = recording.get_metadata(), recording.get_sampling_frequency()
    size = found.pixel_size or (1.0, 1.0)
    data = recording.to_dask()
    scale = [1.0 / rate if rate else 1.0, *size]
    units = ["second" if rate else "pixel", *("micrometer" if found.pixel_size else "pixel",) * 2]
    labels = ["t", "y", "x"]
    if recording.is_volumetric:
        data = data.transpose(0, 3, 1, 2)  # napari's sliders are the leading axes; recordings have planes last
        scale.insert(1, found.plane_spacing or 1.0)
        units.insert(1, "micrometer" if found.plane_spacing else "pixel")
        labels.insert(1, "z")
    paths = recording.provenance.paths
    file = os.path.basename(paths[0].rstrip("/\\")) if paths else type(recording).__name__
    options = {
        "name": f"{file} {name}".strip(),
        "scale": tuple(scale),
        "axis_labels": tuple(labels),
        "units": tuple(units),
        "metadata": _layer_metadata(recording),
        "contrast_limits": _contrast(recording),
    }
    return data, {key: value for key, value in options.items() if value is not None}, "image"


def _every_channel(path: Paths, options: Mapping[str, Any]) -> Iterator[tuple[dict[str, str], roi.ImagingExtractor]]:
    try:
        yield {}, roi.open(path, **options)
    except StreamChoiceError as error:
        if not error.option or error.option in options or not error.choices:
            raise
        for choice in map(str, error.choices):  # each channel may have streams of its own, which raise again
            for further, recording in _every_channel(path, {**options, error.option: choice}):
                yield {error.option: choice, **further}, recording


def _layer_metadata(recording: roi.ImagingExtractor) -> dict[str, Any]:
    """Return the metadata of a layer, which JSON can store."""
    return {
        "recording": repr(recording),
        "sampling_frequency": recording.get_sampling_frequency(),
        "times_source": recording.times_source,
        "metadata": recording.get_metadata().to_dict(),
        "provenance": recording.provenance.to_dict(),
    }


def _contrast(recording: roi.ImagingExtractor) -> tuple[float, float] | None:
    """Return limits by the percentiles of one sample in the middle, so that napari computes none over all of them."""
    import numpy as np

    if not recording.size or recording.dtype.kind == "c":  # complex numbers have no percentiles
        return None
    sample = recording[len(recording) // 2]
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        return None
    low, high = (float(value) for value in np.percentile(finite.astype(np.float64), (1, 99.7)))
    return low, high if high > low else low + 1.0  # a flat image: equal limits are not a range
