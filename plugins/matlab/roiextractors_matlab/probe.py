"""Finds out which segmentation a MATLAB 5 to 7 file contains, by the names of its variables and fields."""

from __future__ import annotations

from collections.abc import Sequence

from roiextractors_core.errors import RoiExtractorsError
from roiextractors_core.io import Source

from .layouts import CIATAH_LAYOUTS, CNMFE_LAYOUTS, EXTRACT_LAYOUTS, Layout, variables_of
from .mat5 import Mat5File

__all__ = ["is_ciatah", "is_cnmfe", "is_extract"]


def is_extract(source: Source) -> bool | None:
    """Return whether the file contains an output of EXTRACT."""
    return _contains(source, EXTRACT_LAYOUTS)


def is_cnmfe(source: Source) -> bool | None:
    """Return whether the file contains results of CNMF-E; those that CIAtah saved are its own."""
    return _contains(source, CNMFE_LAYOUTS[:1])


def is_ciatah(source: Source) -> bool | None:
    """Return whether the file contains an analysis of CIAtah; those of EXTRACT are EXTRACT's."""
    return _contains(source, CIATAH_LAYOUTS[1:])


def _contains(source: Source, layouts: Sequence[Layout]) -> bool | None:
    try:
        view = Mat5File(source.path, variables_of(layouts), heads_only=True)
        return any(layout.find(view) is not None for layout in layouts)
    except (RoiExtractorsError, OSError):
        return None
