"""The tests that every plugin inherits: each rule of the design, on a recording that the author gives.

::

    import numpy as np
    import pytest
    from roiextractors_core.testing import ImagingExtractorTests

    class TestNpy(ImagingExtractorTests):
        format = "npy"

        @pytest.fixture
        def expected(self):
            return np.random.default_rng(1).integers(0, 4000, (64, 96, 128), dtype=np.uint16)

        @pytest.fixture
        def recording(self, tmp_path, expected):
            np.save(tmp_path / "stack.npy", expected)
            return tmp_path / "stack.npy"

        @pytest.fixture
        def expected_rate(self):
            return None

        @pytest.fixture
        def expected_times(self):
            return None
"""

from __future__ import annotations

import functools
import gc
import hashlib
import io
import itertools
import json
import logging
import os
import pickle
import random
import signal
import sys
import threading
import time
import traceback
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import pytest

import roiextractors_core as roi

from ..errors import (
    ClosedRecordingError,
    PluginError,
    RangeError,
    RangeTypeError,
    RoiExtractorsError,
    RoiExtractorsWarning,
    StreamChoiceError,
    TimesError,
    UnknownOptionError,
)
from ..imaging.extractor import ImagingExtractor
from ..metadata import ChannelMetadata, RecordingMetadata
from ..registry.evidence import Strength
from ..registry.registry import SLOW_SECONDS, PluginRecord, default_registry
from ..registry.spec import FormatSpec
from .cuts import copied, files_of, kin_of, paths_of, sizes_to_cut
from .declarations import heavy_imports, spec_faults
from .descriptors import can_tell_open_files, held_open
from .foreign import Foreign, foreign_claims, foreign_sources
from .fresh import Outcome, digest, extractor_faults, in_fresh_process, same_values, summary

__all__ = ["ImagingExtractorTests"]

_NOT_GIVEN = object()
_KIB = 1 << 10
_ATTEMPTS = 3  # other threads of the process can be measured with it: a fault shows every time
_HEADER_MEMORY = 4 << 20  # what opening may take for a while, to read a header of any format
_RANGE_ADVICE = (
    "begin get_series with `start, end = self.resolve_range(start_sample, end_sample)` and use these two alone"
)
_INDEX_ADVICE = (
    "begin get_samples with `indices = self.resolve_indices(sample_indices)`, or leave get_samples to the base class"
)
_OWNED_ADVICE = (
    "return an array of your own: numpy.array(part, dtype=self.get_dtype()) copies, makes it writable and native"
)
_CLOSED_ADVICE = (
    "call self.check_open() first in every read (resolve_range and resolve_indices do), and super().close() in close()"
)


@dataclass(frozen=True, slots=True)
class _Case:
    """The author's fixtures, checked."""

    spec: FormatSpec
    recording: Any
    expected: np.ndarray
    rate: float | None
    times: np.ndarray | None
    streams: Mapping[str, tuple[str, ...]]
    options: Mapping[str, Any]

    @property
    def count(self) -> int:
        return len(self.expected)

    @property
    def is_volumetric(self) -> bool:
        return self.expected.ndim == 4

    def open(self, recording: Any = None, **more: Any) -> ImagingExtractor:
        """Open the recording as this format; what is left out of it may be told without failing a test."""
        with _quiet():
            where = self.recording if recording is None else recording
            return roi.open(where, format=self.spec.name, **{**self.options, **more})


