"""The process that opens changed copies, reads them and judges the result."""

from __future__ import annotations

import faulthandler
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import roiextractors_core as roi

from ...errors import PluginError, RoiExtractorsError, printable
from ..cuts import files_of
from .contents import Lines, contents_of, disagreement_of, is_same, judge_contents
from .mutations import Change, draw_change
from .oracles import PixelMap, judge
from .outcomes import CLOCK, SECONDS, is_settled
from .seeds import Seed, read_whole

__all__ = ["serve"]

_MEMORY = 256 << 20  # beyond the file's size; an array of a shape that damage made asks for gigabytes
_SLACK = 48 << 20  # stacks and arenas of threads, which are reserved and not used
_MAX_READ = 64 << 20  # a quarter of the memory allowed, since reading may take copies


def serve(folder: str, first: str, end: str) -> None:
    """Open changed copies and report the outcome of each; the entry point of the child process."""
    plan = json.loads((Path(folder) / "plan.json").read_text(encoding="utf-8"))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print what they like
    faulthandler.enable()  # says where a library ended the process
    seeds = [Seed.load(Path(folder) / f"seed{place}") for place in range(plan["count"])]
    tables = [
        _Table(seed, Path(folder) / f"now{place}", plan["keep"], clock=plan["clock"])
        for place, seed in enumerate(seeds)
    ]
    # Announced before each step, so that the parent knows which case ended the process
    print(json.dumps({"case": int(first)}), file=answers, flush=True)
    _warm_up(seeds[int(first) % len(seeds)])
    for case in range(int(first), int(end)):
        table = tables[case % len(tables)]
        print(json.dumps({"case": case}), file=answers, flush=True)
        answer = table.outcome(case, plan["number"])
        print(json.dumps({"case": case, "seed": table.seed.name, **answer}), file=answers, flush=True)


def _warm_up(seed: Seed) -> None:
    """Import the libraries for reading before memory is counted, by reading the recording once, even if that fails."""
    faulthandler.dump_traceback_later(CLOCK, exit=True)  # imports take long on a busy machine, and are not judged
    with suppress(Exception):
        read_whole(seed)
    faulthandler.cancel_dump_traceback_later()
    for name in ("h5py", "tifffile", "zarr"):
        with suppress(ImportError):
            __import__(name)


class _Table:
    """The folder of one copy, which is changed, opened and restored there."""

    def __init__(self, seed: Seed, folder: Path, keep: str, *, clock: float) -> None:
        self.seed = seed
        self.clock = clock  # of a costly case; 0 for others
        self.folder = folder
        self.keep = keep

    def outcome(self, case: int, number: int) -> dict[str, str]:
        """Return the outcome of one case."""
        change = self.laid(case, number)
        try:
            # One case in four is opened without format=, so that every plugin's evidence looks at the damage
            answer = _judged_outcome(self.seed, change, self.folder, named=case % 4 != 3, clock=self.clock)
            if self.keep and not is_settled(answer["outcome"]):
                self._keep(case, answer)
        finally:
            self._put_right(change)
        return answer

    def laid(self, case: int, number: int) -> Change:
        """Lay out the changed copy of a case."""
        seed = self.seed
        if not self.folder.exists():
            shutil.copytree(seed.folder, self.folder, copy_function=shutil.copyfile)
        draw = random.Random(f"{number}/{seed.name}/{case}")
        change = draw_change(seed.files, seed.anatomies, draw, costly=bool(self.clock))
        for name, data in change.content.items():
            if data is None:
                (self.folder / name).unlink()
            else:
                (self.folder / name).write_bytes(data)
        (self.folder.parent / "change.txt").write_text(
            f"{seed.name} {seed.format} {dict(seed.options)}: {change.words}\n"
        )
        return change

    def _put_right(self, change: Change) -> None:
        for name in change.content:
            (self.folder / name).write_bytes(self.seed.files[name])

    def _keep(self, case: int, answer: Mapping[str, str]) -> None:
        target = Path(self.keep) / f"case{case}"
        shutil.copytree(self.folder, target, dirs_exist_ok=True)
        words = (self.folder.parent / "change.txt").read_text(encoding="utf-8")
        (Path(self.keep) / f"case{case}.txt").write_text(f"{words}\n{json.dumps(answer, indent=1)}\n", encoding="utf-8")


