"""The pages of TIFF files: where each one is, found without walking the file where possible, and how it is read.

The names in ``__all__`` are public for other plugins; the modules of this folder are not.
"""

from .directory import UIC2, Directory
from .index import PageIndex
from .page import Page
from .series import Series, described_axes, described_shape, series_of

__all__ = ["UIC2", "Directory", "Page", "PageIndex", "Series", "described_axes", "described_shape", "series_of"]
