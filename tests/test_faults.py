"""The disk fails, the file changes, the system runs short: one clear sentence, and the next correct call works."""

from __future__ import annotations

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
from roiextractors_core import files
from roiextractors_core.errors import (
    CorruptRecordingError,
    SourceNotFoundError,
    SourceReadError,
    TimesError,
    TruncatedRecordingError,
)

Write = Callable[..., Any]
Job = Callable[..., dict[str, Any]]

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
        assert f"{recorded.pixels.name} was replaced by another file since it was opened" in words
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
        assert "not there" in words
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
    with pytest.raises(FileNotFoundError, match=r"movie.* is not there"):
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
import ctypes, errno, json, os, signal, sys, time
import numpy as np
import roiextractors_core as roi

asked = json.loads(sys.argv[1])
shim = ctypes.CDLL(os.environ["LD_PRELOAD"]) if "LD_PRELOAD" in os.environ else None
expected = np.load(asked["expected"])
NOTHING, FAIL, SHORT, SLOW = range(4)


def opened():
    return roi.open(asked["path"], **asked["options"])


def arm(kind, offset=0, number=0):
    shim.arm(kind, os.fsencode(asked["pixels"]), ctypes.c_long(offset), number)


def words_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def is_whole(recording):
    return bool(np.array_equal(recording.get_series(), expected)) and bool(
        np.array_equal(recording.get_samples([40, 24, 3]), expected[[40, 24, 3]])
    )


def num_open():
    return len(os.listdir("/proc/self/fd"))


