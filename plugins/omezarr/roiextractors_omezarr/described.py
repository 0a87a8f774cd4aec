"""What the OME-XML that bioformats2raw writes beside its images says about one of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from roiextractors_core import RecordingMetadata
from roiextractors_core.errors import RoiExtractorsError, printable
from roiextractors_core.io import PositionedFile
from roiextractors_core.io.ome_xml import OmeDocument, OmeImage, parse_ome_xml

from .containers import ome_description

__all__ = ["Described", "described_in"]

_MAX_XML = 64 << 20  # read when the image is opened, at about 50 MB a second
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Described:
    """One image of an OME-XML, or nothing.

    Attributes
    ----------
    path : str
        The file; empty without one.
    document : OmeDocument or None
    image : OmeImage or None
    doubts : tuple of str
        Why it is not used.
    """

    path: str = ""
    document: OmeDocument | None = None
    image: OmeImage | None = None
    doubts: tuple[str, ...] = ()

    @property
    def rate(self) -> float | None:
        return None if self.image is None else self.image.rate

    def metadata(self, channel: int, max_bits: int) -> RecordingMetadata:
        """Return what is stated about a channel."""
        if self.document is None or self.image is None:
            return RecordingMetadata()
        return self.document.metadata_of(self.image, channel, max_bits=max_bits)

    def times(self, channel: int, plane: int | None) -> np.ndarray | None:
        """Return the seconds of each sample; None unless all are stated and increase."""
        if self.image is None:
            return None
        found = self.image.delta_times(channel, self.image.size("T"), plane=plane)
        is_clock = len(found) > 1 and np.isfinite(found).all() and (np.diff(found) > 0).all()
        return found if is_clock else None


def described_in(folder: str, series: str | None, sizes: Mapping[str, int]) -> Described:
    """Return the description of an image.

    Parameters
    ----------
    folder : str
        That was opened.
    series : str or None
        The path of the image in it; None if the folder is an image itself.
    sizes : mapping
        Lengths of the image's axes, which the description must state too.
    """
    place = ome_description(folder, series)
    if place is None:
        return Described()
    path, number = place
    name = "OME/METADATA.ome.xml"
    try:
        with contextlib.closing(PositionedFile(path)) as file:
            if file.size > _MAX_XML:
                return Described(
                    doubts=(f"{name} is not used: it has {file.size:,} bytes, and the limit is {_MAX_XML:,}",)
                )
            document = parse_ome_xml(lambda: _pieces(file), name)
    except RoiExtractorsError as error:
        return Described(doubts=(f"{name} is not used: {printable(error)[:300]}",))
    if number >= len(document.images):
        return Described(
            doubts=(f"{name} describes {len(document.images):,} images, not image {number}, and is not used",)
        )
    image = document.images[number]
    wrong = [axis for axis, length in sizes.items() if image.size(axis.upper()) != length]
    if wrong:
        axis = wrong[0].upper()
        words = f"{name} states Size{axis}={image.size(axis):,}, but the array has {sizes[wrong[0]]:,}; it is not used"
        return Described(doubts=(words,))
    return Described(os.path.abspath(path), document, image)


def _pieces(file: PositionedFile) -> Iterator[bytes]:
    for at in range(0, file.size, _CHUNK):
        yield file.read(at, _CHUNK)
