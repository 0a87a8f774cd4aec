"""Fuzzing: changed copies of small recordings, opened and read, each judged.

What comes of a changed copy is right when the pixels are those of the file, or when an error of our own tree says
what is wrong, within 5 seconds and 256 MiB of memory beyond the size of the file.  A crash, a hang, another exception, or
pixels that the file does not hold are defects.

::

    python -m roiextractors_core.testing.fuzz --format tiff --cases 20000 --tests plugins/tiff/tests
    python -m roiextractors_core.testing.fuzz --format tiff --cases 20000 --seeds recording.tif --keep failures/

The copies are made of the recordings of a plugin's conformance tests (``--tests``), of any recordings (``--seeds``), or,
for the formats of the core's own writers, of what these write.  The cases are worked off in a process of its own, which is
started again when it crashes or hangs; every case has a number that names it for ever (``--first N --cases 1``).
"""

from __future__ import annotations

import argparse
import ast
import faulthandler
import json
import os
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import roiextractors_core as roi

from ..errors import PluginError, RoiExtractorsError, StreamChoiceError, printable
from .cuts import copied, files_of, kin_of, paths_of
from .mutations import Anatomy, Change, anatomy_of, changed
from .oracles import PixelMap, judged

__all__ = ["Defect", "FuzzTests", "Report", "Seed", "fuzz", "seed_of", "seeds_of_tests", "seeds_of_writers"]

_SECONDS = 5.0
_MEMORY = 256 << 20
_SLACK = 48 << 20  # stacks and arenas of threads, which are reserved and not used
_MAX_READ = 64 << 20
_RIGHT = (
    "same pixels",
    "changed pixels, as in the file",
    "fewer samples, and said",
    "other pixels, right by another reader",
)
_DEFECTS = ("foreign exception", "hang", "crash", "memory", "wrong pixels", "reads that disagree")


