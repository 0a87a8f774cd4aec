"""The recordings below a folder: each once, whatever else is there."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import roiextractors_core as roi
from roiextractors_core.cli.app import app
from roiextractors_core.interop import scan as scanning


def write(path: Path, *shape: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(shape or (4, 5, 6), np.uint16)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        tifffile.imwrite(path, pixels, photometric="minisblack")
    return path


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["scan", *words])


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two movies, one in a folder of its own, a broken one, a text and a hidden file."""
    whole = write(tmp_path / "b.npy", 20, 5, 6).read_bytes()
    write(tmp_path / "mouse" / "day 1" / "a.tif", 3, 7, 8)
    (tmp_path / "mouse" / "cut.npy").write_bytes(whole[:300])
    (tmp_path / "mouse" / "notes.txt").write_text("hungry\n")
    write(tmp_path / ".trash" / "old.npy")
    return tmp_path


def test_every_recording_below_a_folder_is_listed_with_its_facts(lab: Path) -> None:
    found = roi.scan(lab)
    movies = {os.path.relpath(f.path, lab): f for f in found}
    first = os.path.join("mouse", "day 1")
    assert set(movies) == {"b.npy", os.path.join("mouse", "cut.npy"), first}
    assert (movies["b.npy"].format, movies["b.npy"].shape, movies["b.npy"].dtype) == ("npy", (20, 5, 6), "uint16")
    assert movies["b.npy"].size == (lab / "b.npy").stat().st_size
    assert movies["b.npy"].missing == ("rate", "start time", "pixel size")
    assert movies[first].format == "tiff"
    assert movies[first].shape == (3, 7, 8)
    broken = movies[os.path.join("mouse", "cut.npy")]
    assert "cut.npy" in broken.error
    assert not broken.format
    assert found.num_unknown == 1


