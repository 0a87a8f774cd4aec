"""Shows recordings in a window of napari."""

from __future__ import annotations

from typing import Any

import napari

from .layers import layers_of

__all__ = ["show"]


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
    layers = layers_of(path, **options)
    viewer = napari.Viewer(title=str(layers[0][1]["name"]))
    for data, words, kind in layers:
        getattr(viewer, f"add_{kind}")(data, **words)
    if block:
        napari.run()
    return viewer
