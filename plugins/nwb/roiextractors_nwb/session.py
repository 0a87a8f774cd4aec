"""The NWBFile of a session: its start, its subject, and the fields that a lab fills in."""

from __future__ import annotations

import difflib
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from roiextractors_core.errors import (
    RoiExtractorsWarning,
    UnknownOptionError,
    UnsupportedRecordingError,
    listed,
    printable,
)
from roiextractors_core.io import warn

__all__ = ["Session", "seconds_between", "with_zone"]

_SUBJECT = (
    "subject_id", "species", "sex", "age", "age__reference", "date_of_birth", "strain", "genotype", "weight", "description",
)  # fmt: skip
_SESSION = (
    "start_time", "session_description", "identifier", "session_id", "experimenter", "lab", "institution", "experiment_description",
    "keywords", "notes", "pharmacology", "protocol", "related_publications", "stimulus_notes", "surgery", "virus", "data_collection",
)  # fmt: skip
_SEQUENCES = ("experimenter", "keywords", "related_publications")
_DURATION = r"P(?!$)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?(T(?!$)(\d+(\.\d+)?H)?(\d+(\.\d+)?M)?(\d+(\.\d+)?S)?)?"
_SPECIES = r"[A-Z][a-z]+ [a-z]+|https?://purl\.obolibrary\.org/obo/NCBITaxon_\d+"
_WORM = "Caenorhabditis elegans"


class Session:
    """The description of a session, which is written beside its recordings.

    Parameters
    ----------
    recordings : sequence of Extractor
    start_time : datetime or str, optional
        For recordings that do not have one, as a ``datetime`` or in ISO 8601. Without a time zone it is local time.
    subject, session : mapping, optional
        Fields of NWB's ``Subject`` and ``NWBFile``; a time is a ``datetime`` or ISO 8601.

    Attributes
    ----------
    start : datetime
        With a time zone: that of ``session``, else the earliest of the recordings, else ``start_time``.

    Raises
    ------
    UnknownOptionError
        A field is unknown; the message lists those that are known.
    UnsupportedRecordingError
        The start time is missing, or a value is not valid.

    References
    ----------
    The NWB format specification, version 2: ``NWBFile``, ``Subject``. The checks that ``dandi validate`` makes:
    ``nwbinspector``, configuration ``dandi``.
    """

    def __init__(
        self,
        recordings: Sequence[Any],
        *,
        start_time: datetime | str | None = None,
        subject: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
    ) -> None:
        self._subject = _known_fields("subject", subject, _SUBJECT)
        self._session = _known_fields("session", session, _SESSION)
        self._names = list(dict.fromkeys(name for one in recordings for name in _file_names(one)))
        given = parse_time("session['start_time']", self._session.pop("start_time", None))
        fallback = parse_time("start_time", start_time)
        self.start = self._find_start([one.metadata.start_time for one in recordings], given, fallback)
        self._advise(subject is not None)

    def new_file(self) -> Any:
        """Return a new ``pynwb.NWBFile``."""
        from pynwb import NWBFile
        from pynwb.file import Subject

        names = ", ".join(self._names) or "a recording in memory"
        fields = {"session_description": f"converted from {names}", "identifier": uuid.uuid4().hex, **self._session}
        for key in _SEQUENCES:
            if isinstance(fields.get(key), str):
                fields[key] = [fields[key]]
        about = dict(self._subject)
        if "date_of_birth" in about:
            about["date_of_birth"] = with_zone(parse_time("subject['date_of_birth']", about["date_of_birth"]), None)
        subject = Subject(**about) if about else None
        return NWBFile(session_start_time=self.start, subject=subject, **fields)

    def seconds_before(self, recording: Any) -> float:
        """Return the seconds from the session's start to 0 s of a recording's clock."""
        return seconds_between(self.start, recording)

    def _find_start(
        self, known: Sequence[datetime | None], given: datetime | None, fallback: datetime | None
    ) -> datetime:
        zone = None if given is None else given.tzinfo
        starts = [start for start in (with_zone(start, zone) for start in known) if start is not None]
        start = with_zone(given, None) if given is not None else min(starts, default=with_zone(fallback, None))
        if start is None:
            raise UnsupportedRecordingError(
                "NWB needs a start time and this recording has none; pass start_time='2026-01-31T12:00:00'"
            )
        return start

    def _advise(self, is_asked: bool) -> None:
        """Warn of what DANDI refuses, where the caller described the subject: then the file is meant for an archive."""
        words = _dandi_faults(self._subject, self._session) if is_asked else []
        if words:
            warn(f"DANDI does not accept this file yet: {'; '.join(words)}", RoiExtractorsWarning)


