"""How often the system is asked about the files of a recording while it opens: on a network share each call takes 1 to 10 ms."""

from __future__ import annotations

import functools
import os
import pickle
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core import testing

MOVIE = np.random.default_rng(0).integers(0, 200, (120, 32, 48)).astype(np.uint16)

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not hasattr(os, "preadv"), reason="reads are counted where they are positioned"),
]


class Calls:
    """The calls of this process on the files of a folder: by kind, and by file."""

    def __init__(self, folder: Path) -> None:
        self._start = str(folder)
        self._paths: dict[int, str] = {}
        self.kinds: Counter[str] = Counter()
        self.opens: Counter[str] = Counter()
        self.stats: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return sum(self.kinds.values())

    @contextmanager
    def counted(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "stat", "lstat", "fstat", "preadv", "listdir", "scandir"):
                patch.setattr(os, name, functools.partial(self._call, name, getattr(os, name)))
            yield

    def _call(self, kind: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = None
        try:
            result = real(*args, **kwargs)
            return result
        finally:
            path = self._paths.get(args[0], "") if isinstance(args[0], int) else os.fsdecode(args[0])
            if kind == "open" and isinstance(result, int):
                self._paths[result] = path
            if path == self._start or path.startswith(self._start + os.sep):
                self.kinds[kind] += 1
                if kind == "open":
                    self.opens[path] += 1
                elif kind.endswith("stat"):
                    self.stats[path] += 1


@pytest.fixture
def opened_counting(tmp_path: Path) -> Callable[[Callable[[Path], Path]], Calls]:
    """Write a recording twice, open one so that imports are over, and count while the other is opened."""

    def count(write: Callable[[Path], Path]) -> Calls:
        paths = []
        for name in ("warm", "watched"):
            (tmp_path / name).mkdir()
            paths.append(write(tmp_path / name))
        calls = Calls(tmp_path / "watched")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            roi.open(paths[0]).close()
            with calls.counted(), roi.open(paths[1]) as recording:
                assert len(recording)
        return calls

    return count


def write_sequence(folder: Path, **options: Any) -> Path:
    for number, frame in enumerate(MOVIE):
        path = folder / f"frame_{number:05d}.tif"
        if options:
            pytest.importorskip("tifffile").imwrite(path, frame, metadata=None, **options)
        else:
            testing.write_tiff(roi.NumpyImagingExtractor(frame[np.newaxis]), path)
    return folder


def test_of_a_folder_of_like_files_the_first_and_the_last_are_opened(opened_counting: Any) -> None:
    pytest.importorskip("roiextractors_tiff")
    calls = opened_counting(write_sequence)
    assert {os.path.basename(path) for path in calls.opens} == {"frame_00000.tif", "frame_00119.tif"}
    assert max(calls.opens.values()) == 1
    assert calls.total <= 150  # a stat for the size of each file


def test_each_file_of_another_size_is_opened_once(opened_counting: Any) -> None:
    pytest.importorskip("roiextractors_tiff")
    calls = opened_counting(functools.partial(write_sequence, compression="zlib"))
    assert (len(calls.opens), max(calls.opens.values())) == (120, 1)
    assert max(calls.stats.values()) <= 3  # by its path and by its descriptor; the first one also by detection
    assert calls.kinds["preadv"] <= 2 * 120


def test_the_files_of_a_scanimage_acquisition_are_opened_once_each(opened_counting: Any) -> None:
    writing = pytest.importorskip("roiextractors_scanimage.testing")

    def write(folder: Path) -> Path:
        for k in range(10):
            movie = roi.NumpyImagingExtractor(MOVIE[:12].astype(np.int16), 30.0)
            writing.write_scanimage(movie, folder / f"mouse_{k + 1:05d}.tif")
        first = folder / "mouse_00001.tif"
        for path in sorted(folder.iterdir()):
            # The writer knows single files alone: the same number of bytes says that the acquisition is split
            content = path.read_bytes()
            path.write_bytes(content.replace(b"logFramesPerFile = Inf", b"logFramesPerFile = 12 "))
        return first

    calls = opened_counting(write)
    assert (len(calls.opens), max(calls.opens.values())) == (10, 1)
    assert max(calls.stats.values()) <= 2
    assert calls.kinds["preadv"] <= 8 * 10


@pytest.mark.parametrize(
    ("name", "plugin", "most"),
    [("movie.npy", "", 20), ("movie.nwb", "nwb", 40), ("movie.zarr", "omezarr", 40), ("suite2p", "suite2p", 25)],
)
def test_each_file_is_opened_once(opened_counting: Any, name: str, plugin: str, most: int) -> None:
    options: dict[str, Any] = {}
    if plugin:
        pytest.importorskip(f"roiextractors_{plugin}")
    if plugin == "nwb":
        from datetime import UTC, datetime

        options["start_time"] = datetime(2026, 1, 2, tzinfo=UTC)

    def write(folder: Path) -> Path:
        target = folder / name
        if not plugin:
            np.save(target, MOVIE)
            return target
        movie = roi.NumpyImagingExtractor(MOVIE.astype(np.int16), 30.0)
        roi.convert(movie, target, format="suite2p" if plugin == "suite2p" else None, **options)
        return target

    calls = opened_counting(write)
    assert calls.total <= most
    # zarr reads its descriptions by itself
    assert max(calls.opens.values()) <= (2 if plugin == "omezarr" else 1)


def test_a_stray_a_shorter_and_a_damaged_file_are_noticed_all_the_same(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_tiff")
    write_sequence(tmp_path)
    testing.write_tiff(roi.NumpyImagingExtractor(MOVIE[:1, :16]), tmp_path / "frame_00050.tif", overwrite=True)
    path = tmp_path / "frame_00070.tif"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(roi.RoiExtractorsWarning) as caught:
        recording = roi.open(tmp_path)
    words = " ".join(str(one.message) for one in caught)
    assert "frame_00050.tif" in words
    assert "frame_00070.tif" in words
    recording.close()


def test_a_file_of_a_folder_that_changed_is_refused_when_it_is_read(tmp_path: Path) -> None:
    """Of the same size, so that only a look into it shows that it is another one."""
    pytest.importorskip("roiextractors_tiff")
    write_sequence(tmp_path)
    with roi.open(tmp_path) as recording:
        content = (tmp_path / "frame_00060.tif").read_bytes()
        (tmp_path / "frame_00060.tif").write_bytes(b"\0" * len(content))
        with pytest.raises(roi.RecordingError, match=r"frame_00060\.tif"):
            recording.get_series()
        assert np.array_equal(recording[59], MOVIE[59])


def pickled(folder: Path) -> bytes:
    """Return the pickle of a folder that was complete ten seconds ago."""
    at = time.time_ns() - 10_000_000_000
    os.utime(folder, ns=(at, at))
    with roi.open(folder) as recording:
        return pickle.dumps(recording)


def test_a_pickle_knows_the_sizes_of_the_files(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_tiff")
    data = pickled(write_sequence(tmp_path))
    assert len(data) < 1000
    calls = Calls(tmp_path)
    with calls.counted():
        again = pickle.loads(data)
    assert calls.total <= 40
    assert len(calls.opens) == 2
    assert np.array_equal(again.get_series(), MOVIE)
    assert np.array_equal(pickle.loads(pickle.dumps(again))[119], MOVIE[119])


def test_a_file_that_was_added_since_pickling_is_noticed(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_tiff")
    data = pickled(write_sequence(tmp_path))
    testing.write_tiff(roi.NumpyImagingExtractor(MOVIE[:1]), tmp_path / "frame_00120.tif")
    with pytest.raises(roi.RecordingError, match="when it was pickled"):
        pickle.loads(data)


@pytest.mark.parametrize("number", [0, 61, 119])
def test_a_file_that_was_written_anew_since_pickling_is_not_read_as_the_old_one(tmp_path: Path, number: int) -> None:
    pytest.importorskip("roiextractors_tiff")
    data = pickled(write_sequence(tmp_path))
    longer = testing.write_tiff(roi.NumpyImagingExtractor(MOVIE[:2]), tmp_path.with_suffix(".tif")).read_bytes()
    (tmp_path / f"frame_{number:05d}.tif").write_bytes(longer)  # in place, so that the folder seems unchanged
    with pytest.raises(roi.RoiExtractorsError):
        pickle.loads(data).get_series()
