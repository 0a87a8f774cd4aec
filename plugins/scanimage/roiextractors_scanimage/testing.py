"""ScanImage files written from recordings: for tests, examples and the demonstration."""

from __future__ import annotations

import itertools
import json
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np

from roiextractors_core import ImagingExtractor
from roiextractors_core.errors import DeclarationError
from roiextractors_core.testing.writing import (
    Progress,
    TiffDirectory,
    page_fields,
    rational,
    read_blocks,
    report_progress,
    tiff_head,
    write_whole,
)

__all__ = ["write_scanimage", "write_two_photon"]


def write_scanimage(
    channels: ImagingExtractor | Sequence[ImagingExtractor],
    path: str | os.PathLike[str],
    *,
    frame_rate: float | None = None,
    num_flyback: int = 0,
    pixel_size: float = 1.0,
    plane_spacing: float = 20.0,
    channel_names: Sequence[str] | None = None,
    start_time: datetime = datetime(2026, 1, 15, 10, 30),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write recordings as the channels of a ScanImage BigTIFF (layout version 4).

    Parameters
    ----------
    channels : ImagingExtractor or sequence of ImagingExtractor
        Of int16 and of one shape; a page a frame, channels fastest; volumes are written as slices.
    path : str or os.PathLike
        The file appears under this name when it is complete.
    frame_rate : float, optional
        Frames a second (Hz), flyback counted; the volume rate follows from it.  When left out, it follows from the
        rate of the first recording.
    num_flyback : int
        Discarded frames after every volume; their pixels have the lowest value of the dtype.
    pixel_size, plane_spacing : float
        Micrometres.
    channel_names : sequence of str, optional
        ``"Channel 1"``, ... when left out.
    start_time : datetime
        When the acquisition began.
    overwrite, progress
        As for :func:`write_npy`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TargetExistsError, SourceNotFoundError
        As for :func:`write_npy`.
    DeclarationError
        The recordings are not int16, not of one shape, or have no samples.

    References
    ----------
    ScanImage documentation, "ScanImage BigTiff Specification": a static block at byte 16 that contains the header and the
    regions of interest, then pages of equal length, each a directory, its description, its pixels.
    """
    recordings = [channels] if isinstance(channels, ImagingExtractor) else list(channels)
    names = list(channel_names or (f"Channel {k + 1}" for k in range(len(recordings))))
    scan = _checked_scan(recordings, names, frame_rate, num_flyback, (pixel_size, plane_spacing))
    header, regions = scan.header().encode() + b"\0", scan.regions().encode() + b"\0"
    # Magic number and layout version 4 of the specification, then the lengths of header and regions
    static = struct.pack("<IIII", 117637889, 4, len(header), len(regions)) + header + regions
    static += bytes(4 - len(static) % 4)
    fields = {
        **page_fields(scan.rows, scan.columns, np.dtype(np.int16)),
        270: (2, 2001, 0),
        274: (3, 1, 1),
        282: (5, 1, rational(1e4 / pixel_size)),
        283: (5, 1, rational(1e4 / pixel_size)),
        284: (3, 1, 1),
        296: (3, 1, 3),
        305: (2, len(header), 32),
        315: (2, len(regions), 32 + len(header)),
    }
    size = 2 * scan.rows * scan.columns
    directory = TiffDirectory(fields, size, "<", True)
    described = len(directory) + 2001
    described += -described % 8  # so that the pixels begin at a multiple of 8 within the page, as ScanImage writes them

    def pages() -> Iterator[np.ndarray]:
        for done, block in read_blocks(recordings):
            for samples in zip(*block, strict=True):
                yield from scan.pages(samples)
            report_progress(progress, done, len(recordings[0]))

    def content(stream: BinaryIO) -> None:
        at = 16 + len(static)
        stream.write(tiff_head("<", True, at) + static)
        for page, pixels in enumerate(pages()):
            following = 0 if page == scan.num_pages - 1 else at + described + size
            text = _frame_text(page // len(recordings), scan.frame_rate, start_time)
            table = directory.placed(at + described, following, at + len(directory))
            stream.write((table + text).ljust(described, b"\0"))
            stream.write(np.ascontiguousarray(pixels, "<i2").data)
            at += described + size

    return write_whole(path, content, overwrite)


write_two_photon = write_scanimage  # `roiextractors demo` looks for a writer by this name


@dataclass(frozen=True, slots=True)
class _Scan:
    """The properties of an acquisition that ScanImage writes into its header."""

    rows: int
    columns: int
    planes: int
    flyback: int
    num_volumes: int
    names: tuple[str, ...]
    frame_rate: float
    pixel_size: float
    plane_spacing: float

    @property
    def frames_a_volume(self) -> int:
        """Frames of a volume, flyback counted."""
        return self.planes + self.flyback

    @property
    def num_pages(self) -> int:
        """Pages of the file."""
        return self.num_volumes * self.frames_a_volume * len(self.names)

    def pages(self, samples: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the pages of one sample of every channel: channels fastest, then planes, then the flyback."""
        stacks = [sample if sample.ndim == 3 else sample[..., None] for sample in samples]
        for plane in range(self.planes):
            yield from (stack[..., plane] for stack in stacks)
        discarded = np.full((self.rows, self.columns), np.iinfo(np.int16).min, np.int16)
        yield from itertools.repeat(discarded, self.flyback * len(stacks))

    def header(self) -> str:
        """Return the lines of the header."""
        count, fast = len(self.names), self.frames_a_volume > 1
        saved = f"[{' '.join(str(k + 1) for k in range(count))}]" if count > 1 else "1"
        right, bottom = self.pixel_size * self.columns / 2, self.pixel_size * self.rows / 2
        corners = [(-right, -bottom), (right, -bottom), (right, bottom), (-right, bottom)]
        depths = " ".join(f"{plane * self.plane_spacing:.10g}" for plane in range(self.planes))
        values = {
            "LINE_FORMAT_VERSION": 1,
            "TIFF_FORMAT_VERSION": 4,
            "VERSION_MAJOR": 2023,
            "VERSION_MINOR": 0,
            "VERSION_UPDATE": 0,
            "acqState": "'grab'",
            "hChannels.channelName": "{" + " ".join(_quoted(name) for name in self.names) + "}",
            "hChannels.channelSave": saved,
            "hChannels.channelsActive": saved,
            "hFastZ.discardFlybackFrames": _truth(self.flyback > 0),
            "hFastZ.enable": _truth(fast),
            "hFastZ.numDiscardFlybackFrames": self.flyback,
            "hRoiManager.imagingFovUm": "[" + ";".join(f"{x:.10g} {y:.10g}" for x, y in corners) + "]",
            "hRoiManager.linesPerFrame": self.rows,
            "hRoiManager.mroiEnable": "false",
            "hRoiManager.pixelsPerLine": self.columns,
            "hRoiManager.scanFramePeriod": repr(1 / self.frame_rate),
            "hRoiManager.scanFrameRate": repr(self.frame_rate),
            "hRoiManager.scanVolumeRate": repr(self.frame_rate / self.frames_a_volume),
            "hScan2D.logAverageFactor": 1,
            "hScan2D.logFramesPerFile": "Inf",
            "hStackManager.actualNumSlices": self.planes,
            "hStackManager.actualNumVolumes": self.num_volumes,
            "hStackManager.enable": _truth(fast),
            "hStackManager.framesPerSlice": 1 if fast else self.num_volumes,
            "hStackManager.numFramesPerVolume": self.planes,
            "hStackManager.numFramesPerVolumeWithFlyback": self.frames_a_volume,
            "hStackManager.numSlices": self.planes,
            "hStackManager.numVolumes": self.num_volumes if fast else 1,
            "hStackManager.stackMode": "'fast'",
            "hStackManager.stackZStepSize": f"{self.plane_spacing:.10g}",
            "hStackManager.zs": f"[{depths}]" if self.planes > 1 else "0",
            "objectiveResolution": 15,
        }
        return "\n".join(f"SI.{key} = {value}" for key, value in values.items())

    def regions(self) -> str:
        """Return the regions of interest as JSON: one field, the whole of the view."""
        field = {
            "ver": 1,
            "classname": "scanimage.mroi.scanfield.fields.RotatedRectangle",
            "centerXY": [0, 0],
            # Degrees: micrometres over objectiveResolution (15 micrometres a degree)
            "sizeXY": [self.pixel_size * self.columns / 15, self.pixel_size * self.rows / 15],
            "pixelResolutionXY": [self.columns, self.rows],
        }
        roi = {"ver": 1, "classname": "scanimage.mroi.Roi", "zs": 0, "scanfields": field}
        group = {"ver": 1, "classname": "scanimage.mroi.RoiGroup", "rois": roi}
        return json.dumps({"RoiGroups": {"imagingRoiGroup": group}}, indent=2)


def _frame_text(frame: int, frame_rate: float, start_time: datetime) -> bytes:
    """Return the description of the pages of one frame, as long as every other: 2,000 bytes and a NUL."""
    seconds = start_time.second + start_time.microsecond / 1e6
    values = {
        "frameNumbers": frame + 1,
        "acquisitionNumbers": 1,
        "frameNumberAcquisition": frame + 1,
        "frameTimestamps_sec": f"{frame / frame_rate:.9f}",
        "acqTriggerTimestamps_sec": "-0.000050000",
        "nextFileMarkerTimestamps_sec": "-1.000000000",
        "endOfAcquisition": 0,
        "endOfAcquisitionMode": 0,
        "dcOverVoltage": 0,
        "epoch": f"[{start_time:%Y} {start_time.month} {start_time.day} {start_time.hour} {start_time.minute} {seconds:.3f}]",
        "auxTrigger0": "[]",
        "I2CData": "{}",
    }
    # ScanImage pads the description, so that pages are equidistant and need not be walked
    return "".join(f"{key} = {value}\n" for key, value in values.items()).encode().ljust(2000) + b"\0"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _checked_scan(
    recordings: Sequence[ImagingExtractor],
    names: Sequence[str],
    frame_rate: float | None,
    num_flyback: int,
    distances: tuple[float, float],
) -> _Scan:
    if not recordings or len(names) != len(recordings) or num_flyback < 0 or len(recordings[0]) == 0:
        raise DeclarationError(
            "a ScanImage file needs a channel with a sample, one name per channel and no negative num_flyback, "
            f"got {len(recordings)} channels, {len(names)} names and num_flyback={num_flyback}"
        )
    first = recordings[0]
    other = [r for r in recordings if r.shape != first.shape or r.dtype != np.int16]
    if other:
        raise DeclarationError(
            f"ScanImage channels must be int16 and have the same shape, but the first has {first.shape} and "
            f"another is {other[0].dtype} of {other[0].shape}"
        )
    frames = first.get_num_planes() + num_flyback
    rate = (first.get_sampling_frequency() or 30.0) * frames if frame_rate is None else float(frame_rate)
    for number in (rate, *distances):
        if not 0 < number < 1e9:
            raise DeclarationError(f"rates and distances must be above 0 and below 1e9, got {number}")
    rows, columns = first.get_frame_shape()
    return _Scan(
        rows, columns, first.get_num_planes(), num_flyback, len(first), tuple(names), rate, distances[0], distances[1]
    )
