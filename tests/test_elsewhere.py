"""Windows and macOS: recordings of every plugin, writers and commands in a process that sees another system."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from tests.planted import elsewhere

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems are looked like on Linux only")
KIT = [path.parent.name for path in sorted((ROOT / "plugins").glob("*/tests"))]


@pytest.fixture
def run_as() -> Callable[..., str]:
    """Run Python code in a fresh process that sees another system, with the console of Windows in Western Europe."""
    return _run_as


def _run_as(system: str, code: str, *values: Any, status: int = 0) -> str:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "warn_default_encoding",
            "-c",
            f"{_START.format(system=system)}\n{code}",
            *map(str, values),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr.decode("cp1252")
    return done.stdout.decode("cp1252")


_START = """
import os, sys
from pathlib import Path
from tests.planted import elsewhere
elsewhere.disguise({system!r})
import numpy as np
import roiextractors_core as roi
"""

_READ_AND_MOVE = """
import json
for kind, (path, options, expected) in json.loads(sys.argv[1]).items():
    with roi.open(path, **{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}) as movie:
        np.testing.assert_array_equal(movie.get_series(), np.load(expected), err_msg=kind)
        np.testing.assert_array_equal(movie.get_series(3, 5), np.load(expected)[3:5], err_msg=kind)
    assert elsewhere.open_below(path) == [], kind
    moved = Path(path).with_name("moved")
    os.rename(path, moved)  # Windows refuses it while a file is open
    os.rename(moved, path)
"""

_WRITE = """
folder = Path(sys.argv[1])
suffixes = {suffix for spec in roi.formats() for suffix in spec.writer_extensions}
with roi.open(folder / "movie.npy", sampling_frequency=20.0) as movie:
    for suffix in sys.argv[2:] or sorted(suffixes):
        options = {"start_time": "2024-05-06T12:00:00"} if suffix.startswith(".nwb") else {}
        for overwrite in (False, True):
            target = roi.convert(movie, folder / f"written{suffix}", overwrite=overwrite, **options)
        with roi.open(target) as written:
            if suffix != ".mp4":  # it is compressed with losses
                np.testing.assert_array_equal(written.get_series(), movie.get_series(), err_msg=suffix)
        assert elsewhere.open_below(target) == [], suffix
print(sorted(path.name for path in folder.iterdir() if "roiextractors" in path.name))
"""


def test_recordings_are_read_and_closed_on_windows(
    tmp_path: Path, kinds: tuple[str, ...], write_recorded: Callable[..., Any], run_as: Callable[..., str]
) -> None:
    """Without POSIX: positioned reads, locks, forks; an open file is neither renamed, replaced nor deleted."""
    recordings = {}
    for kind in kinds:
        place = tmp_path / kind.replace(" ", "_")
        try:
            recorded = write_recorded(kind, place, shape=(12, 16, 24))
        except pytest.skip.Exception:
            continue
        np.save(place / "expected", recorded.expected)
        recordings[kind] = str(recorded.path), recorded.options, str(place / "expected.npy")
    run_as("windows", _READ_AND_MOVE, json.dumps(recordings))


@pytest.mark.parametrize(
    "suffixes", [(".npy", ".tif"), pytest.param((), marks=pytest.mark.thorough)], ids=["two", "all"]
)
def test_recordings_are_written_on_windows(
    suffixes: tuple[str, ...], tmp_path: Path, run_as: Callable[..., str]
) -> None:
    """A file is closed before it is renamed, and what is replaced is closed, too."""
    np.save(tmp_path / "movie.npy", np.arange(12 * 16 * 24, dtype=np.uint16).reshape(12, 16, 24))
    assert run_as("windows", _WRITE, tmp_path, *suffixes).strip() == "[]"


_COMMANDS = """
from roiextractors_core.cli import main
os.chdir(sys.argv[1])
for words in (["info", "movie.tif"], ["convert", "movie.tif", "out.npy"], ["scan", "."]):
    sys.argv = ["roiextractors", *words]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
"""


@pytest.mark.thorough
def test_commands_print_in_the_code_page_of_a_console(
    tmp_path: Path, write_recorded: Callable[..., Any], run_as: Callable[..., str]
) -> None:
    write_recorded("scanimage", tmp_path, shape=(12, 16, 24))
    said = run_as("windows", _COMMANDS, tmp_path)
    assert "movie.tif" in said
    assert "16 x 24" in said.replace("\xd7", "x")
    assert (tmp_path / "out.npy").is_file()


_READ_FOLDER = """
from roiextractors_core.io import PositionedFile
try:
    PositionedFile(sys.argv[1]).read(0, 1)
except roi.SourceReadError as error:
    print(error)
