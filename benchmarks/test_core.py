"""Import, detection and opening, as ratios in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import roiextractors_core as roi


def whole_process(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def test_importing_the_core_against_importing_numpy() -> None:
    pairs = [(whole_process("import roiextractors_core"), whole_process("import numpy")) for _ in range(9)]
    print(
        f"\nimport roiextractors_core / import numpy: {statistics.median(a / b for a, b in pairs):.2f} (wanted <= 1.15)"
    )


def test_detecting_one_file_among_all_formats(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((10, 8, 8), np.uint16))
    roi.explain(tmp_path / "movie.npy")
    took = []
    for _ in range(300):
        started = time.perf_counter()
        roi.explain(tmp_path / "movie.npy")
        took.append(time.perf_counter() - started)
    print(f"\ndetection among {len(roi.formats())} formats: {statistics.median(took) * 1e3:.3f} ms (wanted < 1)")


def test_opening_and_first_discovery_in_a_fresh_process(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((10, 8, 8), np.uint16))
    code = f"import roiextractors_core as roi; roi.open({str(tmp_path / 'movie.npy')!r}).get_series()"
    pairs = [(whole_process(code), whole_process("import numpy")) for _ in range(9)]
    print(f"\nimport, discover, open, read / import numpy: {statistics.median(a / b for a, b in pairs):.2f}")
