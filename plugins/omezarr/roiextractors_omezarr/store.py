"""A folder of chunks of which none decodes to more than it may hold."""

from __future__ import annotations

from typing import Any

from zarr.storage import LocalStore

__all__ = ["BoundedStore"]

_ZSTD = b"\x28\xb5\x2f\xfd"
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

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return the bytes of a chunk or a description; None where there is none.

        Raises
        ------
        ValueError
            The chunk is, or would become, far larger than its pixels.
        """
        found = await super().get(key, prototype, byte_range)
        if found is None or not self.most or byte_range is not None or key.rpartition("/")[2] in _DESCRIPTIONS:
            return found
        claimed = max(len(found), _claimed(found[:18].to_bytes(), len(found)))
        if claimed > self.most:
            raise ValueError(f"it has, or claims, {claimed:,} bytes, and at most {self.most:,} are due")
        return found


def _claimed(head: bytes, length: int) -> int:
    """Return how many bytes a chunk says that it decodes to, by Zstandard's and Blosc's own heads; 0 where it says nothing.

    References
    ----------
    RFC 8878, section 3.1.1.1 (frame header); the Blosc chunk format, "Header".
    """
    if head[:4] == _ZSTD and len(head) >= 14:
        return _zstd_size(head)
    is_blosc = len(head) >= 16 and int.from_bytes(head[12:16], "little") == length
    return int.from_bytes(head[4:8], "little") if is_blosc else 0


def _zstd_size(head: bytes) -> int:
    descriptor = head[4]
    single, kind = descriptor >> 5 & 1, descriptor >> 6
    width = (1 if single else 0, 2, 4, 8)[kind]
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(head[at : at + width], "little")
    return size + 256 if width == 2 else size
