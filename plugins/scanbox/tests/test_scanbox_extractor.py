"""Every rule of the core on the layouts that there are, and what is particular to Scanbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    IncompleteRecordingWarning,
    RoiExtractorsWarning,
    SourceKindError,
    SourceNotFoundError,
    StreamChoiceError,
    TruncatedRecordingError,
    UnknownFormatError,
    UnsupportedRecordingError,
)
from roiextractors_core.testing import ImagingExtractorTests

Write = Callable[..., Path]
Info = Callable[..., dict[str, Any]]
ROWS, COLUMNS = 24, 40


def noise(count: int, rows: int = ROWS, columns: int = COLUMNS, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 65536, (count, rows, columns, channels)).astype(np.uint16)


@pytest.fixture
def write(tmp_path: Path, write_mat: Write, write_sbx: Write) -> Write:
    """Write both files and return the .sbx."""

    def written(info: dict[str, Any], frames: np.ndarray, name: str = "xx0_000_001", cut: int = 0) -> Path:
        write_mat(tmp_path / f"{name}.mat", info=info)
        return write_sbx(tmp_path / f"{name}.sbx", frames, cut=cut)

    return written


class TestOnePmt(ImagingExtractorTests):
    format = "scanbox"
    counts_samples = False  # the header says nothing of how many there are

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return noise(9)[..., 0]

    @pytest.fixture
    def recording(self, write: Write, version_2: Info, expected: np.ndarray) -> Path:
        return write(version_2(ROWS, COLUMNS), expected[..., None])

    @pytest.fixture
    def large_recording(self, write: Write, version_2: Info) -> Path:
        return write(version_2(96, 128), noise(100, 96, 128), "large")

    @pytest.fixture
    def expected_rate(self) -> float:
        return 7916 / ROWS

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestTheSecondOfTwoPmts(ImagingExtractorTests):
    format = "scanbox"
    counts_samples = False  # the header says nothing of how many there are
    open_options = {"channel": "PMT1"}

    @pytest.fixture
    def both(self) -> np.ndarray:
        return noise(8, channels=2)

    @pytest.fixture
    def expected(self, both: np.ndarray) -> np.ndarray:
        return both[..., 1]

    @pytest.fixture
    def recording(self, write: Write, version_2: Info, both: np.ndarray) -> Path:
        return write(version_2(ROWS, COLUMNS, channels=1.0), both)

    @pytest.fixture
    def large_recording(self, write: Write, version_2: Info) -> Path:
        return write(version_2(96, 128, channels=1.0), noise(100, 96, 128, 2), "large")

    @pytest.fixture
    def expected_rate(self) -> float:
        return 7916 / ROWS

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("PMT0", "PMT1")}


class TestVolumesOfVersion3OpenedByTheInfo(ImagingExtractorTests):
    format = "scanbox"
    counts_samples = False  # the header says nothing of how many there are

    @pytest.fixture
    def frames(self) -> np.ndarray:
        return noise(20)

    @pytest.fixture
    def expected(self, frames: np.ndarray) -> np.ndarray:
        return np.stack([frames[plane::4, ..., 0] for plane in range(4)], axis=3)

    @pytest.fixture
    def recording(self, write: Write, version_3: Info, frames: np.ndarray) -> Path:
        table = [[float(91 - k), 853.0, 40.0, 0.0, 1.0] for k in range(4)]
        info = version_3(ROWS, COLUMNS, volscan=1.0, etl_table=table, otparam=np.array([[0.0, 0.0, 4.0]]))
        return write(info, frames).with_suffix(".mat")

    @pytest.fixture
    def expected_rate(self) -> float:
        return 8000 / ROWS / 4

    @pytest.fixture
    def expected_times(self) -> None:
        return None


class TestVolumesOfTwoChannels(ImagingExtractorTests):
    format = "scanbox"
    counts_samples = False  # the header says nothing of how many there are
    open_options = {"channel": "GCaMP6s"}

    @pytest.fixture
    def frames(self) -> np.ndarray:
        return noise(15, channels=2)

    @pytest.fixture
    def expected(self, frames: np.ndarray) -> np.ndarray:
        return np.moveaxis(frames[..., 0].reshape(5, 3, ROWS, COLUMNS), 1, 3)

    @pytest.fixture
    def recording(self, write: Write, version_3: Info, frames: np.ndarray) -> Path:
        chan = {
            "nchan": 2.0,
            "save": np.array([[1, 0, 1, 0]], "u1"),
            "names": [["GCaMP6s", "tdTomato", "Texas Red", ""]],
        }
        bidirectional = {"scanmode": 0.0, "recordsPerBuffer": ROWS / 2}
        return write(
            version_3(ROWS, COLUMNS, volscan=1.0, etl_table=[[1.0], [2.0], [3.0]], chan=chan, **bidirectional), frames
        )

    @pytest.fixture
    def expected_rate(self) -> float:
        return 2 * 8000 / ROWS / 3

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("GCaMP6s", "Texas Red")}


@pytest.mark.parametrize(
    ("code", "channel", "place"),
    [
        (1.0, "PMT0", 0),
        (1.0, "pmt1", 1),
        (1.0, 0, 0),
        (1.0, 1, 1),
        (1.0, "green", 0),
        (1.0, "red", 1),
        (2.0, None, 0),
        (2.0, 0, 0),
        (3.0, None, 0),
        (3.0, 1, 0),
        (3.0, "PMT1", 0),
    ],
)
def test_a_channel_is_chosen_by_name_number_or_colour(
    write: Write, version_2: Info, code: float, channel: Any, place: int
) -> None:
    frames = noise(3, channels=2 if code == 1 else 1)
    with roi.open(write(version_2(ROWS, COLUMNS, channels=code), frames), channel=channel) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames[..., place])
        name = {2.0: "PMT0", 3.0: "PMT1"}.get(code, f"PMT{place}")
        assert [found.name for found in recording.metadata.channels] == [name]


@pytest.mark.parametrize(("code", "channel"), [(1.0, 2), (1.0, "blue"), (2.0, 1), (3.0, "green"), (1.0, True)])
def test_a_channel_that_is_not_there_is_refused_with_those_that_are(
    write: Write, version_2: Info, code: float, channel: Any
) -> None:
    path = write(version_2(ROWS, COLUMNS, channels=code), noise(3, channels=2 if code == 1 else 1))
    with pytest.raises(StreamChoiceError, match=rf"has the channels? 'PMT\d'.*, not {channel!r}; choose one"):
        roi.open(path, channel=channel)


def test_either_file_and_both_of_them_open_the_recording(write: Write, version_2: Info) -> None:
    frames = noise(3)
    path = write(version_2(ROWS, COLUMNS), frames)
    for given in (path, path.with_suffix(".mat"), [path, path.with_suffix(".mat")], [path.with_suffix(".mat"), path]):
        with roi.open(given) as recording:
            np.testing.assert_array_equal(recording.get_series(), frames[..., 0])


def test_the_other_file_is_found_whatever_the_case_of_its_suffix(write: Write, version_2: Info) -> None:
    path = write(version_2(ROWS, COLUMNS), noise(3))
    path.rename(path.with_suffix(".SBX"))
    path.with_suffix(".mat").rename(path.with_suffix(".MAT"))
    for suffix in (".SBX", ".MAT"):
        with roi.open(path.with_suffix(suffix)) as recording:
            assert len(recording) == 3


def test_pixels_without_info_and_info_without_pixels_name_the_file_that_is_missing(
    write: Write, version_2: Info
) -> None:
    path = write(version_2(ROWS, COLUMNS), noise(3))
    known = path.with_suffix(".mat").read_bytes()
    path.with_suffix(".mat").unlink()
    words = r"xx0_000_001\.sbx contains only pixels, but xx0_000_001\.mat, which gives their shape and rate, is missing"
    with pytest.raises(SourceNotFoundError, match=words):
        roi.open(path, format="scanbox")
    with pytest.raises(UnknownFormatError, match=f"Its suffix is that of Scanbox, whose plugin says: {words}"):
        roi.open(path)
    path.unlink()
    path.with_suffix(".mat").write_bytes(known)
    with pytest.raises(
        SourceNotFoundError, match=r"\.mat describes a Scanbox recording, but xx0_000_001\.sbx, which contains its"
    ):
        roi.open(path.with_suffix(".mat"))


def test_files_of_two_recordings_are_not_one(write: Write, version_2: Info) -> None:
    paths = [write(version_2(ROWS, COLUMNS), noise(3), name) for name in ("a", "b")]
    with pytest.raises(SourceKindError, match=r"got 2 files, but a Scanbox recording is one \.sbx file and its \.mat"):
        roi.open(paths, format="scanbox")


def test_what_is_left_of_a_cut_recording_is_read(write: Write, version_2: Info) -> None:
    frames = noise(5)
    path = write(version_2(ROWS, COLUMNS, max_idx=4.0), frames, cut=100)
    with pytest.warns(IncompleteRecordingWarning) as caught:
        recording = roi.open(path)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), frames[:4, ..., 0])
        assert recording.get_notes() == (
            "the file ends inside frame 4 (after 1,820 of 1,920 bytes), which is skipped",
            "the info says 5 frames (max_idx), but the file contains 4 complete ones",
        )
    assert [str(w.message) for w in caught] == [f"xx0_000_001.sbx: {note}" for note in recording.get_notes()]


def test_more_frames_than_the_info_says_are_read_and_noted(write: Write, version_2: Info) -> None:
    with roi.open(write(version_2(ROWS, COLUMNS, max_idx=2.0), noise(5))) as recording:
        assert len(recording) == 5
        assert recording.get_notes() == (
            "the info says 3 frames (max_idx), but the file contains 5; reading all of them",
        )


def test_a_second_channel_that_the_info_does_not_know_is_suspected_and_read_by_option(
    write: Write, version_2: Info
) -> None:
    both = noise(6, channels=2)
    path = write(version_2(ROWS, COLUMNS, channels=2.0, max_idx=5.0), both)
    words = r"the info says 6 frames \(max_idx\), but the file contains 12, exactly 2 times as many, .*num_channels=2"
    with pytest.warns(RoiExtractorsWarning, match=words) as caught:
        recording = roi.open(path)
    with recording:
        assert str(caught[0].message) == f"xx0_000_001.sbx: {recording.get_notes()[0]}"
    assert roi.streams(path, num_channels=2) == {"channel": ("PMT0", "PMT1")}
    for number in (0, 1):
        with roi.open(path, num_channels=2, channel=number) as recording:
            np.testing.assert_array_equal(recording.get_series(), both[..., number])
            assert recording.get_notes() == ()


def test_the_names_of_channels_are_kept_where_their_number_is_given(write: Write, version_3: Info) -> None:
    chan = {**version_3(ROWS, COLUMNS)["chan"]}
    path = write(version_3(ROWS, COLUMNS, chan=chan), noise(6))
    with roi.open(path) as recording, roi.open(path, num_channels=1) as again:
        assert again.metadata.channels == recording.metadata.channels


@pytest.mark.parametrize("size", [[ROWS + 0.5, COLUMNS], [ROWS, COLUMNS + 0.5]])
def test_a_size_that_is_not_whole_is_refused(write: Write, version_2: Info, size: list[float]) -> None:
    path = write(version_2(ROWS, COLUMNS, sz=np.array(size)), noise(6, channels=2))
    with pytest.raises(roi.CorruptRecordingError, match=r"sz = .* expected rows and columns"):
        roi.open(path, channel=0)


def test_a_channel_that_was_not_saved_is_suspected_and_left_out_by_option(write: Write, version_2: Info) -> None:
    frames = noise(6)
    path = write(version_2(ROWS, COLUMNS, channels=1.0, max_idx=5.0), frames)
    words = r"says 6 frames \(max_idx\), but the file contains 3 complete ones; it is exactly 1/2, .*num_channels=1"
    with pytest.warns(IncompleteRecordingWarning, match=words):
        recording = roi.open(path, channel=0)
    with recording:
        assert recording.get_missing_samples().tolist() == [3, 4, 5]
    with roi.open(path, num_channels=1) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames[..., 0])
        assert len(recording.get_missing_samples()) == 0


@pytest.mark.parametrize(
    ("changes", "category", "words"),
    [
        ({"max_idx": 1.0}, RoiExtractorsWarning, "exactly 3 times as many, so the .mat is of another recording"),
        ({"max_idx": 59.0}, IncompleteRecordingWarning, "exactly 1/10, so the .mat is of another recording"),
        (
            {"sz": np.array([[ROWS, 2 * COLUMNS]]), "max_idx": 5.0},
            IncompleteRecordingWarning,
            r"or says a wrong size \(sz\)",
        ),
        ({"config": {"frames": 3.0, "lines": float(ROWS)}}, RoiExtractorsWarning, r"says 3 frames \(config.frames\)"),
    ],
)
def test_an_info_of_another_recording_is_suspected_by_an_exact_factor(
    write: Write, version_2: Info, changes: dict[str, Any], category: type[Warning], words: str
) -> None:
    path = write(version_2(ROWS, COLUMNS, **changes), noise(6))
    with pytest.warns(category, match=words):
        roi.open(path).close()


def test_both_files_and_what_the_info_says_of_the_microscope_are_named(write: Write, version_2: Info) -> None:
    path = write(version_2(ROWS, COLUMNS, objective="Nikon 16x/0.8w/WD3.0"), noise(3))
    with roi.open(path) as recording:
        assert {Path(p).name for p in recording.get_paths()} == {"xx0_000_001.sbx", "xx0_000_001.mat"}
        metadata = recording.metadata
        assert (metadata.modality, metadata.zoom) == ("two-photon", 1.2)
        assert metadata.objective == roi.ObjectiveMetadata("Nikon 16x/0.8w/WD3.0", 16.0, 0.8)
    with roi.open(path, num_channels=1) as recording, pytest.raises(ChoiceError, match="num_channels must be 1 or 2"):
        roi.open(path, num_channels=3)


def test_an_incomplete_volume_is_left_out_and_its_frames_are_there_without_volumes(
    write: Write, version_2: Info
) -> None:
    frames = noise(8)
    path = write(version_2(ROWS, COLUMNS, volscan=1.0, otwave=np.array([[5.0, 6.0, 7.0]])), frames)
    with pytest.warns(IncompleteRecordingWarning, match="the last volume has 2 of 3 planes and is skipped"):
        volumes = roi.open(path)
    with volumes, roi.open(path, deinterleave=False) as flat:
        assert volumes.shape == (2, ROWS, COLUMNS, 3)
        assert flat.shape == (8, ROWS, COLUMNS)
        assert flat.get_sampling_frequency() == 7916 / ROWS
        assert volumes.get_sampling_frequency() == 7916 / ROWS / 3
        np.testing.assert_array_equal(flat.get_series(), frames[..., 0])


def test_a_file_without_one_whole_frame_or_volume_says_what_it_needs(write: Write, version_2: Info) -> None:
    words = r"has 1,919 bytes, but one frame of 24 x 40 pixels needs 1,920: the file is truncated"
    with pytest.raises(TruncatedRecordingError, match=words):
        roi.open(write(version_2(ROWS, COLUMNS), noise(1), cut=1))
    words = r"one volume of 3 planes \(deinterleave=False reads frames\) of 24 x 40 pixels needs 5,760"
    with pytest.raises(TruncatedRecordingError, match=words):
        roi.open(write(version_2(ROWS, COLUMNS, volscan=1.0, otlevels=3.0), noise(2)))


@pytest.mark.parametrize(
    ("changes", "planes", "note"),
    [
        ({"volscan": 1.0, "otwave": np.array([[1.0, 2.0, 3.0]])}, 3, ""),
        ({"volscan": 1.0, "otwave": np.array([[1.0], [2.0]]), "otparam": np.array([[0.0, 900.0, 2.0]])}, 2, ""),
        ({"volscan": 1.0, "otparam": np.array([[0.0, 900.0, 3.0]])}, 3, ""),
        ({"volscan": 1.0, "otlevels": 2.0}, 2, ""),
        ({"volscan": 1.0, "etl_table": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}, 3, ""),
        ({"volscan": 1.0, "etl_table": [[1.0, 2.0, 3.0]]}, 1, ""),
        ({"volscan": 0.0, "otwave": np.array([[1.0, 2.0, 3.0]])}, 1, ""),
        ({"volscan": np.empty((0, 0)), "otwave": np.array([[1.0, 2.0, 3.0]])}, 3, ""),
        ({"volscan": 1.0}, 1, "the info says that the optotune moved, but not the number of planes; reading one plane"),
        (
            {"volscan": 1.0, "otwave": np.array([[1.0, 2.0, 3.0]]), "otparam": np.array([[0.0, 900.0, 2.0]])},
            3,
            "the info is inconsistent about the planes of a volume (otwave 3, otparam 2); using 3",
        ),
    ],
)
def test_the_planes_are_the_period_of_the_optotune(
    write: Write, version_2: Info, changes: Any, planes: int, note: str
) -> None:
    with roi.open(write(version_2(ROWS, COLUMNS, **changes), noise(6))) as recording:
        assert recording.get_num_planes() == planes
        assert recording.is_volumetric == (planes > 1)
        assert len(recording) == 6 // planes
        assert recording.get_notes() == ((note,) if note else ())


@pytest.mark.parametrize(
    ("version", "buffer", "image", "lines", "mode", "rows", "rate"),
    [
        (2, 24, 24, 24, 1, 24, 7916 / 24),
        (2, 12, 24, 24, 0, 24, 2 * 7916 / 24),
        (2, 24, 512, 24, 1, 24, 7916 / 24),  # sz at its usual value
        (2, 24, 24, 24, 0, 24, 2 * 7916 / 24),  # a buffer that was counted twice already
        (2, 24, 512, 0, 1, 24, 7916 / 24),
        (3, 512, 24, 0, 1, 24, 7916 / 24),
        (3, 12, 24, 24, 0, 24, 2 * 7916 / 24),
    ],
)
def test_the_lines_of_a_frame_are_those_that_two_fields_tell(
    write: Write, version_2: Info, version: int, buffer: int, image: int, lines: int, mode: int, rows: int, rate: float
) -> None:
    info = version_2(
        ROWS, COLUMNS, scanbox_version=float(version), scanmode=float(mode), recordsPerBuffer=float(buffer)
    )
    info |= {"sz": np.array([[image, COLUMNS]], "u2"), "config": info["config"] | {"lines": float(lines)}}
    frames = noise(4, rows)
    with roi.open(write(info, frames)) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames[..., 0])
        assert recording.get_sampling_frequency() == rate
        agree = len({buffer * (2 if mode == 0 else 1), image, lines or image}) == 1
        assert (recording.get_notes() == ()) == agree


def test_folded_frames_are_frames_of_their_own(write: Write, version_3: Info) -> None:
    frames = noise(4)
    with roi.open(write(version_3(ROWS, COLUMNS, fold_lines=6.0), frames)) as recording:
        np.testing.assert_array_equal(recording.get_series(), frames[..., 0].reshape(16, 6, COLUMNS))
        assert recording.get_sampling_frequency() == 8000 / 6


@pytest.mark.parametrize("frequency", [0.0, -1.0, np.nan, np.inf, np.empty((0, 0)), "fast"])
def test_a_mirror_of_unknown_frequency_is_an_unknown_rate(write: Write, version_2: Info, frequency: Any) -> None:
    with roi.open(write(version_2(ROWS, COLUMNS, resfreq=frequency), noise(3))) as recording:
        assert recording.get_sampling_frequency() is None


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        (
            {"scanbox_version": 4.0},
            UnsupportedRecordingError,
            "is of Scanbox version 4; versions 2 and 3",
        ),
        ({"channels": 7.0}, CorruptRecordingError, r"says channels = 7, expected 1 \(both PMTs\), 2 \(PMT 0\) or 3"),
        ({"channels": np.empty((0, 0))}, CorruptRecordingError, "says channels = nothing, expected 1"),
        (
            {"recordsPerBuffer": 24.5},
            CorruptRecordingError,
            r"says recordsPerBuffer = 24\.5, expected an integer from 1",
        ),
        ({"recordsPerBuffer": 1e30}, CorruptRecordingError, r"says recordsPerBuffer = 1e\+30"),
        (
            {"sz": np.array([[24.0, 0.0]])},
            CorruptRecordingError,
            r"says sz = \[24\.0, 0\.0\], expected rows and columns",
        ),
        ({"sz": np.array([[24.0, np.nan]])}, CorruptRecordingError, r"says sz = \[24\.0, nan\]"),
        ({"fold_lines": 7.0}, CorruptRecordingError, "says fold_lines = 7, which does not divide a frame of 24 lines"),
        ({"chan": {"nchan": 9.0}}, CorruptRecordingError, r"says chan\.nchan = 9, expected an integer from 1 to 4"),
    ],
)
def test_an_info_that_cannot_be_is_named(
    write: Write, version_2: Info, changes: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        roi.open(write(version_2(ROWS, COLUMNS, **changes), noise(3)))


def test_version_1_is_refused_where_the_bytes_are_the_digitizers(write: Write, version_2: Info) -> None:
    info = version_2(ROWS, COLUMNS, postTriggerSamples=160.0)
    del info["scanbox_version"]
    with pytest.raises(
        UnsupportedRecordingError, match=r"written by Scanbox 1, which stored every sample of the digitizer"
    ):
        roi.open(write(info, noise(3, columns=160)))
    with roi.open(write(info, noise(3))) as recording:
        assert recording.shape == (3, ROWS, COLUMNS)


def test_metadata_is_the_info_and_what_follows_from_it(write: Write, version_2: Info, version_3: Info) -> None:
    changes = {"volscan": 1.0, "otwave": np.array([[1.0, 2.0]]), "otwave_um": np.array([[0.0, 35.5]])}
    with roi.open(write(version_2(ROWS, COLUMNS, **changes), noise(4))) as recording:
        found = recording.metadata
    assert found.pixel_size == (1.3, 1.2)
    assert found.plane_positions == (0.0, 35.5)
    assert found.device == found.software == "Scanbox 2"
    assert [(c.name, c.excitation_wavelength) for c in found.channels] == [("PMT0", 920.0)]
    assert found.vendor["frame"] == [3, 5, 70000]
    assert found.vendor["line"] == [480, 185, 7]
    assert found.vendor["event_id"] == [1, 2, 1]
    assert found.vendor["objective"] == "Nikon 16x/0.8w/WD3.0"
    assert found.vendor["config"]["magnification_list"] == ["1.0", "1.2"]
    assert json.loads(json.dumps(found.to_dict()))["vendor"]["frame"] == [3, 5, 70000]
    with roi.open(write(version_3(ROWS, COLUMNS), noise(4))) as recording:
        assert recording.metadata.pixel_size == (1.14, 1.08)
        assert recording.metadata.plane_positions == ()
        assert recording.metadata.vendor["calibration"] == {"fx": None, "fy": None}


@pytest.mark.parametrize(
    "changes", [{"calibration": []}, {"calibration": [{"x": 0.0, "y": 1.0}] * 2}, {"dxcal": np.nan, "dycal": 1.0}]
)
def test_a_pixel_size_that_is_not_told_is_none(write: Write, version_2: Info, changes: Any) -> None:
    with roi.open(write(version_2(ROWS, COLUMNS, **changes), noise(3))) as recording:
        assert recording.metadata.pixel_size is None


def test_channel_names_that_tell_nothing_apart_become_pmts(write: Write, version_3: Info) -> None:
    for names in ([["a", "a"]], [], [["", "b"]]):
        chan = {"nchan": 2.0, "save": np.array([[1, 1, 0, 0]], "u1"), "names": names}
        path = write(version_3(ROWS, COLUMNS, chan=chan), noise(3, channels=2))
        assert roi.streams(path) == {"channel": ("PMT0", "b" if names == [["", "b"]] else "PMT1")}


def cells(count: int, channels: int, rows: int = 64, columns: int = 96, jitter: int = 0) -> np.ndarray:
    """Frames with cells, a background of their own for each channel, and noise; odd lines are shifted by ``jitter``."""
    rng = np.random.default_rng(columns)
    y, x = np.mgrid[:rows, :columns]
    frames = np.empty((count, rows, columns, channels))
    for channel in range(channels):
        still = np.full((rows, columns), 3000.0 + 9000 * channel)
        for _ in range(12):
            centre = rng.uniform(0, rows), rng.uniform(0, columns)
            still += 12000 * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 18)
        still[1::2] = np.roll(still[1::2], jitter, axis=1)
        frames[..., channel] = still + rng.normal(0, 1200, (count, rows, columns))
    return np.clip(frames, 0, 65000).astype(np.uint16)


@pytest.mark.parametrize("levels", [False, True])
def test_without_a_number_of_frames_the_values_show_a_wrong_number_of_channels(
    write: Write, version_2: Info, levels: bool
) -> None:
    def frames(channels: int) -> np.ndarray:
        if not levels:
            return cells(8, channels)
        return (10 * np.arange(8)[:, None, None, None] + np.zeros((64, 96, 1)) + np.arange(channels)).astype(np.uint16)

    both = write(version_2(64, 96, channels=2.0), frames(2), "both")
    with pytest.warns(RoiExtractorsWarning, match=r"says 1 channel, but .*num_channels=2") as caught:
        recording = roi.open(both)
    with recording:
        assert [str(w.message) for w in caught] == [f"both.sbx: {note}" for note in recording.get_notes()]
    one = write(version_2(64, 96, channels=1.0), frames(1), "one")
    with pytest.warns(RoiExtractorsWarning, match=r"says 2 channels, but .*num_channels=1"):
        roi.open(one, channel=0).close()
    for path, count in ((both, 2), (one, 1)):
        with roi.open(path, num_channels=count, channel=0) as recording:
            assert recording.get_notes() == ()
            np.testing.assert_array_equal(recording.get_series(), frames(count)[..., 0])


@pytest.mark.parametrize("jitter", [0, 5])
def test_a_right_number_of_channels_is_not_suspected(write: Write, version_2: Info, jitter: int) -> None:
    alike = np.repeat(cells(8, 1, jitter=jitter), 2, axis=3)
    alike[..., 1] //= 3  # bleed-through alone
    for number, frames in enumerate((cells(8, 1, jitter=jitter), cells(8, 2, jitter=jitter), alike)):
        info = version_2(64, 96, channels=2.0 if frames.shape[-1] == 1 else 1.0)
        with roi.open(write(info, frames, f"right{number}"), channel=0) as recording:
            assert recording.get_notes() == ()


def test_half_of_the_planned_frames_is_suspected_unless_the_user_ended_it(write: Write, version_2: Info) -> None:
    config = {"frames": 12.0, "lines": float(ROWS)}
    path = write(version_2(ROWS, COLUMNS, channels=1.0, config=config), noise(12))
    with pytest.warns(IncompleteRecordingWarning, match=r"12 frames were planned .*num_channels=1"):
        roi.open(path, channel=0).close()
    aborted = write(version_2(ROWS, COLUMNS, channels=1.0, config=config, abort_bit=1.0), noise(12), "aborted")
    with roi.open(aborted, channel=0) as recording:
        assert recording.get_notes() == ()


def test_frames_of_zeros_at_the_end_were_never_written(write: Write, version_2: Info) -> None:
    frames = noise(7)
    path = write(version_2(ROWS, COLUMNS), frames)
    stored = path.read_bytes()
    for end, whole in ((5 * 1920, 5), (5 * 1920 + 700, 5), (5 * 1920 - 4, 5)):
        path.write_bytes(stored[:end] + bytes(len(stored) - end))
        with pytest.warns(IncompleteRecordingWarning, match=f"ends in zeros.*{whole} of 7 frames were written"):
            recording = roi.open(path)
        with recording:
            assert recording.get_missing_samples().tolist() == [5, 6]
            np.testing.assert_array_equal(recording.get_series(0, 4), frames[:4, ..., 0])
            assert len(recording) == whole


def test_planned_frames_count_folded_images(write: Write, version_3: Info) -> None:
    config = {"frames": 4.0, "lines": float(ROWS)}
    with roi.open(write(version_3(ROWS, COLUMNS, fold_lines=6.0, config=config), noise(4))) as recording:
        assert (len(recording), recording.get_notes()) == (16, ())


@pytest.mark.parametrize("names", [np.array([[1.0, 2.0]]), np.empty((0, 0)), 7.0, "GCaMP6s"])
def test_channel_names_that_are_not_a_list_of_texts_are_not_used(write: Write, version_3: Info, names: Any) -> None:
    chan = {"nchan": 2.0, "save": np.array([[1, 1, 0, 0]], "u1"), "names": names}
    assert roi.streams(write(version_3(ROWS, COLUMNS, chan=chan), noise(3, channels=2))) == {
        "channel": ("PMT0", "PMT1")
    }
