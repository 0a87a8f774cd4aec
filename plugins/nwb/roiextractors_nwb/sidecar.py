"""What ``roiextractors_core.convert`` stores in an NWB file of ROIs beside what NWB has fields for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from roiextractors_core.io import SIDECAR_KEY, Sidecar

from .tree import Tree

__all__ = ["IDS_COLUMN", "SCRATCH_NAME", "SegmentationSidecar"]

SCRATCH_NAME = "roiextractors"
IDS_COLUMN = "roi_name"
"""The column of ids that are not the whole numbers that NWB requires in ``id``; NeuroConv names it so too."""

_TABLE, _IDS, _NAMES, _FIRST = "plane_segmentation", "ids_columns", "names", "first_sample"
_HAS_MASKS = "has_masks"


@dataclass(frozen=True, slots=True)
class SegmentationSidecar:
    """The clock and metadata of a segmentation, and how its parts are named in the file.

    Attributes
    ----------
    sidecar : Sidecar
        Its shape is ``(samples, rows, columns[, planes])``.
    table : str
        The path of the table.
    ids_columns : tuple of str
        The paths of the tables whose ids are in :data:`IDS_COLUMN`.
    names : mapping of str to str
        The names of traces, images and properties by their paths in the file.
    first_sample : int
        The position of the first sample on the grid of the rate that begins at 0 s: a slice keeps its times to the last digit.
    """

    sidecar: Sidecar
    table: str
    ids_columns: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    first_sample: int = 0
    has_masks: bool = True

    def to_json(self) -> str:
        """Return it as JSON text."""
        own = {_TABLE: self.table, _IDS: list(self.ids_columns), _NAMES: dict(self.names), _FIRST: self.first_sample}
        masks = {} if self.has_masks else {_HAS_MASKS: False}
        return json.dumps({SIDECAR_KEY: {**self.sidecar.to_dict(), **own, **masks}})

    @classmethod
    def of_tree(cls, tree: Tree, table: str) -> SegmentationSidecar | None:
        """Return what a file has of one table; None if it was written by another program.

        Raises
        ------
        CorruptRecordingError
            It contradicts itself.
        """
        where = f"scratch/{SCRATCH_NAME}"
        text = tree.value(where)
        sidecar = Sidecar.from_json(text, where=f"{where} of {tree.name}") if isinstance(text, str) else None
        if sidecar is None:
            return None
        facts = json.loads(text)[SIDECAR_KEY]
        ids, names, first = facts.get(_IDS), facts.get(_NAMES), facts.get(_FIRST)
        if facts.get(_TABLE) != table:
            return None
        return cls(
            sidecar,
            table,
            tuple(map(str, ids)) if isinstance(ids, list) else (),
            {str(key): str(value) for key, value in names.items()} if isinstance(names, dict) else {},
            first if isinstance(first, int) and 0 <= first < 1 << 53 else 0,
            facts.get(_HAS_MASKS) is not False,
        )
