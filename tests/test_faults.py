"""The disk fails, the file changes, the system runs short: one clear sentence, and the next correct call works."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    SourceReadError,
    TimesError,
    TruncatedRecordingError,
)
from roiextractors_core.io import positioned as files

pytestmark = pytest.mark.thorough

Write = Callable[..., Any]
Job = Callable[..., dict[str, dict[str, Any]]]

ROOT = Path(__file__).resolve().parents[1]
MIDDLE = slice(20, 28)  # around the sample whose file, of a sequence, is the one that is hurt

posix = pytest.mark.skipif(os.name == "nt", reason="Windows refuses to change, replace or delete an open file")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the fault is injected by means of Linux")
as_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may become another user")


def opened(recorded: Any) -> Any:
    return roi.open(recorded.path, **recorded.options)


def require_whole(recording: Any, recorded: Any) -> None:
    np.testing.assert_array_equal(recording.get_series(), recorded.expected)
    np.testing.assert_array_equal(recording[MIDDLE, 3:9, 5:50], recorded.expected[MIDDLE, 3:9, 5:50])


def attempted(call: Callable[[], Any], *kinds: type[Exception]) -> tuple[Any, str]:
    """What a call returns, or the words of the error that it may raise."""
    try:
        return call(), ""
    except kinds as error:
        return None, str(error)


# The file changes between open and read


@posix
@pytest.mark.parametrize("begun", [False, True], ids=["before the first read", "after the first read"])
def test_a_file_that_shrinks_is_named_and_readable_when_it_is_mended(
    kind: str, begun: bool, tmp_path: Path, write_recorded: Write
) -> None:
    recorded = write_recorded(kind, tmp_path)
    content = recorded.pixels.read_bytes()
    with opened(recorded) as recording:
        if begun:
            require_whole(recording, recorded)
        os.truncate(recorded.pixels, len(content) // 2)
        for read in (recording.get_series, lambda: recording.get_samples([40, 24, 3]), lambda: recording[24:, 40:60]):
            found, words = attempted(read, TruncatedRecordingError, CorruptRecordingError)
            if found is not None:  # it had been decoded before, and is kept
                assert (kind, begun) == ("packed hdf5", True)
            else:
                assert recorded.pixels.name in words or recorded.path.name in words
        with recorded.pixels.open("r+b") as stream:
            stream.write(content)
        require_whole(recording, recorded)


@posix
def test_a_file_that_is_replaced_is_never_mixed_with_the_first(
    kind: str, tmp_path: Path, write_recorded: Write
) -> None:
    recorded = write_recorded(kind, tmp_path / "first")
    other = write_recorded(kind, tmp_path / "second", seed=1)
    with opened(recorded) as recording:
        np.testing.assert_array_equal(recording[:5], recorded.expected[:5])
        os.replace(other.pixels, recorded.pixels)
        require_old_or_refused(recording, recorded, other)
        if recorded.pixels == recorded.path:
            with opened(recorded) as anew:
                require_whole(anew, other)
                require_old_or_refused(recording, recorded, other)
                require_whole(anew, other)


def require_old_or_refused(recording: Any, recorded: Any, other: Any) -> None:
    """One file is read as it was, or not; of many, each sample is what its file held at some time."""
    found, words = attempted(recording.get_series, SourceReadError)
    if words:
        assert f"{recorded.pixels.name} was replaced or rewritten since it was opened" in words
    elif recorded.pixels == recorded.path:
        np.testing.assert_array_equal(found, recorded.expected)
    else:
        same = (found == recorded.expected).all(axis=(1, 2)) | (found == other.expected).all(axis=(1, 2))
        assert same.all()


@posix
def test_a_recording_that_is_moved_away_is_named_and_readable_when_it_is_back(
    kind: str, tmp_path: Path, write_recorded: Write
) -> None:
    recorded = write_recorded(kind, tmp_path / "here")
    with opened(recorded) as recording:
        away = recorded.path.rename(tmp_path / "away")
        found, words = attempted(recording.get_series, SourceNotFoundError)
        require_right_or_not_there(found, words, recorded)
        away.rename(recorded.path)
        require_whole(recording, recorded)


def require_right_or_not_there(found: Any, words: str, recorded: Any) -> None:
    """A descriptor may be open still, and reads what it always read."""
    if words:
        assert str(recorded.path) in words
        assert any(part in words for part in ("longer exist", "not exist", "not there"))
    else:
        np.testing.assert_array_equal(found, recorded.expected)


@posix
def test_a_recording_that_was_deleted_before_its_first_read_is_named(
    kind: str, tmp_path: Path, write_recorded: Write
) -> None:
    recorded = write_recorded(kind, tmp_path)
    with opened(recorded) as recording:
        files._DESCRIPTORS.drop(str(recorded.path))
        shutil.rmtree(recorded.path) if recorded.path.is_dir() else recorded.path.unlink()
        require_right_or_not_there(*attempted(recording.get_series, SourceNotFoundError), recorded)
    with pytest.raises(FileNotFoundError, match=r"movie.* does not exist"):
        opened(recorded)


# The disk fails: system calls are made to fail, in a process of its own, by a library that stands before the system's

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, FAIL, SHORT, SLOW };
static int fault = NOTHING, code = 0;
static long from = 0, seen = 0;
static char part[256];

void arm(int kind, const char *name, long offset, int number) {
    strncpy(part, name, sizeof part - 1);
    from = offset; code = number; seen = 0; fault = kind;
}
long times(void) { return seen; }

static int concerns(int descriptor, off_t offset, size_t count) {
    char link[64], path[4096];
    if (fault == NOTHING || count == 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t got = readlink(link, path, sizeof path - 1);
    if (got < 0) return 0;
    path[got] = 0;
    return strstr(path, part) != NULL && offset + (off_t)count > from;
}
static int fails(int descriptor, off_t offset, size_t count) {
    if (!concerns(descriptor, offset, count)) return 0;
    if (fault == SLOW) {
        struct timespec pause = {0, code * 1000000L};
        __sync_fetch_and_add(&seen, 1);
        return nanosleep(&pause, NULL) != 0;
    }
    if (fault != FAIL) return 0;
    __sync_fetch_and_add(&seen, 1);
    errno = code;
    return 1;
}
static size_t allowed(int descriptor, off_t offset, size_t count) {
    if (fault != SHORT || count <= (size_t)code || !concerns(descriptor, offset, count)) return count;
    __sync_fetch_and_add(&seen, 1);
    return code;
}
#define REAL(name, ...) ((ssize_t (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define PREAD(name) \
ssize_t name(int d, void *b, size_t n, off_t o) { \
    return fails(d, o, n) ? -1 : REAL(#name, int, void *, size_t, off_t)(d, b, allowed(d, o, n), o); }
PREAD(pread) PREAD(pread64)
ssize_t read(int d, void *b, size_t n) {
    off_t o = fault == NOTHING ? 0 : lseek(d, 0, SEEK_CUR);
    return fails(d, o, n) ? -1 : REAL("read", int, void *, size_t)(d, b, allowed(d, o, n));
}
static ssize_t scattered(int d, const struct iovec *v, int c, off_t o, int flags, const char *name) {
    size_t n = 0;
    for (int k = 0; k < c; k++) n += v[k].iov_len;
    if (fails(d, o, n)) return -1;
    size_t most = allowed(d, o, n);
    if (most < n)
        for (int k = 0; k < c; k++)
            if (v[k].iov_len)
                return REAL("pread64", int, void *, size_t, off_t)(
                    d, v[k].iov_base, v[k].iov_len < most ? v[k].iov_len : most, o);
    return REAL("preadv2", int, const struct iovec *, int, off_t, int)(d, v, c, o, flags);
}
#define PREADV(name) \
ssize_t name(int d, const struct iovec *v, int c, off_t o) { return scattered(d, v, c, o, 0, #name); }
#define PREADV2(name) \
ssize_t name(int d, const struct iovec *v, int c, off_t o, int f) { return scattered(d, v, c, o, f, #name); }
PREADV(preadv) PREADV(preadv64) PREADV2(preadv2) PREADV2(preadv64v2)
"""

