"""Multi-ROI recordings, built here from the public descriptions of the format; no real pixels were at hand.

A page has the scanfields of its plane one below the other, with a number of lines between them in which the
scanner flies (ScanImage documentation, "Multiple Region of Interest (MROI) Imaging"; the readers of the field agree).  The
writer shares no code with the reader: it pastes each region's own image into a page of noise.
"""

from __future__ import annotations

import json
import math
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_scanimage.extractor import ScanImageImagingExtractor

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    RoiExtractorsWarning,
    StreamChoiceError,
    UnsupportedRecordingError,
)

Make = Callable[..., Any]
LINE, NOISE = 6.3e-05, -77


def scanfield(
    rows: int, columns: int, x: float, y: float, *, degree: float = 0.1, rotation: float = 0.0
) -> dict[str, Any]:
    return {
        "classname": "scanimage.mroi.scanfield.fields.RotatedRectangle",
        "centerXY": [x, y],
        "sizeXY": [columns * degree, rows * degree],
        "pixelResolutionXY": [columns, rows],
        "rotationDegrees": rotation,
        "enable": 1,
    }


def region(
    name: str, fields: list[dict[str, Any]], zs: list[float], *, discrete: bool = False, on: int = 1
) -> dict[str, Any]:
    one = len(fields) == 1  # MATLAB writes a list of one as its only item
    return {
        "classname": "scanimage.mroi.Roi",
        "name": name,
        "zs": zs[0] if one else zs,
        "scanfields": fields[0] if one else fields,
        "discretePlaneMode": int(discrete),
        "enable": on,
    }


STRIPS = [
    region("left", [scanfield(8, 6, -0.6, 0.0)], [0]),
    region("middle", [scanfield(8, 6, 0.0, 0.0)], [0]),
    region("right", [scanfield(8, 6, 0.6, 0.1)], [0]),
]


def images(count: int, rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 30_000, (count, rows, columns)).astype("<i2")


@pytest.fixture
def write(tmp_path: Path, write_bigtiff: Make, header_text: Make, page_texts: Make) -> Make:
    """Write pages, each a list of images to paste one below the other with lines of noise between."""

    def written(
        pages: list[list[np.ndarray]],
        rois: list[dict[str, Any]],
        *,
        lines: int = 3,
        rows: int | None = None,
        columns: int | None = None,
        changes: dict[str, str | None] | None = None,
        channels: int = 1,
        name: str = "mroi.tif",
    ) -> Path:
        heights = [sum(len(image) for image in page) + lines * (len(page) - 1) for page in pages]
        width = columns or max(image.shape[1] for page in pages for image in page)
        frames = np.full((len(pages), rows or max(heights), width), NOISE, "<i2")
        for frame, page in zip(frames, pages, strict=True):
            top = 0
            for image in page:
                frame[top : top + len(image), : image.shape[1]] = image
                top += len(image) + lines
        header = {
            "SI.hRoiManager.mroiEnable": "true",
            "SI.hRoiManager.imagingFovUm": "[]",
            "SI.hRoiManager.linePeriod": repr(LINE),
            "SI.hScan2D.flytoTimePerScanfield": repr(lines * LINE),
            **(changes or {}),
        }
        listed: Any = rois if len(rois) > 1 else rois[0]
        regions = json.dumps({"RoiGroups": {"imagingRoiGroup": {"rois": listed}}})
        texts = page_texts(len(pages), channels=channels)
        return Path(write_bigtiff(tmp_path / name, header_text(header), texts, frames, regions=regions))

    return written


def stack(*zs: float, **more: str) -> dict[str, str | None]:
    return {
        "SI.hStackManager.enable": "true",
        "SI.hStackManager.actualNumSlices": str(len(zs)),
        "SI.hStackManager.numFramesPerVolume": str(len(zs)),
        "SI.hStackManager.numFramesPerVolumeWithFlyback": str(len(zs)),
        "SI.hStackManager.zs": f"[{' '.join(map(str, zs))}]",
        **{f"SI.hStackManager.{key}": value for key, value in more.items()},
    }


