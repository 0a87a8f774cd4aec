"""``python -m benchmarks`` runs the benchmarks, one module at a time, and writes ``docs/performance.md``.

``python -m benchmarks --compare main`` compares the working tree with another revision instead: the two take turns at each row,
and the table shows what became slower.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.compare import compare, table
from benchmarks.page import Row, missed_targets, page, rows_of

HERE = Path(__file__).resolve().parent
LIBRARIES = (
    "roiextractors-core",
    "numpy",
    "roiextractors",
    "tifffile",
    "h5py",
    "zarr",
    "av",
    "oiffile",
    "opencv-python-headless",
    "bioio",
    "bioio-ome-tiff",
    "pims",
    "pytest-benchmark",
)


def main() -> int:
    """Run the benchmarks, write the page, and return the number of modules that failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure two rounds only")
    parser.add_argument(
        "--compare", metavar="REVISION", help="compare the working tree with this revision; write no page"
    )
    parser.add_argument("--only", metavar="SUBSTRING", default="", help="run only the modules whose names contain this")
    parser.add_argument(
        "--output",
        metavar="PATH",
        type=Path,
        default=HERE.parent / "docs" / "performance.md",
        help="where to write the page",
    )
    chosen = parser.parse_args()
    modules = [path for path in sorted(HERE.glob("test_*.py")) if chosen.only in path.stem]
    if chosen.compare:
        return compared(chosen.compare, modules, is_quick=chosen.quick)
    rows, failed, started, before = [], [], time.perf_counter(), load()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        try:
            for module in modules:
                found, is_right = run(module, Path(folder), is_quick=chosen.quick)
                rows += found
                failed += [] if is_right else [module.stem]
        except KeyboardInterrupt:
            failed += ["everything after the interruption"]
        told = {**machine(Path(folder)), "load average at start": before}
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    text = page(
        rows,
        command=command,
        date=f"{datetime.date.today():%d %B %Y}".lstrip("0"),
        machine=told,
        versions=versions(),
        failed=failed,
    )
    chosen.output.write_text(text, encoding="utf-8")
    print(
        f"{len(rows)} rows, {sum(bool(missed_targets(row)) for row in rows)} missed targets, {len(failed)} modules failed, "
        f"{time.perf_counter() - started:.0f} s: {chosen.output}"
    )
    return len(failed)


def compared(revision: str, modules: list[Path], *, is_quick: bool) -> int:
    """Print each row while it is measured, then the table; return the number of rows that became slower."""
    rows = []
    for each in compare(revision, modules, turn_seconds=0.2 if is_quick else 2.0):
        if isinstance(each, str):
            print(each, flush=True)
            continue
        rows.append(each)
        print(f"{each.row}: {min(each.ratios):.2f} to {max(each.ratios):.2f} {each.verdict}", flush=True)
    slower = sum(row.verdict == "slower" for row in rows)
    print(f"\nbefore: {revision}; now: the working tree; a ratio above 1 is faster now\n\n{table(rows)}\n")
    print(f"{len(rows)} rows, {slower} slower, {sum(row.verdict == 'faster' for row in rows)} faster")
    return slower


def run(module: Path, folder: Path, *, is_quick: bool) -> tuple[list[Row], bool]:
    """Run one module in its own process; return its rows, and whether it succeeded."""
    told, data = folder / f"{module.stem}.json", folder / "data"
    words = ["-m", "pytest", str(module), "-n", "0", "-s", "-q", "--benchmark-quiet", "-p", "no:cacheprovider"]
    words += ["--basetemp", str(data), "-o", "tmp_path_retention_policy=failed", "--benchmark-json", str(told)]
    done = subprocess.run([sys.executable, *words, *(["--quick"] if is_quick else [])], cwd=HERE.parent, check=False)
    shutil.rmtree(data, ignore_errors=True)
    text = told.read_text(encoding="utf-8") if told.exists() else ""
    return (rows_of(json.loads(text)) if text else []), done.returncode == 0


def machine(folder: Path) -> dict[str, str]:
    """Describe the machine; the file system is that of the temporary folder."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor(),
        "cores": str(cores),
        "memory": f"{total:.0f} GiB",
        "file system": f"{file_system(folder)}, every file in the page cache",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
    }


def load() -> str:
    """Return the load average before the run, where the system provides it."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def processor() -> str:
    """Return the name of the processor, where the system provides it."""
    told = Path("/proc/cpuinfo")
    for line in told.read_text().splitlines() if told.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def file_system(folder: Path) -> str:
    """Return the type of a folder's file system."""
    told, best = Path("/proc/mounts"), ("", "unknown")
    for line in told.read_text().splitlines() if told.exists() else ():
        _, place, kind = line.split()[:3]
        if folder.is_relative_to(place) and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]


def versions() -> dict[str, str]:
    """Return the versions of the libraries that are compared."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    sys.exit(main())
