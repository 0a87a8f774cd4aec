"""The writer of this format keeps the rules of the core, and what it writes opens again."""

from __future__ import annotations

from roiextractors_core.testing import WriterTests


class TestWritingOmeZarr(WriterTests):
    format = "omezarr"
    target_name = "movie.zarr"
    dtypes = {name: name for name in ("uint16", "bool", "int64", "float16", "float64")}