SHARED = """
import ctypes, errno, json, os, pathlib, resource, signal, sys, time
import numpy as np
import roiextractors_core as roi

shim = ctypes.CDLL(os.environ["LD_PRELOAD"]) if "LD_PRELOAD" in os.environ else None
NOTHING, FAIL, SHORT, SLOW = range(4)


class Asked:
    def __init__(self, path, options, pixels, expected):
        self.path, self.options, self.pixels = path, options, pixels
        self.expected = np.load(expected)
        self.middle = os.path.getsize(path) // 2 if os.path.isfile(path) else 0

    def opened(self):
        return roi.open(self.path, **self.options)

    def arm(self, kind, offset=0, number=0, *, all=False):
        shim.arm(kind, os.fsencode(self.path if all else self.pixels), ctypes.c_long(offset), number)

    def is_whole(self, recording):
        some = [40, 24, 3]
        whole = np.array_equal(recording.get_series(), self.expected)
        return bool(whole and np.array_equal(recording.get_samples(some), self.expected[some]))


def words_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def num_open(most=0):
    for _ in range(100):  # other libraries close in threads of their own
        found = len(os.listdir("/proc/self/fd"))
        if not most or found <= most:
            break
        time.sleep(0.02)
    return found
"""
LOOP = """
told = {}
for kind, values in json.loads(sys.argv[1]).items():
    told[kind] = check(Asked(**values))
print(json.dumps(told))
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes reads fail, or a skip."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip(
            "reads are made to fail by a library that is compiled here, and there is no C compiler, or no Linux"
        )
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", "shim.so", "shim.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "shim.so"


@pytest.fixture
def every_kind(tmp_path: Path, write_recorded: Write, kinds: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    """Write a recording of every kind whose plugin is here."""

    def written(**more: Any) -> dict[str, Any]:
        found = {}
        for kind in kinds:
            with contextlib.suppress(pytest.skip.Exception):
                found[kind] = write_recorded(kind, tmp_path / "recordings" / kind, **more)
        return found

    return written


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Call ``check(asked)`` for every recording in one fresh process, and return what it tells of each."""

    def run(
        code: str, recordings: dict[str, Any], *, before: tuple[str, ...] = (), **environment: str
    ) -> dict[str, dict[str, Any]]:
        asked = {}
        for kind, recorded in recordings.items():
            expected = tmp_path / f"{kind}.expected.npy"
            np.save(expected, recorded.expected)
            asked[kind] = {
                "path": str(recorded.path),
                "options": recorded.options,
                "pixels": recorded.pixels.name,
                "expected": str(expected),
            }
        script = tmp_path / "job.py"
        script.write_text(SHARED + textwrap.dedent(code) + LOOP)
        done = subprocess.run(
            [*before, sys.executable, "-W", "error", str(script), json.dumps(asked)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, dict[str, Any]] = json.loads(done.stdout)
        return told

    return run


def names(words: str, recorded: Any) -> bool:
    return recorded.pixels.name in words or recorded.path.name in words


@pytest.mark.parametrize("number", ["EIO", "ESTALE", "ENXIO"])
def test_a_disk_that_fails_while_reading_is_one_sentence_and_no_descriptor_is_lost(
    number: str, every_kind: Write, shim: Path, job: Job
) -> None:
    recordings = every_kind()
    code = """
    def check(asked):
        recording = asked.opened()
        asked.arm(FAIL, asked.middle, errno.NUMBER)
        reads = (recording.get_series, lambda: recording.get_samples([40, 24, 3]), recording.get_series)
        words, times, before = [words_of(read) for read in reads], shim.times(), num_open()
        for _ in range(20):
            words_of(recording.get_series)
        lost = num_open(before) - before
        asked.arm(NOTHING)
        return dict(words=words, times=times, lost=lost, whole=asked.is_whole(recording))
    """
    for kind, told in job(code.replace("NUMBER", number), recordings, LD_PRELOAD=str(shim)).items():
        assert told["times"] > 0, kind
        for words in told["words"]:
            assert words.startswith("SourceReadError: "), f"{kind}: {words}"
            assert os.strerror(getattr(errno, number)) in words, f"{kind}: {words}"
            assert names(words, recordings[kind]), f"{kind}: {words}"
        assert told["lost"] <= 0, kind
        assert told["whole"], kind


def test_a_disk_that_fails_while_opening_is_one_sentence_and_opening_again_works(
    every_kind: Write, shim: Path, job: Job
) -> None:
    recordings = every_kind()
    code = """
    def check(asked):
        roi.formats()
        asked.arm(FAIL, 0, errno.EIO, all=True)
        words, times, before = words_of(asked.opened), shim.times(), num_open()
        for _ in range(20):
            words_of(asked.opened)
        lost = num_open(before) - before
        asked.arm(NOTHING)
        return dict(words=words, times=times, lost=lost, whole=asked.is_whole(asked.opened()))
    """
    for kind, told in job(code, recordings, LD_PRELOAD=str(shim)).items():
        words = told["words"]
        if told["times"] > 0:  # not where the user says all, and nothing is read before the first sample
            assert words.startswith(("SourceReadError: ", "UnknownFormatError: ")), f"{kind}: {words}"
            assert words.startswith("SourceReadError") or recordings[kind].path.is_dir(), f"{kind}: {words}"
            assert "Input/output error" in words, f"{kind}: {words}"
        assert told["lost"] <= 0, kind
        assert told["whole"], kind


@pytest.mark.parametrize("most", [61, 1000])
def test_a_disk_that_gives_less_than_was_asked_for_is_asked_again(
    most: int, every_kind: Write, shim: Path, job: Job
) -> None:
    recordings = every_kind(shape=(48, 6, 8) if most == 61 else (48, 64, 96))
    code = """
    def check(asked):
        asked.arm(SHORT, 0, MOST, all=True)
        return dict(whole=asked.is_whole(asked.opened()), times=shim.times())
    """
    for kind, told in job(code.replace("MOST", str(most)), recordings, LD_PRELOAD=str(shim)).items():
        assert told["whole"], kind
        assert told["times"] > 0, kind


# Signals


def test_a_read_goes_on_after_a_signal_that_is_handled(every_kind: Write, shim: Path, job: Job) -> None:
    recordings = every_kind(shape=(48, 32, 32))
    code = """
    def check(asked):
        rung = []
        signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
        recording = asked.opened()
        asked.arm(SLOW, 0, 10)
        signal.setitimer(signal.ITIMER_REAL, 0.003, 0.05)
        whole = bool(np.array_equal(recording.get_series(), asked.expected))
        signal.setitimer(signal.ITIMER_REAL, 0)
        asked.arm(NOTHING)
        return dict(whole=whole, rung=len(rung), after=asked.is_whole(recording))
    """
    for kind, told in job(code, recordings, LD_PRELOAD=str(shim)).items():
        assert told["whole"], kind
        assert told["rung"] > 0, kind
        assert told["after"], kind


def test_ctrl_c_ends_a_read_soon_and_the_next_one_is_right(every_kind: Write, shim: Path, job: Job) -> None:
    recordings = every_kind()
    code = """
    def check(asked):
        recording = asked.opened()
        asked.is_whole(recording)
        before, interrupted, took = num_open(), 0, []
        for _ in range(3):
            asked.arm(SLOW, 0, 100)
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            started = time.perf_counter()
            try:
                while time.perf_counter() - started < 5:
                    recording.get_series()
            except KeyboardInterrupt:
                interrupted += 1
            took.append(time.perf_counter() - started)
            asked.arm(NOTHING)
        lost = num_open(before) - before
        return dict(interrupted=interrupted, took=max(took), lost=lost, whole=asked.is_whole(recording))
    """
    for kind, told in job(code, recordings, LD_PRELOAD=str(shim)).items():
        assert told["interrupted"] == 3, kind
        assert told["took"] < 4, kind
        assert told["lost"] <= 0, kind
        assert told["whole"], kind


# Limits of the system


@posix
@pytest.mark.parametrize("kind", ["tiff sequence", "bruker"])
def test_ten_thousand_files_are_read_within_sixty_four_descriptors(
    kind: str, tmp_path: Path, write_recorded: Write, job: Job
) -> None:
    recorded = write_recorded(kind, tmp_path / "recording", shape=(10_000, 4, 4))
    code = """
    from concurrent.futures import ThreadPoolExecutor

    def check(asked):
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        recording = asked.opened()
        right = [bool(np.array_equal(recording.get_series(), asked.expected))]
        order = np.random.default_rng(0).permutation(10_000)

        def part(some):
            return bool(np.array_equal(recording.get_samples(some), asked.expected[some]))

        with ThreadPoolExecutor(8) as pool:
            right += pool.map(part, np.array_split(order, 40))
        return dict(right=all(right))
    """
    assert job(code, {kind: recorded})[kind]["right"]


@linux
def test_every_kind_is_read_when_other_code_has_left_but_a_few_descriptors(every_kind: Write, job: Job) -> None:
    code = """
    def check(asked):
        with asked.opened() as recording:
            asked.is_whole(recording)  # what is imported for it opens files, too
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (num_open() + 12, hard))
        recording = asked.opened()
        whole = asked.is_whole(recording) and asked.is_whole(recording)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        recording.close()
        return dict(whole=whole)
    """
    for kind, told in job(code, every_kind()).items():
        assert told["whole"], kind


# Forks


@linux
def test_a_process_that_is_forked_while_others_read_goes_on_for_itself(every_kind: Write, job: Job) -> None:
    code = """
    import threading, warnings
    warnings.simplefilter("ignore")  # on forks where there are threads, which is what happens here

    def check(asked):
        recording, done, wrong = asked.opened(), threading.Event(), []
        recording.get_series(3, 4)

        def read(seed):
            order = np.random.default_rng(seed).integers(0, len(recording), 10_000).tolist()
            for k in order:
                if done.is_set():
                    return
                if not np.array_equal(recording.get_series(k, k + 1), asked.expected[k:k + 1]):
                    wrong.append(k)

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
        for thread in threads:
            thread.start()
        children = []
        for _ in range(6):
            child = os.fork()
            if not child:
                signal.alarm(30)  # one that waits for a thread that it has not is ended by it
                os._exit(not asked.is_whole(recording))
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        done.set()
        for thread in threads:
            thread.join()
        return dict(codes=codes, wrong=wrong, whole=asked.is_whole(recording))
    """
    for kind, told in job(code, every_kind()).items():
        assert told == {"codes": [0] * 6, "wrong": [], "whole": True}, kind


LIMITED = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
}  # no hidden reserves


