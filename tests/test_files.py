"""Positioned reads are whole, shared by threads, and sparing with descriptors."""

from __future__ import annotations

import errno
import functools
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roiextractors_core.errors import (
    SourceNotFoundError,
    SourcePermissionError,
    SourceReadError,
    TruncatedRecordingError,
)
from roiextractors_core.io import (
    PositionedFile,
    StoredArray,
    StoredFrames,
    as_native,
    num_cores,
    open_regular,
    read_once,
    run_on_cores,
    threads,
)
from roiextractors_core.io import positioned as files
from roiextractors_core.io import stored as stored_module

CONTENT = bytes(range(256)) * 40

posix = pytest.mark.skipif(os.name == "nt", reason="Windows refuses to replace or delete an open file")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "content.bin"
    found.write_bytes(CONTENT)
    return found


def num_open(path: Path) -> int:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list a process's descriptors in /proc")
    found = 0
    for entry in folder.iterdir():
        try:
            found += os.readlink(entry) == str(path)
        except OSError:
            continue
    return found


def test_a_read_returns_the_bytes_at_the_offset(path: Path) -> None:
    file = PositionedFile(path)
    assert file.read(250, 12) == CONTENT[250:262]
    assert file.read(0, 3) == CONTENT[:3]
    assert (file.size, file.name, file.path) == (len(CONTENT), "content.bin", path)


def test_a_read_across_the_end_is_short_and_one_behind_it_is_empty(path: Path) -> None:
    file = PositionedFile(path)
    assert file.read(len(CONTENT) - 5, 100) == CONTENT[-5:]
    assert file.read(len(CONTENT), 100) == b""
    assert file.read(len(CONTENT) + 10, 1) == b""
    assert file.read(7, 0) == b""


def test_asking_for_far_more_than_there_is_takes_no_more_memory_than_there_is(path: Path) -> None:
    assert PositionedFile(path).read(16, 1 << 60) == CONTENT[16:]


def test_buffers_of_any_number_and_size_are_filled_one_after_the_other(path: Path) -> None:
    buffers = [bytearray(n % 5) for n in range(3000)]
    PositionedFile(path).read_into(buffers, 11)
    joined = b"".join(buffers)
    assert joined == CONTENT[11 : 11 + len(joined)]


def test_arrays_and_byte_arrays_are_filled_together(path: Path) -> None:
    words, more, none = np.zeros((2, 3), "<u2"), bytearray(5), np.zeros((0, 4))
    PositionedFile(path).read_into([words, none, more], 2)
    assert words.tobytes() == CONTENT[2:14]
    assert bytes(more) == CONTENT[14:19]


def test_a_file_that_ends_before_the_buffers_are_full_is_an_error_with_its_offsets(path: Path) -> None:
    with pytest.raises(
        TruncatedRecordingError, match=r"content\.bin ends at byte 10,240, expected bytes 10,236 to 10,246"
    ):
        PositionedFile(path).read_into([bytearray(10)], len(CONTENT) - 4)


def test_an_array_comes_in_the_files_byte_order_and_is_owned(path: Path) -> None:
    found = PositionedFile(path).read_array(4, (3, 2), np.dtype(">u4"))
    assert found.dtype == np.dtype(">u4")
    assert found.tolist() == np.frombuffer(CONTENT, ">u4", 6, 4).reshape(3, 2).tolist()
    assert found.flags.owndata
    assert found.flags.writeable


def test_an_array_without_elements_needs_no_file(tmp_path: Path) -> None:
    assert PositionedFile(tmp_path / "nothing").read_array(0, (0, 5), np.dtype("u1")).shape == (0, 5)


def test_an_array_that_is_not_contiguous_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="C-contiguous"):
        PositionedFile(path).read_into([np.zeros((4, 4))[:, ::2]], 0)


