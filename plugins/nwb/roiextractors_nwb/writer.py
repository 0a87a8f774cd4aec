"""Writes NWB 2 files in HDF5, each recording as a TwoPhotonSeries or OnePhotonSeries; needs the extra ``[write]`` (pynwb)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from roiextractors_core.errors import MissingDependencyError, TimesError, UnsupportedRecordingError, printable
from roiextractors_core.io import SIDECAR_KEY, Progress, Sidecar, require_room

from .description import Description, describe, of_each, series_clock, suffixes
from .nwb_objects import imaging_plane
from .pixel_writer import empty_dataset, gzip_level, write_pixels
from .safe_file import SafeFile
from .session import Session
from .sidecar import FIRST_SAMPLE

__all__ = ["naming", "open_target", "require_pynwb", "write"]


class NwbWriter:
    """Writes one recording, or several of one session; see :class:`roiextractors_core.interop.writer.Writer`.

    References
    ----------
    The NWB format specification, version 2: ``NWBFile``, ``ImagingPlane``, ``TwoPhotonSeries``, ``OnePhotonSeries``.
    """

    takes_several: Literal[True] = True

    def __call__(
        self,
        recording: Any,
        partial: Path,
        *,
        target: Path,
        progress: Progress,
        start_time: datetime | str | None = None,
        subject: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        modality: str | None = None,
        indicator: str | Mapping[str, str] | None = None,
        location: str | Mapping[str, str] | None = None,
        compression: str | int | None = "gzip",
    ) -> None:
        """Write a recording, or a dict of recordings by name.

        Parameters
        ----------
        recording, partial, target, progress
            As in the contract.
        start_time : datetime or str, optional
            When the recording began, as a ``datetime`` or in ISO 8601, for a recording that does not have it. Without a time zone it
            is local time.
        subject : mapping, optional
            The animal: ``subject_id``, ``species``, ``sex``, ``age`` or ``date_of_birth`` (all of which DANDI requires), ``strain``,
            ``genotype``, ``weight``, ``description``.
        session : mapping, optional
            ``session_description``, ``session_id``, ``experimenter``, ``lab``, ``institution``, ``keywords``, ... and ``start_time``,
            for a session that began before its recordings: their times then count from it.
        modality : str, optional
            Overrides the recording's own: ``"one-photon"`` is written as OnePhotonSeries, ``"two-photon"`` as TwoPhotonSeries.
        indicator, location : str or mapping of str to str, optional
            The fluorescent indicator and the region of the brain; a mapping has one for each recording, by its name.
        compression : str, int or None
            ``"gzip"``, its level from 1 to 9, or None to store the pixels as they are.

        Raises
        ------
        UnsupportedRecordingError
            A recording is empty, or began before the session; or no start time is known.
        TimesError
            A recording has neither a sampling rate nor times.
        UnknownOptionError
            A field, a modality, a compression or a name is unknown; the message lists the known ones.
        MissingDependencyError
            pynwb is not installed.

        Warns
        -----
        RoiExtractorsWarning
            The subject was described, but lacks what DANDI requires.
        """
        require_pynwb()
        # All checks come first, so that nothing is written that must be removed
        level = gzip_level(compression)
        several = recording if isinstance(recording, dict) else {"": recording}
        about = Session(list(several.values()), start_time=start_time, subject=subject, session=session)
        names = list(several)
        ends = suffixes(names) if isinstance(recording, dict) else [""]
        each = zip(ends, of_each("indicator", indicator, names), of_each("location", location, names), strict=True)
        plans = []
        for (name, one), (end, dye, place) in zip(several.items(), each, strict=True):
            with naming(name):
                plans.append(_plan(one, about, suffix=end, modality=modality, indicator=dye, location=place))
        require_room(partial, sum(plan.recording.nbytes for plan in plans))
        file = about.new_file()
        for plan in plans:
            plan.add_series(file, empty_dataset(plan.recording, level))
        with open_target(partial, file) as target_file:
            done, total = 0, sum(plan.recording.nbytes for plan in plans)
            for plan in plans:
                dataset = target_file.hdf5[f"acquisition/{plan.description.series['name']}/data"]
                write_pixels(plan.recording, dataset, level, _share(progress, done, total, target_file))
                done += plan.recording.nbytes


write = NwbWriter()


@dataclass(frozen=True, slots=True)
class _Plan:
    """One series to be written."""

    recording: Any
    description: Description
    clock: dict[str, Any]
    sidecar: dict[str, Any]

    def add_series(self, file: Any, data: Any) -> None:
        from pynwb import ophys

        kind = getattr(ophys, self.description.series_type)
        plane = imaging_plane(file, self.description)
        comments = json.dumps({SIDECAR_KEY: self.sidecar})
        file.add_acquisition(
            kind(data=data, imaging_plane=plane, comments=comments, **self.description.series, **self.clock)
        )


def _plan(recording: Any, about: Session, **described: Any) -> _Plan:
    if not recording.size:
        raise UnsupportedRecordingError(f"NWB cannot store an empty recording (shape {recording.shape})")
    offset = about.seconds_before(recording)
    clock = series_clock(recording, offset)
    sidecar = Sidecar.of(recording)
    start = sidecar.metadata.start_time
    if start is None or offset:  # times then count from the start of the session
        start = about.start
    # The series has the times
    facts = replace(sidecar, times=None, metadata=sidecar.metadata.replaced(start_time=start)).to_dict()
    if recording.clock.source == "computed" and not offset:
        facts[FIRST_SAMPLE] = recording.clock.first
    return _Plan(recording, describe(recording, **described), clock, facts)


def _share(progress: Progress, before: int, total: int, file: SafeFile) -> Progress:
    """Return the progress of one recording among several."""

    def report(done: int, _own_total: int) -> None:
        file.raise_failure()  # libhdf5 gets no error from a full disk, see SafeFile
        progress(before + done, total)

    return report


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Name one of several recordings in the error that refuses it."""
    try:
        yield
    except (UnsupportedRecordingError, TimesError) as error:
        if not name:
            raise
        raise type(error)(f"{printable(name)}: {error}") from error


def require_pynwb() -> None:
    """Raise ``MissingDependencyError`` where pynwb is not installed."""
    try:
        import pynwb  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("writing NWB needs pynwb: python -m pip install pynwb") from error


@contextmanager
def open_target(
    partial: Path, file: Any, *, started: Callable[[SafeFile], None] = lambda _: None
) -> Iterator[SafeFile]:
    """Write an NWBFile to a path, and yield the HDF5 file, in which its empty datasets can be filled.

    Parameters
    ----------
    partial : pathlib.Path
    file : pynwb.NWBFile
    started : callable, optional
        Called with the HDF5 file before anything is written into it.
    """
    from hdmf.backends.hdf5 import HDF5IO
    from pynwb import get_manager

    # not NWBHDF5IO, of which pynwb 3.0 warns that the path has no suffix even where there is no path
    with SafeFile(partial) as target, HDF5IO(file=target.hdf5, mode="w", manager=get_manager()) as stream:
        started(target)
        stream.write(file)
        yield target
