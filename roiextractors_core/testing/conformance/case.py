"""What the author of a plugin provides, checked, and the fixtures made of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi

from ...errors import RoiExtractorsWarning
from ...imaging.extractor import ImagingExtractor
from ...registry.registry import default_registry
from ...registry.spec import FormatSpec
from .judging import with_advice
from .once import MadeOnce

__all__ = ["Case", "GivenRecording", "KIB", "NOT_GIVEN", "as_text", "find_forgotten", "quiet"]

NOT_GIVEN = object()
KIB = 1 << 10


@dataclass(frozen=True, slots=True)
class Case:
    """The author's fixtures, checked."""

    spec: FormatSpec
    recording: Any
    expected: np.ndarray
    rate: float | None
    times: np.ndarray | None
    streams: Mapping[str, tuple[str, ...]]
    by_choice: Mapping[str, Mapping[str, Any]]
    options: Mapping[str, Any]

    @property
    def count(self) -> int:
        return len(self.expected)

    @property
    def is_volumetric(self) -> bool:
        return self.expected.ndim == 4

    def choices(self) -> Iterator[tuple[str, Any, tuple[np.ndarray, float | None, Any]]]:
        """Yield the option, the choice, and the pixels, rate and times of every stream in ``by_choice``."""
        for option, choices in self.by_choice.items():
            for choice, given in choices.items():
                yield option, choice, given if isinstance(given, tuple) else (given, self.rate, self.times)

    def open(self, recording: Any = None, **more: Any) -> ImagingExtractor:
        """Open the recording as this format; warnings of this library do not fail a test."""
        with quiet():
            where = self.recording if recording is None else recording
            opened: ImagingExtractor = roi.open(where, format=self.spec.name, **{**self.options, **more})
            return opened


class GivenRecording:
    """The attributes and fixtures that describe a recording; see :class:`ImagingExtractorTests`."""

    format: str = ""
    open_options: Mapping[str, Any] = MappingProxyType({})
    claims: tuple[str, ...] = ()
    counts_samples: bool = True
    frames_are_contiguous: bool = True
    files_know_their_place: bool | None = None
    optional_parts: tuple[str, ...] = ()
    patience: float = 30.0
    has_own_code: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the kit's own tests explain the plugin's exceptions; those that an author adds stay as they are."""
        super().__init_subclass__(**options)
        # An author's own test may expect an exception of the plugin, and pytest must see it unchanged
        if cls.__module__.startswith(__name__.rsplit(".", 2)[0]):
            for name, test in list(vars(cls).items()):
                if name.startswith("test_"):
                    setattr(cls, name, with_advice(test))

    @pytest.fixture(autouse=True)
    def made_once(self, request: pytest.FixtureRequest) -> None:
        """Run the author's fixtures once for all tests of a class; see :class:`MadeOnce`."""
        plugins = request.config.pluginmanager
        if not plugins.has_plugin(MadeOnce.__qualname__):
            plugins.register(MadeOnce(), MadeOnce.__qualname__)

    @pytest.fixture
    def recording(self) -> Any:
        """The path of a recording (or the list of its files), made by other means than the extractor."""
        return NOT_GIVEN

    @pytest.fixture
    def expected(self) -> Any:
        """The pixels of the recording: ``(samples, rows, columns)``, volumetric ``(samples, rows, columns, planes)``."""
        return NOT_GIVEN

    @pytest.fixture
    def expected_rate(self) -> Any:
        """The rate in samples a second (Hz) that the file states, or None."""
        return NOT_GIVEN

    @pytest.fixture
    def expected_times(self) -> Any:
        """The hardware's own times, seconds, one a sample; None when the format has none."""
        return NOT_GIVEN

    @pytest.fixture
    def expected_streams(self) -> Any:
        """What can be chosen inside the recording: ``{"channel": ("1", "2")}``; nothing when left out."""
        return {}

    @pytest.fixture
    def expected_by_choice(self) -> Any:
        """The pixels of the other streams: ``{"channel": {"1": pixels, "3": pixels}}``; not compared when left out.

        Give ``(pixels, rate, times)`` in place of the pixels of a stream whose clock is not that of ``expected``.
        """
        return {}

    @pytest.fixture
    def large_recording(self) -> Any:
        """A recording of 1 MiB or more for the test of memory; ``recording`` is used when left out."""
        return None

    @pytest.fixture
    def case(
        self,
        recording: Any,
        expected: Any,
        expected_rate: Any,
        expected_times: Any,
        expected_streams: Any,
        expected_by_choice: Any,
    ) -> Any:
        """What the author gave; the tests are skipped where it is not enough, and another test says so."""
        forgotten = find_forgotten(recording=recording, expected=expected, expected_rate=expected_rate)
        if forgotten:
            pytest.skip(f"{', '.join(forgotten)} not given: see test_the_author_gives_every_fixture")
        # Fewer than 3 samples cannot show whether the end of a range is exclusive and the order is kept
        if not isinstance(expected, np.ndarray) or expected.ndim not in (3, 4) or len(expected) < 3:
            pytest.skip("`expected` is not an array of samples: see test_expected_can_tell_mistakes_apart")
        spec = default_registry().get(self.format)
        if spec is None:
            pytest.skip(f"{self.format!r} is not a registered format: see test_the_format_is_registered")
        times = None if expected_times is NOT_GIVEN or expected_times is None else np.asarray(expected_times)
        return Case(
            spec, recording, expected, expected_rate, times, expected_streams, expected_by_choice, self.open_options
        )

    @pytest.fixture
    def extractor(self, case: Case) -> Iterator[ImagingExtractor]:
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


def find_forgotten(**fixtures: Any) -> list[str]:
    return [name for name, value in fixtures.items() if value is NOT_GIVEN]


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RoiExtractorsWarning)
        yield


def as_text(recording: Any) -> Any:
    return [str(path) for path in recording] if isinstance(recording, list) else str(recording)
