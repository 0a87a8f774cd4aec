"""suite2p's ROIs, traces and images: planes, channels, layouts, and folders that contradict themselves."""

from __future__ import annotations

import pickle
import random
import threading
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsError,
    RoiExtractorsWarning,
    SourceKindError,
    SourceNotFoundError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import SegmentationExtractorTests

Write = Callable[..., Path]
ROWS, COLUMNS, SAMPLES = 12, 30, 50
# An L, so that an exchange of rows and columns, or a reversal of either, gives other pixels
L = ([2, 3, 4, 4], [25, 25, 25, 26], [0.1, 0.2, 0.3, 0.4])
BAR = ([11, 11], [0, 1], [0.5, 0.5])
DOT = ([4], [26], [1.0])
SIZE = {"Ly": ROWS, "Lx": np.int64(COLUMNS), "nframes": SAMPLES}


def one(rows: Any, columns: Any, weights: Any, **said: Any) -> dict[str, Any]:
    """An ROI as suite2p describes it."""
    return {
        "ypix": np.array(rows, np.int32),
        "xpix": np.array(columns, np.int32),
        "lam": np.array(weights, np.float32),
        "med": [int(np.median(rows)), int(np.median(columns))],
        "npix": len(rows),
        "radius": np.float64(1.5 + len(rows)),
        "skew": np.float32(0.25 * len(rows)),
        "overlap": np.array([r == 4 and c == 26 for r, c in zip(rows, columns, strict=True)]),
        **said,
    }


def rois() -> list[dict[str, Any]]:
    return [one(*L), one(*BAR), one(*DOT)]


def traces(seed: int = 1, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 9, (count, SAMPLES)).astype(np.float32)


def arrays() -> dict[str, np.ndarray]:
    return {
        "F": traces(1),
        "Fneu": traces(2),
        "spks": traces(3),
        "iscell": np.array([[1, 0.9], [0, 0.25], [1, 0.75]]),
    }


@pytest.fixture
def plane(tmp_path: Path, write_rois: Write) -> Path:
    """The folder of a plane, inside of a suite2p folder."""
    return write_rois(tmp_path / "session" / "suite2p" / "plane0", rois(), arrays(), **SIZE)


def expected_of(**said: Any) -> roi.NumpySegmentationExtractor:
    """What the files of :func:`rois` and :func:`arrays` contain."""
    masks = roi.RoiMasks.from_pixels(
        (ROWS, COLUMNS), [(*each[:2], np.array(each[2], np.float32)) for each in (L, BAR, DOT)]
    )
    table = arrays()["iscell"]
    given: dict[str, Any] = {
        "traces": {
            name: arrays()[file].T for name, file in (("raw", "F"), ("neuropil", "Fneu"), ("deconvolved", "spks"))
        },
        "properties": {
            "iscell": table[:, 0] == 1,
            "iscell_probability": table[:, 1],
            "npix": np.array([4, 2, 1]),
            "radius": np.array([5.5, 3.5, 2.5]),
            "skew": np.array([1, 0.5, 0.25]),
        },
        "sampling_frequency": 7.5,
    }
    return roi.NumpySegmentationExtractor(masks, **{**given, **said})


class Cases(SegmentationExtractorTests):
    format = "suite2p-segmentation"

    @pytest.fixture
    def expected(self) -> Any:
        return expected_of()


class TestOnePlane(Cases):
    @pytest.fixture
    def recording(self, tmp_path: Path, write_rois: Write) -> Path:
        write_rois(tmp_path / "suite2p" / "plane0", rois(), arrays(), **SIZE)
        return tmp_path / "suite2p"


class TestThePlanesFolder(Cases):
    @pytest.fixture
    def recording(self, tmp_path: Path, write_rois: Write) -> Path:
        return write_rois(tmp_path / "suite2p" / "plane0", rois(), arrays(), **SIZE)


class TestOneOfSeveralPlanesAndChannels(Cases):
    open_options = {"plane": "plane1", "channel": "chan2"}

    @pytest.fixture
    def expected(self) -> Any:
        images = {"mean": np.full((ROWS, COLUMNS), 2.0), "mean_chan1": np.full((ROWS, COLUMNS), 1.0)}
        return expected_of(traces={"raw": traces(11).T, "neuropil": traces(12).T}, images=images)

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"plane": ("plane0", "plane1", "combined"), "channel": ("chan1", "chan2")}

    @pytest.fixture
    def recording(self, tmp_path: Path, write_rois: Write) -> Path:
        other = {"F_chan2": traces(11), "Fneu_chan2": traces(12)}
        means = {"meanImg": np.full((ROWS, COLUMNS), 1.0), "meanImg_chan2": np.full((ROWS, COLUMNS), 2.0)}
        write_rois(
            tmp_path / "plane0", rois()[::-1], {**arrays(), "F_chan2": traces(4), "Fneu_chan2": traces(5)}, **SIZE
        )
        write_rois(tmp_path / "plane1", rois(), {**arrays(), **other}, **SIZE, **means)
        write_rois(tmp_path / "combined", rois()[::-1], arrays(), **SIZE)
        return tmp_path