def test_each_region_is_a_stream_without_the_lines_between(write: Make) -> None:
    parts = [images(5, 8, 6, seed) for seed in range(3)]
    path = write([[part[k] for part in parts] for k in range(5)], STRIPS)
    names = ("left", "middle", "right", "stitched", "page")
    assert roi.streams(path) == {"roi": names}
    with pytest.raises(
        StreamChoiceError, match=r"'left'.*'right'.*'stitched' and 'page'; choose one: .*roi='left'"
    ) as caught:
        ScanImageImagingExtractor(path)
    assert (caught.value.option, caught.value.choices) == ("roi", names)
    with pytest.raises(StreamChoiceError, match="not 'nowhere'"):
        ScanImageImagingExtractor(path, roi="nowhere")
    for position, name in enumerate(names[:3]):
        for wanted in (name, position, str(position)):
            with ScanImageImagingExtractor(path, roi=wanted) as recording:
                assert recording.shape == (5, 8, 6)
                np.testing.assert_array_equal(recording.get_series(), parts[position])
                np.testing.assert_array_equal(recording[3:1:-1, 2:5, ::2], parts[position][3:1:-1, 2:5, ::2])
                np.testing.assert_array_equal(recording.get_samples([4, 0]), parts[position][[4, 0]])
                np.testing.assert_allclose(recording.get_timestamps(), np.arange(5) * 0.1)
                assert any(
                    "3 regions of interest below one another, with 3 lines" in note for note in recording.get_notes()
                )
    with ScanImageImagingExtractor(path, roi="page") as recording:
        assert recording.shape == (5, 30, 6)
        assert (recording[:, 8:11] == NOISE).all()
        with pickle.loads(pickle.dumps(recording)) as again:
            assert again.shape == (5, 30, 6)


def test_a_region_states_its_pixel_size_position_and_rotation(write: Make) -> None:
    rois = [
        region("a", [scanfield(8, 6, -1.5, 2.0, degree=0.2, rotation=12.0)], [0]),
        region("b", [scanfield(4, 6, 0.0, 0.0)], [0]),
    ]
    path = write([[images(1, 8, 6, 1)[0], images(1, 4, 6, 2)[0]]] * 2, rois)
    with ScanImageImagingExtractor(path, roi="a") as recording:
        assert recording.shape == (2, 8, 6)
        assert recording.metadata.pixel_size == pytest.approx((0.2 * 15, 0.2 * 15))
        found = recording.metadata.vendor["roi"]
        assert found["name"] == "a"
        (plane,) = found["planes"]
        assert plane["center_xy_um"] == [-22.5, 30.0]
        assert plane["size_xy_degrees"] == pytest.approx([1.2, 1.6])
        assert (plane["rotation_degrees"], plane["first_row_in_page"]) == (12.0, 0)
        json.dumps(recording.metadata.to_dict())
    with ScanImageImagingExtractor(path, roi="b") as recording:
        assert recording.metadata.pixel_size == pytest.approx((1.5, 1.5))
        assert recording.metadata.vendor["roi"]["planes"][0]["first_row_in_page"] == 11
    assert "stitched" not in roi.streams(path)["roi"]
    with pytest.raises(ChoiceError, match="regions of one resolution without rotation"):
        ScanImageImagingExtractor(path, roi="stitched")


def test_stitched_regions_are_at_their_places(write: Make) -> None:
    parts = [images(4, 8, 6, seed) for seed in range(3)]
    path = write([[part[k] for part in parts] for k in range(4)], STRIPS)
    expected = np.zeros((4, 9, 18), "<i2")  # the third strip is 0.1 degrees, one row, lower
    for k, part in enumerate(parts):
        top = 1 if k == 2 else 0
        expected[:, top : top + 8, 6 * k : 6 * k + 6] = part
    with ScanImageImagingExtractor(path, roi="stitched") as recording:
        assert recording.shape == (4, 9, 18)
        np.testing.assert_array_equal(recording.get_series(), expected)
        np.testing.assert_array_equal(recording[1:3, 3:9, 4:14], expected[1:3, 3:9, 4:14])
        np.testing.assert_array_equal(recording.get_samples([3, 0, 3]), expected[[3, 0, 3]])
        assert recording.metadata.pixel_size == pytest.approx((1.5, 1.5))


