"""What Experiment.xml says about a ThorImage recording."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from xml.parsers import expat

from roiextractors_core.errors import CorruptRecordingError, RecordingError, UnsupportedRecordingError, printable
from roiextractors_core.io import PositionedFile

__all__ = ["Experiment", "Node"]

_MAX_BYTES = 16 << 20
_MAX_DEPTH = 64
_MAX_NODES = 200_000
_Z_AND_T = 0


@dataclass(frozen=True)
class Node:
    """One XML element: its name, its attributes, and the elements in it."""

    name: str
    attributes: Mapping[str, str]
    children: list[Node]

    def first(self, name: str) -> Node:
        """Return the first element of that name in this one; an empty one when there is none."""
        return next((child for child in self.children if child.name == name), _NOTHING)

    def has(self, name: str) -> bool:
        """Whether an element of that name is in this one."""
        return any(child.name == name for child in self.children)

    def text(self, key: str) -> str:
        """Return an attribute, or nothing."""
        return self.attributes.get(key, "")

    def number(self, key: str) -> float | None:
        """Return an attribute that is a finite number, or None."""
        try:
            value = float(self.text(key))
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def whole(self, key: str) -> int | None:
        """Return an attribute that is a whole number from 0 to 2**31, or None."""
        value = self.number(key)
        return int(value) if value is not None and 0 <= value < 1 << 31 and value == int(value) else None

    def flag(self, key: str) -> bool | None:
        """Return an attribute that is 0, 1, true or false, or None."""
        return {"1": True, "true": True, "0": False, "false": False}.get(self.text(key).strip().lower())

    def to_dict(self) -> dict[str, Any]:
        """Return attributes as ``@name`` and elements by their names, repeated ones as a list."""
        found: dict[str, Any] = {f"@{key}": value for key, value in self.attributes.items()}
        for child in self.children:
            plain = child.to_dict()
            before = found.get(child.name)
            if before is None:
                found[child.name] = plain
            elif isinstance(before, list):
                before.append(plain)
            else:
                found[child.name] = [before, plain]
        return found


_NOTHING = Node("", {}, [])


class Experiment:
    """The facts of one ``Experiment.xml``.

    Parameters
    ----------
    path : str
        The file.

    Raises
    ------
    CorruptRecordingError
        No XML, cut XML, or another document.
    UnsupportedRecordingError
        A DOCTYPE, which could declare entities.

    References
    ----------
    ThorImage LS user guide, Thorlabs; the ThorImage LS sources as published by Thorlabs under
    ``cajigaslab/thorimagels_dev_vs2019`` (ExperimentXML, RunSample, ImageReview); the readers
    ``NeLy-EPFL/utils2p`` and ``ejhonglab/hong2p``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.root = _parsed(path)
        if self.root.name != "ThorImageExperiment":
            raise CorruptRecordingError(
                f"{self.name} is no ThorImage experiment: its root element is {printable(self.root.name)!r:.80}"
            )

    @property
    def name(self) -> str:
        """The file's name, safe to print."""
        return printable(os.path.basename(self.path))

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels that were saved, in order."""
        waves = (node.text("name") for node in self.root.first("Wavelengths").children if node.name == "Wavelength")
        return tuple(dict.fromkeys(name for name in waves if name))

    @cached_property
    def enabled(self) -> tuple[int, ...]:
        """The places of the enabled channels among all that the microscope has, from 0."""
        mask = self.root.first("Wavelengths").first("ChannelEnable").whole("Set") or self._lsm.whole("channel") or 0
        return tuple(place for place in range(16) if mask >> place & 1)

    @property
    def only_enabled_are_raw(self) -> bool | None:
        """Whether raw files leave out the channels that are not enabled; None where the version does not say."""
        return self.root.first("RawData").flag("onlyEnabledChannels")

    @cached_property
    def is_streaming(self) -> bool:
        """Whether frames were taken without a pause; otherwise one by one, by a series in Z and T."""
        mode = self.root.first("CaptureMode").whole("mode")
        if mode is not None:
            return mode != _Z_AND_T
        return self._streaming.flag("enable") is not False

    @cached_property
    def is_fast_z(self) -> bool:
        """Whether the planes were taken while streaming."""
        return self.is_streaming and self._streaming.flag("zFastEnable") is True

    @cached_property
    def planes(self) -> int:
        """Planes of a sample."""
        stage = self.root.first("ZStage")
        steps = max(1, stage.whole("steps") or 1)
        if self.is_streaming and self._streaming.attributes:
            return steps if self.is_fast_z else 1
        return steps if stage.flag("enable") is not False else 1

    @property
    def flyback(self) -> int:
        """Frames behind the planes of each volume, taken while the stage goes back."""
        return (self._streaming.whole("flybackFrames") or 0) if self.is_fast_z and self.planes > 1 else 0

    @property
    def time_points(self) -> int | None:
        """Samples that were to be taken."""
        return self.root.first("Timelapse").whole("timepoints") or None

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames of one channel that a raw file should hold, flyback included; by each place that tells it."""
        points, streamed = self.time_points, self._streaming.whole("frames")
        told = (streamed if self.is_streaming else None, points and points * (self.planes + self.flyback))
        return tuple(dict.fromkeys(count for count in told if count))

    @property
    def saves_raw(self) -> bool:
        """Whether raw files, and not TIFF, were asked for."""
        return self.is_streaming and self._streaming.text("rawData") == "1"

    @property
    def raw_shape(self) -> tuple[int, int]:
        """``(rows, columns)`` of a raw frame.

        Raises
        ------
        CorruptRecordingError, UnsupportedRecordingError
        """
        source, keys = (self._camera, ("height", "width")) if self._is_camera else (self._lsm, ("pixelY", "pixelX"))
        rows, columns = (source.whole(key) or 0 for key in keys)
        if not (0 < rows <= 1 << 16 and 0 < columns <= 1 << 16):
            seen = ", ".join(f"{key}={printable(source.text(key))!r:.40}" for key in keys)
            raise CorruptRecordingError(
                f"{self.name} does not say how large a frame is: {seen or 'nothing'} in {source.name or 'LSM'}"
            )
        if self._lsm.flag("ThreePhotonEnable") and (self._lsm.whole("NumberOfPlanes") or 1) > 1:
            raise UnsupportedRecordingError(
                f"{self.name} describes {self._lsm.whole('NumberOfPlanes')} planes of three-photon multiplexing in each raw "
                "frame, which is not read; save the recording as TIFF in ThorImage"
            )
        return rows, columns

    @cached_property
    def averaged(self) -> int:
        """Frames that ThorImage averaged into one."""
        source = self._camera if self._is_camera else self._lsm
        on = source.text("averageMode") in ("", "1")
        return max(1, source.whole("averageNum") or 1) if on else 1

    @property
    def scan_rate(self) -> float | None:
        """Frames a second (Hz) before averaging, all planes counted, or None."""
        if self._is_camera:
            told = self._camera.flag("frameRateControlEnabled")
            value = self._camera.number("frameRateControlValue") if told else None
        else:
            value = self._lsm.number("frameRate")
        return value if value and value > 0 else None

    def rate(self, *, averaged: int, planes: int) -> float | None:
        """Return samples a second (Hz), or None.

        Parameters
        ----------
        averaged : int
            Frames that were averaged into one.
        planes : int
            Planes of a sample.
        """
        scan, interval = self.scan_rate, self.root.first("Timelapse").number("intervalSec")
        if not self.is_streaming:
            if interval and interval > 0:
                return 1.0 / interval
            return None if planes > 1 or scan is None else scan / averaged
        return None if scan is None else scan / averaged / (planes + (self.flyback if planes > 1 else 0))

    def rate_note(self, *, averaged: int, planes: int) -> str:
        """Return a sentence about a rate that is nominal or not known, or nothing."""
        if self.rate(averaged=averaged, planes=planes) is None:
            why = "a stack taken step by step" if planes > 1 and not self.is_streaming else "no frame rate"
            return (
                f"{self.name} describes {why}, so that the rate of samples is not known; pass sampling_frequency=<Hz>"
            )
        if not self.is_streaming:
            return f"{self.name} describes a time series, not a stream: the rate is nominal"
        if averaged > 1 and self.is_fast_z:
            return (
                f"{self.name} says that {averaged} frames were averaged and that planes were taken while streaming: the rate counts "
                "both; some versions of ThorImage do not average then: pass sampling_frequency=<Hz> to put another in force"
            )
        return ""

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """``(row, column)`` distance in micrometres, or None."""
        if self._is_camera:
            pixel, scale = self._camera.number("pixelSizeUM"), self.root.first("Magnification").number("mag")
            bins = [self._camera.whole(key) or 1 for key in ("binningY", "binningX")]
            sizes = [pixel * n / scale for n in bins] if pixel and scale else []
        else:
            one = self._lsm.number("pixelSizeUM")
            sizes = [self._lsm.number(key) or one or 0.0 for key in ("pixelHeightUM", "pixelWidthUM")]
        return (sizes[0], sizes[1]) if len(sizes) == 2 and min(sizes) > 0 else None

    @property
    def plane_spacing(self) -> float | None:
        """Distance between planes in micrometres, or None."""
        step = self.root.first("ZStage").number("stepSizeUM")
        return abs(step) or None if step is not None else None

    @property
    def start_time(self) -> datetime | None:
        """When the experiment began, in UTC; without a time zone where only the local date is there; or None."""
        date = self.root.first("Date")
        seconds = date.number("uTime")
        if seconds is not None and 0 < seconds < 1 << 33:
            return datetime.fromtimestamp(seconds, tz=UTC)
        for form in ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p"):
            try:
                return datetime.strptime(date.text("date"), form)
            except ValueError:
                continue
        return None

    @property
    def software(self) -> str:
        """``"ThorImage"`` and its version."""
        version = printable(self.root.first("Software").text("version"))
        return f"ThorImage {version}" if version else "ThorImage"

    @property
    def was_stopped(self) -> bool:
        """Whether the recording was stopped before its end."""
        return self.root.first("ExperimentStatus").text("value") == "Stopped"

    @property
    def _lsm(self) -> Node:
        return self.root.first("LSM")

    @property
    def _camera(self) -> Node:
        return self.root.first("Camera")

    @property
    def _streaming(self) -> Node:
        return self.root.first("Streaming")

    @property
    def _is_camera(self) -> bool:
        return self.root.first("Modality").text("primaryDetectorType") == "0"