@linux
@pytest.mark.long  # what is left of an address space depends on the allocator's state: it is run alone
def test_too_much_for_the_memory_that_is_left_is_an_error_and_less_is_read(every_kind: Write, job: Job) -> None:
    code = """
    def check(asked):
        with asked.opened() as recording:
            recording.get_series()  # what is imported for it takes memory, too
        recording = asked.opened()
        right = [bool(np.array_equal(recording.get_series(0, 2), asked.expected[:2]))]
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        with open("/proc/self/statm") as stream:
            used = int(stream.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (12 << 20), hard))
        words = words_of(recording.get_series)
        right.append(bool(np.array_equal(recording.get_series(10, 11), asked.expected[10:11])))
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        return dict(words=words, right=right, after=asked.is_whole(recording))
    """
    for kind, told in job(code, every_kind(shape=(48, 512, 512)), **LIMITED).items():
        assert "MemoryError: " in told["words"] or kind == "video", f"{kind}: {told['words']}"  # half as large
        assert told["right"] == [True, True], kind
        assert told["after"], kind


@linux
def test_no_file_is_mapped_into_memory(kind: str, tmp_path: Path, write_recorded: Write) -> None:
    recorded = write_recorded(kind, tmp_path)
    with opened(recorded) as recording:
        require_whole(recording, recorded)
        assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")


