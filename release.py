"""Releases every distribution of this repository together: one version, one date, one set of links.

``python release.py version 0.2.0``
    writes the version into its only place (``roiextractors_core/__init__.py``), the bounds ``~=`` between the distributions, the
    date into every changelog, and ``CITATION.cff``. Commit, tag ``v0.2.0`` and push the tag: ``.github/workflows/release.yml`` publishes.
``python release.py check``
    lists what disagrees: versions, bounds, links, classifiers, licence files, changelogs. A test runs it.
``python release.py build [FOLDER]``
    builds all distributions, checks them with twine, installs the wheels into an empty environment, and tries these.
"""

from __future__ import annotations

import argparse
import datetime
import email
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["build", "check", "distributions", "main", "set_version"]

ROOT = Path(__file__).resolve().parent
VERSION_FILE = "roiextractors_core/__init__.py"
CATALOGUE_FILE = "roiextractors_core/registry/catalogue.py"
_NOT_ON_THE_INDEX = "not on the Python Package Index yet"
CLASSIFIERS = (
    "Development Status :: 4 - Beta",
    "Intended Audience :: Science/Research",
    "Operating System :: OS Independent",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
)
# Run with the wheels alone, in a folder of its own: what a user's first minute needs
_SMOKE_TEST = """
import importlib.metadata as metadata
import sys
import numpy as np
import roiextractors_core as roi

expected, version = set(sys.argv[2:]), sys.argv[1]
installed = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"].startswith("roiextractors-")}
assert installed == dict.fromkeys(expected, version), installed
failed = [record for record in roi.plugins() if record.status != "ok"]
assert not failed, failed
assert len(roi.formats()) >= len(roi.plugins()), roi.formats()
frames = np.arange(60, dtype="uint16").reshape(5, 3, 4)
np.save("recording.npy", frames)
with roi.open("recording.npy", sampling_frequency=10.0) as recording:
    roi.convert(recording, "recording.tif")
    roi.convert(recording, "recording.zarr")
for name in ("recording.tif", "recording.zarr"):
    with roi.open(name) as copy:
        assert np.array_equal(copy[...], frames), name
print(f"{len(installed)} distributions, {len(roi.formats())} formats: all opened")
"""


def distributions(root: Path = ROOT) -> dict[str, Path]:
    """Return the folder of every distribution by its name: the core, the plugins, and the one that installs all of them."""
    files = [root / "pyproject.toml", *sorted(root.glob("plugins/*/pyproject.toml")), root / "all" / "pyproject.toml"]
    return {str(_project(file)["name"]): file.parent for file in files}


def version(root: Path = ROOT) -> str:
    """Return the version of all distributions."""
    return _search(r'^__version__ = "(.+)"$', (root / VERSION_FILE).read_text(encoding="utf-8"))


