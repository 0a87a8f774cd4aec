"""The description of a ThorImage recording in its Experiment.xml."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from xml.etree.ElementTree import Element

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, printable
from roiextractors_core.io import PositionedFile, parse_xml
from roiextractors_core.metadata import ObjectiveMetadata

__all__ = ["Experiment", "Node"]

_MAX_BYTES = 16 << 20
_MAX_DEPTH = 64
_MAX_ELEMENTS = 200_000
_Z_AND_T = 0  # CaptureMode: a series of single frames; any other mode is a stream


@dataclass(frozen=True, slots=True)
class Node:
    """One XML element, with its attributes read as numbers and flags."""

    element: Element

    @property
    def name(self) -> str:
        """The tag without its namespace prefix."""
        return self.element.tag.rpartition(":")[2]

    @property
    def attributes(self) -> Mapping[str, str]:
        """The attributes as text."""
        return self.element.attrib

    @property
    def children(self) -> list[Node]:
        """The elements in this one."""
        return [Node(child) for child in self.element]

    def first(self, name: str) -> Node:
        """Return the first child with that name; an empty element if there is none."""
        # A file may have 200,000 elements, and some forty names are looked up
        element = self.element.find(name)
        if element is None:
            element = next((child for child in self.element if child.tag.endswith(f":{name}")), None)
        return _NOTHING if element is None else Node(element)

    def text(self, key: str) -> str:
        """Return an attribute, or an empty string."""
        return self.attributes.get(key, "")

    def number(self, key: str) -> float | None:
        """Return an attribute that is a finite number, or None."""
        try:
            value = float(self.text(key))
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def whole(self, key: str) -> int | None:
        """Return an attribute that is an integer from 0 to 2**31, or None."""
        value = self.number(key)
        return int(value) if value is not None and 0 <= value < 1 << 31 and value == int(value) else None

    def flag(self, key: str) -> bool | None:
        """Return an attribute that is 0, 1, true or false, or None."""
        return {"1": True, "true": True, "0": False, "false": False}.get(self.text(key).strip().lower())

    def to_dict(self) -> dict[str, Any]:
        """Return attributes as ``@name`` and children by name, repeated ones as a list."""
        result: dict[str, Any] = {f"@{key}": value for key, value in self.attributes.items()}
        for child in self.children:
            plain = child.to_dict()
            before = result.get(child.name)
            if before is None:
                result[child.name] = plain
            elif isinstance(before, list):
                before.append(plain)
            else:
                result[child.name] = [before, plain]
        return result


_NOTHING = Node(Element(""))


class Experiment:
    """The facts of one ``Experiment.xml``.

    Parameters
    ----------
    path : str
        The file.

    Raises
    ------
    CorruptRecordingError
        The file is not XML, is truncated, or is another document.
    UnsupportedRecordingError
        It contains a DOCTYPE, which could declare entities.

    References
    ----------
    ThorImage LS user guide, Thorlabs; the ThorImage LS sources as published by Thorlabs under
    ``cajigaslab/thorimagels_dev_vs2019`` (ExperimentXML, RunSample, ImageReview); the readers
    ``NeLy-EPFL/utils2p`` and ``ejhonglab/hong2p``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.root = self._read(path)
        if self.root.name != "ThorImageExperiment":
            raise CorruptRecordingError(
                f"{self.name} is not a ThorImage experiment: its root element is {printable(self.root.name)!r:.80}"
            )

    def _read(self, path: str) -> Node:
        file = PositionedFile(path)
        try:
            if file.size > _MAX_BYTES:
                raise CorruptRecordingError(
                    f"{self.name} is too large for a ThorImage experiment ({file.size:,} bytes)"
                )
            data = file.read(0, file.size)
        finally:
            file.close()
        advice = "copy it again from the microscope's computer"
        return Node(parse_xml(data, self.name, max_elements=_MAX_ELEMENTS, max_depth=_MAX_DEPTH, advice=advice))

    @property
    def name(self) -> str:
        """The file's name, safe to print."""
        return printable(os.path.basename(self.path))

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """The names of the saved channels, in order."""
        waves = (node.text("name") for node in self.root.first("Wavelengths").children if node.name == "Wavelength")
        return tuple(dict.fromkeys(name for name in waves if name))

    @cached_property
    def enabled(self) -> tuple[int, ...]:
        """The indices of the enabled channels among all channels of the microscope, from 0."""
        # A bit mask; the attribute of LSM is used where the experiment has no ChannelEnable
        mask = self.root.first("Wavelengths").first("ChannelEnable").whole("Set") or self._lsm.whole("channel") or 0
        return tuple(place for place in range(16) if mask >> place & 1)

    @property
    def only_enabled_are_raw(self) -> bool | None:
        """Whether raw files leave out the channels that are not enabled; None if the version does not say."""
        return self.root.first("RawData").flag("onlyEnabledChannels")

    @cached_property
    def is_streaming(self) -> bool:
        """Whether frames were taken without a pause, and not one by one in a series over Z and T."""
        mode = self.root.first("CaptureMode").whole("mode")
        if mode is not None:
            return mode != _Z_AND_T
        return self._streaming.flag("enable") is not False

    @cached_property
    def is_fast_z(self) -> bool:
        """Whether the planes were acquired while streaming."""
        return self.is_streaming and self._streaming.flag("zFastEnable") is True

    @cached_property
    def planes(self) -> int:
        """Planes of a sample."""
        # ``steps`` keeps the value of an earlier stack when Z is switched off, so it counts only together with its switch
        stage = self.root.first("ZStage")
        steps = max(1, stage.whole("steps") or 1)
        if self.is_streaming and self._streaming.attributes:
            return steps if self.is_fast_z else 1
        return steps if stage.flag("enable") is not False else 1

    @property
    def planes_doubt(self) -> str:
        """A sentence about a switched-on stack whose number of planes is not one; else empty."""
        stage, is_on = self.root.first("ZStage"), self.is_fast_z
        text = stage.text("steps")
        if not self._streaming.attributes or not self.is_streaming:
            is_on = stage.flag("enable") is True
        if not is_on or not text.strip() or stage.whole("steps"):
            return ""
        return f"{self.name} states {printable(text)[:40]!r} planes (steps of ZStage) of a stack; the frames are read as frames in time"

    @property
    def flyback(self) -> int:
        """Frames after the planes of each volume, acquired while the stage returns."""
        return (self._streaming.whole("flybackFrames") or 0) if self.is_fast_z and self.planes > 1 else 0

    @property
    def time_points(self) -> int | None:
        """The intended number of samples."""
        return self.root.first("Timelapse").whole("timepoints") or None

    @property
    def frames(self) -> tuple[int, ...]:
        """The expected frames of one channel in a raw file, including flyback; one number for each entry that states it."""
        points, streamed = self.time_points, self._streaming.whole("frames")
        counts = (streamed if self.is_streaming else None, points and points * (self.planes + self.flyback))
        return tuple(dict.fromkeys(count for count in counts if count))

    @property
    def saves_raw(self) -> bool:
        """Whether the experiment was set to save raw files instead of TIFF."""
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
                f"{self.name} does not give the size of a frame: got {seen or 'nothing'} in {source.name or 'LSM'}"
            )
        if self._lsm.flag("ThreePhotonEnable") and (self._lsm.whole("NumberOfPlanes") or 1) > 1:
            raise UnsupportedRecordingError(
                f"{self.name} describes {self._lsm.whole('NumberOfPlanes')} planes of three-photon multiplexing in each raw "
                "frame, which is not supported; save the recording as TIFF in ThorImage"
            )
        return rows, columns

    @property
    def described_shape(self) -> tuple[int, int] | None:
        """``(rows, columns)`` of a frame of the laser scanning microscope, or None."""
        rows, columns = (self._lsm.whole(key) or 0 for key in ("pixelY", "pixelX"))
        # The experiment of a camera also has an LSM element, which does not describe its frames
        return (rows, columns) if rows and columns and not self._is_camera else None

    @cached_property
    def averaged(self) -> int:
        """The number of frames that ThorImage averaged into one."""
        source = self._camera if self._is_camera else self._lsm
        on = source.text("averageMode") in ("", "1")
        return max(1, source.whole("averageNum") or 1) if on else 1

    @property
    def scan_rate(self) -> float | None:
        """Frames per second (Hz) before averaging, counting all planes, or None."""
        if self._is_camera:
            is_set = self._camera.flag("frameRateControlEnabled")
            value = self._camera.number("frameRateControlValue") if is_set else None
        else:
            value = self._lsm.number("frameRate")
        return value if value and value > 0 else None

    def rate(self, *, averaged: int, planes: int) -> float | None:
        """Return samples per second (Hz), or None.

        Parameters
        ----------
        averaged : int
            Number of frames averaged into one.
        planes : int
            Planes of a sample.
        """
        scan, interval = self.scan_rate, self.root.first("Timelapse").number("intervalSec")
        if not self.is_streaming:
            # In a time series, the interval counts, not the speed of the scanner
            if interval and interval > 0:
                return 1.0 / interval
            return None if planes > 1 or scan is None else scan / averaged
        return None if scan is None else scan / averaged / (planes + (self.flyback if planes > 1 else 0))

    def rate_note(self, *, averaged: int, planes: int, has_times: bool = True) -> str:
        """Return a sentence about a rate that is nominal or unknown, or an empty string."""
        if self.rate(averaged=averaged, planes=planes) is None:
            is_stack = planes > 1 and not self.is_streaming
            why = "describes a stack acquired step by step" if is_stack else "does not contain a frame rate"
            return f"{self.name} {why}, so the sampling rate is unknown; pass sampling_frequency=<Hz>"
        if not self.is_streaming:
            return f"{self.name} describes a time series, not a stream, so the rate is nominal"
        if averaged > 1 and self.is_fast_z:
            return (
                f"{self.name} lists both an average of {averaged} frames and planes acquired while streaming, and the rate accounts "
                "for both; some versions of ThorImage do not average then: pass sampling_frequency=<Hz> to use another rate"
            )
        if averaged > 1 and not has_times:
            return (
                f"{self.name} lists an average of {averaged} frames, the rate accounts for it, and there are no times to compare it with; "
                "pass sampling_frequency=<Hz> to use another rate"
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
    def objective(self) -> ObjectiveMetadata | None:
        """The objective: its name, and the magnification in it, which is nominal, or the effective one."""
        node = self.root.first("Magnification")
        name, effective = printable(node.text("name")), node.number("mag")
        in_name = re.search(r"(?<![\d.])(\d{1,3}(?:\.\d+)?) ?[xX](?!\d)", name)
        nominal = float(in_name[1]) if in_name else effective if effective and effective > 0 else None
        return ObjectiveMetadata(name or None, nominal) if name or nominal else None

    @property
    def modality(self) -> str | None:
        """``"two-photon"``, ``"three-photon"`` or ``"confocal"`` where the experiment says so, or None."""
        name = self.root.first("Modality").text("name").lower()
        if self._is_camera:
            return None
        if self._lsm.flag("ThreePhotonEnable"):
            return "three-photon"
        return "two-photon" if "multiphoton" in name else "confocal" if "confocal" in name else None

    @property
    def bit_depth(self) -> int | None:
        """The bits of a camera's pixel, or None."""
        bits = self._camera.whole("bitsPerPixel") if self._is_camera else None
        return bits if bits and bits <= 16 else None

    @property
    def laser_power(self) -> float | None:
        """The power of the only modulator that was on, in percent, if it is the same for all planes; or None."""
        nodes = [node for node in self.root.children if node.name in ("Pockels", "PowerRegulator")]
        on = [node for node in nodes if (node.number("start") or 0) > 0 or (node.number("stop") or 0) > 0]
        # A power that changes over the planes is not one number
        if len(on) != 1 or on[0].flag("enable") is False or on[0].number("start") != on[0].number("stop"):
            return None
        power = on[0].number("start")
        return power if power is not None and power <= 100 else None

    @property
    def wavelength(self) -> float | None:
        """The wavelength of the multiphoton laser in nanometres, if it is known and was on."""
        node = self.root.first("MultiPhotonLaser")
        position = node.number("pos")
        return position if node.flag("enable") and position and 600 <= position <= 2000 else None

    def exposure_time(self, channel: str) -> float | None:
        """Return the exposure of a channel in seconds, or None."""
        waves = self.root.first("Wavelengths").children
        # milliseconds in the file
        milliseconds = next((node.number("exposureTimeMS") for node in waves if node.text("name") == channel), None)
        return milliseconds / 1000.0 if milliseconds and milliseconds > 0 else None

    @property
    def start_time(self) -> datetime | None:
        """The start of the experiment in UTC; without a time zone if there is only a local date; or None."""
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
