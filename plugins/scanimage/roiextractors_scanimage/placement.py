"""Where each frame of an acquisition is among the pages, by the numbers that the pages state.

Why a few descriptions are enough
---------------------------------
ScanImage numbers the frames of an acquisition, and writes the number into the description of every page: once a channel.
Within a file the numbers never decrease, consecutive frames differ by at least ``step`` (1, or the averaging), and a frame
has at most one page a channel.  So for a stretch of pages that begins with the first page of frame ``a`` and ends with page
``p`` of frame ``b``, the number of pages is at most ``channels * ((b - a) / step + 1)``, and it is equal only if no frame and no
page of a frame is missing in between: each loss makes the number of pages smaller, and nothing makes it larger.  The first and
the last page of a file therefore decide for all pages in between, and the 100,000 descriptions of a long recording
are not read.  A page that was written twice could make up for one that was lost; the first pages and some in between, at even
distances, are looked at too, for files that a program put together, and every page of which the time is read.

Only where the numbers do not add up is the place of the loss searched: by doubling the distance and then halving it, since
after a loss all numbers are too large.  That takes some 2 log2(n) descriptions for each gap.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np

from .header import epoch_text_of, frame_number_of, parse_moment

__all__ = ["Identity", "Placement", "place_frames", "place_in_order"]

# Over all files together: each probe is a read from the disk
_MAX_PROBES = 16
_MAX_GAP = 50_000_000
"""Frames between two pages; a number further away is damage, not a pause."""


Key = tuple[bytes, int | None]
"""An acquisition: the moment at which it began, as the pages state it, and its number in a loop."""


class Pages(Protocol):
    """The part of a page index that this module reads."""

    @property
    def num_pages(self) -> int: ...

    @property
    def pages_per_file(self) -> tuple[int, ...]: ...

    def descriptions(self, pages: Sequence[int]) -> list[bytes]: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The frame number and acquisition that a page states.

    Attributes
    ----------
    number : int or None
        The number of its frame within its acquisition.
    acquisition : tuple
        The moment at which the acquisition began, as the page states it, and its number in a loop.
    """

    number: int | None
    acquisition: Key = (b"", None)

    @classmethod
    def of(cls, description: bytes, *, in_loop: bool, number: int | None = None) -> Identity:
        """Read the frame number and acquisition from a page's description.

        Parameters
        ----------
        description : bytes
        in_loop : bool
            Whether each acquisition of a loop is counted by itself.  The frames of a slow stack run on, although each of its
            planes is an acquisition by number.
        number : int, optional
            The frame number of the page, if it was already read.
        """
        # The numbers are separated by commas or blanks, and one moment must give one key
        begun = b" ".join(epoch_text_of(description).replace(b",", b" ").split())
        if not in_loop:
            return cls(frame_number_of(description) if number is None else number, (begun, None))
        own, counted = _IN_ACQUISITION.search(description), _ACQUISITION.search(description)
        # frameNumbers may run on over a loop; the number within the acquisition does not
        number = int(own[1]) if own else frame_number_of(description)
        return cls(number, (begun, int(counted[1]) if counted else None))

    @property
    def begun(self) -> datetime | None:
        """The moment at which the acquisition began, or None."""
        return parse_moment(self.acquisition[0].decode("ascii", "replace"))


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive complete frames on consecutive pages."""

    identity: Identity
    page: int
    count: int


@dataclass(frozen=True, eq=False)
class Placement:
    """Which page each frame begins at.

    Frames are counted in slots: a slot is the place of a frame in the acquisition, from 0, whether or not it is in the file.

    Attributes
    ----------
    slots, pages, counts : numpy.ndarray of int64
        Runs of complete frames, ascending: the first slot, its first page, and the number of frames.
    channels : int
        Pages a frame.
    num_slots : int
        One more than the last slot of which a page is there.
    acquisitions : tuple of Identity
        The first page of each acquisition that was joined.
    owners : numpy.ndarray of int64
        The acquisition of each run.
    incomplete : int
        Frames of which pages are missing.
    nameless : int
        Pages that state no frame number, or an absurd one.
    repeated : int
        Frames whose number another page states too.
    is_sorted : bool
        Whether the runs are in the order of the pages.
    numbers : numpy.ndarray of int64 or None
        The frame number of each run's first frame; None where the pages state none.
    step : int
        By how much the numbers grow from one frame to the next.
    """

    slots: np.ndarray
    pages: np.ndarray
    counts: np.ndarray
    channels: int
    num_slots: int
    acquisitions: tuple[Identity, ...] = ()
    owners: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    incomplete: int = 0
    nameless: int = 0
    repeated: int = 0
    is_sorted: bool = True
    numbers: np.ndarray | None = None
    step: int = 1

    @property
    def is_gapless(self) -> bool:
        """Whether the frames follow each other from the first page and the first slot on, with nothing left out before the end."""
        first = not len(self.slots) or (self.slots[0], self.pages[0]) == (0, 0)
        return bool(first) and len(self.slots) <= 1 and not self.nameless and not self.repeated and self.incomplete <= 1

    @property
    def num_frames(self) -> int:
        """Complete frames."""
        return int(self.counts.sum())

    @property
    def first_slot(self) -> int:
        """The slot of the first complete frame."""
        return int(self.slots[0]) if len(self.slots) else 0

    def pages_of(self, slots: np.ndarray) -> np.ndarray:
        """Return the page of the first channel of each slot, all of which must be there."""
        if len(self.slots) == 1:
            return np.asarray(self.pages[0] + (slots - self.slots[0]) * self.channels)
        runs = self.runs_of(slots)
        return np.asarray(self.pages[runs] + (slots - self.slots[runs]) * self.channels)

    def runs_of(self, slots: np.ndarray) -> np.ndarray:
        """Return the run of each slot."""
        return np.asarray(np.searchsorted(self.slots, slots, side="right") - 1)

    def numbers_of(self, slots: np.ndarray) -> np.ndarray | None:
        """Return the frame number that the pages of each slot should state, or None where the pages state none."""
        if self.numbers is None:
            return None
        runs = self.runs_of(slots)
        return np.asarray(self.numbers[runs] + (slots - self.slots[runs]) * self.step)

    def stretches(self) -> np.ndarray:
        """Return the slots that are there as ``(start, stop)``, neighbours joined."""
        stops = self.slots + self.counts
        cuts = np.flatnonzero(self.slots[1:] != stops[:-1]) + 1
        firsts, lasts = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(stops)]]) - 1
        return np.stack([self.slots[firsts], stops[lasts]], 1) if len(stops) else np.empty((0, 2), np.int64)

    def complete_volumes(self, length: int, kept: int) -> range | np.ndarray:
        """Return the volumes of which every kept frame is there; a range where they follow each other.

        Parameters
        ----------
        length, kept : int
            Frames of a volume with and without the flyback.
        """
        stretches = self.stretches()
        firsts = -(-stretches[:, 0] // length)
        # A last volume without its flyback is complete
        lasts = (stretches[:, 1] - kept) // length + 1
        return _joined(firsts, np.maximum(lasts, firsts))

    def kept_slots(self, length: int, kept: int) -> range | np.ndarray:
        """Return the slots of complete frames outside the flyback."""
        stretches = self.stretches()
        slots = _joined(stretches[:, 0], stretches[:, 1])
        if length == kept:
            return slots
        every = np.asarray(slots, np.int64)
        return every[every % length < kept]


def place_in_order(num_pages: int, channels: int) -> Placement:
    """Return the placement of pages that state no number: one after the other."""
    count = num_pages // channels
    runs = np.array([count], np.int64)
    return Placement(
        np.zeros(1, np.int64), np.zeros(1, np.int64), runs, channels, -(-num_pages // channels),
        incomplete=int(num_pages % channels > 0),
    )  # fmt: skip


def place_frames(
    index: Pages,
    *,
    channels: int,
    step: int,
    length: int,
    in_loop: bool = False,
    known: Sequence[bytes] = (),
    known_numbers: Sequence[int | None] = (),
) -> Placement:
    """Place the frames of all files by their numbers.

    Parameters
    ----------
    index : PageIndex
    channels : int
        Pages a frame.
    step : int
        By how much the number grows from one frame to the next.
    length : int
        Frames of a volume with the flyback: every acquisition of a loop begins a volume.
    in_loop : bool
        Whether each acquisition is counted by itself.
    known : sequence of bytes
        The descriptions of the first pages, which are not read again.
    known_numbers : sequence of int or None
        The frame numbers in them.
    """
    pairs = itertools.zip_longest(known, known_numbers)
    identities = [Identity.of(text, in_loop=in_loop, number=number) for text, number in pairs]
    search = _Search(index, channels, step, identities, in_loop=in_loop)
    start, runs = 0, list[_Run]()
    for count in index.pages_per_file:
        runs += search.runs(start, start + count)
        start += count
    keys = _ordered(runs, search.partial)
    complete, partial = _grouped(keys, runs), _grouped(keys, [_Run(one, 0, 0) for one in search.partial])
    placed: list[tuple[int, int, int, int, int]] = []
    base = repeated = following = 0
    for owner, key in enumerate(keys):
        own = sorted(complete[key], key=lambda run: _number(run.identity))
        lost = [_number(run.identity) for run in partial[key]]
        zero = _zero([*(_number(run.identity) for run in own), *lost], following)
        stop = base
        for run in own:
            slot = base + (_number(run.identity) - zero) // step
            skipped = min(max(0, stop - slot), run.count)  # frames that another page states too: the first one counts
            repeated += skipped
            if skipped < run.count:
                number = _number(run.identity) + skipped * step
                placed.append((slot + skipped, run.page + skipped * channels, run.count - skipped, owner, number))
                stop = slot + run.count
            following = _number(run.identity) + run.count * step
        base = max([stop, *(base + (number - zero) // step + 1 for number in lost)])
        # An acquisition that was stopped inside a volume must not shift the planes of the next one
        base += -base % length if owner < len(keys) - 1 else 0
    slots, pages, counts, owners, numbers = np.array(placed, np.int64).reshape(-1, 5).T
    return Placement(
        slots,
        pages,
        counts,
        channels,
        base,
        acquisitions=tuple(Identity(None, key) for key in keys),
        owners=owners,
        incomplete=len(search.partial),
        nameless=search.nameless,
        repeated=repeated,
        is_sorted=bool((np.diff(pages) > 0).all()),
        # The number within an acquisition of a loop is not the one that a page states first
        numbers=None if in_loop else numbers,
        step=step,
    )


def _grouped(keys: Sequence[Key], runs: Sequence[_Run]) -> dict[Key, list[_Run]]:
    groups: dict[Key, list[_Run]] = {key: [] for key in keys}
    for run in runs:
        groups[run.identity.acquisition].append(run)
    return groups


def _zero(numbers: Sequence[int], following: int) -> int:
    """Return the number of an acquisition's first frame: 1, unless its frames are counted on from the acquisition before."""
    first = min(numbers)
    return first if first in (0, following) else 1


