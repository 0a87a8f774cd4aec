"""The picture of a recording (mean, maximum, planes, mean trace; each channel is a part of it) or a segmentation."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import os
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cards import TIMES
from ..errors import MissingDependencyError, SourceKindError, counted, printable
from ..extractor import rate_in_words
from ..io.contrast import percentiles_of
from .outlines import draw_segmentation, sizes_of
from .quicklook import QuickLook, quick_look

__all__ = [
    "Panel",
    "Preview",
    "can_draw",
    "check_target",
    "draw",
    "panel_of",
    "place_for",
    "preview",
    "preview_segmentation",
]

_MARK = "roiextractors-core"
_FONT_SIZE, _TITLE_SIZE = 9, 9.5
_MAX_POINTS = 20_000  # in one path
_MAX_MARKED = 60  # samples of a trace that are drawn with dots too
_MIN_EPOCH = 1e6  # seconds; times since 1970 and the like are drawn from the first one
_BLUE, _GREY = "#1f6fb2", "#c9ced6"
_BOX = {"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 1.5}  # behind words on an image, light or dark


@dataclass(frozen=True, slots=True)
class Panel:
    """One channel's part of the picture.

    Attributes
    ----------
    title : str
        The channel, the shape, the pixels, the rate and the origin of the times, in words.
    note : str
        What was left out: samples, pixels that are not finite; often empty.
    look : QuickLook
    pixel_size : tuple of float or None
        Along rows and columns, in micrometres.
    times_source : str or None
        ``"native"``, ``"computed"`` or ``"user"``.
    depths : tuple of float
        Of the planes of ``look``, in micrometres, if they are known.
    """

    title: str
    note: str
    look: QuickLook
    pixel_size: tuple[float, float] | None
    times_source: str | None
    depths: tuple[float, ...] = ()

    @property
    def is_picture(self) -> bool:
        """Whether one image shows all there is: one sample, without planes."""
        return self.look.num_samples == 1 and not len(self.look.planes)

    @property
    def stretch(self) -> float:
        """Height of the images divided by their width, as drawn."""
        rows, columns = self.look.maximum.shape
        size = self.pixel_size or (1.0, 1.0)
        stretch = max(rows * size[0], 1e-9) / max(columns * size[1], 1e-9)
        # A line scan in true proportions would be a thread of pixels
        return stretch if 0.2 <= stretch <= 4 else 1.0

    @property
    def grid(self) -> tuple[int, int]:
        """How many planes are drawn side by side, and how many below each other."""
        count = max(1, len(self.look.planes))
        down = 1 if count <= 3 else 2 if count <= 8 or count == 10 else 3
        return -(-count // down), down

    @property
    def breadth(self) -> float:
        """Width of the first image divided by that of the second, which has the same height: of planes, the whole grid."""
        return self.grid[0] / self.grid[1]


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of a recording; notebooks display it.

    Attributes
    ----------
    png : bytes
        The picture.
    path : str or None
        The file it was written to, if any.
    """

    png: bytes
    path: str | None = None

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"<Preview: {len(self.png):,} bytes of PNG{f', written to {self.path}' if self.path else ''}>"


def preview(recording: Any, target: Any = None, **options: Any) -> Preview:
    """Draw a recording; see :meth:`ImagingExtractor.preview`.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    SourceKindError
        The target is not a place for a picture, or the recording is empty.
    """
    if not can_draw():
        raise MissingDependencyError("drawing needs matplotlib: python -m pip install matplotlib")
    if not recording.size:
        raise SourceKindError(f"cannot draw an empty recording (shape {recording.shape})")
    if target is not None:
        check_target(Path(target))
    chosen = {key: str(value) for key, value in recording.provenance.options.items() if isinstance(value, str)}
    panel = panel_of(recording, chosen, **options)
    paths = recording.provenance.paths
    name = printable(Path(paths[0]).name) if paths else type(recording).__name__
    if target is None:
        return Preview(_png(name, [panel]))
    draw(name, [panel], Path(target))
    return Preview(Path(target).read_bytes(), str(target))


