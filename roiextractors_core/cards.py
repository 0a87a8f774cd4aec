"""What a notebook shows: compact tables in HTML, with everything from a file escaped, no scripts, and nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from .errors import RoiExtractorsError, counted, printable

__all__ = [
    "TIMES",
    "describe_projections",
    "FormatTuple",
    "PluginTuple",
    "StreamDict",
    "explanation_card",
    "metadata_card",
    "projections_card",
    "provenance_card",
    "recording_card",
]

TIMES = {"native": "from the file", "computed": "from the rate", "user": "set by you"}

# No colours but greys that are half transparent: they suit light and dark notebooks
_CELL = (
    "text-align:left;vertical-align:top;padding:2px 14px 2px 0;border:0;border-bottom:1px solid rgba(128,128,128,.25);"
    "white-space:normal;overflow-wrap:break-word;background:transparent"
)
_BOX = "max-height:32em;overflow:auto"
_MAX_TEXT, _MAX_ROWS = 300, 300
_MAX_THUMBNAIL = 160  # pixels a side
_SHAPE = ("samples", "rows", "columns", "planes")
_PARTS = {
    "emission_wavelength": "emission {} nm",
    "excitation_wavelength": "excitation {} nm",
    "detection_band": "detected {} nm",
    "laser_lines": "laser lines {} nm",
    "laser_power": "laser power {} %",
    "exposure_time": "exposure {} s",
    "magnification": "{}x",
    "numerical_aperture": "NA {}",
}
_UNITS = {"pixel_size": "µm", "plane_spacing": "µm", "plane_positions": "µm"}


class FormatTuple(tuple[Any, ...]):
    """Formats; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = (
            (
                spec.name,
                spec.title,
                " ".join(spec.extensions),
                "ROIs" if spec.kind == "segmentation" else "movie",
                "yes" if spec.writer else "",
                spec.missing,
            )
            for spec in self
        )
        head = ("name", "format", "suffixes", "kind", "written", "missing")
        return _words(counted(len(self), "format")) + _table(rows, head)


class PluginTuple(tuple[Any, ...]):
    """Plugins; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = ((p.name, p.version, p.status, " ".join(p.formats), p.reason or p.missing) for p in self)
        return _words(counted(len(self), "plugin")) + _table(rows, ("plugin", "version", "status", "formats", ""))


class StreamDict(dict[str, tuple[str, ...]]):
    """Streams; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        if not self:
            return _words("one stream; there is nothing to choose")
        return _table(((key, ", ".join(map(repr, values))) for key, values in self.items()), ("option", "values"))


def recording_card(recording: Any, rate: Callable[[Any], str]) -> str:
    """Return the facts about a recording or a segmentation as a table. It reads no pixels and does not fail.

    Parameters
    ----------
    recording : Extractor
    rate : callable
        Returns the rate in words.
    """
    try:
        facts = _facts(recording, rate(recording))
    except (RoiExtractorsError, OSError) as error:  # closed, or its file is gone
        facts = [("recording", repr(recording)), ("note", error)]
    return _table((label, value) for label, value in facts if value)


def metadata_card(metadata: Any) -> str:
    """Return the fields of the metadata that have a value as a table; the vendor's header is folded."""
    rows = [(f.name.replace("_", " "), _field(f.name, getattr(metadata, f.name))) for f in fields(metadata)[:-1]]
    shown = [(label, value) for label, value in rows if value]
    text = _table(shown) if shown else _words("no metadata was found in the file")
    vendor = list(_leaves(metadata.vendor))
    return text + _folded(f"the file's own header ({counted(len(vendor), 'value')})", vendor)


def provenance_card(provenance: Any) -> str:
    """Return where a recording came from as a table."""
    values = provenance.to_dict()
    return _table((key, ", ".join(map(str, v)) if isinstance(v, list | tuple) else v) for key, v in values.items() if v)


def explanation_card(explanation: Any) -> str:
    """Return which formats a path may be as a table; those that answered no are folded."""
    rows: list[tuple[Any, ...]] = []
    for match in explanation.matches:
        answer = "opens as" if match is explanation.best else "ties" if match in explanation.tied else "matches too"
        rows.append((answer, match.spec.name, match.plugin, match.finding.basis))
    rows += [(f"as {m.spec.kind}", m.spec.name, m.plugin, m.finding.basis) for m in explanation.other_kinds]
    unsure = [(name, finding) for name, finding in explanation.findings if finding.answer is None]
    rows += [("uncertain", name, "", finding.basis) for name, finding in unsure]
    rows += [("not installed", e.spec.name, e.plugin, e.how_to_install) for e in explanation.not_installed]
    rows += [("failed", "", record.name, record.reason) for record in explanation.failed_plugins]
    rows += [("note", "", "", note) for note in explanation.notes]
    others = [(name, finding.basis) for name, finding in explanation.findings if finding.answer is not None]
    text = _words(f"{explanation.path}: {explanation.looks_like}")
    if explanation.best is None:
        text += _words("no format can be chosen; require_best() explains why")
    if rows:
        text += _table(rows, ("answer", "format", "from", "because"))
    return text + _folded(f"{counted(len(others), 'format')} did not match", others)


