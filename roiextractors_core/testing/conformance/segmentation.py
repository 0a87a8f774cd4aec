"""The tests that plugins of segmentations inherit: each rule of the design, on ROIs that the author gives."""

from __future__ import annotations

import fnmatch
import pickle
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

from ...errors import PluginError, RoiExtractorsError, counted
from ...io.notices import received_by
from ...registry.registry import default_registry
from ...registry.spec import FormatSpec
from ...segmentation.extractor import SegmentationExtractor
from ..cuts import Damage, copy_recording, cuts_of, files_of, kin_of, removals_of
from ..foreign import Foreign, foreign_claims, foreign_sources
from ..fresh import digest, in_fresh_process, summary
from ..layouts import costs_once_a_code_path, costs_once_a_format
from .case import NOT_GIVEN, GivenRecording, as_text, find_forgotten, quiet
from .declaration import DeclarationTests
from .given import GivenTests
from .judging import CLOSED_ADVICE, bytes_read, close, fail, recording_calls, refusal, same, within

__all__ = ["SegmentationExtractorTests"]

_FIX = "fix the extractor"
_MIN_TRACE_BYTES = 1 << 20  # below this, a library that reads a file in blocks reads all of it anyway
_DAMAGE_ADVICE = (
    "compare every length that a file states with what is there; raise TruncatedRecordingError or CorruptRecordingError, "
    "or warn (roiextractors_core.io.warn), note it in get_notes, and leave out what is missing"
)


@dataclass(frozen=True, slots=True)
class SegmentationCase:
    """The author's fixtures, checked."""

    spec: FormatSpec
    recording: Any
    expected: SegmentationExtractor
    streams: Mapping[str, tuple[str, ...]]
    options: Mapping[str, Any]

    @property
    def rate(self) -> float | None:
        return self.expected.get_sampling_frequency()

    @property
    def times(self) -> np.ndarray | None:
        return self.expected.get_timestamps() if self.expected.has_time_vector() else None

    def open(self, recording: Any = None, **more: Any) -> SegmentationExtractor:
        """Open the recording as this format; warnings of this library do not fail a test."""
        where = self.recording if recording is None else recording
        with quiet():
            opened: SegmentationExtractor = roi.open(
                where, format=self.spec.name, kind="segmentation", **{**self.options, **more}
            )
            return opened


