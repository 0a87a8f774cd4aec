"""Import, discovery, detection and the first read, with each import in its own process."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from benchmarks.conftest import Beside


def process(code: str) -> Callable[[], object]:
    """Return a call that runs code in a new process, or raises ImportError if the package is not installed."""
    name = code.removeprefix("import ")

    def run() -> None:
        if subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode:
            raise ImportError(name=name)

    return run


def test_importing_the_core(beside: Beside) -> None:
    others = {name: process(f"import {name}") for name in ("numpy", "tifffile", "h5py", "bioio", "roiextractors")}
    beside(
        "`import roiextractors_core`, whole process",
        process("import roiextractors_core"),
        {"python -c pass": process("pass"), **others},
        group="start",
        limit="python -c pass",
    )


def test_importing_the_core_and_finding_the_formats(beside: Beside) -> None:
    beside(
        "import and discovery of every plugin",
        process("import roiextractors_core as roi; roi.formats()"),
        {"import numpy": process("import numpy"), "import roiextractors": process("import roiextractors")},
        group="start",
        limit="import numpy",
    )


def test_opening_and_reading_in_a_fresh_process(tmp_path: Path, beside: Beside) -> None:
    path = tmp_path / "movie.npy"
    np.save(path, np.zeros((10, 8, 8), np.uint16))
    theirs = f"from roiextractors import NumpyImagingExtractor as E; E({str(path)!r}, 30.0).get_series(0, 10)"
    beside(
        "import, discovery, opening and reading a small .npy",
        process(f"import roiextractors_core as roi; roi.open({str(path)!r}).get_series()"),
        {
            "numpy.load": process(f"import numpy; numpy.load({str(path)!r})"),
            "roiextractors": process(theirs),
        },
        group="start",
        limit="numpy.load",
    )


@pytest.mark.parametrize("name", ["movie.npy", "movie.tif", "noise.xyz"])
def test_detecting_a_file_among_all_formats(tmp_path: Path, name: str, beside: Beside) -> None:
    path = tmp_path / name
    recording = roi.NumpyImagingExtractor(np.zeros((10, 8, 8), np.uint16))
    if name.endswith(".tif"):
        from roiextractors_core.testing import write_tiff

        write_tiff(recording, path)
    elif name.endswith(".npy"):
        np.save(path, recording.get_series())
    else:
        path.write_bytes(np.random.default_rng(0).bytes(10_000))
    beside(
        f"{name} among {len(roi.formats())} formats",
        lambda: [roi.explain(path) for _ in range(100)] and None,
        {"bioio": functools.partial(by_bioio, path)} if name.endswith(".tif") else {},
        group="detection",
        per=100,
        at_most=1.0,
        note="bioio tries its plugins, each of which opens the file" if name.endswith(".tif") else "",
    )


def by_bioio(path: Path) -> None:
    import bioio
    from bioio_base.exceptions import UnsupportedFileFormatError

    for _ in range(100):
        with contextlib.suppress(UnsupportedFileFormatError):  # bioio has tried its plugins, and none accepts the file
            bioio.BioImage.determine_plugin(str(path))
