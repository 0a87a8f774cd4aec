"""HDF5 files with damaged global heaps, on which libhdf5 loops forever, are refused."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io import open_hdf5_file

h5py = pytest.importorskip("h5py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "Ärger.h5"
    with h5py.File(found, "w") as file:
        file.create_dataset("movie", data=np.arange(5 * 8 * 9, dtype=np.uint16).reshape(5, 8, 9))
        file["movie"].attrs["labels"] = ["time", "rows", "columns"]  # of variable length, in a global heap
    return found


def first_free(content: bytes) -> int:
    """Return the offset of the object that is a heap's free space, whose size includes its head."""
    start = content.index(b"GCOL")
    at = start + 16
    while number := struct.unpack_from("<H", content, at)[0]:
        assert number
        at += 16 + (struct.unpack_from("<Q", content, at + 8)[0] + 7) // 8 * 8
    return at


def test_a_sound_file_is_as_h5py_opens_it(path: Path) -> None:
    with open_hdf5_file(path) as ours, h5py.File(path, "r") as plain:
        assert ours.filename == plain.filename == str(path)
        assert ours.mode == "r"
        assert list(ours["movie"].attrs["labels"]) == ["time", "rows", "columns"]
        np.testing.assert_array_equal(ours["movie"][()], plain["movie"][()])


@pytest.mark.parametrize("size", [0, 8, 1 << 40])
def test_a_damaged_heap_is_an_error_not_an_endless_loop(path: Path, size: int) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, first_free(content) + 8, size)
    path.write_bytes(content)
    code = (
        "import sys; from roiextractors_core.io import open_hdf5_file\n"
        "with open_hdf5_file(sys.argv[1]) as file:\n"
        "    try: file['movie'].attrs['labels']\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
        "    print(file['movie'].shape)"
    )
    command = [sys.executable, "-X", "utf8", "-c", code, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=True)
    assert "its global heap at byte" in ran.stdout
    assert f"contains an object of {size:,} bytes" in ran.stdout
    assert "(5, 8, 9)" in ran.stdout


def test_a_heap_that_reaches_beyond_the_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, content.index(b"GCOL") + 8, len(content))
    path.write_bytes(content)
    with (
        open_hdf5_file(path) as file,
        pytest.raises(roi.CorruptRecordingError, match=r"global heap at byte \d[\d,]* claims"),
    ):
        file["movie"].attrs["labels"]


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(roi.SourceNotFoundError, match=r"nothing\.h5"):
        open_hdf5_file(tmp_path / "nothing.h5")
    with pytest.raises(roi.SourceKindError, match="is a folder"):
        open_hdf5_file(tmp_path)
    (tmp_path / "words.h5").write_text("words" * 100)
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    with pytest.raises(OSError, match="signature"):
        open_hdf5_file(tmp_path / "words.h5")
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= before
