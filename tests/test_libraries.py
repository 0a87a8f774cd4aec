"""Libraries that a format needs and that are not installed: what is said of them, and that looking for them imports nothing."""

from __future__ import annotations

import errno
import json
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import roiextractors_core as roi
from roiextractors_core.io import import_library, library_errors
from roiextractors_core.io.libraries import describe_missing, missing_libraries, missing_module
from roiextractors_core.registry.registry import Registry

SENTENCE = "needs no_such_library, which is not installed: python -m pip install no_such_library"


def declared(**changes: Any) -> roi.FormatSpec:
    values = {"name": "rig", "title": "Rig movie", "extractor": "no_such_module:Rig", "extensions": (".rig",)}
    return roi.FormatSpec(**{**values, "requires": ("no_such_library",), **changes})


class EntryPoint:
    """A plugin of one module, as importlib_metadata returns it."""

    name, value, dist = "rig", "rig.hooks", None

    def load(self) -> ModuleType:
        @roi.hookimpl
        def roiextractors_formats() -> list[roi.FormatSpec]:
            return [declared(), declared(name="other", requires=("json", "no_such_library"))]

        module = ModuleType("rig.hooks")
        module.roiextractors_formats = roiextractors_formats  # type: ignore[attr-defined]
        return module


def test_a_format_says_which_library_is_missing_and_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    assert declared().missing == SENTENCE
    assert declared(requires=()).missing == declared(requires=("json",)).missing == ""
    assert declared(requires=("no_cv2:opencv-python",)).missing.endswith("pip install opencv-python")
    two = declared(requires=("json", "no_a", "no_b:b[fast]>=2")).missing
    assert two == 'needs no_a and b[fast]>=2, which are not installed: python -m pip install no_a "b[fast]>=2"'
    assert roi.FormatSpec.from_dict(json.loads(json.dumps(declared().to_dict()))) == declared()
    monkeypatch.setattr(sys, "frozen", True, raising=False)  # nothing can be installed into such an application
    assert declared().missing.endswith("build this application again with no_such_library")


def test_a_plugin_says_it_for_all_of_its_formats() -> None:
    registry = Registry(entry_points=lambda: [EntryPoint()], environment={})
    plugin = registry.plugins()[1]
    assert (plugin.status, plugin.requires, plugin.missing) == ("ok", ("no_such_library", "json"), SENTENCE)
    assert json.loads(json.dumps(plugin.to_dict()))["missing"] == SENTENCE
    assert registry.plugins()[0].missing == ""


def test_opening_says_the_same_sentence_before_the_extractor_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.rig").write_bytes(b"x")
    registry = Registry(entry_points=lambda: [EntryPoint()], environment={})
    for call in (roi.open, roi.streams):
        with pytest.raises(roi.MissingDependencyError) as caught:
            call(tmp_path / "a.rig", format="rig", registry=registry)  # type: ignore[operator]
        assert f"Rig movie {SENTENCE}" in str(caught.value)


