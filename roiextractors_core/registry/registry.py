"""Which formats there are: discovered one plugin at a time, each in its own guard, and held."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..errors import DeclarationError, RoiExtractorsError, printable
from ..io.locks import ProcessLock
from ..registry import hook as hookspecs
from .evidence import Magic, evidence_fault
from .isolation import stdout_to_stderr
from .spec import FormatSpec

__all__ = [
    "CATALOGUE",
    "PluginRecord",
    "Registry",
    "catalogue_text",
    "config_file",
    "default_registry",
    "formats",
    "plugins",
    "refresh",
]

CATALOGUE = Path(__file__).with_name("catalogue.json")
BUILT_IN = "roiextractors-core"
SESSION = "this session"
SLOW_SECONDS = 1.0
NPY_FORMAT = FormatSpec(
    name="npy",
    title="NumPy array",
    extractor="roiextractors_core.registry.npy:NpyImagingExtractor",
    extensions=(".npy",),
    evidence=Magic(b"\x93NUMPY"),
    clock="native",
    metadata=(
        "start_time",
        "pixel_size",
        "plane_spacing",
        "plane_positions",
        "channels",
        "device",
        "software",
        "vendor",
    ),
    description="An array of (samples, rows, columns[, planes]) saved by numpy.save; times and metadata where convert wrote them.",
    writer="roiextractors_core.interop.npy_writer:write",
    writer_extensions=(".npy",),
)


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One plugin, and how its loading went.

    Attributes
    ----------
    name : str
        The distribution.
    version : str
    entry_point : str
        ``"name = module"``.
    status : str
        ``"ok"``, ``"set aside"`` or ``"blocked"``.
    reason : str
        Why it was set aside; empty otherwise.
    formats : tuple of str
        The formats that it brings; none when it was set aside.
    load_seconds : float
        What importing its declarations took.
    num_modules : int
        The modules that importing its declarations brought in.
    """

    name: str
    version: str = ""
    entry_point: str = ""
    status: str = "ok"
    reason: str = ""
    formats: tuple[str, ...] = ()
    load_seconds: float = 0.0
    num_modules: int = 0

    @property
    def is_slow(self) -> bool:
        """Whether loading took more than a second."""
        return self.load_seconds > SLOW_SECONDS

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return {
            "name": self.name,
            "version": self.version,
            "entry_point": self.entry_point,
            "status": self.status,
            "reason": self.reason,
            "formats": list(self.formats),
            "load_seconds": round(self.load_seconds, 6),
            "num_modules": self.num_modules,
        }


