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

from .clock import ClockTests
from .damage import DamageTests
from .declaration import DeclarationTests
from .given import GivenTests
from .metadata import MetadataTests
from .opening import OpeningTests
from .processes import ProcessTests
from .ranges import RangeTests
from .resources import ResourceTests
from .results import ResultTests
from .state import StateTests
from .streams import StreamTests
from .views import ViewTests

__all__ = ["ImagingExtractorTests"]


class ImagingExtractorTests(
    DamageTests,
    ResourceTests,
    ProcessTests,
    MetadataTests,
    StateTests,
    ClockTests,
    ViewTests,
    ResultTests,
    RangeTests,
    StreamTests,
    OpeningTests,
    DeclarationTests,
    GivenTests,
):
    """Inherit, name the format, give the fixtures: every rule of the design becomes a test.

    Attributes
    ----------
    format : str
        The registered name of the format.
    open_options : mapping
        What ``open`` needs to give ``expected``: ``{"channel": "2"}``.
    claims : tuple of str
        Names or families of the kit's foreign files that really are this format: ``("tiff",)`` for a
        general TIFF format.  Empty for most.
    counts_samples : bool
        False if nothing in a recording states its number of samples, as with raw frames; a recording that was
        truncated at the end of a sample is then the same as a shorter one.
    frames_are_contiguous : bool
        False for a recording whose time varies fastest, so that a frame is spread over the whole file.
    files_know_their_place : bool or None
        Must be False for a folder of several files with samples, in which nothing says which of them it is, as with
        chunks of raw frames: exchanging two of them cannot be noticed.  True where each says its number, or the number
        or time of its first sample.
    optional_parts : tuple of str
        Names of files, and of keys in text files, with which a recording may differ from ``expected``'s in silence when they
        are missing: ``("*.env", "binning")``.  Globs are allowed.
    patience : float
        Seconds after which opening 20 cut copies counts as a hang.
    has_own_code : bool
        True for a layout that other code reads than that of the first class of the same format; used by
        :func:`~roiextractors_core.testing.repeated_tests` alone.
    """
