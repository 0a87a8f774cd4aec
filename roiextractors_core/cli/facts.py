"""The facts about a recording or a segmentation that the command shows, as plain data and as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import roiextractors_core as roi

from ..cards import TIMES
from ..errors import (
    PluginError,
    RoiExtractorsError,
    RoiExtractorsWarning,
    StreamChoiceError,
    counted,
    listed,
    printable,
)
from ..imaging.extractor import ImagingExtractor, unshadowed
from ..io.notices import received_by, warn
from ..io.units import amount
from ..metadata import as_plain
from .command_line import in_command_words

__all__ = ["every_channel", "facts_of", "in_words", "kinds_in", "plugin_border", "stream_name", "stream_target"]

_MAX_CHOICES = 8  # each is opened and drawn; a file of tiles may have hundreds


def kinds_in(path: str, format: str | None, kind: str | None) -> tuple[str, ...]:
    """Return which kinds a path may be of, imaging first: the one that was named, or those whose formats match.

    Parameters
    ----------
    path : str
    format, kind : str, optional
        As the user named them.
    """
    if kind is not None:
        return (kind,)
    if format is not None:
        return tuple(spec.kind for spec in roi.formats() if spec.name == format) or ("imaging",)
    try:
        found = roi.explain(path)
    except (RoiExtractorsError, OSError):
        return ("imaging",)  # opening raises the same error, with its advice
    seen = {match.spec.kind for match in (*found.matches[:1], *found.other_kinds)}
    return tuple(sorted(seen)) or ("imaging",)


def every_channel(
    path: str,
    format: str | None,
    options: Mapping[str, Any],
    kind: str = "imaging",
    *,
    limit: int | None = _MAX_CHOICES,
    opened: ExitStack | None = None,
) -> Iterator[tuple[dict[str, str], Any]]:
    """Open a recording, once for each choice of a stream if one must be chosen.

    Parameters
    ----------
    path : str
    format : str, optional
    options : mapping
    kind : str
        As ``open`` takes them.
    limit : int, optional
        How many choices are opened; a warning names the others.
    opened : contextlib.ExitStack, optional
        Closes the recordings at its end, so that all of them are open together.

    Yields
    ------
    tuple of dict and Extractor
        The choice (empty if there was none) and the recording, which is closed before the next one unless ``opened`` was passed.
    """
    try:
        recording = _open(path, format, options, kind)
    except StreamChoiceError as error:
        if not error.option or error.option in options or not error.choices:
            raise
        for choice in map(str, error.choices[:limit]):
            # Opening asks for one stream at a time, so a second one may be asked for after this choice
            for further, recording in every_channel(
                path, format, {**options, error.option: choice}, kind, limit=limit, opened=opened
            ):
                yield {error.option: choice, **further}, recording
        if limit is not None and len(error.choices) > limit:
            left = listed(error.choices[limit:])
            text = f"{printable(path)} contains more {error.option}s, which are not shown: {left}; show one with --{error.option.replace('_', '-')}"
            warn(text, RoiExtractorsWarning)
        return
    if opened is not None:
        yield {}, opened.enter_context(recording)
        return
    with recording:
        yield {}, recording


def stream_name(chosen: Mapping[str, str]) -> str:
    """Return the name of a stream, from the options that choose it; empty if there is nothing to choose."""
    return " ".join(_names(chosen))


def _names(chosen: Mapping[str, str]) -> list[str]:
    # A number alone does not say what it is of
    return [f"{option.replace('_', ' ')} {value}" if value.isdecimal() else value for option, value in chosen.items()]


def stream_target(target: Path, chosen: Mapping[str, str]) -> Path:
    """Return the file to write a stream to: ``movie_Channel 1.ome.tif`` for ``movie.ome.tif``.

    Parameters
    ----------
    target : pathlib.Path
    chosen : mapping of str to str
        The streams that were chosen; the target itself where there is nothing to choose.
    """
    suffixes = [suffix for spec in roi.formats() for suffix in (*spec.writer_extensions, *spec.extensions)]
    matching = [suffix for suffix in suffixes if target.name.lower().endswith(suffix)]
    end = len(target.name) - len(max(matching, key=len, default=target.suffix))
    words = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "-", "_".join((target.name[:end], *_names(chosen))))
    return target.with_name(f"{words}{target.name[end:]}")


def facts_of(recording: Any, chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return the facts about a recording or a segmentation as plain data for JSON.

    Parameters
    ----------
    recording : ImagingExtractor or SegmentationExtractor
    chosen : mapping
        The streams that were chosen to open it.
    """
    if isinstance(recording, ImagingExtractor):
        recording = unshadowed(recording)
    provenance, clock, count = recording.provenance, recording.clock, recording.get_num_samples()
    times: list[float] = []
    if clock.source is not None and count:
        # Two reads instead of all times: some formats read one directory per time
        times = [float(clock.times(0, 1)[0]), float(clock.times(count - 1, count)[0])]
    metadata = recording.metadata.to_dict()
    facts = {
        "kind": recording.kind,
        "paths": provenance.paths,
        "format": provenance.format,
        "plugin": provenance.plugin,
        "plugin_version": provenance.version,
        "evidence": provenance.evidence,
        "stream": dict(chosen),
        "options": provenance.options,
        **(_of_rois(recording) if recording.kind == "segmentation" else _of_pixels(recording)),
        "sampling_frequency": recording.get_sampling_frequency(),
        "median_rate": recording.median_rate if recording.get_sampling_frequency() is None else None,
        "times_source": clock.source,
        "first_and_last_time": times,
        "metadata": {key: value for key, value in metadata.items() if key != "vendor"},
        "notes": provenance.notes,
    }
    return {key: as_plain(value) for key, value in facts.items()}


