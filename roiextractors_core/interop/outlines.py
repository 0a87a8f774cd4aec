"""The picture of a segmentation: the outlines of its ROIs over an image, numbered, and a few traces."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cards import TIMES
from ..errors import RangeError, counted, listed, printable
from ..io.contrast import percentiles_of

__all__ = ["draw_segmentation", "outline", "sizes_of"]

# The palette of Okabe and Ito without black and grey, which people with any colour vision can tell apart
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
MAX_NUMBERED = 150  # more numbers than this cover the picture
MAX_TRACES = 8
MAX_POINTS = 4_000  # of one trace; a line of more pixels than the picture has shows nothing more
_PREFERRED_IMAGES = ("mean", "correlation", "maximum_projection")
_PREFERRED_TRACES = ("dff", "denoised", "raw")


def sizes_of(rois: Any) -> tuple[float, float, float]:
    """Return, in inches, the width of the picture, and the heights of its outlines and its traces: 0 for what it lacks."""
    count = min(rois.get_num_rois(), MAX_TRACES) if rois.get_num_samples() and rois.get_trace_names() else 0
    if count and not rois.has_masks:
        return 9.0, 0.0, 0.8 + 0.3 * count
    rows, columns = (max(1, length) for length in rois.get_frame_shape()[:2])
    height = min(max(8.6 * rows / columns, 1.5), 7.0)
    width = min(max(height * columns / rows + 0.5, 6.0), 9.0)
    return width, height + 0.3, 0.8 + 0.3 * count if count else 0.0


def draw_segmentation(figure: Any, rois: Any, *, image: str | None = None, trace: str | None = None) -> None:
    """Draw the outlines, and below them the traces of up to eight ROIs that are evenly spread over all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    rois : SegmentationExtractor
    image, trace : str, optional
        Names of the image to draw on and of the traces.
    """
    numbers = np.arange(rois.get_num_rois())
    name = _chosen(trace, rois.get_trace_names(), _PREFERRED_TRACES, "trace") if rois.get_num_samples() else None
    ids = rois.get_roi_ids()
    shown = numbers[np.unique(np.linspace(0, len(numbers) - 1, MAX_TRACES).round().astype(int))] if ids else numbers
    _, *heights = sizes_of(rois)
    if name is None or not ids:
        _draw_outlines(figure.subplots(), rois, image)
    elif not rois.has_masks:
        _draw_traces(figure.subplots(), rois, name, shown)
    else:
        axes = figure.subplot_mosaic([["outlines"], ["traces"]], height_ratios=heights)
        _draw_outlines(axes["outlines"], rois, image)
        _draw_traces(axes["traces"], rois, name, shown)


def outline(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the edges between the pixels of an ROI and their neighbours outside of it.

    Parameters
    ----------
    rows, columns : numpy.ndarray
        The pixels.

    Returns
    -------
    numpy.ndarray
        ``(edges, 2, 2)``: the two ends of each edge as ``(x, y)``, in pixels, whose centres are whole numbers.
    """
    if rows.size == 0:
        return np.empty((0, 2, 2))
    top, left = int(rows.min()), int(columns.min())
    inside = np.zeros((int(rows.max()) - top + 3, int(columns.max()) - left + 3), bool)
    inside[rows - top + 1, columns - left + 1] = True
    below = np.argwhere(inside[1:] != inside[:-1])  # an edge along a row, between this row and the next
    beside = np.argwhere(inside[:, 1:] != inside[:, :-1])
    y, x = below[:, 0] + top - 0.5, below[:, 1] + left - 1.5
    along_rows = np.stack([np.stack([x, y], 1), np.stack([x + 1, y], 1)], axis=1)
    y, x = beside[:, 0] + top - 1.5, beside[:, 1] + left - 0.5
    along_columns = np.stack([np.stack([x, y], 1), np.stack([x, y + 1], 1)], axis=1)
    return np.concatenate([along_rows, along_columns])


def _draw_outlines(axes: Any, rois: Any, image: str | None) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    name = _chosen(image, rois.get_image_names(), _PREFERRED_IMAGES, "image")
    shape = rois.get_frame_shape()
    background = np.zeros(shape) if name is None else np.asarray(rois.get_image(name), np.float64)
    if background.ndim == 3:
        background = background.max(axis=2)
    low, high = percentiles_of(background) or (0.0, 1.0)
    axes.imshow(background, cmap="gray", vmin=low, vmax=high if high > low else low + 1, interpolation="nearest")
    masks, numbered = rois.get_roi_masks(), rois.get_num_rois() <= MAX_NUMBERED
    edge = [withStroke(linewidth=2, foreground="black")]
    for number, (roi_id, centre) in enumerate(zip(rois.get_roi_ids(), masks.centers(), strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        rows, columns = masks.coordinates(number)[:2]
        # A dark line below the coloured one, so that each is seen on light and on dark parts of the image
        lines: Any = outline(rows, columns)
        axes.add_collection(LineCollection(lines, colors="black", linewidths=2.0, alpha=0.55))
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.1))
        if numbered and rows.size:
            words = {"color": colour, "fontsize": 7.5, "ha": "center", "va": "center", "path_effects": edge}
            axes.text(centre[1], centre[0], printable(roi_id)[:12], parse_math=False, **words)
    shown = "" if name is None else printable(name.replace("_", " "))
    over = f" over the {shown}{'' if shown.endswith('image') else ' image'}" if shown else ""
    axes.set_title(f"{counted(rois.get_num_rois(), 'ROI')}{over}", fontsize=9.5, parse_math=False)
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_traces(axes: Any, rois: Any, name: str, shown: np.ndarray) -> None:
    ids, count = rois.get_roi_ids(), rois.get_num_samples()
    has_times = rois.times_source is not None
    along = rois.get_timestamps() if has_times else np.arange(count, dtype=np.float64)
    part = slice(None, None, max(1, count // MAX_POINTS))
    traces = rois.get_traces([ids[k] for k in shown], name=name)[part].astype(np.float64)
    finite = np.where(np.isfinite(traces), traces, np.nan)
    labels = []
    for place, number in enumerate(shown):
        one = finite[:, place]
        known = one[np.isfinite(one)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        scaled = (one - low) / (high - low or 1.0) * 0.9
        axes.plot(along[part], scaled - place, color=COLOURS[number % len(COLOURS)], linewidth=0.8)
        labels.append(printable(ids[number])[:12])
    axes.set_yticks([0.45 - place for place in range(len(shown))], labels)
    words = f"time (s), times {TIMES[rois.times_source]}" if has_times else "sample (the rate is unknown)"
    axes.set_xlabel(words, fontsize=9)
    title = f"{printable(name)}: {len(shown)} of {counted(len(ids), 'ROI')}, each scaled to its own range"
    axes.set_title(title, fontsize=9.5, parse_math=False)
    axes.margins(x=0.01)
    axes.set_facecolor("#22262b")  # the light colours of the outlines are invisible on white
    axes.spines[["top", "right"]].set_visible(False)


def _chosen(asked: str | None, names: tuple[str, ...], preferred: tuple[str, ...], word: str) -> str | None:
    if asked is not None:
        if asked not in names:
            raise RangeError(f"there is no {word} {asked!r}; available: {listed(names, limit=40) or 'none'}")
        return asked
    return next((name for name in (*preferred, *names) if name in names), None)