def preview_segmentation(rois: Any, target: Any = None, **options: Any) -> Preview:
    """Draw a segmentation; see :meth:`SegmentationExtractor.preview`.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    SourceKindError
        The target is not a place for a picture.
    """
    if not can_draw():
        raise MissingDependencyError("drawing needs matplotlib: python -m pip install matplotlib")
    if target is not None:
        check_target(Path(target))
    paths = rois.provenance.paths
    name = printable(Path(paths[0]).name) if paths else type(rois).__name__
    words = f"{counted(rois.get_num_rois(), 'ROI')}, {counted(rois.get_num_samples(), 'sample')}, rate {rate_in_words(rois)}"

    def draw_rois(figure: Any) -> None:
        (part,) = figure.subfigures(1, 1, squeeze=False)[:, 0]
        _text(part.suptitle, words, fontsize=_TITLE_SIZE, color="#444444", x=0.012, ha="left")
        draw_segmentation(part, rois, **options)

    width, *heights = sizes_of(rois)
    content = _rendered(name, (width, sum(heights) + 0.6), draw_rois)
    if target is None:
        return Preview(content)
    _write(content, Path(target))
    return Preview(content, str(target))


def panel_of(
    recording: Any,
    chosen: Mapping[str, str],
    *,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Panel:
    """Read a recording for its row in the picture.

    Parameters
    ----------
    recording : ImagingExtractor
        With at least one sample.
    chosen : mapping
        The streams that were chosen when opening.
    progress : callable, optional
        ``progress(done, total)``.
    **options
        ``most_bytes`` and ``most_seconds`` of :func:`~roiextractors_core.interop.quicklook.quick_look`.
    """
    look = quick_look(recording, progress=progress, **options)
    names = [value if value.lower().startswith(key) else f"{key} {value}" for key, value in chosen.items()]
    words = [*names, _shape_in_words(recording), str(recording.dtype)]
    rate, source = recording.get_sampling_frequency(), recording.times_source
    if look.num_samples > 1:
        words += [
            f"rate {rate_in_words(recording)}" if rate is None else f"{rate:.5g} Hz",
            f"times {TIMES.get(source or '', 'unknown')}",
        ]
    notes = []
    if look.is_partial:
        notes.append(f"drawn from {counted(len(look.samples), 'evenly spread sample')}")
    if look.left_out:
        notes.append(f"{_percent(look.left_out)} of the pixels are NaN or infinite and left out")
    metadata = recording.metadata
    size = metadata.pixel_size
    if look.is_section:
        size = (metadata.plane_spacing, size[1]) if size and metadata.plane_spacing else None
    return Panel(
        title=printable(", ".join(words)),
        note="; ".join(notes),
        look=look,
        pixel_size=size,
        times_source=source,
        depths=_depths(metadata, look.planes, recording.get_num_planes()),
    )


def _shape_in_words(recording: Any) -> str:
    """Return the shape, such as ``3 volumes of 480 x 480 pixels and 5 planes``."""
    rows, columns, *planes = recording.get_sample_shape()
    pixels = f"{rows:,} x {columns:,} pixels"
    if not planes:
        return f"{counted(len(recording), 'frame')} of {pixels}"
    return f"{counted(len(recording), 'volume')} of {pixels} and {counted(planes[0], 'plane')}"


def _percent(share: float) -> str:
    return "less than 0.1 %" if share < 0.001 else f"{100 * share:.3g} %"


def _depths(metadata: Any, planes: np.ndarray, count: int) -> tuple[float, ...]:
    if len(metadata.plane_positions) == count:
        return tuple(metadata.plane_positions[plane] for plane in planes)
    return tuple(plane * metadata.plane_spacing for plane in planes.tolist()) if metadata.plane_spacing else ()


def can_draw() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def place_for(source: str, *, name: str = "") -> Path:
    """Return a path for the picture of a recording: in the current folder, but never inside the recording.

    If the current folder is inside the recording, or is not writable, a new temporary folder is used.
    An existing file is only overwritten if this program drew it.

    Parameters
    ----------
    source : str
        Path of the recording.
    name : str
        Name of the picture, without its suffix; by default, that of the recording.
    """
    given, here = Path(source).resolve(), Path.cwd().resolve()
    stem = name or "".join(c if c.isalnum() or c in "._-" else "_" for c in given.name)[:100] or "recording"
    folder = here
    # Inside a folder of recordings, a picture would be taken for a part of one
    if given == here or given in here.parents or not os.access(here, os.W_OK):
        folder = Path(tempfile.mkdtemp(prefix="roiextractors-"))
    for number in range(1, 10_000):
        target = folder / f"{stem}-preview{f'-{number}' if number > 1 else ''}.png"
        if not os.path.lexists(target) or _is_ours(target):
            break
    return target.relative_to(here) if folder == here else target


def check_target(target: Path) -> None:
    """Refuse a path that does not end in ``.png``, or where a file exists that is not a PNG.

    Raises
    ------
    SourceKindError
    """
    if target.suffix.lower() != ".png":
        raise SourceKindError(f"{printable(target)}: the name of a picture must end in .png")
    if os.path.lexists(target) and not _head(target).startswith(b"\x89PNG"):
        raise SourceKindError(f"{printable(target)} already exists and is not a picture; choose another name")
    if not target.parent.is_dir():
        raise SourceKindError(f"{printable(target)}: the folder {printable(target.parent)} does not exist")


def draw(name: str, panels: Sequence[Panel], target: Path) -> None:
    """Draw the channels of a recording to a file, which gets its name once it is complete.

    Parameters
    ----------
    name : str
        Name of the recording.
    panels : sequence of Panel
    target : pathlib.Path
        A ``.png`` file.
    """
    _write(_png(name, panels), target)


def _write(content: bytes, target: Path) -> None:
    # A hidden name in the same folder: a rename between file systems is not atomic
    partial = target.with_name(f".{uuid.uuid4().hex[:12]}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def _png(name: str, panels: Sequence[Panel]) -> bytes:
    one = len(panels) == 1
    # Pictures stand side by side; anything else has a row of its own
    columns = min(len(panels), 3) if all(panel.is_picture for panel in panels) else 1
    width = (7.0 if panels[0].is_picture else 9.0) if one else 12.5 if columns != 2 else 9.0
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(_height(panel, width / columns, one) for panel in row) for row in rows]

    def draw_panels(figure: Any) -> None:
        parts = figure.subfigures(len(rows), columns, squeeze=False, height_ratios=heights)
        for part, panel in zip(parts.ravel(), panels, strict=False):
            size = round(12 * width / columns)
            lines = (*textwrap.wrap(panel.title, size), *textwrap.wrap(panel.note, size))
            shown = (_shorten(line, size) for line in lines[:4])
            _text(part.suptitle, *shown, fontsize=_TITLE_SIZE, color="#444444", x=0.012, ha="left")
            _draw_panel(part, panel, one)

    return _rendered(name, (width, sum(heights) + 0.4), draw_panels)


def _height(panel: Panel, width: float, one: bool) -> float:
    """Return the height of a panel in inches, so that its images fill it."""
    lines = 0.2 * (1 + bool(panel.note))
    if panel.is_picture:
        return lines + 0.7 + min(max(0.94 * width * panel.stretch, 1.0), 7.0)
    has_trace = panel.look.num_samples > 1
    share = (0.93 if one or not has_trace else 0.6) / (1 + panel.breadth)
    images = min(max(share * width * panel.stretch, 1.2), 5.5 if one else 4.5)
    return lines + 0.8 + images + (1.9 if one and has_trace else 0.0)


def _rendered(name: str, size: tuple[float, float], draw_on: Callable[[Any], None]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Sizes are passed to each element: matplotlib's rc_context would change the settings of the process, in other threads too
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)  # not pyplot, which would choose a backend and keep the figure in the user's session
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.04)
    _text(figure.suptitle, _shorten(name, 90), fontsize=12, fontweight="bold", x=0.01, ha="left")
    draw_on(figure)
    for axes in figure.get_axes():
        axes.tick_params(labelsize=_FONT_SIZE)
        for spine in axes.spines.values():
            spine.set_linewidth(0.6)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": _MARK})
    return stream.getvalue()


