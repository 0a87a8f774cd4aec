"""The formats that can be opened: those of the core, of the installed plugins and of this session."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from ..cards import FormatTuple, PluginTuple
from ..errors import DeclarationError, printable
from ..io.locks import ProcessLock
from ..metadata import RecordingMetadata
from ..settings import Settings, read_settings
from .catalogue import CatalogueEntry, catalogue
from .discovery import LoadedPlugin, PluginRecord, discover, installed_entry_points, name_fault, normalized, spec_fault
from .evidence import Magic
from .spec import FormatSpec

__all__ = ["PluginRecord", "Registry", "RegistryState", "default_registry", "formats", "plugins", "refresh"]

BUILT_IN = "roiextractors-core"
SESSION = "this session"
NPY_FORMAT = FormatSpec(
    name="npy",
    title="NumPy array",
    extractor="roiextractors_core.npy:NpyImagingExtractor",
    extensions=(".npy",),
    evidence=Magic(b"\x93NUMPY"),
    streams=("channel",),
    clock="native",
    metadata=tuple(field.name for field in fields(RecordingMetadata)),  # convert writes all of them beside the array
    description="An array of (samples, rows, columns[, planes]) saved by numpy.save; times and metadata where convert wrote them.",
    writer="roiextractors_core.interop.npy_writer:write",
    writer_extensions=(".npy",),
)


@dataclass(frozen=True, slots=True)
class RegistryState:
    """The content of a registry at one moment; it does not change, and reading it needs no lock and no disk.

    Attributes
    ----------
    specs : mapping of str to FormatSpec
        By name, in the order of the names.
    owners : mapping of str to str
        Format name to the distribution that provides it.
    plugins : tuple of PluginRecord
        The core first, then the plugins by name.
    preferences : tuple of (str, str)
        Pairs ``(winner, loser)`` of format names.
    notes : tuple of str
        Problems of the settings, and plugins that load slowly or change the process.
    """

    specs: Mapping[str, FormatSpec]
    owners: Mapping[str, str]
    plugins: tuple[PluginRecord, ...]
    preferences: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def failed_plugins(self) -> tuple[PluginRecord, ...]:
        """The plugins that could not be loaded."""
        return tuple(record for record in self.plugins if record.status == "failed")

    def owner(self, name: str) -> str:
        """Return the distribution that provides a format, or an empty string."""
        return self.owners.get(name, "")

    def version(self, plugin: str) -> str:
        """Return a plugin's version, or an empty string."""
        return next((record.version for record in self.plugins if record.name == plugin), "")