class TestSuite2pOne(Cases):
    """Version 1.0: db.npy, settings.npy, reg_outputs.npy and detect_outputs.npy in place of ops.npy."""

    @pytest.fixture
    def expected(self) -> Any:
        mean = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
        crop = np.zeros((ROWS, COLUMNS))
        crop[2:10, 1:21] = 1
        images = {"mean": mean, "mean_enhanced": -mean, "correlation": crop, "maximum_projection": crop}
        return expected_of(images=images, sampling_frequency=15.25)

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        write_newer(tmp_path / "suite2p" / "plane0")
        return tmp_path / "suite2p"


class TestLongTracesInFortranOrder(Cases):
    """Of 3 ROIs, as many bytes as the rule about parts of traces needs."""

    @pytest.fixture
    def expected(self) -> Any:
        values = np.random.default_rng(5).normal(size=(90_000, 3))
        return expected_of(traces={"raw": values, "neuropil": values + 1, "deconvolved": values + 2})

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: Any, write_rois: Write) -> Path:
        files = {"F": "raw", "Fneu": "neuropil", "spks": "deconvolved"}
        written = {file: np.asfortranarray(expected.get_traces(name=name).T) for file, name in files.items()}
        return write_rois(tmp_path / "plane0", rois(), {**arrays(), **written}, **{**SIZE, "nframes": 90_000})


def open_rois(path: Path, **options: Any) -> roi.SegmentationExtractor:
    return roi.open(path, kind="segmentation", **options)


@pytest.mark.parametrize(
    "name", [".", "..", "../..", "stat.npy", "ops.npy", "F.npy", "Fneu.npy", "spks.npy", "iscell.npy"]
)
def test_all_that_leads_to_the_rois_opens_them(plane: Path, name: str) -> None:
    with open_rois((plane / name).resolve()) as segmentation:
        assert segmentation.get_frame_shape() == (ROWS, COLUMNS)
        assert segmentation.get_roi_ids() == ["0", "1", "2"]
        assert segmentation.get_num_samples() == SAMPLES
        assert segmentation.get_sampling_frequency() == 7.5
        assert segmentation.get_trace_names() == ("raw", "neuropil", "deconvolved")
        assert segmentation.get_notes() == ()
        mask = segmentation.get_roi_pixel_masks(["0"])[0]
        np.testing.assert_array_equal(mask, np.stack([*L[:2], np.float32(L[2])], axis=1))
        image = segmentation.get_roi_image_masks(["1"])[..., 0]
        assert np.argwhere(image).tolist() == [[11, 0], [11, 1]]


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_traces_in_every_order_of_bytes_and_axes(plane: Path, dtype: str, order: str) -> None:
    stored = np.array(traces(7).astype(dtype), order=order)  # type: ignore[call-overload]
    np.save(plane / "F.npy", stored)
    with open_rois(plane) as segmentation:
        everything = segmentation.get_traces()
        assert everything.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(everything, stored.T)
        np.testing.assert_array_equal(segmentation.get_traces(["2", "0"], 5, 9), stored.T[5:9, [2, 0]])
        np.testing.assert_array_equal(segmentation.get_traces([2], 49, 50), stored.T[49:50, [2]])
        assert segmentation.get_traces([], 0, 4).shape == (4, 0)
        assert segmentation.get_traces(None, 7, 7).shape == (0, 3)