def seconds_between(
    start: datetime, recording: Any, *, advice: str = "pass an earlier start of the session, or leave it out"
) -> float:
    """Return the seconds from a session's start to 0 s of a recording's clock; 0 for a recording that does not know when it began.

    Parameters
    ----------
    start : datetime
        With a time zone, which is that of a recording that has none.
    recording : Extractor
    advice : str
        How to avoid the error.

    Raises
    ------
    UnsupportedRecordingError
        The recording began before the session.
    """
    own = with_zone(recording.metadata.start_time, start.tzinfo)
    seconds = 0.0 if own is None else (own - start).total_seconds()
    if seconds < 0:
        raise UnsupportedRecordingError(
            f"the session starts at {start.isoformat()}, after the recording, which starts at {own and own.isoformat()}; "
            f"{advice}"
        )
    return seconds


def parse_time(name: str, given: Any) -> datetime | None:
    """Return a date and time, as passed or from ISO 8601."""
    if given is None or isinstance(given, datetime):
        return given
    try:
        return datetime.fromisoformat(str(given))
    except ValueError:
        raise UnsupportedRecordingError(
            f"{name} must be an ISO 8601 date and time, got {given!r:.60}; for example 2026-01-31T12:00:00"
        ) from None


def with_zone(moment: datetime | None, zone: tzinfo | None) -> datetime | None:
    """Return a moment with a time zone, which NWB requires: its own, the given one, or that of this computer."""
    if moment is None or moment.tzinfo is not None:
        return moment
    if zone is not None:
        return moment.replace(tzinfo=zone)
    try:
        return moment.astimezone()
    except (OSError, OverflowError):  # Windows has no local time before 1970
        return moment.replace(tzinfo=datetime.now().astimezone().tzinfo)


def _file_names(recording: Any) -> list[str]:
    return [printable(Path(path).name) for path in recording.provenance.paths]


def _known_fields(name: str, given: Mapping[str, Any] | None, known: Sequence[str]) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UnknownOptionError(f"{name} must be a dict of its fields, got {type(given).__name__}")
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UnknownOptionError(f"{name} has no field {key!r}{hint} Its fields are {listed(known)}")
    return {key: value for key, value in given.items() if value is not None}


def _dandi_faults(subject: Mapping[str, Any], session: Mapping[str, Any]) -> list[str]:
    """Return in words what ``dandi validate`` would refuse, and what it expects."""
    words = []
    missing = [key for key in ("subject_id", "species", "sex") if not subject.get(key)]
    missing += [] if subject.get("age") or subject.get("date_of_birth") else ["age"]
    if missing:
        words.append(f"the subject lacks {listed(missing)}")
    species, sex, age = (str(subject.get(key) or "") for key in ("species", "sex", "age"))
    if species and not re.fullmatch(_SPECIES, species):
        words.append(f"the species must be a Latin name such as 'Mus musculus', got {species!r:.60}")
    sexes = ("XO", "XX") if species == _WORM else ("M", "F", "U", "O")
    if sex and sex not in sexes:
        words.append(f"the sex must be one of {listed(sexes)}, got {sex!r:.60}")
    if age and not all(not part or re.fullmatch(_DURATION, part) for part in age.split("/", 1)):
        words.append(f"the age must be an ISO 8601 duration such as 'P90D', got {age!r:.60}")
    for name, fields, key in (("subject_id", subject, "subject_id"), ("session_id", session, "session_id")):
        if "/" in str(fields.get(key) or ""):
            words.append(f"{name} must not contain '/', got {fields[key]!r:.60}")
    return words
