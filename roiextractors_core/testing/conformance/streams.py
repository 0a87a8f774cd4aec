"""Choosing a stream of the recording."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

from ...errors import StreamChoiceError
from ..fresh import HANGS, digest, in_fresh_process
from ..layouts import costs_once_a_format_with
from .case import NOT_GIVEN, Case, GivenRecording, as_text, quiet
from .judging import close, fail, refusal, same

__all__ = ["StreamTests"]

HASH_SEEDS = (1, 2, 3, 4)


class StreamTests(GivenRecording):
    """Every stream is listed, opens, and has pixels, a clock and a name of its own."""

    def test_the_streams_are_those_of_the_recording(self, case: Case) -> None:
        seen = roi.streams(case.recording, format=case.spec.name)
        expected = {str(option): tuple(map(str, choices)) for option, choices in case.streams.items()}
        if seen != expected:
            fail(
                f"roi.streams gives {seen}, expected_streams {expected}",
                "fix the classmethod get_streams, or the fixture expected_streams",
            )

    def test_every_stream_can_be_opened(self, case: Case) -> None:
        if not case.streams:
            pytest.skip("this recording has nothing to choose from: expected_streams is empty")
        for option, choices in case.streams.items():
            for choice in choices:
                try:
                    with case.open(**{option: choice}) as opened:
                        opened.get_series(0, min(1, len(opened)))
                except Exception as error:  # noqa: BLE001 - the border to the plugin
                    fail(
                        f"get_streams lists {option}={choice!r}, but open(..., {option}={choice!r}) raised "
                        f"{type(error).__name__}: {error}",
                        "let the constructor take every name that get_streams gives, as text",
                    )

    def test_another_choice_gives_other_pixels(self, case: Case) -> None:
        if not any(len(choices) > 1 for choices in case.streams.values()):
            pytest.skip("this recording has nothing to choose from: expected_streams does not name several")
        for option, choices in case.streams.items():
            seen: dict[str, str] = {}
            for choice in choices:
                with case.open(**{option: choice}) as opened:
                    pixels = digest(opened.get_series())
                if pixels in seen:
                    fail(
                        f"open(..., {option}={seen[pixels]!r}) and open(..., {option}={choice!r}) gave the same pixels",
                        f"read the {option} that was chosen; or, if the recording contains the same twice, provide one whose streams differ",
                    )
                seen[pixels] = choice

    def test_every_choice_gives_the_pixels_recorded_for_it(self, case: Case) -> None:
        if not case.by_choice:
            pytest.skip("only the pixels of open_options are known: give the others in expected_by_choice")
        for option, choice, (pixels, _, _) in case.choices():
            with case.open(**{option: choice}) as opened:
                for words, seen, expected in (
                    ("", opened.get_series(), pixels),
                    (", read by index,", opened.get_samples([1, 0]), pixels[[1, 0]]),
                ):
                    same(
                        seen,
                        expected,
                        f"open(..., {option}={choice!r}){words}",
                        f"read the {option} that was chosen",
                    )

    def test_every_choice_has_the_clock_recorded_for_it(self, case: Case, expected_times: Any) -> None:
        if not case.by_choice or expected_times is NOT_GIVEN:
            pytest.skip("only the clock of open_options is known: give the others in expected_by_choice")
        for option, choice, (_, rate, times) in case.choices():
            call = f"open(..., {option}={choice!r})"
            advice = (
                f"read the rate and the times of the {option} that was chosen; if its clock is not that of `expected`, give "
                f"(pixels, rate, times) in expected_by_choice: {{{option!r}: {{{choice!r}: (pixels, 30.0, None)}}}}"
            )
            with case.open(**{option: choice}) as opened:
                seen, native = opened.get_sampling_frequency(), opened.get_native_timestamps()
            if seen != rate and (seen is None or rate is None or abs(seen - rate) > 1e-9 * rate):
                fail(f"{call}.get_sampling_frequency() is {seen!r}, expected {rate!r}", advice)
            if times is None and native is not None:
                fail(f"{call}.get_native_timestamps() gave times, expected None", advice)
            if times is not None:
                close(native, np.asarray(times), f"{call}.get_native_timestamps()", advice)

    def test_the_metadata_names_the_channel_that_was_chosen(self, case: Case) -> None:
        choices = tuple(map(str, case.streams.get("channel", ())))
        if len(choices) < 2:
            pytest.skip("the recording has one channel: expected_streams does not name several")
        chosen_by: dict[str, str] = {}
        for choice in choices:
            with case.open(channel=choice) as opened:
                channels = opened.metadata.channels
            name = channels[0].name if len(channels) == 1 else None
            words = f"open(..., channel={choice!r}).metadata.channels names {name!r}"
            if name in choices and name != choice:
                fail(words, "return the channel that was chosen alone: channels=(ChannelMetadata(its name),)")
            if name and name in chosen_by:
                fail(
                    f"{words}, as it does for channel={chosen_by[name]!r}",
                    "return the name of the channel that was chosen; or, if the recording gives two channels one name, provide one whose "
                    "names differ",
                )
            if name:
                chosen_by[name] = choice
        if not chosen_by:
            pytest.skip("the metadata does not name the channels")

    @costs_once_a_format_with("expected_streams")
    def test_the_streams_do_not_depend_on_the_hash_seed(self, case: Case) -> None:
        if not any(len(choices) > 1 for choices in case.streams.values()):
            pytest.skip("this recording has nothing to choose from: expected_streams does not name several")
        arguments = {"spec": case.spec.to_dict(), "recording": as_text(case.recording)}
        # The order of a set of text differs from process to process; two names come in the same order in half of them
        with ThreadPoolExecutor() as pool:
            outcomes = list(
                pool.map(lambda seed: in_fresh_process("list_streams", arguments, hash_seed=seed), HASH_SEEDS)
            )
        for seed, outcome in zip(HASH_SEEDS, outcomes, strict=True):
            if outcome.timed_out or outcome.failure:
                fail(f"listing the streams in a fresh process failed: {outcome.failure or HANGS}", "fix get_streams")
            seen = {option: tuple(choices) for option, choices in outcome.last["streams"].items()}
            expected = {str(option): tuple(map(str, choices)) for option, choices in case.streams.items()}
            if seen != expected:
                fail(
                    f"with PYTHONHASHSEED={seed} roi.streams gives {seen}, expected {expected}",
                    "list what can be chosen in the order of the file, or sorted: the order of a set differs "
                    "from process to process",
                )

    def test_of_several_channels_one_must_be_chosen(self, case: Case) -> None:
        channels = case.streams.get("channel", ())
        if len(channels) < 2:
            pytest.skip("the recording has one channel: expected_streams does not name several")
        others = {key: value for key, value in case.options.items() if key != "channel"}
        advice = 'raise StreamChoiceError.for_option(name, "channel", choices) when none was named'
        with refusal((StreamChoiceError,), "opening without channel=", advice) as caught:
            with quiet():
                roi.open(case.recording, format=case.spec.name, **others).close()
        error = caught[0]
        if isinstance(error, StreamChoiceError) and (error.option != "channel" or tuple(error.choices) != channels):
            fail(f"the error offers {error.option!r}: {error.choices}, expected 'channel': {channels}", advice)

    def test_an_unknown_stream_is_refused(self, case: Case) -> None:
        if not case.streams:
            pytest.skip("this recording has nothing to choose from: expected_streams is empty")
        for option in case.streams:
            advice = f'raise StreamChoiceError.for_option(name, "{option}", choices, seen={option})'
            with refusal((StreamChoiceError,), f"open(..., {option}='no such one')", advice):
                case.open(**{option: "no such one"}).close()
