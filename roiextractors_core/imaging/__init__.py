"""What a movie is: the base classes, the view of a part, several as one, arrays in memory."""

from .composition import ConcatenatedImagingExtractor, PlaneStackImagingExtractor, concatenate, stack_planes
from .extractor import BlockImagingExtractor, ImagingExtractor, ImagingView, Samples
from .in_memory import NumpyImagingExtractor

__all__ = [
    "BlockImagingExtractor",
    "ConcatenatedImagingExtractor",
    "ImagingExtractor",
    "ImagingView",
    "NumpyImagingExtractor",
    "PlaneStackImagingExtractor",
    "Samples",
    "concatenate",
    "stack_planes",
]
