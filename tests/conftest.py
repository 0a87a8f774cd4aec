"""What the core's tests share: the real recordings, distributions made on the spot, and fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, or a skip."""
    folder = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", ROOT.parent / "shared" / "recordings"))
    if not (folder / "EXPECTED.json").is_file():
        pytest.skip(f"the real recordings are not at {folder}; ROIEXTRACTORS_TEST_DATA names another place")
    return folder


@pytest.fixture(autouse=True)
def no_settings_of_the_person_who_runs_the_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROIEXTRACTORS_CONFIG", str(tmp_path / "no-such-config.toml"))
    monkeypatch.delenv("ROIEXTRACTORS_BLOCK", raising=False)
    monkeypatch.delenv("ROIEXTRACTORS_PREFER", raising=False)


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Run Python code in a fresh process and return what it prints."""
    return _run


def _run(code: str, *, path: tuple[Path, ...] = (), environment: Mapping[str, str] | None = None) -> str:
    folders = os.pathsep.join([*map(str, path), str(ROOT)])
    everything = {**os.environ, "PYTHONPATH": folders, **(environment or {})}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=everything,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def distribution() -> Callable[..., Path]:
    """Write a distribution as pip leaves it: a package and its ``.dist-info``."""
    return _distribution


def _distribution(
    site: Path,
    name: str,
    hooks: str,
    *,
    package: str | None = None,
    version: str = "1.2.3",
    entry_points: str | None = None,
    metadata: str | None = None,
) -> Path:
    package = package or name.replace("-", "_")
    folder = site / package
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "hooks.py").write_text(hooks)
    info = site / f"{package}-{version}.dist-info"
    info.mkdir()
    told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" if metadata is None else metadata
    if told:
        (info / "METADATA").write_text(told)
    points = f"[roiextractors_core]\n{package} = {package}.hooks\n" if entry_points is None else entry_points
    (info / "entry_points.txt").write_text(points)
    return folder
