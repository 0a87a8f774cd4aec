"""Tables of ROIs and samples in HDF5 files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from roiextractors_hdf5.contents import open_hdf5
from roiextractors_hdf5.dataset import Hdf5Dataset
from roiextractors_hdf5.matrix import Hdf5Matrix, is_numeric, read_array, read_ranges, runs_of

from roiextractors_core.errors import CorruptRecordingError, RecordingError, UnsupportedRecordingError

TABLE = np.arange(12 * 50, dtype=np.float64).reshape(12, 50)
SELECTIONS = [[3], [0, 1, 2], [5, 1, 2, 3, 11, 0], [2, 2, 7], [0, 11], list(range(12)), []]


def write(path: Path, table: np.ndarray, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("table", data=table, **options)
    return path


@pytest.mark.parametrize("rois_first", [True, False])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">i2", "u1"])
@pytest.mark.parametrize(
    "options", [{}, {"chunks": (5, 7)}, {"chunks": (4, 6), "compression": "gzip", "shuffle": True}]
)
def test_every_part_of_a_table_is_as_numpy_gives_it(
    tmp_path: Path, rois_first: bool, dtype: str, options: dict[str, Any]
) -> None:
    table = TABLE.astype(dtype)
    path = write(tmp_path / "a.h5", table if rois_first else table.T, **options)
    matrix = Hdf5Matrix(path, "table", rois_first=rois_first)
    for rois in SELECTIONS:
        for start, end in ((0, 50), (7, 9), (4, 4)):
            part = matrix.read(start, end, np.array(rois, np.int64))
            assert part.shape == (end - start, len(rois))
            assert part.dtype == np.dtype(dtype).newbyteorder("=")
            assert part.base is None  # owned, so that nobody has to copy it
            np.testing.assert_array_equal(part, table[rois, start:end].T)
    matrix.close()
    again = pickle.loads(pickle.dumps(matrix))
    np.testing.assert_array_equal(again.read(0, 5, np.array([1])), table[1:2, :5].T)
    again.close()


def test_only_the_part_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes: list[Any] = []
    original = Hdf5Dataset.read_into

    def note(self: Hdf5Dataset, out: np.ndarray, box: Any) -> None:
        boxes.append(box)
        original(self, out, box)

    monkeypatch.setattr(Hdf5Dataset, "read_into", note)
    matrix = Hdf5Matrix(write(tmp_path / "a.h5", TABLE), "table", rois_first=True)
    matrix.read(3, 8, np.array([0, 1, 9]))
    assert boxes == [[(0, 2), (3, 8)], [(9, 10), (3, 8)]]
    matrix.close()


def test_a_table_with_parts_that_were_never_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        table = file.create_dataset("table", (12, 50), "f8", chunks=(4, 50))
        table[:4] = TABLE[:4]
    with pytest.raises(UnsupportedRecordingError, match="never written or are cut off"):
        Hdf5Matrix(path, "table", rois_first=True).read(0, 5, np.array([1]))


def test_a_truncated_table_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", TABLE)
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(RecordingError, match=r"a\.h5"):
        Hdf5Matrix(path, "table", rois_first=True).read(0, 50, np.arange(12))


def test_a_claim_beyond_the_stored_bytes_is_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("table", (1 << 45,), "f8", chunks=(1 << 16,), compression="gzip")
    with open_hdf5(path) as file, pytest.raises(CorruptRecordingError, match="claims 281,474,976,710,656 bytes"):
        read_array(file["table"])


def test_ranges_are_joined_whether_they_are_close_or_not(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=">i4")
    with open_hdf5(write(tmp_path / "a.h5", values)) as file:
        for ranges in ([(0, 10), (12, 20)], [(900, 1000), (0, 3)], [(5, 5), (7, 8)], [], [(4, 4)]):
            expected = np.concatenate([values[a:b] for a, b in ranges] or [values[:0]])
            found = read_ranges(file["table"], ranges)
            assert found.dtype == np.dtype("i4")
            np.testing.assert_array_equal(found, expected)


def test_runs_are_first_and_last_index() -> None:
    assert runs_of(np.array([3, 4, 5, 1, 2, 2, 9])) == [(3, 5), (1, 2), (2, 2), (9, 9)]
    assert runs_of(np.array([], np.int64)) == []


def test_text_references_and_groups_are_not_numbers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["text"], file["empty"] = "abc", h5py.Empty("f8")
        file["complex"], file["bool"] = np.zeros(2, complex), np.zeros(2, bool)
        file.create_dataset("refs", (2,), h5py.ref_dtype)
        assert [is_numeric(file[key]) for key in ("text", "empty", "complex", "refs", "/", "bool")] == [False] * 5 + [
            True
        ]
        assert not is_numeric(file["bool"], 2)
        assert not is_numeric(None)
