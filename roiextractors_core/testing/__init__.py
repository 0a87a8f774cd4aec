"""For authors of plugins: the tests to inherit, made-up recordings, and files written from them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conformance import ImagingExtractorTests
    from .generators import CalciumImagingExtractor, NoiseImagingExtractor, write_npy, write_scanimage, write_tiff

__all__ = [
    "CalciumImagingExtractor",
    "ImagingExtractorTests",
    "NoiseImagingExtractor",
    "write_npy",
    "write_scanimage",
    "write_tiff",
]

_HOME = dict.fromkeys(__all__, "generators") | {"ImagingExtractorTests": "conformance"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