"""


@pytest.mark.thorough
def test_on_windows_a_folder_in_place_of_a_file_is_called_a_folder(tmp_path: Path, run_as: Callable[..., str]) -> None:
    """There, opening it fails for lack of permission."""
    assert "it is a folder, not a file" in run_as("windows", _READ_FOLDER, tmp_path)


_FILL = """
from roiextractors_core.io.atomic import write_then_rename
target = Path(sys.argv[1])
with write_then_rename(target) as partial:
    partial.mkdir()
    (partial / "ops.npy").write_bytes(b"new")
"""


def test_on_windows_an_empty_folder_is_filled(tmp_path: Path, run_as: Callable[..., str]) -> None:
    (tmp_path / "suite2p").mkdir()
    run_as("windows", _FILL, tmp_path / "suite2p")
    assert (tmp_path / "suite2p" / "ops.npy").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["suite2p"]


_CONVERT_ALL = """
from roiextractors_core.cli import main
os.chdir(sys.argv[1])
sys.argv = ["roiextractors", "convert", "movie.ome.tif", "out.npy", "--all"]
main()
"""


def two_channels(folder: Path, *names: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = np.arange(3 * 2 * 16 * 24, dtype=np.uint16).reshape(3, 2, 16, 24)
    tifffile.imwrite(folder / "movie.ome.tif", pixels, metadata={"axes": "TCYX", "Channel": {"Name": list(names)}})


@pytest.mark.thorough
def test_files_of_channels_have_names_that_windows_takes(tmp_path: Path, run_as: Callable[..., str]) -> None:
    two_channels(tmp_path, "GFP: 488/520?", "con.")
    run_as("windows", _CONVERT_ALL, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == ["out_GFP- 488-520-.npy", "out_con..npy"]


@pytest.mark.parametrize(
    ("system", "names"),
    [
        ("windows", ("GFP", "gfp")),
        pytest.param("macos", ("GFP", "gfp"), marks=pytest.mark.thorough),
        pytest.param("macos", ("Pr\xe9", "Pre\u0301"), marks=pytest.mark.thorough),
    ],
)
def test_channels_whose_names_are_one_to_the_system_do_not_share_a_file(
    system: str, names: tuple[str, str], tmp_path: Path, run_as: Callable[..., str]
) -> None:
    two_channels(tmp_path, *names)
    run_as(system, _CONVERT_ALL, tmp_path, status=2)
    assert not list(tmp_path.glob("*.npy"))  # refused before the first is written


_WRITE_PART = """
from roiextractors_core.io.atomic import remove_leftovers, write_then_rename
target = Path(sys.argv[1])
with write_then_rename(target, overwrite=True) as partial:
    partial.write_bytes(b"whole")
    if sys.argv[2] == "die":
        os._exit(9)
    remove_leftovers(target)  # as another process does that writes the same name
    assert partial.read_bytes() == b"whole"
"""


def test_on_windows_the_next_process_removes_what_a_killed_one_left(tmp_path: Path, run_as: Callable[..., str]) -> None:
    """But nothing of a process that is alive."""
    target = tmp_path / "movie.npy"
    run_as("windows", _WRITE_PART, target, "die", status=9)
    assert len(list(tmp_path.iterdir())) == 1
    run_as("windows", _WRITE_PART, target, "end")
    assert [path.name for path in tmp_path.iterdir()] == ["movie.npy"]


_WITHOUT_INODES = """
folder = Path(sys.argv[1])
elsewhere.forget_inodes()
assert len(list(roi.scan(folder))) == 2
with roi.open(folder / "one" / "movie.npy") as movie:
    for name in ("MOVIE.npy", "other.npy"):
        try:
            roi.convert(movie, folder / "one" / name, overwrite=True)
        except roi.SourceKindError as error:
            assert name != "other.npy" and "is the recording itself" in str(error), error
        else:
            assert name == "other.npy"
"""


@pytest.mark.thorough
def test_files_of_a_drive_without_inodes_are_told_apart_by_their_names(
    tmp_path: Path, run_as: Callable[..., str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "movie.npy", np.zeros((3, 8, 8), np.uint16))
    run_as("windows", _WITHOUT_INODES, tmp_path)
    assert sorted(path.name for path in (tmp_path / "one").glob("*.npy")) == ["movie.npy", "other.npy"]


_UNDO = """
from roiextractors_core.io.atomic import remove_leftovers, write_then_rename
elsewhere.forget_inodes()
target = Path(sys.argv[1])
if sys.argv[2] == "die":
    with write_then_rename(target, overwrite=True) as partial:
        partial.write_bytes(b"half")
        partial.with_name("movie.json").write_bytes(b"half")
        old = partial.parent.with_name("old")
        old.mkdir(exist_ok=True)
        os.rename(target, old / target.name)
        os._exit(9)
