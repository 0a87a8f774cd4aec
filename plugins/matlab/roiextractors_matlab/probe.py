"""Finds out which segmentation a MATLAB 5 to 7 file contains, by the names of its variables and fields."""

from __future__ import annotations

from collections.abc import Sequence

from roiextractors_core.errors import RoiExtractorsError
from roiextractors_core.io import Source

from .layouts import CIATAH_LAYOUTS, CNMFE_LAYOUTS, EXTRACT_LAYOUTS, Layout, find_variables
from .values import open_heads

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
        with open_heads(source.path) as view:
            return bool(find_variables(view, layouts))
    except (RoiExtractorsError, OSError):
        return None