def test_the_table_has_a_row_each_and_the_sentence_of_what_is_broken(lab: Path) -> None:
    done = run(str(lab))
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[0] == f"{lab}: 2 recordings, 1 that cannot be opened, 1 other file"
    (row,) = (line for line in lines if line.startswith("b.npy"))
    assert "20x5x6" in row
    assert "rate, start time, pixel size" in row
    at = lines.index("cannot be opened")
    assert lines[at + 1].startswith(os.path.join("mouse", "cut.npy") + ": cut.npy")


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_the_table_is_readable_at_any_width(lab: Path, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    words = run(str(lab)).output.partition("cannot be opened\n")[0].split()
    # No word is split over two lines
    assert {"20x5x6", "uint16", "npy"} <= {word.strip(",;") for word in words}


def test_json_and_csv_say_the_same(lab: Path) -> None:
    rows = json.loads(run(str(lab), "--json").stdout)
    table = list(csv.DictReader(io.StringIO(run(str(lab), "--csv").stdout)))
    assert [row["path"] for row in rows] == [row["path"] for row in table]
    assert [row["error"] for row in rows] == [row["error"] for row in table]
    (movie,) = (row for row in rows if row["path"].endswith("b.npy"))
    assert (movie["shape"], movie["sampling_frequency"], movie["duration"]) == ([20, 5, 6], None, None)
    assert run(str(lab), "--json", "--csv").exit_code == 2


def test_a_folder_without_recordings_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert run(str(tmp_path)).output == f"{tmp_path}: 0 recordings, 1 other file\n"
    assert json.loads(run(str(tmp_path), "--json").output) == []


def test_a_folder_that_is_a_recording_is_one_row(tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / "run" / f"frame_{k:03}.tif", 5, 6)
    write(tmp_path / "run" / "more" / "a.npy")
    found = {os.path.relpath(f.path, tmp_path): f.shape for f in roi.scan(tmp_path)}
    assert found == {"run": (3, 5, 6), os.path.join("run", "more", "a.npy"): (4, 5, 6)}


def test_other_files_in_a_folder_of_images_are_listed(tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / f"frame_{k:03}.tif", 5, 6)
    write(tmp_path / "mean.npy")
    assert [os.path.relpath(f.path, tmp_path) for f in roi.scan(tmp_path)] == [".", "mean.npy"]


def test_the_rois_in_a_folder_are_listed_too(tmp_path: Path) -> None:
    traces = np.zeros((30, 2))
    rois = roi.NumpySegmentationExtractor(masks=np.ones((3, 4, 2)), traces={"raw": traces}, sampling_frequency=10.0)
    written = [spec for spec in roi.formats() if spec.kind == "segmentation" and ".nwb" in spec.writer_extensions]
    if not written:
        pytest.skip("no installed plugin writes a segmentation as a file")
    options = {"start_time": "2026-01-31T12:00:00+00:00"}
    roi.convert(rois, tmp_path / "rois.nwb", **options)
    (found,) = roi.scan(tmp_path)
    assert (found.kind, found.shape, found.sampling_frequency) == ("segmentation", (30, 2), 10.0)
    assert "2 ROIs, 30 samples" in run(str(tmp_path)).output


def test_streams_are_listed_and_the_facts_are_of_the_first(tmp_path: Path) -> None:
    pixels = np.zeros((5, 2, 6, 7), np.uint16)
    metadata = {"axes": "TCYX", "Channel": {"Name": ["Green", "Red"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, photometric="minisblack", metadata=metadata)
    write(tmp_path / "b.npy")
    found = {os.path.basename(f.path): f for f in roi.scan(tmp_path)}
    assert next(iter(found.values())).streams == {"channel": ("Green", "Red")}
    assert "channels Green, Red" in " ".join(run(str(tmp_path)).output.split())


def test_links_in_circles_end(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "m.npy")
    try:
        (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a", target_is_directory=True)
        (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
    except OSError:
        pytest.skip("this system creates no links")
    assert [os.path.relpath(f.path, tmp_path) for f in roi.scan(tmp_path)] == [os.path.join("a", "b", "m.npy")]


def test_each_folder_is_listed_once_for_all_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(30):
        (tmp_path / f"{k}.txt").write_text("x")
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(str(path)), scandir(path))[1])
    assert list(roi.scan(tmp_path)) == []
    assert listed.count(str(tmp_path)) <= 3  # by the scan, and for the evidence of all files together


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy")
    with pytest.raises(roi.SourceKindError, match="is a file"):
        roi.scan(path)
    with pytest.raises(roi.SourceNotFoundError):
        roi.scan(tmp_path / "nothing")


def test_an_unexpected_error_of_a_plugin_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.npy")
    write(tmp_path / "b.npy")
    opening = scanning.open_recording

    def fail(path: Path, **options: Any) -> Any:
        if path.name == "a.npy":
            raise ZeroDivisionError("a defect")
        return opening(path, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(scanning, "open_recording", fail)
    first, second = roi.scan(tmp_path)
    assert "ZeroDivisionError: a defect" in first.error
    assert second.format == "npy"


@pytest.mark.quick(1)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("flag", ["", "--json"])
def test_after_ctrl_c_the_part_that_was_found_is_printed(tmp_path: Path, flag: str) -> None:
    write(tmp_path / "a" / "m.npy")
    write(tmp_path / "b" / "m.npy")
    code = (
        "import os, signal, sys; from roiextractors_core.cli import app; from roiextractors_core.interop import scan\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "count = scan.Scan.count\n"
        "def stop(self):\n"
        "    count(self)\n"
        "    if self.num_files == 2: os.kill(os.getpid(), signal.SIGINT)\n"
        "scan.Scan.count = stop\n"
        f"sys.argv = ['roiextractors', 'scan', '.', *{[flag] if flag else []}]\n"
        "app.run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")
    if flag:
        assert [row["path"] for row in json.loads(done.stdout)] == [os.path.join("a", "m.npy")]
    else:
        assert done.stdout.startswith(".: 1 recording\n")


@pytest.mark.thorough
def test_every_real_recording_is_listed() -> None:
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", Path(__file__).parents[2] / "shared" / "recordings"))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip("the real recordings are not here")
    expected = json.loads((folder / "EXPECTED.json").read_text(encoding="utf-8"))
    listed = {Path(os.path.relpath(f.path, folder)).as_posix(): f for f in roi.scan(folder) if not f.error}
    for entry in expected:
        path = Path(entry["path"])
        # A folder that is the recording stands for its files
        rows = [listed[p.as_posix()] for p in (path, *path.parents) if p.as_posix() in listed]
        assert rows, f"{entry['path']} is not listed"
        if entry["kind"] == "imaging" and not rows[0].streams and "dtype" in entry and rows[0].kind == "imaging":
            assert rows[0].dtype == entry["dtype"], entry["path"]
            assert rows[0].shape[0] == entry["num_samples"], entry["path"]
