"""The catalogue: formats of plugins that are known also where they are not installed."""

from __future__ import annotations

import functools
import json
import sys
import tomllib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from . import hook
from .discovery import declared_formats
from .spec import FormatSpec

__all__ = ["CATALOGUE", "CatalogueEntry", "catalogue", "catalogue_text"]

CATALOGUE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A format of the catalogue, and the distribution to install for it."""

    spec: FormatSpec
    plugin: str

    @property
    def how_to_install(self) -> str:
        """What to do in order to read this format."""
        if getattr(
            sys, "frozen", False
        ):  # nothing can be installed into an application that PyInstaller or cx_Freeze made
            package = self.plugin.replace("-", "_")
            return (
                f"build this application again with {self.plugin} and its metadata "
                f"(PyInstaller: --collect-all {package} --copy-metadata {self.plugin})"
            )
        return f"python -m pip install {self.plugin}"

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as plain data."""
        return {"plugin": self.plugin, "format": self.spec.to_dict()}


@functools.cache
def catalogue() -> tuple[CatalogueEntry, ...]:
    """Return the entries of the catalogue, which is read once in a process."""
    entries = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return tuple(CatalogueEntry(FormatSpec.from_dict(e["format"]), e["plugin"]) for e in entries)


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
        for target in sorted(project.get("entry-points", {}).get(hook.GROUP, {}).values()):
            sys.path.insert(0, str(project_file.parent))
            try:
                specs = declared_formats(import_module(target))
            finally:
                sys.path.remove(str(project_file.parent))
            entries += [CatalogueEntry(spec, project["name"]).to_dict() for spec in specs]
    return json.dumps(sorted(entries, key=lambda e: str(e["format"]["name"])), indent=1) + "\n"
