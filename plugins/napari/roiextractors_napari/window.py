"""Shows recordings in a window of napari."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import napari

import roiextractors_core as roi

from .layers import LayerData, each_layer

__all__ = ["show", "show_time_and_scale"]


def show(path: str, *, block: bool = True, **options: Any) -> Any:
    """Open a window with every channel of a recording as a layer, and its ROIs as labels.

    Parameters
    ----------
    path : str
    block : bool
        Whether to return only when the window was closed.
    **options
        As ``roiextractors_core.open`` takes them.

    Returns
    -------
    napari.Viewer
    """
    opened = each_layer(path, **options)
    viewer = napari.Viewer(title=str(opened[0][0][1]["name"]))
    for (data, words, kind), _ in opened:
        getattr(viewer, f"add_{kind}")(data, **words)
    show_time_and_scale(viewer, opened)
    if block:
        napari.run()
    return viewer


def show_time_and_scale(viewer: Any, opened: Sequence[tuple[LayerData, roi.Extractor]]) -> None:
    """Show a scale bar if a pixel size is known, and the time of the displayed sample of the first movie that has times.

    Parameters
    ----------
    viewer : napari.Viewer
        If it shows a text in its corner already, this stays.
    opened : sequence of (tuple, Extractor)
        The layers, with what they show.
    """
    scale_bar, text = overlays_of(viewer)
    if any(recording.metadata.pixel_size for _, recording in opened):
        scale_bar.visible = True
    movies = [
        (layer, r) for layer, r in opened if isinstance(r, roi.ImagingExtractor) and r.times_source and len(r) > 1
    ]
    if not movies or text.visible:
        return
    (_, words, _), movie = movies[0]

    def update(_: Any = None) -> None:
        # Through the coordinates of the window: its steps are finer where another layer has more samples
        axis = viewer.dims.ndim - len(words["scale"])
        if axis >= 0:
            text.text = time_in_words(movie, words, viewer.dims.point[axis])

    text.visible = True
    text.position = "top_left"
    viewer.dims.events.point.connect(update)
    update()


def overlays_of(viewer: Any) -> tuple[Any, Any]:
    """Return the scale bar and the text of a window, which are elsewhere since napari 0.9."""
    overlays = getattr(getattr(viewer, "canvas", None), "overlays", None)
    if overlays is None:
        return viewer.scale_bar, viewer.text_overlay
    return overlays.scale_bar, overlays.text


def time_in_words(movie: roi.ImagingExtractor, words: dict[str, Any], place: float) -> str:
    """Return the time of the sample at a place on the axis of time, as the recording has it; empty outside of it.

    Parameters
    ----------
    movie : ImagingExtractor
    words : dict
        The options of its layer.
    place : float
        In seconds, on the even steps of napari.
    """
    index = round((place - words["translate"][0]) / words["scale"][0])
    if not 0 <= index < len(movie):
        return ""
    try:
        return f"{movie.get_timestamps(index, index + 1)[0]:,.3f} s"
    except roi.RoiExtractorsError:  # it was closed; a window must not fail for its caption
        return ""
