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

_TABLE, _IDS, _NAMES = "plane_segmentation", "ids_columns", "names"


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
    """

    sidecar: Sidecar
    table: str
    ids_columns: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as JSON text."""
        own = {_TABLE: self.table, _IDS: list(self.ids_columns), _NAMES: dict(self.names)}
        return json.dumps({SIDECAR_KEY: {**self.sidecar.to_dict(), **own}})

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
        ids, names = facts.get(_IDS), facts.get(_NAMES)
        if facts.get(_TABLE) != table:
            return None
        return cls(
            sidecar,
            table,
            tuple(map(str, ids)) if isinstance(ids, list) else (),
            {str(key): str(value) for key, value in names.items()} if isinstance(names, dict) else {},
        )