@pytest.mark.parametrize("most", [1, 3, 7])
def test_reads_that_come_in_pieces_are_put_together(path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    real = files._pread_into

    def grudging(descriptor: int, views: list[memoryview], offset: int) -> int:
        first = next(view for view in views if len(view))
        return real(descriptor, [first[:most]], offset)

    monkeypatch.setattr(files, "_pread_into", grudging)
    buffers = [bytearray(n) for n in (5, 0, 1, 11, 2)]
    PositionedFile(path).read_into(buffers, 3)
    assert b"".join(buffers) == CONTENT[3:22]


def test_a_request_over_one_calls_limit_is_cut_in_calls(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MAX_BYTES_A_CALL", 100)
    monkeypatch.setattr(files, "_MAX_BUFFERS_A_CALL", 3)
    sizes: list[tuple[int, int]] = []
    real = files._pread_into
    file = PositionedFile(path)
    file.read(0, 1)

    def watched(descriptor: int, views: list[memoryview], offset: int) -> int:
        sizes.append((len(views), sum(map(len, views))))
        return real(descriptor, views, offset)

    monkeypatch.setattr(files, "_pread_into", watched)
    buffers = [bytearray(n) for n in (70, 250, 1, 1, 1, 1, 1, 90)]
    file.read_into(buffers, 1)
    assert b"".join(buffers) == CONTENT[1:416]
    assert all(count <= 3 and size <= 100 for count, size in sizes)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, memory that is not used takes room, too")
def test_no_call_asks_for_more_than_any_system_reads_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MacOS refuses more bytes than an int counts; Linux reads a page less."""
    sizes: list[int] = []

    def refusing(descriptor: int, views: list[memoryview], offset: int) -> int:
        sizes.append(sum(view.nbytes for view in views))
        if sizes[-1] > 0x7FFF_F000:
            raise OSError(errno.EINVAL, "Invalid argument")
        return sizes[-1]

    file = PositionedFile(path)
    file.read(0, 1)
    monkeypatch.setattr(files, "_pread_into", refusing)
    file.read_into([np.empty(1 << 30, np.uint8), np.empty(5 << 29, np.uint8)], 1)
    assert sum(sizes) == 7 << 29


def test_a_large_array_is_read_on_all_cores_into_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PARALLEL_BYTES", 1 << 10)
    monkeypatch.setattr(files, "num_cores", lambda: 5)
    expected = np.arange(5003, dtype="<i4")
    (tmp_path / "large").write_bytes(b"head" + expected.tobytes())
    np.testing.assert_array_equal(PositionedFile(tmp_path / "large").read_array(4, (5003,), np.dtype("<i4")), expected)


def test_a_cut_large_array_is_an_error_from_its_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PARALLEL_BYTES", 1 << 10)
    monkeypatch.setattr(files, "num_cores", lambda: 3)
    (tmp_path / "large").write_bytes(bytes(5000))
    with pytest.raises(TruncatedRecordingError, match="large ends at byte 5,000"):
        PositionedFile(tmp_path / "large").read_array(0, (6000,), np.dtype("u1"))


def test_a_missing_file_is_an_error_at_the_first_read(tmp_path: Path) -> None:
    file = PositionedFile(tmp_path / "gone.bin")
    with pytest.raises(SourceNotFoundError, match=r"gone\.bin no longer exists"):
        file.read(0, 1)


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((SourceReadError, SourcePermissionError), match=r"could not be|may not be"):
        PositionedFile(tmp_path).read(0, 1)


@posix
@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_an_error(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(SourcePermissionError, match=r"content\.bin cannot be read"):
        PositionedFile(path).read(0, 1)


@posix
def test_a_file_deleted_while_it_is_open_goes_on_and_then_is_not_there(path: Path) -> None:
    file = PositionedFile(path)
    assert file.read(0, 2) == CONTENT[:2]
    path.unlink()
    assert file.read(2, 2) == CONTENT[2:4]
    file.close()
    with pytest.raises(SourceNotFoundError, match="no longer exists"):
        file.read(0, 2)


@posix
def test_a_file_that_was_replaced_is_not_mistaken_for_the_first(path: Path) -> None:
    first = PositionedFile(path)
    assert first.read(0, 2) == CONTENT[:2]
    other = path.with_name("other")
    other.write_bytes(b"something else")
    other.replace(path)
    second = PositionedFile(path)
    assert second.read(0, 9) == b"something"
    with pytest.raises(SourceReadError, match=r"content\.bin was replaced or rewritten since it was opened"):
        first.read(0, 2)


def test_a_file_that_shrank_is_an_error_that_says_so(path: Path) -> None:
    file = PositionedFile(path)
    file.read(0, 2)
    with path.open("r+b") as stream:
        stream.truncate(100)
    assert file.size == 100
    with pytest.raises(TruncatedRecordingError, match=r"content\.bin has 100 bytes, but had 10,240 when it was opened"):
        file.read_into([bytearray(50)], 80)


def test_a_file_that_was_written_anew_in_place_is_not_read_with_its_old_header(path: Path) -> None:
    file = PositionedFile(path)
    file.read(0, 2)
    inode = path.stat().st_ino
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(1, 1))
    assert path.stat().st_ino == inode
    with pytest.raises(SourceReadError, match="replaced or rewritten"):
        file.read(5000, 2)


def test_a_file_that_is_still_being_recorded_goes_on_being_read(path: Path) -> None:
    path.write_bytes(CONTENT[:100])
    file = PositionedFile(path)
    assert file.read(0, 2) == CONTENT[:2]
    for end in (200, 5000, 9000):
        with path.open("ab") as stream:
            stream.write(CONTENT[path.stat().st_size : end])
        assert file.read(end - 9, 9) == CONTENT[end - 9 : end]


def test_closing_releases_the_descriptor_and_a_later_read_opens_it_again(path: Path) -> None:
    file = PositionedFile(path)
    file.read(0, 1)
    assert num_open(path) == 1
    file.close()
    assert num_open(path) == 0
    assert file.read(1, 1) == CONTENT[1:2]
    assert num_open(path) == 1


def test_nobodys_descriptor_is_closed_with_its_last_user(path: Path) -> None:
    file = PositionedFile(path)
    file.read(0, 1)
    del file
    assert num_open(path) == 0


def test_two_of_one_path_share_a_descriptor_and_closing_one_leaves_the_other_readable(path: Path) -> None:
    first, second = PositionedFile(path), PositionedFile(str(path))
    first.read(0, 1)
    second.read(0, 1)
    assert num_open(path) == 1
    first.close()
    assert second.read(5, 2) == CONTENT[5:7]


def test_it_pickles_as_its_path(path: Path) -> None:
    file = PositionedFile(path)
    file.read(0, 1)
    text = pickle.dumps(file)
    assert len(text) < 300
    assert pickle.loads(text).read(3, 3) == CONTENT[3:6]
    assert repr(file) == f"PositionedFile({str(path)!r})"


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
def test_three_hundred_files_are_read_within_sixty_four_descriptors(tmp_path: Path, run: Callable[..., str]) -> None:
    for number in range(300):
        (tmp_path / f"{number}.bin").write_bytes(number.to_bytes(4, "little") * 8)
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from concurrent.futures import ThreadPoolExecutor
from roiextractors_core.io import PositionedFile
files = [PositionedFile(f"{tmp_path}/{{n}}.bin") for n in range(300)]
def read(n):
    return int.from_bytes(files[n].read(4, 4), "little") == n
with ThreadPoolExecutor(8) as pool:
    print(all(pool.map(read, [*range(300), *range(299, -1, -1)])))
"""
    assert run(code) == "True\n"


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
def test_a_process_that_has_used_up_its_descriptors_gives_back_ours_first(
    tmp_path: Path, run: Callable[..., str]
) -> None:
    for number in range(30):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]))
    code = f"""
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
from roiextractors_core.io import PositionedFile
files = [PositionedFile(f"{tmp_path}/{{n}}.bin") for n in range(30)]
first = [file.read(0, 1)[0] for file in files[:20]]
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
print([*first, *(file.read(0, 1)[0] for file in files[20:])] == list(range(30)))
"""
    assert run(code) == "True\n"