# Permissions, and what may not be written

ANOTHER_USER = """
def as_another_user(call):
    \"\"\"Call in a child that is nobody, after all imports, and return what it returned.\"\"\"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(65534)
        os.write(writing, json.dumps(call()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as stream:
        return json.loads(stream.read())


def check(asked):
    with asked.opened() as recording:
        asked.is_whole(recording)
    path = pathlib.Path(asked.path)
    folder, pixels = (path, next(path.rglob(asked.pixels))) if path.is_dir() else (path.parent, path)
    told = {}
    for name, place, mode in (("file", pixels, 0), ("folder", folder, 0), ("entered", folder, 0o711), ("all", folder, 0o755)):
        before = place.stat().st_mode
        place.chmod(mode)
        told[name] = as_another_user(lambda: words_of(lambda: asked.opened().get_series()))
        place.chmod(before)
    return told
"""


@as_root
@pytest.mark.filterwarnings("ignore:This process")
def test_what_another_user_may_not_read_is_a_permission_error_that_names_it(
    every_kind: Write, tmp_path: Path, job: Job
) -> None:
    recordings = every_kind()
    for place in [tmp_path, *tmp_path.parents]:
        if place.stat().st_uid == os.geteuid() and place not in (Path("/"), Path("/tmp")):
            place.chmod(place.stat().st_mode | 0o055)  # pytest keeps others out
    for kind, told in job(ANOTHER_USER, recordings).items():
        for what in ("file", "folder"):
            assert told[what].startswith("SourcePermissionError: "), f"{kind}, {what}: {told[what]}"
            assert any(part in told[what] for part in ("no permission", "cannot be", "may not be")), (
                f"{kind}, {what}: {told[what]}"
            )
            assert recordings[kind].path.name in told[what] or names(told[what], recordings[kind])
        if recordings[kind].path.is_file():
            assert told["entered"] == "", f"{kind}: a folder that may be entered and not listed: {told['entered']}"
        assert told["all"] == "", f"{kind}: {told['all']}"