class NeedsMore(roi.ImagingExtractor):
    """An extractor that turns out to need a library for one file, and does not declare it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        import no_such_library.part  # type: ignore[import-not-found]  # noqa: F401

    def get_image_shape(self) -> tuple[int, int]:
        return 1, 1

    def get_num_samples(self) -> int:
        return 1

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> Any:
        raise NotImplementedError


def test_a_library_that_was_not_declared_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "a.rig").write_bytes(b"x")
    registry = Registry(entry_points=lambda: [], environment={})
    registry.register(declared(extractor=f"{__name__}:NeedsMore", requires=()))
    with pytest.raises(roi.MissingDependencyError, match=f"a.rig {SENTENCE}"):
        roi.open(tmp_path / "a.rig", registry=registry)
    registry.register(declared(extractor="no_such_library.hooks:Rig", requires=()), replace=True)
    with pytest.raises(roi.MissingDependencyError, match=f"Rig movie {SENTENCE}"):
        roi.open(tmp_path / "a.rig", registry=registry)


@pytest.mark.parametrize("requires", [("a.b",), ("",), ("a b",), ("a:",), ("a:b c",), ("a:-r /etc",), "nd2"])
def test_a_requirement_that_pip_could_not_take_is_refused(requires: Any) -> None:
    with pytest.raises(roi.DeclarationError, match="requires must be"):
        declared(requires=requires)


def test_a_library_is_looked_for_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explosive_library.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert missing_libraries(("explosive_library",)) == ()
    monkeypatch.setitem(sys.modules, "no_spec", ModuleType("no_spec"))  # find_spec raises for it
    monkeypatch.setitem(sys.modules, "must_not", None)
    assert missing_libraries(("no_spec", "must_not")) == ("must_not",)


def test_import_library_imports_or_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert import_library("json", "a.xyz", submodule="decoder").JSONDecoder
    with pytest.raises(roi.MissingDependencyError, match=f"a.xyz {SENTENCE}"):
        import_library("no_such_library", "a.xyz")
    (tmp_path / "broken_library.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    words = "a.xyz needs broken, which cannot be imported .*no_such_library.*pip install --upgrade broken"
    with pytest.raises(roi.MissingDependencyError, match=words):
        import_library("broken_library:broken", "a.xyz")


def test_only_an_import_that_failed_is_a_missing_library() -> None:
    assert missing_module(ModuleNotFoundError("x", name="no_such_library.part")) == SENTENCE
    assert (
        missing_module(ModuleNotFoundError("x", name="json.no_such")) == ""
    )  # json is there: a defect, not an absence
    assert missing_module(ImportError("x", name="no_such_library")) == missing_module(KeyError()) == ""
    assert describe_missing(()) == ""


@pytest.mark.parametrize(
    ("error", "reads_pixels", "seen"),
    [
        (
            OSError(errno.EINVAL, "Invalid argument"),
            True,
            roi.CorruptRecordingError,
        ),  # a place before the file's beginning
        (OSError(errno.EIO, "Input/output error"), True, OSError),
        (MemoryError(), False, roi.CorruptRecordingError),
        (MemoryError(), True, MemoryError),
        (struct.error("short"), True, roi.CorruptRecordingError),
    ],
    ids=["place", "disk", "length", "result", "damage"],
)
def test_errors_of_the_file_are_distinguished_from_errors_of_the_system(
    error: Exception, reads_pixels: bool, seen: type[Exception]
) -> None:
    with pytest.raises(seen) as caught, library_errors("a.nd2", "nd2", reads_pixels=reads_pixels):
        raise error
    assert isinstance(caught.value, roi.CorruptRecordingError) == (seen is roi.CorruptRecordingError)


@pytest.mark.parametrize("error", [ImportError("x"), roi.StreamChoiceError("x")])
def test_errors_of_imports_and_of_this_project_pass_through(error: Exception) -> None:
    with pytest.raises(type(error)), library_errors("a.nd2", "nd2"):
        raise error


LIBRARIES = (
    *("h5py", "av", "zarr", "numcodecs", "imagecodecs", "tifffile", "scipy", "pynwb", "dask", "xarray", "matplotlib"),
    *("nd2", "liffile", "czifile", "pylibCZIrw", "aicspylibczi", "bioio", "bioio_base", "bioio_nd2", "bioio_czi"),
)
HIDING = f"""
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in {LIBRARIES}:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Hide())
import roiextractors_core as roi

for spec in roi.formats():
    try:
        spec.load()
    except ImportError as error:
        print(spec.name, error.name if not spec.missing else "declared", sep="=")
"""


def test_every_format_declares_the_libraries_that_its_extractor_imports() -> None:
    done = subprocess.run([sys.executable, "-c", HIDING], capture_output=True, text=True, check=True)
    found = dict(line.split("=") for line in done.stdout.split())
    found.pop("omezarr", None)  # read by the chunk code of the core where zarr is not installed
    assert {name: library for name, library in found.items() if library != "declared"} == {}


def test_the_tables_of_the_command_line_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    testing = pytest.importorskip("typer.testing")
    app = pytest.importorskip("roiextractors_core.cli.app")
    registry = Registry(entry_points=lambda: [EntryPoint()], environment={})
    monkeypatch.setattr(roi, "default_registry", lambda: registry)
    monkeypatch.setattr(roi, "plugins", registry.plugins)
    for command in ("formats", "plugins"):
        printed = testing.CliRunner().invoke(app.app, [command], env={"COLUMNS": "400"}).stdout
        assert "python -m pip install no_such_library" in " ".join(printed.split())
        rows = json.loads(testing.CliRunner().invoke(app.app, [command, "--json"]).stdout)
        assert SENTENCE in [row["missing"] for row in rows]
        assert "" in [row["missing"] for row in rows]


def test_an_explanation_says_it_too(tmp_path: Path) -> None:
    (tmp_path / "a.rig").write_bytes(b"x")
    registry = Registry(entry_points=lambda: [], environment={})
    registry.register(declared())
    found = roi.explain(tmp_path / "a.rig", registry=registry)
    assert f"Rig movie {SENTENCE}" in str(found)
    assert found.to_dict()["matches"][0]["missing"] == SENTENCE
