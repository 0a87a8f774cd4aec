"""Discovery and detection with a thousand formats of three hundred distributions, in fresh processes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
import json, statistics, sys, time
started = time.perf_counter()
import roiextractors_core as roi
imported = time.perf_counter()
count = len(roi.formats())
discovered = time.perf_counter()
told = {"import": imported - started, "discovery": discovered - imported, "formats": count}
told["plugins"] = len(roi.plugins())
told["slowest"] = max(record.load_seconds for record in roi.plugins())
for path in sys.argv[1:]:
    took = []
    for _ in range(60):
        before = time.perf_counter()
        best = roi.explain(path).best
        took.append(time.perf_counter() - before)
    told[path.rpartition("/")[2]] = statistics.median(took)
    told[path.rpartition("/")[2] + " first"] = took[0]
print(json.dumps(told))
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


def told(site: Path, *paths: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, *map(str, paths)],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("distributions", "formats"), [(0, 0), (30, 100), (300, 1000)])
def test_discovery_and_detection(tmp_path: Path, distributions: int, formats: int) -> None:
    from roiextractors_core import NumpyImagingExtractor
    from roiextractors_core.testing import write_tiff

    site = written(tmp_path / "site", distributions, formats)
    np.save(tmp_path / "movie.npy", np.zeros((10, 8, 8), np.uint16))
    write_tiff(NumpyImagingExtractor(np.zeros((10, 8, 8), np.uint16)), tmp_path / "movie.tif")
    (tmp_path / "noise.xyz").write_bytes(np.random.default_rng(0).bytes(10_000))
    paths = [tmp_path / name for name in ("movie.npy", "movie.tif", "noise.xyz")]
    told(site, *paths)  # compiles the modules, as pip does when it installs
    runs = [told(site, *paths) for _ in range(5)]
    found = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    print(f"\n{found['formats']:,.0f} formats of {found['plugins']:,.0f} distributions:")
    print(f"  import of the core {found['import'] * 1e3:.1f} ms, discovery {found['discovery'] * 1e3:.0f} ms")
    for path in paths:
        print(
            f"  detection of {path.name} {found[path.name] * 1e3:.2f} ms, the first {found[path.name + ' first'] * 1e3:.1f} ms"
        )