def projections_card(projections: Any) -> str:
    """Return small pictures of the images and of the trace, and their ranges."""
    names = ("mean", "standard_deviation", "maximum", "correlation")
    images = {name.replace("_", " "): getattr(projections, name) for name in names}
    images = {label: image for label, image in images.items() if image is not None}
    cells = [(label, _thumbnail(image), _range_of(image)) for label, image in images.items()]
    columns = "".join(
        f"<td style='{_CELL};border:0'><div>{_safe(label)}</div>{picture}<div style='opacity:.7'>{_safe(words)}</div></td>"
        for label, picture, words in cells
    )
    words = describe_projections(projections)
    if any(image.ndim == 3 for image in images.values()):
        words += ", drawn as their maximum over planes"
    pictures = (
        f"<table style='border-collapse:collapse;margin:0'><tr style='background:transparent'>{columns}</tr></table>"
    )
    if (trace := projections.trace) is None:
        return _words(f"projections: {words}") + pictures
    curve = f"<div>mean trace</div>{_curve(trace)}<div style='opacity:.7'>{_range_of(trace)}</div>"
    return _words(f"projections: {words}") + pictures + curve


def describe_projections(projections: Any) -> str:
    """Return the size of projections in words: ``1,000 samples of 512 x 512 pixels``."""
    images = (projections.mean, projections.standard_deviation, projections.maximum, projections.correlation)
    shape = next((" x ".join(f"{n:,}" for n in image.shape) for image in images if image is not None), "")
    samples = counted(len(projections.trace), "sample") if projections.trace is not None else ""
    words = " of ".join(filter(None, (samples, shape and f"{shape} pixels")))
    left_out = getattr(projections, "num_left_out", 0)
    return f"{words}; {counted(left_out, 'value')} left out (NaN or infinite)" if left_out else words


# Facts


def _facts(recording: Any, rate: str) -> list[tuple[str, Any]]:
    provenance, metadata = recording.provenance, recording.metadata
    source = recording.times_source
    names = ", ".join(Path(path).name for path in provenance.paths[:3])
    made = f"{provenance.format} ({provenance.plugin} {provenance.version})" if provenance.format else ""
    return [
        ("recording", names or type(recording).__name__),
        ("format", made),
        *(_roi_facts(recording) if recording.kind == "segmentation" else _pixel_facts(recording)),
        ("rate", rate),
        ("times", "unknown" if source is None else TIMES[source]),
        ("pixel size", _field("pixel_size", metadata.pixel_size)),
        ("start", _field("start_time", metadata.start_time)),
        ("device", metadata.device or ""),
        *(("note", note) for note in provenance.notes[:8]),
    ]


def _pixel_facts(recording: Any) -> list[tuple[str, str]]:
    shape = " x ".join(f"{n:,} {axis}" for n, axis in zip(recording.shape, _SHAPE, strict=False))
    return [("shape", shape), ("pixels", str(recording.dtype))]


def _roi_facts(rois: Any) -> list[tuple[str, str]]:
    masks = " x ".join(f"{n:,}" for n in rois.get_mask_shape()) if rois.has_masks else "none"
    names = rois.get_trace_names()
    return [
        ("ROIs", f"{rois.get_num_rois():,}"),
        ("masks", f"in frames of {masks}" if rois.has_masks else masks),
        ("traces", f"{', '.join(names)}; {counted(rois.get_num_samples(), 'sample')}" if names else "none"),
        ("background", counted(n, "component") if (n := rois.get_num_background_components()) else ""),
        ("images", ", ".join(rois.get_image_names())),
        ("properties", ", ".join(rois.get_property_keys()[:12])),
    ]


def _field(name: str, value: Any) -> str:
    """Return the value of a field of metadata in words; empty if it has none."""
    unit = f" {_UNITS[name]}" if name in _UNITS else ""
    if value is None or value == () or value == "":
        return ""
    if name == "pixel_size":
        return f"{value[0]:.5g} x {value[1]:.5g}{unit}"
    if name == "plane_positions":
        return f"{counted(len(value), 'plane')} from {value[0]:.5g} to {value[-1]:.5g}{unit}"
    if hasattr(value, "isoformat"):
        return str(value.isoformat(" "))
    if isinstance(value, tuple) and all(map(is_dataclass, value)):
        return "; ".join(map(_in_words, value))
    if is_dataclass(value):
        return _in_words(value)
    return f"{value:.6g}{unit}" if isinstance(value, float) else str(value)


