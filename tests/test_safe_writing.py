"""Writing destroys nothing: not what is read, not what exists, and a failure leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io import atomic, require_room, write_then_rename

posix = pytest.mark.skipif(os.name == "nt", reason="limits, links and signals of POSIX")
NAMES = {
    "npy": "o.npy",
    "ometiff": "o.tif",
    "omezarr": "o.zarr",
    "nwb": "o.nwb",
    "suite2p": "suite2p",
    "caiman": "o.mmap",
}
OPTIONS: dict[str, dict[str, Any]] = {"nwb": {"start_time": datetime(2024, 1, 1)}}
WRITERS = pytest.mark.parametrize("format", list(NAMES))


def movie(samples: int = 20, *, seed: int = 0, size: int = 64) -> roi.NumpyImagingExtractor:
    data = np.random.default_rng(seed).integers(0, 9999, (samples, size, size)).astype("u2")
    return roi.NumpyImagingExtractor(data, sampling_frequency=10.0)


def write(format: str, folder: Path, recording: Any = None, **options: Any) -> Path:
    try:
        return roi.convert(
            recording or movie(), folder / NAMES[format], format=format, **OPTIONS.get(format, {}), **options
        )
    except (roi.MissingDependencyError, roi.FormatNotInstalledError, roi.UnknownFormatError) as error:
        pytest.skip(str(error))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# What the recording reads


def spellings(tmp_path: Path, path: Path) -> Iterator[Path]:
    yield path
    yield tmp_path / "." / ".." / tmp_path.name / path.name
    yield Path(os.path.relpath(path))
    os.symlink(path.name, tmp_path / "soft.npy")
    yield tmp_path / "soft.npy"
    os.link(path, tmp_path / "hard.npy")
    yield tmp_path / "hard.npy"
    os.symlink(tmp_path, tmp_path / "linked folder")
    yield tmp_path / "linked folder" / path.name


@posix
def test_a_file_that_is_read_is_not_replaced_however_it_is_spelled(tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.ones((5, 4, 3), np.uint8))
    a, b = (roi.open(tmp_path / f"{name}.npy", sampling_frequency=1.0) for name in "ab")
    direct = roi.NpyImagingExtractor(tmp_path / "a.npy", sampling_frequency=1.0)
    kinds = [a, a.slice_samples(0, 2), a.slice_field_of_view(0, 2, 0, 2), direct]
    kinds += [direct.slice_samples(1, 3), roi.concatenate([b, a]), roi.concatenate([b, a]).slice_samples(0, 3)]
    for place in spellings(tmp_path, tmp_path / "a.npy"):
        before = contents(tmp_path)
        for recording in kinds:
            for overwrite in (False, True):
                with pytest.raises(roi.SourceKindError, match="is the recording itself"):
                    roi.convert(recording, place, overwrite=overwrite)
        assert contents(tmp_path) == before


@posix
def test_a_companion_that_is_read_is_not_replaced(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((5, 4, 3), np.uint8))
    os.link(tmp_path / "a.npy", tmp_path / "b.npy.json")
    with roi.open(tmp_path / "a.npy") as recording:
        with pytest.raises(roi.SourceKindError, match=r"b\.npy\.json is the recording itself"):
            roi.convert(recording, tmp_path / "b.npy", overwrite=True)
    assert not (tmp_path / "b.npy").exists()


def test_neither_inside_nor_around_a_folder_that_is_read(tmp_path: Path) -> None:
    source = write("omezarr", tmp_path)
    before = contents(tmp_path)
    with roi.open(source) as recording:
        for name in ("0/c/0/0/0", "new.npy", "0/new.npy"):
            for overwrite in (False, True):
                with pytest.raises(roi.SourceKindError, match="the recording reads"):
                    roi.convert(recording, source / name, format="npy", overwrite=overwrite)
    np.save(tmp_path / "o.zarr" / "a.npy", np.ones((3, 4, 5)))
    with roi.open(tmp_path / "o.zarr" / "a.npy") as recording:
        with pytest.raises(roi.SourceKindError, match="is the recording itself"):
            roi.convert(recording, tmp_path / "o.zarr", overwrite=True)
    (tmp_path / "o.zarr" / "a.npy").unlink()
    assert contents(tmp_path) == before


@posix
def test_a_file_that_is_read_through_a_link_in_a_folder_is_not_replaced(tmp_path: Path) -> None:
    source = write("omezarr", tmp_path)
    chunk = next(path for path in source.rglob("c/0/0/0"))
    elsewhere = chunk.rename(tmp_path / "elsewhere.npy")
    chunk.symlink_to(elsewhere)
    with roi.open(source) as recording, pytest.raises(roi.SourceKindError, match="the recording reads"):
        roi.convert(recording, elsewhere, overwrite=True)


# What exists


@WRITERS
def test_nothing_that_exists_is_replaced_without_overwrite(format: str, tmp_path: Path) -> None:
    written = write(format, tmp_path)
    files = [written, *tmp_path.glob(f"{written.name}.*")]
    for name in [file.name for file in files]:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(written) if written.is_dir() else written.unlink()
        for file in files[1:]:
            file.unlink(missing_ok=True)
        (tmp_path / name).write_text("three years")
        with pytest.raises(roi.SourceKindError, match="already exists"):
            write(format, tmp_path)
        assert contents(tmp_path) == {name: b"three years"}
        (tmp_path / name).unlink()


def test_a_companion_that_is_not_ours_is_not_replaced_even_with_overwrite(tmp_path: Path) -> None:
    notes = tmp_path / "movie.npy.json"
    for text in ('{"my": "notes"}', "not json", "[" * 100_000):
        notes.write_text(text)
        with pytest.raises(roi.SourceKindError, match=r"movie\.npy\.json contains something other"):
            roi.convert(movie(), tmp_path / "movie.npy", overwrite=True)
        assert contents(tmp_path) == {"movie.npy.json": text.encode()}


@posix
def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "o.npy")
    os.symlink(os.devnull, tmp_path / "p.npy")
    for name in ("o.npy", "p.npy"):
        with pytest.raises(roi.SourceKindError, match="is a device, a pipe or a socket"):
            roi.convert(movie(), tmp_path / name, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.npy", "p.npy"]


def test_a_file_that_appears_in_the_meantime_is_not_replaced(tmp_path: Path) -> None:
    def appear(done: int, total: int) -> None:
        (tmp_path / "o.npy.json").write_text("mine")

    with pytest.raises(roi.SourceKindError, match="already exists"):
        roi.convert(movie(), tmp_path / "o.npy", progress=appear)
    assert contents(tmp_path) == {"o.npy.json": b"mine"}
    with pytest.raises(FileExistsError), write_then_rename(tmp_path / "a", overwrite=False) as partial:
        partial.write_text("new")
        partial.with_name("a.json").write_text("new")
        (tmp_path / "a").write_text("mine")
    assert contents(tmp_path) == {"o.npy.json": b"mine", "a": b"mine"}


@posix
def test_a_companion_gets_its_old_content_back_when_the_target_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a.json").write_text("old")
    replace = Path.replace

    def failing(self: Path, other: Path) -> Path:
        if other == tmp_path / "a":
            raise PermissionError("in use")
        return replace(self, other)

    with pytest.raises(PermissionError), write_then_rename(tmp_path / "a") as partial:
        for name in ("a", "a.json", "a.other"):
            partial.with_name(name).write_text("new")
        monkeypatch.setattr(Path, "replace", failing)
    assert contents(tmp_path) == {"a": b"old", "a.json": b"old"}


# A full disk, a quota, a folder that vanishes


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("small")
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small file system, on Linux")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@WRITERS
@pytest.mark.parametrize("looks", [True, False], ids=["room is checked", "room vanishes"])
@pytest.mark.parametrize("samples", [20, 60])
def test_a_full_disk_is_one_error_that_names_the_target_and_leaves_nothing(
    format: str, samples: int, looks: bool, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not looks:  # another program fills the disk after the look
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 50, 0, 1 << 50))
    (small_disk / "filler").write_bytes(b"1" * (150 << 10))
    with pytest.raises(
        roi.TargetWriteError, match=r"(o[._]|suite2p).*could not be written: .*(No space left|may be full)"
    ):
        write(format, small_disk, movie(samples))
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    written = write(format, small_disk, movie(2, size=16))
    assert roi.open(written).shape == (2, 16, 16)
    for path in small_disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def run(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


CONVERT = """
import sys, numpy as np, roiextractors_core as roi
from datetime import datetime
format, target = sys.argv[1:]
options = {{"start_time": datetime(2024, 1, 1)}} if format == "nwb" else {{}}
data = np.random.default_rng(0).integers(0, 9999, ({samples}, 64, 64)).astype("u2")
recording = roi.NumpyImagingExtractor(data, sampling_frequency=10.0)
def convert(**more):
    return roi.convert(recording, target, format=format, overwrite=True, **options, **more)
