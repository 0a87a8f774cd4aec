"""One pass over a recording: groups of consecutive samples, on all cores of this machine or on a dask cluster, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from ..errors import MissingDependencyError
from .to_dask import graph_source, sample_chunks

__all__ = ["Prepare", "Progress", "Span", "Work", "in_one_pass"]

T = TypeVar("T")

Span: TypeAlias = tuple[int, int]
"""The first sample, and the one after the last."""

Prepare: TypeAlias = Callable[..., Any]
"""Takes the recording and the other subjects, and returns what every piece of work needs."""

Work: TypeAlias = Callable[[Any, Any, Sequence[Span]], T]
"""Takes the recording, what was prepared and some spans; returns the result for these samples."""

Progress: TypeAlias = Callable[[int, int], None]
"""Takes the number of groups that are done, and of all groups."""

_BLOCK_BYTES = 16 << 20  # as much as one core reads and works on at a time
_PARTS_PER_TASK = 4  # results of a few blocks are joined where they are made


def in_one_pass(
    work: Work[T],
    prepare: Prepare,
    recording: Any,
    *others: Any,
    prepared: Any = None,
    scheduler: Any = None,
    progress: Progress | None = None,
) -> Iterator[T]:
    """Yield the result of each group of consecutive samples, in order; every sample is read once.

    A bounded number of groups is in memory, and the groups are the same wherever they are computed.

    Parameters
    ----------
    work, prepare : callable
        Functions of a module, which can be sent to other processes.
    recording : ImagingExtractor
    *others : objects
        What ``prepare`` needs beside the recording; they must pickle if there is a scheduler.
    prepared : object, optional
        What ``prepare`` returns, if the caller knows it already; it is not sent to a cluster.
    scheduler : str or distributed.Client, optional
        The address of a running scheduler (``"tcp://..."``) or a client of one; by default, this process.
    progress : callable, optional
        ``progress(done, total)`` in groups.

    Raises
    ------
    MissingDependencyError
        A scheduler is given but ``distributed`` is not installed.
    """
    length = sample_chunks(recording, _BLOCK_BYTES)[0]
    spans = [(a, min(a + length, len(recording))) for a in range(0, len(recording), length)]
    groups = [spans[k : k + _PARTS_PER_TASK] for k in range(0, len(spans), _PARTS_PER_TASK)]
    report_progress = progress or (lambda done, total: None)
    if scheduler is None:
        context = prepare(recording, *others) if prepared is None else prepared
        yield from _in_threads(lambda spans: work(recording, context, spans), groups, report_progress)
    else:
        yield from _on_cluster(work, prepare, (recording, *others), groups, scheduler, report_progress)


def _in_threads(
    work: Callable[[Sequence[Span]], T], groups: Sequence[Sequence[Span]], report_progress: Progress
) -> Iterator[T]:
    from concurrent.futures import ThreadPoolExecutor

    from ..io.threads import num_cores

    # Reading and numpy's sums release the interpreter lock, so threads are enough
    with ThreadPoolExecutor(num_cores()) as pool:
        yield from _in_order(groups, 2 * num_cores(), lambda spans: pool.submit(work, spans), report_progress)


def _on_cluster(
    work: Work[T],
    prepare: Prepare,
    subjects: Sequence[Any],
    groups: Sequence[Sequence[Span]],
    scheduler: Any,
    report_progress: Progress,
) -> Iterator[T]:
    """Compute on the workers of a cluster, which repeat a group if its worker is lost."""
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
        # Each worker thread has a task and the next ones, whose inputs are already sent
        ahead = 4 * max(1, sum(client.nthreads().values()))
        yield from _in_order(
            groups,
            ahead,
            lambda spans: client.submit(_work_there, work, sources[0], context, spans, pure=False, retries=3),
            report_progress,
        )
    finally:
        if isinstance(scheduler, str):
            client.close()


def _prepare_there(prepare: Prepare, *sources: Any) -> Any:
    return prepare(*(source.recording for source in sources))


def _work_there(work: Work[T], source: Any, context: Any, spans: Sequence[Span]) -> T:
    return work(source.recording, context, spans)


def _in_order(
    groups: Sequence[Sequence[Span]],
    ahead: int,
    begin: Callable[[Sequence[Span]], Any],
    report_progress: Progress,
) -> Iterator[Any]:
    waiting = deque(begin(spans) for spans in groups[:ahead])
    for done in range(1, len(groups) + 1):
        result = waiting.popleft().result()
        # A bounded number of groups is in flight, so memory does not grow with the recording
        if done + ahead <= len(groups):
            waiting.append(begin(groups[done + ahead - 1]))
        report_progress(done, len(groups))
        yield result
