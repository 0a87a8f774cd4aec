"""Reads the metadata of Zeiss LSM files: axes, sizes in metres, times, lasers and detectors."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from roiextractors_core import ChannelMetadata
from roiextractors_core.errors import printable

from .pages import Directory
from .vendor import VendorFacts, named_objective

__all__ = ["LSM", "lsm_facts"]

LSM = 34412
"""The tag with the structure of a Zeiss LSM file."""

_MAGICS = (0x00300494C, 0x00400494C)
# Places in the structure, and how struct writes their types
_FIELDS = {
    **{"size": (4, "i"), "Y": (12, "i"), "Z": (16, "i"), "C": (20, "i"), "T": (24, "i"), "data_type": (28, "i")},
    **{"voxel_x": (40, "d"), "voxel_y": (48, "d"), "voxel_z": (56, "d"), "scan_type": (88, "H"), "colors": (108, "I")},
    **{"interval": (112, "d"), "scan": (124, "I"), "stamps": (132, "I"), "wavelengths": (204, "I")},
    **{"P": (264, "i"), "M": (268, "i")},
}
# The orders of the pages by the type of the scan; other types are single lines or points, whose rows are times
_ORDERS = {0: "Z", 3: "T", 4: "T", 6: "TZ", 7: "TZ", 9: "T"}
_MAX_BLOCK = 4 << 20
_MAX_STAMPS = 1 << 24
_MAX_LENGTH = 1 << 20  # of one axis; a damaged one must not become a product of huge numbers

# Blocks of the scan's description
_RECORDING, _TRACK, _DETECTION, _ILLUMINATION, _DATA = 0x10000000, 0x40000000, 0x70000000, 0x90000000, 0xD0000000
_END = 0xFFFFFFFF
_TEXT, _LONG, _DOUBLE = 2, 4, 5
_MIN_INFRARED = 680.0  # nanometres: confocal microscopes excite below, two-photon microscopes above


def lsm_facts(first: Directory) -> VendorFacts | None:
    """Return the facts of a file's first directory; None where it is not Zeiss LSM.

    References
    ----------
    Carl Zeiss, "LSM 5/7/8 Image File Format", the description of the tag CZ_LSMINFO.
    """
    if LSM not in first.entries or first.tiff.order != "<":
        return None
    raw = first.tiff.file.read(first.place(LSM)[0], 512)
    if len(raw) < 8 or struct.unpack_from("<I", raw)[0] not in _MAGICS:
        return None
    length = min(len(raw), max(0, struct.unpack_from("<i", raw, 4)[0]))
    info = {
        key: struct.unpack_from("<" + form, raw, at)[0] if at + struct.calcsize(form) <= length else 0
        for key, (at, form) in _FIELDS.items()
    }
    scan = _Block.of(first, info["scan"])
    sizes = [1e6 * info[key] if 0 < info[key] < 1 else None for key in ("voxel_y", "voxel_x", "voxel_z")]
    shape, axes = _axes(info)
    channels = _channels(first, info, scan)
    interval = info["interval"]
    return VendorFacts(
        shape=shape,
        axes=axes,
        sample_times=(lambda: _stamps(first, info["stamps"])) if "T" in axes else None,
        interval=interval if 0 < interval < 1e7 and "T" in axes else None,
        start_time=_date(scan.values.get(0x10000036)),
        # The rows of a scan in depth are planes
        pixel_size=(sizes[0], sizes[1]) if sizes[0] and sizes[1] and info["scan_type"] in (0, 3, 6) else None,
        plane_spacing=sizes[2] if "Z" in axes else None,
        channels=channels,
        objective=named_objective(scan.text(0x10000004)),
        zoom=scan.number(0x10000016),
        bit_depth=12 if info["data_type"] == 2 else None,
        modality=_modality(channels),
        device="Zeiss LSM",
        vendor=dict(_described(scan, info)),
    )


def _axes(info: dict[str, Any]) -> tuple[tuple[int, ...], str]:
    """Return the lengths and letters of the axes of the pages: tiles and positions, time, depth."""
    order = _ORDERS.get(info["scan_type"], "")
    lengths = {axis: info[axis] for axis in order}
    positions = max(1, info["P"]) * max(1, info["M"])
    if not all(0 < n < _MAX_LENGTH for n in (*lengths.values(), positions)):
        return (), ""
    lengths = {axis: n for axis, n in {"P": positions, **lengths}.items() if n > 1}
    return tuple(lengths.values()), "".join(lengths)


@dataclass
class _Block:
    """A block of the scan's description, and those inside it."""

    code: int
    values: dict[int, Any] = field(default_factory=dict)
    inside: list[_Block] = field(default_factory=list)

    @classmethod
    def of(cls, first: Directory, offset: int) -> _Block:
        """Read the description; what is damaged ends it."""
        root = cls(_RECORDING)
        raw = first.tiff.file.read(offset, _MAX_BLOCK) if offset >= 8 else b""
        if len(raw) < 12 or struct.unpack_from("<I", raw)[0] != _RECORDING:
            return root
        at, stack = 12, [root]
        while stack and at + 12 <= len(raw):
            code, kind, size = struct.unpack_from("<III", raw, at)
            at += 12
            data = raw[at : at + size]
            if len(data) < size:
                break
            at += size
            if code == _END:
                stack.pop()
            elif kind == 0:
                stack.append(cls(code))
                stack[-2].inside.append(stack[-1])
            elif kind == _TEXT:
                stack[-1].values[code] = data.split(b"\0")[0].decode("latin-1").strip()
            elif kind == _LONG and size == 4:
                stack[-1].values[code] = struct.unpack("<i", data)[0]
            elif kind == _DOUBLE and size == 8:
                stack[-1].values[code] = struct.unpack("<d", data)[0]
        return root

    def text(self, code: int) -> str:
        value = self.values.get(code, "")
        return printable(value) if isinstance(value, str) else ""

    def number(self, code: int) -> float | None:
        """Return a number above zero, or None."""
        value = self.values.get(code)
        return float(value) if isinstance(value, int | float) and 0 < value < 1e9 else None

    def is_on(self, *codes: int) -> bool:
        """Return whether a part was used; one that does not say so was."""
        return all(self.values.get(code, 1) != 0 for code in codes)

    def all_of(self, code: int) -> Iterator[_Block]:
        """Yield the blocks of a kind, at any depth."""
        for block in self.inside:
            if block.code == code:
                yield block
            yield from block.all_of(code)


