"""Real info files: what other people's readers find in them, with pixels of the right size beside them."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_scanbox.mat_file import read_variable

import roiextractors_core as roi
from roiextractors_core.errors import SourceNotFoundError
from roiextractors_core.io import PositionedFile

# Shapes and rates as CaImAn's own tests state them for its four recordings, and for the fifth by hand: 7916 / 512.
EXPECTED: dict[str, tuple[tuple[int, ...], float]] = {
    "caiman_testdata/2d_sbx": ((8, 512, 796), 15.625),
    "caiman_testdata/2d_sbx_bidi": ((8, 512, 796), 31.25),
    "caiman_testdata/3d_sbx_1": ((2, 512, 796, 4), 15.625 / 4),
    "caiman_testdata/3d_sbx_2": ((2, 512, 796, 4), 15.625 / 4),
    "gin_scanbox/sample": ((8, 512, 796), 15.4609375),
}
FRAMES = np.random.default_rng(6).integers(0, 65536, (8, 512, 796, 1)).astype(np.uint16)


@pytest.fixture(params=EXPECTED)
def real(
    request: pytest.FixtureRequest, recordings: Path, tmp_path: Path, write_sbx: Callable[..., Path]
) -> tuple[str, Path]:
    """A real info file and random pixels of eight frames beside it."""
    name: str = request.param
    path = tmp_path / f"{Path(name).name}.sbx"
    shutil.copyfile(recordings / "scanbox" / f"{name}.mat", path.with_suffix(".mat"))
    return name, write_sbx(path, FRAMES)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_info_without_its_pixels_names_the_file_that_is_missing(recordings: Path, name: str) -> None:
    path = recordings / "scanbox" / f"{name}.mat"
    stem = path.stem
    with pytest.raises(
        SourceNotFoundError, match=rf"{stem}\.mat describes a Scanbox recording, but {stem}\.sbx, which contains"
    ):
        roi.open(path)


def test_shape_rate_and_pixels_are_those_of_the_published_readers(real: tuple[str, Path]) -> None:
    name, path = real
    shape, rate = EXPECTED[name]
    with roi.open(path) as recording, roi.open(path.with_suffix(".mat"), deinterleave=False) as flat:
        assert recording.shape == shape
        assert recording.get_sampling_frequency() == rate
        assert recording.get_notes() == ()
        np.testing.assert_array_equal(flat.get_series(), FRAMES[..., 0])
        if len(shape) == 4:
            np.testing.assert_array_equal(recording[1, :, :, 2], FRAMES[6, ..., 0])


def test_metadata_of_real_info(real: tuple[str, Path]) -> None:
    name, path = real
    with roi.open(path) as recording:
        found = recording.metadata
    assert found.channels[0].excitation_wavelength == 920
    if name == "gin_scanbox/sample":
        assert found.pixel_size == (1.4285714285714286, 1.408450704225352)
        assert found.channels[0].name == "PMT0"
        assert found.vendor["objective"] == "Nikon 16x/0.8w/WD3.0"
        assert len(found.vendor["frame"]) == 54_428
        assert (found.vendor["frame"][0], found.vendor["frame"][-1]) == (132, 16766)
    else:
        assert found.channels[0].name == "GCaMP6s"
        assert found.vendor["calibration"] == {"fx": None, "fy": None}
    if name == "caiman_testdata/3d_sbx_1":
        assert found.pixel_size == (1.1393739907050766, 1.0825374224423845)
        assert found.vendor["etl_table"][0] == [91, 853, 40, 0, 1]
    if name == "caiman_testdata/2d_sbx":
        assert found.pixel_size is None


def same(ours: Any, theirs: Any, where: str) -> None:
    if isinstance(ours, dict):
        assert list(ours) == theirs._fieldnames, where
        for key, value in ours.items():
            same(value, getattr(theirs, key), f"{where}.{key}")
    elif isinstance(ours, list) and theirs.shape == (1, len(ours)) and len(ours) and isinstance(ours[0], dict):
        for k, value in enumerate(ours):
            same(value, theirs[0, k], f"{where}[{k}]")
    elif isinstance(ours, list) and theirs.dtype.kind == "U":
        assert ours == theirs.tolist(), where
    elif isinstance(ours, list):
        for row, others in zip(ours, theirs, strict=bool(theirs.size)):
            for value, other in zip(row, others, strict=True):
                same(value, other, where)
    elif isinstance(ours, str):
        assert ours == "".join(theirs.tolist()), where
    elif ours is not None:
        np.testing.assert_array_equal(ours, theirs, where)
        assert ours.dtype.kind in "fiu"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_info_file_holds_what_scipy_finds_in_it(recordings: Path, name: str) -> None:
    scipy_io = pytest.importorskip("scipy.io", reason="scipy is not installed")
    path = recordings / "scanbox" / f"{name}.mat"
    theirs = scipy_io.loadmat(path, struct_as_record=False)["info"][0, 0]

    def unwrapped(value: Any) -> Any:
        if hasattr(value, "_fieldnames"):
            for key in value._fieldnames:
                setattr(value, key, unwrapped(getattr(value, key)))
            return value
        if isinstance(value, np.ndarray) and value.dtype == object:
            if value.shape == (1, 1) and hasattr(value[0, 0], "_fieldnames"):
                return unwrapped(value[0, 0])
            for place in np.ndindex(value.shape):
                value[place] = unwrapped(value[place])
        return value

    same(read_variable(PositionedFile(path), "info"), unwrapped(theirs), "info")


def test_sbxreader_reads_the_same(real: tuple[str, Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = pytest.importorskip("sbxreader", reason="sbxreader is not installed")
        theirs = other.sbx_memmap(str(real[1]))
    with roi.open(real[1]) as recording:
        assert recording.get_sampling_frequency() == theirs.metadata["frame_rate"]
        wanted = np.moveaxis(np.array(theirs[0:])[:, :, 0], 1, 3)  # indexing inverts, np.array alone would not
        np.testing.assert_array_equal(recording.get_series(), wanted if recording.is_volumetric else wanted[..., 0])
