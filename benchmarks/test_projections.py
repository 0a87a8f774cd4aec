"""Projections and numpy's reductions of a recording, beside numpy on a memory map."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from benchmarks.conftest import Beside

SHAPE = (1024, 512, 512)
ONE_THREAD = "numpy on one thread, in blocks of four frames, which was the fastest; ours on {} cores"
MAPPED = "a memory map copies nothing, but a disk error would then kill the process"
PAIRS = (
    ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ((slice(None, -1), slice(None, -1)), (slice(1, None), slice(1, None))),
    ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 12-bit numbers, 0.5 GB."""
    target = tmp_path_factory.mktemp("projections") / "movie.npy"
    data = np.lib.format.open_memmap(target, "w+", np.uint16, SHAPE)
    noise = np.random.default_rng(0).poisson(300, (64, *SHAPE[1:])).astype(np.uint16)
    for start in range(0, len(data), len(noise)):
        data[start : start + len(noise)] = noise + start % 77
    del data
    return target


def by_numpy(path: Path, *, correlation: bool, length: int = 4) -> list[np.ndarray]:
    """The same projections as a user writes them: one pass, in blocks that fit into the cache, without rounding."""
    movie = np.load(path, mmap_mode="r")
    total, squares = np.zeros(movie.shape[1:], np.int64), np.zeros(movie.shape[1:])
    highest, trace = np.zeros(movie.shape[1:], movie.dtype), []
    products = [np.zeros(total[first].shape) for first, _ in PAIRS] if correlation else []
    for start in range(0, len(movie), length):
        block = movie[start : start + length]
        total += block.sum(axis=0, dtype=np.int64)
        np.maximum(highest, block.max(axis=0), out=highest)
        trace.append(block.mean(axis=(1, 2)))
        values = block.astype(np.float64)
        squares += np.einsum("tij,tij->ij", values, values)
        for product, (first, second) in zip(products, PAIRS, strict=False):
            product += np.einsum("tij,tij->ij", values[:, *first], values[:, *second])
    count = len(movie)
    mean = total / count
    result = [mean, np.sqrt(squares / count - mean**2), highest.astype(np.float64), np.concatenate(trace)]
    return [*result, correlation_of(products, mean, result[1], count)] if correlation else result


def correlation_of(products: list[np.ndarray], mean: np.ndarray, spread: np.ndarray, count: int) -> np.ndarray:
    total, known = np.zeros(mean.shape), np.zeros(mean.shape)
    for product, (first, second) in zip(products, PAIRS, strict=True):
        one = (product / count - mean[first] * mean[second]) / (spread[first] * spread[second])
        for side in (first, second):
            total[side] += one
            known[side] += 1
    return total / known


@pytest.mark.parametrize("correlation", [True, False])
def test_projections(path: Path, correlation: bool, beside: Beside) -> None:
    names = ["mean", "standard_deviation", "maximum", "trace", *(["correlation"] if correlation else [])]

    def ours() -> list[np.ndarray]:
        result = roi.projections(recording, only=names).to_dict()
        return [round_off(result[name]) for name in names]

    with roi.open(path) as recording:
        beside(
            f"`projections` of 0.5 GB{'' if correlation else ' without the correlation'}",
            ours,
            {"numpy": lambda: [round_off(array) for array in by_numpy(path, correlation=correlation)]},
            group="projections",
            limit="numpy",
            at_least=2,
            nbytes=os.path.getsize(path),
            note=ONE_THREAD.format(os.cpu_count()),
        )


@pytest.mark.parametrize("name", ["mean", "max", "std"])
def test_reductions(path: Path, name: str, beside: Beside) -> None:
    function = getattr(np, name)
    with roi.open(path) as recording:
        beside(
            f"`np.{name}(recording, axis=0)` of 0.5 GB",
            lambda: round_off(function(recording, axis=0)),
            {"numpy on a memory map": lambda: round_off(function(np.load(path, mmap_mode="r"), axis=0))},
            group="projections",
            nbytes=os.path.getsize(path),
            note="np.std of a memory map needs memory for four times the pixels" if name == "std" else MAPPED,
        )


def round_off(values: np.ndarray | None) -> np.ndarray:
    """Sums of squares as float64 differ in the last digits."""
    assert values is not None
    return np.round(values, 6)