def _draw_panel(part: Any, panel: Panel, one: bool) -> None:
    look = panel.look
    if panel.is_picture:
        _image(part.subplots(), look.mean, "Section: planes from top to bottom" if look.is_section else "", panel)
        return
    maximum = "Maximum projection"
    if len(look.planes):
        maximum = "Maximum over all planes" if look.num_samples == 1 else "Maximum over samples and planes"
    names = ["mean", "maximum"]
    if look.lines is not None and len(look.lines):
        axes = part.subplot_mosaic([["lines"], ["trace"]] if one else [["lines", "trace"]])
        _image(axes["lines"], look.lines, "Lines of the samples, the first at the top", panel)
        axes["lines"].set_aspect("auto")
        _trace(axes["trace"], panel)
        return
    if look.num_samples == 1:
        axes = part.subplot_mosaic([names], width_ratios=[panel.breadth, 1])
    elif one:
        sizes = {"width_ratios": [panel.breadth, 1], "height_ratios": [_height(panel, 9, one) - 2.7, 1.9]}
        axes = part.subplot_mosaic([names, ["trace", "trace"]], **sizes)
    else:
        ratios = [panel.breadth, 1, 0.65 * (panel.breadth + 1)]
        axes = part.subplot_mosaic([[*names, "trace"]], width_ratios=ratios)
    if len(look.planes):
        _planes(axes["mean"], panel)
    else:
        section = ", planes from top to bottom" if look.is_section else ""
        _image(axes["mean"], look.mean, f"Mean image{section}", panel)
    _image(axes["maximum"], look.maximum, maximum, panel)
    if "trace" in axes:
        _trace(axes["trace"], panel)