def _of_pixels(recording: Any) -> dict[str, Any]:
    return {
        "shape": recording.shape,
        "axes": ("samples", "rows", "columns", "planes")[: recording.ndim],
        "dtype": str(recording.dtype),
        "bytes": recording.nbytes,
    }


def _of_rois(rois: Any) -> dict[str, Any]:
    return {
        "rois": rois.get_num_rois(),
        "samples": rois.get_num_samples(),
        "mask_shape": rois.get_mask_shape() if rois.has_masks else None,
        "traces": rois.get_trace_names(),
        "background": rois.get_background_ids(),
        "images": rois.get_image_names(),
        "properties": rois.get_property_keys(),
    }


def in_words(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts as labels and values that are safe to print; an unknown value is empty.

    Parameters
    ----------
    facts : mapping
        From :func:`facts_of`.
    """
    metadata = facts["metadata"]
    rate = facts["sampling_frequency"]
    of_kind = _rois_in_words(facts) if facts["kind"] == "segmentation" else _pixels_in_words(facts)
    rows = [
        ("format", f"{facts['format']} ({facts['plugin']} {facts['plugin_version']})".replace(" )", ")")),
        ("because", facts["evidence"]),
        *((name, value) for name, value in facts["stream"].items()),
        *of_kind,
        ("rate", _rate(facts) if rate is None else f"{rate:.6g} Hz"),
        ("times", _times(facts)),
        ("start", _moment(metadata["start_time"])),
        ("pixel size", _sizes(metadata["pixel_size"])),
        ("planes", _planes(metadata)),
        ("colours", _colours(metadata["channels"])),
        ("device", metadata["device"] or ""),
        ("software", "" if metadata["software"] == metadata["device"] else metadata["software"] or ""),
        *(("note", in_command_words(note)) for note in facts["notes"]),
    ]
    return [(printable(label), printable(value)) for label, value in rows]


def _rate(facts: Mapping[str, Any]) -> str:
    median = facts["median_rate"]
    if median is None:
        return "unknown; pass --sampling-frequency if you know it"
    return f"unknown; its times give {median:.6g} Hz; to use that, pass --sampling-frequency {median:.6g}"


def _pixels_in_words(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    parts = [counted(n, axis.removesuffix("s")) for n, axis in zip(facts["shape"], facts["axes"], strict=True)]
    return [("shape", " x ".join(parts)), ("pixels", f"{facts['dtype']}, {amount(facts['bytes'])} in all")]


def _rois_in_words(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    shape, properties = facts["mask_shape"], facts["properties"]
    parts = () if shape is None else map(counted, shape, ("row", "column", "plane"))
    masks = "without masks" if shape is None else f"in frames of {' x '.join(parts)}"
    traces = f"{', '.join(facts['traces'])}; {counted(facts['samples'], 'sample')}" if facts["traces"] else "none"
    return [
        ("ROIs", f"{facts['rois']:,} {masks}"),
        ("traces", traces),
        ("background", counted(len(facts["background"]), "component") if facts["background"] else ""),
        ("images", ", ".join(facts["images"])),
        ("properties", ", ".join(properties[:16]) + (", ..." if len(properties) > 16 else "")),
    ]


@contextmanager
def plugin_border(words: str) -> Iterator[None]:
    """Turn an error of a plugin that names neither file nor plugin into one that does."""
    try:
        yield
    # These name the file, or are the system's: printed as they are
    except (RoiExtractorsError, OSError, MemoryError):
        raise
    except Exception as error:
        raise PluginError(f"{words}: {type(error).__name__}: {error}") from error


def _open(path: str, format: str | None, options: Mapping[str, Any], kind: str) -> Any:
    """Open a recording, and repeat the warnings that are not among its notes."""
    issued: list[tuple[str, type[RoiExtractorsWarning]]] = []
    with received_by(lambda message, category: issued.append((message, category))):
        recording: Any = roi.open(path, format=format, kind=kind, **options)  # type: ignore[call-overload]
    notes = recording.provenance.notes
    for message, category in issued:
        # The card shows the notes, so their warnings would be printed twice
        if not any(note in message for note in notes):
            warn(message, category)
    return recording


def _times(facts: Mapping[str, Any]) -> str:
    if facts["times_source"] is None:
        return "unknown"
    if not facts["first_and_last_time"]:
        return "none"
    first, last = (f"{t:.6f} s" if isinstance(t, float | int) else f"{t} s" for t in facts["first_and_last_time"])
    return f"{first if first == last else f'{first} to {last}'}, {TIMES[facts['times_source']]}"


def _moment(text: str | None) -> str:
    if text is None:
        return ""
    moment = datetime.fromisoformat(text)
    return f"{moment:%Y-%m-%d %H:%M:%S}{f'.{moment.microsecond // 1000:03d}' if moment.microsecond else ''}{moment:%z}"


def _sizes(size: list[float] | None) -> str:
    return "" if size is None else f"{size[0]:.5g} x {size[1]:.5g} µm"


def _planes(metadata: Mapping[str, Any]) -> str:
    positions, spacing = metadata["plane_positions"], metadata["plane_spacing"]
    words = [] if spacing is None else [f"{spacing:.5g} µm apart"]
    if positions:
        shown = [f"{p:.6g}" if isinstance(p, float | int) else str(p) for p in positions[:12]]
        words.append(f"at {', '.join(shown)}{', ...' if len(positions) > 12 else ''} µm")
    return ", ".join(words)


def _colours(channels: list[dict[str, Any]]) -> str:
    words = []
    for channel in channels:
        waves = [("emission", channel["emission_wavelength"]), ("excitation", channel["excitation_wavelength"])]
        wavelengths = [f"{word} {wave:.5g} nm" for word, wave in waves if isinstance(wave, float | int)]
        words += [f"{channel['name']}: {', '.join(wavelengths)}"] if wavelengths else []
    return "; ".join(words)
