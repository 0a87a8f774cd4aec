"""Real cell sets and event sets against what other people's readers found in them, and the vendor's own library where it is installed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_inscopix.events import InscopixEventsExtractor
from roiextractors_inscopix.segmentation import InscopixSegmentationExtractor

import roiextractors_core as roi
from roiextractors_core.errors import RoiExtractorsError

CELL_SETS = ("cellset", "cellset_series_part1", "empty_cellset")


@pytest.fixture
def isx() -> Any:
    """The vendor's library, or a skip."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("isx", reason="the vendor's library, isx, is not installed", exc_type=ImportError)


@pytest.mark.parametrize("name", CELL_SETS)
def test_a_real_cell_set_agrees_with_the_vendors_library(recordings: Path, name: str) -> None:
    entries = json.loads((recordings / "EXPECTED.json").read_text(encoding="utf-8"))
    wanted = next(entry for entry in entries if entry["path"] == f"inscopix/cellsets/{name}.isxd")
    with roi.open(recordings / wanted["path"], kind="segmentation", **wanted["options"]) as rois:
        assert rois.provenance.format == "inscopix-segmentation"
        assert rois.get_num_rois() == wanted["num_rois"]
        assert rois.get_num_samples() == wanted["num_samples"]
        assert list(rois.get_frame_shape()) == wanted["frame_shape"]
        assert rois.get_sampling_frequency() == wanted["sampling_frequency"]
        shown = len(wanted["roi_ids"])  # the list of ids is cut at five
        assert rois.get_roi_ids()[:shown] == wanted["roi_ids"]
        assert rois.get_property("status")[:shown].tolist() == wanted["status"]
        traces = rois.get_traces(name="raw")
        assert list(traces.shape) == wanted["traces"]["raw"]["shape"]
        assert float(traces.sum(dtype=np.float64)) == pytest.approx(wanted["traces"]["raw"]["sum"], rel=1e-12)
        weights = [float(mask[:, 2].sum()) for mask in rois.get_roi_pixel_masks()]
        assert weights[:shown] == pytest.approx([mask["weight"] for mask in wanted["masks"]], rel=1e-12)
        assert rois.get_native_timestamps() is None
        assert rois.get_notes() == ()


def test_a_real_cell_set_has_metadata_and_properties(recordings: Path) -> None:
    with roi.open(recordings / "inscopix" / "cellsets" / "cellset.isxd", kind="segmentation") as rois:
        assert rois.metadata.start_time == datetime(2021, 4, 1, 12, 3, 53, 290_011, tzinfo=UTC)
        assert rois.metadata.device == "Inscopix NVista3, serial number 11132301"
        assert rois.metadata.pixel_size == (6.0, 6.0)
        assert [channel.name for channel in rois.metadata.channels] == ["green"]
        # The centre that the vendor measured is inside the mask of the cell
        places = zip(
            rois.get_property("largest_component_center_row"),
            rois.get_property("largest_component_center_column"),
            strict=True,
        )
        images = rois.get_roi_image_masks()
        assert all(images[int(row), int(column), k] > 0 for k, (row, column) in enumerate(places))


@pytest.mark.parametrize("name", [*(f"cellsets/{name}" for name in CELL_SETS), "eventset"])
def test_a_real_segmentation_opened_as_a_movie_names_the_kind(recordings: Path, name: str) -> None:
    with pytest.raises(RoiExtractorsError, match=r"kind=.segmentation."):
        roi.open(recordings / "inscopix" / f"{name}.isxd")


def test_a_real_event_set_is_a_trace_of_events(recordings: Path) -> None:
    with roi.open(recordings / "inscopix" / "eventset.isxd", kind="segmentation") as rois:
        assert rois.provenance.format == "inscopix-events"
        assert rois.get_roi_ids() == ["C001", "C014", "C030", "C114", "C175"]
        assert rois.get_property("num_events").tolist() == [2072, 2984, 2141, 3544, 2763]
        assert rois.get_num_samples() == 12075
        traces = rois.get_traces(name="events")
        assert np.count_nonzero(traces, axis=0).tolist() == [2072, 2984, 2141, 3544, 2763]
        times, amplitudes = rois.get_events("C001")
        assert times[:2].tolist() == [0.099924, 0.499619]
        assert amplitudes[0] == traces[2, 0] == np.float32(23.013803)