def test_only_the_traces_that_are_asked_for_are_read(tmp_path: Path, write_rois: Write, monkeypatch: Any) -> None:
    from roiextractors_core.io import positioned

    count, samples = 40, 100_000
    stored = np.arange(count * samples, dtype=np.float32).reshape(count, samples)
    everyone = [one([k % ROWS], [k // ROWS], [1]) for k in range(count)]
    classes = np.ones((count, 2))
    plane = write_rois(tmp_path / "plane0", everyone, {"F": stored, "iscell": classes}, Ly=ROWS, Lx=COLUMNS)
    sizes: list[int] = []
    pread = positioned._pread_into

    def noting(descriptor: int, views: Any, offset: int) -> int:
        sizes.append(sum(len(memoryview(view).cast("B")) for view in views))
        return pread(descriptor, views, offset)

    monkeypatch.setattr(positioned, "_pread_into", noting)
    with pytest.warns(IncompleteRecordingWarning, match="'Fneu.npy' and 'spks.npy'"):
        segmentation = open_rois(plane)
    assert sum(sizes) < 200_000
    with segmentation:
        sizes.clear()
        np.testing.assert_array_equal(segmentation.get_traces(["11"])[:, 0], stored[11])
        assert sum(sizes) == samples * 4
        sizes.clear()
        np.testing.assert_array_equal(segmentation.get_traces(None, 500, 510), stored[:, 500:510].T)
        assert sum(sizes) == count * 10 * 4
        np.testing.assert_array_equal(segmentation.get_traces(["3", "1"], 5, 90_000), stored[[3, 1], 5:90_000].T)
        np.testing.assert_array_equal(segmentation.get_traces(["3", "4", "5"]), stored[3:6].T)


def test_all_traces_are_not_copied(plane: Path) -> None:
    with open_rois(plane) as segmentation:
        everything = segmentation.get_traces()
    assert everything.flags.f_contiguous
    assert everything.base is None


def test_properties_have_the_names_of_suite2p(plane: Path) -> None:
    with open_rois(plane) as segmentation:
        assert segmentation.get_property("iscell").tolist() == [True, False, True]
        assert segmentation.get_property("iscell").dtype == bool
        assert segmentation.get_property("iscell_probability").tolist() == [0.9, 0.25, 0.75]
        assert segmentation.get_property("npix").tolist() == [4, 2, 1]
        assert segmentation.get_property("npix").dtype == np.int64
        assert segmentation.get_property("radius", ["2"]).tolist() == [2.5]
        assert segmentation.get_property("skew").tolist() == [1, 0.5, 0.25]
        assert "probability" in segmentation.get_property_info("iscell_probability").description
        assert set(segmentation.get_property_keys()) == {"iscell", "iscell_probability", "npix", "radius", "skew"}
        view = segmentation.select_rois(["2", "0"])
        assert view.get_property("iscell_probability").tolist() == [0.75, 0.9]


def test_keys_of_some_rois_are_properties_of_all(tmp_path: Path, write_rois: Write) -> None:
    """ROIs that were drawn or merged by hand have keys that the others have not."""
    stat = [
        one(*L, manual=1, imerge=[1, 2]),
        one(*BAR, snr=np.float32(0.5), big=1 << 70),
        one(*DOT, flag=np.array([2.5])),
    ]
    plane = write_rois(tmp_path / "plane0", stat, arrays(), **SIZE)
    with open_rois(plane) as segmentation:
        assert segmentation.get_property("manual").tolist() == [True, False, False]
        np.testing.assert_array_equal(segmentation.get_property("snr"), [np.nan, 0.5, np.nan])
        np.testing.assert_array_equal(segmentation.get_property("flag"), [np.nan, np.nan, 2.5])
        assert segmentation.get_property("big")[1] == 2.0**70
        assert not {"imerge", "med", "overlap"} & set(segmentation.get_property_keys())


@pytest.mark.parametrize("table", [np.array([1.0, 0, 1]), np.array([[True], [False], [True]])])
def test_classes_without_probabilities(plane: Path, table: np.ndarray) -> None:
    np.save(plane / "iscell.npy", table)
    np.save(plane / "redcell.npy", np.asfortranarray([[0, 0.5], [1, 0.75], [0.5, 1]]))
    with open_rois(plane) as segmentation:
        assert segmentation.get_property("iscell").tolist() == [True, False, True]
        assert "iscell_probability" not in segmentation.get_property_keys()
        assert segmentation.get_property("redcell").tolist() == [0, 1, 0.5]
        assert segmentation.get_property("redcell_probability").tolist() == [0.5, 0.75, 1]


def test_masks_without_overlap_are_those_that_extract_the_traces(plane: Path) -> None:
    """The expected masks by hand: pixel (4, 26) belongs to two ROIs, and the other weights add up to 0.6."""
    with open_rois(plane, include_overlap=False) as segmentation:
        first, second, third = segmentation.get_roi_pixel_masks()
    np.testing.assert_allclose(first, [[2, 25, 1 / 6], [3, 25, 2 / 6], [4, 25, 3 / 6]], rtol=1e-6)
    np.testing.assert_array_equal(second, [[11, 0, 0.5], [11, 1, 0.5]])
    assert third.shape == (0, 3)


def test_images_are_placed_in_the_frame(tmp_path: Path, write_rois: Write) -> None:
    mean = np.arange(ROWS * COLUMNS, dtype=np.float64).reshape(ROWS, COLUMNS)
    crop = np.arange(1, 7 * 20 + 1, dtype=np.float32).reshape(7, 20)
    said = {
        "yrange": [1, 8],
        "xrange": np.array([4, 24]),
        "meanImg": mean,
        "Vcorr": crop,
        "max_proj": crop + 1,
        "meanImgE": -mean,
    }
    plane = write_rois(tmp_path / "plane0", rois(), arrays(), **SIZE, **said)
    with open_rois(plane) as segmentation:
        assert segmentation.get_image_names() == ("mean", "mean_enhanced", "correlation", "maximum_projection")
        np.testing.assert_array_equal(segmentation.get_image("mean"), mean)
        np.testing.assert_array_equal(segmentation.get_image("mean_enhanced"), -mean)
        image = segmentation.get_image("correlation")
        assert image.shape == (ROWS, COLUMNS)
        np.testing.assert_array_equal(image[1:8, 4:24], crop)
        assert image.sum() == crop.sum()
        np.testing.assert_array_equal(segmentation.get_image("maximum_projection")[1:8, 4:24], crop + 1)
        with pytest.raises(roi.RangeError, match=r"there is no image 'median'"):
            segmentation.get_image("median")


def test_an_image_of_another_size_is_left_out(tmp_path: Path, write_rois: Write) -> None:
    said = {
        "yrange": [0, 5],
        "xrange": [0, 5],
        "meanImg": np.zeros((COLUMNS, ROWS)),
        "Vcorr": np.zeros((4, 5)),
        "max_proj": [],
    }
    plane = write_rois(tmp_path / "plane0", rois(), arrays(), **SIZE, **said)
    with pytest.warns(
        IncompleteRecordingWarning, match=r"image (meanImg|Vcorr) of plane0 is of float64 and .* it was left out"
    ):
        segmentation = open_rois(plane)
    with segmentation:
        assert segmentation.get_image_names() == ()
        assert len(segmentation.get_notes()) == 2


def test_the_second_channel_has_the_same_masks(tmp_path: Path, write_rois: Write) -> None:
    other = {"F_chan2": traces(11), "Fneu_chan2": traces(12), "redcell": np.array([[0, 0.1], [1, 0.7], [0, 0.3]])}
    said = {"nchannels": 2, "meanImg": np.ones((ROWS, COLUMNS)), "meanImg_chan2": np.full((ROWS, COLUMNS), 2.0)}
    plane = write_rois(tmp_path / "plane0", rois(), {**arrays(), **other}, **SIZE, **said)
    assert roi.streams(plane, kind="segmentation") == {"channel": ("chan1", "chan2")}
    with pytest.raises(StreamChoiceError, match=r"has the channels 'chan1' and 'chan2'; choose one"):
        open_rois(plane)
    for segmentation in (open_rois(plane, channel="chan2"), open_rois(plane / "F_chan2.npy")):
        with segmentation:
            assert segmentation.get_trace_names() == ("raw", "neuropil")
            np.testing.assert_array_equal(segmentation.get_traces(name="neuropil"), other["Fneu_chan2"].T)
            assert segmentation.get_image("mean")[0, 0] == 2
            assert segmentation.get_image("mean_chan1")[0, 0] == 1
            assert segmentation.get_property("redcell").tolist() == [False, True, False]
            assert segmentation.metadata.channels[0].name == "chan2"
    for name in ("chan1", "functional"):
        with open_rois(plane, channel=name) as segmentation:
            np.testing.assert_array_equal(segmentation.get_traces(), arrays()["F"].T)
            assert segmentation.get_image("mean_chan2")[0, 0] == 2


def test_planes_are_chosen_by_the_number_in_their_names(tmp_path: Path, write_rois: Write) -> None:
    for name in ("plane1", "plane2", "plane10", "combined"):
        seed = sum(map(ord, name))
        write_rois(tmp_path / "suite2p" / name, rois(), {**arrays(), "F": traces(seed)}, **SIZE)
    (tmp_path / "suite2p" / "plane3").mkdir()  # its ROIs were not detected
    assert roi.streams(tmp_path / "suite2p", kind="segmentation") == {
        "plane": ("plane1", "plane2", "plane10", "combined")
    }
    for plane, name in ((1, "plane1"), ("10", "plane10"), ("plane2", "plane2"), ("combined", "combined")):
        with open_rois(tmp_path / "suite2p", plane=plane) as segmentation:
            np.testing.assert_array_equal(segmentation.get_traces(), traces(sum(map(ord, name))).T)
    for plane in (0, 3, "plane4", -1):
        with pytest.raises(
            StreamChoiceError, match=r"has the planes 'plane1', 'plane2', 'plane10' and 'combined', not"
        ):
            open_rois(tmp_path / "suite2p", plane=plane)


def test_the_combined_folder_of_the_graphical_program_has_no_rois(plane: Path) -> None:
    """It saves classifications there, and nothing else."""
    (plane.parent / "combined").mkdir()
    np.save(plane.parent / "combined" / "iscell.npy", arrays()["iscell"])
    assert roi.streams(plane.parent, kind="segmentation") == {}
    with open_rois(plane.parent) as segmentation:
        assert segmentation.get_num_rois() == 3


def write_newer(folder: Path, *, deconvolved: bool = True) -> Path:
    """Write what suite2p 1.0 writes in place of ops.npy."""
    folder.mkdir(parents=True)
    stat = np.empty(3, object)
    stat[:] = [one(*each, snr=np.float32(0.5), soma_crop=np.ones(len(each[0]), bool)) for each in (L, BAR, DOT)]
    db = {"nplanes": 1, "nchannels": 1, **SIZE, "save_path": PurePosixPath("/data/plane0")}
    settings = {"torch_device": "cuda", "tau": 0.7, "fs": 15.25, "run": {"do_deconvolution": deconvolved}}
    mean = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    registration = {"meanImg": mean, "meanImgE": -mean, "yrange": [2, 10], "xrange": [1, 21], "yoff": np.zeros(SAMPLES)}
    detection = {"Vcorr": np.ones((8, 20)), "max_proj": np.ones((8, 20)), "Vmap": [np.ones((2, 2))]}
    contents = {"db": db, "settings": settings, "reg_outputs": registration, "detect_outputs": detection}
    for name, value in {"stat": stat, **arrays(), **contents}.items():
        np.save(folder / f"{name}.npy", value, allow_pickle=True)  # type: ignore[arg-type]
    return folder


def test_the_layout_of_suite2p_one(tmp_path: Path) -> None:
    plane = write_newer(tmp_path / "suite2p" / "plane0")
    for name in ("db", "settings"):
        (tmp_path / "suite2p" / f"{name}.npy").write_bytes((plane / f"{name}.npy").read_bytes())
    for path in (tmp_path / "suite2p", plane, plane / "stat.npy"):
        with open_rois(path) as segmentation:
            assert segmentation.get_sampling_frequency() == 15.25
            assert segmentation.get_image_names() == ("mean", "mean_enhanced", "correlation", "maximum_projection")
            assert np.argwhere(segmentation.get_image("correlation"))[[0, -1]].tolist() == [[2, 1], [9, 20]]
            assert segmentation.get_image("mean")[1, 2] == COLUMNS + 2
            assert segmentation.get_property("snr").tolist() == [0.5] * 3
            assert segmentation.get_notes() == ()


def test_zeros_in_place_of_deconvolved_traces_are_noted(tmp_path: Path, write_rois: Write) -> None:
    with open_rois(write_newer(tmp_path / "newer" / "plane0", deconvolved=False)) as segmentation:
        assert "deconvolution was not run" in segmentation.get_notes()[0]
    older = write_rois(tmp_path / "older" / "plane0", rois(), arrays(), **SIZE, spikedetect=False)
    with open_rois(older) as segmentation:
        assert "deconvolution was not run" in segmentation.get_notes()[0]


def test_without_rois_there_are_no_traces(tmp_path: Path, write_rois: Write) -> None:
    plane = write_rois(tmp_path / "plane0", [], {}, **SIZE)
    np.save(plane / "stat.npy", np.array([]))  # as suite2p saves an empty list
    with open_rois(plane) as segmentation:
        assert segmentation.get_num_rois() == segmentation.get_num_samples() == 0
        assert segmentation.get_notes() == ()
        assert len(segmentation.get_roi_masks()) == 0


@pytest.mark.parametrize("shape", [(0,), (0, 1), (0, 2)])
def test_without_rois_the_classification_is_empty(tmp_path: Path, write_rois: Write, shape: tuple[int, ...]) -> None:
    plane = write_rois(tmp_path / "plane0", [], {}, **SIZE)
    np.save(plane / "iscell.npy", np.zeros(shape))
    with open_rois(plane) as segmentation:
        assert segmentation.get_property("iscell").shape == (0,)


def test_the_movie_and_the_rois_of_one_folder(plane: Path) -> None:
    movie = np.arange(SAMPLES * ROWS * COLUMNS, dtype=np.int16).reshape(SAMPLES, ROWS, COLUMNS)
    with pytest.raises(roi.SourceError, match=r"does not contain data.bin.*open\(..., kind='segmentation'\)"):
        roi.open(plane.parent)
    (plane / "data.bin").write_bytes(movie.astype("<i2").tobytes())
    with roi.open(plane.parent) as recording:
        np.testing.assert_array_equal(recording.get_series(3, 4)[0], movie[3])
    with open_rois(plane.parent) as segmentation:
        assert segmentation.get_num_rois() == 3
    explained = str(roi.explain(plane.parent))
    assert "as segmentation: suite2p-segmentation" in explained


def test_it_pickles_closes_and_is_read_by_threads(plane: Path) -> None:
    segmentation = open_rois(plane)
    again = pickle.loads(pickle.dumps(segmentation))
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(again.get_roi_image_masks())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(result, segmentation.get_roi_image_masks()) for result in results)
    again.close()
    segmentation.close()
    for call in (segmentation.get_traces, segmentation.get_roi_masks, lambda: segmentation.get_property("npix")):
        with pytest.raises(roi.ClosedRecordingError):
            call()


# Folders that contradict themselves


@pytest.mark.parametrize("name", ["F", "Fneu", "spks"])
def test_missing_traces_are_left_out_with_a_warning(plane: Path, name: str) -> None:
    (plane / f"{name}.npy").unlink()
    with pytest.warns(IncompleteRecordingWarning, match=rf"plane0 contains stat.npy but not '{name}.npy'; reading"):
        segmentation = open_rois(plane)
    with segmentation:
        assert len(segmentation.get_trace_names()) == 2
        assert segmentation.get_num_samples() == SAMPLES
        assert segmentation.get_notes()


def test_a_folder_of_detected_rois_alone_has_masks(plane: Path) -> None:
    for name in ("F", "Fneu", "spks"):
        (plane / f"{name}.npy").unlink()
    with pytest.warns(
        IncompleteRecordingWarning, match=r"not 'F.npy', 'Fneu.npy' and 'spks.npy'; reading only the masks"
    ):
        segmentation = open_rois(plane)
    with segmentation:
        assert segmentation.get_num_samples() == 0
        assert segmentation.get_trace_names() == ()
        assert segmentation.get_roi_masks().num_pixels.tolist() == [4, 2, 1]


def save_rois(path: Path, stat: list[dict[str, Any]]) -> None:
    array = np.empty(len(stat), object)
    array[:] = stat
    np.save(path, array, allow_pickle=True)


def test_missing_rois_and_descriptions_are_named(plane: Path) -> None:
    (plane / "ops.npy").rename(plane / "elsewhere")
    with pytest.raises(
        SourceNotFoundError, match=r"plane0 contains neither ops.npy nor db.npy.* copy the one from the same run"
    ):
        open_rois(plane)
    (plane / "elsewhere").rename(plane / "ops.npy")
    (plane / "stat.npy").unlink()
    for path in (plane, plane / "F.npy"):
        with pytest.raises(SourceNotFoundError, match=r"plane0 contains F.npy but not stat.npy, the ROIs"):
            open_rois(path)
    with pytest.raises(
        SourceKindError, match=r"contains no ROIs by suite2p: neither it nor its folders plane0.* contain stat.npy"
    ):
        open_rois(plane.parent)
    with pytest.raises(SourceKindError, match=r"contains no ROIs by suite2p"):
        open_rois(plane.parent.parent, format="suite2p")


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        (
            "spks",
            traces()[:, :-1],
            r"plane0/spks.npy has 49 samples, but F.npy has 50; the files are of different runs",
        ),
        ("Fneu", traces(count=4), r"plane0/Fneu.npy has traces of 4 ROIs, but plane0/stat.npy contains 3 ROIs"),
        ("F", traces(count=2), r"plane0/F.npy has traces of 2 ROIs, but plane0/stat.npy contains 3 ROIs"),
        ("F", traces().T, r"plane0/F.npy has traces of 50 ROIs"),
        (
            "F",
            traces()[0],
            r"plane0/F.npy is an array of float32 of shape \(50,\); expected numbers of shape \(ROIs, samples\)",
        ),
        ("F", traces().astype(np.complex64), r"plane0/F.npy is an array of complex64"),
        ("spks", np.array(["a"]), r"spks.npy is an array of <U1; a recording must be an array of numbers"),
    ],
)
def test_traces_of_other_lengths_are_refused(plane: Path, name: str, array: np.ndarray, words: str) -> None:
    np.save(plane / f"{name}.npy", array)
    with pytest.raises((CorruptRecordingError, UnsupportedRecordingError), match=words):
        open_rois(plane)


