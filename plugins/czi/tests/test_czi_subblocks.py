"""CZI files whose subblocks claim what they have no room for: refused before they are read."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from roiextractors_czi.subblocks import Subblocks

import roiextractors_core as roi

PIXELS = 4 * 5 * 2


def segment(name: str, content: bytes, room: int = 0) -> bytes:
    used = len(content)
    return struct.pack("<16sqq", name.encode(), used + room, used) + content.ljust(used + room, b"\0")


def entry(position: int, sample: int, *, kind: bytes = b"DV", part: int = 0) -> bytes:
    axes = {"X": (0, 5), "Y": (0, 4), "C": (0, 1), "T": (sample, 1)}
    words = b"".join(
        struct.pack("<4siifi", name.encode(), start, size, 0.0, size) for name, (start, size) in axes.items()
    )
    return struct.pack("<2siqiiB5xi", kind, 1, position, part, 0, 0, len(axes)) + words


def subblock(position: int, sample: int) -> bytes:
    head = struct.pack("<iiq", 10, 0, PIXELS) + entry(position, sample)
    return segment("ZISRAWSUBBLOCK", head.ljust(256, b"\0") + b"<METADATA>" + bytes(PIXELS), room=16)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., tuple[Path, list[int], int]]:
    """Write a CZI of subblocks alone: its path, where they lie, and where the directory does."""

    def write(count: int = 3, first: int = 7, **changes: bytes | int) -> tuple[Path, list[int], int]:
        content = bytearray(segment("ZISRAWFILE", bytes(512)))
        places = []
        for k in range(count):
            places.append(len(content))
            content += subblock(len(content), first + k)
        directory = len(content)
        entries = b"".join(entry(place, first + k, **changes) for k, place in enumerate(places))  # type: ignore[arg-type]
        content += segment("ZISRAWDIRECTORY", struct.pack("<i124x", count) + entries)
        struct.pack_into("<q", content, 84, directory)
        (tmp_path / "m.czi").write_bytes(content)
        return tmp_path / "m.czi", places, directory

    return write


def changed(path: Path, at: int, form: str, value: int) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, value)
    path.write_bytes(content)
    return path


def test_sound_subblocks_are_let_pass(written: Callable[..., tuple[Path, list[int], int]]) -> None:
    path = written()[0]
    content, found = path.read_bytes(), Subblocks(path)
    assert found.are_sound(np.arange(3)).all()
    for number in (2, 0, 0):
        start, size = found.pixels(number, PIXELS)
        assert content[start - 10 : start + size] == b"<METADATA>" + bytes(PIXELS)


@pytest.mark.parametrize(
    ("at", "form", "value", "words"),
    [
        (0, "<i", 7, r"is not a subblock: it begins with 07 00"),
        (32, "<i", 99, r"claims 99 bytes of metadata, 0 attached and 40 of pixels but has space for 306"),
        (36, "<i", -5, r"claims 10 bytes of metadata, -5 attached"),
        (40, "<q", 1 << 40, r".* 1,099,511,627,776 of pixels"),
        (76, "<i", 0x5D820004, r"claims 1,568,800,772 dimensions, but the directory states 4"),
        (24, "<q", 1 << 50, None),
    ],
)
def test_a_subblock_that_claims_too_much_is_refused_when_its_sample_is_read(
    written: Callable[..., tuple[Path, list[int], int]], at: int, form: str, value: int, words: str | None
) -> None:
    path, places, _ = written()
    found = Subblocks(changed(path, places[1] + at, form, value))
    for number in (0, 2):
        found.pixels(number, PIXELS)
    assert found.are_sound(np.arange(3)).tolist() == [True, words is None, True]
    if words is None:  # what is used is no more than there is
        found.pixels(1, PIXELS)
        return
    with pytest.raises(
        roi.CorruptRecordingError, match=rf"m\.czi is damaged: its subblock at byte {places[1]:,} {words}"
    ):
        found.pixels(1, PIXELS)


@pytest.mark.parametrize("value", [-1, 1 << 40])
def test_a_subblock_outside_of_the_file_is_refused(
    written: Callable[..., tuple[Path, list[int], int]], value: int
) -> None:
    path, _, directory = written()
    found = Subblocks(changed(path, directory + 160 + 6, "<q", value))
    assert found.are_sound(np.arange(3)).tolist() == [False, True, True]
    with pytest.raises(roi.CorruptRecordingError, match="is outside the file"):
        found.pixels(0, PIXELS)


@pytest.mark.parametrize(
    ("at", "form", "value", "words"),
    [
        (84, "<q", 1 << 40, "expected the directory of its subblocks at byte 1,099,511,627,776"),
        (84, "<q", 600, "expected the directory of its subblocks at byte 600"),
        (None, "<i", 1 << 30, "the directory of its subblocks claims 1,073,741,824 entries"),
    ],
)
def test_a_directory_that_is_not_there_is_refused(
    written: Callable[..., tuple[Path, list[int], int]], at: int | None, form: str, value: int, words: str
) -> None:
    path, _, directory = written()
    with pytest.raises(roi.CorruptRecordingError, match=words):
        Subblocks(changed(path, directory + 32 if at is None else at, form, value))


def test_an_entry_of_a_hundred_dimensions_is_refused(written: Callable[..., tuple[Path, list[int], int]]) -> None:
    path, _, directory = written()
    with pytest.raises(
        roi.CorruptRecordingError, match="an entry in the directory of its subblocks claims 100 dimensions"
    ):
        Subblocks(changed(path, directory + 160 + 28, "<i", 100))


@pytest.mark.parametrize("changes", [{"kind": b"DE"}, {"part": 1}])
def test_what_is_of_another_kind_or_in_another_file_is_not_a_frame(
    written: Callable[..., tuple[Path, list[int], int]], changes: dict[str, bytes | int]
) -> None:
    path, places, _ = written(**changes)
    found = Subblocks(changed(path, places[1], "<i", 7))
    assert len(found.select()) == 0
    assert found.are_sound(found.select()).all()