def _channels(first: Directory, info: dict[str, Any], scan: _Block) -> tuple[ChannelMetadata, ...]:
    """Return the channels of the image: those that each track recorded, in order."""
    count = info["C"]
    if not 0 < count <= 1024:
        return ()
    bands = _bands(first, info["wavelengths"], count)
    found: list[ChannelMetadata] = []
    for track in scan.all_of(_TRACK):
        if not track.is_on(0x40000006):
            continue
        beams = [one for one in track.all_of(_ILLUMINATION) if one.is_on(0x90000004) and one.number(0x90000003)]
        lines = tuple(one.number(0x90000003) or 0.0 for one in beams)
        for data in track.all_of(_DATA):
            if data.is_on(0xD0000003, 0xD0000017):
                found.append(
                    ChannelMetadata(
                        data.text(0xD0000001),
                        excitation_wavelength=lines[0] if len(lines) == 1 else None,
                        detection_band=_band(track, data.text(0xD0000001)),
                        laser_lines=lines,
                        laser_power=beams[0].number(0x90000002) if len(beams) == 1 else None,
                    )
                )
    if len(found) != count:
        found = [ChannelMetadata("")] * count
    names = [one.name for one in found]
    if len(set(names)) < count or not all(names):
        named = _names(first, info["colors"])
        names = named if len(set(named)) == count == len(named) else [str(k + 1) for k in range(count)]
    return tuple(
        ChannelMetadata(
            name, None, one.excitation_wavelength, one.detection_band or band, one.laser_lines, one.laser_power
        )
        for name, one, band in zip(names, found, bands, strict=True)
    )


