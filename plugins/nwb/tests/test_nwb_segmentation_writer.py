"""ROIs written as NWB: read back the same, and read by pynwb and roiextractors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core import Background, NumpySegmentationExtractor, RoiMasks

pytest.importorskip("pynwb", reason="pynwb is not installed: the extra [write]")

ROWS, COLUMNS, SAMPLES = 6, 9, 50
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def three_masks(*planes: int) -> RoiMasks:
    """Masks in a frame that is not square, with weights that single precision does not represent; the last has no pixels."""
    columns = [[1, 2, 2], [2, 8], []]
    rows = [[0, 0, 1], [1, 5], []]
    weights = [[0.1, 0.25, 1 / 3], [1.0, 3.0], []]
    depth = [[np.array(c, np.int64) % n for n in planes] for c in columns]
    parts = [
        (np.array(r, np.int64), np.array(c, np.int64), *z, np.array(w, np.float64))
        for r, c, z, w in zip(rows, columns, depth, weights, strict=True)
    ]
    return RoiMasks.from_pixels((ROWS, COLUMNS, *planes), parts)


def traces(offset: float = 0.0, count: int = 3) -> np.ndarray:
    return (np.arange(SAMPLES)[:, None] * 10.0 + np.arange(count) + offset).astype(np.float32)


def made(**changes: Any) -> NumpySegmentationExtractor:
    return NumpySegmentationExtractor(
        changes.pop("masks", three_masks()),
        changes.pop("traces", {"raw": traces(), "dff": traces(1), "neuropil": traces(2), "My / trace": traces(3)}),
        **{
            "sampling_frequency": 20.0,
            "images": {"mean": np.arange(54.0).reshape(6, 9), "a/b": np.arange(54).reshape(6, 9)},
            "properties": {
                "accepted": np.array([True, False, True]),
                "snr": roi.RoiProperty(np.array([1.0, np.nan, 3.0]), "signal to noise"),
                "name": np.array(["x", "y", "ä"]),
                "id": np.array([3, 2, 1]),
                "odd/key": np.array([1, 2, 3]),
            },
            "metadata": roi.RecordingMetadata(start_time=START, pixel_size=(0.5, 0.25), device="Scope"),
            **changes,
        },
    )


def assert_same(one: Any, other: Any) -> None:
    assert other.get_roi_ids() == one.get_roi_ids()
    assert other.get_mask_shape() == one.get_mask_shape()
    assert other.get_roi_masks() == one.get_roi_masks()
    assert set(other.get_trace_names()) == set(one.get_trace_names())
    for name in one.get_trace_names():
        np.testing.assert_array_equal(other.get_traces(name=name), one.get_traces(name=name))
        assert other.get_traces(name=name).dtype == one.get_traces(name=name).dtype
    assert set(other.get_image_names()) == set(one.get_image_names())
    for name in one.get_image_names():
        np.testing.assert_array_equal(other.get_image(name), one.get_image(name))
    assert set(other.get_property_keys()) == set(one.get_property_keys())
    for key in one.get_property_keys():
        np.testing.assert_array_equal(other.get_property(key), one.get_property(key))
        assert other.get_property_info(key).description == one.get_property_info(key).description
    np.testing.assert_array_equal(other.get_timestamps(), one.get_timestamps())
    assert other.get_sampling_frequency() == one.get_sampling_frequency()
    assert other.metadata.to_dict() == one.metadata.to_dict()


@pytest.fixture
def convert(tmp_path: Path) -> Iterator[Any]:
    opened: list[Any] = []

    def written(rois: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for earlier in opened:
                earlier.close()  # Windows replaces no file that is open
            path = roi.convert(rois, tmp_path / "session.nwb", overwrite=True, **options)
            opened.append(roi.open(path, kind="segmentation"))
        return opened[-1]

    yield written
    for rois in opened:
        rois.close()


def test_everything_of_a_segmentation_is_read_back(convert: Any) -> None:
    assert_same(made(), convert(made()))


@pytest.mark.parametrize("ids", [["3", "12", "5"], ["cell 1", "ä", "3"], ["-1", "007", "7"]])
def test_ids_are_read_back_numbers_and_text(convert: Any, ids: list[str]) -> None:
    assert_same(made(roi_ids=ids), convert(made(roi_ids=ids)))


def test_volumes_and_their_images_are_read_back(convert: Any) -> None:
    volume = {"masks": three_masks(4), "images": {"mean": np.arange(216.0).reshape(6, 9, 4)}}
    assert_same(made(**volume), convert(made(**volume)))


def test_backgrounds_are_read_back(convert: Any) -> None:
    masks = RoiMasks.from_images((ROWS, COLUMNS), [np.ones((ROWS, COLUMNS)), np.eye(ROWS, COLUMNS)])
    for names in (["background"], ["background", "other"], ["drift"]):
        background = Background(("b0", "b1"), masks, {name: traces(k, 2) for k, name in enumerate(names)})
        found = convert(made(background=background)).get_background()
        assert found is not None
        assert found.ids == ("b0", "b1")
        assert found.masks == masks
        assert set(found.traces) == set(names)
        for name in names:
            np.testing.assert_array_equal(np.asarray(found.traces[name]), background.traces[name])


def test_times_are_read_back_irregular_ones_and_those_of_a_slice(convert: Any) -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.1, SAMPLES))
    assert_same(made(times=times), convert(made(times=times)))
    view = made().slice_samples(7, 30).select_rois(["2", "0"])
    assert_same(view, convert(view))
    with h5py.File(convert(view).get_paths()[0]) as file:
        clock = file["processing/ophys/Fluorescence/RoiResponseSeries/starting_time"]
        assert (clock[()], clock.attrs["rate"]) == (7 / 20.0, 20.0)


def test_what_is_read_back_is_written_the_same_again(convert: Any, tmp_path: Path) -> None:
    first = convert(made(roi_ids=["a", "b", "c"]))
    again = roi.convert(first, tmp_path / "again.nwb")
    with roi.open(again, kind="segmentation") as second:
        assert_same(first, second)


def test_segmentations_without_traces_masks_or_rois_are_written(convert: Any) -> None:
    bare = {"traces": {}, "images": {}, "properties": {}, "sampling_frequency": None}
    found = convert(made(**bare))
    assert found.get_trace_names() == ()
    assert found.get_roi_masks() == three_masks()
    empty = convert(made(**bare, masks=RoiMasks((ROWS, COLUMNS), [0], [])))
    assert (empty.get_num_rois(), empty.get_frame_shape()) == (0, (ROWS, COLUMNS))
    no_pixels = RoiMasks((ROWS, COLUMNS), [0, 0, 0, 0], np.empty(0, int), np.empty(0, np.float32))
    assert convert(made(**bare, masks=no_pixels)).get_roi_masks().num_pixels.tolist() == [0, 0, 0]


def test_a_start_time_and_a_rate_are_required_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match="NWB needs a start time"):
        roi.convert(made(metadata=roi.RecordingMetadata()), tmp_path / "a.nwb")
    with pytest.raises(roi.TimesError, match="this segmentation has neither"):
        roi.convert(made(sampling_frequency=None), tmp_path / "a.nwb")
    bad = made()
    bad.set_property("odd", np.array([None, 1, "x"], object))
    with pytest.raises(roi.UnsupportedRecordingError, match="the property 'odd' has object"):
        roi.convert(bad, tmp_path / "a.nwb")
    assert list(tmp_path.iterdir()) == []


def test_a_start_time_can_be_passed(convert: Any) -> None:
    found = convert(made(metadata=roi.RecordingMetadata()), start_time="2026-01-31T12:00:00+00:00")
    assert found.metadata.start_time == START


def test_a_failure_while_traces_are_read_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rois = made()
    read = rois.get_trace

    def fail(name: str, start: int, end: int, indices: np.ndarray) -> np.ndarray:
        if end > 0:
            raise roi.CorruptRecordingError("the disk is gone")
        return read(name, start, end, indices)

    monkeypatch.setattr(rois, "get_trace", fail)
    with pytest.raises(roi.CorruptRecordingError, match="the disk is gone"):
        roi.convert(rois, tmp_path / "a.nwb")
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_with_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    roi.convert(made(), tmp_path / "a.nwb", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4 * SAMPLES * 3 * 4,) * 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_pynwb_reads_what_is_written(convert: Any) -> None:
    from pynwb import NWBHDF5IO

    path = convert(made(roi_ids=["a", "b", "c"])).get_paths()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynwb's own
        with NWBHDF5IO(path, "r") as stream:
            ophys = stream.read().processing["ophys"]
            table = ophys["ImageSegmentation"]["PlaneSegmentation"]
            assert table["roi_name"][:].tolist() == ["a", "b", "c"]
            assert table["Accepted"][:].tolist() == [True, False, True]
            assert [tuple(map(float, pixel)) for pixel in table["pixel_mask"][1]] == [(2, 1, 1), (8, 5, 3)]
            series = ophys["Fluorescence"]["RoiResponseSeries"]
            np.testing.assert_array_equal(series.data[:], traces())
            assert series.rois.data[:].tolist() == [0, 1, 2]
            assert series.rois.table is table
            assert series.rate == 20.0
            np.testing.assert_array_equal(ophys["DfOverF"]["RoiResponseSeries"].data[:], traces(1))
            np.testing.assert_array_equal(ophys["SegmentationImages"]["mean"].data[:], np.arange(54.0).reshape(6, 9).T)


def test_roiextractors_reads_image_masks_that_are_written_for_it(convert: Any) -> None:
    theirs = pytest.importorskip("roiextractors").NwbSegmentationExtractor
    ours = convert(made(), image_masks=True)
    assert_same(made(), ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = theirs(ours.get_paths()[0])
        np.testing.assert_array_equal(other.get_roi_image_masks(), made().get_roi_image_masks())
        np.testing.assert_array_equal(other.get_traces(name="dff"), traces(1))
        np.testing.assert_array_equal(other.get_images_dict()["mean"], np.arange(54.0).reshape(6, 9))


def test_chunks_of_traces_are_of_some_rois_and_are_written_once(tmp_path: Path) -> None:
    wide = np.random.default_rng(1).random((9000, 150)).astype(np.float32)
    rois = NumpySegmentationExtractor(
        RoiMasks((4, 5), np.zeros(151, int), np.empty(0, int), np.empty(0, np.float32)),
        wide,
        sampling_frequency=10.0,
        metadata=roi.RecordingMetadata(start_time=START),
    )
    with roi.open(roi.convert(rois, tmp_path / "wide.nwb"), kind="segmentation") as found:
        np.testing.assert_array_equal(found.get_traces(), wide)
        np.testing.assert_array_equal(found.get_traces(["149", "3"], 4000, 5000), wide[4000:5000, [149, 3]])
    with h5py.File(tmp_path / "wide.nwb") as file:
        assert file["processing/ophys/Fluorescence/RoiResponseSeries/data"].chunks == (4096, 64)


class _EventsAlone(NumpySegmentationExtractor):
    has_masks = False


def test_traces_without_masks_are_read_back_without_masks(convert: Any, tmp_path: Path) -> None:
    # pynwb refuses to write or read a table of ROIs that has no column of masks
    events = _EventsAlone(
        RoiMasks((0, 0), [0, 0, 0], []),
        {"events": traces(count=2)},
        roi_ids=["C0", "C1"],
        sampling_frequency=20.0,
        metadata=roi.RecordingMetadata(start_time=START),
    )
    again = convert(events)
    assert not again.has_masks
    assert (again.get_roi_ids(), again.get_frame_shape()) == (["C0", "C1"], (0, 0))
    np.testing.assert_array_equal(again.get_traces(name="events"), traces(count=2))
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(tmp_path / "session.nwb", "r") as io:
        assert len(io.read().processing["ophys"]["ImageSegmentation"].plane_segmentations) == 1


def test_no_rois_with_a_property_of_text(convert: Any) -> None:
    empty = made(
        masks=RoiMasks((ROWS, COLUMNS), [0], []),
        traces={"raw": traces(count=0)},
        properties={"status": np.array([], "<U8")},
    )
    again = convert(empty)
    assert (again.get_num_rois(), again.get_property("status").shape) == (0, (0,))


def test_a_trace_of_some_rois_is_written_as_one(convert: Any, tmp_path: Path) -> None:
    convert(made(traces={"raw": traces(), "dff": traces(1)}, properties={})).close()
    partial = tmp_path / "partial.nwb"
    partial.write_bytes((tmp_path / "session.nwb").read_bytes())
    with h5py.File(partial, "r+") as file:
        series = file["processing/ophys/DfOverF/RoiResponseSeries"]
        for name, values in (("data", traces(1)[:, [2, 0]]), ("rois", np.array([2, 0]))):
            attributes = dict(series[name].attrs)
            del series[name]
            series.create_dataset(name, data=values).attrs.update(attributes)
    with roi.open(partial, kind="segmentation") as rois:
        again = convert(rois)
    assert again.get_trace_roi_ids("dff") == ["0", "2"]
    np.testing.assert_array_equal(again.get_traces(["2", "0"], name="dff"), traces(1)[:, [2, 0]])
    np.testing.assert_array_equal(again.get_traces(), traces())


def test_several_planes_are_written_into_one_file(tmp_path: Path) -> None:
    planes = {f"plane{k}": made(traces={"raw": traces(k)}, images={f"mean{k}": np.full((6, 9), k)}) for k in range(2)}
    subject = {"subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P90D"}
    path = roi.convert(planes, tmp_path / "a.nwb", subject=subject, indicator="GCaMP6f", location={"plane1": "VISp"})
    tables = roi.streams(path, kind="segmentation")["plane_segmentation"]
    assert tables == ("PlaneSegmentationPlane0", "PlaneSegmentationPlane1")
    for table, rois in zip(tables, planes.values(), strict=True):
        with roi.open(path, kind="segmentation", plane_segmentation=table) as found:
            assert found.get_roi_ids() == rois.get_roi_ids()
            np.testing.assert_array_equal(found.get_traces(name="raw"), rois.get_traces(name="raw"))
            np.testing.assert_array_equal(found.get_roi_image_masks(), rois.get_roi_image_masks())
            assert found.get_image_names() == rois.get_image_names()
            assert found.metadata == rois.metadata
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(path), "r") as stream:
        file = stream.read()
        assert file.subject.subject_id == "m1"
        assert [file.imaging_planes[f"ImagingPlanePlane{k}"].location for k in range(2)] == ["unknown", "VISp"]
