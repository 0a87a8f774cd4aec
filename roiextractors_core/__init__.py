"""Opens any optical-physiology recording with one call.

    import roiextractors_core as roi

    recording = roi.open("recording.tif")

Names are imported when they are first used, so that importing this package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import *  # noqa: F403 - every error is public, and the module imports nothing else
from .errors import __all__ as _ERRORS
from .lazy import import_on_use

if TYPE_CHECKING:
    from .clock import Clock as Clock
    from .extractor import Extractor as Extractor
    from .factory import open as open
    from .factory import open_all as open_all
    from .factory import streams as streams
    from .imaging import BlockImagingExtractor as BlockImagingExtractor
    from .imaging import ImagingExtractor as ImagingExtractor
    from .imaging import ImagingView as ImagingView
    from .imaging import NumpyImagingExtractor as NumpyImagingExtractor
    from .imaging import concatenate as concatenate
    from .imaging import stack_planes as stack_planes
    from .interop.convert import convert as convert
    from .interop.preview import Preview as Preview
    from .interop.projections import Projections as Projections
    from .interop.projections import projections as projections
    from .interop.scan import scan as scan
    from .interop.traces import traces as traces
    from .io.source import Source as Source
    from .metadata import ChannelMetadata as ChannelMetadata
    from .metadata import ObjectiveMetadata as ObjectiveMetadata
    from .metadata import Provenance as Provenance
    from .metadata import RecordingMetadata as RecordingMetadata
    from .npy import NpyImagingExtractor as NpyImagingExtractor
    from .registry.detection import Explanation as Explanation
    from .registry.detection import explain as explain
    from .registry.evidence import Hdf5Path as Hdf5Path
    from .registry.evidence import JsonKey as JsonKey
    from .registry.evidence import Magic as Magic
    from .registry.evidence import Member as Member
    from .registry.evidence import Name as Name
    from .registry.evidence import Probe as Probe
    from .registry.evidence import Sibling as Sibling
    from .registry.evidence import Text as Text
    from .registry.evidence import TiffTag as TiffTag
    from .registry.evidence import XmlRoot as XmlRoot
    from .registry.hook import hookimpl as hookimpl
    from .registry.registry import PluginRecord as PluginRecord
    from .registry.registry import Registry as Registry
    from .registry.registry import default_registry as default_registry
    from .registry.registry import formats as formats
    from .registry.registry import plugins as plugins
    from .registry.registry import refresh as refresh
    from .registry.session import register as register
    from .registry.spec import FormatSpec as FormatSpec
    from .registry.spec import Match as Match
    from .segmentation import Background as Background
    from .segmentation import NumpySegmentationExtractor as NumpySegmentationExtractor
    from .segmentation import RoiMasks as RoiMasks
    from .segmentation import RoiProperty as RoiProperty
    from .segmentation import SegmentationExtractor as SegmentationExtractor
    from .segmentation import SegmentationView as SegmentationView

__version__ = "0.1.0"

__getattr__, _LAZY = import_on_use(
    __name__,
    {
        "clock": ("Clock",),
        "extractor": ("Extractor",),
        "factory": ("open", "open_all", "streams"),
        "imaging": (
            "BlockImagingExtractor",
            "ImagingExtractor",
            "ImagingView",
            "NumpyImagingExtractor",
            "concatenate",
            "stack_planes",
        ),
        "interop.convert": ("convert",),
        "interop.preview": ("Preview",),
        "interop.projections": ("Projections", "projections"),
        "interop.scan": ("scan",),
        "interop.traces": ("traces",),
        "metadata": ("ChannelMetadata", "ObjectiveMetadata", "Provenance", "RecordingMetadata"),
        "registry.detection": ("Explanation", "explain"),
        "registry.evidence": (
            *("Hdf5Path", "JsonKey", "Magic", "Member", "Name", "Probe", "Sibling", "Text", "TiffTag", "XmlRoot"),
        ),
        "registry.hook": ("hookimpl",),
        "npy": ("NpyImagingExtractor",),
        "registry.registry": ("PluginRecord", "Registry", "default_registry", "formats", "plugins", "refresh"),
        "registry.session": ("register",),
        "io.source": ("Source",),
        "registry.spec": ("FormatSpec", "Match"),
        "segmentation": (
            "Background",
            "NumpySegmentationExtractor",
            "RoiMasks",
            "RoiProperty",
            "SegmentationExtractor",
            "SegmentationView",
        ),
    },
)
__all__ = sorted((*_ERRORS, *_LAZY, "__version__"))


def __dir__() -> list[str]:
    return __all__