def _band(track: _Block, name: str) -> tuple[float, float] | None:
    """Return the limits of the detector that a channel is named after."""
    for detector in track.all_of(_DETECTION):
        limits = detector.number(0x70000022), detector.number(0x70000023)
        is_named = name and name.split("-")[0] == detector.text(0x70000014).split("-")[0]
        if is_named and detector.is_on(0x7000000B) and limits[0] and limits[1] and 100 < limits[0] < limits[1] < 3000:
            return limits[0], limits[1]
    return None


def _bands(first: Directory, offset: int, count: int) -> list[tuple[float, float] | None]:
    """Return the bands of a spectral scan, which are stored in metres."""
    raw = first.tiff.file.read(offset, 4 + 16 * count) if offset >= 8 else b""
    if len(raw) < 4 + 16 * count or struct.unpack_from("<i", raw)[0] != count:
        return [None] * count
    pairs = [struct.unpack_from("<dd", raw, 4 + 16 * k) for k in range(count)]
    return [(a * 1e9, b * 1e9) if 1e-7 < a < b < 3e-6 else None for a, b in pairs]


def _names(first: Directory, offset: int) -> list[str]:
    """Return the names of the channels beside their colours."""
    raw = first.tiff.file.read(offset, 1 << 16) if offset >= 8 else b""
    if len(raw) < 24:
        return []
    size, _, count, _, begin, _ = struct.unpack_from("<6I", raw)
    rest = raw[begin:size]
    names: list[str] = []
    while len(rest) > 4 and len(names) < count:
        length = struct.unpack_from("<I", rest)[0]
        names.append(printable(rest[4 : 4 + length].split(b"\0")[0].decode("latin-1")))
        rest = rest[4 + length :]
    return names


def _modality(channels: tuple[ChannelMetadata, ...]) -> str | None:
    lines = [line for channel in channels for line in channel.laser_lines]
    if not lines:
        return None
    return "two-photon" if min(lines) >= _MIN_INFRARED else "confocal" if max(lines) < _MIN_INFRARED else None


def _stamps(first: Directory, offset: int) -> np.ndarray | None:
    """Return the seconds of each time point."""
    head = first.tiff.file.read(offset, 8) if offset >= 8 else b""
    size, count = struct.unpack("<ii", head) if len(head) == 8 else (0, 0)
    if not 0 < count < _MAX_STAMPS or size != 8 + 8 * count:
        return None
    raw = first.tiff.file.read(offset + 8, 8 * count)
    return np.frombuffer(raw, "<f8").astype(np.float64) if len(raw) == 8 * count else None


def _date(days: Any) -> datetime | None:
    # Days since 30 December 1899, as Windows counts them, by the clock on the wall; LSM microscopes exist since 1990
    if not isinstance(days, float) or not 32874 < days < 73051:
        return None
    return datetime(1899, 12, 30) + timedelta(milliseconds=round(days * 86_400_000))


def _described(scan: _Block, info: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    names = {0x10000001: "Name", 0x10000002: "Description", 0x10000003: "Notes", 0x10000004: "Objective"}
    names |= {0x10000006: "SpecialScanMode", 0x10000008: "ScanMode", 0x10000047: "User"}
    for code, name in names.items():
        if scan.text(code):
            yield name, scan.text(code)
    yield "ScanType", info["scan_type"]
    yield "TimeInterval", info["interval"]
    lasers = [
        {"Name": one.text(0x50000001), "Power": one.number(0x50000003)}
        for one in scan.all_of(0x50000000)
        if one.is_on(0x50000002)
    ]
    if lasers:
        yield "Lasers", lasers