class Registry:
    """The formats that can be opened, from the core, from installed plugins and from this session.

    Plugins are found through the entry-point group ``roiextractors_core`` at the first look, and in
    an order that depends on names alone.  A plugin that fails is set aside with its reason, all of
    its formats or none; the others work.

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
        self._entry_points = entry_points or _installed_entry_points
        self._environment = os.environ if environment is None else environment
        self._lock = ProcessLock()
        self._session: dict[str, FormatSpec] = {}
        self._blocked_here: set[str] = set()
        self._preferred_here: list[tuple[str, str]] = []
        self._specs: dict[str, FormatSpec] | None = None
        self._owners: dict[str, str] = {}
        self._records: tuple[PluginRecord, ...] = ()
        self._settings_notes: tuple[str, ...] = ()

    def formats(self) -> tuple[FormatSpec, ...]:
        """Return all formats, sorted by name."""
        with self._lock:
            specs = self._discovered()
            return tuple(specs[name] for name in sorted(specs))

    def plugins(self) -> tuple[PluginRecord, ...]:
        """Return all plugins that were found, the core first, with the reasons of those set aside."""
        with self._lock:
            self._discovered()
            return self._records

    def get(self, name: str) -> FormatSpec | None:
        """Return a format by name, or None."""
        with self._lock:
            return self._discovered().get(name)

    def owner(self, name: str) -> str:
        """Return the distribution that brings a format."""
        with self._lock:
            self._discovered()
            return self._owners.get(name, "")

    def version(self, plugin: str) -> str:
        """Return a plugin's version, or an empty string."""
        return next((record.version for record in self.plugins() if record.name == plugin), "")

    def register(self, spec: FormatSpec) -> None:
        """Add a format for this session, without a distribution.

        Raises
        ------
        DeclarationError
            When it is no ``FormatSpec``, asks for another API number, or repeats a name.
        """
        with self._lock:
            reason = _spec_fault(spec, self._discovered())
            if reason:
                raise DeclarationError(reason)
            self._session[spec.name] = spec
            self._specs = None

    def unregister(self, name: str) -> None:
        """Take back what :meth:`register` added; nothing happens when it is not there."""
        with self._lock:
            self._session.pop(name, None)
            self._specs = None

    def block(self, plugin: str) -> None:
        """Leave a plugin's formats out, by the distribution's name."""
        with self._lock:
            self._blocked_here.add(_normal(plugin))
            self._specs = None

    def unblock(self, plugin: str) -> None:
        """Take back :meth:`block`."""
        with self._lock:
            self._blocked_here.discard(_normal(plugin))
            self._specs = None

    def prefer(self, winner: str, over: str) -> None:
        """Let one format win over another where both match, whatever else would decide."""
        with self._lock:
            self._preferred_here.append((winner, over))

    def preferences(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs ``(winner, loser)``: this session's, the environment's, the config file's."""
        with self._lock:
            listed = _listed_setting(self._environment.get("ROIEXTRACTORS_PREFER", ""))
            texts = [*listed, *self._config().get("prefer", [])]
            pairs = [tuple(part.strip() for part in text.split(">")) for text in texts]
            return (*self._preferred_here, *((p[0], p[1]) for p in pairs if len(p) == 2))

    def settings_notes(self) -> tuple[str, ...]:
        """Return what is wrong with the config file, if anything."""
        with self._lock:
            self._discovered()
            return self._settings_notes

    def slow_notes(self) -> tuple[str, ...]:
        """Return a sentence on each plugin that took more than a second to load."""
        return tuple(
            f"{printable(record.name)} took {record.load_seconds:.1f} s and {record.num_modules:,} modules to load; "
            f"to leave it out: ROIEXTRACTORS_BLOCK={printable(record.name)}"
            for record in self.plugins()
            if record.is_slow
        )

    def refresh(self) -> None:
        """Look for plugins again: sees what was installed or removed since."""
        with self._lock:
            import importlib

            importlib.invalidate_caches()
            self._specs = None

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """Return the formats of the project's own plugins, installed or not."""
        with self._lock:
            return _catalogue()

    # Discovery

    def _discovered(self) -> dict[str, FormatSpec]:
        if self._specs is None:
            self._discover()
        return self._specs if self._specs is not None else {}

    def _discover(self) -> None:
        """Look for plugins; nothing is kept of a look that Ctrl-C ended."""

        self._settings_notes = ()
        blocked = self._blocked()
        specs = {NPY_FORMAT.name: NPY_FORMAT}
        owners = {NPY_FORMAT.name: BUILT_IN}
        records = [PluginRecord(BUILT_IN, _own_version(), "built in", formats=(NPY_FORMAT.name,))]
        points = [(_record_of(point), point) for point in self._entry_points()]
        for told, point in sorted(points, key=_sort_key):
            record, found = _loaded(told, point, blocked, specs)
            records.append(record)
            specs.update(found)
            owners.update(dict.fromkeys(found, record.name))
        for name, spec in self._session.items():
            specs[name] = spec
            owners[name] = SESSION
        if self._session:
            records.append(
                PluginRecord(SESSION, entry_point="registered in code", formats=tuple(sorted(self._session)))
            )
        self._specs, self._owners, self._records = specs, owners, tuple(records)

    def _blocked(self) -> set[str]:
        listed = _listed_setting(self._environment.get("ROIEXTRACTORS_BLOCK", ""))
        return self._blocked_here | {_normal(name) for name in [*listed, *self._config().get("block", [])]}

    def _config(self) -> dict[str, list[str]]:
        path = config_file(self._environment)
        try:
            with path.open("rb") as stream:
                found = tomllib.load(stream)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self._settings_notes = (f"{path} was not used: {error}",)
            return {}
        wrong = [key for key in found if key not in ("block", "prefer") or not _is_texts(found[key])]
        if wrong:
            self._settings_notes = (
                f"{path}: {', '.join(map(repr, wrong))} not used; it takes block = [...] and prefer = ['a>b', ...]",
            )
        return {key: value for key, value in found.items() if key not in wrong}


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A format that the catalogue knows, and the distribution to install for it."""

    spec: FormatSpec
    plugin: str

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as plain data."""
        return {"plugin": self.plugin, "format": self.spec.to_dict()}


@functools.cache
def default_registry() -> Registry:
    """Return the registry that ``open`` and its companions use."""
    return Registry()


def config_file(environment: Mapping[str, str] | None = None) -> Path:
    """Return where the user's settings are: ``ROIEXTRACTORS_CONFIG``, or the system's usual place."""
    environment = os.environ if environment is None else environment
    given = environment.get("ROIEXTRACTORS_CONFIG")
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(environment.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "roiextractors" / "config.toml"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "roiextractors" / "config.toml"
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "roiextractors" / "config.toml"


def declared_formats(module: Any) -> tuple[FormatSpec, ...]:
    """Return what one plugin module declares, through pluggy.

    Parameters
    ----------
    module : module
        A plugin's ``hooks``.

    Raises
    ------
    DeclarationError
        When it declares nothing, misspells the hook, or yields something else than ``FormatSpec``.
    """
    import pluggy

    manager = pluggy.PluginManager(hookspecs.GROUP)
    declared: Any = SimpleNamespace(**{hookspecs.HOOK: hookspecs.roiextractors_formats})
    manager.add_hookspecs(declared)
    marked = [name for name in dir(module) if _is_marked(module, name)]
    misspelt = [name for name in marked if name != hookspecs.HOOK]
    if misspelt:
        raise DeclarationError(f"there is no hook {misspelt[0]!r}; the hook is called {hookspecs.HOOK!r}")
    if not marked:
        hint = ", which lacks the mark @hookimpl" if hasattr(module, hookspecs.HOOK) else ""
        raise DeclarationError(f"it has no hook {hookspecs.HOOK!r}{hint}")
    try:
        manager.register(SimpleNamespace(**{hookspecs.HOOK: getattr(module, hookspecs.HOOK)}), name=printable(module))
    except pluggy.PluginValidationError as error:
        raise DeclarationError(f"the hook {hookspecs.HOOK!r} takes no arguments: {printable(error)}") from error
    found = [spec for answer in getattr(manager.hook, hookspecs.HOOK)() for spec in _iterated(answer)]
    if not found:
        raise DeclarationError(f"its hook {hookspecs.HOOK!r} names no format")
    return tuple(found)


def _is_marked(module: Any, name: str) -> bool:
    """Whether a name bears the marker of the hook; asked here and not of pluggy, which looks longer at each name."""
    try:
        return isinstance(getattr(getattr(module, name), f"{hookspecs.GROUP}_impl", None), dict)
    except Exception:  # noqa: BLE001 - the border to the plugin: what lies in its module may refuse to be looked at
        return False


def _iterated(answer: Any) -> Iterable[FormatSpec]:
    if isinstance(answer, FormatSpec):
        raise DeclarationError(
            f"{hookspecs.HOOK!r} must yield or return several, and returned one FormatSpec: write yield, or return a tuple"
        )
    for spec in answer:
        if not isinstance(spec, FormatSpec):
            raise DeclarationError(
                f"{hookspecs.HOOK!r} must yield FormatSpec values, and yielded {type(spec).__name__}: {printable(repr(spec))[:80]}"
            )
        yield spec


def _loaded(
    record: PluginRecord, point: Any, blocked: set[str], held: Mapping[str, FormatSpec]
) -> tuple[PluginRecord, dict[str, FormatSpec]]:
    """Return how the loading of a plugin went, and its formats by name: all or none."""
    if _normal(record.name) in blocked or _normal(point.name) in blocked:
        return replace(record, status="blocked", reason="blocked by a setting"), {}
    started, before = time.perf_counter(), len(sys.modules)
    specs, reason = _declared(point)
    record = replace(record, load_seconds=time.perf_counter() - started, num_modules=len(sys.modules) - before)
    found: dict[str, FormatSpec] = {}
    for spec in specs:
        reason = reason or _spec_fault(spec, {**held, **found})
        found[spec.name] = spec
    if reason:
        return replace(record, status="set aside", reason=reason), {}
    return replace(record, formats=tuple(sorted(found))), found


def _declared(point: Any) -> tuple[tuple[FormatSpec, ...], str]:
    try:
        with stdout_to_stderr():
            return declared_formats(point.load()), ""
    except KeyboardInterrupt:
        raise
    except RoiExtractorsError as error:
        return (), printable(error)
    except BaseException as error:  # noqa: BLE001 - the border to the plugin: it may even call sys.exit
        where = "importing it" if not isinstance(error, TypeError) else "loading it"
        return (), f"{where} raised {type(error).__name__}: {printable(error)[:300]}"


def _spec_fault(spec: Any, held: Mapping[str, FormatSpec]) -> str:
    if not isinstance(spec, FormatSpec):
        return f"a FormatSpec is needed, and not {type(spec).__name__}"
    if spec.api not in hookspecs.API_NUMBERS:
        known = ", ".join(map(str, sorted(hookspecs.API_NUMBERS)))
        advice = "update roiextractors-core" if spec.api > max(hookspecs.API_NUMBERS) else "update the plugin"
        return f"format {spec.name!r} asks for API number {spec.api}, and this core has {known}; {advice}"
    fault = evidence_fault(spec.evidence)
    if fault:
        return f"format {spec.name!r}: {fault}"
    if spec.name in held:
        return f"the format name {spec.name!r} is taken already ({held[spec.name].title})"
    return ""


def _installed_entry_points() -> Iterable[Any]:
    import importlib_metadata

    try:
        return importlib_metadata.entry_points(group=hookspecs.GROUP)
    except Exception:  # noqa: BLE001 - the border to whatever else is installed: one damaged distribution fails them all
        return _sound_entry_points(importlib_metadata.distributions())


def _sound_entry_points(distributions: Iterable[Any]) -> Iterator[Any]:
    """Yield the entry points of distributions one by one; of a damaged one that names the group, what tells so."""
    seen: set[str] = set()
    for distribution in distributions:
        name, _ = _told(distribution)
        if name and _normal(name) in seen:
            continue
        seen.add(_normal(name))
        try:
            yield from distribution.entry_points.select(group=hookspecs.GROUP)
        except Exception as error:  # noqa: BLE001 - the border to whatever else is installed
            if name.lower().startswith("roiextractors"):
                yield _Damaged(distribution, error)


@dataclass(frozen=True, slots=True)
class _Damaged:
    """Stands for the entry points of a distribution that cannot be read."""

    dist: Any
    error: Exception
    name: str = "entry_points.txt"
    value: str = ""

    def load(self) -> Any:
        raise DeclarationError(
            f"its entry_points.txt cannot be read ({type(self.error).__name__}: {printable(self.error)[:200]}); install it again"
        )


def _record_of(point: Any) -> PluginRecord:
    name, version = _told(getattr(point, "dist", None))
    return PluginRecord(name or str(point.name), version, f"{point.name} = {point.value}")


def _told(distribution: Any) -> tuple[str, str]:
    """Return the name and version of a distribution; nothing where its metadata is lost."""
    try:
        metadata = distribution.metadata
        return str(metadata["Name"] or ""), str(metadata["Version"] or "")
    except Exception:  # noqa: BLE001 - the border to whatever else is installed
        return "", ""


def _sort_key(pair: tuple[PluginRecord, Any]) -> tuple[bool, str, str, str]:
    """Sort by names alone; the project's own plugins come first, so that no other takes the names of their formats."""
    record, point = pair
    name = _normal(record.name)
    return name not in _own_plugins(), name, str(point.name), str(point.value)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _listed_setting(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def formats() -> tuple[FormatSpec, ...]:
    """Return all formats that can be opened, sorted by name."""
    return default_registry().formats()


def plugins() -> tuple[PluginRecord, ...]:
    """Return all plugins that were found, with the reasons of those that failed."""
    return default_registry().plugins()


def refresh() -> None:
    """Look for plugins again: sees what was installed since, without a restart."""
    default_registry().refresh()


def _own_version() -> str:
    from .. import __version__

    return __version__


@functools.cache
def _own_plugins() -> frozenset[str]:
    return frozenset(_normal(str(entry["plugin"])) for entry in json.loads(CATALOGUE.read_text(encoding="utf-8")))


@functools.cache
def _catalogue() -> tuple[CatalogueEntry, ...]:
    entries = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return tuple(CatalogueEntry(FormatSpec.from_dict(e["format"]), e["plugin"]) for e in entries)


def catalogue_text(plugins: Path) -> str:
    """Return the catalogue as JSON text, made from the declarations of a folder of plugins.

    Parameters
    ----------
    plugins : pathlib.Path
        The folder whose members are distributions with a ``pyproject.toml`` and a ``hooks.py``.
    """
    entries = []
    for project_file in sorted(plugins.glob("*/pyproject.toml")):
        project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        for target in sorted(project.get("entry-points", {}).get(hookspecs.GROUP, {}).values()):
            sys.path.insert(0, str(project_file.parent))
            try:
                specs = declared_formats(import_module(target))
            finally:
                sys.path.remove(str(project_file.parent))
            entries += [CatalogueEntry(spec, project["name"]).to_dict() for spec in specs]
    return json.dumps(sorted(entries, key=lambda e: str(e["format"]["name"])), indent=1) + "\n"
