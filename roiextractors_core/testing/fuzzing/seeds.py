"""Small recordings that are changed: of writers, of a plugin's tests, or given."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
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
from ...registry.registry import default_registry
from ..cuts import copy_recording, files_of, kin_of, paths_of
from .contents import Lines, contents_of, is_same, maps_of
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
    expected : numpy.ndarray or mapping of str to numpy.ndarray
        Its samples; of a segmentation, what :func:`contents_of` gives.
    reader : str
        Another reader of the format, as ``"module:function"`` or ``"file.py:function"``; see :class:`FuzzTests`.
    """

    name: str
    format: str
    folder: Path
    recording: str | tuple[str, ...]
    options: Mapping[str, Any]
    expected: Any
    reader: str = ""

    @property
    def kind(self) -> str:
        """``"imaging"`` or ``"segmentation"``."""
        return "segmentation" if isinstance(self.expected, Mapping) else "imaging"

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Every file by its path in the folder."""
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files_of(self.folder)}

    @cached_property
    def pixels(self) -> PixelMap | None:
        """The places of the pixels of a movie, if they are stored uncompressed."""
        return None if self.kind == "segmentation" else PixelMap.of(self.files, self.expected)

    @cached_property
    def maps(self) -> dict[str, PixelMap]:
        """The places of the arrays of a segmentation that are stored uncompressed."""
        maps = maps_of(self.files, self.expected) if self.kind == "segmentation" else {}
        return {name: place for name, place in maps.items() if self._is_read_from(name, place)}

    def _is_read_from(self, name: str, place: PixelMap) -> bool:
        """Return whether an array changes with the bytes: a file may contain the same array twice, and only one is read."""
        with tempfile.TemporaryDirectory(prefix="roiextractors-map-", ignore_cleanup_errors=True) as folder:
            copy = Path(folder) / "recording"
            shutil.copytree(self.folder, copy, copy_function=shutil.copyfile)
            file, at = place.places[0]
            content = bytearray(self.files[file])
            content[at + place.part_bytes // 2] ^= 1
            (copy / file).write_bytes(content)
            try:
                _, contents = read_whole(replace(self, folder=copy))
            except Exception:  # noqa: BLE001 - a checksum, or a value that is refused; an error of another kind is a defect, found later
                return True
            return name not in contents or not is_same(contents[name], self.expected[name])

    @cached_property
    def was_found(self) -> dict[str, bool]:
        """Whether other libraries read each array of a segmentation from its unchanged files."""
        lines = Lines(files_of(self.folder))
        return {name: lines.contain(part) for name, part in self.expected.items()}

    @cached_property
    def anatomies(self) -> dict[str, Anatomy]:
        """The structure of every file."""
        maps = [self.pixels] if self.pixels else list(self.maps.values())
        spans = {name: sorted(span for one in maps for span in one.spans(name)) for name in self.files}
        return {name: anatomy_of(data, spans[name]) for name, data in self.files.items()}

    def opened_as(self, folder: Path) -> str | list[str]:
        """Return the path or paths to open in a copy of the folder."""
        if isinstance(self.recording, str):
            return str(folder / self.recording)
        return [str(folder / name) for name in self.recording]

    def save(self, place: Path) -> None:
        """Write the facts about the recording next to its folder, for :meth:`saved`."""
        facts: dict[str, Any] = {
            "name": self.name,
            "format": self.format,
            "recording": self.recording,
            "options": dict(self.options),
            "reader": self.reader,
        }
        if self.kind == "segmentation":
            np.savez(place / "expected.npz", *self.expected.values())
            facts["parts"] = list(self.expected)
        else:
            np.save(place / "expected.npy", self.expected)
        (place / "seed.txt").write_text(repr(facts), encoding="utf-8")

    @classmethod
    def load(cls, place: Path) -> Seed:
        """Return the seed from a folder that :meth:`save` wrote to."""
        # Options contain tuples, which JSON would turn into lists
        facts = ast.literal_eval((place / "seed.txt").read_text(encoding="utf-8"))
        parts, expected = facts.pop("parts", None), None
        if parts is None:
            expected = np.load(place / "expected.npy")
        else:
            with np.load(place / "expected.npz") as arrays:
                expected = {part: arrays[f"arr_{k}"] for k, part in enumerate(parts)}
        return cls(folder=place / "recording", expected=expected, **facts)


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
    spec = default_registry().get(format)
    empty: Any = {} if spec is not None and spec.kind == "segmentation" else np.empty((0, 0, 0))
    seed = Seed(paths[0].name, format, target, name, dict(options or {}), empty)
    chosen, expected = read_whole(seed)
    return replace(seed, options=chosen, expected=expected)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, copy_function=shutil.copyfile)
        for folder, _, _ in os.walk(target):  # a recording may be protected from writing
            os.chmod(folder, 0o755)
    else:
        shutil.copyfile(path, target)


def read_whole(seed: Seed) -> tuple[dict[str, Any], Any]:
    options = dict(seed.options)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                where = seed.opened_as(seed.folder)
                if seed.kind == "segmentation":
                    with roi.open(where, format=seed.format, kind="segmentation", **options) as rois:
                        return options, contents_of(rois)
                with roi.open(where, format=seed.format, **options) as opened:
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


_MAX_SEED = 1 << 20  # bytes
_ONE_TEST = "test_the_recording_opens or test_the_recording_is_what_was_written"  # of imaging, of segmentations


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
    command = [sys.executable, "-m", "pytest", *map(str, tests), "-q", "-k", _ONE_TEST]
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
    # Long traces test what one of them reads; copying their files for every case would take most of the time
    small = [seed for seed in found if seed.kind == "imaging" or sum(map(len, seed.files.values())) <= _MAX_SEED]
    return [seed for seed in small if not format or seed.format == format]


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
    opened_as = names[0] if isinstance(given, Path) else names
    is_movie = case.spec.kind != "segmentation"
    expected: Any = np.asarray(case.expected) if is_movie else {}
    seed = Seed(name, case.spec.name, target, opened_as, dict(case.options), expected, reader)
    if (
        not is_movie
    ):  # the extractor's own types and order of pixels, which other tests compare with what the author gives
        seed = replace(seed, expected=read_whole(seed)[1])
    seed.save(place)
    return seed