def test_a_region_may_be_in_some_planes_alone(write: Make) -> None:
    rois = [
        region("deep", [scanfield(6, 6, 0, 0)], [20.0], discrete=True),
        region("everywhere", [scanfield(8, 6, 0, 1)], [0.0]),
        region("two", [scanfield(4, 6, 1, 0), scanfield(4, 6, 2, 0)], [10.0, 20.0], discrete=True),
        region("off", [scanfield(4, 6, 1, 0)], [0.0], on=0),
    ]
    deep, everywhere, two = (
        images(3, 6, 6, 1),
        images(9, 8, 6, 2).reshape(3, 3, 8, 6),
        images(6, 4, 6, 3).reshape(3, 2, 4, 6),
    )
    pages = []
    for v in range(3):  # planes at 0, 10 and 20
        pages += [[everywhere[v, 0]], [everywhere[v, 1], two[v, 0]], [deep[v], everywhere[v, 2], two[v, 1]]]
    path = write(pages, rois, lines=2, changes=stack(0, 10, 20))
    assert roi.streams(path)["roi"] == ("deep", "everywhere", "two", "stitched", "page")
    with ScanImageImagingExtractor(path, roi="deep") as recording:
        assert recording.shape == (3, 6, 6)
        np.testing.assert_array_equal(recording.get_series(), deep)
        np.testing.assert_allclose(recording.get_timestamps(), [0.2, 0.5, 0.8])
        assert recording.metadata.plane_positions == (20.0,)
    with ScanImageImagingExtractor(path, roi="everywhere") as recording:  # its first row differs from plane to plane
        assert recording.shape == (3, 8, 6, 3)
        np.testing.assert_array_equal(recording.get_series(), np.moveaxis(everywhere, 1, 3))
        np.testing.assert_array_equal(recording[1:, 2:7, 1:3, 1:], np.moveaxis(everywhere, 1, 3)[1:, 2:7, 1:3, 1:])
    with ScanImageImagingExtractor(path, roi="two") as recording:
        assert recording.shape == (3, 4, 6, 2)
        np.testing.assert_array_equal(recording.get_series(), np.moveaxis(two, 1, 3))
        assert recording.metadata.plane_positions == (10.0, 20.0)
        np.testing.assert_array_equal(recording.get_original_frame_indices(), [2, 5, 8])
    with ScanImageImagingExtractor(path, roi="two", plane=2) as recording:
        np.testing.assert_array_equal(recording.get_series(), two[:, 1])
    with pytest.raises(StreamChoiceError, match="has the planes '1' and '2', not 0"):
        ScanImageImagingExtractor(path, roi="two", plane=0)


def test_a_region_of_several_scanfields_is_interpolated_between_its_depths(write: Make) -> None:
    rois = [
        region("oblique", [scanfield(4, 6, 0, 0), scanfield(8, 6, 2, 0)], [0.0, 20.0]),
        region("flat", [scanfield(4, 6, 5, 0)], [0.0]),
    ]
    pages = [[images(1, rows, 6, rows)[0], images(1, 4, 6, 50 + rows)[0]] for rows in (4, 6, 8)]
    path = write(pages, rois, lines=2, changes=stack(0, 10, 20))
    with pytest.raises(
        UnsupportedRecordingError, match=r"'oblique' has another size in each plane; open\(..., plane=0\)"
    ):
        ScanImageImagingExtractor(path, roi="oblique")
    for plane in range(3):
        with ScanImageImagingExtractor(path, roi="oblique", plane=plane) as recording:
            np.testing.assert_array_equal(recording[0], pages[plane][0])
            assert recording.metadata.vendor["roi"]["planes"][0]["center_xy_degrees"] == pytest.approx(
                [float(plane), 0.0]
            )
    with ScanImageImagingExtractor(path, roi="flat") as recording:
        np.testing.assert_array_equal(recording[0], np.stack([page[1] for page in pages], -1))


def test_channels_that_are_planes_of_a_light_beads_microscope(write: Make) -> None:
    parts = images(4 * 6 * 2, 8, 6, 1).reshape(4, 6, 2, 8, 6)  # frames, beads, regions
    changes: dict[str, str | None] = {
        "SI.hChannels.channelSave": "[1;2;3;4;5;6]",
        "SI.hChannels.channelsActive": "[1;2;3;4;5;6]",
        "SI.hChannels.channelName": "{'Channel 1' 'Channel 2' 'Channel 3' 'Channel 4' 'Channel 5' 'Channel 6'}",
    }
    pages = [list(parts[frame, bead]) for frame in range(4) for bead in range(6)]
    path = write(pages, STRIPS[:2], changes=changes, channels=6)
    with pytest.raises(StreamChoiceError, match="channels_are_planes=True"):
        ScanImageImagingExtractor(path, roi="left")
    assert roi.streams(path, channels_are_planes=True) == {"roi": ("left", "middle", "stitched", "page")}
    for position, name in enumerate(("left", "middle")):
        with ScanImageImagingExtractor(path, roi=name, channels_are_planes=True) as recording:
            assert recording.shape == (4, 8, 6, 6)
            np.testing.assert_array_equal(recording.get_series(), np.moveaxis(parts[:, :, position], 1, 3))
            np.testing.assert_array_equal(recording[2, 1:3, :, 4], parts[2, 4, position, 1:3])
            np.testing.assert_allclose(recording.get_timestamps(), np.arange(4) * 0.1)
            assert recording.get_sampling_frequency() == 30.5
        with ScanImageImagingExtractor(path, roi=name, channel="Channel 5") as recording:
            np.testing.assert_array_equal(recording.get_series(), parts[:, 4, position])
        with ScanImageImagingExtractor(path, roi=name, channels_are_planes=True, plane=4) as recording:
            np.testing.assert_array_equal(recording.get_series(), parts[:, 4, position])
    with ScanImageImagingExtractor(path, roi="stitched", channels_are_planes=True) as recording:
        both = np.concatenate([parts[:, :, 0], parts[:, :, 1]], axis=3)
        np.testing.assert_array_equal(recording.get_series(), np.moveaxis(both, 1, 3))
    with pytest.raises(ChoiceError, match="leave out channel="):
        ScanImageImagingExtractor(path, roi="left", channels_are_planes=True, channel=1)