def test_many_threads_read_one_file_at_once(path: Path) -> None:
    file, wrong = PositionedFile(path), []

    def read(seed: int) -> None:
        for offset in np.random.default_rng(seed).integers(0, len(CONTENT) - 64, 200).tolist():
            if file.read(offset, 64) != CONTENT[offset : offset + 64]:
                wrong.append(offset)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_closing_while_another_thread_reads_harms_neither(path: Path) -> None:
    file, wrong, done = PositionedFile(path), [], threading.Event()

    def close() -> None:
        while not done.is_set():
            file.close()

    closing = threading.Thread(target=close)
    closing.start()
    for offset in range(0, 10_000, 7):
        if file.read(offset, 5) != CONTENT[offset : offset + 5]:
            wrong.append(offset)
    done.set()
    closing.join()
    assert wrong == []


def test_a_file_that_is_kept_until_the_interpreter_has_closed_its_modules_is_dropped_in_silence(path: Path) -> None:
    code = f"""
import gc, sys, types
holder = sys.modules["holder"] = types.ModuleType("holder")
holder.itself = holder
from roiextractors_core.io import positioned as files
holder.kept, holder.module = files.PositionedFile({str(path)!r}), files
gc.freeze()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_in_the_middle_of_other_threads_reads_leaves_the_child_able_to_read(
    path: Path, run: Callable[..., str]
) -> None:
    code = f"""
import os, threading, warnings
warnings.simplefilter("ignore")
from roiextractors_core.io import PositionedFile
path = {str(path)!r}
file, done = PositionedFile(path), threading.Event()
def read():
    while not done.is_set():
        file.read(0, 8)
        PositionedFile(path).size