class _Tree:
    """Builds the nodes while expat reads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open = [Node("", {}, [])]
        self._count = 0

    @property
    def root(self) -> Node:
        return self._open[0].children[0]

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) > _MAX_DEPTH or self._count > _MAX_NODES:
            raise CorruptRecordingError(f"{self._name} holds more elements than a ThorImage experiment has")
        node = Node(tag.rpartition(":")[2], attributes, [])
        self._open[-1].children.append(node)
        self._open.append(node)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def doctype(self, *_: object) -> None:
        raise UnsupportedRecordingError(f"{self._name} holds a DOCTYPE, which is refused: it could declare entities")


def _parsed(path: str) -> Node:
    file = PositionedFile(path)
    try:
        if file.size > _MAX_BYTES:
            raise CorruptRecordingError(
                f"{file.name} holds {file.size:,} bytes, and no ThorImage experiment has more than {_MAX_BYTES:,}"
            )
        text = file.read(0, file.size)
    finally:
        file.close()
    tree, parser = _Tree(file.name), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = tree.start, tree.end
    parser.StartDoctypeDeclHandler = tree.doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise CorruptRecordingError(
            f"{file.name} is not whole XML: {printable(error)}; copy it again from the microscope's computer"
        ) from error
    except RecordingError:
        raise
    except (ValueError, LookupError) as error:
        raise CorruptRecordingError(f"{file.name} is in an encoding that cannot be read: {printable(error)}") from error
    return tree.root