def test_lines_between_regions_that_contradict_the_header_are_a_warning(write: Make) -> None:
    path = write(
        [[images(1, 8, 6, k)[0] for k in range(3)]] * 2, STRIPS, changes={"SI.hScan2D.flytoTimePerScanfield": "0.01"}
    )
    with pytest.warns(
        RoiExtractorsWarning, match="3 lines between two regions of interest, but the header's flyto time takes 160"
    ):
        recording = ScanImageImagingExtractor(path, roi="left")
    recording.close()


def test_lines_follow_from_the_flyto_time_where_the_rows_come_to_no_whole_number(write: Make) -> None:
    parts = [images(1, 8, 6, k)[0] for k in range(3)]
    lines = 4
    assert math.ceil(0.0002 / LINE) == lines
    path = write(
        [parts] * 2,
        STRIPS,
        lines=lines,
        rows=8 * 3 + 2 * lines + 1,
        changes={"SI.hScan2D.flytoTimePerScanfield": "0.0002"},
    )
    for k, name in enumerate(("left", "middle", "right")):
        with ScanImageImagingExtractor(path, roi=name) as recording:
            np.testing.assert_array_equal(recording[0], parts[k])


def test_regions_that_do_not_fit_into_the_pages_leave_the_pages_alone(write: Make) -> None:
    path = write([[images(1, 8, 6, 1)[0]]] * 2, STRIPS)
    with pytest.raises(
        UnsupportedRecordingError, match=r"3 regions of interest .* do not fit into pages of 8 rows.*roi='page'"
    ):
        ScanImageImagingExtractor(path)
    with ScanImageImagingExtractor(path, roi="page") as recording:
        assert recording.shape == (2, 8, 6)


def test_one_region_alone_needs_no_choice(write: Make) -> None:
    part = images(3, 8, 6, 1)
    path = write([[image] for image in part], STRIPS[:1])
    assert roi.streams(path) == {}
    with ScanImageImagingExtractor(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), part)
        assert recording.metadata.pixel_size == pytest.approx((1.5, 1.5))


