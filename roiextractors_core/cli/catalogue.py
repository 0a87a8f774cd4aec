"""`python -m roiextractors_core.cli.catalogue` writes the catalogue: the plugins of this repository, and those of others."""

from __future__ import annotations

import json
import sys
import tomllib
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
    entries = []
    for project_file in sorted(file for folder in folders for file in folder.glob("*/pyproject.toml")):
        project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        for target in sorted(project.get("entry-points", {}).get(GROUP, {}).values()):
            sys.path.insert(0, str(project_file.parent))
            try:
                specs = declared_formats(import_module(target))
            finally:
                sys.path.remove(str(project_file.parent))
            entries += [{"plugin": project["name"], "format": spec.to_dict()} for spec in specs]
    return json.dumps(sorted(entries, key=lambda e: str(e["format"]["name"])), indent=1) + "\n"


if __name__ == "__main__":
    CATALOGUE.write_text(catalogue_text(*map(Path, sys.argv[1:] or ("plugins", "catalogue"))), encoding="utf-8")