@dataclass(frozen=True)
class Seed:
    """A small recording that is changed.

    Attributes
    ----------
    name : str
    format : str
    folder : pathlib.Path
        Holds the recording and all that belongs to it, and nothing else.
    recording : str or tuple of str
        Relative to the folder: what is opened.
    options : mapping
        For ``open``.
    expected : numpy.ndarray
        What it holds.
    """

    name: str
    format: str
    folder: Path
    recording: str | tuple[str, ...]
    options: Mapping[str, Any]
    expected: np.ndarray

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Every file by its path in the folder."""
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files_of(self.folder)}

    @cached_property
    def pixels(self) -> PixelMap | None:
        """Where the pixels lie, when they lie somewhere uncompressed."""
        return PixelMap.of(self.files, self.expected)

    @cached_property
    def anatomies(self) -> dict[str, Anatomy]:
        """The structure of every file."""
        pixels = self.pixels
        return {name: anatomy_of(data, pixels.spans(name) if pixels else ()) for name, data in self.files.items()}

    def opened_as(self, folder: Path) -> str | list[str]:
        """Return what to open in a copy of the folder."""
        if isinstance(self.recording, str):
            return str(folder / self.recording)
        return [str(folder / name) for name in self.recording]

    def save(self, place: Path) -> None:
        """Write what names the recording beside its folder, for :meth:`saved`."""
        facts = {"name": self.name, "format": self.format, "recording": self.recording, "options": dict(self.options)}
        np.save(place / "expected.npy", self.expected)
        (place / "seed.txt").write_text(repr(facts), encoding="utf-8")

    @classmethod
    def saved(cls, place: Path) -> Seed:
        """Return the seed that lies in a folder that :meth:`save` wrote to."""
        facts = ast.literal_eval((place / "seed.txt").read_text(encoding="utf-8"))
        return cls(folder=place / "recording", expected=np.load(place / "expected.npy"), **facts)


@dataclass(frozen=True, slots=True)
class Defect:
    """One case that came out wrong."""

    case: int
    seed: str
    outcome: str
    words: str
    place: str = ""

    def __str__(self) -> str:
        return f"case {self.case} ({self.seed}): {self.outcome}: {self.words}"


@dataclass
class Report:
    """The outcomes of many cases, counted."""

    format: str
    counts: Counter[str] = field(default_factory=Counter)
    defects: list[Defect] = field(default_factory=list)
    unjudged: list[Defect] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        lines = [f"{self.format}: {self.cases:,} cases in {self.seconds:.0f} s, {len(self.defects)} defects"]
        lines += [f"  {count:>7,}  {outcome}" for outcome, count in sorted(self.counts.items(), key=_rank)]
        return "\n".join(lines)


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    outcome = item[0]
    if outcome.startswith(_RIGHT):
        return 0, outcome
    if outcome.startswith(_DEFECTS):
        return 3, outcome
    return (1, outcome) if outcome.endswith("Error") else (2, outcome)


# Seeds


def seed_of(recording: Any, place: Path, *, format: str, options: Mapping[str, Any] | None = None) -> Seed:
    """Copy a recording to be changed; what it holds is what it gives as it is, of several streams the first.

    Parameters
    ----------
    recording : str, os.PathLike or list of them
    place : pathlib.Path
        A folder, not yet there.
    format : str
    options : mapping, optional
    """
    paths = paths_of(recording)
    target = place / "recording"
    target.mkdir(parents=True)
    for path in (*paths, *kin_of(recording)):
        _copy(path, target / path.name)
    names = tuple(path.name for path in paths)
    name: str | tuple[str, ...] = names[0] if isinstance(recording, str | os.PathLike) else names
    seed = Seed(paths[0].name, format, target, name, dict(options or {}), np.empty((0, 0, 0)))
    chosen, series = _read_whole(seed)
    return replace(seed, options=chosen, expected=series)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, copy_function=shutil.copyfile)
        for folder, _, _ in os.walk(target):  # a recording may be protected from writing
            os.chmod(folder, 0o755)
    else:
        shutil.copyfile(path, target)


def _read_whole(seed: Seed) -> tuple[dict[str, Any], np.ndarray]:
    options = dict(seed.options)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with roi.open(seed.opened_as(seed.folder), format=seed.format, **options) as opened:
                    return options, opened.get_series()
        except StreamChoiceError as error:
            if not error.choices or error.option in options:
                raise
            options[error.option] = error.choices[0]


def seeds_of_writers(format: str, folder: Path) -> list[Seed]:
    """Write small recordings by the core's own writers (npy, tiff, scanimage), and by tifffile where it is installed.

    Parameters
    ----------
    format : str
        ``"npy"``, ``"tiff"`` or ``"scanimage"``.
    folder : pathlib.Path
        Not yet there.

    Raises
    ------
    RoiExtractorsError
        The core writes no such format.
    """
    if format not in _WRITTEN:
        raise RoiExtractorsError(
            f"the core writes no {printable(format)}; give the format's conformance tests (--tests) or recordings (--seeds)"
        )
    folder.mkdir(parents=True)
    written = list(_WRITTEN[format](folder))
    return [seed_of(path, folder / f"seed_{path.stem}", format=format, options=options) for path, options in written]


def _write_npy(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    from .generators import NoiseImagingExtractor, write_npy

    movie = NoiseImagingExtractor((12, 24, 32), seed=1)
    yield write_npy(movie, folder / "movie.npy"), {}
    volumes = NoiseImagingExtractor((6, 16, 20, 3), ">f4", seed=2)
    yield write_npy(volumes, folder / "volumes.npy"), {}
    np.save(folder / "fortran.npy", np.asfortranarray(movie.get_series()))
    yield folder / "fortran.npy", {"dimension_order": "TYX"}


def _write_tiff(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    from .generators import NoiseImagingExtractor, write_tiff

    movie = NoiseImagingExtractor((12, 24, 32), seed=1)
    yield write_tiff(movie, folder / "pages.tif"), {}
    yield write_tiff(movie, folder / "trailing.tif", byteorder=">", bigtiff=True, layout="trailing"), {}
    yield write_tiff(movie, folder / "imagej.tif", layout="imagej"), {}
    with suppress(ImportError):
        yield from _write_by_tifffile(folder)


def _write_by_tifffile(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    import tifffile

    rows, columns = np.mgrid[:48, :64]
    smooth = np.stack([(rows * 30 + columns * 7 + 11 * k) % 4000 for k in range(8)]).astype(np.uint16)
    for name, how in _TIFF_WAYS.items():
        with suppress(ImportError, ValueError, RuntimeError, KeyError):  # a codec that is not installed
            pixels = smooth.astype(np.uint8) if how.get("compression") == "jpeg" else smooth
            tifffile.imwrite(folder / f"{name}.tif", pixels, photometric="minisblack", **how)
            yield folder / f"{name}.tif", {}


_TIFF_WAYS: Mapping[str, dict[str, Any]] = {
    "deflate": {"compression": "zlib"},
    "lzw_predictor": {"compression": "lzw", "predictor": True, "rowsperstrip": 11},
    "packbits": {"compression": "packbits"},
    "zstd": {"compression": "zstd"},
    "jpeg": {"compression": "jpeg"},
    "tiles": {"tile": (32, 32), "compression": "zlib"},
    "plain_tiles": {"tile": (16, 32), "byteorder": ">"},
}


def _write_scanimage(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    from .generators import NoiseImagingExtractor, write_scanimage

    one, other = (NoiseImagingExtractor((10, 24, 32), "int16", seed) for seed in (1, 2))
    yield write_scanimage(one, folder / "one.tif"), {}
    yield write_scanimage([one, other], folder / "two.tif"), {"channel": "Channel 2"}
    volumes = NoiseImagingExtractor((4, 16, 24, 3), "int16", 3)
    yield write_scanimage(volumes, folder / "volumes.tif", num_flyback=1), {}


_WRITTEN: Mapping[str, Callable[[Path], Iterator[tuple[Path, dict[str, Any]]]]] = {
    "npy": _write_npy,
    "tiff": _write_tiff,
    "scanimage": _write_scanimage,
}


def seeds_of_tests(tests: Iterable[Path], folder: Path, *, format: str = "") -> list[Seed]:
    """Keep the recordings that the conformance tests of a plugin make.

    Parameters
    ----------
    tests : iterable of pathlib.Path
        Folders or files of tests.
    folder : pathlib.Path
        A new one, where the copies stay.
    format : str
        Keep those of this format alone; all when empty.

    Raises
    ------
    RoiExtractorsError
        The tests did not run.
    """
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "pytest", *map(str, tests), "-q", "-k", "test_the_recording_opens"]
    command += [
        "-p",
        "roiextractors_core.testing.fuzz",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "--basetemp",
        str(folder / "pytest"),
    ]
    command += ["-o", "addopts=", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    environment = {**os.environ, "ROIEXTRACTORS_FUZZ_SEEDS": str(folder)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = [Seed.saved(path.parent) for path in sorted(folder.glob("*/seed.txt"))]
    shutil.rmtree(folder / "pytest", ignore_errors=True)
    if not found:
        raise RoiExtractorsError(f"the tests gave no recording:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return [seed for seed in found if not format or seed.format == format]


def pytest_runtest_call(item: Any) -> None:
    """Keep the recording of a conformance test; only where ``seeds_of_tests`` loaded this module as a plugin."""
    folder = os.environ.get("ROIEXTRACTORS_FUZZ_SEEDS")
    case = getattr(item, "funcargs", {}).get("case")
    if not folder or case is None:
        return
    name = re.sub(r"\W+", "_", f"{Path(item.fspath).stem}_{item.cls.__name__}")
    _kept(case, name, Path(folder) / name)


def _kept(case: Any, name: str, place: Path) -> Seed:
    recording, target = case.recording, place / "recording"
    given = copied(recording, target)
    found = [given] if isinstance(given, Path) else given
    names = tuple(str(path.relative_to(target)) for path in found)
    seed = Seed(
        name,
        case.spec.name,
        target,
        names[0] if isinstance(given, Path) else names,
        dict(case.options),
        np.asarray(case.expected),
    )
    seed.save(place)
    return seed


# The side that watches


def fuzz(
    seeds: Sequence[Seed],
    *,
    cases: int = 300,
    number: int = 1,
    first: int = 0,
    keep: Path | None = None,
    told: Callable[[Report], object] | None = None,
) -> Report:
    """Open and read changed copies of recordings.

    Parameters
    ----------
    seeds : sequence of Seed
        Taken in turn.
    cases : int
    number : int
        Of the sequence of cases: the same number, the same changes.
    first : int
        The first case.
    keep : pathlib.Path, optional
        Where the files of those that came out wrong, or could not be judged, are kept.
    told : callable, optional
        Called with the report now and then.

    Returns
    -------
    Report
    """
    started = time.monotonic()
    report = Report("/".join(sorted({seed.format for seed in seeds})))
    with tempfile.TemporaryDirectory(prefix="roiextractors-fuzz-", ignore_cleanup_errors=True) as folder:
        work = _Work(Path(folder), seeds, number, keep)
        at = first
        while at < first + cases:
            at = work.run(at, first + cases, report)
            report.seconds = time.monotonic() - started
            if told is not None:
                told(report)
    return report


class _Work:
    """The process that opens, and what is done when it ends before its time."""

    def __init__(self, folder: Path, seeds: Sequence[Seed], number: int, keep: Path | None) -> None:
        self.folder = folder
        self.seeds = seeds
        self.keep = keep
        for place, seed in enumerate(seeds):
            (folder / f"seed{place}").mkdir()
            shutil.copytree(seed.folder, folder / f"seed{place}" / "recording", copy_function=shutil.copyfile)
            seed.save(folder / f"seed{place}")
        plan = {"folder": str(folder), "count": len(seeds), "number": number, "keep": str(keep or "")}
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    def run(self, first: int, end: int, report: Report) -> int:
        """Work off cases until they are done or the process ends; return the case to go on with."""
        process = self._started(first, end)
        begun = first - 1
        try:
            for answer in self._answers(process):
                if "outcome" not in answer:
                    begun = answer["case"]
                    continue
                self._count(report, answer)
                begun = -1
                first = answer["case"] + 1
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS)
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stdin):
                if stream is not None:
                    stream.close()
        if first >= end:
            return end
        if begun < first:
            raise RoiExtractorsError(f"the process that opens does not start: {self._last_words()}")
        answer = {"case": begun, "seed": self.seeds[begun % len(self.seeds)].name, **self._ended(process.returncode)}
        self._count(report, answer)
        self._keep_rest(answer)
        return begun + 1

    def _started(self, first: int, end: int) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join(dict.fromkeys(os.path.abspath(entry) for entry in sys.path if entry))
        environment = {**os.environ, "PYTHONPATH": paths, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("ROIEXTRACTORS_FUZZ_SEEDS", None)
        command = [sys.executable, "-B", "-c", _START, str(self.folder), str(first), str(end)]
        with (self.folder / "errors").open("wb") as errors:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=self.folder
            )

    @staticmethod
    def _answers(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
        """Yield what the process says, until it ends or says nothing for long."""
        if process.stdout is None:
            return
        descriptor, rest = process.stdout.fileno(), b""
        while True:
            ready, _, _ = select.select([descriptor], [], [], 12 * _SECONDS)
            data = os.read(descriptor, 1 << 16) if ready else b""
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (json.loads(line) for line in lines)

    def _ended(self, code: int | None) -> dict[str, str]:
        words = self._last_words()
        if "Timeout (" in words or "no answer" in words:
            return {"outcome": "hang", "words": f"over {_SECONDS:.0f} s: {words}"}
        return {"outcome": "crash", "words": f"the process ended with {code}: {words}"}

    def _last_words(self) -> str:
        said = (self.folder / "errors").read_text(encoding="utf-8", errors="replace")
        return " / ".join(line.strip() for line in said.splitlines() if line.strip())[-1500:]

    def _keep_rest(self, answer: Mapping[str, Any]) -> None:
        """Keep what the process left behind; nothing is there when it ended before its first case."""
        if self.keep is None:
            return
        self.keep.mkdir(parents=True, exist_ok=True)
        (self.keep / f"case{answer['case']}.txt").write_text(f"{json.dumps(answer, indent=1)}\n", encoding="utf-8")
        with suppress(OSError, shutil.Error):
            there = self.folder / f"now{answer['case'] % len(self.seeds)}"
            shutil.copytree(there, self.keep / f"case{answer['case']}", dirs_exist_ok=True)

    @staticmethod
    def _count(report: Report, answer: Mapping[str, Any]) -> None:
        outcome = answer["outcome"]
        report.counts[outcome] += 1
        found = Defect(answer["case"], answer["seed"], outcome, answer.get("words", ""), answer.get("place", ""))
        if outcome.startswith(_DEFECTS):
            report.defects.append(found)
        elif not _is_settled(outcome):
            report.unjudged.append(found)


def _is_settled(outcome: str) -> bool:
    """Return whether an outcome is right: pixels that were judged so, or an error of our own."""
    return outcome.startswith(_RIGHT) or (outcome.endswith("Error") and not outcome.startswith(_DEFECTS))


# The side that opens

_START = "import sys; from roiextractors_core.testing import fuzz; fuzz.serve(*sys.argv[1:])"


def serve(folder: str, first: str, end: str) -> None:
    """Open changed copies and tell what came of each: what the process of its own is started with."""
    plan = json.loads((Path(folder) / "plan.json").read_text(encoding="utf-8"))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print what they like
    seeds = [Seed.saved(Path(folder) / f"seed{place}") for place in range(plan["count"])]
    tables = [_Table(seed, Path(folder) / f"now{place}", plan["keep"]) for place, seed in enumerate(seeds)]
    print(json.dumps({"case": int(first)}), file=answers, flush=True)
    _warm_up(seeds[int(first) % len(seeds)])
    for case in range(int(first), int(end)):
        table = tables[case % len(tables)]
        print(json.dumps({"case": case}), file=answers, flush=True)
        answer = table.outcome(case, plan["number"])
        print(json.dumps({"case": case, "seed": table.seed.name, **answer}), file=answers, flush=True)


def _warm_up(seed: Seed) -> None:
    """Import what reading needs before memory is counted; the recording is read once, whatever comes of it."""
    faulthandler.dump_traceback_later(4 * _SECONDS, exit=True)
    with suppress(Exception):
        _read_whole(seed)
    faulthandler.cancel_dump_traceback_later()
    for name in ("h5py", "tifffile", "zarr"):
        with suppress(ImportError):
            __import__(name)


class _Table:
    """Where one copy lies, is changed, opened and put right again."""

    def __init__(self, seed: Seed, folder: Path, keep: str) -> None:
        self.seed = seed
        self.folder = folder
        self.keep = keep

    def outcome(self, case: int, number: int) -> dict[str, str]:
        """Return what comes of one case."""
        change = self.laid(case, number)
        try:
            answer = _judged_outcome(self.seed, change, self.folder, named=case % 4 != 3)
            if self.keep and not _is_settled(answer["outcome"]):
                self._keep(case, answer)
        finally:
            self._put_right(change)
        return answer

    def laid(self, case: int, number: int) -> Change:
        """Lay out the changed copy of a case."""
        seed = self.seed
        if not self.folder.exists():
            shutil.copytree(seed.folder, self.folder, copy_function=shutil.copyfile)
        change = changed(seed.files, seed.anatomies, random.Random(f"{number}/{seed.name}/{case}"))
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


def _judged_outcome(seed: Seed, change: Change, folder: Path, *, named: bool) -> dict[str, str]:
    what = seed.opened_as(folder)
    faulthandler.dump_traceback_later(_SECONDS, exit=True)
    _limit_memory(_MEMORY + _SLACK + sum(len(data) for data in change.content.values() if data))
    try:
        found = _read(what, seed, named)
    except MemoryError as error:
        return {"outcome": "memory", "words": _trace(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to the plugin
        return _error_outcome(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
        _limit_memory(None)
    if found.disagreement:
        return {"outcome": "reads that disagree", "words": f"{found.disagreement}; {change.words}"}
    outcome, words = _pixels_outcome(seed, change, folder, found)
    return {"outcome": outcome, "words": f"{words}; {change.words}" if words else change.words}


def _error_outcome(error: BaseException) -> dict[str, str]:
    """Tell an error of our tree from others; one that a plugin's foreign exception hides behind is none of ours."""
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
        if text != printable(text.replace("\n", " ")) and "\n" not in text:
            return {"outcome": "foreign exception (control characters in a message)", "words": repr(text)[:500]}
        return {"outcome": type(error).__name__, "words": text[:300]}
    return {"outcome": f"foreign exception {type(error).__name__}", "words": _trace(error)}


