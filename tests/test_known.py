"""While a recording is opened the system is asked once about each file, and a change is still noticed."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import SourceReadError
from roiextractors_core.io import PositionedFile, folder_names, is_file, is_folder, read_bounded
from roiextractors_core.io.known import asked_once, known_files
from roiextractors_core.io.positioned import _DESCRIPTORS
from roiextractors_core.testing.descriptors import held_open


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The calls of the system since the last ``clear``."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("open", "stat", "fstat", "preadv", "listdir", "scandir"):
        if hasattr(os, name):
            counted(name)
    yield counts
    monkeypatch.undo()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "movie.bin"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    return path


def test_several_readers_of_a_file_share_one_look_at_it(file: Path, calls: Counter[str]) -> None:
    content = file.read_bytes()
    calls.clear()
    with asked_once():
        for _ in range(3):
            reader = PositionedFile(file)
            assert reader.size == len(content)
            for at in (0, 16, 4000, 9_000):
                assert reader.read(at, 100) == content[at : at + 100]
            reader.close()
        assert read_bounded(file, 1 << 20) == content
    assert (calls["open"], calls["fstat"], calls["stat"]) == (1, 1, 0)
    assert calls["preadv"] <= 2


@pytest.mark.parametrize("at", [0, 1023, 1024, 5_000, 16_383, 20_000, 99_000, 99_990, 100_000, 200_000])
@pytest.mark.parametrize("count", [1, 10, 1024, 5_000, 16_384, 20_000])
def test_blocks_give_the_bytes_of_the_file(file: Path, at: int, count: int) -> None:
    content = file.read_bytes()
    with asked_once():
        reader = PositionedFile(file)
        for start in (at, max(0, at - 2000), at + 700, at):
            assert reader.read(start, count) == content[start : start + count]


def test_a_file_that_was_written_anew_while_it_was_opened_is_an_error(file: Path) -> None:
    with asked_once():
        reader = PositionedFile(file)
        reader.read(0, 100)
        file.write_bytes(bytes(100_000))
        assert reader.read(0, 100) != bytes(100)  # what the first look saw
    with pytest.raises(SourceReadError, match="rewritten"):
        reader.read(50_000, 100)


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses to replace an open file")
def test_a_file_that_was_replaced_while_it_was_opened_is_an_error(file: Path, tmp_path: Path) -> None:
    with asked_once():
        reader = PositionedFile(file)
        reader.read(0, 100)
        (tmp_path / "other").write_bytes(bytes(100_000))
        (tmp_path / "other").replace(file)
    _DESCRIPTORS.drop(str(file))
    with pytest.raises(SourceReadError, match="replaced"):
        reader.read(50_000, 100)


def test_a_file_that_changed_since_it_was_read_before_is_an_error(file: Path) -> None:
    reader = PositionedFile(file)
    reader.read(0, 100)
    file.write_bytes(bytes(100_000))
    with asked_once(), pytest.raises(SourceReadError, match="rewritten"):
        reader.read(50_000, 100)


def test_a_file_that_grew_is_read_on(file: Path) -> None:
    with asked_once():
        reader = PositionedFile(file)
        assert reader.size == 100_000
        with file.open("ab") as stream:
            stream.write(b"more")
    assert reader.read(100_000, 4) == b"more"


def test_nothing_stays_open_and_nothing_is_remembered(file: Path) -> None:
    with asked_once():
        PositionedFile(file).read(0, 10)
        assert held_open([file])
        with asked_once():
            assert known_files() is not None
        assert known_files() is not None
    assert known_files() is None
    assert not held_open([file])


def test_a_kept_error_keeps_no_file_open(file: Path, tmp_path: Path) -> None:
    kept = []
    try:
        with asked_once():
            PositionedFile(file).read(0, 10)
            PositionedFile(tmp_path / "missing").read(0, 10)
    except SourceReadError as error:
        kept.append(error)
    except roi.RoiExtractorsError as error:
        kept.append(error)
    assert kept
    assert not held_open([file])


def test_of_many_files_few_stay_open(tmp_path: Path, calls: Counter[str]) -> None:
    paths = [tmp_path / f"{k:03}" for k in range(100)]
    for k, path in enumerate(paths):
        path.write_bytes(bytes([k]) * 500)
    calls.clear()
    with asked_once():
        readers = [PositionedFile(path) for path in paths]
        for k, reader in enumerate(readers * 2):
            assert reader.read(0, 3) == bytes([k % 100]) * 3
        assert len(held_open(paths)) <= 64
    assert calls["open"] == 100


def test_another_thread_asks_for_itself(file: Path) -> None:
    seen = []
    with asked_once():
        thread = threading.Thread(target=lambda: seen.append(known_files()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_folder_is_listed_once_and_its_names_are_not_asked_for(tmp_path: Path, calls: Counter[str]) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "inside").mkdir()
    calls.clear()
    with asked_once():
        for _ in range(3):
            assert folder_names(tmp_path) == ("a.txt", "inside")
            assert is_file(tmp_path / "a.txt")
            assert not is_folder(tmp_path / "a.txt")
            assert is_folder(tmp_path / "inside")
            assert not is_file(tmp_path / "b.txt")
            assert not is_file(tmp_path / "inside" / "c.txt")
    assert calls["scandir"] + calls["listdir"] == 1
    assert calls["stat"] == 3  # a.txt, inside, inside/c.txt
    assert folder_names(tmp_path) == ("a.txt", "inside")
    assert not is_folder(tmp_path / "b\0")


def test_a_recording_is_looked_at_again_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "movie.npy"
    for length in (3, 5):
        np.save(path, np.zeros((length, 4, 4), np.uint8))
        with roi.open(path) as recording:
            assert len(recording) == length
