"""A Zarr store that refuses descriptions without an end, and chunks which would decode to far more than their pixels."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from ..errors import CorruptRecordingError, SourceNotFoundError, SourceReadError, printable
from .json_text import MAX_JSON_BYTES, require_bounded_json
from .positioned import read_bounded
from .zarr_chunks import MAX_OVERHEAD, claimed_bytes, require_whole_blosc

__all__ = ["BoundedStore"]

_DESCRIPTIONS = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")
_MAX_UNDECLARED = 256 << 20


class BoundedStore(LocalStore):
    """A local folder, read-only, for the arrays that are left to zarr: zarr itself reads and decompresses to any size.

    Only regular files are opened, so that a pipe or a device in place of a chunk or a description is refused without waiting.

    Attributes
    ----------
    max_bytes : int
        Bytes that a chunk may have, or claim to decode to; 256 MiB until :meth:`bound_by` is called.
    """

    max_bytes: int = _MAX_UNDECLARED
    _is_blosc: bool = False

    def __init__(self, root: Any, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)

    def bound_by(self, array: Any) -> None:
        """Set the limit by an array of numbers in this store; the shape does not limit the size of other types."""
        description = array.metadata.to_dict()
        outermost: Any = description.get("compressor") or (description.get("codecs") or ({},))[-1] or {}
        # zarr 3.0 leaves the codec itself in the description of an array of version 2
        if hasattr(outermost, "get_config"):
            outermost = outermost.get_config()
        name = outermost.get("id", outermost.get("name")) if isinstance(outermost, Mapping) else None
        self._is_blosc = str(name).removeprefix("numcodecs.") == "blosc"
        dtype = np.dtype(array.dtype)
        if dtype.kind in "biufc":
            stored = getattr(array, "shards", None) or array.chunks
            self.max_bytes = 2 * dtype.itemsize * math.prod(stored) + MAX_OVERHEAD

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return the bytes of a chunk or a description; None where the key does not exist.

        Raises
        ------
        CorruptRecordingError
            A description is too large, or a chunk is far larger than its pixels, or claims to decode to far more.
        SourcePermissionError, SourceReadError
            It cannot be read, or is not a regular file.
        """
        return await asyncio.to_thread(self.get_sync, key, prototype=prototype, byte_range=byte_range)

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return the bytes of a chunk or a description, as :meth:`get`."""
        is_description = key.rpartition("/")[2] in _DESCRIPTIONS
        limit = MAX_JSON_BYTES if is_description else self.max_bytes
        place = os.path.join(self.root, key)
        try:
            content = read_bounded(place, limit, **_range(byte_range))
        except SourceNotFoundError:
            return None
        except SourceReadError:
            if os.path.isdir(place):  # the key of a group, which zarr also asks for
                return None
            raise
        if is_description:
            require_bounded_json(content, key)
            _require_chunk_shapes(content, key)
        else:
            if self._is_blosc and byte_range is None:
                try:
                    require_whole_blosc(content[:16], len(content))
                except ValueError as error:
                    raise CorruptRecordingError(f"the chunk {key} is truncated: {error}") from None
            claimed = claimed_bytes(content[:18], len(content))
            if claimed > self.max_bytes:
                raise CorruptRecordingError(
                    f"the chunk {key} claims to decode to {claimed:,} bytes; at most {self.max_bytes:,} expected"
                )
        return (prototype or default_buffer_prototype()).buffer.from_bytes(content)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> list[Any]:
        """Return ranges of chunks, each as :meth:`get`."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]


def _require_chunk_shapes(content: bytes, key: str) -> None:
    """Refuse an impossible chunk shape: newer versions of zarr only warn about it, and use another one.

    Raises
    ------
    CorruptRecordingError
    """
    try:
        described = json.loads(content)
    except ValueError:  # zarr raises its own error
        return
    for array in _arrays_of(described, key):
        grid = array.get("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": array.get("chunks")}})
        if (
            not isinstance(grid, dict)
            or grid.get("name") != "regular"
            or not isinstance(grid.get("configuration"), dict)
        ):
            continue  # another kind of grid, which zarr knows or refuses
        shape = grid["configuration"].get("chunk_shape")
        if not isinstance(shape, list) or not all(type(length) is int and length > 0 for length in shape):
            raise CorruptRecordingError(f"{key} describes chunks of the impossible shape {printable(shape)[:80]}")


def _arrays_of(described: Any, key: str) -> Iterator[dict[str, Any]]:
    """Yield the descriptions of arrays in a file, which describes one node or all of a group."""
    if not isinstance(described, dict):
        return
    consolidated = described.get("consolidated_metadata")
    members = (consolidated if isinstance(consolidated, dict) else described).get("metadata")
    for name, document in ((key, described), *(members.items() if isinstance(members, dict) else ())):
        if isinstance(document, dict) and (name.endswith(".zarray") or document.get("node_type") == "array"):
            yield document


def _range(byte_range: Any) -> dict[str, int]:
    if isinstance(byte_range, RangeByteRequest):
        return {"offset": byte_range.start, "count": byte_range.end - byte_range.start}
    if isinstance(byte_range, OffsetByteRequest):
        return {"offset": byte_range.offset}
    if isinstance(byte_range, SuffixByteRequest):
        return {"offset": -byte_range.suffix}
    return {}