@dataclass(frozen=True, slots=True)
class _Size:
    """How much a recording holds, and how much of it is asked for."""

    count: int
    sample: int

    @property
    def total(self) -> int:
        return self.count * self.sample

    @property
    def few(self) -> int:
        return max(1, min(10, self.count // 16))

    @property
    def memory(self) -> int:
        """The most bytes that a read of few samples may take."""
        return 3 * self.few * self.sample + 96 * _KIB + 512 * self.count

    def reads(self, opened: ImagingExtractor) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield ways to ask for few samples, in words and as calls."""
        at, few, last = self.count // 2, self.few, self.count - 1
        yield f"get_series({at}, {at + few})", lambda: opened.get_series(at, at + few)
        yield f"get_samples([0, {last}])", lambda: opened.get_samples([0, last])
        yield f"recording[{at}:{at + few}]", lambda: opened[at : at + few]
        yield f"slice_samples({at}).get_series(0, {few})", lambda: opened.slice_samples(at).get_series(0, few)

    def __str__(self) -> str:
        asked = f"{self.few} of the {self.count:,} samples are {self.few * self.sample:,} bytes"
        return f"{asked}, all are {self.total:,}"


class ImagingExtractorTests:
    """Inherit, name the format, give the fixtures: every rule of the design is then a test.

    Attributes
    ----------
    format : str
        The registered name of the format.
    open_options : mapping
        What ``open`` needs to give ``expected``: ``{"channel": "2"}``.
    claims : tuple of str
        Names or families of the kit's foreign files that are this format indeed: ``("tiff",)`` for a
        general TIFF format.  Empty for most.
    counts_samples : bool
        False where nothing in a recording says how many samples it holds, as with raw frames; then a recording that
        was cut at the end of a sample cannot be told from a shorter one.
    frames_lie_together : bool
        False for a recording whose time varies fastest, so that a frame is spread over the whole file.
    patience : float
        Seconds after which opening the cut copies counts as a hang.
    """

    format: str = ""
    open_options: Mapping[str, Any] = MappingProxyType({})
    claims: tuple[str, ...] = ()
    counts_samples: bool = True
    frames_lie_together: bool = True
    patience: float = 30.0

    # What the author gives

    @pytest.fixture
    def recording(self) -> Any:
        """The path of a recording (or the list of its files), made by other means than the extractor."""
        return _NOT_GIVEN

    @pytest.fixture
    def expected(self) -> Any:
        """What the recording holds: ``(samples, rows, columns)``, volumetric ``(samples, rows, columns, planes)``."""
        return _NOT_GIVEN

    @pytest.fixture
    def expected_rate(self) -> Any:
        """The rate in samples a second (Hz) that the file tells, or None."""
        return _NOT_GIVEN

    @pytest.fixture
    def expected_times(self) -> Any:
        """The hardware's own times, seconds, one a sample; None when the format has none."""
        return _NOT_GIVEN

    @pytest.fixture
    def expected_streams(self) -> Any:
        """What can be chosen inside the recording: ``{"channel": ("1", "2")}``; nothing when left out."""
        return {}

    @pytest.fixture
    def large_recording(self) -> Any:
        """A recording of 1 MiB or more for the test of memory; ``recording`` is used when left out."""
        return None

    @pytest.fixture
    def case(
        self, recording: Any, expected: Any, expected_rate: Any, expected_times: Any, expected_streams: Any
    ) -> Any:
        """What the author gave; the tests are skipped where it is not enough, and another test says so."""
        missing = _missing(recording=recording, expected=expected, expected_rate=expected_rate)
        if missing:
            pytest.skip(f"{', '.join(missing)} not given: see test_the_author_gives_every_fixture")
        if not isinstance(expected, np.ndarray) or expected.ndim not in (3, 4) or len(expected) < 3:
            pytest.skip("`expected` is no array of samples: see test_expected_can_tell_mistakes_apart")
        spec = default_registry().get(self.format)
        if spec is None:
            pytest.skip(f"{self.format!r} is no format: see test_the_format_is_registered")
        times = None if expected_times is _NOT_GIVEN or expected_times is None else np.asarray(expected_times)
        return _Case(spec, recording, expected, expected_rate, times, expected_streams, self.open_options)

    @pytest.fixture
    def extractor(self, case: _Case) -> Iterator[ImagingExtractor]:
        """The recording, opened; closed after the test."""
        try:
            opened = case.open()
        except Exception as error:  # noqa: BLE001 - the border to the plugin
            pytest.fail(f"it does not open ({type(error).__name__}): see test_the_recording_opens", pytrace=False)
        yield opened
        opened.close()

    @pytest.fixture
    def workplace(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder of the kit's own, apart from the author's ``tmp_path``."""
        return tmp_path_factory.mktemp("conformance")

    # What the author said

    def test_the_author_gives_every_fixture(
        self, recording: Any, expected: Any, expected_rate: Any, expected_times: Any, expected_streams: Any
    ) -> None:
        missing = _missing(
            recording=recording, expected=expected, expected_rate=expected_rate, expected_times=expected_times
        )
        if missing:
            _fail(
                f"{type(self).__name__} does not say: {', '.join(missing)}",
                "write a @pytest.fixture of each name"
                + (
                    "; expected_times returns the hardware's own times in seconds, or None when the format has no clock of its own"
                    if "expected_times" in missing
                    else ""
                ),
            )
        paths_of(recording)
        if expected_rate is not None and not (isinstance(expected_rate, int | float) and expected_rate > 0):
            _fail(f"expected_rate is {expected_rate!r}", "give the samples a second in Hz, or None")
        if expected_times is not None and np.shape(expected_times) != (len(expected),):
            _fail(
                f"expected_times has shape {np.shape(expected_times)}, and expected holds {len(expected)} samples",
                "give one time in seconds for each sample",
            )
        if not isinstance(expected_streams, Mapping):
            _fail(f"expected_streams is {expected_streams!r}", "give a dictionary such as {'channel': ('1', '2')}")

    def test_expected_can_tell_mistakes_apart(self, expected: Any) -> None:
        if expected is _NOT_GIVEN:
            pytest.skip("expected not given: see test_the_author_gives_every_fixture")
        if not isinstance(expected, np.ndarray) or expected.ndim not in (3, 4) or expected.dtype.kind not in "biufc":
            _fail(
                f"`expected` is {type(expected).__name__} of shape {np.shape(expected)}",
                "give a numpy array of numbers, (samples, rows, columns) or (samples, rows, columns, planes)",
            )
        if len(expected) < 3:
            _fail(f"`expected` holds {len(expected)} samples", "make a recording of at least 3, better 30")
        if all(np.array_equal(expected[0], sample) for sample in expected[1:]):
            _fail("all samples of `expected` are equal", "give samples that differ, or mixing them up goes unseen")
        rows, columns = expected.shape[1:3]
        if rows == columns and all(np.array_equal(s, np.swapaxes(s, 0, 1)) for s in expected[:3]):
            _fail("the samples of `expected` are symmetric", "give rows and columns that differ, or a swap goes unseen")

    def test_the_format_is_registered(self) -> None:
        if not self.format:
            _fail(f"{type(self).__name__} names no format", 'write `format = "<the name in your FormatSpec>"` in it')
        registry = default_registry()
        if registry.get(self.format) is None:
            aside = "; ".join(f"{r.name}: {r.reason}" for r in registry.plugins() if r.status != "ok")
            names = ", ".join(spec.name for spec in registry.formats())
            _fail(
                f"no format {self.format!r} is registered; the formats are {names}. Set aside: {aside or 'no plugin'}",
                "mend what the reason says; or install the plugin (python -m pip install -e .), whose pyproject.toml names "
                "the entry point in [project.entry-points.roiextractors_core]",
            )

    # What the plugin declares

    def test_the_declaration_is_valid(self, case: _Case) -> None:
        faults = list(spec_faults(case.spec, default_registry()))
        if faults:
            _fail("; ".join(faults), "change the FormatSpec in hooks.py")

    def test_the_extractor_class_is_whole(self, case: _Case) -> None:
        faults = list(extractor_faults(case.spec))
        if faults:
            _fail("; ".join(faults), "change the class, or the name in FormatSpec(extractor=...)")

    def test_declaring_imports_the_core_and_nothing_else(self, case: _Case) -> None:
        module = _hooks_module(case.spec.name)
        if module is None:
            pytest.skip("the format was registered in code, so that there is no hooks.py to look at")
        outcome = _declared_afresh(module, tuple(sys.path))
        if outcome.timed_out or outcome.failure or outcome.last.get("reason"):
            _fail(
                f"importing {module} in a fresh process failed: {outcome.last.get('reason') or outcome.failure or 'it hangs'}",
                "mend hooks.py",
            )
        if outcome.last["seconds"] > SLOW_SECONDS:
            _fail(
                f"importing {module} took {outcome.last['seconds']:.1f} s, and would in every session of everybody",
                "let hooks.py declare, and do nothing else",
            )
        heavy = heavy_imports(module, outcome.last["imports"], outcome.last["modules"])
        if heavy:
            _fail(
                "; ".join(heavy),
                "let hooks.py import roiextractors_core and the standard library alone, and the package's __init__.py nothing: "
                "the extractor is named as a string and imported when its format was chosen",
            )

    def test_the_declaration_agrees_with_the_recording(self, case: _Case, extractor: ImagingExtractor) -> None:
        spec, wrong = case.spec, []
        if case.times is not None and spec.clock != "native":
            wrong.append(
                f"the recording holds native times, and clock={spec.clock!r} is declared: write clock='native'"
            )
        if case.rate is not None and spec.clock == "none":
            wrong.append("the recording tells its rate, and clock='none' is declared: write clock='rate'")
        undeclared = sorted(set(case.streams) - set(spec.streams))
        if undeclared:
            wrong.append(f"the recording offers the streams {undeclared}: name them in streams=")
        filled = [name for name in _METADATA_FIELDS if _is_filled(getattr(extractor.metadata, name))]
        unnamed = sorted(set(filled) - set(spec.metadata) - {"vendor"})
        if unnamed:
            wrong.append(f"the metadata holds {', '.join(unnamed)}: name it in metadata=")
        if wrong:
            _fail("; ".join(wrong), "the list of formats is made from the FormatSpec in hooks.py; change it there")

    # Finding and opening

    def test_the_recording_opens(self, case: _Case) -> None:
        for attempt in ("", " a second time"):
            try:
                opened = case.open()
            except Exception as error:  # noqa: BLE001 - the border to the plugin
                cause = error.__cause__ or error
                _fail(
                    f"roi.open({_shown(case)}) raised{attempt} {type(error).__name__}: {error}",
                    f"mend {case.spec.extractor}" if cause is error else f"mend {case.spec.extractor}: {cause!r}",
                )
            opened.close()

    def test_the_format_is_found_without_being_named(self, case: _Case) -> None:
        found = roi.explain(case.recording)
        if found.best is None or found.best.spec.name != case.spec.name:
            seen = "nothing" if found.best is None else found.best.spec.name
            _fail(
                f"roi.open would take {seen} for this recording, and not {case.spec.name}:\n{found}",
                "change evidence= or extensions= in FormatSpec; specializes=(...) lets a format come before a more general one",
            )
        with _quiet(), roi.open(case.recording, **case.options) as opened:
            _same(opened.get_series(), case.expected, "roi.open(recording) without format=", "mend the extractor")

    def test_a_suffix_in_capitals_is_the_same_suffix(self, case: _Case, workplace: Path) -> None:
        copy = copied(case.recording, workplace / "copy", rename=lambda name: _with_suffix(name, case.spec, str.upper))
        _require_found(case, copy, "its suffix in capitals", "compare suffixes in lower case, in the extractor as well")

    @pytest.mark.parametrize("suffix", ["", ".unknown"], ids=["without_suffix", "with_another_suffix"])
    def test_the_content_is_recognised(self, case: _Case, workplace: Path, suffix: str) -> None:
        best = roi.explain(case.recording).best
        if case.spec.evidence is None or not case.spec.evidence.has_content():
            pytest.skip("the format declares no content evidence: its suffix decides")
        if best is None or best.finding.strength is not Strength.CONTENT:
            pytest.skip("this recording is recognised by its neighbours, and not by its content")
        copy = copied(case.recording, workplace / "copy", rename=lambda n: _with_suffix(n, case.spec, lambda _: suffix))
        words = f"the suffix {suffix}" if suffix else "no suffix"
        _require_found(
            case, copy, words, "leave the name out of the evidence, and let the extractor open what it is given"
        )

    def test_foreign_files_are_not_claimed(self, case: _Case, workplace: Path) -> None:
        sources = [foreign for foreign in foreign_sources() if isinstance(foreign.content, bytes)]
        self._require_no_claims(case.spec, workplace, [*sources, *_quoting(case.recording)])

    def test_foreign_folders_are_not_claimed(self, case: _Case, workplace: Path) -> None:
        sources = [foreign for foreign in foreign_sources() if not isinstance(foreign.content, bytes)]
        self._require_no_claims(case.spec, workplace, sources)

    def _require_no_claims(self, spec: FormatSpec, workplace: Path, sources: Iterable[Foreign]) -> None:
        found = foreign_claims(spec, workplace, own=self.claims, sources=sources)
        if found:
            names = ", ".join(repr(name) for name in dict.fromkeys(claim.foreign.family for claim in found))
            _fail(
                f"{spec.name} claims what belongs to others:\n  " + "\n  ".join(map(str, found)),
                f"narrow evidence= in FormatSpec, or, where these are this format indeed, write claims = ({names},) in the test class",
            )

    def test_what_is_another_format_is_refused_in_words(self, case: _Case, workplace: Path) -> None:
        by_content = case.spec.evidence is not None and case.spec.evidence.has_content()
        advice = "look at the signature, and at every number that the constructor takes from the file, before using it"
        for foreign in foreign_sources():
            if foreign.name in self.claims or foreign.family in self.claims:
                continue
            path = foreign.write(workplace, "" if isinstance(foreign.content, Mapping) else _suffix_of(case))
            words = f"open(a {foreign.family} file of the kit, {foreign.name!r}, format={case.spec.name!r})"
            try:
                _within(self.patience, functools.partial(_opened_and_read, case, path), words)
            except PluginError as error:
                _fail(f"{words} raised {error.__cause__!r}, which is no clear error", advice)
            except RoiExtractorsError:
                continue
            except Exception as error:  # noqa: BLE001 - the border to the plugin
                _fail(f"{words} raised {type(error).__name__}: {error}, which is no error of this library", advice)
            if by_content:
                _fail(f"{words} was not refused: CorruptRecordingError or UnsupportedRecordingError is due", advice)

    def test_a_path_may_be_text_and_hold_any_letters(self, case: _Case, workplace: Path) -> None:
        copy = copied(
            case.recording, workplace / "mouse [1] * Größe" if os.sep == "/" else workplace / "mouse [1] Größe"
        )
        advice = "take str and os.PathLike; escape names for glob (glob.escape), or list the folder"
        for given in (copy, _as_text(copy)):
            words = f"open({given!r:.200})"
            try:
                with _quiet(), roi.open(given, **case.options) as opened:
                    series = opened.get_series()
            except Exception as error:  # noqa: BLE001 - the border to the plugin
                _fail(f"{words} raised {type(error).__name__}: {error}", advice)
            _same(series, case.expected, words, advice)

    def test_looking_runs_no_extractor(self, case: _Case, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        kind = case.spec.load()
        monkeypatch.setattr(kind, "__init__", _noting(kind.__init__, asked, "__init__"))
        grown = min(_bytes_of_ten([lambda: roi.explain(case.recording)]) // 10 for _ in range(_ATTEMPTS))
        total = sum(path.stat().st_size for path in files_of(case.recording))
        advice = "let the probe look at bounded parts of the Source that it is given (source.head, source.read_at)"
        if asked:
            _fail("roi.explain made an extractor", advice)
        if grown > max(128 * _KIB, total // 2):
            _fail(f"roi.explain read {grown:,} bytes of a recording of {total:,}", advice)

    def test_an_unknown_option_is_refused(self, case: _Case) -> None:
        with _refusal(
            (UnknownOptionError,), "open(..., no_such_option=1)", "name the constructor's options one by one"
        ):
            case.open(no_such_option=1).close()

    # Streams

    def test_the_streams_are_those_of_the_recording(self, case: _Case) -> None:
        seen = roi.streams(case.recording, format=case.spec.name)
        wanted = {str(option): tuple(map(str, choices)) for option, choices in case.streams.items()}
        if seen != wanted:
            _fail(
                f"roi.streams gives {seen}, and expected_streams {wanted}",
                "mend the classmethod get_streams, or the fixture expected_streams",
            )

    def test_every_stream_can_be_opened(self, case: _Case) -> None:
        if not case.streams:
            pytest.skip("there is nothing to choose in this recording: expected_streams is empty")
        for option, choices in case.streams.items():
            for choice in choices:
                try:
                    with case.open(**{option: choice}) as opened:
                        opened.get_series(0, min(1, len(opened)))
                except Exception as error:  # noqa: BLE001 - the border to the plugin
                    _fail(
                        f"get_streams lists {option}={choice!r}, and open(..., {option}={choice!r}) raised {type(error).__name__}: {error}",
                        "let the constructor take every name that get_streams gives, as text",
                    )

    def test_another_choice_gives_other_pixels(self, case: _Case) -> None:
        if not any(len(choices) > 1 for choices in case.streams.values()):
            pytest.skip("there is nothing to choose in this recording: expected_streams names no several")
        for option, choices in case.streams.items():
            seen: dict[str, str] = {}
            for choice in choices:
                with case.open(**{option: choice}) as opened:
                    pixels = digest(opened.get_series())
                if pixels in seen:
                    _fail(
                        f"open(..., {option}={seen[pixels]!r}) and open(..., {option}={choice!r}) gave the same pixels",
                        f"read the {option} that was chosen; or, where the recording holds the same twice, record two that differ",
                    )
                seen[pixels] = choice

    def test_of_several_channels_one_must_be_chosen(self, case: _Case) -> None:
        channels = case.streams.get("channel", ())
        if len(channels) < 2:
            pytest.skip("the recording holds one channel: expected_streams names no several")
        others = {key: value for key, value in case.options.items() if key != "channel"}
        advice = 'raise StreamChoiceError.for_option(name, "channel", choices) when none was named'
        with _refusal((StreamChoiceError,), "opening without channel=", advice) as caught:
            with _quiet():
                roi.open(case.recording, format=case.spec.name, **others).close()
        error = caught[0]
        if isinstance(error, StreamChoiceError) and (error.option != "channel" or tuple(error.choices) != channels):
            _fail(f"the error offers {error.option!r}: {error.choices}, and not 'channel': {channels}", advice)

    def test_an_unknown_stream_is_refused(self, case: _Case) -> None:
        if not case.streams:
            pytest.skip("there is nothing to choose in this recording: expected_streams is empty")
        for option in case.streams:
            advice = f'raise StreamChoiceError.for_option(name, "{option}", choices, seen={option})'
            with _refusal((StreamChoiceError,), f"open(..., {option}='no such one')", advice):
                case.open(**{option: "no such one"}).close()

    # Shape and type

    def test_the_shape_is_samples_rows_columns_planes(self, case: _Case, extractor: ImagingExtractor) -> None:
        shape = case.expected.shape
        planes = shape[3] if case.is_volumetric else 1
        wanted = {
            "shape": shape,
            "ndim": len(shape),
            "len": shape[0],
            "get_num_samples": shape[0],
            "get_image_shape": shape[1:3],
            "get_frame_shape": shape[1:3],
            "get_sample_shape": shape[1:],
            "get_volume_shape": (*shape[1:3], planes),
            "get_num_planes": planes,
            "is_volumetric": case.is_volumetric,
        }
        for name, value in wanted.items():
            seen = len(extractor) if name == "len" else getattr(extractor, name)
            seen = seen() if callable(seen) else seen
            numbers = seen if isinstance(seen, tuple | list) else (seen,)
            if not all(isinstance(number, int | np.integer) for number in numbers):
                _fail(f"{name} is {seen!r}, and holds what is no whole number", "return int")
            if (tuple(numbers) if isinstance(value, tuple) else seen) != value:
                _fail(
                    f"{name} is {seen!r}, and `expected` has {value!r}",
                    "rows come before columns, planes last; a volumetric format sets self.is_volumetric = True and overrides get_num_planes",
                )

    def test_the_dtype_is_that_of_the_samples_in_native_byte_order(
        self, case: _Case, extractor: ImagingExtractor
    ) -> None:
        seen = extractor.get_dtype()
        if not isinstance(seen, np.dtype) or not seen.isnative:
            _fail(f"get_dtype() is {seen!r}", 'return numpy.dtype(...).newbyteorder("=")')
        for words, result in _routes(extractor):
            if result.dtype != seen:
                _fail(f"get_dtype() is {seen}, and {words} has {result.dtype}", "return one dtype from every read")
        if seen != case.expected.dtype.newbyteorder("="):
            _fail(f"get_dtype() is {seen}, and `expected` has {case.expected.dtype}", "return the samples as recorded")

    def test_dtype_shape_and_repr_read_no_pixels(
        self, case: _Case, extractor: ImagingExtractor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        for name in ("get_series", "get_samples", "get_block"):
            monkeypatch.setattr(type(extractor), name, _noting(getattr(type(extractor), name), asked, name))
        reads = (extractor.get_dtype, lambda: extractor.shape, lambda: repr(extractor), lambda: extractor.nbytes)
        grown, frame = min(_bytes_of_ten(reads) for _ in range(_ATTEMPTS)), case.expected[0].nbytes
        if asked:
            _fail(
                f"get_dtype, shape or repr call {asked[0]}",
                "override get_dtype (and get_num_planes when volumetric) with what the header says",
            )
        if (grown >= frame >= 16 * _KIB) or grown >= max(40 * frame, 64 * _KIB):
            _fail(
                f"get_dtype, shape and repr, ten times each, read {grown:,} bytes from the disk",
                "keep what the header says in the constructor, and answer from there",
            )

    # Ranges

    def test_the_whole_series_is_what_was_recorded(self, case: _Case, extractor: ImagingExtractor) -> None:
        _same(extractor.get_series(), case.expected, "get_series()", "mend get_series")
        _same(np.asarray(extractor), case.expected, "numpy.asarray(recording)", "mend get_series")

    def test_the_end_of_a_range_is_exclusive(self, case: _Case, extractor: ImagingExtractor) -> None:
        n = case.count
        for a, b in ((0, 1), (0, n), (1, 2), (1, n), (n - 1, n), (n // 2, n), (0, n - 1), (n // 3, n // 3 + 1)):
            _same(extractor.get_series(a, b), case.expected[a:b], f"get_series({a}, {b})", _RANGE_ADVICE)
            seen = extractor.get_series(start_sample=a, end_sample=b)
            _same(seen, case.expected[a:b], f"get_series(start_sample={a}, end_sample={b})", _RANGE_ADVICE)
        rng = random.Random(3)
        for _ in range(60):
            a, b = sorted((rng.randint(0, n), rng.randint(0, n)))
            _same(extractor.get_series(a, b), case.expected[a:b], f"get_series({a}, {b})", "mend get_series")

    def test_none_means_the_whole(self, case: _Case, extractor: ImagingExtractor) -> None:
        _same(extractor.get_series(None, None), case.expected, "get_series(None, None)", _RANGE_ADVICE)
        _same(extractor.get_series(None, 2), case.expected[:2], "get_series(None, 2)", _RANGE_ADVICE)
        _same(extractor.get_series(2, None), case.expected[2:], "get_series(2, None)", _RANGE_ADVICE)
        _same(extractor.get_series(end_sample=1), case.expected[:1], "get_series(end_sample=1)", _RANGE_ADVICE)

    def test_zero_means_zero(self, case: _Case, extractor: ImagingExtractor) -> None:
        _same(extractor.get_series(0, 0), case.expected[:0], "get_series(0, 0)", _RANGE_ADVICE)
        _same(extractor.get_series(None, 0), case.expected[:0], "get_series(None, 0)", _RANGE_ADVICE)
        _same(extractor.get_series(end_sample=0), case.expected[:0], "get_series(end_sample=0)", _RANGE_ADVICE)

    def test_an_empty_range_keeps_shape_and_dtype(self, case: _Case, extractor: ImagingExtractor) -> None:
        n = case.count
        for words, seen in (
            *((f"get_series({k}, {k})", extractor.get_series(k, k)) for k in (0, 1, n - 1, n)),
            (f"get_series({n})", extractor.get_series(n)),
            ("get_samples([])", extractor.get_samples([])),
            ("recording[1:1]", extractor[1:1]),
            ("slice_samples(1, 1).get_series()", extractor.slice_samples(1, 1).get_series()),
        ):
            if seen.shape != (0, *case.expected.shape[1:]) or seen.dtype != extractor.get_dtype():
                _fail(
                    f"{words} gave shape {seen.shape} of {seen.dtype}, and not {(0, *case.expected.shape[1:])} of {extractor.get_dtype()}",
                    "return numpy.empty((0, *self.get_sample_shape()), self.get_dtype()) for an empty range",
                )

    def test_a_range_outside_is_refused(self, case: _Case, extractor: ImagingExtractor) -> None:
        n = case.count
        pairs = ((0, n + 1), (n, n + 1), (n + 1, n + 1), (n + 5, None), (None, n + 1000), (1, 2**63), (2**40, None))
        self._require_refused_ranges(case, extractor, pairs)

    def test_a_reversed_range_is_refused(self, case: _Case, extractor: ImagingExtractor) -> None:
        n = case.count
        self._require_refused_ranges(case, extractor, ((2, 1), (n, 0), (n, n - 1), (1, 0)))

    def test_a_negative_range_is_refused(self, case: _Case, extractor: ImagingExtractor) -> None:
        n = case.count
        pairs = (
            (-1, None),
            (None, -1),
            (0, -1),
            (-2, -1),
            (-n, n),
            (-n - 1, 0),
            (np.int64(-1), None),
            (1, np.int8(-1)),
        )
        self._require_refused_ranges(case, extractor, pairs)

    def _require_refused_ranges(self, case: _Case, extractor: ImagingExtractor, pairs: Iterable[Any]) -> None:
        for a, b in pairs:
            words = f"get_series({a!r}, {b!r}) of {case.count} samples"
            with _refusal((RangeError,), words, _RANGE_ADVICE) as caught:
                extractor.get_series(a, b)
            said = str(caught[0]).replace(",", "").replace("_", "")
            lacking = [str(x) for x in (a, b, case.count) if x is not None and str(int(x)) not in said]
            if lacking:
                _fail(
                    f"the error of {words} does not say {', '.join(lacking)}: {caught[0]}",
                    f"state the range and the number of samples; {_RANGE_ADVICE}",
                )
            if isinstance(a, int) and isinstance(b, int):
                with _refusal((RangeError,), f"get_timestamps({a}, {b})", "leave get_timestamps to the base class"):
                    extractor.get_timestamps(a, b)

    def test_numpy_integers_are_integers(self, case: _Case, extractor: ImagingExtractor) -> None:
        top = min(case.count, 100)
        for kind in (np.int64, np.int32, np.uint8, np.uint16, np.uint64, np.int8):
            for first, end in ((1, top), (top - 1, top)):
                a: Any = kind(first)
                b: Any = kind(end)
                seen = extractor.get_series(a, b)
                _same(seen, case.expected[first:end], f"get_series({a!r}, {b!r})", _RANGE_ADVICE)
            if kind is not np.int8:
                chosen = np.array([top - 1, 0, top - 1], kind)
                wanted = case.expected[[top - 1, 0, top - 1]]
                _same(extractor.get_samples(chosen), wanted, f"get_samples of {kind.__name__}", _INDEX_ADVICE)

    def test_what_is_no_integer_is_refused(self, case: _Case, extractor: ImagingExtractor) -> None:
        values: tuple[Any, ...] = (1.0, 1.5, np.float64(1), "1", [1], float("nan"))
        for value in values:
            for a, b in ((value, None), (None, value), (0, value)):
                with _refusal((RangeTypeError,), f"get_series({a!r}, {b!r})", _RANGE_ADVICE):
                    extractor.get_series(a, b)
        for indices in ([0.0, 1.0], [0.5], np.array([1.0]), "1", ["0"]):
            with _refusal((RangeTypeError,), f"get_samples({indices!r})", _INDEX_ADVICE):
                extractor.get_samples(indices)

    # Samples by index

    def test_samples_come_in_any_order_and_as_often_as_asked(self, case: _Case, extractor: ImagingExtractor) -> None:
        n = case.count
        rng = random.Random(5)
        orders: list[Any] = [
            [0],
            [n - 1, 0],
            list(range(n))[::-1],
            [1, 1, 0, 1],
            [0, n - 1, 0, n - 1],
            [0, 2],
            [0, 1],
            [1, 2],
            list(range(n)),
            list(range(n - 2, n)),
            [rng.randrange(n) for _ in range(2 * n)],
            range(0, n, 2),
            (1, 0),
            np.array([2, 0, 1], np.uint8),
            np.array([2, 0, 1], np.int64),
            np.array([n - 1, 1, 1, 0], np.int64),
        ]
        for order in orders:
            wanted = case.expected[np.asarray(list(order), np.int64)]
            words = f"get_samples({order if len(order) < 8 else [*list(order)[:6], '...']})"
            given = order.copy() if isinstance(order, list | np.ndarray) else order
            _same(extractor.get_samples(given), wanted, words, _INDEX_ADVICE)
            if not np.array_equal(given, order):
                _fail(f"{words} changed the indices that it was given", "sort a copy of the indices")
            if isinstance(given, np.ndarray):
                given.flags.writeable = False
                _same(extractor.get_samples(given), wanted, f"{words}, the array read-only,", _INDEX_ADVICE)

    def test_one_index_is_a_series_of_one(self, case: _Case, extractor: ImagingExtractor) -> None:
        for index in (1, np.int64(1)):
            _same(extractor.get_samples(index), case.expected[1:2], f"get_samples({index!r})", _INDEX_ADVICE)

    def test_a_sample_outside_is_refused(self, case: _Case, extractor: ImagingExtractor) -> None:
        n = case.count
        for indices in ([-1], [n], [0, n], [-n], [0, -1, 1], [2**40], np.array([n], np.uint64), -1):
            words = f"get_samples({indices!r}) of {n} samples"
            with _refusal((RangeError,), words, _INDEX_ADVICE) as caught:
                extractor.get_samples(indices)
            if str(n) not in str(caught[0]).replace(",", ""):
                _fail(f"the error of {words} does not say how many samples there are: {caught[0]}", _INDEX_ADVICE)

    # Results

    def test_results_are_writable_arrays_in_native_byte_order(self, extractor: ImagingExtractor) -> None:
        for words, result in _routes(extractor):
            if type(result) is not np.ndarray:
                _fail(f"{words} gave {type(result).__name__}, and not a plain numpy.ndarray", _OWNED_ADVICE)
            if not result.flags.writeable:
                _fail(f"{words} gave a read-only array", _OWNED_ADVICE)
            if not result.dtype.isnative:
                _fail(f"{words} gave {result.dtype.str}, the byte order of another machine", _OWNED_ADVICE)
            if _is_mapped(result):
                _fail(f"{words} gave a window onto a memory-mapped file", _OWNED_ADVICE)

    def test_a_later_read_does_not_change_an_earlier_result(self, case: _Case, extractor: ImagingExtractor) -> None:
        held = [(words, result, result.copy()) for words, result in _routes(extractor)]
        for k in range(case.count - 1, -1, -1):
            extractor.get_series(k, k + 1)
            extractor.get_samples([k, 0])
        for words, result, copy in held:
            _same(result, copy, f"the result of {words}, after other reads,", _OWNED_ADVICE)
        for (words, first, _), (other, second, _) in itertools.combinations(held, 2):
            if np.may_share_memory(first, second):
                _fail(f"the results of {words} and {other} share their memory", _OWNED_ADVICE)

    def test_the_same_question_gets_an_array_of_its_own_each_time(
        self, case: _Case, extractor: ImagingExtractor
    ) -> None:
        for words, ask in _questions(case, extractor):
            first, second = ask(), ask()
            if np.may_share_memory(first, second):
                _fail(f"{words}, asked twice, gave the same memory twice", _OWNED_ADVICE)
            if not first.flags.writeable:
                _fail(f"{words} gave a read-only array", _OWNED_ADVICE)
            kept = first.copy()
            first[...] = 1
            _same(second, kept, f"{words}, after an earlier result of it was written into,", _OWNED_ADVICE)
            _same(ask(), kept, f"{words}, after an earlier result of it was written into,", _OWNED_ADVICE)

    # Indexing and views

    def test_it_is_indexed_as_an_array(self, case: _Case, extractor: ImagingExtractor) -> None:
        for key in _keys(case.expected.shape):
            _same(
                np.asarray(extractor[key]),
                np.asarray(case.expected[key]),
                f"recording[{_key_words(key)}]",
                "mend get_block: it gets samples as a slice or int64 indices, and rows, columns and planes as slices",
            )

    def test_it_is_walked_through_sample_by_sample(self, case: _Case, extractor: ImagingExtractor) -> None:
        count = 0
        for count, (seen, wanted) in enumerate(zip(extractor, case.expected, strict=False), 1):
            _same(seen, wanted, f"sample {count - 1} of `for sample in recording`", "mend get_block")
        if count != case.count or sum(1 for _ in extractor.slice_samples(1)) != case.count - 1:
            _fail(
                f"`for sample in recording` gives another number of samples than {case.count}", "leave __iter__ alone"
            )

    def test_a_block_is_the_part_that_was_asked_for(self, case: _Case, extractor: ImagingExtractor) -> None:
        n, rows, columns = case.expected.shape[:3]
        row_parts = (slice(0, rows), slice(rows // 3, rows - rows // 4), slice(0, 0))
        column_parts = (slice(0, columns), slice(columns // 4, columns - columns // 3))
        plane_parts: tuple[slice | None, ...] = (None,)
        if case.is_volumetric:
            planes = case.expected.shape[3]
            plane_parts = (slice(0, planes), slice(planes // 2, planes), slice(0, max(1, planes - 1)))
        choices: tuple[Any, ...] = (slice(0, n), slice(1, 2), slice(1, 1), np.array([n - 1, 0, 0, 1], np.int64))
        for samples in choices:
            for r in row_parts:
                for c in column_parts:
                    for p in plane_parts:
                        key = (samples, r, c) if p is None else (samples, r, c, p)
                        given = samples.copy() if isinstance(samples, np.ndarray) else samples
                        seen = extractor.get_block(given, r, c, p)
                        advice = "mend get_block, or leave it to the base class"
                        if isinstance(given, np.ndarray) and not np.array_equal(given, samples):
                            _fail("get_block changed the array of indices that it was given", "sort a copy of it")
                        _same(seen, case.expected[key], f"get_block({_key_words(key)})", advice)
                        if not seen.flags.writeable or not seen.dtype.isnative:
                            _fail(f"get_block({_key_words(key)}) gave a read-only or foreign array", _OWNED_ADVICE)

    def test_a_slice_of_samples_is_the_same_data(self, case: _Case, extractor: ImagingExtractor) -> None:
        n = case.count
        for a, b in ((0, n), (1, n), (0, n - 1), (1, n - 1), (n, n), (n - 1, n)):
            view = extractor.slice_samples(a, b)
            words = f"slice_samples({a}, {b})"
            _same(
                view.get_series(), case.expected[a:b], f"{words}.get_series()", "leave slice_samples to the base class"
            )
            if b - a > 1:
                _same(view.get_samples([1, 0]), case.expected[[a + 1, a]], f"{words}.get_samples([1, 0])", "the same")

    def test_views_of_views_compose(self, case: _Case, extractor: ImagingExtractor) -> None:
        n, rows, columns = case.expected.shape[:3]
        top, left = rows // 3, columns // 4
        view: ImagingExtractor = extractor.slice_samples(1, n)
        wanted = case.expected[1:n]
        steps: list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = [
            (
                f"slice_field_of_view({top}, {rows}, {left}, {columns})",
                lambda v: v.slice_field_of_view(top, rows, left, columns),
                lambda w: w[:, top:rows, left:columns],
            ),
            (f"slice_samples(0, {n - 2})", lambda v: v.slice_samples(0, n - 2), lambda w: w[: n - 2]),
            ("slice_field_of_view(0, 1)", lambda v: v.slice_field_of_view(0, 1), lambda w: w[:, 0:1]),
        ]
        if case.is_volumetric:
            plane = case.expected.shape[3] - 1
            steps.insert(2, (f"select_plane({plane})", lambda v: v.select_plane(plane), lambda w: w[..., plane]))
        words = f"slice_samples(1, {n})"
        for said, narrow, cut in steps:
            words, view, wanted = f"{words}.{said}", narrow(view), cut(wanted)
            advice = "mend get_block: views read through it"
            _same(view.get_series(), wanted, f"{words}.get_series()", advice)
            _same(np.asarray(view[...]), wanted, f"{words}[...]", advice)
            _same(view.get_samples([0]), wanted[[0]], f"{words}.get_samples([0])", advice)

    def test_a_field_of_view_outside_the_frame_is_refused(self, case: _Case, extractor: ImagingExtractor) -> None:
        rows, columns = case.expected.shape[1:3]
        for bounds in ((0, rows + 1), (None, None, 0, columns + 1), (1, 0), (-1, rows), (0, 0)):
            with _refusal((RangeError,), f"slice_field_of_view{bounds}", "leave the views to the base class"):
                extractor.slice_field_of_view(*bounds)

    def test_a_plane_is_what_was_recorded(self, case: _Case, extractor: ImagingExtractor) -> None:
        if not case.is_volumetric:
            with _refusal((RangeError,), "select_plane(0) of a planar recording", "set self.is_volumetric to False"):
                extractor.select_plane(0)
            pytest.skip("the recording is planar: `expected` has three dimensions")
        planes = case.expected.shape[3]
        for k in range(planes):
            view = extractor.select_plane(k)
            _same(view.get_series(), case.expected[..., k], f"select_plane({k}).get_series()", "mend get_block")
        for k in (planes, -1):
            with _refusal((RangeError,), f"select_plane({k})", "leave select_plane to the base class"):
                extractor.select_plane(k)

    def test_parts_are_joined_again(self, case: _Case, extractor: ImagingExtractor) -> None:
        parts = [extractor.slice_samples(0, 1), extractor.slice_samples(1)]
        for part in parts:
            if extractor.times_source is None:
                part.set_times(np.arange(len(part), dtype=np.float64))
        with _quiet():
            joined = roi.concatenate(parts)
        _same(joined.get_series(), case.expected, "concatenate([first, rest]).get_series()", "mend get_series")
        _same(
            joined[1:, 1:, :-1], case.expected[1:, 1:, :-1], "concatenate([first, rest])[1:, 1:, :-1]", "mend get_block"
        )

    # Clock

    def test_the_rate_is_the_files_own(self, case: _Case, extractor: ImagingExtractor) -> None:
        seen = extractor.get_sampling_frequency()
        if seen is not None and not isinstance(seen, float):
            _fail(f"get_sampling_frequency() is {seen!r}, {type(seen).__name__}", "return a float, or None")
        if (seen is None) != (case.rate is None) or (
            seen is not None and case.rate is not None and abs(seen - case.rate) > 1e-9 * case.rate
        ):
            _fail(
                f"get_sampling_frequency() is {seen!r}, and expected_rate {case.rate!r}",
                "return the file's rate unrounded, and None where it tells none: an invented rate is worse than none",
            )

    def test_the_users_rate_wins(self, case: _Case) -> None:
        for rate in (12.3456789, 7):
            with case.open(sampling_frequency=rate) as opened:
                seen = opened.get_sampling_frequency()
                if seen != rate:
                    _fail(
                        f"open(..., sampling_frequency={rate}) gave {seen!r}",
                        "pass sampling_frequency to super().__init__, and override get_sampling_frequency alone",
                    )
                if case.times is None:
                    advice = "leave get_timestamps to the base class"
                    _close(
                        opened.get_timestamps(), np.arange(case.count) / rate, f"get_timestamps() at {rate} Hz", advice
                    )

    def test_a_rate_that_cannot_be_is_refused(self, case: _Case) -> None:
        for rate in (0, -1.0, float("nan"), float("inf"), "30"):
            with _refusal((TimesError,), f"open(..., sampling_frequency={rate!r})", "pass it to super().__init__"):
                case.open(sampling_frequency=rate).close()

    def test_the_native_times_are_the_hardwares(
        self, case: _Case, extractor: ImagingExtractor, expected_times: Any
    ) -> None:
        if expected_times is _NOT_GIVEN:
            pytest.skip("expected_times not given: see test_the_author_gives_every_fixture")
        advice = "override get_native_timestamps(start_sample=None, end_sample=None): seconds, float64, one a sample"
        n = case.count
        ranges: tuple[Any, ...] = ((None, None), (0, 0), (0, 1), (1, n), (n - 1, n), (1, 2), (np.int64(1), None))
        for a, b in ranges:
            seen = extractor.get_native_timestamps(a, b)
            words = f"get_native_timestamps({a!r}, {b!r})"
            if case.times is None:
                if seen is not None:
                    _fail(
                        f"{words} gave times, and expected_times is None",
                        "return None, or say the times in expected_times",
                    )
                continue
            if not isinstance(seen, np.ndarray) or seen.dtype != np.float64:
                _fail(f"{words} gave {getattr(seen, 'dtype', type(seen).__name__)}", advice)
            _close(seen, case.times[a:b], words, advice)

    def test_times_are_native_before_computed(
        self, case: _Case, extractor: ImagingExtractor, expected_times: Any
    ) -> None:
        if expected_times is _NOT_GIVEN:
            pytest.skip("expected_times not given: see test_the_author_gives_every_fixture")
        advice = "leave get_timestamps and times_source to the base class"
        wanted = "native" if case.times is not None else "computed" if case.rate is not None else None
        if extractor.times_source != wanted:
            _fail(f"times_source is {extractor.times_source!r}, and not {wanted!r}", advice)
        if wanted is None:
            with _refusal((TimesError,), "get_timestamps() without times and rate", advice) as caught:
                extractor.get_timestamps()
            if "sampling_frequency" not in str(caught[0]):
                _fail(f"the error does not say to pass sampling_frequency: {caught[0]}", advice)
            return
        times = case.times if case.times is not None else np.arange(case.count) / (case.rate or 1.0)
        _close(extractor.get_timestamps(), times, "get_timestamps()", advice)
        _close(extractor.get_timestamps(1, 3), times[1:3], "get_timestamps(1, 3)", advice)
        with case.open(sampling_frequency=12.5) as other:
            if other.times_source != ("native" if case.times is not None else "computed"):
                _fail(f"with sampling_frequency= times_source is {other.times_source!r}", advice)

    def test_the_users_times_win(self, case: _Case, extractor: ImagingExtractor) -> None:
        advice = "leave set_times, get_timestamps and times_source to the base class"
        given = np.cumsum(np.linspace(0.5, 1.5, case.count)) + 100.0
        extractor.set_times(given)
        kept = given.copy()
        given[:] = -1.0
        _close(extractor.get_timestamps(), kept, "get_timestamps() after set_times", advice)
        _close(extractor.get_timestamps(1, 2), kept[1:2], "get_timestamps(1, 2) after set_times", advice)
        if extractor.times_source != "user" or not extractor.has_time_vector():
            _fail(f"after set_times, times_source is {extractor.times_source!r}", advice)
        extractor.get_timestamps()[:] = 0.0
        _close(extractor.get_timestamps(), kept, "get_timestamps() after its result was written into", advice)
        _close(extractor.slice_samples(1).get_timestamps(), kept[1:], "slice_samples(1).get_timestamps()", advice)
        for wrong in (kept[1:], [[1.0]], ["a"] * case.count):
            with _refusal((TimesError,), "set_times with something else than one number a sample", advice):
                extractor.set_times(wrong)

    def test_a_slice_keeps_its_place_in_time(self, case: _Case, extractor: ImagingExtractor) -> None:
        advice = "leave the views and the clock to the base class"
        opened = extractor
        if extractor.times_source is None:
            opened = case.open(sampling_frequency=12.5)
        with opened:
            whole, n = opened.get_timestamps(), case.count
            for a, b in ((0, n), (1, n), (1, n - 1), (n - 1, n), (n, n)):
                view = opened.slice_samples(a, b)
                _close(view.get_timestamps(), whole[a:b], f"slice_samples({a}, {b}).get_timestamps()", advice)
                if view.times_source != opened.times_source:
                    _fail(
                        f"the slice's times_source is {view.times_source!r}, the recording's {opened.times_source!r}",
                        advice,
                    )
            inner = opened.slice_samples(1, n).slice_field_of_view(0, 1).slice_samples(1)
            _close(inner.get_timestamps(), whole[2:], "the times of a slice of a slice", advice)
            inner.set_times(np.arange(n - 2) + 7.0)
            _close(opened.get_timestamps(), whole, "the recording's times after set_times on a slice", advice)

    def test_a_time_finds_its_sample(self, case: _Case, extractor: ImagingExtractor) -> None:
        if extractor.times_source is None:
            pytest.skip("neither times nor a rate are known")
        times = extractor.get_timestamps()
        if not (np.diff(times) > 0).all():
            pytest.skip("the recording's times do not rise, so that none names one sample")
        advice = "leave time_to_sample_indices to the base class"
        seen = extractor.time_to_sample_indices(times)
        if not np.array_equal(seen, np.arange(case.count)) or np.asarray(seen).dtype != np.int64:
            _fail(f"time_to_sample_indices(get_timestamps()) gave {seen!r}", advice)
        between = times[:-1] + 0.3 * np.diff(times)
        seen = extractor.time_to_sample_indices(between)
        if not np.array_equal(seen, np.arange(case.count - 1)):
            _fail(f"time_to_sample_indices, asked for a little after each sample, gave {seen!r}", advice)
        one = extractor.time_to_sample_indices(float(times[1]))
        if one != 1 or not isinstance(one, int | np.integer):
            _fail(f"time_to_sample_indices({times[1]!r}) gave {one!r}", advice)
        far = float(times[-1]) + 1e6
        for moment in (float(times[0]) - 1e6, far, [float(times[0]), far]):
            with _refusal((RangeError,), f"time_to_sample_indices({moment!r})", advice):
                extractor.time_to_sample_indices(moment)

    # What does not change

    def test_reading_changes_nothing(self, case: _Case, extractor: ImagingExtractor) -> None:
        before = _observed(extractor)
        for _ in range(2):
            _read_everything(extractor)
            for key, value in _observed(extractor).items():
                if value != before[key]:
                    _fail(
                        f"{key} was {before[key]!r:.200} before reading, and is {value!r:.200} after it",
                        "let reads return results and set nothing that can be seen from outside",
                    )
        for k in range(case.count - 1, -1, -1):
            words = f"get_series({k}, {k + 1}), the samples read backwards,"
            _same(
                extractor.get_series(k, k + 1),
                case.expected[k : k + 1],
                words,
                "read at given offsets, and keep no position",
            )
        with _refusal((RangeError,), f"get_series(0, {case.count + 1})", _RANGE_ADVICE):
            extractor.get_series(0, case.count + 1)
        _same(extractor.get_series(), case.expected, "get_series() after a refused range", "read at given offsets")

    def test_two_openings_do_not_disturb_each_other(self, case: _Case, extractor: ImagingExtractor) -> None:
        with case.open(sampling_frequency=3.25) as other:
            other.get_series(0, 1)
            other.set_times(np.arange(case.count, dtype=np.float64))
        advice = "keep what belongs to one recording on the object, and not on the class or the module"
        _same(extractor.get_series(), case.expected, "get_series() after another object was closed", advice)
        if extractor.has_time_vector() or extractor.get_sampling_frequency() == 3.25:
            _fail("the rate or the times of another object have come over to this one", advice)

    def test_what_was_read_elsewhere_or_earlier_is_not_given_out(
        self, case: _Case, extractor: ImagingExtractor, workplace: Path
    ) -> None:
        copy = copied(case.recording, workplace / "copy")
        largest = max(files_of(copy), key=lambda path: path.stat().st_size)
        original = largest.read_bytes()
        advice = "keep what was read on the object, and in no cache of the class or the module"
        place, frame = _found_as_it_is(case, original)
        for start, end in ((0.3, 0.7), (0.1, 0.9)):
            a, b = int(len(original) * start), int(len(original) * end)
            largest.write_bytes(original[:a] + bytes(255 - byte for byte in original[a:b]) + original[b:])
            seen: list[np.ndarray] = []
            with suppress(Exception):
                words = "opening and reading a recording with damaged bytes"
                _within(self.patience, functools.partial(_opened_and_read, case, copy, seen), words)
            if (
                seen
                and a <= place < b - frame.nbytes
                and same_values(seen[0][case.count // 2], case.expected[case.count // 2])
            ):
                _fail("a copy in which the pixels are other ones gave the pixels of the recording", advice)
            _same(extractor.get_series(), case.expected, "get_series() after another recording was read", advice)
            largest.write_bytes(original)
            with case.open(copy) as again:
                words = "get_series() of a recording whose file was another one before"
                _same(again.get_series(), case.expected, words, advice)
                _same(again.get_samples([1, 0]), case.expected[[1, 0]], words, advice)

    def test_the_source_is_untouched(self, case: _Case, tmp_path: Path) -> None:
        before = _state_of(case, tmp_path)
        roi.explain(case.recording)
        roi.streams(case.recording, format=case.spec.name)
        with case.open() as opened:
            _read_everything(opened)
            for _, result in _routes(opened):
                if result.flags.writeable:
                    result[...] = 1
        gc.collect()
        after = _state_of(case, tmp_path)
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                what = "appeared" if name not in before else "is gone" if name not in after else "was changed"
                _fail(
                    f"{name} {what} while the recording was opened and read", "open files with mode 'rb', write nothing"
                )

    def test_the_process_is_left_as_it_was(self, case: _Case) -> None:
        case.open().close()  # what is imported on the way may set itself up
        random.random(), np.random.random()  # noqa: NPY002 - a seed that was set before shows when it is set again
        before, printed = _process_state(), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed), case.open() as opened:
            _read_everything(opened)
        after = _process_state()
        changed = [what for what in before if before[what] != after[what]]
        if changed:
            _fail(f"opening and reading changed {', '.join(changed)}", "leave alone what belongs to the whole process")
        if printed.getvalue():
            _fail(
                f"opening and reading printed {printed.getvalue()[:80]!r}",
                "warn, or say it in get_notes; print nothing",
            )

    def test_opening_writes_nothing_and_runs_nothing_from_the_file(self, case: _Case, workplace: Path) -> None:
        copy, warm = copied(case.recording, workplace / "copy"), copied(case.recording, workplace / "warm")
        arguments = {
            "spec": case.spec.to_dict(),
            "recording": _as_text(copy),
            "warm": _as_text(warm),
            "watched": [os.path.realpath(workplace / "copy")],
            "options": dict(case.options),
        }
        outcome = in_fresh_process("watch_opening", arguments, seconds=60.0)
        if outcome.timed_out or outcome.failure:
            _fail(
                f"in a fresh process the recording does not open: {outcome.failure or 'it hangs'}",
                "nothing that opening needs may come from this process alone",
            )
        told = list(dict.fromkeys(words for _, words in outcome.last["events"]))
        if told:
            _fail(
                "; ".join(told),
                "open with mode 'rb'; parse what the file says, and never unpickle, evaluate or start it (numpy: allow_pickle=False)",
            )

    # Metadata

    def test_the_metadata_serialises(self, extractor: ImagingExtractor) -> None:
        metadata = extractor.metadata
        if not isinstance(metadata, RecordingMetadata):
            _fail(f"metadata is {type(metadata).__name__}", "return a RecordingMetadata from get_metadata")
        for words, plain in (("metadata", metadata.to_dict()), ("provenance", extractor.provenance.to_dict())):
            try:
                json.dumps(plain, allow_nan=False)
            except (TypeError, ValueError) as error:
                _fail(f"{words}.to_dict() is not JSON: {error}", "put numbers, text, lists and dictionaries in it")
        foreign = list(_not_plain(metadata.vendor, "vendor"))
        if foreign:
            _fail(f"metadata.{foreign[0]}", "convert it to numbers, text, lists or dictionaries in get_metadata")
        if pickle.loads(pickle.dumps(metadata)).to_dict() != metadata.to_dict():  # noqa: S301 - made on this line
            _fail("the metadata is another one after pickling", "put plain values in it")
        if extractor.metadata.to_dict() != metadata.to_dict():
            _fail("the metadata differs from one call to the next", "answer from what the file says")

    def test_the_metadata_is_in_the_units_of_ome(self, case: _Case, extractor: ImagingExtractor) -> None:
        found = extractor.metadata
        wrong = [words for words, right in _metadata_checks(found, case) if not right]
        if wrong:
            _fail("; ".join(wrong), "change get_metadata; a field that the file does not tell stays None or empty")

    def test_the_provenance_says_where_it_came_from(self, case: _Case, extractor: ImagingExtractor) -> None:
        found = extractor.provenance
        wanted = [os.path.abspath(path) for path in paths_of(case.recording)]
        if found.format != case.spec.name or list(found.paths) != wanted:
            _fail(
                f"provenance says format {found.format!r} and paths {found.paths}",
                "leave provenance and bind_provenance to the base class",
            )
        notes = extractor.get_notes()
        if not isinstance(notes, tuple) or not all(isinstance(note, str) and note for note in notes):
            _fail(f"get_notes() is {notes!r:.200}", "return a tuple of sentences")

    # Pickling, threads, files, memory

    def test_it_pickles_into_a_fresh_process(self, case: _Case, extractor: ImagingExtractor) -> None:
        given = np.arange(case.count, dtype=np.float64) * 0.25 + 5.0
        with case.open(sampling_frequency=12.3456789) as other, case.open() as timed:
            timed.set_times(given)
            extractor.get_series(0, 1)
            recordings: dict[str, Any] = {
                "the recording": extractor,
                "one opened with sampling_frequency=": other,
                "one with set_times": timed,
                "a slice": extractor.slice_samples(1, 3),
            }
            pickles = {words: _pickled(recording, words) for words, recording in recordings.items()}
            for words, pickled in pickles.items():
                _require_no_pixels(pickled, case, words)
            wanted = {words: summary(recording) for words, recording in recordings.items()}
        outcome = in_fresh_process("unpickle", {"pickles": pickles})
        if outcome.timed_out or outcome.failure:
            _fail(f"unpickling in a fresh process failed: {outcome.failure or 'it hangs'}", "mend pickling")
        for answer in outcome.answers:
            words = answer.pop("name")
            error = answer.pop("error")
            advice = "leave __reduce__ and __getstate__ to the base class: it keeps the constructor's arguments, the user's times and rate"
            if error:
                _fail(f"{words} does not open again in a fresh process: {error}", advice)
            for key, value in wanted[words].items():
                if answer[key] != value:
                    _fail(f"{words} has another {key} after pickling: {answer[key]!r}, and had {value!r}", advice)

    def test_it_can_be_read_from_several_threads(self, case: _Case) -> None:
        for attempt in range(6):
            with case.open() as opened:
                wrong = _read_in_threads(opened, case, seconds=0.06, seed=attempt)
            if wrong:
                _fail(
                    f"read from several threads, {wrong}",
                    "read at given offsets (roiextractors_core.PositionedFile does), share no position and no buffer, or hold a lock",
                )

    def test_forked_processes_read_each_for_itself(self, case: _Case) -> None:
        if not hasattr(os, "fork"):
            pytest.skip("the system has no fork")
        with case.open() as opened:
            opened.get_series(0, 1)
            wrong = _read_in_forks(opened, case)
        if wrong:
            _fail(
                f"read in two processes that were forked after the first read, {wrong}",
                "read at given offsets (roiextractors_core.PositionedFile does): a place in a file that was opened before is shared with the "
                "parent; hold locks that a child begins with free (roiextractors_core.io.ProcessLock)",
            )

    def test_reading_after_closing_is_refused(self, case: _Case) -> None:
        opened = case.open()
        view = opened.slice_samples(0, 2)
        opened.get_series(0, 1)
        plane = slice(0, 1) if opened.is_volumetric else None
        opened.close()
        opened.close()
        reads: dict[str, Callable[[], Any]] = {
            "get_series()": opened.get_series,
            "get_series(0, 1)": lambda: opened.get_series(0, 1),
            "get_samples([0])": lambda: opened.get_samples([0]),
            "recording[0]": lambda: opened[0],
            "recording[0, :1, :1]": lambda: opened[0, :1, :1],
            "get_block of one pixel": lambda: opened.get_block(slice(0, 1), slice(0, 1), slice(0, 1), plane),
            "a view's get_series()": view.get_series,
        }
        for words, read in reads.items():
            with _refusal((ClosedRecordingError,), f"{words} after close()", _CLOSED_ADVICE):
                read()
        with case.open() as other:
            other.get_series(0, 1)
        with _refusal((ClosedRecordingError,), "get_series() after the with statement", _CLOSED_ADVICE):
            other.get_series(0, 1)

    def test_no_file_stays_open(self, case: _Case, workplace: Path) -> None:
        if not can_tell_open_files():
            pytest.skip(f"{sys.platform} does not say which files are open")
        copy = copied(case.recording, workplace / "copy")
        files = [path for path in (workplace / "copy").rglob("*") if path.is_file()]
        opened = case.open(copy)
        _read_everything(opened)
        opened.close()
        _require_none_open(
            files, "after close()", "release every file and memory map in close(), then call super().close()"
        )
        roi.explain(copy)
        roi.streams(copy, format=case.spec.name)
        _require_none_open(files, "after roi.explain and roi.streams", "use `with` in get_streams and in probes")
        case.open(copy).get_series(0, 1)
        gc.collect()
        _require_none_open(
            files, "after the recording was forgotten", "let the object own its files, and no cache of the module"
        )

    def test_memory_is_bounded_by_the_request(self, case: _Case, large_recording: Any, workplace: Path) -> None:
        source = case.recording if large_recording is None else large_recording
        size = self._measured(case, source)
        for attempt in range(_ATTEMPTS):
            small = size.total < 64 * _KIB * _KIB
            fresh = copied(source, workplace / f"copy {attempt}") if small else source
            words, peak = max(self._peaks(case, fresh, size).items(), key=lambda pair: pair[1])
            if peak <= size.memory:
                return
        _fail(
            f"{words} took {peak:,} bytes of memory at its peak; {size}",
            "read what is asked for and no more, when it is asked for, and keep none of it",
        )

    def _peaks(self, case: _Case, source: Any, size: _Size) -> dict[str, int]:
        """Return the most memory (bytes) that opening, each way of reading, and what is kept took; other threads' is among it."""
        with _quiet(), _traced():
            opened = case.open(source)
            gc.collect()
            opening = "what is kept after opening"
            peaks = {"open": _peak() - _HEADER_MEMORY, opening: tracemalloc.get_traced_memory()[0]}
            for words, read in size.reads(opened):
                tracemalloc.reset_peak()
                read()
                peaks[words] = _peak()
            for start in range(0, size.count, size.few):
                opened.get_series(start, min(size.count, start + size.few))
            gc.collect()
            words = f"what is kept after all samples were read, {size.few} at a time,"
            peaks[words] = tracemalloc.get_traced_memory()[0]
            opened.close()
        return peaks

    def test_no_more_is_read_than_was_asked_for(self, case: _Case, large_recording: Any) -> None:
        source = case.recording if large_recording is None else large_recording
        size = self._measured(case, source)
        if not _bytes_read():
            pytest.skip(f"{sys.platform} does not say how many bytes were read")
        share = size.total // 2 if self.frames_lie_together else size.total + size.total // 8
        most = max(4 * size.few * size.sample + 64 * _KIB + 512 * size.count, share)
        for _ in range(_ATTEMPTS):
            words, count = max(self._read_bytes(case, source, size).items(), key=lambda pair: pair[1])
            if count <= most:
                return
        _fail(
            f"{words} read {count:,} bytes from the disk; {size}",
            "compute where the samples stand, and read these (PositionedFile.read_array). Where each sample is spread over the "
            "whole file, write frames_lie_together = False in the test class",
        )

    def _read_bytes(self, case: _Case, source: Any, size: _Size) -> dict[str, int]:
        """Return how many bytes opening and each way of reading took from the disk; other threads' are among them."""
        before = _bytes_read()
        with _quiet(), case.open(source) as opened:
            grown = {"open": _bytes_read() - before if size.sample >= 16 * _KIB else 0}
            for words, read in size.reads(opened):
                before = _bytes_read()
                read()
                grown[words] = _bytes_read() - before
        return grown

    def _measured(self, case: _Case, source: Any) -> _Size:
        with case.open(source) as opened:
            opened.get_series(0, 1)
            size = _Size(len(opened), opened.nbytes // max(1, len(opened)))
        if size.memory > 0.75 * size.total:
            pytest.skip(
                f"{size.total:,} bytes in {size.count:,} samples are too few to tell; make `expected` 24 samples of 80 x 112 "
                "or more, or give a fixture large_recording"
            )
        return size

    # Damage

    def test_a_cut_recording_is_told_and_never_garbage(self, case: _Case, workplace: Path) -> None:
        total = sum(path.stat().st_size for path in files_of(case.recording))
        if total > 256 * _KIB * _KIB:
            pytest.skip(f"{total:,} bytes are too many to cut at 20 places; give a smaller recording")
        copy = copied(case.recording, workplace / "copy")
        arguments = {
            "spec": case.spec.to_dict(),
            "recording": _as_text(copy),
            "files": sizes_to_cut((*files_of(copy), *kin_of(copy)), units=_units(case)),
            "removed": [str(path) for path in kin_of(copy)],
            "expected": case.expected,
            "times": case.times,
            "options": dict(case.options),
        }
        outcome = in_fresh_process("open_cut", arguments, seconds=self.patience)
        if not outcome.answers:
            _fail(f"a copy was not opened: {outcome.failure or 'no answer in time'}", "mend the extractor")
        whole, *answers = outcome.answers
        if whole["outcome"] != "read" or whole["wrong"] or whole["count"] != case.count:
            _fail(
                f"an uncut copy did not read well in a fresh process: {whole.get('words') or whole.get('wrong')}",
                "nothing that opening needs may lie elsewhere or come from this process alone",
            )
        _judge_cuts(answers, case, self.counts_samples)
        if outcome.timed_out or outcome.failure:
            last = outcome.last
            _fail(
                f"{_cut_words(last)}: {outcome.failure or f'no end within {self.patience:g} s'}",
                "bound every loop by the file's size; a class attribute `patience` gives slow formats more seconds",
            )


# What the tests are made of


@functools.lru_cache(maxsize=64)
def _declared_afresh(module: str, path: tuple[str, ...]) -> Outcome:
    """Return what importing a module's declarations in a fresh process comes to: once for all classes that test a plugin."""
    return in_fresh_process("import_declarations", {"module": module})


def _advised(test: Callable[..., Any]) -> Callable[..., Any]:
    """Let a test that runs into an exception of the plugin say where it was raised, and what was asked."""

    @functools.wraps(test)
    def advised(*args: Any, **kwargs: Any) -> Any:
        try:
            return test(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the border to the plugin
            sentence = test.__name__.removeprefix("test_").replace("_", " ")
            cause = error.__cause__ if isinstance(error, PluginError) and error.__cause__ else error
            _fail(
                f"{type(cause).__name__} was raised: {cause}\n{_steps_of(cause)}",
                f"mend the last of these lines; the rule is: {sentence}",
            )

    return advised


def _steps_of(error: BaseException) -> str:
    """Return where an exception came from as a traceback, without what happened inside this library."""
    frames = traceback.extract_tb(error.__traceback__)
    own = os.path.dirname(os.path.dirname(__file__)) + os.sep
    outside = [frame for frame in frames if not frame.filename.startswith((own, os.path.dirname(pytest.__file__)))]
    return "".join(traceback.format_list((outside or list(frames))[-4:])).rstrip()


for _name, _test in list(vars(ImagingExtractorTests).items()):
    if _name.startswith("test_"):
        setattr(ImagingExtractorTests, _name, _advised(_test))


def _fail(seen: str, advice: str) -> NoReturn:
    raise pytest.fail.Exception(f"{seen}\n  to do: {advice}", pytrace=False) from None


def _missing(**fixtures: Any) -> list[str]:
    return [name for name, value in fixtures.items() if value is _NOT_GIVEN]


def _within(seconds: float, call: Callable[[], None], words: str) -> None:
    """Make the call on a thread of its own, raise what it raises, and fail when it has no end in time."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        place = f" at {frame.f_code.co_filename}, line {frame.f_lineno}" if frame is not None else ""
        _fail(f"{words} has no end within {seconds:g} s{place}", "bound every loop by the file's size")
    if raised:
        raise raised[0]


def _found_as_it_is(case: _Case, content: bytes) -> tuple[int, np.ndarray]:
    """Return where the frame in the middle of the recording stands in a file, and the frame; -1 where it is not found so."""
    sample = case.expected[case.count // 2]
    for frame in (sample, sample[..., 0]) if case.is_volumetric else (sample,):
        for order in "<>":
            place = content.find(frame.astype(frame.dtype.newbyteorder(order)).tobytes())
            if place >= 0:
                return place, frame
    return -1, sample


def _opened_and_read(case: _Case, recording: Any, seen: list[np.ndarray] | None = None) -> None:
    """Open what may be damaged or another format, and read it; the series is put into ``seen``."""
    with case.open(recording) as opened:
        few = min(len(opened), 2 * case.count)
        series = opened.get_series(0, few)
        if seen is not None and len(series) == case.count:
            seen.append(series)
        opened.get_samples(range(few - 1, -1, -1))
        opened.get_native_timestamps(0, few)
        opened.metadata.to_dict()
        repr(opened)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RoiExtractorsWarning)
        yield


@contextmanager
def _refusal(kinds: tuple[type[Exception], ...], words: str, advice: str) -> Iterator[list[Exception]]:
    """Require that the block raises one of this library's errors, and hand it on."""
    caught: list[Exception] = []
    try:
        yield caught
    except kinds as error:
        caught.append(error)
    except Exception as error:  # noqa: BLE001 - the border to the plugin
        _fail(f"{words} raised {type(error).__name__} ({error}), and not {kinds[0].__name__}", advice)
    if not caught:
        _fail(f"{words} was not refused: {kinds[0].__name__} is due", advice)


def _same(seen: Any, wanted: np.ndarray, words: str, advice: str) -> None:
    if not isinstance(seen, np.ndarray):
        _fail(f"{words} gave {type(seen).__name__}, and not an array", advice)
    if seen.shape != wanted.shape:
        _fail(f"{words} has shape {seen.shape}, and {wanted.shape} is right", advice)
    if not same_values(seen, wanted):
        at = tuple(int(k) for k in np.argwhere(~_equal(seen, wanted))[0])
        _fail(f"{words} holds {seen[at]!r} at {at}, and {wanted[at]!r} is right", advice)


def _equal(seen: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    equal = seen == wanted
    if seen.dtype.kind in "fc" and wanted.dtype.kind in "fc":
        equal = equal | (np.isnan(seen) & np.isnan(wanted))
    return np.asarray(equal)


def _close(seen: Any, wanted: np.ndarray, words: str, advice: str) -> None:
    """Require the same seconds, to a part in 10^9."""
    if not isinstance(seen, np.ndarray) or seen.dtype != np.float64:
        _fail(f"{words} gave {getattr(seen, 'dtype', type(seen).__name__)}, and not float64", advice)
    if seen.shape != wanted.shape:
        _fail(f"{words} has shape {seen.shape}, and {wanted.shape} is right", advice)
    wrong = ~np.isclose(seen, wanted, rtol=1e-9, atol=1e-9, equal_nan=True)
    if wrong.any():
        at = int(np.argmax(wrong))
        _fail(f"{words} holds {seen[at]!r} s for sample {at}, and {wanted[at]!r} s is right", advice)


def _shown(case: _Case) -> str:
    options = "".join(f", {key}={value!r}" for key, value in case.options.items())
    return f"{case.recording!s:.200}, format={case.spec.name!r}{options}"


def _hooks_module(name: str) -> str | None:
    record = next((record for record in default_registry().plugins() if name in record.formats), PluginRecord(""))
    _, separator, module = record.entry_point.partition(" = ")
    return module.partition(":")[0].strip() if separator else None


def _as_text(recording: Any) -> Any:
    return [str(path) for path in recording] if isinstance(recording, list) else str(recording)


def _with_suffix(name: str, spec: FormatSpec, change: Callable[[str], str]) -> str:
    longest = max((e for e in spec.extensions if name.lower().endswith(e) and len(e) < len(name)), key=len, default="")
    suffix = longest or Path(name).suffix
    stem = name[: len(name) - len(suffix)]
    return f"{stem}{change(suffix)}"


def _suffix_of(case: _Case) -> str:
    """Return the declared suffix that the recording bears, or the first one that its format has."""
    name = paths_of(case.recording)[0].name.lower()
    return next((e for e in case.spec.extensions if name.endswith(e)), next(iter(case.spec.extensions), ""))


def _require_found(case: _Case, copy: Any, words: str, advice: str) -> None:
    found = roi.explain(copy)
    if not any(match.spec.name == case.spec.name for match in found.matches):
        _fail(f"a copy with {words} is not recognised as {case.spec.name}:\n{found}", advice)
    if found.best is not None and found.best.spec.name != case.spec.name:
        _fail(f"a copy with {words} is taken for {found.best.spec.name}:\n{found}", advice)
    try:
        with case.open(copy) as opened:
            series = opened.get_series()
    except Exception as error:  # noqa: BLE001 - the border to the plugin
        _fail(f"a copy with {words} does not open: {type(error).__name__}: {error}", advice)
    _same(series, case.expected, f"a copy with {words}", advice)


def _quoting(recording: Any) -> list[Foreign]:
    """Return a text that quotes the recording behind its first page: its bytes stand there, and it is none."""
    path = paths_of(recording)[0]
    if path.is_dir():
        return []
    with path.open("rb") as stream:
        quoted = stream.read(32 * _KIB)
    page = b"What follows is quoted from a recording; this file is a letter about it.\n" * 97
    return [Foreign("letter_that_quotes_the_recording", "quotation", page + quoted)]


def _routes(extractor: ImagingExtractor) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every way to pixels, in words, and its result."""
    n = len(extractor)
    rows, columns = extractor.get_frame_shape()
    planes = slice(0, extractor.get_num_planes()) if extractor.is_volumetric else None
    yield "get_series()", extractor.get_series()
    yield "get_series(1, 2)", extractor.get_series(1, 2)
    yield "get_samples([0])", extractor.get_samples([0])
    yield f"get_samples([{n - 1}, 0])", extractor.get_samples([n - 1, 0])
    yield "get_samples([1, 1])", extractor.get_samples([1, 1])
    yield "recording[0]", extractor[0]
    yield "recording[0:2]", extractor[0:2]
    yield "recording[1:3, 1:, :-1]", extractor[1:3, 1:, :-1]
    yield "get_block of everything", extractor.get_block(slice(0, n), slice(0, rows), slice(0, columns), planes)
    yield "slice_samples(0, 2).get_series()", extractor.slice_samples(0, 2).get_series()
    yield "slice_field_of_view(0, 1).get_series()", extractor.slice_field_of_view(0, 1).get_series()
    if planes is not None:
        yield "select_plane(0).get_series()", extractor.select_plane(0).get_series()


def _questions(case: _Case, extractor: ImagingExtractor) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield reads in words and as calls."""
    n, rows, columns = case.expected.shape[:3]
    planes = slice(0, case.expected.shape[3]) if case.is_volumetric else None
    whole, middle = (slice(0, rows), slice(0, columns)), (slice(1, rows), slice(0, max(1, columns - 1)))
    indices = np.array([1, 0], np.int64)
    yield "get_series()", extractor.get_series
    yield "get_series(0, 1)", lambda: extractor.get_series(0, 1)
    yield f"get_series({n - 1}, {n})", lambda: extractor.get_series(n - 1, n)
    yield "get_samples([1, 0])", lambda: extractor.get_samples([1, 0])
    yield "get_samples([0, 1])", lambda: extractor.get_samples([0, 1])
    yield "get_samples([0])", lambda: extractor.get_samples([0])
    yield "recording[0]", lambda: extractor[0]
    yield "recording[:2, 1:]", lambda: extractor[:2, 1:]
    block = "get_block of two samples"
    yield block, lambda: extractor.get_block(slice(0, 2), *whole, planes)
    yield f"{block} by index", lambda: extractor.get_block(indices, *whole, planes)
    yield f"{block} in part", lambda: extractor.get_block(slice(0, 2), *middle, planes)
    if case.times is not None and extractor.get_native_timestamps() is not None:
        yield "get_native_timestamps()", extractor.get_native_timestamps
        yield "get_native_timestamps(1, 3)", lambda: extractor.get_native_timestamps(1, 3)
        yield "get_timestamps(1, 3)", lambda: extractor.get_timestamps(1, 3)


def _keys(shape: tuple[int, ...]) -> Iterator[Any]:
    n, rows, columns = shape[:3]
    every = np.arange(n)
    yield from (0, -1, n - 1, slice(None), slice(1, None), slice(None, -1), slice(None, None, 2), slice(None, None, -1))
    yield from (slice(0, 10 * n), slice(n, None), Ellipsis, np.int64(1))
    yield from ([n - 1, 0, 0], np.array([-1, 1]), every % 2 == 0)
    yield from ((0, 0), (0, 0, 0), (slice(None), 1), (slice(None), slice(None), -1), (Ellipsis, 0), (1, Ellipsis, -1))
    yield (slice(1, 3), slice(rows // 3, rows // 3 + 2), slice(columns // 4, None))
    yield (slice(1, 3), slice(None, None, 2), slice(None, None, -1))
    yield ([1, 0], slice(1, None), slice(0, columns - 1))
    yield (0, [1, 0, 1], slice(2, None))
    yield (slice(None), slice(0, 0))
    if len(shape) == 4:
        yield from ((slice(None), slice(None), slice(None), 0), (0, slice(1, 2), slice(None), slice(None, None, -1)))
        yield ([1, 0], slice(None), slice(1, 2), -1)


def _key_words(key: Any) -> str:
    parts = key if isinstance(key, tuple) else (key,)
    return ", ".join(_slice_words(part) if isinstance(part, slice) else f"{part!r:.40}" for part in parts)


def _slice_words(part: slice) -> str:
    bounds = ":".join("" if bound is None else str(bound) for bound in (part.start, part.stop))
    return bounds if part.step is None else f"{bounds}:{part.step}"


def _is_mapped(array: Any) -> bool:
    import mmap

    while array is not None:
        if isinstance(array, np.memmap | mmap.mmap):
            return True
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return False


def _noting(original: Callable[..., Any], asked: list[str], name: str) -> Callable[..., Any]:
    def noted(*args: Any, **kwargs: Any) -> Any:
        asked.append(name)
        return original(*args, **kwargs)

    return noted


def _bytes_of_ten(reads: Iterable[Callable[[], Any]]) -> int:
    before = _bytes_read()
    for _ in range(10):
        for read in reads:
            read()
    return _bytes_read() - before


def _bytes_read() -> int:
    """Return the bytes that this process has read so far, or 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    try:
        return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _observed(extractor: ImagingExtractor) -> dict[str, Any]:
    return {
        "shape": extractor.shape,
        "dtype": extractor.dtype,
        "get_sampling_frequency()": extractor.get_sampling_frequency(),
        "times_source": extractor.times_source,
        "has_time_vector()": extractor.has_time_vector(),
        "metadata": json.dumps(extractor.metadata.to_dict(), sort_keys=True),
        "get_notes()": extractor.get_notes(),
        "provenance": extractor.provenance.to_dict(),
        "repr": repr(extractor),
        "times": None if extractor.times_source is None else digest(extractor.get_timestamps()),
        "pixels": digest(extractor.get_series()),
    }


def _process_state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the one that belongs to the process
    return {
        "the environment": dict(os.environ),
        "the working folder": os.getcwd(),
        "the random numbers of the process": (random.getstate(), name, np.asarray(keys).tobytes(), rest),
        "how numpy treats errors": np.geterr(),
        "how numpy prints": np.get_printoptions(),
        "the filters of warnings": list(warnings.filters),
        "sys.path": list(sys.path),
        "the level of the root logger": logging.getLogger().level,
    }


def _read_everything(extractor: ImagingExtractor) -> None:
    for _, result in _routes(extractor):
        result.sum()
    if extractor.times_source is not None:
        extractor.get_timestamps()
        extractor.get_timestamps(1, 2)
    extractor.get_native_timestamps()
    extractor.get_native_timestamps(0, 1)
    extractor.metadata.to_dict()
    repr(extractor)


def _state_of(case: _Case, tmp_path: Path) -> dict[str, tuple[str, int]]:
    """Return fingerprint and modification time of the recording's files, and of what lies beside them."""
    own = files_of(case.recording)
    found = {str(path): _file_state(path) for path in own}
    for path in paths_of(case.recording):
        parent = path.parent
        if parent == tmp_path or tmp_path in parent.parents:
            found.update({str(p): _file_state(p) for p in parent.rglob("*") if p.is_file()})
        else:
            stem = path.name.partition(".")[0]
            names = (name for name in os.listdir(parent) if stem in name)
            found.update({str(parent / n): _file_state(parent / n) for n in names if (parent / n).is_file()})
    return found


def _file_state(path: Path) -> tuple[str, int]:
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns


_METADATA_FIELDS = tuple(field.name for field in fields(RecordingMetadata))
_PLAIN = (type(None), bool, int, float, str, bytes, np.generic, np.ndarray, datetime, Path)


def _is_filled(value: Any) -> bool:
    return value is not None and not (isinstance(value, tuple | Mapping) and not value)


def _not_plain(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str | int):
                yield f"{where} has the key {key!r:.80}, {type(key).__name__}"
            yield from _not_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple | set | frozenset):
        for place, item in enumerate(value):
            yield from _not_plain(item, f"{where}[{place}]")
    elif not isinstance(value, _PLAIN):
        yield f"{where} is {type(value).__name__}"


def _metadata_checks(found: RecordingMetadata, case: _Case) -> Iterator[tuple[str, bool]]:
    def length(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")

    planes = case.expected.shape[3] if case.is_volumetric else 1
    yield (
        f"start_time is {found.start_time!r}, and not a datetime",
        found.start_time is None or isinstance(found.start_time, datetime),
    )
    size = found.pixel_size
    yield (
        f"pixel_size is {size!r}, and not (row, column) in micrometres",
        size is None or (isinstance(size, tuple) and len(size) == 2 and all(map(length, size))),
    )
    yield (
        f"pixel_size is {size!r}, and no microscope has pixels of that many micrometres",
        size is None or not all(map(length, size)) or all(1e-3 <= part <= 1e5 for part in size),
    )
    yield (
        f"plane_spacing is {found.plane_spacing!r}, and not a distance in micrometres",
        found.plane_spacing is None or length(found.plane_spacing),
    )
    positions = found.plane_positions
    yield (
        f"plane_positions holds {len(positions)} positions for {planes} planes",
        not positions or (isinstance(positions, tuple) and len(positions) == planes),
    )
    yield (
        f"channels is {found.channels!r:.120}, and not a tuple of ChannelMetadata",
        isinstance(found.channels, tuple) and all(isinstance(c, ChannelMetadata) for c in found.channels),
    )
    for channel in (c for c in found.channels if isinstance(c, ChannelMetadata)):
        waves = (channel.emission_wavelength, channel.excitation_wavelength)
        yield (
            f"the wavelengths of channel {channel.name!r} are {waves}, and not nanometres",
            all(wave is None or (length(wave) and 50 < wave < 20_000) for wave in waves),
        )
    for name in ("device", "software"):
        value = getattr(found, name)
        yield f"{name} is {value!r}, and not text", value is None or (isinstance(value, str) and bool(value))


def _pickled(recording: Any, words: str) -> bytes:
    try:
        return pickle.dumps(recording)
    except Exception as error:  # noqa: BLE001 - the border to the plugin
        _fail(
            f"{words} does not pickle: {type(error).__name__}: {error}",
            "let the constructor take what pickles, and leave __reduce__ to the base class",
        )


def _require_no_pixels(pickled: bytes, case: _Case, words: str) -> None:
    advice = "leave __reduce__ and __getstate__ to the base class: a pickle opens the file again"
    expected = case.expected
    swapped = expected[:2].astype(expected.dtype.newbyteorder("S"))
    for part in (expected[0], expected[1], swapped[0], swapped[1]):
        row = np.ascontiguousarray(part.reshape(part.shape[0], -1)[part.shape[0] // 2]).tobytes()
        if len(set(row)) >= 8 and len(row) >= 24 and row in pickled:
            _fail(f"the pickle of {words} holds pixels ({len(pickled):,} bytes)", advice)
    if len(pickled) > 64 * _KIB + 16 * case.count:
        _fail(f"the pickle of {words} takes {len(pickled):,} bytes, which is more than how to open it again", advice)


def _read_in_threads(extractor: ImagingExtractor, case: _Case, *, seconds: float, seed: int) -> str:
    """Read different samples from six threads at once; return what went wrong, or an empty string.

    Every other time the plugin's code is traced, and made to wait between any two of its steps.
    """
    wrong: list[str] = []
    gate = threading.Barrier(6)
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        rng = random.Random(100 * seed + number)
        try:
            gate.wait(timeout=10)
            while not wrong and time.monotonic() < end:
                words, seen, wanted = _one_read(extractor, case.expected, rng)
                if not same_values(seen, wanted):
                    wrong.append(f"{words} gave other samples than it gives alone")
        except Exception as error:  # noqa: BLE001 - the border to the plugin
            wrong.append(f"a read raised {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(6)]
    before, traced = sys.getswitchinterval(), threading.gettrace()
    sys.setswitchinterval(1e-5)
    if seed % 2:
        threading.settrace(_interrupting(case.spec.extractor.partition(".")[0].partition(":")[0]))
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20.0)
    finally:
        sys.setswitchinterval(before)
        threading.settrace(traced)
    if any(thread.is_alive() for thread in threads):
        return "the threads wait for each other"
    return wrong[0] if wrong else ""


_FORK_SECONDS = 20


def _read_in_forks(extractor: ImagingExtractor, case: _Case) -> str:
    """Read different samples in this process and in two children at once; return what went wrong, or an empty string."""

    def is_right(seed: int) -> bool:
        rng = random.Random(seed)
        reads = (_one_read(extractor, case.expected, rng) for _ in range(25))
        return all(same_values(seen, wanted) for _, seen, wanted in reads)

    children = [_forked(functools.partial(is_right, seed)) for seed in (1, 2)]
    try:
        mine = is_right(0)
    finally:
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if not mine:
        return "the parent got other samples than it gets alone"
    told = {1: "got other samples than its parent gets alone", 2: "raised an error", -signal.SIGALRM: "waited for ever"}
    return next((f"one {told.get(code, f'ended with {code}')}" for code in codes if code), "")


def _forked(work: Callable[[], bool]) -> int:
    """Start a child that does some work and ends; return its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # on forks where there are threads, as there are in tests
        child = os.fork()
    if child:
        return child
    code = 2
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_FORK_SECONDS)
        code = 0 if work() else 1
    finally:
        os._exit(code)


# CPython 3.12 itself crashes where generators are traced opcode by opcode while other threads run them; there, lines must do
_CAN_TRACE_OPCODES = sys.version_info[:2] != (3, 12)


def _interrupting(package: str) -> Any:
    """Return a trace function that lets other threads go ahead between any two steps of a package's code."""
    rng = random.Random(8)

    def step(frame: Any, event: str, argument: Any) -> Any:
        if event in ("opcode", "line") and rng.random() < 0.03:
            time.sleep(2e-5)
        return step

    def call(frame: Any, event: str, argument: Any) -> Any:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] != package:
            return None
        frame.f_trace_opcodes = _CAN_TRACE_OPCODES
        return step

    return call


def _one_read(
    extractor: ImagingExtractor, expected: np.ndarray, rng: random.Random
) -> tuple[str, np.ndarray, np.ndarray]:
    n = len(expected)
    a = rng.randrange(n)
    b = min(n, a + rng.randint(1, 3))
    kind = rng.randrange(3)
    if kind == 0:
        return f"get_series({a}, {b})", extractor.get_series(a, b), expected[a:b]
    if kind == 1:
        indices = [rng.randrange(n), a, rng.randrange(n)]
        return f"get_samples({indices})", extractor.get_samples(indices), expected[indices]
    return f"recording[{a}:{b}, 1:]", extractor[a:b, 1:], expected[a:b, 1:]


def _require_none_open(files: list[Path], words: str, advice: str) -> None:
    held = held_open(files)
    if held:
        _fail(f"{words} still open: {', '.join(held)}", advice)


@contextmanager
def _traced() -> Iterator[None]:
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    gc.collect()
    tracemalloc.clear_traces()
    try:
        yield
    finally:
        if not running:
            tracemalloc.stop()


def _peak() -> int:
    return tracemalloc.get_traced_memory()[1]


def _cut_words(answer: Mapping[str, Any]) -> str:
    if answer.get("size") == -1:
        return f"{answer['file']}, which lies beside the recording, removed"
    return (
        f"{answer['file']} cut to {answer['size']:,} of {answer['of']:,} bytes"
        if answer.get("file")
        else "a whole copy"
    )


def _units(case: _Case) -> tuple[int, ...]:
    """Return how many bytes one sample may take in a file: of one channel, and of all."""
    one = case.expected[0].nbytes
    return tuple(dict.fromkeys((one, one * max(1, len(case.streams.get("channel", ()))))))


def _judge_cuts(answers: Iterable[Mapping[str, Any]], case: _Case, counts_samples: bool) -> None:
    advice = (
        "compare what the header promises with the file's size; then raise TruncatedRecordingError, or offer the whole samples alone, "
        "warn with IncompleteRecordingWarning and say so in get_notes"
    )
    for answer in answers:
        words, outcome, lost = _cut_words(answer), answer["outcome"], answer["of"] - answer["size"]
        if outcome == "crash":
            _fail(f"{words}: {answer['words']}, which is no clear error", advice)
        if answer.get("open"):
            _fail(
                f"{words}: it is still open after {'an error' if outcome == 'error' else 'close()'}",
                "close what the constructor opened when it raises",
            )
        if outcome == "read" and answer["wrong"]:
            _fail(f"{words}: {answer['wrong']}", advice)
        may_be_silent = not counts_samples and any(lost % unit == 0 for unit in _units(case))
        if outcome == "read" and answer["count"] < case.count and not answer["told"] and not may_be_silent:
            _fail(
                f"{words}: {answer['count']:,} of {case.count:,} samples are left, and nothing says so",
                f"{advice}. Where nothing in a recording says how many samples it holds, write counts_samples = False in the test class",
            )
        if answer.get("grown", 0) > 64 * _KIB * _KIB + 8 * (answer["of"] + case.expected.nbytes):
            _fail(f"{words}: opening it took {answer['grown']:,} bytes of memory", advice)