class SegmentationExtractorTests(GivenRecording):
    """Inherit, name the format, give the fixtures: every rule of the design becomes a test.

    The author writes files by other means than the extractor (``recording``), and says what they contain as a segmentation in memory
    (``expected``)::

        class TestMyRois(SegmentationExtractorTests):
            format = "my-rois"

            @pytest.fixture
            def expected(self):
                return NumpySegmentationExtractor(masks, {"raw": traces}, roi_ids=["a", "b", "c"], sampling_frequency=30.0)

            @pytest.fixture
            def recording(self, tmp_path, expected):
                return write_my_rois(tmp_path / "rois.my", expected)

    Times that the hardware recorded are given as ``times=``.

    Attributes
    ----------
    format : str
        The registered name of the format.
    open_options : mapping
        What ``open`` needs to give ``expected``: ``{"plane": "plane0"}``.
    claims : tuple of str
        As for :class:`ImagingExtractorTests`.
    optional_parts : tuple of str
        Names of files, globs allowed, without which a recording may differ from ``expected`` in silence.
    tolerance : float
        The relative difference that is allowed between values of traces and weights, for files that store them as text.
    also_imaging : bool
        True if the recording contains a movie too, so that ``open`` without ``kind=`` opens that.
    """

    tolerance: float = 0.0
    also_imaging: bool = False

    @pytest.fixture
    def expected(self) -> Any:
        """What the files contain, as a :class:`NumpySegmentationExtractor`."""
        return NOT_GIVEN

    @pytest.fixture
    def case(self, recording: Any, expected: Any, expected_streams: Any) -> Any:
        """What the author gave; the tests are skipped where it is not enough, and another test says so."""
        forgotten = find_forgotten(recording=recording, expected=expected)
        if forgotten:
            pytest.skip(f"{', '.join(forgotten)} not given: see test_the_author_gives_every_fixture")
        if not isinstance(expected, SegmentationExtractor):
            pytest.skip("`expected` is not a segmentation: see test_expected_can_tell_mistakes_apart")
        spec = default_registry().get(self.format)
        if spec is None:
            pytest.skip(f"{self.format!r} is not a registered format: see test_the_format_is_registered")
        return SegmentationCase(spec, recording, expected, expected_streams, self.open_options)

    # What the author gave

    def test_the_author_gives_every_fixture(self, recording: Any, expected: Any) -> None:
        forgotten = find_forgotten(recording=recording, expected=expected)
        if forgotten:
            fail(f"{type(self).__name__} does not say: {', '.join(forgotten)}", "write a @pytest.fixture of each name")

    def test_expected_can_tell_mistakes_apart(self, expected: Any) -> None:
        if expected is NOT_GIVEN:
            pytest.skip("expected not given: see test_the_author_gives_every_fixture")
        if not isinstance(expected, SegmentationExtractor):
            fail(f"`expected` is {type(expected).__name__}", "give a roiextractors_core.NumpySegmentationExtractor")
        count, shape = expected.get_num_rois(), expected.get_frame_shape()
        if count < 3:
            fail(f"`expected` has {counted(count, 'ROI')}", "make files with at least 3 ROIs")
        if expected.has_masks:
            if shape[0] == shape[1]:
                fail(
                    f"the frame of `expected` is square: {shape}",
                    "give rows and columns that differ in number, otherwise swapping goes unnoticed",
                )
            masks = expected.get_roi_masks()
            if len({(m.tobytes()) for m in masks}) < count or len(set(masks.num_pixels.tolist())) == 1:
                fail(
                    "masks of `expected` are equal, or have equally many pixels",
                    "give masks that differ in place and size",
                )
        for name in expected.get_trace_names():
            traces = expected.get_traces(name=name)
            if len(traces) == count or len({trace.tobytes() for trace in traces.T}) < count:
                fail(
                    f"the traces {name!r} of `expected` have as many samples as ROIs, or are equal to each other",
                    "give traces that differ, with another number of samples, otherwise mixing them up goes unnoticed",
                )

    test_the_format_is_registered = GivenTests.test_the_format_is_registered

    # The declaration

    test_the_declaration_is_valid = DeclarationTests.test_the_declaration_is_valid
    test_the_evidence_does_not_match_random_bytes = DeclarationTests.test_the_evidence_does_not_match_random_bytes
    test_one_common_file_name_is_not_evidence = DeclarationTests.test_one_common_file_name_is_not_evidence
    test_the_extractor_class_is_whole = DeclarationTests.test_the_extractor_class_is_whole
    test_declaring_imports_the_core_and_nothing_else = DeclarationTests.test_declaring_imports_the_core_and_nothing_else
    test_the_declaration_agrees_with_the_recording = DeclarationTests.test_the_declaration_agrees_with_the_recording

    def test_the_declaration_says_segmentation(self, case: SegmentationCase) -> None:
        if case.spec.kind != "segmentation":
            fail(f"FormatSpec({case.spec.name!r}) has kind={case.spec.kind!r}", 'write kind="segmentation" in it')

    # Finding and opening

    def test_the_format_is_found_without_being_named(self, case: SegmentationCase) -> None:
        found = roi.explain(case.recording, kind="segmentation")
        if found.best is None or found.best.spec.name != case.spec.name:
            seen = "nothing" if found.best is None else found.best.spec.name
            fail(
                f"open(..., kind='segmentation') would take {seen} for this recording, expected {case.spec.name}:\n{found}",
                "change evidence= or extensions= in FormatSpec; specializes=(...) lets a format come before a more general one",
            )
        with quiet(), roi.open(case.recording, kind="segmentation", **case.options) as opened:
            self._require_same(opened, case.expected, "open(recording, kind='segmentation')", _FIX)

    def test_opening_as_a_movie_names_the_kind(self, case: SegmentationCase) -> None:
        if self.also_imaging:
            pytest.skip("the recording contains a movie too: also_imaging is True")
        words, advice = (
            "open(recording) without kind=",
            "change the evidence in FormatSpec so that it matches the recording",
        )
        with refusal((RoiExtractorsError,), words, advice) as caught, quiet():
            roi.open(case.recording, **case.options).close()
        if "kind='segmentation'" not in str(caught[0]):
            fail(f"{words} raised {caught[0]}, which does not say kind='segmentation'", advice)

    @costs_once_a_format
    def test_foreign_files_are_not_claimed(self, case: SegmentationCase, workplace: Path) -> None:
        self._require_no_claims(case.spec, workplace, foreign_sources())

    def test_a_path_may_be_text_and_hold_any_letters(self, case: SegmentationCase, workplace: Path) -> None:
        copy = copy_recording(case.recording, workplace / "mouse [1] Größe")
        for given in (copy, as_text(copy)):
            with quiet(), roi.open(given, kind="segmentation", **case.options) as opened:
                self._require_same(
                    opened, case.expected, f"open({given!r:.200})", "take str and os.PathLike; escape names for glob"
                )

    def test_an_unknown_option_is_refused(self, case: SegmentationCase) -> None:
        advice = "name the constructor's options one by one"
        with refusal((roi.UnknownOptionError,), "open(..., no_such_option=1)", advice):
            case.open(no_such_option=1).close()

    def test_the_streams_are_listed(self, case: SegmentationCase) -> None:
        seen = roi.streams(case.recording, format=case.spec.name, kind="segmentation")
        expected = {option: tuple(map(str, choices)) for option, choices in case.streams.items()}
        if seen != expected:
            fail(f"streams(recording) gave {seen}, expected {expected}", "return them from the classmethod get_streams")
        for option in expected:
            with refusal(
                (roi.StreamChoiceError,),
                f"open(..., {option}='no such choice')",
                "raise StreamChoiceError.for_option(name, option, choices, seen)",
            ):
                case.open(**{option: "no such choice"}).close()

    def test_opening_reads_no_traces_and_writes_nothing(self, case: SegmentationCase) -> None:
        before = _digests(case.recording)
        asked: list[str] = []
        kind = case.spec.load()
        original = kind.get_trace
        try:
            kind.get_trace = recording_calls(original, asked, "get_trace")
            with case.open() as opened:
                repr(opened)
                opened.get_num_rois()
                opened.get_property_keys()
                opened.get_roi_ids()
        finally:
            kind.get_trace = original
        if asked:
            fail("opening, repr() or a property read traces", "read them in get_trace alone")
        with case.open() as opened:
            summary(opened)
        if _digests(case.recording) != before:
            fail("a file of the recording was changed, added or removed", "open files for reading only")

    # What is inside

    def test_the_recording_is_what_was_written(self, case: SegmentationCase, extractor: SegmentationExtractor) -> None:
        self._require_same(extractor, case.expected, "the recording", _FIX)

    def test_the_clock_is_that_of_the_recording(self, case: SegmentationCase, extractor: SegmentationExtractor) -> None:
        rate, times = case.rate, case.times
        # approx() does not take None with a tolerance
        if extractor.get_sampling_frequency() != (rate and pytest.approx(rate, rel=1e-9)):
            fail(
                f"get_sampling_frequency() is {extractor.get_sampling_frequency()!r}, expected {rate!r}",
                "read the rate of the file; return None if it has none",
            )
        if times is not None:
            if extractor.times_source != "native":
                fail(f"times_source is {extractor.times_source!r}, expected 'native'", "override get_native_timestamps")
            close(extractor.get_timestamps(), times, "get_timestamps()", "return the times of the file, in seconds")
            close(extractor.get_timestamps(1, 3), times[1:3], "get_timestamps(1, 3)", "return the times of the range")
        with case.open(sampling_frequency=12.25) as opened:
            if opened.get_sampling_frequency() != 12.25:
                fail(
                    f"open(..., sampling_frequency=12.25) has {opened.get_sampling_frequency()} Hz",
                    "pass it to super().__init__",
                )

    # Ranges and choices

    def test_parts_of_traces_are_the_parts_of_the_whole(
        self, case: SegmentationCase, extractor: SegmentationExtractor
    ) -> None:
        ids, count = case.expected.get_roi_ids(), case.expected.get_num_samples()
        advice = "use start_sample, end_sample (exclusive) and roi_indices, in their order, and nothing else"
        for name in case.expected.get_trace_names():
            whole = extractor.get_traces(name=name)
            for chosen, start, end in (
                (ids[::-1], 0, count),
                (ids[1:2], 1, 2),
                (ids[:2], count - 1, count),
                (ids, 1, count - 1),
                ([], 0, count),
                ([ids[0], ids[-1], ids[0]], 0, 2),
            ):
                words = f"get_traces({chosen}, {start}, {end}, {name!r})"
                places = [ids.index(one) for one in chosen]
                same(extractor.get_traces(chosen, start, end, name), whole[start:end][:, places], words, advice)
            empty = extractor.get_traces(start_frame=1, end_frame=1, name=name)
            if empty.shape != (0, len(ids)):
                fail(
                    f"get_traces(start_frame=1, end_frame=1) has shape {empty.shape}, expected {(0, len(ids))}", advice
                )

    def test_parts_of_masks_are_the_parts_of_the_whole(
        self, case: SegmentationCase, extractor: SegmentationExtractor
    ) -> None:
        if not case.expected.has_masks:
            pytest.skip("the recording has no masks")
        ids = case.expected.get_roi_ids()
        whole = extractor.get_roi_pixel_masks()
        for chosen in (ids[::-1], ids[1:2], [ids[-1], ids[0]], []):
            seen = extractor.get_roi_pixel_masks(chosen)
            expected = [whole[ids.index(one)] for one in chosen]
            if len(seen) != len(expected) or not all(map(np.array_equal, seen, expected)):
                fail(
                    f"get_roi_pixel_masks({chosen}) is not that part of get_roi_pixel_masks()",
                    "return the masks of roi_indices, in their order",
                )

    def test_what_does_not_exist_is_refused(self, case: SegmentationCase, extractor: SegmentationExtractor) -> None:
        count = case.expected.get_num_samples()
        calls: dict[str, Callable[[], Any]] = {
            "get_traces(['no such ROI'])": lambda: extractor.get_roi_masks(["no such ROI"]),
            "get_traces(name='no such trace')": lambda: extractor.get_traces(name="no such trace"),
            "get_property('no such property')": lambda: extractor.get_property("no such property"),
            "get_image('no such image')": lambda: extractor.get_image("no such image"),
            f"slice_samples(0, {count + 1})": lambda: extractor.slice_samples(0, count + 1),
        }
        for words, call in calls.items():
            with refusal(
                (roi.RangeError,),
                words,
                "call super().get_image for a name that is unknown; leave the rest to the base",
            ):
                call()

    def test_results_belong_to_the_caller(self, case: SegmentationCase, extractor: SegmentationExtractor) -> None:
        for name in case.expected.get_trace_names():
            first = extractor.get_traces(name=name)
            if not (first.flags.writeable and first.dtype.isnative):
                fail(
                    f"get_traces(name={name!r}) is read-only or of foreign byte order",
                    "return a native array of your own",
                )
            kept = first.copy()
            first[...] = 0
            same(
                extractor.get_traces(name=name),
                kept,
                "after the caller wrote into the result, get_traces",
                "copy what is kept",
            )
        for name in case.expected.get_image_names():
            image = extractor.get_image(name)
            kept = image.copy()
            if image.flags.writeable:
                image[...] = 0
            same(
                extractor.get_image(name),
                kept,
                "after the caller wrote into the result, get_image",
                "copy what is kept",
            )

    @costs_once_a_code_path
    def test_one_trace_reads_no_more_than_it_needs(self, case: SegmentationCase) -> None:
        names = case.expected.get_trace_names()
        if not names or case.expected.get_traces(name=names[0]).nbytes < _MIN_TRACE_BYTES:
            pytest.skip(f"the traces are below {_MIN_TRACE_BYTES:,} bytes: give large ones in a class of its own")
        one = case.expected.get_roi_ids()[:1]
        with case.open() as opened:
            opened.get_traces(one, 0, 1, names[0])
            whole = -bytes_read()
            opened.get_traces(name=names[0])
            whole += bytes_read()
            part = -bytes_read()
            opened.get_traces(one, 0, 10, names[0])
            part += bytes_read()
        if part > max(whole // 4, 1 << 16):
            fail(
                f"ten samples of one ROI read {part:,} bytes, and all traces read {whole:,}; the limit is a quarter of that",
                "read the range that was asked for: a dataset of HDF5 or a memory map is indexed before it becomes an array",
            )

    # Views, properties, lifecycle

    def test_views_keep_everything_together(self, case: SegmentationCase, extractor: SegmentationExtractor) -> None:
        ids, count = case.expected.get_roi_ids(), case.expected.get_num_samples()
        chosen, start, end = [ids[-1], ids[0]], min(1, count), max(min(1, count), count - 1)
        for words, view in (
            ("select_rois(...).slice_samples(...)", extractor.select_rois(chosen).slice_samples(start, end)),
            ("slice_samples(...).select_rois(...)", extractor.slice_samples(start, end).select_rois(chosen)),
        ):
            expected = case.expected.select_rois(chosen).slice_samples(start, end)
            self._require_same(view, expected, words, "leave views to the base class")
            if extractor.times_source is not None:
                close(
                    view.get_timestamps(), extractor.get_timestamps(start, end), words, "leave views to the base class"
                )

    def test_a_closed_recording_is_not_read(self, case: SegmentationCase) -> None:
        opened = case.open()
        opened.close()
        opened.close()
        for words, call in (("get_roi_ids of a trace", opened.get_roi_masks), ("get_traces", opened.get_traces_dict)):
            with refusal(
                (roi.ClosedRecordingError, roi.UnsupportedRecordingError), f"{words} after close()", CLOSED_ADVICE
            ):
                call()
                if not case.expected.get_trace_names():
                    raise roi.ClosedRecordingError

    @costs_once_a_format
    def test_it_pickles_into_a_fresh_process(self, case: SegmentationCase) -> None:
        with case.open() as opened:
            opened.set_property("of_the_user", np.arange(opened.get_num_rois()))
            content = pickle.dumps(opened)
            traces = sum(opened.get_traces(name=name).nbytes for name in opened.get_trace_names())
            if len(content) > 20_000 + traces // 4:
                fail(
                    f"a pickle has {len(content):,} bytes, with traces of {traces:,}",
                    "keep paths in the constructor's arguments, not arrays",
                )
            expected = {"name": "it", "error": "", **summary(opened)}
        outcome = in_fresh_process("unpickle", {"pickles": {"it": content}})
        if outcome.failure or not outcome.answers or outcome.last != expected:
            fail(
                f"unpickled in a fresh process it gave {outcome.failure or _difference(outcome.last, expected)}",
                "pass everything that opening needs to the constructor",
            )

    def test_it_can_be_read_from_several_threads(self, case: SegmentationCase) -> None:
        with case.open() as opened:
            expected, wrong = summary(opened), []

            def read() -> None:
                for _ in range(5):
                    try:
                        if summary(opened) != expected:
                            wrong.append("other values")
                    except Exception as error:  # noqa: BLE001 - the border to the plugin
                        wrong.append(f"{type(error).__name__}: {error}")

            threads = [threading.Thread(target=read, daemon=True) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(self.patience)
        if wrong:
            fail(
                f"read from four threads it gave {wrong[0]}",
                "threads must not share a position in a file: read through PositionedFile",
            )
        if any(thread.is_alive() for thread in threads):
            fail(f"four threads did not end within {self.patience:g} s", "do not hold a lock while waiting for another")

    # Damage

    @costs_once_a_code_path
    def test_a_cut_recording_is_an_error_or_said(self, case: SegmentationCase, workplace: Path) -> None:
        copy = copy_recording(case.recording, workplace / "cut")
        for damage in cuts_of((*files_of(copy), *kin_of(copy))):
            self._judge(case, copy, damage)

    @costs_once_a_code_path
    def test_a_missing_file_is_an_error_or_said(self, case: SegmentationCase, workplace: Path) -> None:
        copy = copy_recording(case.recording, workplace / "missing")
        files = (*files_of(copy), *kin_of(copy))
        if len(files) < 2:
            pytest.skip("the recording is one file")
        for damage in removals_of(files):
            self._judge(case, copy, damage)

    def _judge(self, case: SegmentationCase, copy: Any, damage: Damage) -> None:
        originals = {path: path.read_bytes() for path in damage.paths}

        def attempt() -> None:
            issued: list[str] = []
            with received_by(lambda message, _: issued.append(message)):
                with roi.open(copy, format=case.spec.name, kind="segmentation", **case.options) as opened:
                    summary(opened)
                    if not self._is_optional(damage):
                        self._require_no_silent_loss(opened, case.expected, damage.words, issued)

        try:
            damage.apply(originals)
            within(self.patience, attempt, damage.words)
        except PluginError as error:
            fail(f"{damage.words}: {error.__cause__!r}, which is not a clear error", _DAMAGE_ADVICE)
        except RoiExtractorsError:
            return
        except Exception as error:  # noqa: BLE001 - the border to the plugin
            fail(f"{damage.words}: {type(error).__name__}: {error}, which is not a clear error", _DAMAGE_ADVICE)
        finally:
            for path, content in originals.items():
                path.write_bytes(content)

    def _require_no_silent_loss(
        self, opened: SegmentationExtractor, expected: SegmentationExtractor, words: str, issued: list[Any]
    ) -> None:
        try:
            self._require_same(opened, expected, words, "")
        except pytest.fail.Exception as failure:
            if not issued:
                fail(f"{str(failure).partition(chr(10))[0]}, without a warning", _DAMAGE_ADVICE)
            # What is left must be what was written
            kept = [name for name in opened.get_trace_names() if name in expected.get_trace_names()]
            count = min(opened.get_num_samples(), expected.get_num_samples())
            ids = [one for one in opened.get_roi_ids() if one in expected.get_roi_ids()]
            for name in kept:
                self._same(
                    opened.get_traces(ids, 0, count, name),
                    expected.get_traces(ids, 0, count, name),
                    f"{words}: get_traces(name={name!r})",
                    _DAMAGE_ADVICE,
                )

    def _is_optional(self, damage: Damage) -> bool:
        return any(fnmatch.fnmatchcase(Path(damage.path).name, glob) for glob in self.optional_parts)

    # Comparing

    def _require_same(
        self, seen: SegmentationExtractor, expected: SegmentationExtractor, words: str, advice: str
    ) -> None:
        for what in ("get_roi_ids", "get_frame_shape", "get_num_planes", "get_num_samples", "get_background_ids"):
            got, right = getattr(seen, what)(), getattr(expected, what)()
            if got != right:
                fail(f"{words}: {what}() is {got!r:.200}, expected {right!r:.200}", advice)
        for what in ("get_trace_names", "get_image_names", "get_property_keys"):
            got, right = set(getattr(seen, what)()), set(getattr(expected, what)())
            # An extractor may know properties that the author does not list
            if (right - got) if what == "get_property_keys" else (right != got):
                fail(f"{words}: {what}() is {sorted(got)}, expected {sorted(right)}", advice)
        if seen.has_masks != expected.has_masks:
            fail(f"{words}: has_masks is {seen.has_masks}, expected {expected.has_masks}", advice)
        if expected.has_masks:
            self._require_same_masks(seen.get_roi_masks(), expected.get_roi_masks(), words, advice)
        for name in expected._all_trace_names():
            self._same(
                seen.get_traces(name=name),
                expected.get_traces(name=name),
                f"{words}: get_traces(name={name!r})",
                advice,
            )
        for name in expected.get_image_names():
            self._same(seen.get_image(name), expected.get_image(name), f"{words}: get_image({name!r})", advice)
        for key in expected.get_property_keys():
            got, right = seen.get_property(key), expected.get_property(key)
            numbers = got.dtype.kind in "iufb" and right.dtype.kind in "iufb"
            if numbers and got.shape == right.shape:
                equal = np.allclose(got, right, rtol=max(self.tolerance, 1e-12), atol=0, equal_nan=True)
            else:
                equal = got.tolist() == right.tolist()
            if not equal:
                fail(f"{words}: property {key!r} is {got!r:.100}, expected {right!r:.100}", advice)

    def _require_same_masks(self, seen: roi.RoiMasks, expected: roi.RoiMasks, words: str, advice: str) -> None:
        for number in range(len(expected)):
            got, right = (masks.pixel_list(number) for masks in (seen, expected))
            # The order of the pixels of a mask means nothing
            got, right = (list_[np.lexsort(list_[:, :-1].T)] for list_ in (got, right))
            if got.shape != right.shape or not np.array_equal(got[:, :-1], right[:, :-1]):
                fail(
                    f"{words}: the mask of ROI number {number} has {counted(len(got), 'pixel')}, beginning with "
                    f"{got[:1, :-1].tolist()}; expected {counted(len(right), 'pixel')}, beginning with {right[:1, :-1].tolist()}",
                    "rows come first; check the order of the pixels (C or F) and the first index (0 or 1)"
                    if advice == _FIX
                    else advice,
                )
            self._same(got[:, -1], right[:, -1], f"{words}: the weights of the mask of ROI number {number}", advice)

    def _same(self, seen: Any, expected: np.ndarray, words: str, advice: str) -> None:
        if not self.tolerance or not isinstance(seen, np.ndarray) or seen.shape != expected.shape:
            same(seen, expected, words, advice)
        elif not np.allclose(seen, expected, rtol=self.tolerance, atol=0, equal_nan=True):
            at = int(np.argmax(~np.isclose(seen, expected, rtol=self.tolerance, atol=0, equal_nan=True)))
            got, right = seen.reshape(-1)[at], expected.reshape(-1)[at]
            fail(f"{words} contains {got!r}, expected {right!r} to a part in {1 / self.tolerance:.0e}", advice)

    def _require_no_claims(self, spec: FormatSpec, workplace: Path, sources: tuple[Foreign, ...]) -> None:
        found = foreign_claims(spec, workplace, own=self.claims, sources=sources)
        if found:
            fail(
                f"{spec.name} claims what belongs to others:\n  " + "\n  ".join(map(str, found)),
                "narrow evidence= in FormatSpec, or, if these really are this format, name their families in `claims`",
            )


def _difference(seen: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    keys = [key for key in expected if seen.get(key) != expected[key]]
    return seen.get("error") or "; ".join(
        f"{key}: {seen.get(key)!r:.80}, expected {expected[key]!r:.80}" for key in keys
    )


def _digests(recording: Any) -> dict[str, str]:
    return {str(path): digest(np.frombuffer(path.read_bytes(), np.uint8)) for path in files_of(recording)}