@pytest.mark.parametrize("name", ["F", "spks"])
def test_truncated_traces_are_refused(plane: Path, name: str) -> None:
    path = plane / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        TruncatedRecordingError, match=rf"plane0/{name}.npy is truncated: it has 628 bytes, .* needs 728"
    ):
        open_rois(plane)


@pytest.mark.parametrize("name", ["F", "stat"])
@pytest.mark.parametrize("content", [b"", b"II*\0" + bytes(200), b"\x93NUMPY\x01\x00\x76\x00{'descr'"])
def test_files_that_are_not_arrays_are_refused(plane: Path, name: str, content: bytes) -> None:
    (plane / f"{name}.npy").write_bytes(content)
    with pytest.raises(CorruptRecordingError, match=rf"{name}.npy is"):
        open_rois(plane)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ypix": np.array([2, 3, 4, 12])}, r"ROI 1 in plane0/stat.npy has ypix = 12; the frames have 12 rows"),
        ({"xpix": np.array([0, 30, 4, 5])}, r"ROI 1 in plane0/stat.npy has xpix = 30; the frames have 30 columns"),
        ({"xpix": np.array([0, 1, -1, 5])}, r"ROI 1 in plane0/stat.npy has xpix = -1"),
        ({"xpix": np.array([0, 1, 2, 1 << 63], np.uint64)}, r"ROI 1 in plane0/stat.npy has xpix = 9.2"),
        ({"ypix": np.array([0, 1, 2.5, 3])}, r"ROI 1 in plane0/stat.npy has ypix = 2.5"),
        ({"ypix": np.array([0, np.nan, 2, 3])}, r"ROI 1 in plane0/stat.npy has ypix = nan"),
        (
            {"lam": np.ones(3, np.float32)},
            r"ROI 1 in plane0/stat.npy has 4 values of ypix, 4 values of xpix, 3 values of lam",
        ),
        ({"lam": np.array([1, 2, np.nan, 3])}, r"ROI 1 in plane0/stat.npy has the weight \(lam\) nan"),
        ({"lam": np.array([1, 2, np.inf, 3])}, r"ROI 1 in plane0/stat.npy has the weight \(lam\) inf"),
        ({"lam": None}, r"ROI 1 in plane0/stat.npy has no lam"),
        ({"lam": "heavy"}, r"ROI 1 in plane0/stat.npy has lam that is not an array of numbers"),
        (
            {"xpix": np.array(["a", "b", "c", "d"])},
            r"ROI 1 in plane0/stat.npy has xpix that is not an array of numbers",
        ),
        (
            {"ypix": np.array([2, 2, 4, 4]), "xpix": np.array([1, 1, 1, 2])},
            r"ROI number 1 contains pixel \(2, 1\) twice",
        ),
    ],
)
def test_rois_outside_of_the_frame_and_the_like_are_refused(plane: Path, change: dict[str, Any], words: str) -> None:
    save_rois(plane / "stat.npy", [one(*BAR), one(*L, **{}) | change, one(*DOT)])
    with open_rois(plane) as segmentation:
        np.testing.assert_array_equal(segmentation.get_traces(), arrays()["F"].T)  # the ROIs are not needed for these
        with pytest.raises((CorruptRecordingError, UnsupportedRecordingError), match=words):
            segmentation.get_roi_masks()


