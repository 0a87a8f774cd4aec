"""The catalogue: formats of plugins that are known also where they are not installed."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from .spec import FormatSpec

__all__ = ["CATALOGUE", "ON_THE_INDEX", "CatalogueEntry", "catalogue", "how_to_install"]

# False until the first release: our own plugins are installed from a clone of the repository, and messages say so
ON_THE_INDEX = False
CATALOGUE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A format of the catalogue, and the distribution to install for it.

    Attributes
    ----------
    spec : FormatSpec
    plugin : str
    folders : tuple of str
        Of a plugin of our own repository: its folder there, after those of the plugins that it needs.
    """

    spec: FormatSpec
    plugin: str
    folders: tuple[str, ...] = ()

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
        if self.folders and not ON_THE_INDEX:
            return f"python -m pip install {' '.join(f'./{folder}' for folder in self.folders)} (in a clone of the repository)"
        return f"python -m pip install {self.plugin}"


@functools.cache
def catalogue() -> tuple[CatalogueEntry, ...]:
    """Return the entries of the catalogue, which is read once in a process."""
    entries = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return tuple(
        CatalogueEntry(FormatSpec.from_dict(e["format"]), e["plugin"], tuple(e.get("folders", ()))) for e in entries
    )


def how_to_install(plugin: str) -> str:
    """Return the command that installs the newest version of a plugin, whether the catalogue knows it or not."""
    known = next(
        (entry.how_to_install for entry in catalogue() if entry.plugin == plugin), f"python -m pip install {plugin}"
    )
    return known.replace("pip install", "pip install --upgrade")
