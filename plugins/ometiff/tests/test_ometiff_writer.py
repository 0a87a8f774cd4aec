"""The writer of this format keeps the rules of the core, and what it writes opens again."""

from __future__ import annotations

from roiextractors_core.testing import WriterTests


class TestWritingOmeTiff(WriterTests):
    format = "ometiff"
    target_name = "movie.tif"
    dtypes = {"uint16": "uint16", "int8": "int8", "int32": "int32", "float64": "float64"}
