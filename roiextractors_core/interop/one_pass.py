"""One pass over a recording: groups of consecutive samples, on all cores of this machine or on a dask cluster, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from ..errors import MissingDependencyError
from .to_dask import graph_source, sample_chunks

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
    report_progress = progress or (lambda done, total: None)
    if scheduler is None:
        context = prepare(recording, *others) if prepared is None else prepared
        yield from _in_threads(lambda spans: work(recording, context, spans), groups, report_progress)
    else:
        yield from _on_cluster(work, join, prepare, (recording, *others), groups, scheduler, report_progress)


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


def _in_threads(work: Callable[[Group], T], groups: Sequence[Group], report_progress: Progress) -> Iterator[T]:
    from concurrent.futures import ThreadPoolExecutor

    from ..io.threads import num_cores

    # Reading and numpy's sums release the interpreter lock, so threads are enough
    with ThreadPoolExecutor(num_cores()) as pool:
        yield from _in_order(groups, num_cores() + 1, lambda spans: pool.submit(work, spans), report_progress)


def _on_cluster(
    work: Work[T],
    join: Join[T],
    prepare: Prepare,
    subjects: Sequence[Any],
    groups: Sequence[Group],
    scheduler: Any,
    report_progress: Progress,
) -> Iterator[T]:
    """Compute on the workers of a cluster, which repeat a task if its worker is lost."""
    try:
        import distributed
    except ImportError as error:
        raise MissingDependencyError(
            'computing on a cluster needs distributed: python -m pip install "roiextractors-core[dask]"'
        ) from error
    connect: Any = distributed.Client
    client = connect(scheduler) if isinstance(scheduler, str) else scheduler
    try:
        sources = [graph_source(subject) for subject in subjects]
        # pure=False: a key made from the arguments could return a result kept from before the file changed. What is prepared
        # is a task of its own, which is repeated if its worker is lost; data that is scattered in advance would be gone.
        context = client.submit(_prepare_there, prepare, *sources, pure=False, retries=3)
        num_threads = max(1, sum(client.nthreads().values()))
        # Each worker thread has a task and the next one, whose inputs are already sent
        yield from _in_order(
            _tasks_of(groups, subjects[0], num_threads),
            2 * num_threads,
            lambda task: client.submit(_work_there, work, join, sources[0], context, task, pure=False, retries=3),
            report_progress,
        )
    finally:
        if isinstance(scheduler, str):
            client.close()


def _tasks_of(groups: Sequence[Group], recording: Any, num_threads: int) -> list[Sequence[Group]]:
    """Join 2**k groups to a task, of a bounded size, and at least two tasks for each thread of the cluster."""
    each = max(1, recording.nbytes // len(groups))
    size = 1
    while 2 * size * each <= _MAX_TASK_BYTES and len(groups) >= 4 * size * num_threads:
        size *= 2
    return [groups[k : k + size] for k in range(0, len(groups), size)]


def _prepare_there(prepare: Prepare, *sources: Any) -> Any:
    return prepare(*(source.recording for source in sources))


def _work_there(work: Work[T], join: Join[T], source: Any, context: Any, groups: Sequence[Group]) -> T:
    return join(work(source.recording, context, spans) for spans in groups)


def _in_order(
    tasks: Sequence[Any], ahead: int, begin: Callable[[Any], Any], report_progress: Progress
) -> Iterator[Any]:
    waiting = deque(begin(task) for task in tasks[:ahead])
    for done in range(1, len(tasks) + 1):
        result = waiting.popleft().result()
        # A bounded number of tasks is in flight, so memory does not grow with the recording
        if done + ahead <= len(tasks):
            waiting.append(begin(tasks[done + ahead - 1]))
        report_progress(done, len(tasks))
        yield result
