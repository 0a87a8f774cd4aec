"""A plugin is looked over without a recording: each way of being broken is one clear line, and the exit status tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roiextractors_core.registry.registry import default_registry

typer = pytest.importorskip("typer", reason="the command needs the extra [cli]")
from typer.testing import CliRunner  # noqa: E402

from roiextractors_core.cli import validation  # noqa: E402
from roiextractors_core.cli.scaffold import write_plugin  # noqa: E402

pytestmark = pytest.mark.tools

SPEC = """import roiextractors_core as roi

@roi.hookimpl
def roiextractors_formats():
    yield roi.FormatSpec(
        name={name!r}, title="Acme", extractor="roiextractors_acme.extractor:AcmeImagingExtractor",
        extensions=({suffix!r},), evidence={evidence}, api={api}, description={description!r}, {more}
    )
"""


def hooks(
    name: str = "acme",
    suffix: str = ".acme",
    evidence: str = 'roi.Magic(b"ACME")',
    api: int = 1,
    description: str = "Acme recordings.",
    more: str = "",
) -> str:
    return SPEC.format(name=name, suffix=suffix, evidence=evidence, api=api, description=description, more=more)


EXTRACTOR = """import roiextractors_core as roi

class AcmeImagingExtractor(roi.ImagingExtractor):
    def __init__(self, file_path, *, sampling_frequency=None):
        super().__init__(sampling_frequency=sampling_frequency)
    def get_image_shape(self): return 1, 1
    def get_num_samples(self): return 0
    def get_series(self, start_sample=None, end_sample=None): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a plugin as a folder with a ``pyproject.toml``."""

    def write(
        declared: str = "",
        *,
        extractor: str = EXTRACTOR,
        points: str | None = None,
        needs: str = "roiextractors-core>=0.1",
    ) -> Path:
        root = tmp_path / "roiextractors-acme"
        package = root / "roiextractors_acme"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "hooks.py").write_text(declared or hooks())
        (package / "extractor.py").write_text(extractor)
        if points is None:
            points = '[project.entry-points.roiextractors_core]\nacme = "roiextractors_acme.hooks"\n'
        project = f'[project]\nname = "roiextractors-acme"\nversion = "0.1.0"\ndependencies = [{needs!r}]\n'
        (root / "pyproject.toml").write_text(project + points)
        return root

    return write


def faults_of(report: validation.PluginReport) -> list[tuple[str, str]]:
    return [(check.subject, check.words) for check in report.checks if check.answer == "fault"]


def command(*words: str) -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    validation.register(app)
    return CliRunner().invoke(app, ["check-plugin", *words])


def test_a_sound_folder_that_is_not_installed_is_sound(folder: Callable[..., Path]) -> None:
    report = validation.examine_plugin(folder())
    assert faults_of(report) == []
    assert report.status == 0
    assert {check.subject for check in report.checks} == {
        "entry point",
        "hook",
        "weight",
        "declaration",
        "name",
        "suffix",
        "extractor",
        "random bytes",
        "foreign files",
    }


@pytest.mark.parametrize("options", [{"extension": ".xyz"}, {"folder": True}], ids=["file", "folder"])
def test_a_new_plugin_is_sound(tmp_path: Path, options: dict[str, Any]) -> None:
    write_plugin("acme-scope", output=tmp_path, **options)
    done = command(str(tmp_path / "roiextractors-acme-scope"))
    assert done.exit_code == 0, done.output
    assert done.output.strip().endswith("sound")


@pytest.mark.parametrize("name", ["roiextractors-tiff", "roiextractors_scanimage"])
def test_an_installed_plugin_is_checked_by_its_name(name: str) -> None:
    pytest.importorskip(name.replace("-", "_"), reason="the plugin is not installed")
    report = validation.examine_plugin(name)
    assert faults_of(report) == []
    assert report.name == name.replace("_", "-")
    assert report.version


@pytest.mark.parametrize(
    ("declared", "subject", "words"),
    [
        (
            "import a_package_that_is_not_here\n",
            "entry point",
            "importing it raised ModuleNotFoundError: No module named",
        ),
        ("raise SystemExit(3)\n", "entry point", "importing it raised SystemExit: 3"),
        ("import os\nos._exit(3)\n", "entry point", "importing it ended the process: it ended with status 3"),
        ("def broken(:\n", "entry point", "importing it raised SyntaxError"),
        (
            hooks().replace("    yield", "    raise RuntimeError('no')\n    yield"),
            "hook",
            "its hook raised RuntimeError: no",
        ),
        (
            hooks().replace("def roiextractors_formats", "def roiextractors_format"),
            "hook",
            "there is no hook 'roiextractors_format'; the hook is called 'roiextractors_formats'",
        ),
        (hooks().replace("@roi.hookimpl\n", ""), "hook", "mark the function with @hookimpl"),
        ("", "hook", "has no hook"),
        (hooks().replace("():\n    yield", "(path):\n    yield"), "hook", "takes no arguments"),
        (
            hooks().replace("    yield roi.FormatSpec", "    yield dict"),
            "hook",
            "must yield FormatSpec values, got dict",
        ),
        (hooks(name="ACME"), "hook", "FormatSpec('ACME'): name must be"),
        (hooks(suffix="acme"), "hook", "suffixes that begin with a dot"),
        (hooks(api=2), "declaration", "api=2 is not supported; this core supports 1"),
        (hooks(description=""), "declaration", "description is empty"),
        (hooks(more="specializes=('nothing',)"), "declaration", "no format is called nothing"),
        (hooks(more="metadata=('colour',)"), "declaration", "metadata names colour"),
        (hooks(name="npy"), "name", "'npy' is a format of roiextractors-core: choose another name"),
        (hooks(name="tiff"), "name", "'tiff' is a format of roiextractors-tiff"),
        (
            hooks(suffix=".sbx", evidence="None"),
            "suffix",
            "shared with others: .sbx (scanbox): declare evidence of the content",
        ),
        (hooks(evidence='roi.Magic(b"P")'), "foreign files", "it claims zip, npz, which belong to others"),
        (
            hooks(evidence='roi.Probe("roiextractors_acme.extractor:not_there")'),
            "extractor",
            "the probe roiextractors_acme.extractor:not_there cannot be imported",
        ),
        ("import h5py\n" + hooks(), "weight", "roiextractors_acme.hooks imports h5py"),
        (
            "from . import extractor\n" + hooks(),
            "weight",
            "importing roiextractors_acme.hooks brings in roiextractors_acme.extractor",
        ),
        ("import time\ntime.sleep(1.2)\n" + hooks(), "weight", "more than 1 s"),
    ],
)
def test_a_fault_of_the_declaration_is_one_clear_line(
    declared: str, subject: str, words: str, folder: Callable[..., Path]
) -> None:
    pytest.importorskip("h5py", reason="a heavy library to import")
    root = folder(declared or "# nothing\n")
    found = faults_of(validation.examine_plugin(root))
    assert found[0][0] == subject, found
    assert len(found) == 1 or "not_there" in declared, found
    assert words in found[0][1]
    assert "\n" not in found[0][1]


def test_a_name_that_is_declared_twice_is_told(folder: Callable[..., Path]) -> None:
    twice = hooks() + "    yield " + hooks().partition("    yield ")[2]
    (found,) = faults_of(validation.examine_plugin(folder(twice)))
    assert found[0] == "name"
    assert "'acme' is declared twice" in found[1]


@pytest.mark.parametrize(
    ("extractor", "words"),
    [
        ("", "has no class AcmeImagingExtractor"),
        ("import not_here\n", "raised ModuleNotFoundError"),
        ("raise SystemExit\n", "raised SystemExit"),
        ("class AcmeImagingExtractor: ...\n", "does not inherit from roiextractors_core.ImagingExtractor"),
        (EXTRACTOR.replace("get_num_samples", "get_number"), "lacks get_num_samples; write it"),
        (EXTRACTOR.replace("file_path, *,", "file_path, key, *,"), "give key a default"),
        (EXTRACTOR.replace("=None):\n        super", "=None, **more):\n        super"), "takes **keywords"),
    ],
)
def test_a_fault_of_the_extractor_is_one_clear_line(extractor: str, words: str, folder: Callable[..., Path]) -> None:
    ((subject, said),) = faults_of(validation.examine_plugin(folder(extractor=extractor)))
    assert subject == "extractor"
    assert words in said


def test_a_plugin_without_an_entry_point_is_told_what_to_write(folder: Callable[..., Path]) -> None:
    ((subject, said),) = faults_of(validation.examine_plugin(folder(points="")))
    assert subject == "entry point"
    assert '[project.entry-points.roiextractors_core] and below it acme = "roiextractors_acme.hooks"' in said


def test_an_entry_point_to_a_module_that_is_not_there_is_told(folder: Callable[..., Path]) -> None:
    points = '[project.entry-points.roiextractors_core]\nacme = "roiextractors_acme.hook"\n'
    ((subject, said),) = faults_of(validation.examine_plugin(folder(points=points)))
    assert subject == "entry point"
    assert "No module named 'roiextractors_acme.hook'" in said


def test_a_plugin_that_does_not_ask_for_the_core_is_told(folder: Callable[..., Path]) -> None:
    ((subject, said),) = faults_of(validation.examine_plugin(folder(needs="numpy")))
    assert subject == "dependencies"
    assert 'dependencies = ["roiextractors-core"]' in said


def test_the_package_may_lie_below_src(folder: Callable[..., Path]) -> None:
    root = folder()
    (root / "src").mkdir()
    (root / "roiextractors_acme").rename(root / "src" / "roiextractors_acme")
    assert validation.examine_plugin(root).status == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("[project\n", "is not valid TOML"),
        ("[tool.x]\n", "has no [project] with a name"),
        ('[project]\nname = "x"\ndynamic = ["entry-points"]\n', "leaves entry-points to the build"),
    ],
)
def test_a_folder_that_cannot_be_checked_is_status_2(content: str | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "pyproject.toml").write_text(content)
    done = command(str(tmp_path), "--json")
    assert done.exit_code == 2
    (check,) = json.loads(done.output)["checks"]
    assert check["answer"] == "unknown"
    assert words in check["words"]


def test_a_name_that_is_not_installed_is_status_2_with_the_nearest() -> None:
    done = command("roiextractors-tif")
    assert done.exit_code == 2
    assert "no distribution 'roiextractors-tif' is installed; did you mean 'roiextractors-tiff'?" in " ".join(
        done.output.split()
    )


def test_the_table_and_the_json_say_the_same(folder: Callable[..., Path]) -> None:
    root = str(folder(hooks(api=7)))
    told = json.loads(command(root, "--json").output)
    table = " ".join(command(root).output.split())
    assert told["status"] == 1
    assert (told["plugin"], told["version"]) == ("roiextractors-acme", "0.1.0")
    assert [c["subject"] for c in told["checks"] if c["answer"] == "fault"] == ["declaration"]
    assert "fault acme declaration api=7 is not supported; this core supports 1" in table
    assert table.endswith("faults were found")


def test_a_plugin_that_is_installed_and_failed_says_why(
    tmp_path: Path, distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = distribution(
        tmp_path,
        "roiextractors-acme",
        hooks(name="npy"),
        metadata="Metadata-Version: 2.1\nName: roiextractors-acme\nVersion: 1.0\nRequires-Dist: roiextractors-core\n",
    )
    (package / "extractor.py").write_text(EXTRACTOR)
    monkeypatch.syspath_prepend(str(tmp_path))
    default_registry().refresh()
    try:
        found = faults_of(validation.examine_plugin("roiextractors-acme"))
    finally:
        monkeypatch.undo()
        default_registry().refresh()
    assert ("name", "'npy' is a format of roiextractors-core: choose another name") in found
    assert any(
        subject == "plugin" and "failed: the format name 'npy' is already taken" in words for subject, words in found
    )


def test_evidence_that_says_yes_to_random_bytes_is_a_fault(folder: Callable[..., Path]) -> None:
    root = folder(hooks(evidence="roi.Probe('roiextractors_acme.probe:always')"))
    package = next(root.rglob("hooks.py")).parent
    (package / "probe.py").write_text("def always(source):\n    return True\n")
    found = faults_of(validation.examine_plugin(root))
    assert any(subject == "random bytes" and "8,192 random bytes" in words for subject, words in found)
