"""Opening and reading leave the state of the process as it was, in threads too."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io import library_warnings
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


def state() -> tuple[object, ...]:
    return (
        list(warnings.filters),
        warnings.showwarning,
        logging.getLogger("tifffile").level,
        logging.getLogger().handlers[:],
        sys.stdout,
        np.geterr(),
    )


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".zarr"])
def test_reading_in_threads_changes_nothing(suffix: str, tmp_path: Path) -> None:
    if suffix == ".tif":
        tifffile = pytest.importorskip("tifffile")
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, np.zeros((9, 64, 64), np.uint8), compression="zlib", photometric="minisblack")
    else:
        try:
            path = roi.convert(roi.NumpyImagingExtractor(np.ones((9, 8, 7)), 2.0), tmp_path / f"a{suffix}")
        except roi.FormatNotInstalledError as error:
            pytest.skip(str(error))
    roi.open(path).get_series()
    before = state()

    def work() -> None:
        for _ in range(15):
            with roi.open(path) as recording:
                recording[0]

    in_threads(work)
    assert state() == before


def test_warnings_of_other_libraries_are_ignored_by_one_thread_at_a_time() -> None:
    before = list(warnings.filters)

    def work() -> None:
        for _ in range(200):
            with library_warnings("ignore"):
                warnings.warn("of another library", UserWarning, stacklevel=1)

    in_threads(work)
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning, match="is invalid"), library_warnings("error", "it is invalid"):
        warnings.warn("it is invalid", UserWarning, stacklevel=1)


def test_running_the_code_of_a_plugin_leaves_the_standard_output() -> None:
    before = sys.stdout
    with stdout_to_stderr():
        assert sys.stdout is before
