"""One pass over a recording: groups of consecutive samples, on all cores of this machine or on a dask cluster, in order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from ..io.blocks import sample_chunks
from ..io.tasks import run_tasks

__all__ = ["Join", "Prepare", "Progress", "Span", "Work", "in_one_pass"]

T = TypeVar("T")

Span: TypeAlias = tuple[int, int]
"""The first sample, and the one after the last."""

Group: TypeAlias = Sequence[Span]

Prepare: TypeAlias = Callable[..., Any]
"""Takes the recording and the other subjects, and returns what every piece of work needs."""

Work: TypeAlias = Callable[[Any, Any, Group], T]
"""Takes the recording, what was prepared and the spans of a group; returns the result for these samples."""

Join: TypeAlias = Callable[[Iterable[T]], T]
"""Takes the results of consecutive groups; returns that for all of their samples."""

Progress: TypeAlias = Callable[[int, int], None]
"""Takes the number of groups that are done, and of all groups."""

_BLOCK_BYTES = 16 << 20  # as much as one core reads and works on at a time
_MAX_BLOCK_BYTES = 64 << 20  # the same for samples so large that few of them fit
_MIN_BLOCK_SAMPLES = 8  # with fewer, adding the results takes longer than computing them
_GROUP_SAMPLES = 512  # one result for each group is kept, of the size of several samples
_MIN_GROUP_SAMPLES = 128
_MIN_GROUPS = 16  # to share among cores, also of a short recording
_MAX_TASK_BYTES = 1 << 30  # repeated if its worker is lost


def in_one_pass(
    work: Work[T],
    join: Join[T],
    prepare: Prepare,
    recording: Any,
    *others: Any,
    prepared: Any = None,
    scheduler: Any = None,
    progress: Progress | None = None,
) -> Iterator[T]:
    """Yield the results for consecutive samples, in order; every sample is read once.

    A bounded number of results is in memory.  The groups of samples are the same wherever they are computed; on a cluster,
    2**k consecutive ones are joined where they are made, so that fewer results are sent.

    Parameters
    ----------
    work, join, prepare : callable
        Functions of a module, which can be sent to other processes.
    recording : ImagingExtractor
    *others : objects
        What ``prepare`` needs beside the recording; they must pickle if there is a scheduler.
    prepared : object, optional
        What ``prepare`` returns, if the caller knows it already; it is not sent to a cluster.
    scheduler : str or distributed.Client, optional
        The address of a running scheduler (``"tcp://..."``) or a client of one; by default, this process.
    progress : callable, optional
        ``progress(done, total)`` in groups, or on a cluster in tasks of several groups.

    Raises
    ------
    MissingDependencyError
        A scheduler is given but ``distributed`` is not installed.
    """
    groups = _groups_of(recording)
    on_cluster = scheduler is not None
    yield from run_tasks(
        functools.partial(_joined, work, join) if on_cluster else work,
        functools.partial(_tasks_of, groups, recording.nbytes) if on_cluster else groups,
        recording,
        *others,
        prepare=prepare,
        prepared=prepared,
        scheduler=scheduler,
        progress=progress,
    )


def _groups_of(recording: Any) -> list[Group]:
    """Divide a recording into blocks, which are read at once, and these into groups, by its size alone."""
    count = len(recording)
    each = recording.nbytes // max(1, count)
    limit = max(_BLOCK_BYTES, min(_MIN_BLOCK_SAMPLES * each, _MAX_BLOCK_BYTES))
    length = sample_chunks(recording, limit)[0]
    spans = [(a, min(a + length, count)) for a in range(0, count, length)]
    fewest = min(_MIN_GROUP_SAMPLES, -(-count // _MIN_GROUPS))
    size = max(1, min(max(fewest, count // 64), _GROUP_SAMPLES) // length)
    return [spans[k : k + size] for k in range(0, len(spans), size)]


def _tasks_of(groups: Sequence[Group], nbytes: int, num_threads: int) -> list[Sequence[Group]]:
    """Join 2**k groups to a task, of a bounded size, and at least four tasks for each thread of the cluster."""
    each = max(1, nbytes // max(1, len(groups)))
    size = 1
    while 2 * size * each <= _MAX_TASK_BYTES and len(groups) >= 8 * size * num_threads:
        size *= 2
    return [groups[k : k + size] for k in range(0, len(groups), size)]


def _joined(work: Work[T], join: Join[T], recording: Any, context: Any, groups: Sequence[Group]) -> T:
    return join(work(recording, context, spans) for spans in groups)
