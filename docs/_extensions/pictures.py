"""Draws the pictures on the pages with the library itself when the pages are built."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from roiextractors_scanimage.testing import write_scanimage
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import roiextractors_core as roi
from roiextractors_core.cli.demo import FRAME, RATE, TIFF
from roiextractors_core.testing import CalciumImagingExtractor, CalciumSegmentationExtractor

__all__ = ["DRAWN", "setup"]


def two_photon(folder: Path) -> Path:
    """Draw the first channel of the recording that ``roiextractors demo --samples 150`` simulates."""
    channel = CalciumImagingExtractor((150, *FRAME), "int16", 1, sampling_frequency=RATE, photons=12.0)
    write_scanimage([channel], folder / TIFF)
    with roi.open(folder / TIFF) as recording:
        recording.preview(folder / "two_photon.png")
    return folder / "two_photon.png"


def cells(folder: Path) -> Path:
    """Draw the ROIs of the page about the first recording."""
    movie = CalciumImagingExtractor((300, 96, 128), seed=1, sampling_frequency=30.0, num_cells=12)
    CalciumSegmentationExtractor(movie).preview(folder / "cells.png")
    return folder / "cells.png"


DRAWN: dict[str, Callable[[Path], Path]] = {"two_photon": two_photon, "cells": cells}


class Picture(SphinxDirective):
    """``{picture} two_photon`` inserts a picture; ``:alt:`` describes it."""

    required_arguments = 1
    option_spec = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in DRAWN:
            raise self.error(f"unknown picture {name!r}; the pictures are {', '.join(DRAWN)}")
        up = "../" * self.env.docname.count("/")
        image = f'<img class="drawn" src="{up}_static/{name}.png" alt="{self.options["alt"]}" />'
        return [nodes.raw("", image, format="html")]


def draw(app: Sphinx, error: Exception | None) -> None:
    """Draw the pictures that do not exist yet, next to the other static files."""
    if error is not None or app.builder.format != "html":
        return
    for name, function in DRAWN.items():
        target = Path(app.outdir) / "_static" / f"{name}.png"
        if not target.exists():
            with tempfile.TemporaryDirectory() as folder:
                target.write_bytes(function(Path(folder)).read_bytes())


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive and the step."""
    app.add_directive("picture", Picture)
    app.connect("build-finished", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
