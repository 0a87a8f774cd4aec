"""numpy's reductions of a recording: the same results as on the array, without the array."""

from __future__ import annotations

import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.interop import one_pass
from roiextractors_core.testing import NoiseImagingExtractor

NAMES = ("sum", "mean", "std", "var", "max", "min")
DTYPES = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
)
PLANAR_AXES = (None, 0, -3, 1, 2, (0, 1), (1, 2), (2, 0), (0, 1, 2), (-1,), ())


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", 700)
    monkeypatch.setattr(one_pass, "_MIN_BLOCK_SAMPLES", 1)


def pixels(dtype: str, shape: tuple[int, ...] = (23, 5, 4)) -> np.ndarray:
    rng = np.random.default_rng(len(dtype))
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.random(shape) < 0.4
    if kind.kind == "f":
        return rng.normal(3, 1, shape).astype(kind)
    if kind.kind == "c":
        return (rng.normal(3, 1, shape) + 1j * rng.normal(size=shape)).astype(kind)
    limits = np.iinfo(kind)
    if kind.itemsize == 8:
        return rng.integers(0, 2**40, shape).astype(kind)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(kind)


def require_equal(result: Any, expected: Any, *, rtol: float) -> None:
    assert type(result) is type(expected)
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    if rtol:
        np.testing.assert_allclose(result, expected, rtol=rtol)
    else:
        np.testing.assert_array_equal(result, expected)


def tolerance(name: str, dtype: str, result: Any) -> float:
    """0 where numpy's sums have no rounding either; otherwise some of the last digits of what numpy computes with."""
    if name in ("max", "min") or (np.dtype(dtype).kind in "iub" and name == "sum"):
        return 0.0
    if np.dtype(dtype).kind in "iub":
        return 0.0 if name == "mean" and np.dtype(dtype).itemsize < 8 else 1e-12
    return float({2: 5e-3, 4: 2e-6, 8: 1e-12, 16: 1e-12}[result.real.dtype.itemsize])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keepdims", [False, True])
def test_numpy_gives_the_same_for_a_recording_and_for_its_array(name: str, dtype: str, keepdims: bool) -> None:
    data, function = pixels(dtype), getattr(np, name)
    recording = roi.NumpyImagingExtractor(data)
    for axis in PLANAR_AXES:
        expected = function(data, axis=axis, keepdims=keepdims)
        result = function(recording, axis=axis, keepdims=keepdims)
        require_equal(result, expected, rtol=tolerance(name, dtype, expected))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["uint16", "float32", "complex64", "complex128"])