"""


def start(code: str, format: str, folder: Path, samples: int = 50, **options: Any) -> subprocess.Popen[str]:
    if roi.default_registry().get(format) is None:
        pytest.skip(f"{format} is not installed")
    text = CONVERT.format(samples=samples) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", text, format, str(folder / NAMES[format])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@posix
@WRITERS
@pytest.mark.parametrize("limit", [1000, 50_000, 200_000])
def test_a_limit_of_the_file_size_is_one_error_and_leaves_nothing(format: str, limit: int, tmp_path: Path) -> None:
    code = f"""
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    try:
        convert()
        print("written")
    except roi.TargetWriteError as error:
        print("refused", error)
    except roi.MissingDependencyError:
        print("missing")
    """
    process = start(code, format, tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    if "missing" in out:
        pytest.skip("a library is missing")
    if format == "omezarr" and limit > 1000:  # its chunks are compressed
        assert out.startswith(("written", "refused"))
    else:
        assert out.startswith("refused"), out
    if out.startswith("refused"):
        assert str(tmp_path) in out
        assert list(tmp_path.iterdir()) == []


@WRITERS
@posix
def test_a_folder_that_vanishes_is_one_error(format: str, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()

    def vanish(done: int, total: int) -> None:
        shutil.rmtree(tmp_path / "gone", ignore_errors=True)

    with pytest.raises(roi.TargetWriteError, match=r"gone.*could not be written"):
        write(format, tmp_path / "gone", progress=vanish)
    assert not list((tmp_path / "gone").glob("*"))  # zarr creates the folder itself again


def test_room_is_asked_for_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left.*1,152,921,504,606,846,976 bytes are needed"):
        require_room(tmp_path / "a", 1 << 60)


# Signals, and processes that are killed


def signalled(process: subprocess.Popen[str], number: int, after: float) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "go", process.stderr and process.stderr.read()
    time.sleep(after)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number


LOOP = """
import signal
for name in ("SIGTERM", "SIGHUP"):  # under nohup, SIGHUP is ignored from the start, as it then should be
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
convert()
print("go", flush=True)
while True:
    convert()
