"""All distributions are released together, and what the workflows run exists."""

from __future__ import annotations

import datetime
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[1]
DAY = datetime.date(2027, 3, 5)


def module_of(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{file.stem}_of_repository", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = module_of(ROOT / "release.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of what a release changes."""
    names = ("pyproject.toml", "CHANGELOG.md", "README.md", "LICENSE", "CITATION.cff", "requirements.txt")
    for folder in (ROOT, *(ROOT / "plugins").iterdir(), ROOT / "all"):
        for name in names:
            if (folder / name).is_file():
                target = tmp_path / folder.relative_to(ROOT) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / name, target)
    for name in (release.VERSION_FILE, release.CATALOGUE_FILE, "docs/install.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_all_distributions_agree() -> None:
    assert release.check() == []


def test_a_version_is_written_everywhere(copy: Path) -> None:
    release.set_version("7.8.9", copy, date=DAY)
    assert release.check(copy) == []
    assert release.version(copy) == "7.8.9"
    for folder in release.distributions(copy).values():
        project = (folder / "pyproject.toml").read_text(encoding="utf-8")
        assert set(re.findall(r"roiextractors-\w+(?:\[[\w,]+\])?~=([\d.]+)", project)) <= {"7.8.0"}
        assert "## 7.8.9 - 2027-03-05\n" in (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (copy / "CITATION.cff").read_text(encoding="utf-8")
    assert "version: 7.8.9\n" in citation
    assert "date-released: 2027-03-05\n" in citation


def test_a_plugin_that_did_not_change_says_so_and_keeps_its_history(copy: Path) -> None:
    release.set_version("7.8.0", copy, date=DAY)
    core, plugin = copy / "CHANGELOG.md", copy / "plugins" / "raw" / "CHANGELOG.md"
    before = plugin.read_text(encoding="utf-8")
    core.write_text(
        core.read_text(encoding="utf-8").replace("## 7.8.0", "## Unreleased\n\n- New.\n\n## 7.8.0", 1), encoding="utf-8"
    )
    release.set_version("7.8.1", copy, date=DAY)
    assert release.check(copy) == []
    added = plugin.read_text(encoding="utf-8")
    assert "## 7.8.1 - 2027-03-05\n\n- Released together with the core" in added
    assert added.endswith(before[before.index("## 7.8.0") :])


def test_a_release_candidate_is_found_by_its_own_bound(copy: Path) -> None:
    release.set_version("7.8.0rc1", copy, date=DAY)
    assert "roiextractors-core~=7.8.0rc1" in (copy / "plugins/raw/pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", ["7", "7.8", "v7.8.9", "7.8.9.dev1", "latest"])
def test_other_versions_are_refused(copy: Path, version: str) -> None:
    with pytest.raises(SystemExit, match=r"not a version such as 0\.2\.0"):
        release.set_version(version, copy)


def test_a_release_without_news_is_refused(copy: Path) -> None:
    (copy / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-12-01\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="Unreleased"):
        release.set_version("0.2.0", copy)


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8")
        assert old in text
        (root / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


@pytest.mark.quick(10)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            replaced("plugins/raw/pyproject.toml", 'dynamic = ["version"]', 'version = "0.1.0"'),
            "raw: .*take its version",
        ),
        (
            replaced("plugins/raw/pyproject.toml", "roiextractors-core~=0.1.0", "roiextractors-core>=0.1"),
            "raw: .*should end with ~=",
        ),
        (replaced("plugins/raw/pyproject.toml", "Issues = ", "Bugs = "), r"raw: \[project.urls\]"),
        (
            replaced("plugins/raw/pyproject.toml", '    "Operating System :: OS Independent",\n', ""),
            "raw: classifiers .*OS Independent",
        ),
        (lambda root: (root / "plugins/raw/LICENSE").unlink(), "raw: LICENSE is missing"),
        (lambda root: (root / "plugins/raw/README.md").unlink(), "raw: README.md is missing"),
        (replaced("plugins/raw/CHANGELOG.md", "## Unreleased", "## 0.1.0"), "raw: CHANGELOG.md: '## 0.1.0'"),
        (
            replaced("all/pyproject.toml", '    "roiextractors-raw~=0.1.0",\n', ""),
            "all: does not install roiextractors-raw",
        ),
        (replaced("requirements.txt", "-e plugins/raw\n", ""), "raw: requirements.txt does not install it"),
        (replaced("README.md", "| `roiextractors-raw` |", "| |"), "raw: README.md does not mention it"),
        (replaced(release.CATALOGUE_FILE, "ON_THE_INDEX = False", "ON_THE_INDEX = True"), "core: docs/install.md says"),
    ],
    ids=[
        *("version", "bound", "links", "classifiers", "licence", "readme", "date", "all", "requirements", "table"),
        "index",
    ],
)
def test_a_difference_is_found(copy: Path, change: Callable[[Path], Any], expected: str) -> None:
    change(copy)
    (problem,) = release.check(copy)
    assert re.search(expected, problem)


def test_a_folder_that_is_not_empty_is_not_built_into(tmp_path: Path) -> None:
    (tmp_path / "old.whl").touch()
    with pytest.raises(SystemExit, match="not empty"):
        release.build(tmp_path)


@pytest.mark.long
def test_all_distributions_build_and_work_in_an_empty_environment(tmp_path: Path) -> None:
    pytest.importorskip("twine", reason="twine is not installed")
    release.build(tmp_path / "dist")


def test_the_picture_of_the_architecture_is_drawn_from_the_code() -> None:
    architecture = module_of(ROOT / "docs" / "_extensions" / "architecture.py")
    advice = "run `python docs/_extensions/architecture.py`"
    assert architecture.FIGURE.read_text(encoding="utf-8") == architecture.drawing(), advice


def workflows() -> list[Path]:
    return sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.quick(9)
@pytest.mark.parametrize("path", workflows(), ids=lambda path: path.stem)
def test_a_workflow_has_a_limit_and_few_rights_and_runs_what_exists(path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120, name
        for command in (step["run"] for step in job["steps"] if "run" in step):
            for file in re.findall(r"(?:-r |python |^)([\w./-]+\.(?:txt|py)|\.ci/run)\b", command):
                assert (ROOT / file).is_file(), command
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    if path.stem == "tests":
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        install, run = re.findall(
            r"^    (python -m pip install -r requirements-dev\.txt) && (python -m pytest)$", readme, re.MULTILINE
        )[0]
        assert install in commands
        assert run in commands
    if path.stem == "release":
        (test,) = [command for command in commands if "GITHUB_REF_NAME" in command]
        code = re.search(r"python -c '(.+?)'", test)
        assert code is not None
        done = subprocess.run([sys.executable, "-c", code[1]], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == release.version()


def test_every_link_between_the_pages_of_the_repository_leads_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *ROOT.glob(".github/*.md")):
        for link in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