def _trace(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__}: {printable(error)[:300]} at {where}"


@dataclass(frozen=True)
class _Found:
    series: np.ndarray
    count: int
    shape: tuple[int, ...]
    told: bool
    format: str
    disagreement: str = ""


def _read(what: Any, seed: Seed, named: bool) -> _Found:
    """Open, and read what there is to read of pixels, times and metadata."""
    chosen: dict[str, Any] = {"format": seed.format} if named else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not named:
            str(roi.explain(what))
        with roi.open(what, **chosen, **seed.options) as opened:
            count, sample = len(opened), opened.shape[1:]
            size = max(1, int(np.prod(sample, dtype=object)) * opened.dtype.itemsize)
            most = count if count * size <= _MAX_READ else max(1, min(count, _MAX_READ // size))
            series = opened.get_series(0, most)
            wrong = _disagreement(opened, series, count)
            _read_the_rest(opened)
            told = bool(opened.get_notes()) or any(issubclass(w.category, roi.RoiExtractorsWarning) for w in caught)
            return _Found(series, count, opened.shape, told, opened.provenance.format, wrong)


def _disagreement(opened: Any, series: np.ndarray, count: int) -> str:
    if series.dtype != opened.dtype or series.shape[1:] != opened.shape[1:]:
        return f"get_series gives {series.dtype} {series.shape}, and the recording says {opened.dtype} {opened.shape}"
    if not len(series):
        return ""
    last = min(count, len(series)) - 1
    rows, columns = series.shape[1:3]
    if not _same(opened.get_samples([last, 0]), series[[last, 0]]):
        return "get_samples([last, 0]) gives other pixels than get_series"
    part = opened[last : last + 1, rows // 2 :, columns // 3 :]
    if not _same(part, series[last : last + 1, rows // 2 :, columns // 3 :]):
        return "a part of the last sample is not that part of get_series"
    return ""


def _read_the_rest(opened: Any) -> None:
    json.dumps(opened.metadata.to_dict())
    text = repr(opened)
    if text != printable(text):
        raise ValueError(f"repr holds control characters: {text!r:.200}")
    opened.get_native_timestamps()
    if opened.times_source is not None:
        opened.get_timestamps()


def _pixels_outcome(seed: Seed, change: Change, folder: Path, found: _Found) -> tuple[str, str]:
    expected, series = seed.expected, found.series
    whole = found.count == len(expected) and found.shape[1:] == expected.shape[1:]
    if whole and _same(series, expected):
        return (
            ("wrong pixels", "pixels of the file were changed, and these are the old ones")
            if _only_pixels(seed, change)
            else ("same pixels", "")
        )
    lying = _lying(seed, change)
    if lying is not None and _same(series, lying[: found.count]):
        if whole:
            return "changed pixels, as in the file", ""
        if found.told:
            return "fewer samples, and said", ""
    elif whole and _only_pixels(seed, change):
        return "wrong pixels", "only pixels were changed, and others are returned"
    if found.told and _is_subset(series, expected):
        return "fewer samples, and said", ""
    verdict = judged(files_of(folder), series, (expected,) if lying is None else (expected, lying))
    if verdict.answer and (whole or found.told or verdict.by_reader):
        return "other pixels, right by another reader" + (", in another order" if verdict.words else ""), ""
    if verdict.answer is False and found.format == seed.format:
        return "wrong pixels", verdict.words
    return _unjudged(seed, change, found, verdict.words)


def _lying(seed: Seed, change: Change) -> np.ndarray | None:
    """Return what lies where the pixels were, as far as it goes."""
    if seed.pixels is None:
        return None
    return seed.pixels.read(
        {**seed.files, **{name: data or b"" for name, data in change.content.items()}}, seed.expected
    )


def _only_pixels(seed: Seed, change: Change) -> bool:
    """Return whether pixels were changed, and nothing else."""
    if seed.pixels is None:
        return False
    count = 0
    for name, data in change.content.items():
        before = seed.files[name]
        if data is None or len(data) != len(before):
            return False
        touched = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(data, np.uint8))
        if touched.size and not seed.pixels.holds(name, touched):
            return False
        count += touched.size
    return count > 0


def _unjudged(seed: Seed, change: Change, found: _Found, words: str) -> tuple[str, str]:
    if found.format != seed.format:
        return "unjudged: read as another format", f"as {found.format}"
    if _is_subset(found.series, seed.expected):
        return "unjudged: fewer samples, and not said", f"{found.count} of {len(seed.expected)}; {words}"
    if found.shape == seed.expected.shape:
        return "unjudged: other pixels, same shape", words
    return "unjudged: another shape", f"{found.shape} for {seed.expected.shape}; {words}"


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(
        np.array_equal(one, other) or np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
    )


def _is_subset(series: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether these are samples of the whole recording, in their order."""
    if series.dtype != expected.dtype or series.shape[1:] != expected.shape[1:] or len(series) > len(expected):
        return False
    at = 0
    for sample in series:
        while at < len(expected) and not _same(sample, expected[at]):
            at += 1
        if at == len(expected):
            return False
        at += 1
    return True


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


# For conformance tests


class FuzzTests:
    """Inherit beside the conformance tests: changed copies of the recording open rightly, or say what is wrong.

    Attributes
    ----------
    fuzz_cases : int
        How many changed copies.
    fuzz_number : int
        Which ones.
    fuzz_limits : tuple of str
        Outcomes that are a known limit of the format: ``("reads that disagree",)`` for damage that nobody can see.
    """

    fuzz_cases: int = 100
    fuzz_number: int = 1
    fuzz_limits: tuple[str, ...] = ()

    def test_changed_copies_open_rightly_or_say_what_is_wrong(self, case: Any, workplace: Path) -> None:
        seed = _kept(case, type(self).__name__, workplace / "seed")
        report = fuzz([seed], cases=self.fuzz_cases, number=self.fuzz_number)
        require_no_defects(report, known=self.fuzz_limits)


def require_no_defects(report: Report, *, known: Sequence[str] = ()) -> None:
    """Fail a test that found defects, and say which and how to see them again.

    Parameters
    ----------
    report : Report
    known : sequence of str
        Outcomes that are a known limit of the format, and no defect of its extractor.
    """
    defects = [defect for defect in report.defects if defect.outcome not in known]
    if defects:
        import pytest

        first = "\n".join(f"- {defect}" for defect in defects[:5])
        pytest.fail(
            f"{len(defects)} of {report.cases} changed copies came out wrong:\n{first}\n"
            "A changed file is read as it is now, or refused by an error of roiextractors_core.errors, within 5 s and 256 MiB: "
            "check every number of the file before it is used",
            pytrace=False,
        )


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see the module's first lines."""
    given = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="roiextractors-seeds-", ignore_cleanup_errors=True) as folder:
        seeds = _given_seeds(given, Path(folder))
        print(f"{len(seeds)} recordings: {', '.join(seed.name for seed in seeds)}", flush=True)
        report = fuzz(seeds, cases=given.cases, number=given.seed, first=given.first, keep=given.keep)
    print(report)
    for kind, found in (("defects", report.defects), ("not judged", report.unjudged)):
        if found:
            print(f"\n{kind}:")
            for words, same in _grouped(found)[: given.most]:
                print(f"  {len(same)} x {words}\n      as case {same[0].case}: {printable(same[0])[:700]}")
    return 1 if report.defects else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m roiextractors_core.testing.fuzz", description="Open changed copies of recordings."
    )
    parser.add_argument("--format", required=True, help="the format's name")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1, help="another number, other changes")
    parser.add_argument("--first", type=int, default=0, help="the first case, to see one again")
    parser.add_argument("--seeds", type=Path, nargs="+", default=[], help="recordings to change copies of")
    parser.add_argument(
        "--tests", type=Path, nargs="+", default=[], help="conformance tests whose recordings to change"
    )
    parser.add_argument("--keep", type=Path, help="keep the files of what came out wrong in this folder")
    parser.add_argument("--most", type=int, default=40, help="kinds of defects to print")
    return parser


def _given_seeds(given: argparse.Namespace, folder: Path) -> list[Seed]:
    seeds = [seed_of(path, folder / f"given{k}", format=given.format) for k, path in enumerate(given.seeds)]
    if given.tests:
        seeds += seeds_of_tests(given.tests, folder / "tests", format=given.format)
    if not seeds:
        seeds = seeds_of_writers(given.format, folder / "written")
    return seeds


def _grouped(found: Sequence[Defect]) -> list[tuple[str, list[Defect]]]:
    """Put together what failed at the same place."""
    groups: dict[str, list[Defect]] = {}
    for defect in found:
        place = re.search(r" at (\S+:\d+ \S+)", defect.words)
        groups.setdefault(f"{defect.outcome} {place[1] if place else ''}", []).append(defect)
    return sorted(groups.items(), key=lambda item: -len(item[1]))


if __name__ == "__main__":
    sys.exit(main())
