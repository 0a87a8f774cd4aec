"""The suite on every Python, and with the lowest dependencies that the metadata allows.

``python -m nox -s newest-3.12`` and ``python -m nox -s lowest`` run all tests, or those named after ``--``;
``python -m nox -s neuroconv`` those of NeuroConv, in an environment with it and all plugins.
``python noxfile.py`` prints the versions that ``lowest`` installs, and ``python noxfile.py warnings`` which warnings it ignores.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

__all__ = ["WARNINGS", "lowest", "lowest_versions", "neuroconv", "newest"]

ROOT = Path(__file__).parent
PYTHONS = ("3.11", "3.12", "3.13")
EVERYTHING = ("-r", "requirements-dev.txt")
EVERY_TEST = ("tests", "plugins")  # without a path, the quick ones alone
COMMAND = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
# NeuroConv asks for hdmf-zarr, which asks for zarr 2, while the other tests compare with zarr 3
NEUROCONV = ("-r", "requirements.txt", "neuroconv[ophys_minimal]>=0.10", "pytest>=8.2", "pytest-xdist>=3.6")
NEUROCONV_TESTS = ("tests/test_neuroconv.py", *(f"plugins/{name}/tests" for name in ("omezarr", "minian", "nwb")))
# That old libraries call what the newest of theirs deprecate is no fault of this repository; what it calls itself is
WARNINGS = "filterwarnings=error\nignore::DeprecationWarning\nerror::DeprecationWarning:(roiextractors|tests|plugins)"


def lowest_versions() -> dict[str, str]:
    """Return, for every package that a distribution of this repository asks for, the lowest version that it allows.

    A bound is installed exactly, so it names a version that exists; and it is the same in all distributions, for the
    lowest of two would never be tested.
    """
    own: set[str] = set()
    bounds: dict[str, Version] = {}
    for name, _, requirements in _distributions():
        own.add(name)
        for requirement in map(Requirement, requirements):
            asked = canonicalize_name(requirement.name)
            least = [Version(s.version) for s in requirement.specifier if s.operator in (">=", "==", "~=")]
            if not least:
                raise SystemExit(f"{name}: {requirement} has no lower bound")
            if asked not in own and bounds.setdefault(asked, least[0]) != least[0]:
                raise SystemExit(f"{name}: {requirement}, and another distribution asks for >={bounds[asked]}")
    return {name: str(bounds[name]) for name in sorted(bounds) if name not in own}


def _distributions() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the name of each distribution, its folder (empty for the core), and its requirements with all extras."""
    for path in [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]:
        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        folder = path.parent.relative_to(ROOT).as_posix().removeprefix(".")
        yield (
            canonicalize_name(project["name"]),
            folder,
            [*project.get("dependencies", []), *(r for e in extras for r in e)],
        )


def newest(session: Any) -> None:
    """Run the suite with the newest dependencies."""
    session.install("-q", *EVERYTHING)
    session.run(*COMMAND, *(session.posargs or EVERY_TEST))


def lowest(session: Any) -> None:
    """Run the suite with the lowest dependencies, and what these use the newest of."""
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in lowest_versions().items()))
    session.install("-q", *EVERYTHING, "-c", str(constraints))
    session.run(*COMMAND, "-o", WARNINGS, *(session.posargs or EVERY_TEST))


def neuroconv(session: Any) -> None:
    """Run the tests of NeuroConv and of the plugins that read Zarr, in an environment with NeuroConv and all plugins."""
    session.install("-q", *NEUROCONV)
    session.run("python", "-m", "pip", "check")
    session.run(*COMMAND, "-m", "not long", *(session.posargs or NEUROCONV_TESTS))


if __name__ == "__main__":
    if sys.argv[1:] == ["warnings"]:
        print(WARNINGS)
    else:
        print("\n".join(f"{package}=={version}" for package, version in lowest_versions().items()))
else:
    import nox

    nox.options.default_venv_backend = "venv"
    nox.options.sessions = ["lowest"]
    nox.session(newest, python=list(PYTHONS))
    nox.session(lowest, python=PYTHONS[0])
    nox.session(neuroconv)