def test_the_first_roi_has_its_own_frame_not_the_one_of_the_next_line(plane: Path) -> None:
    """Columns beyond a line would be pixels of the next line if only the flat index was checked."""
    save_rois(plane / "stat.npy", [one([0], [COLUMNS + 3], [1]), one(*BAR), one(*DOT)])
    with open_rois(plane) as segmentation, pytest.raises(CorruptRecordingError, match=r"ROI 0 .* xpix = 33"):
        segmentation.get_roi_masks()


@pytest.mark.parametrize("overlap", [None, np.ones(3, bool)])
def test_masks_without_overlap_need_the_overlap(plane: Path, overlap: Any) -> None:
    save_rois(plane / "stat.npy", [one(*BAR), one(*L) | {"overlap": overlap}, one(*DOT)])
    with open_rois(plane, include_overlap=False) as segmentation:
        with pytest.raises(
            (CorruptRecordingError, UnsupportedRecordingError), match=r"ROI 1 in plane0/stat.npy has .* overlap"
        ):
            segmentation.get_roi_masks()
    with open_rois(plane) as segmentation:
        assert len(segmentation.get_roi_masks()) == 3


def test_a_list_of_something_else_is_refused(plane: Path) -> None:
    save_rois(plane / "stat.npy", [one(*BAR), [1, 2], one(*DOT)])  # type: ignore[list-item]
    with (
        open_rois(plane) as segmentation,
        pytest.raises(CorruptRecordingError, match=r"ROI 1 in plane0/stat.npy is not a dict"),
    ):
        segmentation.get_roi_masks()
    np.save(plane / "stat.npy", np.zeros((3, 4)))
    with pytest.raises(
        CorruptRecordingError, match=r"stat.npy has an array of float64 of shape \(3, 4\); expected a list"
    ):
        open_rois(plane)


