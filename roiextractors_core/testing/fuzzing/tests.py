"""The test that a plugin inherits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..layouts import costs_once_a_code_path
from .outcomes import Report
from .running import fuzz
from .seeds import keep_seed

__all__ = ["FuzzTests", "require_no_defects"]


class FuzzTests:
    """Inherit with the conformance tests: changed copies of the recording open correctly, or fail with a clear error.

    Attributes
    ----------
    fuzz_cases : int
        How many changed copies.
    fuzz_number : int
        Which ones.
    fuzz_reader : str
        Another reader of the format, which judges pixels that are neither the recorded ones nor uncompressed in the file:
        ``"module:function"`` or ``"path/to/file.py:function"``.  The function takes a path and ``(rows, columns)``, and
        yields every frame of that shape in the file.  numpy, tifffile, h5py and zarr judge their files without it.
    fuzz_limits : tuple of str
        Outcomes that are a known limit of the format: ``("reads that disagree",)`` for damage that nobody can see.
    """

    fuzz_cases: int = 100
    fuzz_number: int = 1
    fuzz_reader: str = ""
    fuzz_limits: tuple[str, ...] = ()

    @costs_once_a_code_path
    def test_changed_copies_open_rightly_or_say_what_is_wrong(self, case: Any, workplace: Path) -> None:
        seed = keep_seed(case, type(self).__name__, workplace / "seed", reader=self.fuzz_reader)
        report = fuzz([seed], cases=self.fuzz_cases, number=self.fuzz_number)
        require_no_defects(report, known=self.fuzz_limits)


def require_no_defects(report: Report, *, known: Sequence[str] = ()) -> None:
    """Fail a test that found defects, and say which and how to see them again.

    Parameters
    ----------
    report : Report
    known : sequence of str
        Outcomes that are a known limit of the format, and no defect of its extractor.
    """
    defects = [defect for defect in report.defects if defect.outcome not in known]
    if defects:
        import pytest

        first = "\n".join(f"- {defect}" for defect in defects[:5])
        pytest.fail(
            f"{len(defects)} of {report.cases} changed copies came out wrong:\n{first}\n"
            "A changed file is read as it is now, or refused by an error of roiextractors_core.errors, within 5 s and 256 MiB: "
            "check every number of the file before it is used",
            pytrace=False,
        )