def tell(**facts):
    print(json.dumps(facts))
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
def job(tmp_path: Path) -> Job:
    """Run code in a fresh process on a recording, and return what it tells."""

    def run(code: str, recorded: Any, *, before: tuple[str, ...] = (), **environment: str) -> dict[str, Any]:
        np.save(tmp_path / "expected.npy", recorded.expected)
        asked = {
            "path": str(recorded.path),
            "options": recorded.options,
            "pixels": recorded.pixels.name,
            "expected": str(tmp_path / "expected.npy"),
        }
        script = tmp_path / "job.py"
        script.write_text(SHARED + textwrap.dedent(code))
        done = subprocess.run(
            [*before, sys.executable, "-W", "error", str(script), json.dumps(asked)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    return run


def test_a_disk_that_fails_while_reading_is_one_sentence_and_no_descriptor_is_lost(
    kind: str, tmp_path: Path, write_recorded: Write, shim: Path, job: Job
) -> None:
    recorded = write_recorded(kind, tmp_path / "recording")
    code = """
    recording = opened()
    whole = is_whole(recording) if asked["options"].get("begun") else True
    arm(FAIL, os.path.getsize(asked["path"]) // 2 if os.path.isfile(asked["path"]) else 0, errno.EIO)
    words = [words_of(recording.get_series), words_of(lambda: recording.get_samples([40, 24, 3])), words_of(recording.get_series)]
    times = shim.times()
    before = num_open()
    for _ in range(20):
        words_of(recording.get_series)
    lost = num_open() - before
    arm(NOTHING)
    tell(words=words, times=times, lost=lost, whole=is_whole(recording))
    """
    told = job(code, recorded, LD_PRELOAD=str(shim))
    assert told["times"] > 0
    for words in told["words"]:
        assert words.startswith("SourceReadError: "), words
        assert "Input/output error" in words
        assert recorded.pixels.name in words or recorded.path.name in words
    assert told["lost"] <= 0
    assert told["whole"]


def test_a_disk_that_fails_while_opening_is_one_sentence_and_opening_again_works(
    kind: str, tmp_path: Path, write_recorded: Write, shim: Path, job: Job
) -> None:
    recorded = write_recorded(kind, tmp_path / "recording")
    code = """
    asked["pixels"] = asked["path"]
    roi.formats()
    arm(FAIL, 0, errno.EIO)
    words, times = words_of(opened), shim.times()
    before = num_open()
    for _ in range(20):
        words_of(opened)
    lost = num_open() - before
    arm(NOTHING)
    tell(words=words, times=times, lost=lost, whole=is_whole(opened()))
    """
    told = job(code, recorded, LD_PRELOAD=str(shim))
    assert told["times"] > 0
    assert told["words"].startswith("SourceReadError: "), told["words"]
    assert "Input/output error" in told["words"]
    assert told["lost"] <= 0
    assert told["whole"]


@pytest.mark.parametrize("most", [1, 1000], ids=["one byte a read", "a thousand bytes a read"])
def test_a_disk_that_gives_less_than_was_asked_for_is_asked_again(
    kind: str, most: int, tmp_path: Path, write_recorded: Write, shim: Path, job: Job
) -> None:
    shape = (48, 6, 8) if most == 1 else (48, 64, 96)
    recorded = write_recorded(kind, tmp_path / "recording", shape=shape)
    code = """
    asked["pixels"] = asked["path"]
    arm(SHORT, 0, MOST)
    whole = is_whole(opened())
    tell(whole=whole, times=shim.times())
    """
    told = job(code.replace("MOST", str(most)), recorded, LD_PRELOAD=str(shim))
    assert told["whole"]
    assert told["times"] > 0


# Signals


def test_a_read_goes_on_after_a_signal_that_is_handled(
    kind: str, tmp_path: Path, write_recorded: Write, shim: Path, job: Job
) -> None:
    recorded = write_recorded(kind, tmp_path / "recording", shape=(48, 32, 32))
    code = """
    rung = []
    signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    recording = opened()
    arm(SLOW, 0, 20)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    whole = bool(np.array_equal(recording.get_series(), expected))
    signal.setitimer(signal.ITIMER_REAL, 0)
    arm(NOTHING)
    tell(whole=whole, rung=len(rung), after=is_whole(recording))
    """
    told = job(code, recorded, LD_PRELOAD=str(shim))
    assert told["whole"]
    assert told["rung"] > 0
    assert told["after"]


def test_ctrl_c_ends_a_read_at_once_and_the_next_one_is_right(
    kind: str, tmp_path: Path, write_recorded: Write, shim: Path, job: Job
) -> None:
    recorded = write_recorded(kind, tmp_path / "recording")
    code = """
    recording = opened()
    is_whole(recording)
    before = num_open()
    interrupted, took = 0, []
    for _ in range(5):
        arm(SLOW, 0, 100)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        started = time.perf_counter()
        try:
            while time.perf_counter() - started < 5:
                recording.get_series()
        except KeyboardInterrupt:
            interrupted += 1
        took.append(time.perf_counter() - started)
        arm(NOTHING)
    tell(interrupted=interrupted, took=max(took), lost=num_open() - before, whole=is_whole(recording))
    """
    told = job(code, recorded, LD_PRELOAD=str(shim))
    assert told["interrupted"] == 5
    assert told["took"] < 3
    assert told["lost"] <= 0
    assert told["whole"]


# Limits of the system


@posix
def test_ten_thousand_files_are_read_within_sixty_four_descriptors(
    tmp_path: Path, write_recorded: Write, job: Job
) -> None:
    recorded = write_recorded("tiff sequence", tmp_path / "recording", shape=(10_000, 4, 4))
    code = """
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    recording = opened()
    right = [bool(np.array_equal(recording.get_series(), expected))]
    from concurrent.futures import ThreadPoolExecutor
    order = np.random.default_rng(0).permutation(10_000)
    def part(some):
        return bool(np.array_equal(recording.get_samples(some), expected[some]))
    with ThreadPoolExecutor(8) as pool:
        right += pool.map(part, np.array_split(order, 40))
    tell(right=all(right), open=num_open())
    """
    told = job(code, recorded)
    assert told["right"]
    assert told["open"] <= 64


@linux
def test_every_kind_is_read_when_other_code_has_left_but_a_few_descriptors(
    kind: str, tmp_path: Path, write_recorded: Write, job: Job
) -> None:
    recorded = write_recorded(kind, tmp_path / "recording")
    code = """
    import resource
    with opened() as recording:
        is_whole(recording)  # what is imported later opens files, too
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(64 - num_open() - 12)]
    recording = opened()
    tell(whole=is_whole(recording) and is_whole(recording))
    """
    assert job(code, recorded)["whole"]


@linux
def test_too_much_for_the_memory_that_is_left_is_an_error_and_less_is_read(
    kind: str, tmp_path: Path, write_recorded: Write, job: Job
) -> None:
    recorded = write_recorded(kind, tmp_path / "recording", shape=(48, 512, 512))
    code = """
    import resource
    with opened() as recording:
        recording.get_series()
    recording = opened()
    first = bool(np.array_equal(recording.get_series(0, 2), expected[:2]))
    used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (12 << 20), used + (12 << 20)))
    words = words_of(recording.get_series)
    less = bool(np.array_equal(recording.get_series(10, 12), expected[10:12]))
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2) if os.geteuid() == 0 else None
    tell(words=words, first=first, less=less)
    """
    told = job(code, recorded, OPENBLAS_NUM_THREADS="1", MALLOC_ARENA_MAX="1")
    assert told["words"] == "" or "MemoryError: " in told["words"] or "allocate" in told["words"]
    assert told["first"]
    assert told["less"]


# Permissions and what may not be written


@as_root
def test_what_another_user_may_not_read_is_a_permission_error_that_names_it(
    kind: str, tmp_path: Path, write_recorded: Write, job: Job
) -> None:
    recorded = write_recorded(kind, tmp_path / "recording")
    let_in(tmp_path)
    code = """
    import pathlib
    with opened() as recording:
        is_whole(recording)  # imports
    path, told = pathlib.Path(asked["path"]), {}
    pixels = next(path.rglob(asked["pixels"])) if path.is_dir() else path
    pid = os.fork()
    if pid == 0:
        os.setgid(65534)
        os.setuid(65534)
        tell(words=WORDS)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    """
    read = "words_of(lambda: opened().get_series())"
    recorded.pixels.chmod(0)
    told = job(code.replace("WORDS", read), recorded)
    assert told["words"].startswith("SourcePermissionError: "), told
    assert recorded.pixels.name in told["words"] or recorded.path.name in told["words"]
    assert "may not be" in told["words"]
    recorded.pixels.chmod(0o644)
    folder = recorded.path if recorded.path.is_dir() else recorded.path.parent
    folder.chmod(0)
    told = job(code.replace("WORDS", read), recorded)
    assert told["words"].startswith("SourcePermissionError: "), told
    folder.chmod(0o755)
    assert job(code.replace("WORDS", read), recorded)["words"] == ""


def let_in(folder: Path) -> None:
    """Let other users into the folders above, which pytest keeps closed."""
    for place in [folder, *folder.parents][:5]:
        if place.stat().st_uid == os.geteuid() and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o755)


@as_root
def test_a_file_in_a_folder_that_may_be_entered_but_not_listed_is_read(
    tmp_path: Path, write_recorded: Write, job: Job
) -> None:
    recorded = write_recorded("npy", tmp_path / "recording")
    let_in(tmp_path)
    recorded.path.parent.chmod(0o711)
    code = """
    os.setgid(65534)
    os.setuid(65534)
    tell(whole=is_whole(opened()))
    """
    assert job(code, recorded)["whole"]


@linux
def test_a_recording_on_a_file_system_that_is_read_only_is_read_and_nothing_is_written(
    kind: str, tmp_path: Path, write_recorded: Write, job: Job
) -> None:
    recorded = write_recorded(kind, tmp_path / "recording")
    place = tmp_path / "recording"
    unshare = shutil.which("unshare")
    enter = [
        unshare,
        "-rm",
        "sh",
        "-c",
        f'mount --bind "{place}" "{place}" && mount -o remount,bind,ro "{place}" && exec "$@"',
    ]
    if unshare is None or subprocess.run([*enter, "x", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody make a file system of his own: unshare -rm, mount --bind")
    code = """
    try:
        open(os.path.join(PLACE, "written"), "w")
        raise SystemExit("the file system can be written")
    except OSError as error:
        reason = error.errno
    with opened() as recording:
        tell(reason=reason, whole=is_whole(recording), explained=roi.explain(asked["path"]).to_dict() != {})
    """
    told = job(code.replace("PLACE", repr(str(place))), recorded, before=(*enter, "x"))
    assert told == {"reason": 30, "whole": True, "explained": True}


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
    _, words = attempted(lambda: opened(recorded).get_series(), roi.RoiExtractorsError)
    assert words
    assert words.isprintable()


@posix
def test_names_below_a_path_longer_than_the_system_takes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"could not be looked at: File name too long|is not there"):
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
        with pytest.raises(TimesError, match="the clock steps backwards or holds NaN"):
            recording.time_to_sample_indices(0.1)
        with pytest.raises(TimesError, match=r"backwards|NaN"):
            roi.concatenate([recording, recording])
        recording.set_times([0.0, 0.1, 0.2, 0.3])
        assert recording.time_to_sample_indices(0.1) == 1