def require_same_cells(isx: Any, path: Path) -> None:
    theirs = isx.CellSet.read(str(path))
    timing = theirs.timing
    with InscopixSegmentationExtractor(path) as rois:
        cells = range(theirs.num_cells)
        assert rois.get_roi_ids() == [theirs.get_cell_name(k) for k in cells]
        assert rois.get_property("status").tolist() == [theirs.get_cell_status(k) for k in cells]
        assert rois.get_frame_shape() == tuple(theirs.spacing.num_pixels)
        assert rois.get_num_samples() == timing.num_samples
        assert rois.get_sampling_frequency() == 1 / timing.period.secs_float
        traces, images = rois.get_traces(), rois.get_roi_image_masks()
        for k in cells:
            np.testing.assert_array_equal(traces[:, k], theirs.get_cell_trace_data(k))
            np.testing.assert_array_equal(images[:, :, k], theirs.get_cell_image_data(k))
        offsets = [offset.secs_float for offset in timing.get_offsets_since_start()]
        np.testing.assert_allclose(rois.get_timestamps(), offsets, rtol=1e-12)
        info = {key: value for key, value in (theirs.get_acquisition_info() or {}).items() if value is not None}
        assert rois.metadata.vendor["acquisition"] == info


@pytest.mark.parametrize("name", CELL_SETS)
def test_the_vendors_library_reads_the_same_from_real_cell_sets(recordings: Path, isx: Any, name: str) -> None:
    require_same_cells(isx, recordings / "inscopix" / "cellsets" / f"{name}.isxd")


@pytest.mark.filterwarnings("ignore:.*are missing:roiextractors_core.IncompleteRecordingWarning")
def test_a_cell_set_that_the_vendors_library_wrote_is_read_as_it_reads_it(tmp_path: Path, isx: Any) -> None:
    period = isx.Duration._from_num_den(179_973, 1_000_000)
    timing = isx.Timing(num_samples=12, period=period, dropped=[5, 3], cropped=[[7, 8]], blank=[10])
    generator = np.random.default_rng(6)
    written = isx.CellSet.write(str(tmp_path / "c.isxd"), timing, isx.Spacing(num_pixels=(5, 8)))
    for k, status in enumerate(("accepted", "rejected", "undecided")):
        image = generator.random((5, 8)).astype(np.float32)
        image[image < 0.7] = 0
        written.set_cell_data(k, image, generator.random(12).astype(np.float32), f"cell {k}")
        written.set_cell_status(k, status)
    written.flush()
    del written
    require_same_cells(isx, tmp_path / "c.isxd")


def test_the_vendors_library_reads_our_synthetic_cell_sets_the_same(
    tmp_path: Path, isx: Any, write_cell_set: Callable[..., Path], microscope: Callable[..., dict[str, Any]]
) -> None:
    generator = np.random.default_rng(7)
    path = write_cell_set(
        tmp_path / "c.isxd",
        generator.random((3, 4, 7)),
        generator.random((3, 9)),
        statuses=[0, 2, 1],
        extra=microscope(version="1.1.1"),
    )
    require_same_cells(isx, path)


def test_the_vendors_library_reads_the_same_events(
    tmp_path: Path,
    recordings: Path,
    isx: Any,
    write_event_set: Callable[..., Path],
    write_first_event_set: Callable[..., Path],
) -> None:
    synthetic = write_event_set(tmp_path / "e.isxd", [(200_001, 1, 2.5), (50_000, 1, 0.5), (200_000, 0, 7.0)])
    first = write_first_event_set(
        tmp_path / "first.isxd", {"A": [(50_000, 0.5), (200_000, 7.0)], "B": [(100_000, -1), (950_000, 0.0)], "C": []}
    )
    for path in (recordings / "inscopix" / "eventset.isxd", synthetic, first):
        theirs = isx.EventSet.read(str(path))
        with InscopixEventsExtractor(path) as rois:
            assert rois.get_roi_ids() == [theirs.get_cell_name(k) for k in range(theirs.num_cells)]
            assert rois.get_num_samples() == theirs.timing.num_samples
            assert rois.get_sampling_frequency() == 1 / theirs.timing.period.secs_float
            for k, cell in enumerate(rois.get_roi_ids()):
                offsets, amplitudes = theirs.get_cell_data(k)
                times, ours = rois.get_events(cell)
                # The library adds the offset to a time since 1970 as a float, and may truncate to the microsecond before
                np.testing.assert_allclose(times, offsets / 1e6, rtol=0, atol=1.1e-6)
                np.testing.assert_array_equal(ours, amplitudes)


def test_an_event_set_that_the_vendors_library_wrote_is_read(tmp_path: Path, isx: Any) -> None:
    timing = isx.Timing(num_samples=12, period=isx.Duration._from_num_den(179_973, 1_000_000))
    written = isx.EventSet.write(str(tmp_path / "e.isxd"), timing, ["A", "B"])
    written.set_cell_data(0, np.array([359_946, 1_979_703], np.uint64), np.array([1.5, 2], np.float32))
    written.set_cell_data(1, np.array([0], np.uint64), np.array([3], np.float32))
    written.flush()
    del written
    with InscopixEventsExtractor(tmp_path / "e.isxd") as rois:
        traces = rois.get_traces(name="events")
        assert traces.shape == (12, 2)
        assert {tuple(place): traces[tuple(place)] for place in np.argwhere(traces).tolist()} == {
            (2, 0): 1.5,
            (11, 0): 2,
            (0, 1): 3,
        }