threads = [threading.Thread(target=read) for _ in range(4)]
[t.start() for t in threads]
codes = []
for _ in range(60):
    child = os.fork()
    if child == 0:
        import signal
        signal.alarm(20)
        right = file.read(3, 3) == bytes([3, 4, 5])
        file.close()
        os._exit(0 if right and file.read(4, 1) == bytes([4]) else 1)
    codes.append(os.waitpid(child, 0)[1])
done.set()
[t.join() for t in threads]
print(sum(codes))
"""
    assert run(code) == "0\n"


def test_tasks_run_and_the_first_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "num_cores", lambda: 3)
    done: list[int] = []

    def fail() -> None:
        raise OSError("the disk is gone")

    run_on_cores([lambda n=n: done.append(n) for n in range(20)])
    assert sorted(done) == list(range(20))
    with pytest.raises(OSError, match="the disk is gone"):
        run_on_cores([lambda: None, fail, lambda: None])
    run_on_cores([])


def test_there_is_at_least_one_core() -> None:
    assert num_cores() >= 1


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path, run: Callable[..., str]) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe")
    code = f"""
from roiextractors_core.io import PositionedFile
from roiextractors_core.errors import SourceReadError
try:
    PositionedFile({str(tmp_path / "pipe")!r}).read(0, 4)
except SourceReadError as error:
    print("could not be read" in str(error))
"""
    assert run(code) == "True\n"


def test_a_system_without_positioned_reads_reads_the_same(path: Path, run: Callable[..., str]) -> None:
    code = f"""
import functools
import os
del os.preadv
from roiextractors_core.io import PositionedFile
file, content = PositionedFile({str(path)!r}), open({str(path)!r}, "rb").read()
buffers = [bytearray(7), bytearray(0), bytearray(600)]
file.read_into(buffers, 5)
print(b"".join(buffers) == content[5:612], file.read(10_230, 99) == content[10_230:])
"""
    if not hasattr(os, "preadv"):
        pytest.skip("it is this system")
    assert run(code) == "True True\n"


def test_a_finalizer_that_runs_in_the_middle_of_an_opening_closes_its_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = path.with_name("other.bin")
    other.write_bytes(b"other")
    kept = [PositionedFile(path)]
    kept[0].read(0, 1)
    real = os.fstat

    def finalizing(descriptor: int) -> os.stat_result:
        if kept:
            kept.clear()
            PositionedFile(path).read(0, 1)  # and reads, opens and closes
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", finalizing)
    assert PositionedFile(other).read(0, 5) == b"other"
    monkeypatch.undo()
    assert num_open(path) == num_open(other) == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers of POSIX")
@pytest.mark.thorough
def test_a_signal_handler_reads_opens_and_closes_at_any_moment(tmp_path: Path, run: Callable[..., str]) -> None:
    for k in range(50):
        np.save(tmp_path / f"{k}.npy", np.full((3, 4, 5), k, np.uint8))
    code = f"""
import faulthandler, os, signal, time
import roiextractors_core as roi
faulthandler.dump_traceback_later(60, exit=True)
recordings = [roi.open(f"{tmp_path}/{{k}}.npy") for k in range(50)]
calls = 0
def handle(*_):
    global calls
    calls += 1
    k = calls % 50
    assert recordings[k][1][0, 0] == k
    with roi.open(f"{tmp_path}/{{(k + 7) % 50}}.npy") as other:
        assert other[2][0, 0] == (k + 7) % 50
    roi.formats()
    signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + calls % 50))
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 1e-4)
end = time.monotonic() + 4
while time.monotonic() < end:
    for k, recording in enumerate(recordings):
        assert recording[1][0, 0] == k
        if k % 7 == 0:
            roi.open(f"{tmp_path}/{{k}}.npy")[0]
# A handler that runs after the timer was stopped would start it again, and the end of Python kills at the next signal
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.setitimer(signal.ITIMER_REAL, 0)
print(calls > 10)
"""
    assert run(code) == "True\n"


INTERRUPTED = """
import gc, json, os, random, signal, sys
import roiextractors_core as roi
from roiextractors_core.io.known import known_files
from roiextractors_core.io.positioned import _DESCRIPTORS
sys.unraisablehook = lambda _: None  # Python itself ignores an exception that is raised in a weak reference's callback
paths, options = json.loads(os.environ["PATHS"]), json.loads(os.environ["OPTIONS"])
def interrupt(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
def work():
    recordings = [roi.open(path, **options) for path in paths]
    for recording in recordings:
        recording[1]
def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
import time
for _ in range(3):
    start = time.perf_counter()
    work()
    span = time.perf_counter() - start
before, rng, interruptions = descriptors(), random.Random(int(os.environ["SEED"])), 0
for _ in range(int(os.environ["ROUNDS"])):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-5 + rng.random() * span)
        work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interruptions += 1
    assert known_files() is None