def _judged_outcome(seed: Seed, change: Change, folder: Path, *, named: bool, clock: float = 0.0) -> dict[str, str]:
    what = seed.opened_as(folder)
    # Works inside C code too, where a signal handler in Python does not run
    # A costly change comes close to the limit, so that time of the processor counts there, which other programs do not take
    faulthandler.dump_traceback_later(clock or SECONDS, exit=True)
    _limit_processor(4 * SECONDS if clock else 0.0)
    # A limit of the address space: reserved memory counts, so an allocation fails before the machine swaps
    _limit_memory(_MEMORY + _SLACK + sum(len(data) for data in change.content.values() if data))
    began = time.process_time()
    try:
        reading = _read(what, seed, named) if seed.kind == "imaging" else _read_rois(what, seed, named)
    except MemoryError as error:
        return {"outcome": "memory", "words": _trace(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to the plugin
        taken = time.process_time() - began
        if clock and taken > SECONDS:  # a refusal must come in time too
            return {"outcome": "hang", "words": f"{taken:.1f} s of the processor; {_trace(error)}"}
        return _error_outcome(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
        _limit_processor(0.0)
        _limit_memory(None)
    taken = time.process_time() - began
    if clock and taken > SECONDS:
        return {"outcome": "hang", "words": f"{taken:.1f} s of the processor; {change.words}"}
    if reading.disagreement:
        return {"outcome": "reads that disagree", "words": f"{reading.disagreement}; {change.words}"}
    if isinstance(reading, _RoiReading):
        outcome, words = _contents_outcome(seed, change, folder, reading)
    else:
        outcome, words = _pixels_outcome(seed, change, folder, reading)
    return {"outcome": outcome, "words": f"{words}; {change.words}" if words else change.words}


def _error_outcome(error: BaseException) -> dict[str, str]:
    """Distinguish errors of this library from others; a PluginError around another exception counts as that exception."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    if any(isinstance(link, MemoryError) for link in chain):
        return {"outcome": "memory", "words": _trace(error)}
    if isinstance(error, PluginError):
        cause = error.__cause__ or error
        return {"outcome": f"foreign exception {type(cause).__name__}", "words": _trace(cause)}
    if isinstance(error, RoiExtractorsError):
        text = str(error)
        # Messages quote texts of the file: control characters would reach the terminal
        if text != printable(text.replace("\n", " ")) and "\n" not in text:
            return {"outcome": "foreign exception (control characters in a message)", "words": repr(text)[:500]}
        return {"outcome": type(error).__name__, "words": text[:300]}
    return {"outcome": f"foreign exception {type(error).__name__}", "words": _trace(error)}


def _trace(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__}: {printable(error)[:300]} at {where}"


@dataclass(frozen=True)
class _Reading:
    series: np.ndarray
    count: int
    shape: tuple[int, ...]
    is_reported: bool
    format: str
    disagreement: str = ""


def _read(what: Any, seed: Seed, named: bool) -> _Reading:
    """Open, and read pixels, times and metadata."""
    chosen: dict[str, Any] = {"format": seed.format} if named else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not named:
            str(roi.explain(what))
        with roi.open(what, **chosen, **seed.options) as opened:
            count, sample = len(opened), opened.shape[1:]
            # Python integers: the product of a damaged shape overflows int64
            size = max(1, int(np.prod(sample, dtype=object)) * opened.dtype.itemsize)
            most = count if count * size <= _MAX_READ else max(1, min(count, _MAX_READ // size))
            series = opened.get_series(0, most)
            wrong = _disagreement(opened, series, count)
            _read_the_rest(opened)
            is_reported = _is_reported(opened, caught)
            return _Reading(series, count, opened.shape, is_reported, opened.provenance.format, wrong)


@dataclass(frozen=True)
class _RoiReading:
    contents: Mapping[str, np.ndarray]
    is_reported: bool
    format: str
    disagreement: str


def _read_rois(what: Any, seed: Seed, named: bool) -> _RoiReading:
    """Open a segmentation, and read everything in it."""
    chosen: dict[str, Any] = {"format": seed.format} if named else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not named:
            str(roi.explain(what, kind="segmentation"))
        _list_streams(what, chosen)
        with roi.open(what, kind="segmentation", **chosen, **seed.options) as opened:
            contents = contents_of(opened)
            wrong = disagreement_of(opened, contents)
            _read_the_rest(opened)
            return _RoiReading(contents, _is_reported(opened, caught), opened.provenance.format, wrong)


def _list_streams(what: Any, chosen: Mapping[str, Any]) -> None:
    try:
        roi.streams(what, kind="segmentation", **chosen)
    except PluginError:
        raise
    except RoiExtractorsError:  # opening, which comes next, says the same, or does not need what is damaged
        pass


def _is_reported(opened: Any, caught: Sequence[warnings.WarningMessage]) -> bool:
    return bool(opened.get_notes()) or any(issubclass(w.category, roi.RoiExtractorsWarning) for w in caught)


def _disagreement(opened: Any, series: np.ndarray, count: int) -> str:
    if series.dtype != opened.dtype or series.shape[1:] != opened.shape[1:]:
        return f"get_series gives {series.dtype} {series.shape}, and the recording says {opened.dtype} {opened.shape}"
    if not len(series):
        return ""
    last = min(count, len(series)) - 1
    rows, columns = series.shape[1:3]
    # Three ways to the same pixels: damage that one path checks may pass through another
    if not is_same(opened.get_samples([last, 0]), series[[last, 0]]):
        return "get_samples([last, 0]) gives other pixels than get_series"
    part = opened[last : last + 1, rows // 2 :, columns // 3 :]
    if not is_same(part, series[last : last + 1, rows // 2 :, columns // 3 :]):
        return "a part of the last sample is not that part of get_series"
    return ""


def _read_the_rest(opened: Any) -> None:
    json.dumps(opened.metadata.to_dict())
    text = repr(opened)
    if text != printable(text):
        raise ValueError(f"repr contains control characters: {text!r:.200}")
    # Events have no bytes for each sample, so that their number may be as large as the file says
    end = min(opened.get_num_samples(), _MAX_READ // 8)
    opened.get_native_timestamps(0, end)
    if opened.times_source is not None:
        opened.get_timestamps(0, end)


def _pixels_outcome(seed: Seed, change: Change, folder: Path, reading: _Reading) -> tuple[str, str]:
    expected, series = seed.expected, reading.series
    whole = reading.count == len(expected) and reading.shape[1:] == expected.shape[1:]
    if whole and is_same(series, expected):
        return (
            ("wrong pixels", "pixels of the file were changed, and these are the old ones")
            if _only_pixels(seed, change)
            else ("same pixels", "")
        )
    stored = _stored_pixels(seed, change)
    if stored is not None and is_same(series, stored[: reading.count]):
        if whole:
            return "changed pixels, as in the file", ""
        if reading.is_reported:
            return "fewer samples, reported", ""
    elif whole and _only_pixels(seed, change):
        return "wrong pixels", "only pixels were changed, and others are returned"
    if reading.is_reported and _is_subset(series, expected):
        return "fewer samples, reported", ""
    verdict = judge(files_of(folder), series, (expected,) if stored is None else (expected, stored), reader=seed.reader)
    if verdict.answer and (whole or reading.is_reported or verdict.by_reader):
        return "other pixels, right by another reader" + (", in another order" if verdict.words else ""), ""
    if verdict.answer is False and reading.format == seed.format:
        return "wrong pixels", verdict.words
    return _unjudged(seed, change, reading, verdict.words)


def _contents_outcome(seed: Seed, change: Change, folder: Path, reading: _RoiReading) -> tuple[str, str]:
    if reading.format != seed.format:
        return "unjudged: read as another format", f"as {reading.format}"
    judgement = judge_contents(
        reading.contents,
        seed.expected,
        _stored_arrays(seed, change),
        only_values=_are_only_in(list(seed.maps.values()), seed, change),
        is_reported=reading.is_reported,
        was_found=seed.was_found,
        lines=lambda: Lines(files_of(folder)),
    )
    return judgement.outcome, judgement.words


def _stored_arrays(seed: Seed, change: Change) -> dict[str, np.ndarray]:
    """Return the present bytes of the arrays of a segmentation that are stored as they are."""
    files = {**seed.files, **{name: data or b"" for name, data in change.content.items()}}
    arrays = {}
    for name, place in seed.maps.items():
        right = seed.expected[name]
        if right.ndim == 2:
            arrays[name] = place.read(files, right)
        elif len(now := place.read(files, right[np.newaxis])):
            arrays[name] = now[0]
    return arrays


def _stored_pixels(seed: Seed, change: Change) -> np.ndarray | None:
    """Return the present bytes of the pixels, up to the first frame that is incomplete."""
    if seed.pixels is None:
        return None
    return seed.pixels.read(
        {**seed.files, **{name: data or b"" for name, data in change.content.items()}}, seed.expected
    )


def _only_pixels(seed: Seed, change: Change) -> bool:
    """Return whether pixels were changed, and nothing else."""
    return _are_only_in([seed.pixels] if seed.pixels else [], seed, change)


def _are_only_in(maps: Sequence[PixelMap], seed: Seed, change: Change) -> bool:
    """Return whether bytes at these places were changed, and nothing else."""
    count = 0
    for name, data in change.content.items():
        before = seed.files[name]
        if data is None or len(data) != len(before):
            return False
        touched = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(data, np.uint8))
        # One array after the other takes its bytes away
        for place in maps:
            inside = place.inside(name, touched)
            touched, count = touched[~inside], count + int(inside.sum())
        if touched.size:
            return False
    return count > 0


def _unjudged(seed: Seed, change: Change, reading: _Reading, words: str) -> tuple[str, str]:
    if reading.format != seed.format:
        return "unjudged: read as another format", f"as {reading.format}"
    if _is_subset(reading.series, seed.expected):
        return "unjudged: fewer samples, not reported", f"{reading.count} of {len(seed.expected)}; {words}"
    if reading.shape == seed.expected.shape:
        return "unjudged: other pixels, same shape", words
    return "unjudged: another shape", f"{reading.shape} for {seed.expected.shape}; {words}"


def _is_subset(series: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether these are samples of the whole recording, in their order."""
    if series.dtype != expected.dtype or series.shape[1:] != expected.shape[1:] or len(series) > len(expected):
        return False
    at = 0
    for sample in series:  # greedy: the first match leaves the most samples for the rest
        while at < len(expected) and not is_same(sample, expected[at]):
            at += 1
        if at == len(expected):
            return False
        at += 1
    return True


def _limit_processor(seconds: float) -> None:
    """Let the process take this much more time of the processor, then end it with its traceback; 0.0 for any amount."""
    if not hasattr(signal, "setitimer"):
        return
    # Chained to the default action, which ends the process also while it is in C
    faulthandler.register(signal.SIGPROF, chain=True)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(more: int | None) -> None:
    """Let the process take this much more memory (bytes); any amount when None.  Only where the system can say no."""
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if more is None:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
