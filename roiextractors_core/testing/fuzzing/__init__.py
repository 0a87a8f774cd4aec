"""Fuzzing: changed copies of small recordings, opened and read, each judged.

What comes of a changed copy is right when the pixels (or the masks, traces, images and properties) are those of the file, or when an error of our own tree says
what is wrong, within 5 seconds and 256 MiB of memory beyond the size of the file.  A crash, a hang, another exception, or
pixels and values that the file does not hold are defects.

::

    python -m roiextractors_core.testing.fuzzing --format tiff --cases 20000 --tests plugins/tiff/tests
    python -m roiextractors_core.testing.fuzzing --format tiff --cases 20000 --seeds recording.tif --keep failures/

The copies are made of the recordings of a plugin's conformance tests (``--tests``), of any recordings (``--seeds``), or,
for the formats of the core's own writers, of what these write.  The cases are worked off in a process of its own, which is
started again when it crashes or hangs; every case has a number that names it for ever (``--first N --cases 1``).
"""

from __future__ import annotations

from ...lazy import import_on_use

__getattr__, __all__ = import_on_use(
    __name__,
    {
        "outcomes": ["Defect", "Report"],
        "running": ["fuzz"],
        "seeds": ["Seed", "seed_of", "seeds_of_tests", "seeds_of_writers"],
        "tests": ["FuzzTests", "require_no_defects"],
    },
)
