"""Formats for this session, from a class in a notebook or script, without a distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import DeclarationError
from ..extractor import Extractor
from .evidence import Evidence
from .registry import Registry, default_registry
from .spec import KINDS, FormatSpec

__all__ = ["register"]


@dataclass(frozen=True, slots=True)
class _SessionSpec(FormatSpec):
    """The declaration of a format whose class is at hand: a class of a notebook may have no module to import."""

    extractor_class: Any = None

    def load(self) -> type[Any]:
        """Return the extractor class."""
        return self.extractor_class  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, Any]:
        """Return the declaration as plain data, without the class."""
        data = FormatSpec.to_dict(self)
        del data["extractor_class"]  # JSON has no classes
        return data


def register(
    extractor: Any = None,
    *,
    name: str,
    title: str = "",
    extensions: tuple[str, ...] = (),
    evidence: Evidence | None = None,
    replace: bool = False,
    registry: Registry | None = None,
    **declaration: Any,
) -> Any:
    """Register an extractor class for this session: ``open`` then finds its format. Also a class decorator.

    Registering a class again, as running a cell of a notebook again does, replaces it.

    Parameters
    ----------
    extractor : type, optional
        A subclass of :class:`ImagingExtractor` or :class:`SegmentationExtractor`; left out when used as a decorator.
    name, title, extensions, evidence, **declaration
        Fields of :class:`FormatSpec`; the title is the name of the class by default.
    replace : bool
        Replace a format of this name that another class or a plugin provides.
    registry : Registry, optional
        The default one when left out.

    Returns
    -------
    type
        The class itself; as a decorator, a function that returns it.

    Raises
    ------
    DeclarationError
        The class is not an extractor, the name is taken, or a field is invalid.

    Examples
    --------
    >>> import roiextractors_core as roi
    >>> @roi.register(name="my-rig", extensions=(".rig",))
    ... class RigImagingExtractor(roi.ImagingExtractor): ...
    """

    def add(given: Any) -> Any:
        if not (isinstance(given, type) and issubclass(given, Extractor) and given.kind in KINDS):
            raise DeclarationError(
                f"register takes a subclass of ImagingExtractor or SegmentationExtractor, got {given!r:.80}"
            )
        spec = _SessionSpec(
            name=name,
            title=title or given.__name__,
            extractor=f"{given.__module__}:{given.__name__}",
            extensions=extensions,
            evidence=evidence,
            extractor_class=given,
            **{"kind": given.kind, **declaration},
        )
        target = registry or default_registry()
        before = target.get(name)
        # By name: a cell of a notebook that runs again makes a new class
        same_class = isinstance(before, _SessionSpec) and before.extractor == spec.extractor
        target.register(spec, replace=replace or same_class)
        return given

    return add if extractor is None else add(extractor)
