"""For authors of plugins: the tests to inherit, made-up recordings, and files written from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import import_on_use

if TYPE_CHECKING:
    from .conformance import ImagingExtractorTests as ImagingExtractorTests
    from .conformance.segmentation import SegmentationExtractorTests as SegmentationExtractorTests
    from .fuzzing.tests import FuzzTests as FuzzTests
    from .generators import CalciumImagingExtractor as CalciumImagingExtractor
    from .generators import CalciumSegmentationExtractor as CalciumSegmentationExtractor
    from .generators import NoiseImagingExtractor as NoiseImagingExtractor
    from .layouts import repeated_tests as repeated_tests
    from .writers import WriterTests as WriterTests
    from .writing import write_npy as write_npy
    from .writing import write_tiff as write_tiff

__getattr__, __all__ = import_on_use(
    __name__,
    {
        "conformance": ["ImagingExtractorTests"],
        "conformance.segmentation": ["SegmentationExtractorTests"],
        "fuzzing.tests": ["FuzzTests"],
        "generators": ["CalciumImagingExtractor", "CalciumSegmentationExtractor", "NoiseImagingExtractor"],
        "layouts": ["repeated_tests"],
        "writing": ["write_npy", "write_tiff"],
        "writers": ["WriterTests"],
    },
)