class _Search:
    """Finds the runs of complete frames in a file."""

    def __init__(self, index: Pages, channels: int, step: int, known: Sequence[Identity], *, in_loop: bool) -> None:
        self._index, self._channels, self._step, self._in_loop, self._known = index, channels, step, in_loop, known
        self._probes = max(1, _MAX_PROBES // max(1, len(index.pages_per_file)))
        self._seen: tuple[int, Identity] = (-1, Identity(None))
        self._last: dict[Key, int] = {}
        self._spans: list[tuple[int, int]] = []  # of frame numbers in the files, ascending
        self._label = b""
        self._num_labels = 0
        self.partial: list[Identity] = []
        self.nameless = 0

    def runs(self, at: int, stop: int) -> Iterator[_Run]:
        """Yield the runs of complete frames of one file."""
        self._begin_file(at, stop)
        while at < stop:
            identity = self._identity(at)
            if identity.number is None or self._is_absurd(identity):
                self.nameless += 1
                at += 1
                continue
            count = self._length(at, identity, (stop - at) // self._channels)
            if count:
                yield _Run(identity, at, count)
                at += count * self._channels
                self._last[identity.acquisition] = identity.number + count * self._step
                continue
            self.partial.append(identity)
            at += 1
            while at < stop and self._identity(at) == identity:
                at += 1

    def _begin_file(self, at: int, stop: int) -> None:
        """Separate acquisitions that do not state when they began: the numbers of a new one occurred before."""
        first, last = self._identity(at), self._identity(stop - 1)
        # A page that states its beginning needs no label
        if first.acquisition[0] != self._label or first.number is None or last.number is None:
            return
        span = (first.number, last.number)
        # Spans are disjoint, so only the neighbours can overlap; comparing all would be quadratic in a loop
        place = bisect.bisect(self._spans, span)
        before, after = self._spans[max(0, place - 1) : place], self._spans[place : place + 1]
        if any(start <= span[1] and span[0] <= end for start, end in before + after):
            self._num_labels, self._spans, place = self._num_labels + 1, [], 0
            self._label, self._seen = b"#%d" % self._num_labels, (-1, Identity(None))
        self._spans.insert(place, span)

    def _length(self, at: int, first: Identity, most: int) -> int:
        """Return how many complete frames follow each other from here on."""

        def expected(count: int) -> Identity:
            return Identity(_number(first) + (count - 1) * self._step, first.acquisition)

        def page_of(count: int) -> int:
            return at + count * self._channels - 1

        def is_regular(count: int) -> bool:
            return self._identity(page_of(count)) == expected(count)

        most = min(most, self._known_length(at, first, most))
        if most < 1:
            return 0
        # Most files are whole, so a few reads decide
        if is_regular(most):
            probes = self._between(most)
            if self._identities(list(map(page_of, probes))) == list(map(expected, probes)):
                return most
        low, high = 0, 1  # all frames up to `low` are there, and one up to `high` is not
        while high < most and is_regular(high):
            low, high = high, 2 * high
        high = min(high, most)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if is_regular(middle) else (low, middle)
        return high if high == low + 1 and is_regular(high) else low

    def _known_length(self, at: int, first: Identity, most: int) -> int:
        """Return how many frames follow each other as far as the pages at hand say, which need no read."""
        for page in range(at, min(at + most * self._channels, len(self._known))):
            frame = (page - at) // self._channels
            if self._known[page] != Identity(_number(first) + frame * self._step, first.acquisition):
                return frame
        return most

    def _between(self, most: int) -> list[int]:
        counts = (most * (k + 1) // (self._probes + 1) for k in range(self._probes))
        return [count for count in dict.fromkeys(counts) if count]

    def _is_absurd(self, identity: Identity) -> bool:
        last = self._last.get(identity.acquisition, 0)
        # One damaged digit would otherwise announce millions of missing samples
        return abs(_number(identity) - last) > _MAX_GAP * self._step

    def _identity(self, page: int) -> Identity:
        if page < len(self._known):
            return self._known[page]
        # The search returns to the page it just read; the cache saves that read
        if page != self._seen[0]:
            self._seen = (page, self._labelled(self._index.descriptions([page])[0]))
        return self._seen[1]

    def _identities(self, pages: Sequence[int]) -> list[Identity]:
        """Return the identities of several pages, which are read by one call."""
        texts = self._index.descriptions([page for page in pages if page >= len(self._known)])
        return [*(self._known[page] for page in pages if page < len(self._known)), *map(self._labelled, texts)]

    def _labelled(self, description: bytes) -> Identity:
        identity = Identity.of(description, in_loop=self._in_loop)
        if self._label and not identity.acquisition[0]:
            return Identity(identity.number, (self._label, identity.acquisition[1]))
        return identity


_IN_ACQUISITION = re.compile(
    rb'(?:\A|[\r\n{,])[ \t]{0,8}"?(?:frameNumberAcquisition|Frame Number Acquisition)"?[ \t]{0,8}[=:][ \t]{0,40}(\d{1,18})\b'
)
_ACQUISITION = re.compile(
    rb'(?:\A|[\r\n{,])[ \t]{0,8}"?(?:acquisitionNumbers|Acquisition Number)"?[ \t]{0,8}[=:][ \t]{0,40}(\d{1,18})\b'
)


def _number(identity: Identity) -> int:
    return identity.number or 0


def _ordered(runs: Sequence[_Run], partial: Sequence[Identity]) -> list[Key]:
    """Return the acquisitions by the moment at which they began and their number, or as they appear where a page states none."""
    found = {identity.acquisition: identity for identity in [run.identity for run in runs] + list(partial)}
    moments = [identity.begun for identity in found.values()]
    # Some moments alone would sort the others to an arbitrary place
    if None in moments:
        return list(found)
    return sorted(found, key=lambda key: (found[key].begun or datetime.min, key[1] or 0))


def _joined(firsts: np.ndarray, stops: np.ndarray) -> range | np.ndarray:
    """Return whole numbers from several stretches."""
    some = stops > firsts
    firsts, stops = firsts[some], stops[some]
    if len(firsts) < 2:
        return range(int(firsts[0]), int(stops[0])) if len(firsts) else range(0)
    lengths = stops - firsts
    ahead = np.repeat(firsts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    numbers = ahead + np.arange(lengths.sum())
    return range(int(numbers[0]), int(numbers[-1]) + 1) if (np.diff(numbers) == 1).all() else numbers
