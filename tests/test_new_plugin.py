"""A plugin written by the scaffold is complete, passes its own tests, and never overwrites existing files."""

from __future__ import annotations

import itertools
import json
import os
import re
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import roiextractors_core as roi

pytest.importorskip("typer", reason="the command needs the extra [cli]")
from roiextractors_core.cli.scaffold import LICENCES, write_plugin

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"file": {"extension": ".XYZ", "signature": "0x78595a01"}, "folder": {"folder": True}}
TRAITS = ("channels", "planes", "clock", "writer")
COMBINATIONS = {
    "-".join((kind, *traits)): {**options, **dict.fromkeys(traits, True)}
    for kind, options in KINDS.items()
    for count in range(len(TRAITS) + 1)
    for traits in itertools.combinations(TRAITS, count)
}
COMBINATIONS["folder-extension-writer"] = {"folder": True, "extension": ".xyz", "writer": True}
SEGMENTATIONS = {f"rois-{name}": {**options, "kind": "segmentation"} for name, options in COMBINATIONS.items()}


def is_representative(name: str) -> bool:
    """Return whether the thorough tests include a combination; of any two traits, they test all four ways to have them or not."""
    kind, *traits = name.split("-")
    channels, planes, clock, writer = (trait in traits for trait in TRAITS)
    return (kind == "folder") == (channels != planes) and writer == (channels != clock)