def _image(axes: Any, image: np.ndarray, title: str, panel: Panel) -> None:
    limits = _show(axes, image, _contrast(image), panel, 0.0, 0.0)
    axes.set_title(title, fontsize=_TITLE_SIZE)
    _finish_image(axes, panel, limits, image.shape[1], image.shape[0])
    if panel.pixel_size:
        _scale_bar(axes, image.shape, panel.pixel_size[1] * panel.look.step)


def _planes(axes: Any, panel: Panel) -> None:
    """Draw the mean of each plane, all with the same contrast, side by side."""
    look = panel.look
    rows, columns, count = look.mean.shape
    across, down = panel.grid
    gap_x, gap_y = max(columns * 0.03, 0.1), max(rows * 0.03, 0.1)
    limits = _contrast(look.mean)
    for place in range(count):
        x, y = place % across * (columns + gap_x), place // across * (rows + gap_y)
        _show(axes, look.mean[..., place], limits, panel, x, y)
        words = f"plane {look.planes[place]}" + (f"\n{_number(panel.depths[place])} µm" if panel.depths else "")
        axes.text(
            x + columns * 0.03,
            y + rows * 0.04,
            words,
            color="white",
            va="top",
            fontsize=7.5 if across < 4 else 6,
            bbox=_BOX,
        )
    some = "" if count == look.num_planes else f" ({count} of {look.num_planes:,})"
    axes.set_title(f"{'Mean of each plane' if look.num_samples > 1 else 'Planes'}{some}", fontsize=_TITLE_SIZE)
    _finish_image(axes, panel, limits, across * (columns + gap_x) - gap_x, down * (rows + gap_y) - gap_y)


def _show(
    axes: Any, image: np.ndarray, limits: tuple[float, float], panel: Panel, x: float, y: float
) -> tuple[float, float]:
    """Draw an image with its upper left corner at a place."""
    low, high = limits
    rows, columns = image.shape
    # Of one value everywhere: neither black, which looks like a failure, nor white
    shown = (low, high) if high > low else (low - 1, low + 1)
    box = (x, x + columns, y + rows, y)
    axes.imshow(image, cmap="gray", vmin=shown[0], vmax=shown[1], interpolation="nearest", extent=box, aspect="auto")
    if not np.isfinite(image).all():
        # Between the planes the figure is white: the colour of pixels without a value is behind each image
        axes.add_patch(_background(box))
    return limits


def _background(box: tuple[float, float, float, float]) -> Any:
    from matplotlib.patches import Rectangle

    left, right, bottom, top = box
    return Rectangle((left, top), right - left, bottom - top, facecolor="#7a3b3b", linewidth=0, zorder=-1)


def _finish_image(axes: Any, panel: Panel, limits: tuple[float, float], width: float, height: float) -> None:
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    rows, columns = panel.look.maximum.shape
    axes.set_aspect(panel.stretch * columns / rows)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(_grey_values(*limits), fontsize=8.5, color="#555555")
    for spine in axes.spines.values():
        spine.set_visible(not len(panel.look.planes))


def _contrast(image: np.ndarray) -> tuple[float, float]:
    """Return the values that are drawn black and white; NaN if no pixel is finite."""
    return percentiles_of(image) or (math.nan, math.nan)