class Registry:
    """The formats that can be opened, from the core, from installed plugins and from this session.

    Plugins are found through the entry-point group ``roiextractors_core`` when the formats are first
    asked for, and in an order that depends on names alone.  A plugin that fails is listed with its
    reason and provides none of its formats; the others work.

    Parameters
    ----------
    entry_points : callable, optional
        Returns the entry points; the default asks importlib_metadata.
    environment : mapping, optional
        Where ``ROIEXTRACTORS_BLOCK`` (plugins, comma-separated), ``ROIEXTRACTORS_PREFER``
        (``winner>loser``, comma-separated) and ``ROIEXTRACTORS_CONFIG`` are looked up.
    """

    def __init__(
        self,
        *,
        entry_points: Callable[[], Iterable[Any]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._entry_points = entry_points or installed_entry_points
        self._environment = os.environ if environment is None else environment
        self._lock = ProcessLock()
        self._session: dict[str, FormatSpec] = {}
        self._blocked_here: set[str] = set()
        self._preferred_here: list[tuple[str, str]] = []
        # Each of the three depends on those before it, and is None until it is needed (again).
        self._settings: Settings | None = None
        self._plugins: tuple[LoadedPlugin, ...] | None = None
        self._state: RegistryState | None = None

    def snapshot(self) -> RegistryState:
        """Return the current content.

        The first call, and the first one after a change, looks for plugins and reads the settings.
        The later ones return the same object.
        """
        state = self._state  # read once: another thread may call refresh() between a check and a return
        if state is not None:
            return state
        with self._lock:
            if self._state is None:
                self._state = self._assemble()
            return self._state

    def formats(self) -> tuple[FormatSpec, ...]:
        """Return all formats, sorted by name."""
        return tuple(self.snapshot().specs.values())

    def plugins(self) -> tuple[PluginRecord, ...]:
        """Return all plugins that were found, the core first; those that failed say why."""
        return self.snapshot().plugins

    def get(self, name: str) -> FormatSpec | None:
        """Return a format by name, or None."""
        return self.snapshot().specs.get(name)

    def owner(self, name: str) -> str:
        """Return the distribution that provides a format, or an empty string."""
        return self.snapshot().owner(name)

    def version(self, plugin: str) -> str:
        """Return a plugin's version, or an empty string."""
        return self.snapshot().version(plugin)

    def preferences(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs ``(winner, loser)``: this session's, the environment's, the config file's."""
        return self.snapshot().preferences

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """Return the formats of the plugins in this repository, installed or not."""
        return catalogue()

    def register(self, spec: FormatSpec, *, replace: bool = False) -> None:
        """Add a format for this session, without a distribution.

        Parameters
        ----------
        spec : FormatSpec
        replace : bool
            Replace the format that has this name, for this session.

        Raises
        ------
        DeclarationError
            It is not a ``FormatSpec``, needs another API number, or has the name of another format.
        """
        with self._lock:
            reason = spec_fault(spec)
            if not reason and not replace and (taken := name_fault(spec.name, self.snapshot().specs)):
                reason = f"{taken}; pass replace=True to use this one in its place, or choose another name"
            if reason:
                raise DeclarationError(reason)
            self._session[spec.name] = spec
            self._state = None

    def unregister(self, name: str) -> None:
        """Undo :meth:`register`; a name that was not registered is ignored."""
        with self._lock:
            self._session.pop(name, None)
            self._state = None

    def block(self, plugin: str) -> None:
        """Leave a plugin's formats out, by the name of its distribution."""
        with self._lock:
            self._blocked_here.add(normalized(plugin))
            self._plugins = self._state = None

    def unblock(self, plugin: str) -> None:
        """Undo :meth:`block`."""
        with self._lock:
            self._blocked_here.discard(normalized(plugin))
            self._plugins = self._state = None

    def prefer(self, winner: str, over: str) -> None:
        """Let one format win over another where both match, whatever else would decide."""
        with self._lock:
            self._preferred_here.append((winner, over))
            self._state = None

    def refresh(self) -> None:
        """Look for plugins and read the settings again, to find changes since the last time."""
        with self._lock:
            importlib.invalidate_caches()  # the import system remembers folders, and would miss a package installed since
            self._settings = self._plugins = self._state = None

    def _assemble(self) -> RegistryState:
        """Return a new state; where Ctrl-C ends a slow import, nothing of it is kept."""
        if self._settings is None:
            self._settings = read_settings(self._environment)
        settings = self._settings
        record = PluginRecord(BUILT_IN, _own_version(), "built in", formats=(NPY_FORMAT.name,))
        built_in = LoadedPlugin(record, (NPY_FORMAT,))
        if self._plugins is None:  # the slow part: it survives register, unregister and prefer
            blocked = self._blocked_here.union(map(normalized, settings.block))
            self._plugins = discover(self._entry_points, blocked, {NPY_FORMAT.name: NPY_FORMAT})
        all_plugins = [built_in, *self._plugins]
        # The session comes last, so that its formats take the place of those with the same name
        if self._session:
            record = PluginRecord(SESSION, entry_point="registered in code", formats=tuple(sorted(self._session)))
            all_plugins.append(LoadedPlugin(record, tuple(self._session.values())))
        specs = {spec.name: spec for plugin in all_plugins for spec in plugin.specs}
        owners = {spec.name: plugin.record.name for plugin in all_plugins for spec in plugin.specs}
        return RegistryState(
            specs=MappingProxyType(dict(sorted(specs.items()))),
            owners=MappingProxyType(owners),
            plugins=tuple(plugin.record for plugin in all_plugins),
            # The session's come first, then the environment's, then the config file's
            preferences=(*self._preferred_here, *settings.prefer),
            notes=(*settings.notes, *_notes(all_plugins), *_frozen_note(self._plugins)),
        )


def _notes(loaded: Iterable[LoadedPlugin]) -> Iterator[str]:
    for record in (plugin.record for plugin in loaded):
        name = printable(record.name)
        advice = f"to leave it out: ROIEXTRACTORS_BLOCK={name}"
        if record.is_slow:
            yield f"{name} took {record.load_seconds:.1f} s and {record.num_modules:,} modules to load; {advice}"
        if record.changes:
            yield f"{name} changed {', '.join(record.changes)} when it was imported; {advice}"


def _frozen_note(plugins: Iterable[LoadedPlugin]) -> Iterator[str]:
    if getattr(sys, "frozen", False) and not any(plugins):  # PyInstaller and cx_Freeze leave metadata out by default
        yield (
            "no plugin was found: this is a frozen application, which must contain the metadata of its plugins "
            "(PyInstaller: --collect-all and --copy-metadata for each)"
        )


def _own_version() -> str:
    from .. import __version__  # here, because the package imports this module on first use

    return __version__


@functools.cache
def default_registry() -> Registry:
    """Return the registry that ``open`` and its companions use."""
    return Registry()


def formats() -> tuple[FormatSpec, ...]:
    """Return all formats that can be opened, sorted by name."""
    return FormatTuple(default_registry().formats())


def plugins() -> tuple[PluginRecord, ...]:
    """Return all plugins that were found; those that failed say why."""
    return PluginTuple(default_registry().plugins())


def refresh() -> None:
    """Look for plugins and read the settings again: sees what was installed since, without a restart."""
    default_registry().refresh()
