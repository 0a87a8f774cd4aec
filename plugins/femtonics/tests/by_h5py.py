"""Another reader of MESc files, for the fuzzer: every frame by h5py, with the numbers of its conversion as they are in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

__all__ = ["frames_of"]


def frames_of(path: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield every frame of a file, converted."""
    datasets: list[h5py.Dataset] = []
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(
            lambda _, node: datasets.append(node) if isinstance(node, h5py.Dataset) and node.ndim == 3 else None
        )
        for dataset in datasets:
            number = re.search(r"Channel_(\d+)$", dataset.name)
            if number is None or dataset.nbytes > 1 << 26:
                continue
            prefix = f"Channel_{number[1]}_Conversion_ConversionLinear"
            scale, offset = (float(dataset.parent.attrs.get(f"{prefix}{key}", 0)) for key in ("Scale", "Offset"))
            for frame in dataset[()]:
                converted = frame * np.float64(scale) + offset
                yield converted
                if scale == -1:  # within the range of the type, 65535 - x
                    yield converted.astype(frame.dtype)
