"""The picture of a recording (mean image, maximum projection, mean trace; one row per channel) or a segmentation, and its card in a notebook."""

from __future__ import annotations

import contextlib
import html
import importlib.util
import io
import math
import os
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingDependencyError, RoiExtractorsError, SourceKindError, counted, printable
from .outlines import draw_segmentation
from .quicklook import QuickLook, quick_look

__all__ = [
    "Panel",
    "Preview",
    "as_html",
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
_BLUE, _GREY = "#1f6fb2", "#c9ced6"
_TIMES = {"native": "by the hardware", "computed": "computed from the rate", "user": "set by the user"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One channel's row of the picture.

    Attributes
    ----------
    title : str
        Title of the row: the channel and the shape.
    look : QuickLook
    pixel_size : tuple of float or None
        Along rows and columns, in micrometres.
    times_source : str or None
        ``"native"``, ``"computed"`` or ``"user"``.
    is_volumetric : bool
    """

    title: str
    look: QuickLook
    pixel_size: tuple[float, float] | None
    times_source: str | None
    is_volumetric: bool


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
        raise MissingDependencyError('drawing needs matplotlib: python -m pip install "roiextractors-core[plot]"')
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
        raise MissingDependencyError('drawing needs matplotlib: python -m pip install "roiextractors-core[plot]"')
    if target is not None:
        check_target(Path(target))
    paths = rois.provenance.paths
    name = printable(Path(paths[0]).name) if paths else type(rois).__name__
    content = _rendered(name, (9, 10), lambda figure: draw_segmentation(figure, rois, **options))
    if target is None:
        return Preview(content)
    _write(content, Path(target))
    return Preview(content, str(target))


def as_html(recording: Any) -> str:
    """Return a recording's card for a notebook: its facts as a table. It reads no pixels and does not fail."""
    try:
        facts = _card(recording)
    except (RoiExtractorsError, OSError) as error:  # closed, or its file is gone
        facts = [("recording", printable(repr(recording))), ("note", printable(error))]
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(label)}</th><td style='text-align:left'>{html.escape(value)}</td></tr>"
        for label, value in facts
        if value
    )
    return f"<table>{rows}</table>"


def _card(recording: Any) -> list[tuple[str, str]]:
    provenance, found = recording.provenance, recording.metadata
    rate, source = recording.get_sampling_frequency(), recording.times_source
    size = found.pixel_size
    return [
        (
            "recording",
            printable(", ".join(Path(path).name for path in provenance.paths[:3])) or type(recording).__name__,
        ),
        (
            "format",
            printable(f"{provenance.format} ({provenance.plugin} {provenance.version})") if provenance.format else "",
        ),
        *(_roi_facts(recording) if recording.kind == "segmentation" else _pixel_facts(recording)),
        ("rate", "unknown" if rate is None else f"{rate:.6g} Hz"),
        ("times", "unknown" if source is None else _TIMES[source]),
        ("pixel size", "" if size is None else f"{size[0]:.5g} x {size[1]:.5g} µm"),
        ("start", "" if found.start_time is None else found.start_time.isoformat(" ")),
        ("device", printable(found.device or "")),
        *(("note", printable(note)) for note in provenance.notes[:8]),
    ]


def _pixel_facts(recording: Any) -> list[tuple[str, str]]:
    axes = ("samples", "rows", "columns", "planes")
    shape = " x ".join(f"{n:,} {axis}" for n, axis in zip(recording.shape, axes, strict=False))
    return [("shape", shape), ("pixels", str(recording.dtype))]


def _roi_facts(rois: Any) -> list[tuple[str, str]]:
    masks = " x ".join(f"{n:,}" for n in rois.get_mask_shape()) if rois.has_masks else "none"
    names = rois.get_trace_names()
    return [
        ("ROIs", f"{rois.get_num_rois():,}"),
        ("masks", f"in frames of {masks}" if rois.has_masks else masks),
        ("traces", printable(f"{', '.join(names)}; {counted(rois.get_num_samples(), 'sample')}") if names else "none"),
        ("background", counted(n, "component") if (n := rois.get_num_background_components()) else ""),
        ("images", printable(", ".join(rois.get_image_names()))),
        ("properties", printable(", ".join(rois.get_property_keys()[:12]))),
    ]


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
    names = (value if value.lower().startswith(key) else f"{key} {value}" for key, value in chosen.items())
    words = [*names, " x ".join(f"{n:,}" for n in recording.shape)]
    if look.is_partial:
        words.append(f"drawn from {len(look.samples):,} evenly spread samples")
    return Panel(
        title=printable(", ".join(words)),
        look=look,
        pixel_size=recording.metadata.pixel_size,
        times_source=recording.times_source,
        is_volumetric=recording.is_volumetric,
    )


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

    def draw_panels(figure: Any) -> None:
        parts = figure.subfigures(len(panels), 1, squeeze=False)[:, 0]
        for part, panel in zip(parts, panels, strict=True):
            _text(part.suptitle, _shorten(panel.title, 110), fontsize=9.5, color="#444444", x=0.012, ha="left")
            _draw_panel(part, panel, one)

    return _rendered(name, (9, 7) if one else (12.5, 3.6 * len(panels)), draw_panels)


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
    if one:
        axes = part.subplot_mosaic([["mean", "maximum"], ["trace", "trace"]], height_ratios=[2.7, 1])
    else:
        axes = part.subplot_mosaic([["mean", "maximum", "trace"]], width_ratios=[1, 1, 1.5])
    over = ", over all planes" if panel.is_volumetric else ""
    _image(axes["mean"], panel.look.mean, f"Mean image{over}", panel)
    _image(axes["maximum"], panel.look.maximum, f"Maximum projection{over}", panel)
    _trace(axes["trace"], panel)