@linux
def test_a_recording_on_a_file_system_that_is_read_only_is_read(every_kind: Write, tmp_path: Path, job: Job) -> None:
    recordings = every_kind()
    place = tmp_path / "recordings"
    mount = f'mount --bind "{place}" "{place}" && mount -o remount,bind,ro "{place}" && exec "$@"'
    enter = (shutil.which("unshare") or "unshare", "-rm", "sh", "-c", mount, "sh")
    if not shutil.which("unshare") or subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("nobody may make a file system of his own here: unshare -rm, mount --bind")
    code = """
    def check(asked):
        folder = os.path.dirname(asked.path)
        try:
            os.close(os.open(os.path.join(folder, "written"), os.O_CREAT | os.O_WRONLY))
            reason = 0
        except OSError as error:
            reason = error.errno
        with asked.opened() as recording:
            return dict(is_read_only=reason == errno.EROFS, whole=asked.is_whole(recording))
    """
    for kind, told in job(code, recordings, before=enter).items():
        assert told == {"is_read_only": True, "whole": True}, kind


# Names

NAMES = {
    "spaces": " a movie  of two  ",
    "quotes and brackets": 'it\'s "x" [1] {2} (3) *?',
    "an option": "--help",
    "percent and hash": "100%20 #1; rm -rf $HOME",
    "other scripts": "動画 кино 🎬 e\u0301",
    "a line break": "first\nsecond\x1b[31m",
    "bytes that are no UTF-8": os.fsdecode(b"movie \xff\xfe\x80"),
    "as long as can be": "m" * 225,
}


