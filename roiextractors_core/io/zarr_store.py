"""A Zarr store that refuses chunks which would decode to far more than their pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from zarr.storage import LocalStore

from .zarr_chunks import MAX_OVERHEAD, claimed_bytes

__all__ = ["BoundedStore"]

_DESCRIPTIONS = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


class BoundedStore(LocalStore):
    """A local folder, read-only, for the arrays that are left to zarr: zarr itself decompresses to any size.

    Attributes
    ----------
    max_bytes : int
        Bytes that a chunk may have, or claim to decode to; 0 (no limit) until :meth:`bound_by` is called.
    """

    max_bytes: int = 0

    def __init__(self, root: Any, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)

    def bound_by(self, array: Any) -> None:
        """Set the limit by an array of numbers in this store; the shape does not limit the size of other types."""
        dtype = np.dtype(array.dtype)
        if dtype.kind in "biufc":
            stored = getattr(array, "shards", None) or array.chunks
            self.max_bytes = 2 * dtype.itemsize * math.prod(stored) + MAX_OVERHEAD

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return the bytes of a chunk or a description; None where the key does not exist.

        Raises
        ------
        ValueError
            The chunk is far larger than its pixels, or claims to decode to far more.
        """
        found = await super().get(key, prototype, byte_range)
        if found is None or not self.max_bytes or key.rpartition("/")[2] in _DESCRIPTIONS:
            return found
        claimed = max(len(found), claimed_bytes(found[:18].to_bytes(), len(found)))
        if claimed > self.max_bytes:
            raise ValueError(
                f"the chunk has, or claims to decode to, {claimed:,} bytes; at most {self.max_bytes:,} expected"
            )
        return found