print(interruptions > 30, descriptors() - before, len(_DESCRIPTORS._open))
"""
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors in /proc")


def interrupted(
    run: Callable[..., str], paths: list[Path], options: dict[str, object], rounds: int, seed: int = 1
) -> str:
    values = {"PATHS": json.dumps(list(map(str, paths))), "OPTIONS": json.dumps(options)}
    return run(INTERRUPTED, environment={**values, "ROUNDS": str(rounds), "SEED": str(seed)})


@LINUX
def test_an_interruption_at_any_moment_loses_no_descriptor(tmp_path: Path, run: Callable[..., str]) -> None:
    paths = [tmp_path / f"{k}.npy" for k in range(40)]
    for k, path in enumerate(paths):
        np.save(path, np.full((3, 4, 5), k, np.uint8))
    assert interrupted(run, paths, {}, 300) == "True 0 0\n"


@LINUX
@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "recording", ["tiff sequence", "packed tiff", "scanimage", "bruker", "packed hdf5", "omezarr", "video"]
)
def test_an_interruption_of_any_format_loses_no_descriptor(
    recording: str, tmp_path: Path, run: Callable[..., str], write_recorded: Callable[..., object]
) -> None:
    recorded: Any = write_recorded(recording, tmp_path, shape=(12, 64, 96))
    found = interrupted(run, [recorded.path] * 3, dict(recorded.options), 100)
    assert found.split()[1:] == ["0", "0"]


@LINUX
def test_an_interruption_while_a_file_is_opened_for_another_library_loses_no_descriptor(path: Path) -> None:
    before, steps = len(os.listdir("/proc/self/fd")), 0
    for number in range(1, 300):
        count = 0

        def interrupt(frame: Any, event: str, argument: Any, number: int = number) -> Any:
            nonlocal count
            frame.f_trace_opcodes = True
            count += event == "opcode"
            if count == number:
                raise KeyboardInterrupt
            return interrupt

        sys.settrace(interrupt)
        try:
            with open_regular(path) as stream:
                stream.read(1)
        except KeyboardInterrupt:
            steps += 1
        finally:
            sys.settrace(None)
    assert steps > 50
    assert len(os.listdir("/proc/self/fd")) == before


@LINUX
def test_at_most_thirty_two_files_stay_open_between_reads(tmp_path: Path) -> None:
    opened = []
    for number in range(50):
        (tmp_path / str(number)).write_bytes(CONTENT)
        opened.append(PositionedFile(tmp_path / str(number)))
        opened[-1].read(0, 1)
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    assert 0 < sum(os.readlink(link).startswith(str(tmp_path)) for link in links if os.path.islink(link)) <= 32


def test_a_file_that_was_written_anew_behind_its_first_bytes_is_read_as_it_is_now(path: Path) -> None:
    file = PositionedFile(path)
    file.read(0, 2)
    with path.open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"new")
    os.utime(path, ns=(1, 1))
    assert file.read(5000, 3) == b"new"


def test_a_file_is_opened_for_one_read_of_several_pieces_and_closed_again(path: Path) -> None:
    first, second, third = bytearray(3), np.zeros((2, 2), np.uint16), bytearray(5)
    assert read_once(str(path), [(4, [first, second]), (700, [third])])
    assert bytes(first) + second.tobytes() + bytes(third) == CONTENT[4:15] + CONTENT[700:705]
    assert not read_once(str(path), [(len(CONTENT) - 2, [bytearray(3)])])
    assert not read_once(str(path), [(len(CONTENT) + 9, [bytearray(3)])])
    assert num_open(path) == 0


def test_one_read_goes_on_where_the_system_gives_less(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files._pread_into
    monkeypatch.setattr(files, "_pread_into", lambda fd, views, at: real(fd, [memoryview(views[0]).cast("B")[:7]], at))
    found = np.zeros((3, 100), np.uint8)
    assert read_once(str(path), [(5, [found, bytearray(2)])])
    assert found.tobytes() == CONTENT[5:305]


def test_one_read_of_what_is_not_there_or_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="gone"):
        read_once(str(tmp_path / "gone"), [(0, [bytearray(1)])])
    with pytest.raises((SourceReadError, SourcePermissionError), match=r"could not be read|cannot be read"):
        read_once(str(tmp_path), [(0, [bytearray(1)])])


# Frames at known places


@pytest.fixture
def movie(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Twelve frames of 5 x 7 with 3 bytes before the first and 11 bytes between them, and what they hold."""
    frames = np.random.default_rng(3).integers(0, 2**16, (12, 5, 7), dtype=np.uint16)
    content = b"abc" + b"".join(frame.astype(">u2").tobytes() + b"-" * 11 for frame in frames)
    (tmp_path / "movie.bin").write_bytes(content)
    return tmp_path / "movie.bin", frames


