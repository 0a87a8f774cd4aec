"""The performance page shows what was measured, which targets were missed, and which readers were not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare
from benchmarks.page import missed_targets, page, rows_of


def planted(**changed: Any) -> dict[str, Any]:
    """A row: 400 MB in 0.1 s, the limit's 0.09 s, and a rival's 0.3 s."""
    row = {
        "row": "TIFF, the whole",
        "group": "sequential",
        "unit": "GB/s",
        "nbytes": 400e6,
        "ours": {"median": 0.1, "min": 0.09, "ratio": 1.0},
        "rivals": {
            "os.preadv": {"median": 0.09, "min": 0.08, "ratio": 0.9},
            "tifffile": {"median": 0.3, "min": 0.29, "ratio": 3.0},
        },
        "once": [],
        "missing": {},
        "limit": "os.preadv",
        "at_least": 0.85,
        "at_most": None,
        "growth": None,
        "note": "",
    }
    assert changed.keys() <= row.keys()
    return {**row, **changed}


def ratios(**values: float) -> dict[str, dict[str, float]]:
    return {name: {"median": value * 0.1, "min": value * 0.1, "ratio": value} for name, value in values.items()}


def written(*rows: dict[str, Any], failed: tuple[str, ...] = ()) -> str:
    found = rows_of({"benchmarks": [{"extra_info": row} for row in rows]})
    return page(
        found,
        command="python -m benchmarks",
        date="1 May 2026",
        machine={"processor": "A Processor"},
        versions={"numpy": "2.0"},
        failed=failed,
    )


def lines_of(text: str, heading: str) -> list[str]:
    return [line for line in text.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines() if line]


def test_a_row_shows_speed_ratio_and_target() -> None:
    table = lines_of(written(planted()), "Sequential reading")[-2:]
    assert table == [
        "| TIFF, the whole | 4.00 GB/s | os.preadv (limit) | 4.44 GB/s | 0.90 | >= 0.85 |  |",
        "| TIFF, the whole | 4.00 GB/s | tifffile | 1.33 GB/s | 3.00 |  |  |",
    ]


def test_a_row_ahead_of_all_rivals_and_near_the_limit_misses_no_target() -> None:
    assert missed_targets(planted()) == {}
    assert lines_of(written(planted()), "Missed targets") == ["None."]


def test_slower_than_a_rival_is_a_missed_target_in_the_table_and_in_the_list() -> None:
    text = written(planted(rivals=ratios(tifffile=0.5)))
    assert "| tifffile | 8.00 GB/s | 0.50 |  | missed |" in text
    (line,) = lines_of(text, "Missed targets")
    assert line == "- Sequential reading: TIFF, the whole: ratio 0.50 to tifffile."


@pytest.mark.parametrize(("ratio", "is_missed"), [(0.994, True), (0.996, False), (1.0, False)])
def test_a_ratio_that_is_printed_as_one_meets_the_target(ratio: float, is_missed: bool) -> None:
    assert bool(missed_targets(planted(rivals=ratios(tifffile=ratio)))) == is_missed


@pytest.mark.parametrize(("target", "is_missed"), [(0.8, False), (0.9, True), (None, False)])
def test_the_target_against_the_limit_is_a_fraction_of_it(target: float | None, is_missed: bool) -> None:
    row = planted(rivals={"os.preadv": {"median": 0.085, "min": 0.08, "ratio": 0.85}}, at_least=target)
    assert bool(missed_targets(row)) == is_missed
    assert ("| missed |" in written(row)) == is_missed


def test_times_are_shown_in_units_of_their_size() -> None:
    shown = []
    for median in (0.00012345, 0.0123, 0.4567, 12.5):
        row = planted(unit="ms", nbytes=0, rivals={}, ours={"median": median, "min": median, "ratio": 1.0})
        shown.append(lines_of(written(row), "Sequential reading")[-1].split("|")[2].strip())
    assert shown == ["0.123 ms", "12.30 ms", "457 ms", "12.50 s"]


def test_more_than_a_fixed_bound_is_a_missed_target() -> None:
    row = planted(unit="ms", nbytes=0, rivals={}, at_most=20)
    text = written(row)
    assert "| TIFF, the whole | 100 ms | | | | <= 20 ms | missed |" in text
    assert "100 ms (target at most 20 ms)." in text
    assert missed_targets({**row, "at_most": 101}) == {}


def test_memory_is_judged_in_mebibytes() -> None:
    row = planted(unit="MiB", group="memory", rivals=ratios(h5py=2.0), at_most=32, limit="", at_least=None)
    assert missed_targets({**row, "ours": {"median": 31.0}}) == {}
    assert missed_targets({**row, "ours": {"median": 40.0}}) == {"": "40.0 MiB (target at most 32 MiB)"}


def test_a_rival_that_is_not_installed_is_named_once_with_the_reason() -> None:
    missing = {"pims": "pims is not installed"}
    text = written(planted(missing=missing), planted(row="another", missing=missing))
    assert lines_of(text, "Not installed for this run") == ["- pims: pims is not installed."]
    assert "Not installed" not in written(planted())


def test_scaling_is_a_table_of_counts_with_gaps_where_nothing_was_measured() -> None:
    opening = {"row": "opening a TIFF", "group": "opening", "unit": "ms", "nbytes": 0, "limit": "", "at_least": None}
    text = written(
        planted(**opening, growth=["pages", 1000], rivals=ratios(tifffile=2.0)),
        planted(**opening, growth=["pages", 1_000_000], rivals={}),
        planted(**opening, growth=["pages", 10_000], rivals=ratios(tifffile=0.5)),
    )
    table = lines_of(text, "Scaling")
    assert table == [
        "### Number of pages",
        "| | reader | 1,000 | 10,000 | 1,000,000 |",
        "|---|---|---|---|---|",
        "| opening a TIFF | **ours** | 100 ms | 100 ms | 100 ms |",
        "| | tifffile | 200 ms (ratio 2.00) | 50.00 ms (ratio 0.50, missed) |  |",
    ]
    assert lines_of(text, "Missed targets") == ["- Opening: opening a TIFF, 10,000 pages: ratio 0.50 to tifffile."]
    assert "## Opening" not in text


def test_failed_benchmarks_are_listed_with_the_missed_targets() -> None:
    (line,) = lines_of(written(planted(), failed=("test_video",)), "Missed targets")
    assert line == "- Not measured because it failed: test_video."


def test_the_page_names_its_command_date_machine_and_versions() -> None:
    text = written(planted())
    assert "<!-- Written by `python -m benchmarks`; do not edit. -->\n\n# Performance\n" in text[:400]
    assert re.search(r"^Written by `python -m benchmarks` on 1 May 2026\.$", text, re.MULTILINE)
    assert "| processor | A Processor |" in text
    assert "| numpy | 2.0 |" in text


def test_groups_are_in_the_order_of_a_readers_questions() -> None:
    text = written(planted(group="memory", unit="MiB"), planted(group="opening"), planted(group="start"))
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert titles == ["Missed targets", "Import and discovery", "Opening", "Memory beyond the result"]


def test_a_benchmark_that_measures_no_row_is_left_out() -> None:
    assert rows_of({"benchmarks": [{"extra_info": {}}, {"extra_info": planted()}]}) == [planted()]


def comparison(before: list[float], now: list[float]) -> compare.Comparison:
    return compare.Comparison("opening: x", before, now)


def test_a_row_is_slower_only_if_every_measure_says_so() -> None:
    assert comparison([1.0, 1.1, 1.2, 1.1], [2.0, 2.2, 2.1, 2.4]).verdict == "slower"
    assert comparison([2.0, 2.2, 2.1, 2.4], [1.0, 1.1, 1.2, 1.1]).verdict == "faster"
    assert comparison([1.0, 1.1, 1.2, 1.1], [1.01, 1.1, 1.2, 1.1]).verdict == ""
    # one quiet moment on one side, or one busy moment on the other, is chance
    assert comparison([0.5, 1.1, 1.2, 1.1, 1.1], [1.0, 1.1, 1.2, 1.1, 1.1]).verdict == ""
    assert comparison([1.0, 1.1, 1.2, 1.1, 1.1], [1.0, 9.0, 1.2, 1.1, 1.1]).verdict == ""


def test_what_became_slower_comes_first_in_the_table() -> None:
    rows = [comparison([1.0] * 4, [1.0] * 4), compare.Comparison("zz", [1.0] * 4, [3.0] * 4)]
    first = compare.table(rows).splitlines()[2]
    assert first == "| zz | 1000.000 | 3000.000 | 0.33 to 0.33 | slower |"


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "fork"), reason="revisions are compared where a process inherits open files")
def test_two_revisions_take_turns(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    (root / "benchmarks").mkdir(parents=True)
    for name in ("__init__.py", "conftest.py", "compare.py", "page.py", "__main__.py"):
        source = Path(compare.__file__).with_name(name)
        if source.exists():
            shutil.copy(source, root / "benchmarks" / name)
    (root / "subject.py").write_text("import time\ndef work(): time.sleep(0.01)\n")
    (root / "benchmarks" / "test_work.py").write_text(
        "import subject\n"
        "def test_work(beside): beside('work', subject.work, group='opening')\n"
        "def test_rest(beside): beside('rest', subject.rest, group='opening')\n"
        "def test_same(beside): beside('same', lambda: sum(range(200000)), group='opening')\n"
    )
    git = [
        "git",
        "-C",
        str(root),
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example.org",
        "-c",
        "init.defaultBranch=main",
    ]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "First"], check=True)
    (root / "subject.py").write_text("import time\ndef work(): time.sleep(0.04)\ndef rest(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--compare", "HEAD", "--quick"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"opening: work: 0\.\d\d to 0\.\d\d slower", done.stdout)
    assert "opening: rest: only in this revision" in done.stdout
    assert re.search(r"^\| opening: same \|.*\|  \|$", done.stdout, re.MULTILINE)
    listed = subprocess.run([*git, "worktree", "list"], capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) == 1
