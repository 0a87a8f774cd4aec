"""A folder of chunks of which none decodes to more than it may hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from zarr.storage import LocalStore

from .zarr_chunks import MOST_OVERHEAD, claimed_bytes

__all__ = ["BoundedStore"]

_DESCRIPTIONS = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


class BoundedStore(LocalStore):
    """A local folder, read-only; a chunk that is larger than its pixels, or says that it decodes to more, is refused.

    Attributes
    ----------
    most : int
        Bytes that a chunk may have, and may say that it decodes to; 0 until it is known.
    """

    most: int = 0

    def __init__(self, root: Any, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)

    def bound_by(self, array: Any) -> None:
        """Take the most from an array of numbers in this store; of others the shape says nothing."""
        dtype = np.dtype(array.dtype)
        if dtype.kind in "biufc":
            stored = getattr(array, "shards", None) or array.chunks
            self.most = 2 * dtype.itemsize * math.prod(stored) + MOST_OVERHEAD

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return the bytes of a chunk or a description; None where there is none.

        Raises
        ------
        ValueError
            The chunk is, or would become, far larger than its pixels.
        """
        found = await super().get(key, prototype, byte_range)
        if found is None or not self.most or key.rpartition("/")[2] in _DESCRIPTIONS:
            return found
        claimed = max(len(found), claimed_bytes(found[:18].to_bytes(), len(found)))
        if claimed > self.most:
            raise ValueError(f"it has, or claims, {claimed:,} bytes, and at most {self.most:,} are due")
        return found