def _image(axes: Any, image: np.ndarray, title: str, panel: Panel) -> None:
    low, high = _contrast(image)
    axes.set_facecolor("#3b2020")  # shows through where no pixel was finite
    size = panel.pixel_size or (1.0, 1.0)
    stretched = max(image.shape[0] * size[0], 1e-9) / max(image.shape[1] * size[1], 1e-9)
    # A line scan in true proportions would be a thread of pixels
    aspect = size[0] / size[1] if 0.25 <= stretched <= 4 else "auto"
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest", aspect=aspect)
    axes.set_title(title, fontsize=_TITLE_SIZE)
    axes.set_xticks([])
    axes.set_yticks([])
    if panel.pixel_size:
        _scale_bar(axes, image.shape, panel.pixel_size[1] * panel.look.step)


def _contrast(image: np.ndarray) -> tuple[float, float]:
    finite = image[np.isfinite(image)]
    # One hot pixel does not set the contrast
    low, high = map(float, np.percentile(finite, (1, 99.7))) if finite.size else (0.0, 1.0)
    return low, high if high > low else low + 1


def _scale_bar(axes: Any, shape: tuple[int, ...], pixel: float) -> None:
    from matplotlib.patheffects import withStroke

    longest = shape[1] * pixel / 4
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(factor * power for factor in (1, 2, 5) if factor * power <= longest)
    fraction = length / (shape[1] * pixel)
    edge = [withStroke(linewidth=2.2, foreground="black")]
    place = {"transform": axes.transAxes, "color": "white", "path_effects": edge}
    around = {**place, "path_effects": [withStroke(linewidth=4.6, foreground="black")]}
    axes.plot([0.96 - fraction, 0.96], [0.05, 0.05], linewidth=3, solid_capstyle="butt", **around)
    words = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    axes.text(0.96 - fraction / 2, 0.07, words, ha="center", va="bottom", fontsize=8.5, **place)


def _trace(axes: Any, panel: Panel) -> None:
    found = panel.look
    if found.times is None:
        along, words = found.samples.astype(np.float64), "sample (the rate is unknown)"
    else:
        along, words = found.times, f"time (s), {_TIMES.get(panel.times_source or '', 'known')}"
    gaps = np.flatnonzero(np.diff(found.samples) > 1) + 1
    runs = np.split(np.arange(len(along)), gaps)
    if len(gaps):
        _line(axes, along, found.trace, color=_GREY, linewidth=0.7, zorder=1)
    # NaN breaks the line, so that skipped samples are not drawn as measured
    broken = (np.insert(values.astype(np.float64), gaps, np.nan) for values in (along, found.trace))
    _line(axes, *broken, color=_BLUE, linewidth=0.9, zorder=2)
    # A line needs two points: single samples between gaps would be invisible
    alone = np.array([run[0] for run in runs if len(run) == 1], np.int64)
    axes.plot(along[alone], found.trace[alone], ".", color=_BLUE, markersize=3, zorder=3)
    used = f" ({len(found.samples):,} of {found.num_samples:,} samples)" if found.is_partial else ""
    axes.set_title(f"Mean trace{used}", fontsize=_TITLE_SIZE)
    axes.set_xlabel(words, fontsize=_FONT_SIZE)
    axes.set_ylabel("mean pixel value", fontsize=_FONT_SIZE)
    axes.margins(x=0.01)
    axes.ticklabel_format(axis="both", style="plain", useOffset=False)
    axes.grid(axis="y", color="#eceff3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _line(axes: Any, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
    """Draw a line in parts: the renderer refuses a path of too many points."""
    for start in range(0, max(1, len(x) - 1), _MAX_POINTS):
        axes.plot(x[start : start + _MAX_POINTS + 1], y[start : start + _MAX_POINTS + 1], **style)


def _text(write: Any, text: str, **style: Any) -> None:
    """Write text from a file; a dollar sign does not start a formula, and a character that no font has is drawn as a box."""
    element = write("", **style)
    element.set_parse_math(False)
    drawable = _characters(element.get_fontproperties())
    element.set_text("".join(c if ord(c) in drawable else "\N{WHITE SQUARE}" for c in printable(text)))


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
