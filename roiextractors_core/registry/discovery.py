"""Plugins found through entry points, loaded one by one, so that one that fails does not harm the others."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any

import pluggy

from ..errors import DeclarationError, RoiExtractorsError, printable
from ..io.libraries import describe_missing
from ..io.plugin_output import stdout_to_stderr
from ..io.process_state import run_watched
from . import hook
from .evidence import evidence_fault
from .spec import FormatSpec

__all__ = [
    "LoadedPlugin",
    "PluginRecord",
    "declared_formats",
    "discover",
    "installed_entry_points",
    "normalized",
    "spec_fault",
]

SLOW_SECONDS = 1.0  # declarations import the core alone, in milliseconds; more is an I/O library imported too early
_REFERENCE = re.compile(r"[\w-]+(\.[\w-]+)*\s*(:\s*\w+(\.\w+)*)?\s*(\[.*\])?")
_UNCLOSED = re.compile(rf"^\s*\[\s*{hook.GROUP}[^]\n]*$", re.MULTILINE)


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
        ``"ok"``, ``"failed"`` or ``"blocked"``.
    reason : str
        Why it failed or is blocked; empty otherwise.
    formats : tuple of str
        The formats that it provides; none unless the status is ``"ok"``.
    load_seconds : float
        Duration of the import of its declarations.
    num_modules : int
        Number of modules that this import added.
    changes : tuple of str
        What this import changed in the process, such as ``"the working folder"``; restored where that is possible.
    requires : tuple of str
        The libraries that its formats need, as in :attr:`FormatSpec.requires`.
    """

    name: str
    version: str = ""
    entry_point: str = ""
    status: str = "ok"
    reason: str = ""
    formats: tuple[str, ...] = ()
    load_seconds: float = 0.0
    num_modules: int = 0
    changes: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """The libraries in ``requires`` that are not installed, and how to install them; empty if all are installed."""
        return describe_missing(self.requires)

    @property
    def is_slow(self) -> bool:
        """Whether loading took more than a second."""
        return self.load_seconds > SLOW_SECONDS

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        lists = {key: list(getattr(self, key)) for key in ("formats", "changes", "requires")}
        return {**asdict(self), **lists, "missing": self.missing, "load_seconds": round(self.load_seconds, 6)}


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plugin's record, and its formats: all of them or none."""

    record: PluginRecord
    specs: tuple[FormatSpec, ...] = ()


def discover(
    entry_points: Callable[[], Iterable[Any]], blocked: Set[str], taken: Mapping[str, FormatSpec]
) -> tuple[LoadedPlugin, ...]:
    """Load the plugins of the entry points, in the order of their names.

    Two plugins may declare a format of the same name.  The one whose distribution is named after
    the format (``roiextractors-xyz`` or ``xyz`` for ``"xyz"``) keeps the name, otherwise the first in
    the order of the distributions' names.  The other one fails, with the reason.

    Parameters
    ----------
    entry_points : callable
        Returns the entry points.
    blocked : set of str
        Normalized names of distributions or entry points that are not loaded.
    taken : mapping
        Formats whose names no plugin can have.
    """
    # Sorted by names alone: neither the date of an installation nor the order of a folder matters
    points = sorted(((_record_of(point), point) for point in entry_points()), key=_sort_key)
    loaded = [_load(record, point, blocked) for record, point in points]
    # All names are known before the first conflict is settled: the owner of a name may come last in the alphabet
    namesakes: dict[str, LoadedPlugin] = {}
    for plugin in loaded:
        for spec in plugin.specs:
            if _is_named_after(plugin.record.name, spec.name):
                namesakes.setdefault(spec.name, plugin)
    accepted, result = dict(taken), []
    for plugin in loaded:
        reason = _conflict(plugin, accepted, namesakes)
        if reason:
            plugin = LoadedPlugin(replace(plugin.record, status="failed", reason=reason, formats=()))
        accepted.update({spec.name: spec for spec in plugin.specs})
        result.append(plugin)
    return tuple(result)


def spec_fault(spec: Any) -> str:
    """Return what is wrong with a declaration for this core, or an empty string."""
    if not isinstance(spec, FormatSpec):
        return f"expected a FormatSpec, got {type(spec).__name__}"
    if spec.api not in hook.API_NUMBERS:
        known = ", ".join(map(str, sorted(hook.API_NUMBERS)))
        advice = "update roiextractors-core" if spec.api > max(hook.API_NUMBERS) else "update the plugin"
        return f"format {spec.name!r} needs API number {spec.api}, but this core supports {known}; {advice}"
    fault = evidence_fault(spec.evidence)
    return f"format {spec.name!r}: {fault}" if fault else ""


