"""The tests of writers are proven by planted faults: each faulty writer fails the test of its rule."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.interop.npy_writer import write as write_npy
from roiextractors_core.io import Sidecar, read_blocks
from roiextractors_core.registry.registry import default_registry
from roiextractors_core.testing import WriterTests

pytestmark = pytest.mark.tools


def sound(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_npy(recording, partial, target=target, progress=progress)


def write_array(array: np.ndarray, sidecar: Sidecar, partial: Path) -> None:
    with partial.open("wb") as stream:
        np.save(stream, array)
    partial.with_name(f"{partial.name}.json").write_text(
        replace(sidecar, shape=array.shape).to_json(), encoding="utf-8"
    )


def loses_the_last_sample(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_npy(recording.slice_samples(0, len(recording) - 1), partial, target=target, progress=progress)


def changes_the_dtype(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_array(recording.get_series().astype(np.float64), Sidecar.of(recording), partial)


def swaps_rows_and_columns(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_array(recording.get_series().swapaxes(1, 2), Sidecar.of(recording), partial)


def changes_a_pixel(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    series = recording.get_series()
    series[-1, -1, -1] += 1
    write_array(series, Sidecar.of(recording), partial)


def forgets_the_times(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_array(recording.get_series(), replace(Sidecar.of(recording), times=None), partial)


def forgets_the_metadata(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_array(recording.get_series(), replace(Sidecar.of(recording), metadata=roi.RecordingMetadata()), partial)


def writes_to_the_target(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_npy(recording, target.with_name(f"{target.name}.part"), target=target, progress=progress)
    target.with_name(f"{target.name}.part").rename(partial)
    target.with_name(f"{target.name}.part.json").rename(partial.with_name(f"{partial.name}.json"))


def removes_the_target_first(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    target.unlink(missing_ok=True)
    write_npy(recording, partial, target=target, progress=progress)


def swallows_errors(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    series = np.zeros(recording.shape, recording.dtype)
    try:
        for start, block in read_blocks(recording, progress=progress):
            series[start : start + len(block)] = block
    except Exception:
        pass
    write_array(series, Sidecar.of(recording), partial)


def is_silent(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_array(recording.get_series(), Sidecar.of(recording), partial)


def counts_samples(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_array(recording.get_series(), Sidecar.of(recording), partial)
    progress(len(recording), len(recording))


def takes_any_option(recording: Any, partial: Path, *, target: Path, progress: Any, **options: Any) -> None:
    write_npy(recording, partial, target=target, progress=progress)


def needs_an_option(recording: Any, partial: Path, *, target: Path, progress: Any, level: int) -> None:
    write_npy(recording, partial, target=target, progress=progress)


def leaves_litter(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_npy(recording, partial, target=target, progress=progress)
    partial.with_name("notes.txt").write_text("litter")


def writes_another_format(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    partial.write_bytes(b"not a NumPy array" + bytes(100))


def writes_into_the_source(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    write_npy(recording, partial, target=target, progress=progress)
    for path in recording.get_paths():
        with open(path, "ab") as stream:
            stream.write(b"litter")


FAULTS = [
    (
        writes_into_the_source,
        "test_the_files_that_are_read_are_unchanged",
        "changed the files that the recording reads",
    ),
    (loses_the_last_sample, "test_the_pixels_and_the_dtype_are_the_same", "the shape came back as"),
    (changes_the_dtype, "test_the_pixels_and_the_dtype_are_the_same", "the dtype came back as float64"),
    (swaps_rows_and_columns, "test_a_view_is_written_as_it_is_seen", "the shape came back as"),
    (changes_a_pixel, "test_the_pixels_and_the_dtype_are_the_same", "1 sample came back with other pixels"),
    (forgets_the_times, "test_the_rate_and_the_times_are_the_same", "the time of sample"),
    (forgets_the_metadata, "test_the_metadata_is_the_same", "metadata.start_time came back as None"),
    (writes_to_the_target, "test_an_interrupted_write_leaves_nothing", "left movie"),
    (removes_the_target_first, "test_an_interrupted_replacement_leaves_the_old_one", "changed the target"),
    (swallows_errors, "test_an_interrupted_write_leaves_nothing", "did not end it"),
    (is_silent, "test_progress_is_reported", "progress was never called"),
    (counts_samples, "test_progress_is_reported", "the last call was progress"),
    (takes_any_option, "test_the_format_declares_its_writer", "takes any option"),
    (needs_an_option, "test_the_format_declares_its_writer", "'level' .* has no default"),
    (leaves_litter, "test_only_the_target_appears", "notes.txt"),
    (writes_another_format, "test_the_pixels_and_the_dtype_are_the_same", "does not open|opens as"),
]


class Planted(WriterTests):
    format = "planted-writer"
    target_name = "movie.planted"
    open_options = {"format": "planted-writer"}
    dtypes = {"uint16": "uint16"}


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    def register(writer: Any) -> None:
        monkeypatch.setitem(sys.modules, "planted_writers", sys.modules[__name__])
        default_registry().register(
            roi.FormatSpec(
                "planted-writer",
                "Planted",
                "roiextractors_core.npy:NpyImagingExtractor",
                (".planted",),
                writer=f"planted_writers:{writer.__name__}",
                writer_extensions=(".planted",),
            )
        )

    yield register
    default_registry().unregister("planted-writer")


def run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roiextractors_core.io.blocks.MAX_BLOCK_BYTES", 2000)
    test = getattr(Planted(), name)
    test() if name == "test_the_format_declares_its_writer" else test(tmp_path)


@pytest.mark.parametrize("name", sorted(name for name in dir(WriterTests) if name.startswith("test_")))
def test_a_sound_writer_passes(name: str, tmp_path: Path, plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(sound)
    run(name, tmp_path, monkeypatch)


@pytest.mark.parametrize(("writer", "name", "words"), FAULTS, ids=[f[0].__name__ for f in FAULTS])
def test_a_faulty_writer_fails_the_test_of_its_rule(
    writer: Any, name: str, words: str, tmp_path: Path, plant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(writer)
    with pytest.raises(pytest.fail.Exception, match=words):
        run(name, tmp_path, monkeypatch)


def test_every_rule_has_a_fault_that_breaks_it() -> None:
    rules = {name for name in dir(WriterTests) if name.startswith("test_")}
    guarded_by_the_core = {
        "test_an_existing_target_is_replaced_only_with_overwrite",
        "test_an_unknown_option_is_refused",
        "test_the_recording_is_not_changed",
    }
    assert rules - {name for _, name, _ in FAULTS} == guarded_by_the_core
