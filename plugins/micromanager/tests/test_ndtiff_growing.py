"""NDTiff datasets that are opened while they are written."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi


@pytest.mark.thorough
@pytest.mark.parametrize("first", ["index", "pixels"])
def test_a_dataset_that_grows_gives_whole_samples_each_time(
    tmp_path: Path,
    pixels: Callable[..., Any],
    by_axes: Callable[..., Any],
    write_ndtiff: Callable[..., Path],
    first: str,
) -> None:
    block = pixels(12)
    whole = write_ndtiff(tmp_path / "movie", by_axes(block), per_file=5)
    contents = {path.name: path.read_bytes() for path in sorted(whole.iterdir())}
    chosen, counts = random.Random(3), []
    for part in [*sorted(chosen.random() for _ in range(25)), 1.0]:
        shown = {name: len(content) for name, content in contents.items()}
        total = sum(n for name, n in shown.items() if name.endswith(".tif"))
        left = int(part * total)
        for name in shown:
            if name.endswith(".tif"):
                shown[name] = min(shown[name], left)
                left -= shown[name]
        share = min(1.0, part * (1.1 if first == "index" else 0.9)) if part < 1 else 1.0
        shown["NDTiff.index"] = int(share * len(contents["NDTiff.index"]))
        folder = tmp_path / f"{len(counts)}" / "movie"
        folder.mkdir(parents=True)
        for name, count in shown.items():
            if count:
                (folder / name).write_bytes(contents[name][:count])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", roi.RoiExtractorsWarning)
            try:
                with roi.open(folder) as recording:
                    counts.append(len(recording))
                    assert np.array_equal(recording.get_series(), block[: len(recording), 0, 0])
            except roi.RoiExtractorsError:
                counts.append(0)
    assert counts == sorted(counts)
    assert counts[-1] == 12
