"""The writer of this format keeps the rules of the core, and what it writes opens again."""

from __future__ import annotations

import pytest

from roiextractors_core.testing import WriterTests

pytest.importorskip("pynwb", reason="pynwb is not installed: the extra [write]")


class TestWritingNwb(WriterTests):
    format = "nwb"
    target_name = "movie.nwb"
    dtypes = {"uint16": "uint16", "float32": "float32"}