remove_leftovers(target)
"""


@pytest.mark.thorough
def test_without_inodes_a_file_that_was_to_be_replaced_is_kept(tmp_path: Path, run_as: Callable[..., str]) -> None:
    """After a process was killed between two renames."""
    for name in ("movie.npy", "movie.json"):
        (tmp_path / name).write_bytes(b"old")
    run_as("windows", _UNDO, tmp_path / "movie.npy", "die", status=9)
    run_as("windows", _UNDO, tmp_path / "movie.npy", "clean")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"movie.npy": b"old", "movie.json": b"old"}


@pytest.mark.thorough
@pytest.mark.parametrize("spell", [str.upper, functools.partial(unicodedata.normalize, "NFD")], ids=["case", "accents"])
def test_files_that_an_xml_names_are_found_as_another_system_spells_them(
    spell: Callable[[str], str], tmp_path: Path, write_recorded: Callable[..., Any]
) -> None:
    recorded = write_recorded("bruker", tmp_path, shape=(6, 16, 24), stem="höhe")
    for path in recorded.path.iterdir():
        path.rename(path.with_name(spell(path.name)))
    with roi.open(recorded.path, **recorded.options) as movie:
        np.testing.assert_array_equal(movie.get_series(), recorded.expected)


_READ = """
import json
for path, options, expected in json.loads(sys.argv[1]):
    with roi.open(path, **options) as movie:
        np.testing.assert_array_equal(movie.get_series(), np.load(expected), err_msg=path)
"""


def test_companions_that_macos_writes_are_not_frames(
    tmp_path: Path, write_recorded: Callable[..., Any], run_as: Callable[..., str]
) -> None:
    recordings = []
    for kind in ("npy", "tiff", "tiff sequence", "scanimage", "bruker", "oib", "omezarr"):
        place = tmp_path / kind.replace(" ", "_")
        recorded = write_recorded(kind, place, shape=(6, 16, 24))
        np.save(tmp_path / f"{place.name}-expected", recorded.expected)
        elsewhere.write_companions(recorded.path)
        recordings.append((str(recorded.path), recorded.options, str(tmp_path / f"{place.name}-expected.npy")))
    run_as("macos", _READ, json.dumps(recordings))


@pytest.mark.thorough
@pytest.mark.parametrize(("system", "plugin"), [("windows", "caiman"), ("macos", "bruker")])
def test_the_tests_of_a_plugin_pass(system: str, plugin: str) -> None:
    _require_tests_to_pass(system, plugin)


_CONTENT = (
    "(whole_series or clock_is_that or rate_is_the_files or parts_of_masks or format_is_found or recording_is_what)"
)


@pytest.mark.parametrize(
    "plugin",
    [
        pytest.param(name, marks=pytest.mark.thorough if name in ("neurofinder", "thorimage") else pytest.mark.long)
        for name in KIT
    ],
)
def test_texts_that_an_editor_of_windows_saved_are_read_alike(plugin: str) -> None:
    _require_tests_to_pass("editor", plugin, _CONTENT)


@pytest.mark.long
@pytest.mark.parametrize("system", ["windows", "macos"])
@pytest.mark.parametrize("plugin", KIT)
def test_the_tests_of_each_plugin_pass(system: str, plugin: str) -> None:
    _require_tests_to_pass(system, plugin)


@pytest.mark.long
def test_tests_that_make_links_are_skipped_where_windows_permits_none() -> None:
    said = _require_tests_to_pass("windows", "tiff", "test_a_link_to_nothing_in_a_folder_is_left_out_or_named")
    assert re.search(r"\b1 skipped\b", said)


def _require_tests_to_pass(system: str, plugin: str, words: str = "") -> str:
    """Run those whose name has some words, except those that need what the system lacks, or that watch the calls of the true one."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "tests.planted.elsewhere"]
        + [
            "-m",
            "not thorough and not repeated and not long",
            "-k",
            " and ".join(filter(None, (words, _PORTABLE))),
            f"plugins/{plugin}/tests",
        ],
        env={**os.environ, "DISGUISE": system, "PYTEST_ADDOPTS": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    assert not failed, done.stdout[-4000:]
    assert done.returncode in (0, 5), done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


_PORTABLE = " and ".join(
    f"not {words}"
    for words in (
        "fork",
        "fifo",
        "pipe",
        "any_letters",  # the kit asks the true system which letters a name may have
        "at_an_address_beyond_all_files",  # Linux refuses to seek there, Windows does not
        "without_a_look_at_each",  # counts the calls of os
    )
)
