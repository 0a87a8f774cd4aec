"""Counts the system calls on a recording's files while a process opens it, with strace."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

__all__ = ["KINDS", "count_calls", "why_not"]

KINDS = ("opens", "stats", "reads", "listings", "others")
OPENING = """
import sys, warnings
import roiextractors_core as roi
warnings.simplefilter("ignore")
for path in sys.argv[1:3]:
    with roi.open(path) as recording:
        recording.shape, recording.dtype
"""
_TABLE = {
    **dict.fromkeys(("open", "openat", "openat2"), "opens"),
    **dict.fromkeys(
        ("stat", "lstat", "fstat", "newfstatat", "statx", "fstatat64", "access", "faccessat", "faccessat2"), "stats"
    ),
    **dict.fromkeys(("read", "pread64", "readv", "preadv", "preadv2", "mmap"), "reads"),
    **dict.fromkeys(("getdents", "getdents64"), "listings"),
}
# A server is not asked for these: they end or move what is open on this side, or name the recording to the traced process
_LOCAL = {"execve", "close", "lseek", "dup", "dup2", "dup3", "fcntl", "ioctl", "fadvise64", "poll", "munmap"}
_CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\(")


@functools.cache
def why_not() -> str:
    """Return why calls cannot be counted on this machine; empty where they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace: {done.stderr.strip()[:100]}" if done.returncode else ""


def count_calls(warm: Path, path: Path, folder: Path, code: str = OPENING) -> Counter[str]:
    """Open two recordings in a new process and count the calls on the files of the second one.

    Parameters
    ----------
    warm : pathlib.Path
        A copy that is opened first, so that the imports are over.
    path : pathlib.Path
    folder : pathlib.Path
        The folder of the files that are watched; calls on it and on everything below it are counted.
    code : str
        Gets both paths as arguments.

    Returns
    -------
    collections.Counter
        By :data:`KINDS`.
    """
    log = folder.with_name(f"{folder.name}.strace")
    # Descriptors are printed with their paths (-y), so that reads are known to be of these files
    words = ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=%file,%desc", "-o", str(log)]
    subprocess.run([*words, sys.executable, "-c", code, str(warm), str(path)], check=True)
    counts: Counter[str] = Counter()
    mark = re.compile(re.escape(str(folder)) + r'(?=[/">])')
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        call = _CALL.match(line)
        if call is None or call[1] in _LOCAL or not mark.search(line):
            continue
        kind = _TABLE.get(call[1], "others")
        # A folder is opened to be listed
        counts["listings" if kind == "opens" and "O_DIRECTORY" in line else kind] += 1
    log.unlink()
    return counts
