"""`python -m roiextractors_core.cli.catalogue` writes the catalogue: the plugins of this repository, and those of others."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from ..registry.catalogue import CATALOGUE
from ..registry.discovery import declared_formats
from ..registry.hook import GROUP

__all__ = ["catalogue_text"]


def catalogue_text(*folders: Path) -> str:
    """Return the catalogue as JSON text, made from the declarations of plugins.

    Parameters
    ----------
    *folders : pathlib.Path
        Folders whose members have the ``pyproject.toml`` and the ``hooks.py`` of a plugin, if nothing else of it.
    """
    entries, own = [], _own_plugins()
    for project_file in sorted(file for folder in folders for file in folder.glob("*/pyproject.toml")):
        project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        for target in sorted(project.get("entry-points", {}).get(GROUP, {}).values()):
            sys.path.insert(0, str(project_file.parent))
            try:
                specs = declared_formats(import_module(target))
            finally:
                sys.path.remove(str(project_file.parent))
            name, is_own = project["name"], own.get(project["name"]) == project_file.parent.resolve()
            ours = {"folders": _needed(name, own)} if is_own else {}
            entries += [{"plugin": name, **ours, "format": spec.to_dict()} for spec in specs]
    return json.dumps(sorted(entries, key=lambda e: str(e["format"]["name"])), indent=1) + "\n"


def _own_plugins() -> dict[str, Path]:
    """Return the folders of the plugins of this repository by their names; nothing where the core is installed without them."""
    files = Path(__file__).resolve().parents[2].glob("plugins/*/pyproject.toml")
    return {tomllib.loads(file.read_text(encoding="utf-8"))["project"]["name"]: file.parent for file in files}


def _needed(name: str, own: Mapping[str, Path]) -> list[str]:
    """Return the folders to install for a plugin, in the repository, itself last."""
    project = tomllib.loads((own[name] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^a-z0-9-]", requirement)[0] for requirement in project["dependencies"]]
    folders = [folder for each in names if each in own for folder in _needed(each, own)]
    return list(dict.fromkeys([*folders, f"plugins/{own[name].name}"]))


if __name__ == "__main__":
    CATALOGUE.write_text(catalogue_text(*map(Path, sys.argv[1:] or ("plugins", "catalogue"))), encoding="utf-8")
