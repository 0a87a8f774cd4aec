"""The settings of the user: read once, and whatever is wrong with them is a note."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core import settings
from roiextractors_core.registry.registry import Registry
from roiextractors_core.settings import MAX_CONFIG_BYTES, config_file, read_settings

Run = Callable[..., str]


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    np.save(tmp_path / "movie.npy", np.zeros((3, 4, 5), np.uint16))
    return tmp_path / "movie.npy"


def notes_of(path: Path | str) -> tuple[str, ...]:
    return read_settings({"ROIEXTRACTORS_CONFIG": str(path)}).notes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"block = " + b"[" * 3000 + b"]" * 3000, "nested too deeply"),
        (b"a = " + b"{a=" * 3000 + b"1" + b"}" * 3000, "nested too deeply|'a' ignored"),
        (b".".join([b"a"] * 5000) + b" = 1", "nested too deeply|'a' ignored"),
        (b"block = " + b"[" * 100_000, "100,008 bytes, more than"),
        (b"block = ['\xff\xfe']", "codec can't decode"),
        (b"block = [" + b"9" * 6000 + b"]", "is ignored: "),
        (b"block = [", "is ignored: "),
        (b"block = 'a'\nzzz = {a=1}", "'block', 'zzz' ignored"),
        (b"prefer = [1, 2]", "'prefer' ignored"),
        (b"prefer = ['ab']", "'ab' is ignored"),
        (b"prefer = ['a>b>c']", "'a>b>c' is ignored"),
        (b"prefer = ['a>a']", "'a>a' is ignored"),
        (b"prefer = ['>']", "'>' is ignored"),
        (b'"\\u001b[31mred" = 1', r"x1b\[31mred"),
    ],
)
def test_a_config_file_that_is_wrong_is_a_note(tmp_path: Path, movie: Path, content: bytes, words: str) -> None:
    (tmp_path / "config.toml").write_bytes(content)
    environment = {"ROIEXTRACTORS_CONFIG": str(tmp_path / "config.toml")}
    registry = Registry(entry_points=lambda: (), environment=environment)
    (note,) = roi.explain(movie, registry=registry).notes
    assert note.isprintable()
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(note)
    assert roi.open(movie, registry=registry).shape == (3, 4, 5)


def test_the_keys_that_are_right_are_used_beside_those_that_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('block = ["a"]\nprefer = ["b > c", "d"]\ncolour = "red"\n')
    found = read_settings({"ROIEXTRACTORS_CONFIG": str(tmp_path / "config.toml"), "ROIEXTRACTORS_PREFER": "x>y, "})
    assert (found.block, found.prefer) == (("a",), (("x", "y"), ("b", "c")))
    assert len(found.notes) == 2


def test_a_config_that_is_not_a_small_regular_file_is_not_opened(tmp_path: Path) -> None:
    assert "not a regular file" in notes_of(tmp_path)[0]
    (tmp_path / "large").write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))
    assert f"65,537 bytes, more than {MAX_CONFIG_BYTES:,}" in notes_of(tmp_path / "large")[0]
    assert notes_of(tmp_path / "nowhere") == ()
    assert len(notes_of(tmp_path / "large" / "config.toml")) <= 1
    assert len(notes_of("a\0b")) == 1


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices of POSIX")
def test_a_config_that_is_a_pipe_or_a_device_is_a_note_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        assert "not a regular file" in notes_of(path)[0]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may read everything")
def test_a_config_that_may_not_be_read_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch(mode=0)
    assert "Permission denied" in notes_of(tmp_path / "config.toml")[0]


def test_a_user_without_a_home_folder_opens_recordings(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Path:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(Path, "home", fails)
    registry = Registry(entry_points=lambda: (), environment={})
    assert roi.open(movie, registry=registry).shape == (3, 4, 5)
    (note,) = roi.explain(movie, registry=registry).notes
    assert "no settings file was read: could not determine home directory" in note
    with pytest.raises(RuntimeError):
        config_file({})


def test_the_config_file_is_opened_once_a_process_and_again_after_a_refresh(
    movie: Path, tmp_path: Path, run: Run
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('block = ["a"]\n')
    code = f"""