def _in_words(value: Any) -> str:
    """Return a channel or an objective in words: ``Green (emission 510 nm)``."""
    known = {f.name: v for f in fields(value) if (v := getattr(value, f.name)) not in (None, (), "")}
    name = str(known.pop("name", ""))
    rest = ", ".join(_PARTS.get(key, f"{key.replace('_', ' ')} {{}}").format(_numbers(v)) for key, v in known.items())
    return f"{name} ({rest})" if name and rest else name or rest


def _numbers(value: Any) -> str:
    if isinstance(value, tuple):
        return " and ".join(map(_numbers, value))
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _leaves(tree: Mapping[Any, Any], *, most: int = 10_000) -> Iterable[tuple[str, Any]]:
    """Yield path and value of each leaf of nested mappings."""
    waiting: list[tuple[str, Any]] = [(str(key), value) for key, value in [*tree.items()][::-1]]
    for _ in range(most):
        if not waiting:
            return
        path, value = waiting.pop()
        if isinstance(value, Mapping) and value:
            waiting += [(f"{path}.{key}", inner) for key, inner in [*value.items()][::-1]]
        else:
            yield path, value


# HTML


def _safe(value: Any) -> str:
    from html import escape  # here, as other modules of this file: most processes show no notebook

    text = printable(value)
    return escape(text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…")


def _words(text: str) -> str:
    return f"<div>{_safe(text)}</div>"


def _table(rows: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> str:
    """Return a table; without a head, the first cell of each row names it."""
    lines = []
    if head:
        lines.append("".join(f"<th style='{_CELL}'>{_safe(name)}</th>" for name in head))
    for row in rows:
        first = "td" if head else "th"
        cells = [f"<{first} style='{_CELL}'>{_safe(row[0])}</{first}>"]
        cells += [f"<td style='{_CELL}'>{_safe(value)}</td>" for value in row[1:]]
        lines.append("".join(cells))
    body = "".join(f"<tr style='background:transparent'>{line}</tr>" for line in lines)
    return f"<div style='{_BOX}'><table style='border-collapse:collapse;margin:0'>{body}</table></div>"


def _folded(title: str, rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    more = _words(f"and {len(rows) - _MAX_ROWS:,} more") if len(rows) > _MAX_ROWS else ""
    return f"<details><summary>{_safe(title)}</summary>{_table(rows[:_MAX_ROWS])}{more}</details>"


def _range_of(values: Any) -> str:
    import numpy as np

    finite = values[np.isfinite(values)]
    if not finite.size:
        return "no finite values"
    return f"{finite.min():.4g} to {finite.max():.4g}"


def _thumbnail(image: Any) -> str:
    """Return a small grey picture in the page itself."""
    import base64

    import numpy as np

    flat = image if image.ndim == 2 else np.fmax.reduce(image, axis=2)
    step = -(-max(flat.shape) // _MAX_THUMBNAIL)
    small = flat[::step, ::step]
    finite = small[np.isfinite(small)]
    low, high = map(float, np.percentile(finite, (1, 99.7))) if finite.size else (0.0, 0.0)
    scaled = np.nan_to_num((small - low) / (high - low if high > low else 1.0), nan=0.0)
    grey = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    rows, columns = grey.shape
    zoom = max(1, _MAX_THUMBNAIL // max(rows, columns))
    size = f"width:{columns * zoom}px;height:{rows * zoom}px;image-rendering:pixelated;margin:2px 0"
    content = base64.b64encode(_png(grey)).decode("ascii")
    return f"<img alt='' style='{size}' src='data:image/png;base64,{content}'>"


def _png(grey: Any) -> bytes:
    """Return a PNG of 8-bit grey values (ISO/IEC 15948)."""
    import struct
    import zlib

    rows, columns = grey.shape

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">2I5B", columns, rows, 8, 0, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in grey)  # 0: no filter
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _curve(values: Any, *, width: int = 640, height: int = 70) -> str:
    """Return a line in the colour of the text; of many values, the extremes of equal parts."""
    import numpy as np

    parts = np.array_split(values, min(len(values), width // 2))
    ends = [(f.min(), f.max()) for part in parts if (f := part[np.isfinite(part)]).size]
    if not ends:
        return ""
    low, high = min(a for a, _ in ends), max(b for _, b in ends)
    drawn = [v for pair in ends for v in (pair if len(parts) < len(values) else pair[:1])]
    heights = [height - (v - low) / ((high - low) or 1) * (height - 4) - 2 for v in drawn]
    step = width / max(1, len(heights) - 1)
    points = " ".join(f"{k * step:.1f},{y:.1f}" for k, y in enumerate(heights))
    line = f"<polyline points='{points}' fill='none' stroke='currentColor' stroke-width='1'/>"
    return f"<svg width='{width}' height='{height}' style='max-width:100%'>{line}</svg>"
