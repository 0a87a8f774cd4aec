"""A plugin that changes the process at import is reported and undone; damaged entry points and frozen applications get sentences."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io.process_state import PROCESS_STATE, process_state, restore_process_state
from roiextractors_core.registry import catalogue as catalogues
from roiextractors_core.registry.catalogue import catalogue

sys.path.insert(0, str(Path(__file__).parent))
from planted.changes import CHANGES

Run = Callable[..., str]

HOOKS = """
{change}
from roiextractors_core import FormatSpec, Magic, hookimpl


@hookimpl
def roiextractors_formats():
    yield FormatSpec(
        name="strange", title="Strange", extractor="strange.extractor:Extractor", extensions=(".strange",),
        evidence=Magic(b"STRANGE"), api=1,
    )
"""
ASKED = """
import json, os, signal, sys, warnings
import roiextractors_core as roi
from roiextractors_core.io.process_state import process_state
{before}
seen = process_state()
record = next(p for p in roi.plugins() if p.name == "strange")
now = process_state()
print(json.dumps([record.status, list(record.formats), record.to_dict()["changes"], [k for k in seen if seen[k] != now[k]],
                  [note for note in roi.default_registry().snapshot().notes if "strange" in note]]))
"""


def test_every_kind_of_change_is_planted() -> None:
    assert CHANGES.keys() == PROCESS_STATE.keys()


@pytest.mark.skipif(os.name == "nt", reason="the changes are those of POSIX")
@pytest.mark.quick(2)
@pytest.mark.parametrize("name", CHANGES)
def test_a_plugin_that_changes_the_process_is_reported_and_the_change_undone(
    name: str, tmp_path: Path, distribution: Callable[..., Path], run: Run
) -> None:
    distribution(tmp_path, "strange", HOOKS.format(change=CHANGES[name]))
    for before in ("", "import numpy.random, random; random.seed(5); numpy.random.seed(7)"):
        status, formats, changes, left, notes = json.loads(run(ASKED.format(before=before), path=(tmp_path,)))
        assert (status, formats) == ("ok", ["strange"])
        assert changes == [name]
        assert left == []
        assert len(notes) == 1
        assert f"strange changed {name} when it was imported; to leave it out: ROIEXTRACTORS_BLOCK=strange" in notes[0]


def test_a_plugin_that_fails_and_changes_the_process_is_undone_too(
    tmp_path: Path, distribution: Callable[..., Path], run: Run
) -> None:
    distribution(tmp_path, "strange", "import os\nos.chdir('/')\nraise ValueError('no')\n")
    status, formats, changes, left, _ = json.loads(run(ASKED.format(before=""), path=(tmp_path,)))
    assert (status, formats, changes, left) == ("failed", [], ["the working folder"], [])


def test_a_tidy_plugin_that_imports_libraries_is_not_reported(
    tmp_path: Path, distribution: Callable[..., Path], run: Run
) -> None:
    distribution(tmp_path, "strange", HOOKS.format(change="import numpy.random, random, logging, warnings, socket"))
    for before in ("", "import numpy.random"):
        _, _, changes, left, notes = json.loads(run(ASKED.format(before=before), path=(tmp_path,)))
        assert (changes, left, notes) == ([], [], [])


def test_the_command_shows_what_a_plugin_changed(tmp_path: Path, distribution: Callable[..., Path], run: Run) -> None:
    pytest.importorskip("typer", reason="the command needs the extra [cli]")
    distribution(tmp_path, "strange", HOOKS.format(change=CHANGES["the working folder"]))
    # An older typer uses what the newest click deprecates
    quiet = "import sys, warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n"
    code = quiet + "from roiextractors_core.cli import main\nsys.argv = ['roiextractors', 'plugins']\nmain()"
    shown = run(code, path=(tmp_path,), environment={"COLUMNS": "300"})
    row, *below = (line for line in shown.splitlines() if line.startswith("strange"))
    assert "its import changed the working folder" in " ".join((row, *below))


def test_what_other_threads_may_change_is_not_attributed_to_a_plugin() -> None:
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait)
    thread.start()
    try:
        seen = process_state()
        assert "the environment" not in seen
        assert "the state of numpy.random" not in seen
        assert seen.keys() >= {"the working folder", "the locale", "numpy's error handling"}
        with np.errstate(all="ignore"):
            assert restore_process_state(seen) == ("numpy's error handling",)
    finally:
        is_over.set()
        thread.join()


def test_a_working_folder_that_no_longer_exists_is_left(
    tmp_path: Path, distribution: Callable[..., Path], run: Run
) -> None:
    distribution(tmp_path, "strange", HOOKS.format(change=""))
    (tmp_path / "gone").mkdir()
    before = f"os.chdir({str(tmp_path / 'gone')!r}); os.rmdir({str(tmp_path / 'gone')!r})"
    status, _, changes, _, _ = json.loads(run(ASKED.format(before=before), path=(tmp_path,)))
    assert (status, changes) == ("ok", [])


DAMAGED = {
    "no text": (
        b"[roiextractors_core]\nx = \xff\xfe.hooks\n",
        "its entry_points.txt cannot be read (UnicodeDecodeError",
    ),
    "no equals sign": (b"[roiextractors_core]\nlab\n", "its entry_points.txt cannot be read"),
    "no bracket": (b"[roiextractors_core\nx = y.hooks\n", "a section header has no closing bracket"),
    "no bracket, second": (b"[a]\nb = c:d\n[roiextractors_core\nx = y.hooks\n", "its entry_points.txt cannot be read"),
    "no module": (b"[roiextractors_core]\nx = a b c!\n", "its entry point 'x = a b c!' must name a module"),
    "empty": (b"[roiextractors_core]\nx =\n", "its entry point 'x = ' must name a module"),
    "colons": (b"[roiextractors_core]\nx = a::b\n", "its entry point 'x = a::b' must name a module"),
    "missing": (b"[roiextractors_core]\nx = not_there.hooks\n", "ModuleNotFoundError: No module named 'not_there'"),
    "attribute": (b"[roiextractors_core]\nx = json:nothing\n", "has no attribute 'nothing'"),
    "syntax": (b"[roiextractors_core]\nx = lab_formats.hooks\n", "importing it raised SyntaxError"),
}


@pytest.mark.quick(3)
@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_entry_points_of_a_distribution_of_any_name_are_listed(
    case: str, tmp_path: Path, distribution: Callable[..., Path], run: Run
) -> None:
    metadata = "Metadata-Version: 2.1\nName: lab-formats\nVersion: 1.2.3\nRequires-Dist: roiextractors-core\n"
    lab = distribution(tmp_path, "lab-formats", "def (:\n", metadata=metadata)
    other = distribution(tmp_path, "other", "")
    content, says = DAMAGED[case]
    (tmp_path / f"{lab.name}-1.2.3.dist-info" / "entry_points.txt").write_bytes(content)
    (tmp_path / f"{other.name}-1.2.3.dist-info" / "entry_points.txt").write_bytes(b"[console_scripts]\nx\n")
    distribution(tmp_path, "strange", HOOKS.format(change=""))
    code = "import json, roiextractors_core as roi; print(json.dumps([p.to_dict() for p in roi.plugins()]))"
    records = {record["name"]: record for record in json.loads(run(code, path=(tmp_path,)))}
    assert records["strange"]["status"] == "ok"
    assert records["lab-formats"]["status"] == "failed"
    assert says in records["lab-formats"]["reason"]
    assert "other" not in records  # it is damaged, but has nothing to do with this project


def test_a_copy_further_down_the_path_is_not_a_plugin(
    tmp_path: Path, distribution: Callable[..., Path], run: Run
) -> None:
    for number, content in enumerate((b"[console_scripts]\nx = y:z\n", b"[roiextractors_core]\nlab = lab.hooks\n")):
        for name in ("lab", "twice"):
            made = distribution(tmp_path / str(number), name, HOOKS.format(change=""))
            if name == "lab":
                place = tmp_path / str(number) / f"{made.name}-1.2.3.dist-info" / "entry_points.txt"
                place.write_bytes(content)
    code = "import json, roiextractors_core as roi; print(json.dumps([p.name for p in roi.plugins()]))"
    names = json.loads(run(code, path=(tmp_path / "0", tmp_path / "1")))
    assert "lab" not in names
    assert names.count("twice") == 1


def test_a_frozen_application_is_advised_to_contain_the_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    registry = roi.Registry(entry_points=lambda: ())
    (note,) = registry.snapshot().notes
    assert "this is a frozen application, which must contain the metadata of its plugins" in note
    entry = next(entry for entry in catalogue() if entry.spec.name == "tiff")
    assert "pip" not in entry.how_to_install
    assert "PyInstaller: --collect-all roiextractors_tiff --copy-metadata roiextractors-tiff" in entry.how_to_install
    (tmp_path / "a.tif").write_bytes(b"II*\0" + b"\0" * 60)
    explanation = roi.explain(tmp_path / "a.tif", registry=registry)
    with pytest.raises(roi.FormatNotInstalledError, match="build this application again with roiextractors-tiff"):
        explanation.require_best()


def test_outside_of_a_frozen_application_pip_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogues, "ON_THE_INDEX", True)
    assert all(entry.how_to_install == f"python -m pip install {entry.plugin}" for entry in catalogue())
    assert catalogues.how_to_install("roiextractors-tiff") == "python -m pip install --upgrade roiextractors-tiff"


def test_until_the_first_release_our_own_plugins_are_installed_from_a_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogues, "ON_THE_INDEX", False)
    entries = {entry.spec.name: entry for entry in catalogue()}
    clone = "(in a clone of the repository)"
    assert entries["scanimage"].how_to_install == f"python -m pip install ./plugins/tiff ./plugins/scanimage {clone}"
    root = Path(__file__).resolve().parents[1]
    for entry in entries.values():
        assert all((root / folder / "pyproject.toml").is_file() for folder in entry.folders)
    elsewhere = replace(entries["tiff"], plugin="roiextractors-norpix", folders=())
    assert elsewhere.how_to_install == "python -m pip install roiextractors-norpix"
    assert catalogues.how_to_install("roiextractors-lab") == "python -m pip install --upgrade roiextractors-lab"
