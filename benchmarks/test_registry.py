"""Discovery and detection with a thousand formats of three hundred distributions, in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.conftest import Beside

HOOKS = """
from roiextractors_core import FormatSpec, Magic, Name, Sibling, TiffTag, hookimpl


@hookimpl
def roiextractors_formats():
    for k in range({first}, {last}):
        evidence = (
            Magic(b"signature %d" % k),
            TiffTag("Software", contains=f"microscope {{k}}"),
            Name(f"*_{{k}}.dat") & Sibling(f"*.x{{k}}"),
            Magic(b"header %d" % k, offset=512),
        )[k % 4]
        yield FormatSpec(
            name=f"format-{{k}}",
            title=f"Format {{k}}",
            extractor="nowhere:Nothing",
            extensions=(f".x{{k}}",) if k % 4 != 1 else (".tif",),
            evidence=evidence,
            api=1,
        )
"""

PROCESS = """
import sys
import roiextractors_core as roi
roi.formats()
for _ in sys.stdin:
    for _ in range(30):
        roi.explain(sys.argv[1])
    print("done", flush=True)
"""


def written(folder: Path, num_distributions: int, num_formats: int) -> Path:
    """Write distributions as pip leaves them."""
    for number in range(num_distributions):
        package = f"stranger_{number}"
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("")
        first, last = num_formats * number // num_distributions, num_formats * (number + 1) // num_distributions
        (folder / package / "hooks.py").write_text(HOOKS.format(first=first, last=last))
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[roiextractors_core]\n{package} = {package}.hooks\n")
    return folder


def process(site: Path, code: str, *arguments: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


SITES = [(0, 0), (30, 100), (300, 1000)]


@pytest.fixture(scope="module", params=SITES, ids=lambda pair: str(pair[1]))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    """A folder of distributions, and the total numbers of formats and distributions with those of the project."""
    folder = written(tmp_path_factory.mktemp("site") / "site", *request.param)
    code = "import roiextractors_core as roi; print(len(roi.formats()), len(roi.plugins()))"
    formats, plugins = map(int, process(folder, code).split())  # compiles the modules, as pip does on installing
    return folder, formats, plugins


def test_discovery_by_the_number_of_distributions(site: tuple[Path, int, int], beside: Beside) -> None:
    folder, _, plugins = site
    beside(
        "discovery, whole process",
        lambda: process(folder, "import roiextractors_core as roi; roi.formats()") and None,
        {"import numpy": lambda: process(folder, "import numpy") and None},
        group="start",
        limit="import numpy",
        growth=("installed distributions", plugins),
        note="the time includes importing numpy",
    )


@pytest.mark.parametrize("name", ["movie.npy", "movie.tif", "noise.xyz"])
def test_detection_by_the_number_of_formats(
    tmp_path: Path, site: tuple[Path, int, int], name: str, beside: Beside
) -> None:
    """Measures detection within one process, without the time to start it."""
    from roiextractors_core import NumpyImagingExtractor
    from roiextractors_core.testing import write_tiff

    folder, formats, _ = site
    path = tmp_path / name
    if name == "movie.npy":
        np.save(path, np.zeros((10, 8, 8), np.uint16))
    elif name == "movie.tif":
        write_tiff(NumpyImagingExtractor(np.zeros((10, 8, 8), np.uint16)), path)
    else:
        path.write_bytes(np.random.default_rng(0).bytes(10_000))
    with Explaining(folder, path) as explaining:
        beside(f"detection of {name}", explaining.again, group="detection", per=30, growth=("formats", formats))


class Explaining:
    """A process that explains a file thirty times on request."""

    def __init__(self, folder: Path, path: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Explaining:
        self.again()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def again(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("again\n")
        if self.process.stdout.readline() != "done\n":
            raise RuntimeError("the process that explains has ended")
