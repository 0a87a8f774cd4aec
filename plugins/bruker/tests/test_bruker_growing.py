"""Bruker folders that are opened while they are written."""

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
@pytest.mark.parametrize("xml", ["grows", "whole"])
def test_a_folder_that_grows_gives_whole_samples_each_time(
    tmp_path: Path, prairie: Callable[..., Any], frames: Callable[..., Any], xml: str
) -> None:
    made, pixels = prairie("m"), frames(10)
    made.movie({(1, "Red"): pixels})
    made.write()
    contents = {path.name: path.read_bytes() for path in sorted(made.folder.iterdir())}
    names = [name for name in contents if not name.endswith(".xml")]
    chosen, counts = random.Random(3), []
    for part in [*sorted(chosen.random() for _ in range(20)), 1.0]:
        folder = tmp_path / f"{len(counts)}" / "m"
        folder.mkdir(parents=True)
        at = part * len(names)
        for k, name in enumerate(names[: int(np.ceil(at))]):
            content = contents[name]
            (folder / name).write_bytes(content if k < int(at) else content[: int((at - k) * len(content))])
        text = contents["m.xml"]
        (folder / "m.xml").write_bytes(text if xml == "whole" else text[: int(part * len(text))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", roi.RoiExtractorsWarning)
            try:
                with roi.open(folder) as recording:
                    counts.append(len(recording))
                    assert np.array_equal(recording.get_series(), pixels[: len(recording)])
            except roi.RoiExtractorsError:
                counts.append(0)
    assert counts[-1] == 10
    assert max(counts[:-1]) > 3
