"""Polygons become masks as in SIMA: the pixels whose centre is inside, and not on the edge."""

from __future__ import annotations

import numpy as np
import pytest
from roiextractors_sima.polygons import pixels_inside


def drawn(corners: object, rows: int = 6, columns: int = 8) -> np.ndarray:
    image = np.zeros((rows, columns), int)
    row, column = pixels_inside(np.array(corners, float), rows, columns)
    np.add.at(image, (row, column), 1)  # a pixel that is returned twice would be 2
    return image


def image_of(*lines: str) -> np.ndarray:
    return np.array([[int(mark == "#") for mark in line] for line in lines])


SHAPES = {
    # SIMA's own example: the first pixel, by its four corners
    "one pixel": ([[0, 0], [0, 1], [1, 1], [1, 0]], ["#......."] + ["........"] * 5),
    "a wide rectangle": ([[1, 1], [6, 1], [6, 3], [1, 3]], ["........", ".#####..", ".#####..", "........", "........", "........"]),
    "closed and turning the other way": ([[1, 1], [1, 3], [6, 3], [6, 1], [1, 1]], ["........", ".#####..", ".#####..", "........", "........", "........"]),
    # Edges through the centres of rows 1 and 4 and of columns 2 and 5: these pixels are not inside
    "edges through centres": ([[2.5, 1.5], [5.5, 1.5], [5.5, 4.5], [2.5, 4.5]], ["........", "........", "...##...", "...##...", "........", "........"]),
    # Pixel (row r, column c) is inside if c + r + 1 < 6, and the diagonal itself is not
    "a triangle": ([[0, 0], [6, 0], [0, 6]], ["#####...", "####....", "###.....", "##......", "#.......", "........"]),
    "beyond the frame": ([[-3, -2], [2, -2], [2, 20], [-3, 20]], ["##......"] * 6),
    "around the frame": ([[-5, -5], [50, -5], [50, 50], [-5, 50]], ["########"] * 6),
    "outside of the frame": ([[20, 20], [30, 20], [30, 30]], ["........"] * 6),
    "a line": ([[1, 1], [5, 4], [1, 1]], ["........"] * 6),
    "a dent": ([[0, 0], [7, 0], [7, 4], [3.5, 1], [0, 4]], ["#######.", "###.###.", "##...##.", "#.....#.", "........", "........"]),
    # Where it crosses itself, what is enclosed twice is outside
    "twice around": ([[0, 0], [5, 0], [5, 5], [0, 5], [0, 0], [2, 1], [4, 1], [4, 3], [2, 3], [2, 1]], ["#####...", "##..#...", "##..#...", "#####...", "#####...", "........"]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_known_polygon_has_the_pixels_counted_by_hand(name: str) -> None:
    corners, lines = SHAPES[name]
    np.testing.assert_array_equal(drawn(corners), image_of(*lines))


def by_shapely(corners: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the mask by the test that SIMA uses."""
    from shapely.geometry import Point, Polygon

    polygon = Polygon(corners - 0.5)
    return np.array([[int(polygon.contains(Point(x, y))) for x in range(columns)] for y in range(rows)])


@pytest.mark.parametrize("quantum", [1, 2, 4, 10, 1000])
def test_polygons_have_the_pixels_that_shapely_contains(quantum: int) -> None:
    pytest.importorskip("shapely")
    rng = np.random.default_rng(quantum)
    for _ in range(40):
        angles, radii = np.sort(rng.random(rng.integers(3, 9))) * 2 * np.pi, rng.uniform(1, 6)
        corners = np.stack([4 + radii * np.cos(angles), 3 + radii * np.sin(angles)], axis=1)
        corners = np.round(corners * quantum) / quantum
        np.testing.assert_array_equal(drawn(corners), by_shapely(corners, 6, 8), err_msg=str(corners.tolist()))
        crossed = rng.permutation(corners)
        np.testing.assert_array_equal(drawn(crossed), by_shapely(crossed, 6, 8), err_msg=str(crossed.tolist()))


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ([[0, 0], [np.nan, 1], [1, 1]], "not a finite number"),
        ([[0, 0], [np.inf, 1], [1, 1]], "not a finite number"),
        ([[0, 0], [1e300, 1], [1, 1]], "very far outside"),
        ([[0, 0], [1, 60_000]] * 50, "edges cross 5,999,950 rows"),
    ],
)
def test_a_polygon_without_end_is_refused(corners: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pixels_inside(np.array(corners, float), 60_000, 10)