def _grey_values(low: float, high: float) -> str:
    if math.isnan(low):
        return "no pixel is finite"
    if low == high:
        return f"every pixel is {_number(low)}"
    return f"grey values {_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def _scale_bar(axes: Any, shape: tuple[int, ...], pixel: float) -> None:
    from matplotlib.patheffects import withStroke

    longest = shape[1] * pixel / 4
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(factor * power for factor in (1, 2, 5) if factor * power <= longest)
    fraction = length / (shape[1] * pixel)
    bar = {"linewidth": 3, "solid_capstyle": "butt", "path_effects": [withStroke(linewidth=4.6, foreground="black")]}
    axes.plot([0.96 - fraction, 0.96], [0.05, 0.05], color="white", transform=axes.transAxes, **bar)
    words = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    place = {"ha": "center", "va": "bottom", "fontsize": 8.5, "transform": axes.transAxes}
    axes.text(0.96 - fraction / 2, 0.08, words, color="white", bbox=_BOX, **place)


def _trace(axes: Any, panel: Panel) -> None:
    look = panel.look
    along, words = _time_axis(look, panel.times_source)
    gaps = np.flatnonzero(np.diff(look.samples) > 1) + 1
    runs = np.split(np.arange(len(along)), gaps)
    if len(gaps):
        _line(axes, along, look.trace, color=_GREY, linewidth=0.7, zorder=1)
    # NaN breaks the line, so that skipped samples are not drawn as measured
    broken = (np.insert(values.astype(np.float64), gaps, np.nan) for values in (along, look.trace))
    _line(axes, *broken, color=_BLUE, linewidth=0.9, zorder=2)
    # A line needs two points: single samples between gaps would be invisible
    alone = np.array([run[0] for run in runs if len(run) == 1], np.int64)
    if len(along) <= _MAX_MARKED:
        alone = np.arange(len(along))
    axes.plot(along[alone], look.trace[alone], ".", color=_BLUE, markersize=3, zorder=3)
    used = f" ({len(look.samples):,} of {look.num_samples:,} samples)" if look.is_partial else ""
    axes.set_title(f"Mean trace{used}", fontsize=_TITLE_SIZE)
    axes.set_xlabel(words, fontsize=_FONT_SIZE)
    axes.set_ylabel("mean grey value", fontsize=_FONT_SIZE)
    axes.margins(x=0.01)
    axes.ticklabel_format(axis="both", style="plain", useOffset=False)
    axes.grid(axis="y", color="#eceff3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _time_axis(look: QuickLook, source: str | None) -> tuple[np.ndarray, str]:
    """Return where the samples are on the axis, and its label."""
    if look.times is None:
        return look.samples.astype(np.float64), "sample (the rate is unknown)"
    words = f"times {TIMES.get(source or '', 'known')}"
    first = float(look.times[0])
    if abs(first) < _MIN_EPOCH:
        return look.times, f"time (s), {words}"
    # Ten digits at each tick hide what changes
    return look.times - first, f"time (s) after {first:,.3f} s, {words}"


def _line(axes: Any, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
    """Draw a line in parts: the renderer refuses a path of too many points."""
    for start in range(0, max(1, len(x) - 1), _MAX_POINTS):
        axes.plot(x[start : start + _MAX_POINTS + 1], y[start : start + _MAX_POINTS + 1], **style)


def _text(write: Any, *lines: str, **style: Any) -> None:
    """Write text from a file; a dollar sign does not start a formula, and a character that no font has is drawn as a box."""
    element = write("", **style)
    element.set_parse_math(False)
    drawable = _characters(element.get_fontproperties())
    # Line by line: printable() writes a line break of a file's name as two characters
    shown = ("".join(c if ord(c) in drawable else "\N{WHITE SQUARE}" for c in printable(line)) for line in lines)
    element.set_text("\n".join(shown))


def _characters(properties: Any) -> frozenset[int]:
    """Return the characters that can be drawn; matplotlib issues a warning for each of the others."""
    from matplotlib.font_manager import findfont, get_font

    paths = set()
    for family in properties.get_family():
        one = properties.copy()
        one.set_family(family)
        with contextlib.suppress(ValueError):  # the family is not installed
            paths.add(findfont(one, fallback_to_default=False))
    return frozenset(code for path in paths or {findfont(properties)} for code in get_font(path).get_charmap())


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2 - 1) :]}"


def _is_ours(path: Path) -> bool:
    head = _head(path)
    return head.startswith(b"\x89PNG") and _MARK.encode() in head


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(4096)
    except OSError:
        return b""