def places(indices: object) -> np.ndarray:
    return 3 + np.asarray(indices) * (70 + 11)


@pytest.mark.parametrize("chosen", [[0], [11], [3, 4, 5], [5, 4, 3], [0, 0, 11, 2, 3], [], list(range(12))])
def test_frames_come_from_their_places_in_any_order(movie: tuple[Path, np.ndarray], chosen: list[int]) -> None:
    path, frames = movie
    stored = StoredFrames([PositionedFile(path)], shape=(5, 7), dtype=">u2")
    found = stored.read(places(np.array(chosen, np.int64)))
    assert found.dtype == np.uint16
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, frames[np.array(chosen, np.int64)])


def test_rows_and_columns_that_are_not_asked_for_are_left_out(movie: tuple[Path, np.ndarray]) -> None:
    path, frames = movie
    stored = StoredFrames([PositionedFile(path)], shape=(5, 7), dtype=">u2")
    np.testing.assert_array_equal(stored.read(places([2, 3, 9]), slice(1, 3), slice(2, 7)), frames[[2, 3, 9], 1:3, 2:7])
    assert stored.read(places([2]), slice(2, 2)).shape == (1, 0, 7)
    three = StoredFrames([PositionedFile(path)], shape=(5, 1, 7), dtype=">u2")
    np.testing.assert_array_equal(three.read(places([4]))[0, :, 0], frames[4])


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("columns", [slice(None), slice(2, 6)], ids=str)
def test_an_array_of_either_byte_order_is_filled_with_native_bytes(
    movie: tuple[Path, np.ndarray], dtype: str, columns: slice
) -> None:
    path, frames = movie
    stored = StoredFrames([PositionedFile(path)], shape=(5, 7), dtype=">u2")
    expected = frames[[9, 3, 4], 1:4, columns]
    result = np.zeros(expected.shape, dtype)
    stored.read_into(result, places([9, 3, 4]), slice(1, 4), columns)
    np.testing.assert_array_equal(result.view(np.uint16), expected)
    stored.read_into(result[:, :0], places([9, 3, 4]), slice(2, 2), columns)


@pytest.mark.parametrize("chosen", [list(range(12)), [3, 4, 5, 0, 11, 11]], ids=str)
@pytest.mark.parametrize("columns", [slice(None), slice(2, 6)], ids=str)
def test_what_is_applied_sees_each_frame_once_and_in_native_order(
    movie: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch, chosen: list[int], columns: slice
) -> None:
    path, frames = movie
    monkeypatch.setattr(stored_module, "_PIECE_BYTES", 200)
    monkeypatch.setattr(stored_module, "_MAX_SCRATCH_BYTES", 200)
    monkeypatch.setattr(stored_module, "PARALLEL_BYTES", 100)
    monkeypatch.setattr(stored_module, "_PARALLEL_PIECE_BYTES", 1)
    monkeypatch.setattr(stored_module, "num_cores", lambda: 3)
    stored = StoredFrames([PositionedFile(path)], shape=(5, 7), dtype=">u2")
    found = stored.read(places(chosen), columns=columns, apply=lambda part: np.invert(part, out=part))
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, 65535 - frames[chosen][:, :, columns])


@pytest.mark.parametrize("chosen", [[7], [1, 2, 3], [8, 1]], ids=str)
def test_bytes_are_swapped_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: list[int]) -> None:
    frames = np.random.default_rng(3).integers(0, 2**16, (9, 5, 7), dtype=np.uint16)
    (tmp_path / "movie.bin").write_bytes(frames.astype(">u2").tobytes()[:-2])
    monkeypatch.setattr(stored_module, "_SWAP_BYTES", 16)  # blocks that do not end where a frame does
    stored = StoredFrames([PositionedFile(tmp_path / "movie.bin")], shape=(5, 7), dtype=">u2")
    if 8 in chosen:
        with pytest.raises(TruncatedRecordingError, match="ends at byte 628, expected bytes 560 to 630"):
            stored.read(np.array(chosen) * 70)
        return
    np.testing.assert_array_equal(stored.read(np.array(chosen) * 70), frames[chosen])


