"""Tasks on a recording, in order: on all cores of this machine, or on a dask cluster."""

from __future__ import annotations

import functools
import pickle
import uuid
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import MissingDependencyError
from .blocks import Progress
from .threads import num_cores

__all__ = ["graph_source", "run_tasks"]

T = TypeVar("T")


def run_tasks(
    work: Callable[[Any, Any, Any], T],
    tasks: Sequence[Any] | Callable[[int], Sequence[Any]],
    recording: Any,
    *others: Any,
    prepare: Callable[..., Any] | None = None,
    prepared: Any = None,
    scheduler: Any = None,
    progress: Progress | None = None,
) -> Generator[T]:
    """Yield the result of each task, in order; a bounded number of results is in memory.

    Parameters
    ----------
    work : callable
        Takes the recording, what was prepared and a task.  On a cluster it is sent to other processes, so it must be a function of
        a module; it runs again if its worker is lost, and must then have the same effect.
    tasks : sequence or callable
        The tasks, or a function that returns them for a number of threads.
    recording : ImagingExtractor
        A worker of a cluster opens it once.
    *others : objects
        What ``prepare`` needs in addition to the recording; they must pickle if there is a scheduler.
    prepare : callable, optional
        Takes the recording and the others, and returns what every task needs.
    prepared : object, optional
        What ``prepare`` returns, if the caller knows it already; it is sent to a cluster only without ``prepare``.
    scheduler : str or distributed.Client, optional
        The address of a running scheduler (``"tcp://..."``) or a client of one; by default, this process.
    progress : callable, optional
        ``progress(done, total)`` in tasks.

    Raises
    ------
    MissingDependencyError
        A scheduler is given but ``distributed`` is not installed.
    """
    report_progress = progress or (lambda done, total: None)
    if scheduler is not None:
        yield from _on_cluster(work, tasks, (recording, *others), prepare, prepared, scheduler, report_progress)
        return
    from concurrent.futures import ThreadPoolExecutor

    context = prepare(recording, *others) if prepare is not None and prepared is None else prepared
    listed = tasks(num_cores()) if callable(tasks) else tasks
    # Reading, codecs and numpy's sums release the interpreter lock, so threads are enough
    with ThreadPoolExecutor(num_cores()) as pool:
        yield from _in_order(
            listed, 2 * num_cores(), lambda task: pool.submit(work, recording, context, task), report_progress
        )


def _on_cluster(
    work: Callable[[Any, Any, Any], T],
    tasks: Sequence[Any] | Callable[[int], Sequence[Any]],
    subjects: Sequence[Any],
    prepare: Callable[..., Any] | None,
    prepared: Any,
    scheduler: Any,
    report_progress: Progress,
) -> Generator[T]:
    """Compute on the workers of a cluster, which repeat a task if its worker is lost."""
    try:
        import distributed
    except ImportError as error:
        raise MissingDependencyError(
            'computing on a cluster needs distributed: python -m pip install "dask[array]" distributed'
        ) from error
    connect: Any = distributed.Client
    client = connect(scheduler) if isinstance(scheduler, str) else scheduler
    try:
        sources = [graph_source(subject) for subject in subjects]
        # pure=False: a key made from the arguments could return a result kept from before the file changed
        if prepare is None:
            context = prepared
        elif (
            len(sources) == 1
        ):  # each worker prepares it: tasks that depend on a result are begun where it is, and wait there
            context = _Preparation(uuid.uuid4().hex, prepare)
        else:  # a task of its own, which is repeated if its worker is lost; data that is scattered in advance would be gone
            context = client.submit(_prepare_there, prepare, *sources, pure=False, retries=3)
        num_threads = max(1, sum(client.nthreads().values()))
        # Each worker thread has a task and the next one, whose inputs are already sent
        yield from _in_order(
            tasks(num_threads) if callable(tasks) else tasks,
            2 * num_threads,
            lambda task: client.submit(_work_there, work, sources[0], context, task, pure=False, retries=3),
            report_progress,
        )
    finally:
        if isinstance(scheduler, str):
            client.close()


class _Preparation(NamedTuple):
    """What each worker prepares once."""

    token: str
    prepare: Callable[[Any], Any]


def _prepare_there(prepare: Callable[..., Any], *sources: Any) -> Any:
    return prepare(*(source.recording for source in sources))


def _work_there(work: Callable[[Any, Any, Any], T], source: Any, context: Any, task: Any) -> T:
    if isinstance(context, _Preparation):
        context = source.prepared(*context)
    return work(source.recording, context, task)


def _in_order(
    tasks: Sequence[Any], ahead: int, begin: Callable[[Any], Any], report_progress: Progress
) -> Generator[Any]:
    waiting = deque(begin(task) for task in tasks[:ahead])
    for done in range(1, len(tasks) + 1):
        result = waiting.popleft().result()
        # A bounded number of tasks is in flight, so memory does not grow with the recording
        if done + ahead <= len(tasks):
            waiting.append(begin(tasks[done + ahead - 1]))
        report_progress(done, len(tasks))
        yield result


def graph_source(recording: Any) -> _GraphSource:
    """Return the object that a graph contains in place of a recording, or of ROIs; its ``recording`` is opened once in any other process."""
    return _GraphSource(recording)


class _GraphSource:
    """A recording in a graph: the same object in this process, opened once in any other."""

    __slots__ = ("_prepared", "recording")

    def __init__(self, recording: Any) -> None:
        self.recording = recording
        self._prepared: tuple[str, Any] = ("", None)

    def prepared(self, token: str, prepare: Callable[[Any], Any]) -> Any:
        """Return what is made from the recording; it is made once for each token, and kept until the next."""
        kept = self._prepared
        if kept[0] != token:
            kept = self._prepared = (token, prepare(self.recording))
        return kept[1]

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.recording.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.recording.dtype
        return dtype

    @property
    def ndim(self) -> int:
        ndim: int = self.recording.ndim
        return ndim

    def __getitem__(self, key: Any) -> Any:
        return self.recording[key]

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled to bytes here, so that the bytes are the key of the cache in the worker
        return (_open_once, (pickle.dumps(self.recording),))


@functools.lru_cache(maxsize=16)  # a worker computes few recordings at once, and each keeps files open
def _open_once(pickled: bytes) -> _GraphSource:
    return _GraphSource(pickle.loads(pickled))  # noqa: S301 - what to_dask pickled, sent by dask