def test_a_mode_that_is_off_leaves_the_regions_out(write: Make) -> None:
    path = write(
        [[images(1, 8, 6, k)[0] for k in range(3)]] * 2, STRIPS, changes={"SI.hRoiManager.mroiEnable": "false"}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ScanImageImagingExtractor(path) as recording:
            assert recording.shape == (2, 30, 6)


def test_names_that_are_empty_or_repeated_are_numbered(write: Make) -> None:
    rois = [region(name, [scanfield(8, 6, 0.6 * k, 0.0)], [0]) for k, name in enumerate(("", "same", "same", "page"))]
    path = write([[images(1, 8, 6, k)[0] for k in range(4)]] * 2, rois)
    assert roi.streams(path)["roi"] == ("ROI 1", "ROI 2", "ROI 3", "ROI 4", "stitched", "page")


def test_a_region_called_after_the_number_of_another_one_does_not_hide_it(write: Make) -> None:
    rois = [region(name, [scanfield(8, 6, 0.6 * k, 0.0)], [0]) for k, name in enumerate(("ROI 2", ""))]
    parts = [images(1, 8, 6, k)[0] for k in range(2)]
    path = write([parts] * 2, rois)
    names = roi.streams(path)["roi"][:2]
    assert len(set(names)) == 2
    for name, part in zip(names, parts, strict=True):
        with ScanImageImagingExtractor(path, roi=name) as recording:
            np.testing.assert_array_equal(recording[0], part)


@pytest.mark.parametrize("key", ["pixelResolutionXY", "sizeXY"])
@pytest.mark.parametrize("value", [None, [6], [6, "NaN"], [6, -8]])
def test_a_region_whose_rows_are_not_known_leaves_the_pages_alone(write: Make, key: str, value: Any) -> None:
    rois = [region(name, [scanfield(8, 6, k, 0)], [0]) for k, name in enumerate("abc")]
    rois[1]["scanfields"][key] = value
    # Without the second region, 11 lines between the others would come to a whole number
    path = write([[images(1, 8, 6, k)[0] for k in range(3)]] * 2, rois)
    with pytest.raises(UnsupportedRecordingError, match=r"region of interest 1 of 3 .* roi='page'"):
        ScanImageImagingExtractor(path, roi="c")
    with ScanImageImagingExtractor(path, roi="page") as recording:
        assert recording.shape == (2, 30, 6)


def test_a_scanfield_that_is_off_takes_no_rows(write: Make) -> None:
    off = {**scanfield(5, 6, 9, 9), "enable": 0, "sizeXY": None}
    rois = [region("a", [scanfield(8, 6, 0, 0), off], [0, 40]), region("b", [scanfield(8, 6, 1, 0)], [0])]
    parts = [images(1, 8, 6, k)[0] for k in range(2)]
    with ScanImageImagingExtractor(write([parts] * 2, rois), roi="b") as recording:
        np.testing.assert_array_equal(recording[1], parts[1])


def test_a_region_that_is_smaller_than_the_page_does_not_crop_it(write: Make) -> None:
    part = images(3, 30, 6, 1)
    path = write([[image] for image in part], STRIPS[:1])
    with ScanImageImagingExtractor(path) as recording:
        np.testing.assert_array_equal(recording.get_series(), part)


def test_rows_that_no_region_takes_are_a_warning(write: Make) -> None:
    parts = [images(1, 8, 6, k)[0] for k in range(3)]
    changes: dict[str, str | None] = {"SI.hScan2D.flytoTimePerScanfield": repr(3 * LINE)}
    path = write([parts] * 2, STRIPS, rows=8 * 3 + 2 * 3 + 9, changes=changes)
    with pytest.warns(RoiExtractorsWarning, match="rows more than the regions"):
        recording = ScanImageImagingExtractor(path, roi="left")
    recording.close()


def test_regions_of_single_planes_are_not_placed_where_the_depths_of_the_planes_are_unknown(write: Make) -> None:
    rois = [region(name, [scanfield(8, 6, k, 0)], [10.0 * k], discrete=True) for k, name in enumerate("ab")]
    pages = [[images(1, 19, 6, k)[0]] for k in range(6)]
    changes = stack(0, 10)
    for zs in ("[0 NaN 10]", "[NaN 0]", "[]"):
        changes["SI.hStackManager.zs"] = zs
        with pytest.raises(UnsupportedRecordingError, match="roi='page'"):
            ScanImageImagingExtractor(write(pages, rois, changes=changes), roi="a")


def test_depths_that_place_the_regions_in_two_ways_are_a_warning(write: Make) -> None:
    rois = [
        region("a", [scanfield(8, 6, 0, 0), scanfield(4, 6, 0, 0)], [0.0, 10.0], discrete=True),
        region("b", [scanfield(4, 6, 1, 0), scanfield(8, 6, 1, 0)], [0.0, 10.0], discrete=True),
    ]
    first = [[images(1, 8, 6, 1)[0], images(1, 4, 6, 2)[0]], [images(1, 4, 6, 3)[0], images(1, 8, 6, 4)[0]]]
    changes = stack(0, 10, zsRelative="[10 0]")
    with pytest.warns(RoiExtractorsWarning, match=r"several ways; roi='page'"):
        recording = ScanImageImagingExtractor(write(first * 2, rois, changes=changes), roi="a", plane=0)
    np.testing.assert_array_equal(recording[0], first[0][0])
    recording.close()


def test_rotated_strips_are_read_and_strips_of_two_resolutions_are_not_stitched(write: Make) -> None:
    rois = [
        region("fine", [scanfield(8, 12, 0, 0, degree=0.05)], [0]),
        region("coarse", [scanfield(8, 6, 1, 0)], [0]),
        region("turned", [scanfield(6, 6, 2, 0, rotation=-30.0)], [0]),
    ]
    parts = [images(2, rows, columns, rows) for rows, columns in ((8, 12), (8, 6), (6, 6))]
    path = write([[part[k] for part in parts] for k in range(2)], rois)
    for name, part in zip(("fine", "coarse", "turned"), parts, strict=True):
        with ScanImageImagingExtractor(path, roi=name) as recording:
            np.testing.assert_array_equal(recording.get_series(), part)
    with pytest.raises(ChoiceError, match=r"'fine', 'coarse', 'turned'"):
        ScanImageImagingExtractor(path, roi="stitched")