"""


@posix
@pytest.mark.thorough
@WRITERS
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_the_process_leaves_nothing(format: str, name: str, tmp_path: Path) -> None:
    rng = random.Random(f"{format} {name}")
    for _ in range(3):
        signalled(start(LOOP, format, tmp_path, 500), getattr(signal, name), rng.random() * 0.5)
        assert not list(tmp_path.glob(".*"))


@posix
@pytest.mark.thorough
@WRITERS
def test_what_a_killed_process_leaves_is_removed_by_the_next_one(format: str, tmp_path: Path) -> None:
    rng = random.Random(format)
    for _ in range(4):
        signalled(start(LOOP, format, tmp_path, 500), signal.SIGKILL, rng.random() * 0.5)
        targets = [path for path in tmp_path.iterdir() if not path.name.startswith(".") and path.suffix != ".json"]
        with roi.open(targets[0]) as recording:
            assert recording.shape == (500, 64, 64)
        write(format, tmp_path, movie(500), overwrite=True)
        assert not list(tmp_path.glob(".*"))


IN_A_THREAD = """
import threading
def work():
    while True:
        convert()
convert()
threading.Thread(target=work, daemon=True).start()
print("go", flush=True)
threading.Event().wait()
"""


@posix
@pytest.mark.thorough
def test_what_sigterm_leaves_of_another_thread_is_removed_by_the_next_one(tmp_path: Path) -> None:
    rng = random.Random(1)
    for _ in range(4):
        signalled(start(IN_A_THREAD, "npy", tmp_path, 500), signal.SIGTERM, rng.random() * 0.3)
        with roi.open(tmp_path / "o.npy") as recording:
            assert recording.shape == (500, 64, 64)
        write("npy", tmp_path, movie(500), overwrite=True)
        assert not list(tmp_path.glob(".*"))


@posix
def test_the_handlers_are_as_they_were_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    inside = []
    roi.convert(movie(), tmp_path / "a.npy", progress=lambda *_: inside.append(signal.getsignal(signal.SIGTERM)))
    assert signal.getsignal(signal.SIGTERM) is before
    assert before is not signal.SIG_DFL or inside[0] is not signal.SIG_DFL
    mine: Callable[..., None] = lambda *_: None  # noqa: E731
    signal.signal(signal.SIGTERM, mine)
    try:
        roi.convert(movie(), tmp_path / "b.npy", progress=lambda *_: inside.append(signal.getsignal(signal.SIGTERM)))
        assert inside[-1] is mine
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


@posix
def test_a_folder_of_a_process_that_is_still_writing_is_left_alone(tmp_path: Path) -> None:
    with write_then_rename(tmp_path / "a") as first:
        first.write_text("first")
        with write_then_rename(tmp_path / "a") as second:
            second.write_text("second")
        assert first.read_text() == "first"
    assert contents(tmp_path) == {"a": b"first"}


@posix
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_process_killed_between_two_names_is_undone_by_the_next(overwrite: bool, tmp_path: Path) -> None:
    code = f"""
    import os, pathlib, signal, sys
    from roiextractors_core.io import atomic
    target = pathlib.Path(sys.argv[1]) / "a"
    def check(path):
        pass
    number = 0
    for name in ("_place", "_replace"):
        def move(*args, real=getattr(atomic, name)):
            global number
            if number:
                os.kill(os.getpid(), signal.SIGKILL)
            number += 1
            real(*args)
        setattr(atomic, name, move)
    with atomic.write_then_rename(target, overwrite={overwrite}) as partial:
        for name in ("a", "a.json"):
            partial.with_name(name).write_text("new")
    """
    old = {"a": b"old", "a.json": b"old"} if overwrite else {}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    assert (tmp_path / "a.json").read_text() == "new"
    atomic.remove_leftovers(tmp_path / "a")
    assert contents(tmp_path) == old


def damages(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    partial.write_bytes(b"")
    Path(recording.get_paths()[0]).write_bytes(b"damaged")


def test_every_convert_of_the_tests_compares_the_files_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "damaging", sys.modules[__name__])
    spec = roi.FormatSpec(
        "damaging", "Damaging", "roiextractors_core.npy:NpyImagingExtractor", (".damaging",), writer="damaging:damages"
    )
    registry = roi.Registry(entry_points=lambda: ())
    registry.register(spec)
    np.save(tmp_path / "a.npy", np.ones((5, 4, 3), np.uint8))
    with (
        roi.open(tmp_path / "a.npy") as recording,
        pytest.raises(pytest.fail.Exception, match=r"converting changed .*a\.npy"),
    ):
        roi.convert(recording, tmp_path / "b", format="damaging", registry=registry)


# Recordings of several files


@posix
def test_no_file_of_a_sequence_is_replaced(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    for number in range(4):
        tifffile.imwrite(tmp_path / f"frame_{number:03}.tif", np.full((8, 9), number, np.uint8))
    before = contents(tmp_path)
    with roi.open(tmp_path / "frame_000.tif", format="tiff") as one, roi.open(tmp_path, format="tiff") as all_files:
        assert len(all_files) == 4
        for recording in (all_files, all_files.slice_samples(0, 1), roi.concatenate([all_files, one])):
            with pytest.raises(roi.SourceKindError, match=r"the recording reads|is the recording itself"):
                roi.convert(recording, tmp_path / "frame_003.tif", overwrite=True)
    assert contents(tmp_path) == before


@posix
def test_the_json_file_of_a_npy_recording_is_not_replaced(tmp_path: Path) -> None:
    source = roi.convert(movie(), tmp_path / "a.npy")
    os.link(tmp_path / "a.npy.json", tmp_path / "b.npy.json")
    with roi.open(source) as recording, pytest.raises(roi.SourceKindError, match="the recording reads"):
        roi.convert(recording, tmp_path / "b.npy", overwrite=True)