def process(*words: str, folder: Path, path: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT))), "NO_COLOR": "1"}
    environment |= {"PYTEST_ADDOPTS": "-p no:cacheprovider", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def new_plugin(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return process("-m", "roiextractors_core.cli", "new-plugin", *words, folder=folder)


def install_and_test(options: dict[str, object], folder: Path, *selection: str) -> Path:
    """Install a new plugin into a folder of its own, run its tests there, and return the folder."""
    pytest.importorskip("hatchling", reason="the plugin is built with hatchling")
    site = folder / "site"
    write_plugin("acme-scope", output=folder, **options)  # type: ignore[arg-type]
    plugin = folder / "roiextractors-acme-scope"
    install = ("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(site))
    done = process(*install, str(plugin), folder=folder)
    assert done.returncode == 0, done.stderr
    assert (site / "roiextractors_acme_scope" / "py.typed").is_file()
    own_tests = ("-m", "pytest", "-q", "-p", "no:xdist", "--basetemp", str(folder / "base"), *selection)
    done = process(*own_tests, folder=plugin, path=(site,))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "passed" in done.stdout
    return site


@pytest.mark.parametrize(
    "traits",
    [
        # Any two traits meet in those that are thorough, as a test below proves
        pytest.param(name, marks=pytest.mark.thorough if is_representative(name) else pytest.mark.long)
        for name in COMBINATIONS
        if name not in KINDS
    ],
)
def test_a_new_plugin_with_these_traits_passes_its_own_tests_as_it_is(traits: str, tmp_path: Path) -> None:
    install_and_test(COMBINATIONS[traits], tmp_path)


@pytest.mark.parametrize(
    "traits",
    [
        pytest.param(
            name, marks=pytest.mark.thorough if is_representative(name.removeprefix("rois-")) else pytest.mark.long
        )
        for name in SEGMENTATIONS
    ],
)
def test_a_new_plugin_of_segmentations_passes_its_own_tests_as_it_is(traits: str, tmp_path: Path) -> None:
    install_and_test(SEGMENTATIONS[traits], tmp_path)


def test_any_two_traits_meet_in_a_combination_that_is_thorough() -> None:
    whole = [{*name.split("-")} for name in COMBINATIONS if is_representative(name)]
    for one, other in itertools.combinations(("folder", *TRAITS), 2):
        assert {(one in traits, other in traits) for traits in whole} == {*itertools.product((False, True), repeat=2)}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_with_all_traits_passes_the_tests_that_it_adds(kind: str, tmp_path: Path) -> None:
    install_and_test(COMBINATIONS["-".join((kind, *TRAITS))], tmp_path, "-k", "not TestAcmeScope")


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_installs_and_passes_its_own_tests_as_it_is(kind: str, tmp_path: Path) -> None:
    site = install_and_test(KINDS[kind], tmp_path)  # type: ignore[arg-type]
    recording = tmp_path / "recording"
    if kind == "file":
        recording.write_bytes(bytes.fromhex("78595a01") + struct.pack("<3Id", 2, 3, 4, 12.5) + bytes(48))
    else:
        recording.mkdir()
        (recording / "frames.bin").write_bytes(bytes(48))
        header = {"acme-scope_version": 1, "rows": 2, "columns": 3, "samples": 4, "sampling_frequency": 12.5}
        (recording / "header.json").write_text(json.dumps(header))
    code = "import roiextractors_core as roi; r = roi.open('recording'); print(r.provenance.plugin, r.shape, r)"
    printed = process("-W", "error", "-c", code, folder=tmp_path, path=(site,)).stdout
    assert printed.startswith("roiextractors-acme-scope (4, 2, 3) <AcmeScopeImagingExtractor: 4 samples")
    assert "12.5 Hz" in printed


@pytest.mark.thorough
def test_a_new_plugin_passes_ruff_and_mypy(tmp_path: Path) -> None:
    combinations = {**COMBINATIONS, **SEGMENTATIONS}
    for name, options in combinations.items():
        write_plugin(name, output=tmp_path, **options)  # type: ignore[arg-type]
    folders = [str(tmp_path / f"roiextractors-{name}") for name in combinations]
    ruff = ("-m", "ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml"))
    known = ("--config", "lint.isort.known-first-party = ['roiextractors_core']", "--ignore", "I001")
    known += ("--config", "lint.per-file-ignores = {'**/tests/*' = ['S101']}")
    done = process(*ruff, *known, *folders, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    packages = [str(path) for folder in folders for path in Path(folder).glob("roiextractors_*")]
    done = process("-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *packages, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("licence", LICENCES)
def test_the_licence_is_the_one_that_was_chosen(licence: str, tmp_path: Path) -> None:
    write_plugin("acme", extension=".xyz", licence=licence.upper(), output=tmp_path)
    project = tomllib.loads((tmp_path / "roiextractors-acme" / "pyproject.toml").read_text())["project"]
    assert project["license"] == LICENCES[licence]
    words = {
        "mit": "Permission is hereby granted",
        "bsd-3-clause": "Redistribution and use",
        "apache-2.0": "2. Grant of Copyright",
    }
    assert words[licence] in (tmp_path / "roiextractors-acme" / "LICENSE").read_text()
    assert project["entry-points"]["roiextractors_core"] == {"acme": "roiextractors_acme.hooks"}


def test_no_placeholder_and_no_condition_is_left(tmp_path: Path) -> None:
    for name, options in {**COMBINATIONS, **SEGMENTATIONS}.items():
        for path in write_plugin(name, output=tmp_path, **options):  # type: ignore[arg-type]
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"__[A-Z]|^%%", text, re.MULTILINE), path
            assert "\n\n\n\n" not in text, path
            if path.suffix == ".py":
                compile(text, str(path), "exec")


def test_a_trait_leaves_no_trace_in_a_plugin_without_it(tmp_path: Path) -> None:
    words = {
        "channels": r"channel",
        "planes": r"volum|num_planes",
        "clock": r"native|times\.csv",
        "writer": r"writer|convert",
    }
    for name, options in COMBINATIONS.items():
        texts = {p.name: p.read_text() for p in write_plugin(name, output=tmp_path, **options)}  # type: ignore[arg-type]
        for trait, word in words.items():
            marked = [file for file in ("extractor.py", "hooks.py", "README.md") if re.search(word, texts[file])]
            assert bool(marked) is (trait in options), (name, trait, marked)


def test_a_trait_leaves_no_trace_in_a_plugin_of_segmentations_without_it(tmp_path: Path) -> None:
    words = {"channels": r"channel", "planes": r"planes", "clock": r"native|float64", "writer": r"writer|convert"}
    for name, options in SEGMENTATIONS.items():
        texts = {p.name: p.read_text() for p in write_plugin(name, output=tmp_path, **options)}  # type: ignore[arg-type]
        for trait, word in words.items():
            marked = [file for file in ("hooks.py", "README.md") if re.search(word, texts[file])]
            assert bool(marked) is (trait in options), (name, trait, marked)


@pytest.mark.thorough
def test_a_kind_that_does_not_exist_is_refused_by_one_sentence(tmp_path: Path) -> None:
    done = new_plugin("acme", "--extension", ".xyz", "--kind", "spikes", folder=tmp_path)
    assert done.returncode == 2
    assert "there is no kind 'spikes'; the kinds are 'imaging' and 'segmentation'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    done = new_plugin("acme", "--extension", ".xyz", "--kind", "imaging", "--channels", "--writer", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "writer.py" in done.stdout
    assert "test_writing.py" in done.stdout


def test_the_layout_in_the_readme_grows_with_the_traits(tmp_path: Path) -> None:
    traits = {"channels": True, "planes": True, "clock": True}
    write_plugin("acme", extension=".xyz", signature="aabbccddee", output=tmp_path, **traits)
    readme = (tmp_path / "roiextractors-acme" / "README.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\w+)", readme, re.MULTILINE)[1:]
    counts = [(str(5 + 4 * number), "uint32") for number in range(5)]
    assert rows == [("0", "5"), *counts, ("25", "float64"), ("33", "float64"), ("then", "uint16")]


def test_the_layout_in_the_readme_is_the_one_that_is_read(tmp_path: Path) -> None:
    write_plugin("acme", extension=".xyz", signature="aabbccddee", output=tmp_path)
    readme = (tmp_path / "roiextractors-acme" / "README.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\w+)", readme, re.MULTILINE)
    assert rows == [("0", "5"), ("5", "uint32"), ("9", "uint32"), ("13", "uint32"), ("17", "float64"), ("25", "uint16")]


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "roiextractors-acme").mkdir()
    (tmp_path / "roiextractors-acme" / "README.md").write_text("mine")
    with pytest.raises(roi.DeclarationError, match=r"nothing was written: .* already contains 'README.md'"):
        write_plugin("acme", extension=".xyz", output=tmp_path)
    assert [path.name for path in (tmp_path / "roiextractors-acme").iterdir()] == ["README.md"]
    assert (tmp_path / "roiextractors-acme" / "README.md").read_text() == "mine"


def test_a_dangling_link_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "roiextractors-acme").mkdir()
    try:
        (tmp_path / "roiextractors-acme" / "LICENSE").symlink_to(tmp_path / "elsewhere")
    except OSError:
        pytest.skip("this system lets nobody make links")
    with pytest.raises(roi.DeclarationError, match="already contains 'LICENSE'"):
        write_plugin("acme", extension=".xyz", output=tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("Acme", {}, "cannot be called 'Acme'"),
        ("2p", {}, "cannot be called '2p'"),
        ("a--b", {}, "cannot be called 'a--b'"),
        ("../evil", {}, r"cannot be called '\.\./evil'"),
        ("", {}, "cannot be called ''"),
        ("a" * 41, {}, "at most 40"),
        ("roiextractors-acme", {}, "the format's name alone: 'acme'"),
        ("core", {}, "belongs to the core"),
        ("tiff", {}, "there is a format 'tiff' already, from roiextractors-tiff"),
        ("npy", {}, "there is a format 'npy' already, from roiextractors-core"),
        ("acme", {"extension": "xyz"}, "write a dot"),
        ("acme", {"extension": ".x/y"}, "write a dot"),
        ("acme", {"extension": '.x"'}, "write a dot"),
        ("acme", {"extension": None}, "the suffix of the files"),
        ("acme", {"signature": "abc"}, "not hexadecimal"),
        ("acme", {"signature": "xyz!"}, "not hexadecimal"),
        ("acme", {"signature": "ab"}, "2 to 64 bytes"),
        ("acme", {"signature": "ab" * 65}, "2 to 64 bytes"),
        ("acme", {"signature": "00000000"}, "one byte repeated"),
        ("acme", {"signature": "49492a00"}, "TIFF"),
        ("acme", {"signature": "89 48 44 46 0d 0a 1a 0a"}, "HDF5"),
        ("acme", {"signature": "1234", "folder": True}, "a folder has no first bytes"),
        ("acme", {"licence": "gpl"}, "'bsd-3-clause', 'mit' and 'apache-2.0'"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(
    name: str, options: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(roi.DeclarationError, match=words):
        write_plugin(name, **{"extension": ".xyz", "output": tmp_path, **options})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_what_it_wrote_and_what_comes_next(tmp_path: Path) -> None:
    done = new_plugin("acme", "--extension", ".xyz", "--licence", "mit", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    told, _, advice = done.stdout.partition("\nnext: ")
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert set(told.splitlines()) == written
    assert len(written) == 11
    assert "python -m pytest" in advice


def test_the_first_step_for_contributors_works_as_written(tmp_path: Path) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    made, moved, removed = (
        re.findall(rf"^ +{word} (.+)$", page, re.M) for word in ("roiextractors new-plugin", "mv", "rm -r")
    )
    done = new_plugin(*made[0].split(), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    old, new = moved[0].split()
    (tmp_path / old).rename(tmp_path / new)
    assert all((tmp_path / place).exists() for place in removed[0].split())


@pytest.mark.thorough
def test_a_mistake_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = new_plugin("acme", "--extension", "xyz", folder=tmp_path)
    assert done.returncode == 2
    assert "write a dot" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    done = new_plugin("acme", "--folder", "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "extensions=()" in (tmp_path / "out/roiextractors-acme/roiextractors_acme/hooks.py").read_text()