def name_fault(name: str, taken: Mapping[str, FormatSpec]) -> str:
    """Return the sentence on a name that another format has, or an empty string."""
    return f"the format name {name!r} is already taken ({taken[name].title})" if name in taken else ""


@functools.lru_cache(maxsize=1024)  # asked for each plugin at each opening
def normalized(name: str) -> str:
    """Return a distribution's name in lower case, with ``-`` for ``_`` and ``.`` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared_formats(module: Any) -> tuple[FormatSpec, ...]:
    """Return the formats that one plugin module declares, through pluggy.

    Parameters
    ----------
    module : module
        A plugin's ``hooks``.

    Raises
    ------
    DeclarationError
        It declares nothing, misspells the hook, or yields something that is not a ``FormatSpec``.
    """
    manager = pluggy.PluginManager(hook.GROUP)
    specification: Any = SimpleNamespace(**{hook.HOOK: hook.roiextractors_formats})
    manager.add_hookspecs(specification)
    marked = [name for name in dir(module) if _is_marked(module, name)]
    misspelt = [name for name in marked if name != hook.HOOK]
    if misspelt:
        raise DeclarationError(f"there is no hook {misspelt[0]!r}; the hook is called {hook.HOOK!r}")
    if not marked:
        hint = "; mark the function with @hookimpl" if hasattr(module, hook.HOOK) else ""
        raise DeclarationError(f"it has no hook {hook.HOOK!r}{hint}")
    try:
        # The hook alone: pluggy would look up every attribute of the module, and any of them may raise
        manager.register(SimpleNamespace(**{hook.HOOK: getattr(module, hook.HOOK)}), name=printable(module))
    except pluggy.PluginValidationError as error:
        raise DeclarationError(f"the hook {hook.HOOK!r} takes no arguments: {printable(error)}") from error
    specs = [spec for answer in getattr(manager.hook, hook.HOOK)() for spec in _checked_specs(answer)]
    if not specs:
        raise DeclarationError(f"its hook {hook.HOOK!r} declares no format")
    return tuple(specs)


def _is_marked(module: Any, name: str) -> bool:
    """Whether a name has the mark of @hookimpl, under this name or a misspelt one, which pluggy would ignore."""
    try:
        return isinstance(getattr(getattr(module, name), f"{hook.GROUP}_impl", None), dict)
    except Exception:  # noqa: BLE001 - any object of the plugin's module may raise when an attribute is looked up
        return False


def _checked_specs(answer: Any) -> Iterator[FormatSpec]:
    if isinstance(answer, FormatSpec):
        raise DeclarationError(f"{hook.HOOK!r} returned one FormatSpec: yield it, or return a tuple")
    for spec in answer:
        if not isinstance(spec, FormatSpec):
            shown = printable(repr(spec))[:80]
            raise DeclarationError(f"{hook.HOOK!r} must yield FormatSpec values, got {type(spec).__name__}: {shown}")
        yield spec


def _load(record: PluginRecord, point: Any, blocked: Set[str]) -> LoadedPlugin:
    """Import what an entry point names, and return its declarations or the reason for the failure."""
    if normalized(record.name) in blocked or normalized(point.name) in blocked:
        return LoadedPlugin(replace(record, status="blocked", reason="blocked by a setting"))
    (specs, reason), seconds, num_modules, changes = run_watched(_declarations, point)
    # In the order of loading: the first plugin that imports a shared library is charged with it
    record = replace(record, load_seconds=seconds, num_modules=num_modules, changes=changes)
    reason = reason or next(filter(None, map(spec_fault, specs)), "")
    if reason:
        return LoadedPlugin(replace(record, status="failed", reason=reason))
    requires = tuple(dict.fromkeys(library for spec in specs for library in spec.requires))
    return LoadedPlugin(replace(record, formats=tuple(sorted(spec.name for spec in specs)), requires=requires), specs)


def _declarations(point: Any) -> tuple[tuple[FormatSpec, ...], str]:
    if not _REFERENCE.fullmatch(str(point.value)) and not isinstance(point, _DamagedEntryPoint):
        shown = printable(f"{point.name} = {point.value}")[:200]
        return (), f"its entry point {shown!r} must name a module, such as 'name = package.hooks'; reinstall the plugin"
    try:
        with stdout_to_stderr():
            return declared_formats(point.load()), ""
    except KeyboardInterrupt:  # Ctrl-C is the user's, and not a failure of the plugin
        raise
    except RoiExtractorsError as error:
        return (), printable(error)
    except BaseException as error:  # noqa: BLE001 - the plugin's own code runs here: it may even call sys.exit
        where = "importing it" if not isinstance(error, TypeError) else "loading it"
        return (), f"{where} raised {type(error).__name__}: {printable(error)[:300]}"


def _conflict(plugin: LoadedPlugin, accepted: Mapping[str, FormatSpec], namesakes: Mapping[str, LoadedPlugin]) -> str:
    """Return why a plugin cannot have one of its names, or an empty string."""
    names = [spec.name for spec in plugin.specs]
    for name in names:
        if name in accepted:
            return name_fault(name, accepted)
        if names.count(name) > 1:
            return f"it declares the format name {name!r} twice"
        if namesakes.get(name, plugin) is not plugin:
            return f"the format name {name!r} is already taken (by {printable(namesakes[name].record.name)})"
    return ""


def _is_named_after(distribution: str, format_name: str) -> bool:
    return normalized(distribution).removeprefix("roiextractors-") == normalized(format_name)


def installed_entry_points() -> Iterator[Any]:
    """Yield the entry points of the group; a damaged distribution that seems to be a plugin yields one that fails when it is loaded."""
    import importlib_metadata

    seen: set[str] = set()
    for distribution in importlib_metadata.distributions():
        points = _points_of(distribution)
        if points is not None:  # a second copy further down sys.path is not the one that is imported
            # The name of its folder; its metadata would have to be parsed
            name = getattr(distribution, "_normalized_name", "") or normalized(_name_and_version(distribution)[0])
            yield from () if name and name in seen else points
            seen.add(name)


def _points_of(distribution: Any) -> tuple[Any, ...] | None:
    """Return the entry points of the group in a distribution; None if it has no entry points."""
    try:
        text = distribution.read_text("entry_points.txt")
        if text and hook.GROUP not in text:  # parsing those of all distributions would take most of the time
            return ()
        points = tuple(distribution.entry_points.select(group=hook.GROUP))
        if not points and _UNCLOSED.search(text or ""):  # the parser skips such a line, and those below it
            raise DeclarationError("a section header has no closing bracket")
        return points if points or text else None
    except Exception as error:  # noqa: BLE001 - metadata of any installed distribution is parsed here; one damaged file fails all
        is_plugin = _name_and_version(distribution)[0].lower().startswith("roiextractors")
        return (_DamagedEntryPoint(distribution, error),) if is_plugin or _names_the_core(distribution) else ()


def _names_the_core(distribution: Any) -> bool:
    """Whether a distribution with damaged entry points depends on the core, or has some of its group."""
    for file in ("entry_points.txt", "METADATA", "PKG-INFO"):
        with suppress(Exception):  # as above
            if re.search(r"roiextractors[-_.]core", distribution.read_text(file) or "", re.IGNORECASE):
                return True
    return False


@dataclass(frozen=True, slots=True)
class _DamagedEntryPoint:
    """Takes the place of the entry points of a distribution whose ``entry_points.txt`` cannot be parsed."""

    dist: Any
    error: Exception
    name: str = "entry_points.txt"
    value: str = ""

    def load(self) -> Any:
        cause = f"{type(self.error).__name__}: {printable(self.error)[:200]}"
        raise DeclarationError(f"its entry_points.txt cannot be read ({cause}); reinstall the plugin")


def _record_of(point: Any) -> PluginRecord:
    name, version = _name_and_version(getattr(point, "dist", None))
    return PluginRecord(name or str(point.name), version, f"{point.name} = {point.value}")


def _name_and_version(distribution: Any) -> tuple[str, str]:
    """Return the name and version of a distribution, or empty strings where its metadata is missing."""
    try:
        metadata = distribution.metadata
        return str(metadata["Name"] or ""), str(metadata["Version"] or "")
    except Exception:  # noqa: BLE001 - as above
        return "", ""


def _sort_key(pair: tuple[PluginRecord, Any]) -> tuple[str, str, str]:
    record, point = pair
    return normalized(record.name), str(point.name), str(point.value)
