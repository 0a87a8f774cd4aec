"""Which rectangles of which planes make up an image: a whole page, a region of interest, or all regions at their places."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from roiextractors_core.errors import ChoiceError, StreamChoiceError, UnsupportedRecordingError
from roiextractors_core.io import choose_stream

from .header import Header
from .regions import PAGE, STITCHED, Field, Mosaic, Piece

__all__ = ["View"]


@dataclass(frozen=True)
class View:
    """The images of a recording in terms of its pages.

    Attributes
    ----------
    shape : tuple of int
        ``(rows, columns)``.
    planes : tuple of int
        In the order of the volume, counted as recorded.
    pieces : tuple of tuple of Piece
        For each of these planes.
    region : str
        The name of the region of interest; empty for whole pages.
    fields : tuple of Field
        For each plane, if it is one region.
    """

    shape: tuple[int, int]
    planes: tuple[int, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    region: str = ""
    fields: tuple[Field, ...] = field(default=())

    @cached_property
    def is_alike(self) -> bool:
        """Whether every image is the same rectangle of its page."""
        first = self.pieces[0]
        alone = len(first) == 1 and first[0] == Piece(first[0].page_row, *self.shape)
        return alone and all(pieces == first for pieces in self.pieces)

    @classmethod
    def of(
        cls,
        mosaic: Mosaic | None,
        wanted: Any,
        page_shape: tuple[int, int],
        planes: int,
        plane: int | None,
        are_channels: bool,
        name: str,
    ) -> View:
        """Make the view that the options ask for.

        Parameters
        ----------
        mosaic : Mosaic or None
            Of a recording of several regions.
        wanted : str or int or None
            The region.
        page_shape : tuple of int
        planes : int
            Of the recording.
        plane : int or None
            The only one to read.
        are_channels : bool
            Whether the planes are channels, which all have the regions of one plane.
        name : str
            For messages.

        Raises
        ------
        StreamChoiceError
            Several regions and none was chosen, or one that does not exist, or not in this plane.
        UnsupportedRecordingError
            The region has another size in each plane.
        """
        chosen = tuple(range(planes)) if plane is None else (plane,)
        # roi=0 and roi="page" name the only image of a recording without regions
        if mosaic is None and wanted not in (None, PAGE, 0, "0"):
            raise StreamChoiceError.for_option(name, "roi", (PAGE,), seen=wanted)
        if mosaic is None or wanted == PAGE:
            return cls(page_shape, chosen, ((Piece(0, *page_shape),),) * len(chosen))
        if mosaic.problem:
            raise UnsupportedRecordingError(mosaic.problem)
        if wanted == STITCHED:
            return _stitched(mosaic, chosen, are_channels, name)
        names = mosaic.choices if wanted is None else mosaic.names
        try:
            region = choose_stream(name, "roi", names, wanted, first=0)
        except StreamChoiceError as error:
            if wanted is None:
                raise
            raise StreamChoiceError.for_option(name, "roi", mosaic.choices, seen=wanted) from error
        there = mosaic.fields(region)
        if are_channels:
            # All channels see one scan, so the regions of plane 0 are those of every channel
            there = dict.fromkeys(range(planes), there[0]) if there else {}
        if plane is not None and plane not in there:
            known = tuple(str(k) for k in there)
            raise StreamChoiceError.for_option(f"{name}, region {mosaic.names[region]!r}", "plane", known, seen=plane)
        chosen = tuple(there) if plane is None else (plane,)
        fields = tuple(there[k][1] for k in chosen)
        shapes = {(one.rows, one.columns) for one in fields}
        # An array has one shape; cropping or padding the planes would change the data
        if len(shapes) > 1:
            raise UnsupportedRecordingError(
                f"{name}: the region {mosaic.names[region]!r} has another size in each plane; open(..., plane={chosen[0]}) to "
                f"plane={chosen[-1]} read one of them"
            )
        pieces = tuple((Piece(there[k][0], there[k][1].rows, there[k][1].columns),) for k in chosen)
        return cls(shapes.pop(), chosen, pieces, mosaic.names[region], fields)

    def pixel_size(self, header: Header) -> tuple[float, float] | None:
        """Return the distance of pixels ``(row, column)`` in micrometres by the size of the regions, or None."""
        scale = header.rate("SI.objectiveResolution")
        if not self.fields or scale is None:
            return None
        sizes = {one.pixel for one in self.fields}
        row, column = sizes.pop()
        return None if sizes else (row * scale, column * scale)

    def description(self, header: Header) -> dict[str, Any]:
        """Return where the region is in the sample, for ``metadata.vendor``; empty for whole pages."""
        if not self.region:
            return {}
        scale = header.rate("SI.objectiveResolution")
        planes = [
            {
                "plane": plane,
                "first_row_in_page": pieces[0].page_row,
                "center_xy_degrees": list(one.center),
                "size_xy_degrees": list(one.size),
                "rotation_degrees": one.rotation,
                **({} if scale is None else {"center_xy_um": [scale * x for x in one.center]}),
                **({} if scale is None else {"size_xy_um": [scale * x for x in one.size]}),
            }
            for plane, pieces, one in zip(self.planes, self.pieces, self.fields, strict=False)
        ]
        return {"roi": {"name": self.region, "planes": planes}}


def _stitched(mosaic: Mosaic, chosen: tuple[int, ...], are_channels: bool, name: str) -> View:
    canvas = mosaic.stitched()
    if canvas is None:
        raise ChoiceError(
            f"{name}: roi='{STITCHED}' needs regions of one resolution without rotation; choose one of the regions "
            f"{', '.join(map(repr, mosaic.names[:8]))}"
        )
    shape, pieces = canvas
    used = tuple(pieces[0 if are_channels else k] for k in chosen)
    first = next(iter(mosaic.planes[0].values()))[1]
    return View(shape, chosen, used, STITCHED, (first,) * len(chosen))
