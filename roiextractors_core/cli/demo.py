"""The demonstration: simulates a recording, writes it in two formats, opens both, compares and draws them."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import roiextractors_core as roi

from ..errors import SourceKindError, counted, printable
from ..imaging.extractor import ImagingExtractor
from ..interop import preview as pictures
from ..io.units import amount
from ..registry.detection import Explanation
from ..registry.registry import default_registry
from ..registry.spec import FormatSpec
from ..testing.generators import CalciumImagingExtractor
from ..testing.writing import TargetExistsError, write_npy
from .facts import facts_of, in_words
from .terminal import card, heading, progress_bar

__all__ = ["demonstrate"]

RATE = 15.0
FRAME = (256, 256)
TIFF, NPY, PICTURE, LIST = "two_photon.tif", "two_photon.npy", "two_photon.png", "roiextractors-demo.json"


def demonstrate(folder: Path, *, seed: int, num_samples: int) -> bool:
    """Run the demonstration, and return whether the pixels of both files agree.

    Parameters
    ----------
    folder : pathlib.Path
        Created if it does not exist. In an existing folder, only files of an earlier demonstration are replaced.
    seed : int
    num_samples : int
        Frames of each channel.

    Raises
    ------
    TargetExistsError
        A file of the same name exists that the demonstration did not write.
    """
    _claim(folder)
    shape = (num_samples, *FRAME)
    green = CalciumImagingExtractor(shape, "int16", seed, sampling_frequency=RATE, photons=12.0)
    red = CalciumImagingExtractor(shape, "int16", seed, sampling_frequency=RATE, photons=12.0, functional=False)
    print(
        f"a simulated two-photon recording: {num_samples:,} frames of {FRAME[0]} x {FRAME[1]} pixels at {RATE:g} Hz; "
        "the green channel has calcium transients, the red channel a constant marker"
    )
    first = None
    for spec, write in _two_photon_writers():
        _write(folder / TIFF, f"{spec.title}, two channels", lambda w=write, **o: w([green, red], folder / TIFF, **o))
        first = _open(folder / TIFF, channel="Channel 1")
        break
    else:
        print("no installed plugin writes two-photon TIFF files; only the NumPy file is written")
    _write(folder / NPY, "NumPy, the first channel", lambda **o: write_npy(green, folder / NPY, **o))
    second = _open(folder / NPY, sampling_frequency=RATE)
    try:
        agree = _compare(first or green, second)
        if first is None:
            _draw(folder / PICTURE, [("Channel 1", second)])
        else:
            with roi.open(folder / TIFF, channel="Channel 2") as other:
                _draw(folder / PICTURE, [("Channel 1", first), ("Channel 2", other)])
    finally:
        for recording in filter(None, (first, second)):
            recording.close()
    return agree


def _two_photon_writers() -> Iterator[tuple[FormatSpec, Callable[..., Path]]]:
    """Yield the formats whose plugin has a module ``testing`` with a function ``write_two_photon``, and that function."""
    for spec in default_registry().formats():
        module = f"{spec.extractor.partition('.')[0].partition(':')[0]}.testing"
        # Found by its module, since the core names no plugin
        if importlib.util.find_spec(module) is not None:
            write = getattr(importlib.import_module(module), "write_two_photon", None)
            if write is not None:
                yield spec, write


def _claim(folder: Path) -> None:
    """Create the folder with a list of the files that the demonstration writes there."""
    if folder.exists() and not folder.is_dir():
        raise SourceKindError(f"--output must name a folder, got the file {printable(folder)}")
    folder.mkdir(parents=True, exist_ok=True)
    names = (TIFF, NPY, PICTURE)
    listed = folder / LIST
    if not listed.is_file():
        # Without the list, a file of the same name may be a real recording
        strange = [name for name in (*names, LIST) if (folder / name).exists()]
        if strange:
            raise TargetExistsError(
                f"{printable(folder / strange[0])} already exists and was not written by a demonstration; choose another --output"
            )
    # Before the files themselves: an interrupted demonstration can be repeated in the same folder
    listed.write_text(json.dumps({"written by": "roiextractors demo", "files": names}, indent=1) + "\n", "utf-8")


def _write(path: Path, words: str, write: Callable[..., Path]) -> None:
    with progress_bar(f"simulating and writing {path.name}") as progress:
        write(overwrite=True, progress=progress)
    print(f"wrote {printable(path)} ({words}, {amount(path.stat().st_size)})")


def _open(path: Path, **options: Any) -> Any:
    """Open one of the files and show its facts, or print what to install for it."""
    explanation = roi.explain(path)
    print()
    missing = [entry for entry in explanation.not_installed if _is_better(entry.spec, explanation)]
    if missing:
        print(f"{printable(path)} is {missing[0].spec.title}; to open it: {missing[0].how_to_install}")
        return None
    explanation.require_best()
    for option, choices in roi.streams(path).items():
        print(f"{printable(path)} contains the {option}s {', '.join(map(printable, choices))}")
    recording = roi.open(path, **options)
    heading(printable(path))
    card(in_words(facts_of(recording, {k: v for k, v in options.items() if k == "channel"})))
    return recording


def _is_better(spec: FormatSpec, explanation: Explanation) -> bool:
    """Whether a format that is not installed fits better than the best of those that are."""
    return explanation.best is None or explanation.best.spec.name in spec.specializes


def _compare(first: ImagingExtractor, second: ImagingExtractor) -> bool:
    """Compare all samples, some at a time, print and return whether they agree."""
    same = len(first) == len(second)
    for start in range(0, len(first) if same else 0, 64):
        end = min(start + 64, len(first))
        same = same and np.array_equal(first.get_series(start, end), second.get_series(start, end))
    which = "both files" if not isinstance(first, CalciumImagingExtractor) else f"{NPY} and the simulation"
    print()
    print(f"the pixels of {which} {'agree' if same else 'DIFFER'}: {counted(len(first), 'sample')} compared")
    return same


def _draw(target: Path, recordings: list[tuple[str, ImagingExtractor]]) -> None:
    if not pictures.can_draw():
        print("no picture: python -m pip install matplotlib")
        return
    panels = []
    for channel, recording in recordings:
        with progress_bar(f"reading {channel} for the picture") as progress:
            panels.append(pictures.panel_of(recording, {"channel": channel}, progress=progress))
    pictures.draw(f"{TIFF}, a simulated two-photon recording", panels, target)
    print(f"picture: {printable(target)}")