@pytest.mark.parametrize("dtype", [">u2", ">f4", ">c8", "<u2", "u1"])
def test_an_array_becomes_native_in_place(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    monkeypatch.setattr(stored_module, "_SWAP_BYTES", 64)
    monkeypatch.setattr(stored_module, "PARALLEL_BYTES", 100)
    values = np.arange(210).reshape(6, 5, 7)
    stored = values.astype(dtype)
    found = as_native(stored)
    np.testing.assert_array_equal(found, values)
    assert found.dtype.isnative
    assert np.shares_memory(found, stored)
    assert as_native(np.empty((0, 3), dtype)).dtype.isnative
    if not np.dtype(dtype).isnative:
        with pytest.raises(ValueError, match="C-contiguous"):
            as_native(values.astype(dtype)[:, ::2])


def test_each_buffer_is_filled_from_its_own_offset(path: Path) -> None:
    file, array, some = PositionedFile(path), np.zeros((2, 3), ">u2"), bytearray(5)
    file.read_each([array, some, memoryview(bytearray(0))], [1000, 3, 7])
    assert array.tobytes() == CONTENT[1000:1012]
    assert some == CONTENT[3:8]
    with pytest.raises(TruncatedRecordingError, match=f"expected bytes {len(CONTENT) - 2:,} to {len(CONTENT) + 3:,}"):
        file.read_each([array, some], [0, len(CONTENT) - 2])
    file.close()


def test_frames_come_from_the_files_that_hold_them(movie: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, frames = movie
    other = tmp_path / "other.bin"
    other.write_bytes(b"abc" + frames[::-1].astype(">u2").tobytes())
    stored = StoredFrames([PositionedFile(path), PositionedFile(other)], shape=(5, 7), dtype=">u2")
    found = stored.read([3, 3 + 70, 3 + 81], numbers=[0, 1, 0])
    np.testing.assert_array_equal(found, frames[[0, 10, 1]])
    stored.close()


def test_a_part_of_each_frame_takes_no_memory_for_the_rest(tmp_path: Path) -> None:
    frames = np.random.default_rng(2).integers(0, 9, (600, 64, 256), np.uint16)
    (tmp_path / "movie.bin").write_bytes(frames.tobytes())
    stored = StoredFrames([PositionedFile(tmp_path / "movie.bin")], shape=(64, 256), dtype="<u2")
    tracemalloc.start()
    found = stored.read(np.arange(600) * 32768, columns=slice(8, 16))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, frames[:, :, 8:16])
    assert peak - found.nbytes < (num_cores() + 1) << 20


def test_a_frame_beyond_the_end_is_an_error_that_names_the_file(movie: tuple[Path, np.ndarray]) -> None:
    path, _ = movie
    stored = StoredFrames([PositionedFile(path)], shape=(5, 7), dtype=">u2")
    with pytest.raises(TruncatedRecordingError, match=r"movie\.bin ends at byte 975"):
        stored.read(places([11, 12]))


def test_a_place_that_no_file_reaches_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    file = PositionedFile(tmp_path / "file")
    assert file.read(1 << 63, 8) == b""
    assert file.read(1 << 70, 1 << 30) == b""
    assert file.read(0, -5) == b""
    with pytest.raises(TruncatedRecordingError, match="expected bytes"):
        file.read_into([bytearray(8)], (1 << 63) + 1)
    file.close()


PARTS: list[tuple[object, ...]] = [
    (slice(None), slice(None), slice(None)),
    (slice(2, 9), slice(0, 7), slice(30, 31)),
    (slice(0, 0), slice(None), slice(None)),
    (slice(3, 4), slice(2, 5), np.array([39, 0, 7, 7, 20])),
    (slice(1, 11), np.array([6, 0, 6]), slice(5, 40)),
    (np.array([10, 1, 1]), slice(None), slice(None)),
    (slice(None), slice(None), np.array([4, 5, 6])),
    (slice(None), slice(None), np.empty(0, np.int64)),
]


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
@pytest.mark.parametrize("bytes_at_once", [1 << 16, 100, 3], ids=["roomy", "a line at once", "a value at once"])
def test_a_part_of_an_array_is_what_numpy_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: tuple[Any, ...], dtype: str, bytes_at_once: int
) -> None:
    for limit in ("_PIECE_BYTES", "_MAX_SCRATCH_BYTES", "_MAX_GAP", "PARALLEL_BYTES"):
        monkeypatch.setattr(stored_module, limit, bytes_at_once)
    whole = np.arange(11 * 7 * 40).reshape(11, 7, 40).astype(dtype)
    (tmp_path / "array").write_bytes(b"head!" + whole.tobytes())
    found = StoredArray(PositionedFile(tmp_path / "array"), shape=whole.shape, dtype=dtype, offset=5).read(part)
    np.testing.assert_array_equal(found, whole[part])
    assert found.dtype.isnative
    assert found.flags.writeable


