"""What ``roiextractors_core.convert`` stores in an NWB file of ROIs beside what NWB has fields for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from roiextractors_core.io import SIDECAR_KEY, Sidecar

from .tree import Tree

__all__ = ["FIRST_SAMPLE", "IDS_COLUMN", "SCRATCH_NAME", "SegmentationSidecar", "first_sample"]

SCRATCH_NAME = "roiextractors"
IDS_COLUMN = "roi_name"
"""The column of ids that are not the whole numbers that NWB requires in ``id``; NeuroConv names it so too."""

FIRST_SAMPLE = "first_sample"
"""The position of the first sample on the grid of the rate, by which times come back to the last digit."""

_TABLE, _IDS, _NAMES = "plane_segmentation", "ids_columns", "names"
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
        own = {
            _TABLE: self.table,
            _IDS: list(self.ids_columns),
            _NAMES: dict(self.names),
            FIRST_SAMPLE: self.first_sample,
        }
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
        for name in tree.members("scratch"):
            where = f"scratch/{name}"
            text = tree.value(where) if name.startswith(SCRATCH_NAME) else None
            if not isinstance(text, str):
                continue
            sidecar = Sidecar.from_json(text, where=f"{where} of {tree.name}")
            facts = {} if sidecar is None else json.loads(text)[SIDECAR_KEY]
            if sidecar is not None and facts.get(_TABLE) == table:
                return cls._of_facts(sidecar, facts)
        return None

    @classmethod
    def _of_facts(cls, sidecar: Sidecar, facts: Mapping[str, Any]) -> SegmentationSidecar:
        ids, names = facts.get(_IDS), facts.get(_NAMES)
        return cls(
            sidecar,
            facts[_TABLE],
            tuple(map(str, ids)) if isinstance(ids, list) else (),
            {str(key): str(value) for key, value in names.items()} if isinstance(names, dict) else {},
            first_sample(facts),
            facts.get(_HAS_MASKS) is not False,
        )


def first_sample(facts: Mapping[str, Any]) -> int:
    """Return the position of the first sample from the data of a sidecar; 0 if it is not stated or cannot be."""
    first = facts.get(FIRST_SAMPLE)
    return first if isinstance(first, int) and 0 <= first < 1 << 53 else 0
