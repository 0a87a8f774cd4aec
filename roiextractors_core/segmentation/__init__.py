"""What a segmentation is: the base class, the view of a part, sparse masks, arrays in memory."""

from .extractor import Background, RoiProperty, SegmentationExtractor, SegmentationView
from .in_memory import NumpySegmentationExtractor
from .masks import RoiMasks

__all__ = [
    "Background",
    "NumpySegmentationExtractor",
    "RoiMasks",
    "RoiProperty",
    "SegmentationExtractor",
    "SegmentationView",
]