def test_a_part_of_a_cut_array_is_an_error_and_what_lies_before_the_cut_is_read(tmp_path: Path) -> None:
    whole = np.arange(4000, dtype="<i2").reshape(10, 20, 20)
    (tmp_path / "array").write_bytes(whole.tobytes()[:4000])
    stored = StoredArray(PositionedFile(tmp_path / "array"), shape=whole.shape, dtype="<i2")
    with pytest.raises(TruncatedRecordingError, match="array ends at byte 4,000"):
        stored.read((slice(None), slice(None), slice(3, 4)))
    np.testing.assert_array_equal(stored.read((slice(0, 5), slice(None), slice(3, 4))), whole[:5, :, 3:4])


def test_a_frame_of_an_array_of_time_courses_costs_little_memory(tmp_path: Path) -> None:
    (tmp_path / "array").write_bytes(bytes(64 << 20))
    stored = StoredArray(PositionedFile(tmp_path / "array"), shape=(64, 1024, 1024), dtype="u1")
    tracemalloc.start()
    stored.read((slice(None), slice(None), slice(5, 6)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_after_an_error_the_tasks_that_have_not_begun_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "num_cores", lambda: 2)
    begun: list[int] = []

    def task(number: int) -> None:
        begun.append(number)
        raise OSError(f"task {number}")

    with pytest.raises(OSError, match="task 0"):
        run_on_cores([functools.partial(task, number) for number in range(100)])
    assert len(begun) <= 2


def test_where_no_thread_can_be_started_the_work_is_done_on_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "num_cores", lambda: 4)

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads._thread, "start_new_thread", refused)
    done: list[int] = []
    run_on_cores([functools.partial(done.append, number) for number in range(20)])
    assert done == list(range(20))


def test_a_thread_that_is_lost_while_it_starts_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "num_cores", lambda: 4)
    monkeypatch.setattr(threads._thread, "start_new_thread", lambda *_: 1)  # as where its first allocation fails
    done: list[int] = []
    run_on_cores([functools.partial(done.append, number) for number in range(20)])
    assert done == list(range(20))


def test_an_interrupt_in_one_thread_ends_the_work_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "num_cores", lambda: 2)
    done: list[int] = []

    def task(number: int) -> None:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        time.sleep(0.01)
        done.append(number)

    with pytest.raises(KeyboardInterrupt):
        run_on_cores([functools.partial(task, number) for number in range(100)])
    assert len(done) <= 2


def test_a_file_is_a_stream_for_other_libraries(path: Path) -> None:
    with PositionedFile(path).stream() as stream:
        assert stream.read(5) == CONTENT[:5]
        assert stream.seek(-3, os.SEEK_END) == len(CONTENT) - 3
        assert stream.read() == CONTENT[-3:]
        assert stream.seek(10) == 10
        assert stream.seek(2, os.SEEK_CUR) == 12
        assert stream.read(2) == CONTENT[12:14]
        with pytest.raises(ValueError, match="before the start of the file"):
            stream.seek(-1)


@posix
def test_a_file_is_known_to_be_the_same_before_another_library_opens_it(path: Path) -> None:
    file = PositionedFile(path)
    file.require_unchanged()
    with path.open("ab") as stream:
        stream.write(b"more")
    file.require_unchanged()
    path.rename(path.with_name("away"))
    with pytest.raises(SourceNotFoundError, match=r"content\.bin no longer exists"):
        file.require_unchanged()
    path.write_bytes(CONTENT)
    with pytest.raises(SourceReadError, match=r"content\.bin was replaced"):
        file.require_unchanged()


@posix
def test_the_end_of_the_data_of_a_sparse_file_is_found_without_reading_its_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = tmp_path / "sparse.bin"
    with sparse.open("wb") as stream:
        stream.write(b"\x01" * 5000)
        stream.seek(3 << 30)
        stream.write(b"\x02" + bytes(9000))
        stream.truncate(1 << 40)
    with sparse.open("rb") as stream:
        if os.lseek(stream.fileno(), 1 << 35, os.SEEK_HOLE) != 1 << 35:
            pytest.skip("this file system does not say where holes are")
    reads = []
    monkeypatch.setattr(os, "preadv", lambda *call, real=os.preadv: reads.append(real(*call)) or reads[-1])
    file = PositionedFile(sparse)
    assert file.end_of_data(0, 1 << 40) == (3 << 30) + 1
    assert file.end_of_data(0, 3 << 30) == 5000
    assert file.end_of_data(6000, 3 << 30) == 6000
    assert sum(reads) < 8 << 20
