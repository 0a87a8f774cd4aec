"""Choosing a stream of the recording."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import roiextractors_core as roi

from ...errors import StreamChoiceError
from ..fresh import HANGS, digest, in_fresh_process
from ..layouts import costs_once_a_format_with
from .case import Case, GivenRecording, as_text, quiet
from .judging import fail, refusal, same

__all__ = ["StreamTests"]

HASH_SEEDS = (1, 2, 3, 4)


class StreamTests(GivenRecording):
    """Every stream is listed, opens, and has pixels of its own."""

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
                        f"get_streams lists {option}={choice!r}, and open(..., {option}={choice!r}) raised {type(error).__name__}: {error}",
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
        for option, choices in case.by_choice.items():
            for choice, pixels in choices.items():
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
                    "list what can be chosen in the order of the file, or sorted: the order of a set is another one in every process",
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
