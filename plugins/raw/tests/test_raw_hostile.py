"""Side files and names that are damaged at random: an answer, or one of our errors, and never anything else."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import RoiExtractorsError, RoiExtractorsWarning

INF = "data type = 16 bit integers (binary, big endian)\nframe dimensions = 6 x 4\nnumber of frames = 3\nFrames Per Second = 9.5\nx_start = 1\nx_end = 6\ny_start = 1\ny_end = 4\n"
YAML = "Byte Order: <\nCamera.Pixelsize: 160\nData Type: uint16\nFrames: 3\nHeight: 4\nWidth: 6\n"
LETTERS = "0123456789-+.eExX ;:=#'\"[]{}&*!|>%@`,\n\r\t\0\x1b²٣µ\ufeff\u2028"


def damaged(text: str, rng: random.Random) -> str:
    letters = list(text)
    for _ in range(rng.choice((1, 1, 2, 6))):
        at = rng.randrange(len(letters))
        letters[at : at + rng.randrange(4)] = rng.choice(LETTERS) * rng.choice((0, 1, 1, 30))
    return "".join(letters)


def known_outcome(path: Path, **options: Any) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", RoiExtractorsWarning)
        try:
            with roi.open(path, **options) as recording:
                recording.get_series()
                recording.get_sampling_frequency()
                recording.metadata.to_dict()
        except RoiExtractorsError as error:
            if not str(error).isprintable():
                pytest.fail(f"the message holds control characters: {error!s:.200}")
            return False
    return True


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("side", "movie", "name", "text"), [(".inf", ".dax", "dax", INF), (".yaml", ".raw", "picasso-raw", YAML)]
)
def test_random_damage_of_a_side_file_ends_in_one_of_our_errors(
    tmp_path: Path, side: str, movie: str, name: str, text: str
) -> None:
    rng = random.Random(name)
    path = (tmp_path / "movie").with_suffix(movie)
    path.write_bytes(bytes(3 * 4 * 6 * 2))
    known = 0
    for _ in range(400):
        path.with_suffix(side).write_text(damaged(text, rng), encoding="utf-8", newline="")
        known += known_outcome(path, format=name)
        roi.explain(path)
    assert 0 < known < 400


@pytest.mark.parametrize("name", ["dax", "picasso-raw", "raw"])
def test_random_bytes_beside_a_movie_end_in_one_of_our_errors(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    for suffix in (".dax", ".raw"):
        (tmp_path / "movie").with_suffix(suffix).write_bytes(bytes(3 * 4 * 6 * 2))
    for _ in range(100):
        for suffix in (".inf", ".yaml"):
            (tmp_path / "movie").with_suffix(suffix).write_bytes(rng.randbytes(rng.randrange(200)))
        for suffix in (".dax", ".raw", ".inf", ".yaml"):
            path = (tmp_path / "movie").with_suffix(suffix)
            if path.stat().st_size:
                known_outcome(path, format=name)


@pytest.mark.thorough
def test_random_options_end_in_one_of_our_errors(tmp_path: Path) -> None:
    rng = random.Random(3)
    path = tmp_path / "movie.raw"
    path.write_bytes(np.arange(720, dtype="<u2").tobytes())
    numbers: list[Any] = [*range(-2, 7), 12, 720, 1440, 1 << 40, 1 << 70, 2.0, "3", None, True, np.int8(4)]
    dtypes: list[Any] = ["<u2", ">f4", "u1", float, "O", "U3", "V8", "", None, 7, ("u2", 3), {"names": []}, "M8[s]"]
    orders: list[Any] = ["C", "F", "c", "K", None, 1]
    axes: list[Any] = [None, "TYX", "YXT", "TZYX", "tzyx", "YX", "YY", "", 5]
    known = 0
    for _ in range(1000):
        options = {
            "shape": tuple(rng.choice(numbers) for _ in range(rng.randrange(1, 6))),
            "dtype": rng.choice(dtypes),
            "offset": rng.choice((0, 0, 0, rng.choice(numbers))),
            "order": rng.choice(("C", "F", rng.choice(orders))),
            "dimension_order": rng.choice((None, rng.choice(axes))),
        }
        known += known_outcome(path, **options)
    assert known > 0
