"""Bytes and arrays out of files, safely and fast; public, for authors of formats."""

from ..errors import listed, printable
from .chunk_grid import RECENT_CHUNKS, Box, Cell, ChunkGrid, Part, Piece, RecentChunks, sample_pieces, shared_out
from .hdf5 import open_hdf5_file
from .locks import ProcessLock
from .positioned import PositionedFile, read_once
from .sidecar import SIDECAR_KEY, Sidecar
from .stored import StoredArray, StoredFrames
from .streams import choose_stream
from .threads import num_cores, run_on_cores
from .zarr_chunks import UndecodedChunkError, ZarrChunks, codec_names

__all__ = [
    "RECENT_CHUNKS",
    "SIDECAR_KEY",
    "Box",
    "Cell",
    "ChunkGrid",
    "Part",
    "Piece",
    "PositionedFile",
    "ProcessLock",
    "RecentChunks",
    "Sidecar",
    "StoredArray",
    "StoredFrames",
    "UndecodedChunkError",
    "ZarrChunks",
    "choose_stream",
    "codec_names",
    "listed",
    "num_cores",
    "open_hdf5_file",
    "printable",
    "read_once",
    "run_on_cores",
    "sample_pieces",
    "shared_out",
]
