"""Closing, open files, memory and bytes read."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import roiextractors_core as roi

from ...errors import ClosedRecordingError
from ...imaging.extractor import ImagingExtractor
from ..cuts import copy_recording
from ..descriptors import can_tell_open_files, held_open, opened_names
from ..layouts import costs_once_a_code_path
from .case import KIB, Case, GivenRecording, quiet
from .judging import ATTEMPTS, CLOSED_ADVICE, bytes_read, fail, refusal
from .reads import read_everything

__all__ = ["ResourceTests"]

_HEADER_MEMORY = 4 << 20  # bytes that opening may take temporarily, to read a header of any format


class ResourceTests(GivenRecording):
    """The cost of a read is bounded by its size, and closing releases everything."""

    def test_reading_after_closing_is_refused(self, case: Case) -> None:
        opened = case.open()
        view = opened.slice_samples(0, 2)
        opened.get_series(0, 1)
        plane = slice(0, 1) if opened.is_volumetric else None
        opened.close()
        opened.close()  # a second close does nothing
        reads: dict[str, Callable[[], Any]] = {
            "get_series()": opened.get_series,
            "get_series(0, 1)": lambda: opened.get_series(0, 1),
            "get_samples([0])": lambda: opened.get_samples([0]),
            "recording[0]": lambda: opened[0],
            "recording[0, :1, :1]": lambda: opened[0, :1, :1],
            "get_block of one pixel": lambda: opened.get_block(slice(0, 1), slice(0, 1), slice(0, 1), plane),
            "a view's get_series()": view.get_series,
        }
        for words, read in reads.items():
            with refusal((ClosedRecordingError,), f"{words} after close()", CLOSED_ADVICE):
                read()
        with case.open() as other:
            other.get_series(0, 1)
        with refusal((ClosedRecordingError,), "get_series() after the with statement", CLOSED_ADVICE):
            other.get_series(0, 1)

    def test_no_file_stays_open(self, case: Case, workplace: Path) -> None:
        if not can_tell_open_files():
            pytest.skip(f"{sys.platform} does not say which files are open")
        copy = copy_recording(case.recording, workplace / "copy")
        files = [path for path in (workplace / "copy").rglob("*") if path.is_file()]
        opened = case.open(copy)
        read_everything(opened)
        opened.close()
        _require_none_open(
            files, "after close()", "release every file and memory map in close(), then call super().close()"
        )
        roi.explain(copy)
        roi.streams(copy, format=case.spec.name)
        # Detection opens files too, and nobody has an object to close them by
        _require_none_open(files, "after roi.explain and roi.streams", "use `with` in get_streams and in probes")
        case.open(copy).get_series(0, 1)  # users of notebooks forget to close
        gc.collect()
        _require_none_open(
            files, "after the recording was forgotten", "let the object own its files, and no cache of the module"
        )

    def test_every_file_that_is_read_is_in_get_paths(self, case: Case, workplace: Path) -> None:
        copy = copy_recording(case.recording, workplace / "copy")
        files = {os.path.realpath(path) for path in (workplace / "copy").rglob("*") if path.is_file()}
        opened = case.open(copy)
        with opened_names() as names:
            read_everything(opened)
        names |= set(held_open(map(Path, files))) if can_tell_open_files() else set()
        stated = [os.path.realpath(path) for path in opened.get_paths()]
        unstated = sorted(
            name
            for name in files.intersection(map(os.path.realpath, names))
            if not any(name == path or name.startswith(path + os.sep) for path in stated)
        )
        opened.close()
        if unstated:
            fail(
                f"{Path(unstated[0]).name} is read, but get_paths() names only {[Path(p).name for p in stated[:4]]}",
                "override get_paths(): convert never overwrites a file that it names",
            )

    @costs_once_a_code_path
    def test_memory_is_bounded_by_the_request(self, case: Case, large_recording: Any, workplace: Path) -> None:
        source = case.recording if large_recording is None else large_recording
        size = self._measure(case, source)
        for attempt in range(ATTEMPTS):
            # A new copy for each attempt: what a cache keeps of the first one would make the second look cheap
            small = size.total < 64 * KIB * KIB
            fresh = copy_recording(source, workplace / f"copy {attempt}") if small else source
            words, peak, limit = max(self._peaks(case, fresh, size), key=lambda measured: measured[1] - measured[2])
            if peak <= limit:
                return
        fail(
            f"{words} took {peak:,} bytes of memory at its peak, the limit is {limit:,}; {size}",
            "read only what is asked for, when it is asked for, keep none of it, and make few temporary copies",
        )

    def _peaks(self, case: Case, source: Any, size: _Size) -> list[tuple[str, int, int]]:
        """Return what was measured, its peak memory and the limit (bytes): opening, each way of reading, and the kept data.

        The memory of other threads is in it too.
        """
        kept = size.memory(size.few)  # of a cache of a few samples, as decoders keep one
        with quiet(), _trace_memory():
            opened = case.open(source)
            gc.collect()
            peaks = [
                ("open", _peak(), _HEADER_MEMORY + kept),
                ("what is kept after opening", tracemalloc.get_traced_memory()[0], kept),
            ]
            for words, samples, read in size.reads(opened):
                tracemalloc.reset_peak()
                read()
                peaks.append((words, _peak(), size.memory(samples)))
            for start in range(0, size.count, size.few):
                opened.get_series(start, min(size.count, start + size.few))
            gc.collect()
            words = f"what is kept after all samples were read, {size.few} at a time,"
            peaks.append((words, tracemalloc.get_traced_memory()[0], kept))
            opened.close()
        return peaks

    def test_no_more_is_read_than_was_asked_for(self, case: Case, large_recording: Any) -> None:
        source = case.recording if large_recording is None else large_recording
        size = self._measure(case, source)
        if not bytes_read():
            pytest.skip(f"{sys.platform} does not say how many bytes were read")
        # Few samples cost little where frames are contiguous; a spread-out recording may be read once
        share = size.total // 2 if self.frames_are_contiguous else size.total + size.total // 8
        # Four times for chunks that contain neighbours, 64 KiB for the header, 512 bytes a sample for a directory or an
        # index
        most = max(4 * size.few * size.sample + 64 * KIB + 512 * size.count, share)
        for _ in range(ATTEMPTS):
            words, count = max(self._read_bytes(case, source, size).items(), key=lambda pair: pair[1])
            if count <= most:
                return
        fail(
            f"{words} read {count:,} bytes from the disk, the limit is {most:,}; {size}",
            "compute the offsets of the samples and read only these (PositionedFile.read_array). If each sample is spread over the "
            "whole file, write frames_are_contiguous = False in the test class",
        )

    def _read_bytes(self, case: Case, source: Any, size: _Size) -> dict[str, int]:
        """Return the bytes that opening and each way of reading took from the disk, with those of other threads."""
        before = bytes_read()
        with quiet(), case.open(source) as opened:
            grown = {"open": bytes_read() - before if size.sample >= 16 * KIB else 0}
            for words, _, read in size.reads(opened):
                before = bytes_read()
                read()
                grown[words] = bytes_read() - before
        return grown

    def _measure(self, case: Case, source: Any) -> _Size:
        with case.open(source) as opened:
            opened.get_series(0, 1)
            size = _Size(len(opened), opened.nbytes // max(1, len(opened)))
        # Reading everything would stay within the limit, so the test would prove nothing
        if size.memory(max(2, size.few)) > 0.75 * size.total:
            pytest.skip(
                f"{size.total:,} bytes in {size.count:,} samples are too few to measure; make `expected` 24 samples of 80 x 112 "
                "or more, or give a fixture large_recording"
            )
        return size


@dataclass(frozen=True, slots=True)
class _Size:
    """The size of a recording, and of the part that is read."""

    count: int
    sample: int

    @property
    def total(self) -> int:
        return self.count * self.sample

    @property
    def few(self) -> int:
        return max(1, min(10, self.count // 16))

    def memory(self, samples: int) -> int:
        """Return the most bytes that a read of some samples may take."""
        # The result, the bytes as stored and one conversion; 512 bytes a sample for places and times
        return 3 * samples * self.sample + 96 * KIB + 512 * self.count

    def reads(self, opened: ImagingExtractor) -> Iterator[tuple[str, int, Callable[[], Any]]]:
        """Yield ways to ask for few samples: in words, the number of samples, and as calls."""
        at, few, last = self.count // 2, self.few, self.count - 1
        yield f"get_series({at}, {at + few})", few, lambda: opened.get_series(at, at + few)
        yield f"get_samples([0, {last}])", max(2, few), lambda: opened.get_samples([0, last])
        yield f"recording[{at}:{at + few}]", few, lambda: opened[at : at + few]
        yield f"slice_samples({at}).get_series(0, {few})", few, lambda: opened.slice_samples(at).get_series(0, few)

    def __str__(self) -> str:
        return f"a sample has {self.sample:,} bytes, all {self.count:,} samples have {self.total:,}"


def _require_none_open(files: list[Path], words: str, advice: str) -> None:
    still_open = held_open(files)
    if still_open:
        fail(f"{words} still open: {', '.join(still_open)}", advice)


@contextmanager
def _trace_memory() -> Iterator[None]:
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    gc.collect()
    tracemalloc.clear_traces()
    try:
        yield
    finally:
        if not running:
            tracemalloc.stop()


def _peak() -> int:
    return tracemalloc.get_traced_memory()[1]
