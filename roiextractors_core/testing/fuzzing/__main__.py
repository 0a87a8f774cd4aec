"""The command ``python -m roiextractors_core.testing.fuzzing``."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ...errors import counted, printable
from .outcomes import Defect
from .running import fuzz
from .seeds import Seed, seed_of, seeds_of_tests, seeds_of_writers

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see the module's first lines."""
    given = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="roiextractors-seeds-", ignore_cleanup_errors=True) as folder:
        seeds = _given_seeds(given, Path(folder))
        print(f"{counted(len(seeds), 'recording')}: {', '.join(seed.name for seed in seeds)}", flush=True)
        report = fuzz(
            seeds, cases=given.cases, number=given.seed, first=given.first, keep=given.keep, costly=given.costly
        )
    print(report)
    for kind, defects in (("defects", report.defects), ("not judged", report.unjudged)):
        if defects:
            print(f"\n{kind}:")
            for words, same in _group(defects)[: given.most]:
                print(f"  {len(same)} x {words}\n      as case {same[0].case}: {printable(same[0])[:700]}")
    return 1 if report.defects else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m roiextractors_core.testing.fuzzing", description="Open changed copies of recordings."
    )
    parser.add_argument("--format", required=True, help="the format's name")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1, help="another number, other changes")
    parser.add_argument("--first", type=int, default=0, help="the first case, to see one again")
    parser.add_argument("--seeds", type=Path, nargs="+", default=[], help="recordings to change copies of")
    parser.add_argument(
        "--tests", type=Path, nargs="+", default=[], help="conformance tests whose recordings to change"
    )
    parser.add_argument("--keep", type=Path, help="keep the files of what came out wrong in this folder")
    parser.add_argument("--costly", action="store_true", help="make the changes that cost most time and memory")
    parser.add_argument("--most", type=int, default=40, help="kinds of defects to print")
    return parser


def _given_seeds(given: argparse.Namespace, folder: Path) -> list[Seed]:
    seeds = [seed_of(path, folder / f"given{k}", format=given.format) for k, path in enumerate(given.seeds)]
    if given.tests:
        seeds += seeds_of_tests(given.tests, folder / "tests", format=given.format)
    if not seeds:
        seeds = seeds_of_writers(given.format, folder / "written")
    return seeds


def _group(defects: Sequence[Defect]) -> list[tuple[str, list[Defect]]]:
    """Group the defects by the place where they were raised."""
    groups: dict[str, list[Defect]] = {}
    for defect in defects:
        place = re.search(r" at (\S+:\d+ \S+)", defect.words)
        groups.setdefault(f"{defect.outcome} {place[1] if place else ''}", []).append(defect)
    return sorted(groups.items(), key=lambda item: -len(item[1]))


if __name__ == "__main__":
    sys.exit(main())