def set_version(new: str, root: Path = ROOT, *, date: datetime.date | None = None) -> None:
    """Write a version into every place that names it, and the date of today into the changelogs.

    Raises
    ------
    SystemExit
        The text is not a version such as ``0.2.0``, or the repository's changelog says nothing of what is new.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", new):
        raise SystemExit(f"{new!r} is not a version such as 0.2.0 or 0.2.0rc1")
    heading = f"## {new} - {date or datetime.date.today():%Y-%m-%d}"
    if not _unreleased(root / "CHANGELOG.md"):
        raise SystemExit("CHANGELOG.md has no section 'Unreleased' with entries; say there what is new")
    _replace(root / VERSION_FILE, r'^__version__ = ".+"$', f'__version__ = "{new}"')
    _replace(root / "CITATION.cff", r"^version: .+$", f"version: {new}")
    _replace(root / "CITATION.cff", r"^date-released: .+$", f"date-released: {heading.rpartition(' ')[2]}")
    for folder in distributions(root).values():
        _replace(
            folder / "pyproject.toml", r'"(roiextractors-[a-z0-9]+)(\[[a-z0-9,]+\])?~=[^"]+"', rf'"\1\2{_bound(new)}"'
        )
        changelog = folder / "CHANGELOG.md"
        if _unreleased(changelog):
            _replace(changelog, r"^## Unreleased$", heading)
        else:
            lines = changelog.read_text(encoding="utf-8").rstrip("\n").split("\n")
            first = next((n for n, line in enumerate(lines) if line.startswith("## ")), len(lines))
            lines[first:first] = [heading, "", "- Released together with the core; nothing of its own changed.", ""]
            changelog.write_text("\n".join(lines).rstrip("\n") + "\n", encoding="utf-8")


def check(root: Path = ROOT) -> list[str]:
    """Return one sentence for each thing that differs between the distributions, or is missing from one."""
    all_of_them, links = distributions(root), _project(root / "pyproject.toml").get("urls", {})
    problems = []
    for name, folder in all_of_them.items():
        problems += [f"{name}: {problem}" for problem in _problems(folder, all_of_them, _bound(version(root)), links)]
    plugins = {name for name in all_of_them if name not in ("roiextractors-core", "roiextractors-all")}
    named = {_name_of(each) for each in _project(all_of_them["roiextractors-all"] / "pyproject.toml")["dependencies"]}
    if missing := plugins - named:
        problems.append(f"roiextractors-all: does not install {', '.join(sorted(missing))}")
    readme = (root / "README.md").read_text(encoding="utf-8")
    installed = re.findall(r"^-e ([\w/]+)", (root / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    for name in sorted(plugins):
        if all_of_them[name].relative_to(root).as_posix() not in installed:
            problems.append(f"{name}: requirements.txt does not install it")
        if f"`{name}`" not in readme:
            problems.append(f"{name}: README.md does not mention it")
    if re.search("^ON_THE_INDEX = True", (root / CATALOGUE_FILE).read_text(encoding="utf-8"), re.MULTILINE):
        problems += [
            f"roiextractors-core: docs/{page.name} says {_NOT_ON_THE_INDEX!r}, but {CATALOGUE_FILE} has ON_THE_INDEX = True"
            for page in sorted(root.glob("docs/*.md"))
            if _NOT_ON_THE_INDEX in page.read_text(encoding="utf-8")
        ]
    return problems


def _problems(folder: Path, names: Mapping[str, Path], bound: str, links: Mapping[str, str]) -> Iterator[str]:
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    if project.get("dynamic") != ["version"] or VERSION_FILE not in text:
        yield f"pyproject.toml does not take its version from {VERSION_FILE}"
    if project.get("urls") != links or not links:
        yield "[project.urls] differs from that of the core"
    if missing := set(CLASSIFIERS) - set(project.get("classifiers", ())):
        yield f"classifiers are missing: {', '.join(sorted(missing))}"
    requirements = [
        *project.get("dependencies", ()),
        *(r for e in project.get("optional-dependencies", {}).values() for r in e),
    ]
    for requirement in requirements:
        if _name_of(requirement) in names and not requirement.endswith(bound):
            yield f"{requirement} should end with {bound}"
    for file in ("README.md", "CHANGELOG.md", "LICENSE"):
        if not (folder / file).is_file():
            yield f"{file} is missing"
    for line in re.findall(r"^## .+$", (folder / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE):
        if line != "## Unreleased" and not re.fullmatch(r"## \d+\.\d+\.\d+\S* - \d{4}-\d\d-\d\d", line):
            yield f"CHANGELOG.md: {line!r} is neither 'Unreleased' nor a version with a date"


def build(folder: Path, root: Path = ROOT) -> None:
    """Build every distribution into a folder, check all of them, and try the wheels in an empty environment.

    Raises
    ------
    SystemExit
        A distribution lacks something, twine or pip fails, or what was installed does not work.
    """
    if problems := check(root):
        raise SystemExit("\n".join(problems))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty; build into an empty folder, so that nothing old is published")
    all_of_them = distributions(root)
    for name, source in all_of_them.items():
        _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)], quiet=True)
        print(f"built {name}", flush=True)
    files = sorted(folder.iterdir())
    _run([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)], quiet=True)
    wheels = [file for file in files if file.suffix == ".whl"]
    if len(wheels) != len(all_of_them) or len(files) != 2 * len(wheels):
        raise SystemExit(
            f"expected a wheel and an sdist of each of {len(all_of_them)} distributions, got {len(files)} files"
        )
    for wheel in wheels:
        _check_wheel(wheel)
    _try_wheels(folder, sorted(all_of_them), version(root))


def _check_wheel(wheel: Path) -> None:
    """Check what is inside: a licence, the text of the README, and no tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = email.message_from_bytes(
            archive.read(next(name for name in names if name.endswith(".dist-info/METADATA")))
        )
    if not any(name.endswith("/LICENSE") for name in names):
        raise SystemExit(f"{wheel.name} contains no LICENSE")
    if any(name.startswith("tests/") for name in names):
        raise SystemExit(f"{wheel.name} contains tests")
    if not str(metadata.get_payload()).strip() or not metadata.get_all("Project-URL"):
        raise SystemExit(f"{wheel.name} has no description or no links")


def _try_wheels(folder: Path, names: Sequence[str], version: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        environment = Path(scratch) / "environment"
        venv.create(environment, with_pip=True)
        python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
        # Ours from the folder alone, and everything else from the index
        wheels = [str(wheel.resolve()) for wheel in folder.glob("*.whl")]
        _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *wheels])
        _run([str(python), "-m", "pip", "check"])
        _run([str(python), "-I", "-c", _SMOKE_TEST, version, *names], cwd=scratch)
        _run([str(python), "-I", "-m", "roiextractors_core", "demo"], cwd=scratch)


def _run(command: Sequence[str], *, cwd: str | None = None, quiet: bool = False) -> None:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=quiet, text=True)
    if done.returncode:
        print(done.stdout or "", done.stderr or "", sep="\n", file=sys.stderr)
        raise SystemExit(f"failed with status {done.returncode}: {' '.join(command[:6])} ...")


def _bound(version: str) -> str:
    """Return the bound of our own distributions: any later release of the same minor version."""
    major, minor, rest = version.split(".", 2)
    return f"~={major}.{minor}.{rest if not rest.isdigit() else 0}"


def _project(file: Path) -> dict[str, Any]:
    return dict(tomllib.loads(file.read_text(encoding="utf-8"))["project"])


def _name_of(requirement: str) -> str:
    return _search(r"^([A-Za-z0-9-]+)", requirement)


def _unreleased(changelog: Path) -> bool:
    found = re.search(
        r"^## Unreleased$(.*?)(?=^## |\Z)", changelog.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return bool(found and found[1].strip())


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{pattern!r} was not found")
    return found[1]


def _replace(file: Path, pattern: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(pattern, new, text, flags=re.MULTILINE), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="list what disagrees between the distributions")
    commands.add_parser("version", help="set the version of all distributions").add_argument("new", metavar="VERSION")
    commands.add_parser("build", help="build, check and try all distributions").add_argument(
        "folder", nargs="?", type=Path, default=ROOT / "dist"
    )
    given = parser.parse_args(arguments)
    if given.command == "version":
        set_version(given.new)
        print(f"version {given.new}: read the changes, commit, then `git tag v{given.new}`")
    elif given.command == "build":
        build(given.folder)
    elif problems := check():
        raise SystemExit("\n".join(problems))
    else:
        print(f"{len(distributions())} distributions agree on version {version()}")


if __name__ == "__main__":
    main()
