"""Small recordings that are changed: of writers, of a plugin's tests, or given."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import roiextractors_core as roi

from ...errors import RoiExtractorsError, StreamChoiceError, printable
from ..cuts import copy_recording, files_of, kin_of, paths_of
from .mutations import Anatomy, anatomy_of
from .oracles import PixelMap

__all__ = ["Seed", "keep_seed", "read_whole", "seed_of", "seeds_of_tests", "seeds_of_writers"]


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
        Its samples.
    reader : str
        Another reader of the format, as ``"module:function"`` or ``"file.py:function"``; see :class:`FuzzTests`.
    """

    name: str
    format: str
    folder: Path
    recording: str | tuple[str, ...]
    options: Mapping[str, Any]
    expected: np.ndarray
    reader: str = ""

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Every file by its path in the folder."""
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files_of(self.folder)}

    @cached_property
    def pixels(self) -> PixelMap | None:
        """The places of the pixels, if they are stored uncompressed."""
        return PixelMap.of(self.files, self.expected)

    @cached_property
    def anatomies(self) -> dict[str, Anatomy]:
        """The structure of every file."""
        pixels = self.pixels
        return {name: anatomy_of(data, pixels.spans(name) if pixels else ()) for name, data in self.files.items()}

    def opened_as(self, folder: Path) -> str | list[str]:
        """Return the path or paths to open in a copy of the folder."""
        if isinstance(self.recording, str):
            return str(folder / self.recording)
        return [str(folder / name) for name in self.recording]

    def save(self, place: Path) -> None:
        """Write the facts about the recording next to its folder, for :meth:`saved`."""
        facts = {
            "name": self.name,
            "format": self.format,
            "recording": self.recording,
            "options": dict(self.options),
            "reader": self.reader,
        }
        np.save(place / "expected.npy", self.expected)
        (place / "seed.txt").write_text(repr(facts), encoding="utf-8")

    @classmethod
    def load(cls, place: Path) -> Seed:
        """Return the seed from a folder that :meth:`save` wrote to."""
        # Options contain tuples, which JSON would turn into lists
        facts = ast.literal_eval((place / "seed.txt").read_text(encoding="utf-8"))
        return cls(folder=place / "recording", expected=np.load(place / "expected.npy"), **facts)


def seed_of(recording: Any, place: Path, *, format: str, options: Mapping[str, Any] | None = None) -> Seed:
    """Copy a recording to be changed; its expected content is read from the copy, of several streams from the first.

    Parameters
    ----------
    recording : str, os.PathLike or list of them
    place : pathlib.Path
        A folder that does not exist.
    format : str
    options : mapping, optional
    """
    paths = paths_of(recording)
    target = place / "recording"
    target.mkdir(parents=True)
    # Side files belong to the recording: without them every changed copy would only show that they are missing
    for path in (*paths, *kin_of(recording)):
        _copy(path, target / path.name)
    names = tuple(path.name for path in paths)
    name: str | tuple[str, ...] = names[0] if isinstance(recording, str | os.PathLike) else names
    seed = Seed(paths[0].name, format, target, name, dict(options or {}), np.empty((0, 0, 0)))
    chosen, series = read_whole(seed)
    return replace(seed, options=chosen, expected=series)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, copy_function=shutil.copyfile)
        for folder, _, _ in os.walk(target):  # a recording may be protected from writing
            os.chmod(folder, 0o755)
    else:
        shutil.copyfile(path, target)


def read_whole(seed: Seed) -> tuple[dict[str, Any], np.ndarray]:
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
            options[error.option] = error.choices[0]  # one stream at a time: a second one may be asked for only then


def seeds_of_writers(format: str, folder: Path) -> list[Seed]:
    """Write small recordings by the core's own writers (npy, tiff), and by tifffile where it is installed.

    Parameters
    ----------
    format : str
        ``"npy"`` or ``"tiff"``.
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
    from ..generators import NoiseImagingExtractor
    from ..writing import write_npy

    movie = NoiseImagingExtractor((12, 24, 32), seed=1)
    yield write_npy(movie, folder / "movie.npy"), {}
    volumes = NoiseImagingExtractor((6, 16, 20, 3), ">f4", seed=2)
    yield write_npy(volumes, folder / "volumes.npy"), {}
    np.save(folder / "fortran.npy", np.asfortranarray(movie.get_series()))
    yield folder / "fortran.npy", {"dimension_order": "TYX"}


def _write_tiff(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    from ..generators import NoiseImagingExtractor
    from ..writing import write_tiff

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


_WRITTEN: Mapping[str, Callable[[Path], Iterator[tuple[Path, dict[str, Any]]]]] = {
    "npy": _write_npy,
    "tiff": _write_tiff,
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
    # Fixtures make the recordings, and only pytest can run fixtures: one test per class is enough
    command = [sys.executable, "-m", "pytest", *map(str, tests), "-q", "-k", "test_the_recording_opens"]
    command += [
        "-p",
        "roiextractors_core.testing.fuzzing.seeds",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "--basetemp",
        str(folder / "pytest"),
    ]
    command += ["-o", "addopts=", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    environment = {**os.environ, "ROIEXTRACTORS_FUZZ_SEEDS": str(folder)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = [Seed.load(path.parent) for path in sorted(folder.glob("*/seed.txt"))]
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
    keep_seed(case, name, Path(folder) / name, reader=getattr(item.cls, "fuzz_reader", ""))


def keep_seed(case: Any, name: str, place: Path, *, reader: str = "") -> Seed:
    """Copy the recording of a conformance test, with its known content."""
    recording, target = case.recording, place / "recording"
    given = copy_recording(recording, target)
    found = [given] if isinstance(given, Path) else given
    names = tuple(str(path.relative_to(target)) for path in found)
    seed = Seed(
        name,
        case.spec.name,
        target,
        names[0] if isinstance(given, Path) else names,
        dict(case.options),
        np.asarray(case.expected),
        reader,
    )
    seed.save(place)
    return seed
