"""Bytes and arrays out of files, safely and fast; public, for authors of formats."""

from ..errors import listed, printable
from .atomic import require_room, write_then_rename
from .beside import unread_descriptions
from .blocks import ConvertedArray, Progress, read_blocks
from .budget import Budget
from .chunk_grid import (
    RECENT_CHUNKS,
    Box,
    Cell,
    ChunkGrid,
    ChunkSource,
    Part,
    Piece,
    RecentChunks,
    require_few_chunks,
    sample_pieces,
    share_out,
)
from .contrast import contrast_limits
from .hdf5 import attribute_value, open_hdf5_file, unchanging_superblock
from .json_text import parse_json, read_json
from .known import folder_names, is_file, is_folder
from .libraries import import_library, library_errors
from .locks import ProcessLock
from .missing import MissingChunks, at_positions, missing_chunks, missing_samples, present_zarr_chunks
from .notices import silenced, warn
from .npy_header import NpyHeader, read_npy_header
from .paths import file_name_key, single_file
from .pickled import PickledArray, PickledObject, read_pickle, read_pickled_npy, texts_of_pickled_npy
from .positioned import PositionedFile, open_regular, read_bounded, read_once
from .sidecar import SIDECAR_KEY, Sidecar
from .source import Source
from .stored import StoredArray, StoredFrames, as_native
from .streams import choose_stream
from .tasks import run_tasks
from .threads import num_cores, run_on_cores
from .tiff_directory import TiffDirectory
from .units import (
    MICROMETRES,
    SECONDS,
    describe_disorder,
    plausible_start,
    regular_rate,
    require_rate,
    to_micrometres,
    to_seconds,
)
from .xml import feed_xml, parse_xml, xml_parser, xml_problems
from .zarr_array import ZarrArray, ZarrGroup, open_zarr

__all__ = [
    "MICROMETRES",
    "RECENT_CHUNKS",
    "SECONDS",
    "SIDECAR_KEY",
    "Box",
    "Budget",
    "Cell",
    "ChunkGrid",
    "ConvertedArray",
    "ChunkSource",
    "MissingChunks",
    "NpyHeader",
    "Part",
    "PickledArray",
    "PickledObject",
    "Piece",
    "PositionedFile",
    "ProcessLock",
    "Progress",
    "RecentChunks",
    "Sidecar",
    "Source",
    "StoredArray",
    "StoredFrames",
    "TiffDirectory",
    "ZarrArray",
    "ZarrGroup",
    "as_native",
    "at_positions",
    "attribute_value",
    "choose_stream",
    "contrast_limits",
    "describe_disorder",
    "feed_xml",
    "file_name_key",
    "folder_names",
    "import_library",
    "is_file",
    "is_folder",
    "library_errors",
    "listed",
    "missing_chunks",
    "missing_samples",
    "num_cores",
    "open_hdf5_file",
    "open_regular",
    "open_zarr",
    "parse_json",
    "parse_xml",
    "plausible_start",
    "present_zarr_chunks",
    "printable",
    "read_blocks",
    "read_bounded",
    "read_json",
    "read_npy_header",
    "read_once",
    "read_pickle",
    "read_pickled_npy",
    "regular_rate",
    "require_few_chunks",
    "require_rate",
    "require_room",
    "run_on_cores",
    "run_tasks",
    "sample_pieces",
    "share_out",
    "silenced",
    "single_file",
    "texts_of_pickled_npy",
    "to_micrometres",
    "to_seconds",
    "unchanging_superblock",
    "unread_descriptions",
    "warn",
    "xml_parser",
    "xml_problems",
    "write_then_rename",
]