class Runs:
    """Runs something when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("name", ["stat", "ops", "F", "iscell", "detect_outputs"])
def test_nothing_in_the_folder_is_run(plane: Path, name: str) -> None:
    marker = plane.parent / "ran"
    hostile: Any = {"Ly": ROWS, "Lx": COLUMNS, "Vcorr": Runs(marker)}
    array = np.array([one(*L, x=Runs(marker))] * 3, object) if name == "stat" else np.array(hostile, object)
    np.save(plane / f"{name}.npy", array, allow_pickle=True)
    if name in ("ops", "F"):
        with pytest.raises(UnsupportedRecordingError, match=r"it was not imported|unpickling them could run code"):
            open_rois(plane)
    elif name == "stat":
        with open_rois(plane) as segmentation, pytest.raises(UnsupportedRecordingError, match=r"it was not imported"):
            segmentation.get_roi_masks()
    else:
        with pytest.warns(IncompleteRecordingWarning, match=rf"plane0/{name}.npy was not used"):
            open_rois(plane).close()
    assert not marker.exists()


@pytest.mark.parametrize("table", [np.ones((4, 2)), np.ones((3, 5)), np.ones(3, np.complex64)])
def test_classes_of_other_rois_are_left_out(plane: Path, table: np.ndarray) -> None:
    np.save(plane / "iscell.npy", table)
    with pytest.warns(IncompleteRecordingWarning, match=r"plane0/iscell.npy is an array of .*; it was left out"):
        segmentation = open_rois(plane)
    with segmentation:
        assert "iscell" not in segmentation.get_property_keys()


def test_another_number_of_frames_is_a_warning(tmp_path: Path, write_rois: Write) -> None:
    said = {**SIZE, "nframes": 60}
    plane = write_rois(tmp_path / "plane0", rois(), arrays(), **said)
    with pytest.warns(
        RoiExtractorsWarning, match=r"traces in plane0 have 50 samples, but plane0/ops.npy says 60 frames"
    ):
        segmentation = open_rois(plane)
    segmentation.close()
    combined = write_rois(tmp_path / "combined", rois(), arrays(), **said)  # described by one of its planes
    with open_rois(combined) as mosaic:
        assert mosaic.get_notes() == ()


def test_rois_that_are_replaced_after_opening_are_noticed(plane: Path) -> None:
    with open_rois(plane) as segmentation:
        save_rois(plane / "stat.npy", rois()[:2])
        with pytest.raises(CorruptRecordingError, match=r"contains 2 ROIs, but its header said 3"):
            segmentation.get_roi_masks()


@pytest.mark.parametrize("name", ["iscell.npy", "settings.npy", "reg_outputs.npy", "detect_outputs.npy"])
def test_files_that_suite2p_always_writes_are_missed(tmp_path: Path, name: str) -> None:
    plane = write_newer(tmp_path / "plane0")
    (plane / name).unlink()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        segmentation = open_rois(plane)
    expected = f"plane0 contains stat.npy but not '{name}'; reading without the"
    assert sum(expected in str(warning.message) for warning in caught) == 1
    with segmentation:
        assert sum(expected in note for note in segmentation.get_notes()) == 1
        assert len(segmentation.get_roi_masks()) == 3


def test_numbers_that_no_file_can_contain_are_refused(plane: Path) -> None:
    content = (plane / "stat.npy").read_bytes()
    (plane / "stat.npy").write_bytes(content.replace(b"(3,), }" + b" " * 15, b"(3000000000000000,), }"))
    assert (plane / "stat.npy").stat().st_size == len(content)
    with pytest.raises(
        CorruptRecordingError, match=r"says 3,000,000,000,000,000 ROIs, more than its .* bytes can contain"
    ):
        open_rois(plane)


def test_frames_that_no_memory_can_contain_are_not_allocated(tmp_path: Path, write_rois: Write) -> None:
    said = {
        "Ly": 1 << 20,
        "Lx": 1 << 20,
        "nframes": SAMPLES,
        "yrange": [0, 2],
        "xrange": [0, 2],
        "Vcorr": np.ones((2, 2)),
    }
    plane = write_rois(tmp_path / "plane0", rois(), arrays(), **said)
    with pytest.warns(IncompleteRecordingWarning, match=r"image Vcorr of plane0 was left out"):
        segmentation = open_rois(plane)
    with segmentation:
        assert segmentation.get_image_names() == ()
        assert segmentation.get_roi_pixel_masks()[2].tolist() == [[4, 26, 1]]


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["stat", "F", "iscell", "ops", "detect_outputs"])
def test_random_damage_ends_in_one_of_our_errors(tmp_path: Path, name: str, write_rois: Write) -> None:
    is_newer = name == "detect_outputs"
    plane = write_newer(tmp_path / "a") if is_newer else write_rois(tmp_path / "a", rois(), arrays(), **SIZE)
    content, rng = (plane / f"{name}.npy").read_bytes(), random.Random(name)
    sound = 0
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(min(len(damaged), 2000))
            kind = rng.randrange(4)
            if kind == 0:
                damaged[at] = rng.randrange(256)
            elif kind == 1:
                del damaged[at : at + rng.randrange(1, 40)]
            elif kind == 2:
                damaged[at:at] = rng.randbytes(rng.randrange(1, 9))
            else:
                damaged[at] ^= 1 << rng.randrange(8)
        (plane / f"{name}.npy").write_bytes(bytes(damaged))
        sound += is_read(plane)
        roi.explain(plane)
    # Classifications and images are left out where they are damaged
    assert sound == 400 if name in ("iscell", "detect_outputs") else 0 < sound < 400


def is_read(plane: Path) -> bool:
    """Read everything; return whether it came without one of this library's errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RoiExtractorsWarning)
        try:
            with open_rois(plane, format="suite2p") as segmentation:
                segmentation.get_traces_dict()
                segmentation.get_images_dict()
                segmentation.get_roi_masks()
                segmentation.metadata.to_dict()
                for key in segmentation.get_property_keys():
                    assert len(segmentation.get_property(key)) == segmentation.get_num_rois()
        except RoiExtractorsError:
            return False
    return True
