"""Opens any optical-physiology recording with one call.

    import roiextractors_core as roi

    recording = roi.open("recording.tif")

What this module offers is imported when it is first used, so that importing it costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import ConvertedArray, for_caiman, for_suite2p, write_caiman_mmap, write_suite2p_binary
    from .arrays import NpyImagingExtractor, NumpyImagingExtractor
    from .clock import Clock
    from .composition import concatenate, stack_planes
    from .conversion import convert
    from .detection import Explanation, explain
    from .errors import (
        AmbiguousFormatError,
        ChoiceError,
        ClosedRecordingError,
        CorruptRecordingError,
        DeclarationError,
        EmptySourceError,
        FormatNotInstalledError,
        IncompleteRecordingWarning,
        MissingDependencyError,
        PluginError,
        RangeError,
        RangeTypeError,
        RecordingError,
        RoiExtractorsError,
        RoiExtractorsWarning,
        SourceError,
        SourceKindError,
        SourceNotFoundError,
        SourcePermissionError,
        SourceReadError,
        StreamChoiceError,
        TimesError,
        TruncatedRecordingError,
        UnknownFormatError,
        UnknownOptionError,
        UnsupportedRecordingError,
    )
    from .factory import open, streams
    from .files import PositionedFile, StoredFrames
    from .formats import FormatSpec, Hdf5Path, JsonKey, Magic, Match, Member, Name, Probe, Sibling, TiffTag, XmlRoot
    from .hookspecs import hookimpl
    from .imaging import ImagingExtractor, ImagingView
    from .metadata import ChannelMetadata, Provenance, RecordingMetadata
    from .pictures import Preview
    from .registry import PluginRecord, Registry, default_registry
    from .source import Source
    from .summary import Projections, projections

    def formats() -> tuple[FormatSpec, ...]:
        """Return all formats that can be opened, sorted by name."""


__version__ = "0.1.0"

_ERRORS = (
    "AmbiguousFormatError",
    "ChoiceError",
    "ClosedRecordingError",
    "CorruptRecordingError",
    "DeclarationError",
    "EmptySourceError",
    "FormatNotInstalledError",
    "IncompleteRecordingWarning",
    "MissingDependencyError",
    "PluginError",
    "RangeError",
    "RangeTypeError",
    "RecordingError",
    "RoiExtractorsError",
    "RoiExtractorsWarning",
    "SourceError",
    "SourceKindError",
    "SourceNotFoundError",
    "SourcePermissionError",
    "SourceReadError",
    "StreamChoiceError",
    "TimesError",
    "TruncatedRecordingError",
    "UnknownFormatError",
    "UnknownOptionError",
    "UnsupportedRecordingError",
)
_HOME = {
    **dict.fromkeys(
        ("ConvertedArray", "for_caiman", "for_suite2p", "write_caiman_mmap", "write_suite2p_binary"), "adapters"
    ),
    **dict.fromkeys(_ERRORS, "errors"),
    **dict.fromkeys(("open", "streams"), "factory"),
    **dict.fromkeys(("Explanation", "explain"), "detection"),
    **dict.fromkeys(("PluginRecord", "Registry", "default_registry"), "registry"),
    **dict.fromkeys(("NpyImagingExtractor", "NumpyImagingExtractor"), "arrays"),
    **dict.fromkeys(("concatenate", "stack_planes"), "composition"),
    **dict.fromkeys(("ImagingExtractor", "ImagingView"), "imaging"),
    **dict.fromkeys(("ChannelMetadata", "Provenance", "RecordingMetadata"), "metadata"),
    **dict.fromkeys(
        (
            "FormatSpec",
            "Hdf5Path",
            "JsonKey",
            "Magic",
            "Match",
            "Member",
            "Name",
            "Probe",
            "Sibling",
            "TiffTag",
            "XmlRoot",
        ),
        "formats",
    ),
    "convert": "conversion",
    **dict.fromkeys(("Projections", "projections"), "summary"),
    "Clock": "clock",
    **dict.fromkeys(("PositionedFile", "StoredFrames"), "files"),
    "Preview": "pictures",
    "Source": "source",
    "hookimpl": "hookspecs",
}

__all__ = [
    "AmbiguousFormatError",
    "ChannelMetadata",
    "ChoiceError",
    "Clock",
    "ClosedRecordingError",
    "ConvertedArray",
    "CorruptRecordingError",
    "DeclarationError",
    "EmptySourceError",
    "Explanation",
    "FormatNotInstalledError",
    "FormatSpec",
    "Hdf5Path",
    "ImagingExtractor",
    "ImagingView",
    "IncompleteRecordingWarning",
    "JsonKey",
    "Magic",
    "Match",
    "Member",
    "MissingDependencyError",
    "Name",
    "NpyImagingExtractor",
    "NumpyImagingExtractor",
    "PluginError",
    "PluginRecord",
    "PositionedFile",
    "Preview",
    "Probe",
    "Projections",
    "Provenance",
    "RangeError",
    "RangeTypeError",
    "RecordingError",
    "RecordingMetadata",
    "Registry",
    "RoiExtractorsError",
    "RoiExtractorsWarning",
    "Sibling",
    "Source",
    "SourceError",
    "SourceKindError",
    "SourceNotFoundError",
    "SourcePermissionError",
    "SourceReadError",
    "StoredFrames",
    "StreamChoiceError",
    "TiffTag",
    "TimesError",
    "TruncatedRecordingError",
    "UnknownFormatError",
    "UnknownOptionError",
    "UnsupportedRecordingError",
    "XmlRoot",
    "__version__",
    "concatenate",
    "convert",
    "default_registry",
    "explain",
    "for_caiman",
    "for_suite2p",
    "formats",
    "hookimpl",
    "open",
    "plugins",
    "projections",
    "refresh",
    "stack_planes",
    "streams",
    "write_caiman_mmap",
    "write_suite2p_binary",
]


class _Formats(ModuleType):
    """The module ``formats``, which is also the call ``roi.formats()``: importing it must not hide the call."""

    def __call__(self) -> tuple[FormatSpec, ...]:
        """Return all formats that can be opened, sorted by name."""
        from .registry import default_registry

        return default_registry().formats()


class _Package(ModuleType):
    """This package: the import system sets the module ``formats`` on it, and finds it made callable."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "formats" and isinstance(value, ModuleType):
            value.__class__ = _Formats
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def plugins() -> tuple[PluginRecord, ...]:
    """Return all plugins that were found, with the reasons of those that were set aside."""
    from .registry import default_registry

    return default_registry().plugins()


def refresh() -> None:
    """Look for plugins again: sees what was installed since, without a restart."""
    from .registry import default_registry

    default_registry().refresh()


def __getattr__(name: str) -> Any:
    if name == "formats":
        return import_module(".formats", __name__)
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