@posix
@pytest.mark.parametrize("stem", NAMES.values(), ids=NAMES)
def test_any_name_is_opened_explained_and_printed(kind: str, stem: str, tmp_path: Path, write_recorded: Write) -> None:
    if kind == "bruker" and not stem.isprintable():
        pytest.skip("an XML cannot hold this name")
    recorded = write_recorded(kind, tmp_path / stem, stem=stem[:180])
    with opened(recorded) as recording:
        require_whole(recording, recorded)
        shown = f"{recording!r} {recording.provenance} {roi.explain(recorded.path)}"
        json.dumps(roi.explain(recorded.path).to_dict()).encode("ascii")
        json.dumps(recording.metadata.to_dict()).encode("ascii")
    assert "\x1b" not in shown
    shown.encode("utf-8")
    os.truncate(recorded.pixels, 0)
    # Of a sequence, the damaged file is left out with a warning, which is an error in these tests
    _, words = attempted(lambda: opened(recorded).get_series(), roi.RoiExtractorsError, roi.RoiExtractorsWarning)
    assert words
    assert words.isprintable()


@posix
def test_names_below_a_path_longer_than_the_system_takes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"could not be accessed: File name too long|does not exist"):
        roi.open(tmp_path / ("m" * 5000))


# Clocks


@pytest.mark.parametrize("times", [[0.0, 0.1, 0.05, 0.3], [0.0, float("nan"), 0.2, 0.3]], ids=["back", "nan"])
def test_a_clock_that_cannot_be_is_told_as_it_is_and_names_no_sample(tmp_path: Path, times: list[float]) -> None:
    movie = np.arange(4 * 3 * 3, dtype=np.int16).reshape(4, 3, 3)
    np.save(tmp_path / "movie.npy", movie)
    told = {"version": 1, "shape": [4, 3, 3], "sampling_frequency": None, "times": times, "metadata": {}}
    (tmp_path / "movie.npy.json").write_text(json.dumps({"roiextractors": told}))
    with roi.open(tmp_path / "movie.npy") as recording:
        assert recording.times_source == "native"
        np.testing.assert_array_equal(recording.get_timestamps(), times)
        np.testing.assert_array_equal(recording.slice_samples(1, 3).get_timestamps(), times[1:3])
        np.testing.assert_array_equal(recording[1:3], movie[1:3])
        with pytest.raises(TimesError, match="timestamps are not increasing"):
            recording.time_to_sample_indices(0.1)
        recording.set_times([0.0, 0.1, 0.2, 0.3])
        assert recording.time_to_sample_indices(0.1) == 1
