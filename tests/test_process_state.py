"""Opening and reading leave the state of the process as it was, in threads too."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io import silenced, warn
from roiextractors_core.io.notices import received_by
from roiextractors_core.io.plugin_output import stdout_to_stderr


def in_threads(work: Callable[[], None], count: int = 6) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def state() -> dict[str, object]:
    """Return the objects of the process that a library must leave alone; compared by identity where they are objects."""
    import locale

    return {
        "the list of filters": id(warnings.filters),
        "the filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "the loggers": {
            name: logging.getLogger(name).level for name in ("tifffile", "h5py", "hdmf", "matplotlib", "libav")
        },
        "what is logged at all": logging.root.manager.disable,
        "the root logger": (logging.getLogger().level, logging.getLogger().handlers[:]),
        "stdout": sys.stdout,
        "stderr": sys.stderr,
        "numpy": (np.geterr(), np.get_printoptions()),
        "the environment": dict(os.environ),
        "the folder": os.getcwd(),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the recursion limit": sys.getrecursionlimit(),
        "random numbers": (random.getstate(), np.random.get_state(legacy=True)[1].tobytes()),  # type: ignore[index,union-attr] # noqa: NPY002
        "signal handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
    }


@contextlib.contextmanager
def nothing_changes() -> Iterator[None]:
    """Compare the state of the process before and after, and all the time in between from another thread."""
    before, seen, is_over = state(), set(), threading.Event()

    def look() -> None:
        while not is_over.is_set():
            now = state()
            seen.update(what for what in before if now[what] != before[what])
            time.sleep(1e-4)

    watch = threading.Thread(target=look)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    watch.start()
    try:
        yield
    finally:
        is_over.set()
        watch.join()
        sys.setswitchinterval(interval)
    assert not seen
    assert state() == before


def test_opening_reading_and_unpickling_in_threads_changes_nothing(
    kind: str, tmp_path: Path, write_recorded: Callable[..., Any]
) -> None:
    recorded = write_recorded(kind, tmp_path, shape=(6, 32, 48))
    first = roi.open(recorded.path, **recorded.options)
    first.get_series()  # imports are over
    pickled = pickle.dumps(first)

    def work() -> None:
        for _ in range(4):
            with roi.open(recorded.path, **recorded.options) as recording, pickle.loads(pickled) as again:
                recording[0]
                again[1]
                again.metadata.to_dict()
            roi.explain(recorded.path)

    work()
    with nothing_changes():
        in_threads(work, 4)


def test_files_of_no_known_format_change_nothing(tmp_path: Path) -> None:
    contents = {"x.avi": b"RIFF\x10\0\0\0AVIX" + b"a" * 200, "y.sbx": b"z" * 1000, "z.tif": b"II*\0" + b"\xff" * 90}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    def work() -> None:
        for name in contents:
            with pytest.raises(roi.RoiExtractorsError):
                roi.open(tmp_path / name)

    work()
    with nothing_changes():
        in_threads(work)


def test_an_impossible_chunk_shape_in_a_zarr_changes_nothing(tmp_path: Path) -> None:
    source = roi.NumpyImagingExtractor(np.ones((9, 8, 7), np.uint16), 2.0)
    try:
        path = roi.convert(source, tmp_path / "a.zarr")
    except roi.FormatNotInstalledError as error:
        pytest.skip(str(error))
    (described,) = (path / "0").glob("zarr.json")
    document = json.loads(described.read_text())
    document["chunk_grid"]["configuration"]["chunk_shape"][0] = 0
    described.write_text(json.dumps(document))

    def work() -> None:
        with pytest.raises(roi.CorruptRecordingError, match="impossible shape"):
            roi.open(path)

    work()
    with nothing_changes():
        in_threads(work)


@pytest.mark.thorough
def test_drawing_in_threads_changes_nothing(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    np.save(tmp_path / "名前.npy", np.random.default_rng(0).integers(0, 99, (30, 8, 9)))

    def work() -> None:
        with roi.open(tmp_path / "名前.npy") as recording:
            recording.preview()  # its name has characters that the font lacks: matplotlib would issue a warning

    work()
    before = dict(matplotlib.rcParams)
    with nothing_changes():
        in_threads(work, 2)
    assert dict(matplotlib.rcParams) == before


def test_warnings_are_received_or_silenced_in_one_thread_alone() -> None:
    received: list[str] = []

    def work() -> None:
        mine: list[str] = []
        for _ in range(100):
            with received_by(lambda message, _: mine.append(message)):
                warn("mine")
                with silenced():
                    warn("nobody's")
        assert mine == ["mine"] * 100

    with nothing_changes(), received_by(lambda message, _: received.append(message)):
        in_threads(work)
    assert not received
    with pytest.warns(roi.IncompleteRecordingWarning, match="everybody's"):
        warn("everybody's")


def test_running_the_code_of_a_plugin_leaves_the_standard_output() -> None:
    before = sys.stdout
    with stdout_to_stderr():
        assert sys.stdout is before


@pytest.mark.thorough
def test_importing_every_extractor_adds_no_filter_but_those_of_other_libraries_for_their_own_messages(
    run: Callable[..., str],
) -> None:
    code = """
import contextlib, importlib, json, numpy, warnings
import roiextractors_core as roi
references = [name for spec in roi.formats() for name in (spec.extractor, spec.writer) if name]
before = list(warnings.filters)
for reference in references:
    with contextlib.suppress(ImportError):
        importlib.import_module(reference.partition(":")[0])
added = [entry for entry in warnings.filters if entry not in before]
print(json.dumps([[entry[1] and entry[1].pattern, entry[2].__module__] for entry in added]))
"""
    added = json.loads(run(code))
    assert [message for message, module in added if module == "builtins"] in ([], ["crc32c usage is deprecated.*"])
    assert all(module.partition(".")[0] in ("builtins", "ruamel", "scipy") for _, module in added)
