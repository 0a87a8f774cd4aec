"""What can be wrong with a format's declaration, and with the weight of the module that declares it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from ..errors import RoiExtractorsError
from ..metadata import RecordingMetadata
from ..registry.hook import API_NUMBERS
from ..registry.registry import Registry
from ..registry.spec import FormatSpec

__all__ = ["heavy_imports", "spec_faults"]

_PLATFORMS = frozenset({"any", "linux", "macos", "windows"})


def spec_faults(spec: FormatSpec, registry: Registry) -> Iterator[str]:
    """Yield the faults of a declaration.

    Parameters
    ----------
    spec : FormatSpec
    registry : Registry
        Whose formats, and whose catalogue, ``specializes`` may name.
    """
    if spec.api not in API_NUMBERS:
        yield f"api={spec.api} is not supported; this core supports {', '.join(map(str, sorted(API_NUMBERS)))}"
    known = {found.name for found in registry.formats()} | {entry.spec.name for entry in registry.catalogue()}
    unknown = [name for name in spec.specializes if name not in known]
    if unknown:
        yield f"specializes={spec.specializes}, but no format is called {', '.join(unknown)}"
    names = {field.name for field in fields(RecordingMetadata)}
    wrong = [name for name in spec.metadata if name not in names]
    if wrong:
        yield f"metadata names {', '.join(wrong)}, which RecordingMetadata does not have; it has {', '.join(sorted(names))}"
    strange = [name for name in spec.streams if not name.isidentifier()]
    if strange:
        yield f"streams names {', '.join(map(repr, strange))}, which cannot be keywords of open"
    systems = [name for name in spec.platforms if name not in _PLATFORMS]
    if systems or not spec.platforms:
        yield f"platforms is {spec.platforms}, expected one or more of {', '.join(sorted(_PLATFORMS))}"
    if not spec.description.strip():
        yield "description is empty: write one sentence for the list of formats"
    yield from _round_trip_faults(spec)


def _round_trip_faults(spec: FormatSpec) -> Iterator[str]:
    try:
        again = FormatSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    except (RoiExtractorsError, TypeError, ValueError) as error:
        yield f"it cannot be converted to JSON and back: {error}"
        return
    if again != spec:
        yield "it is not the same after it was converted to JSON and back"


def heavy_imports(module: str, imports: Iterable[Sequence[str]], modules: Iterable[str]) -> list[str]:
    """Return the imports of a ``hooks`` module beyond the core and the standard library, in words.

    Parameters
    ----------
    module : str
        The one that declares: ``"roiextractors_npy.hooks"``.
    imports : iterable of (str, str)
        Which module of the plugin imported which.
    modules : iterable of str
        All modules that came in with it.
    """
    parents = {module.rpartition(".")[0][: len(part)] for part in _prefixes(module)}
    light = {module, *parents}
    package = module.partition(".")[0]
    found = []
    reported: set[str] = set()
    for importer, name in imports:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == "roiextractors_core" or name in light or top in reported:
            continue
        if top == package:
            continue
        reported.add(top)
        found.append(f"{importer} imports {name}")
    own = [n for n in modules if n.partition(".")[0] == package and n not in light]
    found += [f"importing {module} brings in {name}" for name in sorted(own)]
    others = (
        {n.partition(".")[0] for n in modules}
        - set(sys.stdlib_module_names)
        - reported
        - {package, "roiextractors_core"}
    )
    return found + [f"importing {module} brings in {name}" for name in sorted(others)]


def _prefixes(module: str) -> Iterator[str]:
    parts = module.split(".")
    yield from (".".join(parts[:k]) for k in range(1, len(parts)))
