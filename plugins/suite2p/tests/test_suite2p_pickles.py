"""Pickles in the folders of suite2p: the values that numpy finds in them, and random damage."""

from __future__ import annotations

import pickle
import random
import struct
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import RoiExtractorsError, RoiExtractorsWarning
from roiextractors_core.io import PickledArray, PositionedFile, read_pickled_npy

TIME = datetime(2024, 2, 29, 1, 2, 3, 4, timezone(timedelta(hours=-5, minutes=-30)))
SCALARS = [np.float64(2.5), np.int32(-7), np.uint8(200), np.bool_(True), np.str_("abc"), np.complex128(1 + 2j)]


def plain(value: Any) -> Any:
    """Undo the keeping of arrays in the file."""
    if isinstance(value, PickledArray):
        return [plain(v) for v in value.read().ravel()] if value.dtype.hasobject else value.read()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value)(plain(item) for item in value) if isinstance(value, list | tuple) else value


def test_real_descriptions_hold_what_numpy_finds_in_them(recordings: Path) -> None:
    """The oracle unpickles these very files, which are known; it is trusted with no other."""
    for path in sorted((recordings / "suite2p").rglob("*ops*.npy")):
        oracle = np.load(path, allow_pickle=True)
        found = read_pickled_npy(PositionedFile(path))
        assert len(found) == oracle.size
        for ours, theirs in zip(found, oracle.ravel(), strict=True):
            assert list(ours) == list(theirs)
            for key, value in theirs.items():
                np.testing.assert_equal(plain(ours[key]), value)


def outcome_is_known(call: Callable[[], object]) -> bool:
    """Whether a call returns, or raises one of this library's errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RoiExtractorsWarning)
        try:
            call()
        except RoiExtractorsError:
            return False
    return True


def pickled_npy(value: Any, protocol: int) -> bytes:
    """Return a .npy file as numpy.save wrote it over the years: the protocol changed, and the names of numpy's modules."""
    boxed = np.empty((), object)
    boxed[()] = value
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pickle.dumps(boxed, protocol=protocol)


@pytest.mark.thorough
@pytest.mark.parametrize("protocol", [2, 4])
def test_random_damage_ends_in_one_of_our_errors(
    tmp_path: Path, write_plane: Callable[..., Path], protocol: int
) -> None:
    frames = np.arange(4 * 3 * 5, dtype=np.int16).reshape(4, 3, 5)
    plane = write_plane(tmp_path / "plane0", {"data.bin": frames})
    whole = np.load(plane / "ops.npy", allow_pickle=True).item()
    values = {**whole, "when": TIME, "scalars": SCALARS}
    content = pickled_npy(values, protocol)
    rng = random.Random(protocol)
    known = 0
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(len(damaged))
            kind = rng.randrange(4)
            if kind == 0:
                damaged[at] = rng.randrange(256)
            elif kind == 1:
                del damaged[at : at + rng.randrange(1, 40)]
            elif kind == 2:
                damaged[at:at] = rng.randbytes(rng.randrange(1, 9))
            else:
                damaged[at] ^= 1 << rng.randrange(8)
        (plane / "ops.npy").write_bytes(bytes(damaged))

        def opened() -> None:
            with roi.open(plane) as recording:
                recording.get_series()
                recording.metadata.to_dict()

        known += outcome_is_known(opened)
        outcome_is_known(lambda: roi.open(plane / "ops.npy").close())
        roi.explain(plane / "ops.npy")
    assert 0 < known < 400