def test_volumes_views_and_complex_numbers_too(name: str, dtype: str) -> None:
    data = pixels(dtype, (13, 5, 4, 3))
    recording = roi.NumpyImagingExtractor(data)
    pairs = [
        (recording, data),
        (recording.slice_samples(2, 11).slice_field_of_view(1, 4, 0, 3), data[2:11, 1:4, :3]),
        (recording.select_plane(1), data[..., 1]),
        (roi.concatenate([recording, recording.slice_samples(0, 5)]), np.concatenate([data, data[:5]])),
    ]
    for movie, array in pairs:
        for axis in (None, 0, (0, 2), array.ndim - 1, (1, 2)):
            expected = getattr(np, name)(array, axis=axis)
            require_equal(getattr(movie, name)(axis), expected, rtol=tolerance(name, dtype, expected))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, kind) for name in ("sum", "mean", "std", "var") for kind in ("f4", "f8")), ("sum", "i8"), ("sum", "u1")],
)
def test_the_dtype_of_the_result_can_be_chosen(name: str, dtype: str) -> None:
    data = pixels("uint16")
    recording = roi.NumpyImagingExtractor(data)
    for axis in (0, None, (1, 2)):
        expected = getattr(np, name)(data, axis=axis, dtype=dtype)
        result = getattr(np, name)(recording, axis=axis, dtype=dtype)
        require_equal(result, expected, rtol=1e-5 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("axis", [None, 0, (0, 1), 2])
def test_ddof_is_numpys(axis: Any) -> None:
    data = pixels("int16")
    recording = roi.NumpyImagingExtractor(data)
    np.testing.assert_allclose(np.std(recording, axis=axis, ddof=1), np.std(data, axis=axis, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(recording.var(axis, ddof=2), data.var(axis, ddof=2), rtol=1e-12)
    with pytest.warns(RuntimeWarning, match="Degrees of freedom"):
        result = roi.NumpyImagingExtractor(data[:1]).var(axis=0, ddof=1)
    assert np.isnan(result).all()


@pytest.mark.parametrize("name", NAMES)
def test_nan_and_infinity_spread_as_in_numpy(name: str) -> None:
    data = pixels("float32")
    data[3, 1, 1], data[0, 2, 2], data[22, 3, 3], data[4, 0, 0], data[9, 0, 0] = (
        np.nan,
        np.inf,
        -np.inf,
        np.inf,
        -np.inf,
    )
    recording = roi.NumpyImagingExtractor(data)
    for axis in (0, None, (0, 1), (1, 2)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of inf - inf
            expected, result = getattr(np, name)(data, axis=axis), getattr(np, name)(recording, axis=axis)
        np.testing.assert_allclose(result, expected, rtol=2e-6)


def test_a_large_offset_costs_no_digits() -> None:
    data = (1e7 + np.random.default_rng(0).normal(size=(400, 3, 4))).astype(np.float64)
    recording = roi.NumpyImagingExtractor(data)
    np.testing.assert_allclose(recording.std(axis=0), data.std(axis=0), rtol=1e-10)
    np.testing.assert_allclose(recording.std(), data.std(), rtol=1e-10)


def test_sums_wrap_around_as_in_numpy() -> None:
    data = np.full((300, 2, 2), 255, np.uint8)
    assert roi.NumpyImagingExtractor(data).sum(dtype=np.uint8) == data.sum(dtype=np.uint8)
    large = np.full((5, 2, 2), 2**63, np.uint64)
    np.testing.assert_array_equal(roi.NumpyImagingExtractor(large).sum(axis=0), large.sum(axis=0))


@pytest.mark.parametrize("value", [65535, -32768])
def test_sums_of_very_many_samples_do_not_wrap_around(value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", 1 << 20)
    monkeypatch.setattr(one_pass, "_GROUP_SAMPLES", 1 << 18)
    monkeypatch.setattr(one_pass, "_MIN_GROUPS", 1)
    monkeypatch.setattr(one_pass, "_MIN_GROUP_SAMPLES", 1 << 18)
    recording = roi.NumpyImagingExtractor(np.full((150_000, 1, 2), value, np.uint16 if value > 0 else np.int16))
    np.testing.assert_array_equal(np.sum(recording, axis=0), np.full((1, 2), 150_000 * value))
    assert recording.mean() == value


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_recording_gives_what_numpy_gives(name: str) -> None:
    data = np.empty((0, 3, 4), np.uint16)
    recording = roi.NumpyImagingExtractor(data)
    for axis in (0, None, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = getattr(np, name)(data, axis=axis)
            except ValueError as error:
                with pytest.raises(ValueError, match=str(error)):
                    getattr(np, name)(recording, axis=axis)
            else:
                np.testing.assert_array_equal(getattr(np, name)(recording, axis=axis), expected)


@pytest.mark.parametrize("axis", [3, -4, (0, 0), 1.5, "samples"])
def test_a_wrong_axis_is_numpys_error(axis: Any) -> None:
    data = pixels("uint8")
    with pytest.raises((ValueError, TypeError)) as expected:
        np.mean(data, axis=axis)
    with pytest.raises(expected.type, match=r".") as raised:
        np.mean(roi.NumpyImagingExtractor(data), axis=axis)
    assert str(raised.value) == str(expected.value)


def test_arguments_that_are_not_supported_are_refused_in_one_sentence() -> None:
    recording = roi.NumpyImagingExtractor(pixels("uint8"))
    with pytest.raises(roi.RangeTypeError, match=r"recording.mean does not take out=; np.mean\(recording\[...\], out="):
        np.mean(recording, axis=0, out=np.empty((5, 4)))
    with pytest.raises(roi.RangeTypeError, match=r"recording\.max does not take initial="):
        np.max(recording, initial=0)
    with pytest.raises(roi.RangeTypeError, match=r"recording\.std does not take where="):
        np.std(recording, where=np.ones((23, 5, 4), bool))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [0, None, (1, 2)])
def test_memory_does_not_grow_with_the_recording(name: str, axis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_pass, "_BLOCK_BYTES", 256 << 10)
    recording = NoiseImagingExtractor((800, 96, 96), "uint16", 3)
    tracemalloc.start()
    getattr(np, name)(recording, axis=axis)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert recording.nbytes > 14 << 20
    assert peak < recording.nbytes / 2