import sys
import roiextractors_core as roi
count = 0
def watch(event, arguments):
    global count
    count += event == "open" and str(arguments[0]).endswith("config.toml")
sys.addaudithook(watch)
def look():
    roi.open({str(movie)!r}, sampling_frequency=1.0); roi.streams({str(movie)!r}); roi.explain({str(movie)!r}); roi.formats(); roi.plugins()
counts = []
look(); counts.append(count)
look(); counts.append(count)
roi.default_registry().prefer("npy", "tiff"); roi.default_registry().block("b"); look(); counts.append(count)
roi.refresh(); look(); look(); counts.append(count)
print(counts)
"""
    assert run(code, environment={"ROIEXTRACTORS_CONFIG": str(config)}).strip() == "[1, 1, 1, 2]"


def test_getters_take_no_lock_and_touch_no_disk(movie: Path, run: Run) -> None:
    code = f"""
import json, sys
import roiextractors_core as roi
from roiextractors_core.io.locks import ProcessLock
registry = roi.default_registry()
state = registry.snapshot()
registry.catalogue()
roi.explain({str(movie)!r})
events, locked = [], []
sys.addaudithook(lambda event, _: events.append(event) if event.startswith(("open", "os.", "pathlib", "import", "glob")) else None)
enter = ProcessLock.__enter__
ProcessLock.__enter__ = lambda self: (locked.append(1), enter(self))[1]
events.clear()
same = registry.snapshot() is state
registry.formats(), registry.plugins(), registry.get("npy"), registry.owner("npy"), registry.version("roiextractors-core")
registry.preferences(), registry.catalogue(), state.failed_plugins, state.notes
seen = [same, len(locked), list(events)]
roi.explain({str(movie)!r})
print(json.dumps([*seen, len(locked)]))
"""
    assert json.loads(run(code)) == [True, 0, [], 0]


def test_a_state_does_not_change_when_the_registry_does() -> None:
    registry = Registry(entry_points=lambda: (), environment={})
    before = registry.snapshot()
    registry.register(roi.FormatSpec(name="x", title="x", extractor="a.b:C", extensions=(".x",)))
    registry.prefer("x", "npy")
    after = registry.snapshot()
    assert (list(before.specs), list(after.specs)) == (["npy"], ["npy", "x"])
    assert (before.preferences, after.preferences) == ((), (("x", "npy"),))
    assert (after.owner("x"), before.owner("x")) == ("this session", "")
    with pytest.raises(TypeError):
        after.specs["y"] = after.specs["x"]  # type: ignore[index]
    registry.unregister("x")
    assert list(registry.snapshot().specs) == ["npy"]


def test_registering_does_not_load_plugins_again() -> None:
    loads: list[int] = []

    def entry_points() -> tuple[Any, ...]:
        loads.append(1)
        return ()

    registry = Registry(entry_points=entry_points, environment={})
    registry.formats()
    registry.register(roi.FormatSpec(name="x", title="x", extractor="a.b:C", extensions=(".x",)))
    registry.prefer("x", "npy")
    assert len(registry.formats()) == 2
    assert len(loads) == 1
    registry.refresh()
    assert len(registry.formats()) == 2
    assert len(loads) == 2


def test_threads_that_ask_first_share_one_discovery() -> None:
    loads: list[int] = []
    barrier = threading.Barrier(8)
    registry = Registry(entry_points=lambda: loads.append(1) or (), environment={})  # type: ignore[func-returns-value]

    def ask() -> None:
        barrier.wait()
        registry.formats()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_the_settings_of_one_open_are_read_from_one_state(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    snapshot = Registry.snapshot
    monkeypatch.setattr(Registry, "snapshot", lambda self: taken.append(1) or snapshot(self))
    registry = Registry(entry_points=lambda: (), environment={})
    for call in (roi.open, roi.streams, roi.explain):
        taken.clear()
        call(movie, registry=registry)  # type: ignore[operator]
        assert len(taken) == 1
    assert settings.read_settings({}) is not None
