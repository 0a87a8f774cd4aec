"""The catalogue: formats of plugins that are known also where they are not installed."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from .spec import FormatSpec

__all__ = ["CATALOGUE", "CatalogueEntry", "catalogue"]

CATALOGUE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A format of the catalogue, and the distribution to install for it."""

    spec: FormatSpec
    plugin: str

    @property
    def how_to_install(self) -> str:
        """What to do in order to read this format."""
        # PyInstaller or cx_Freeze made such an application: nothing can be installed into it
        if getattr(sys, "frozen", False):
            package = self.plugin.replace("-", "_")
            return (
                f"build this application again with {self.plugin} and its metadata "
                f"(PyInstaller: --collect-all {package} --copy-metadata {self.plugin})"
            )
        return f"python -m pip install {self.plugin}"


@functools.cache
def catalogue() -> tuple[CatalogueEntry, ...]:
    """Return the entries of the catalogue, which is read once in a process."""
    entries = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return tuple(CatalogueEntry(FormatSpec.from_dict(e["format"]), e["plugin"]) for e in entries)
