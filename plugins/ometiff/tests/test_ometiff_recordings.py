"""Real recordings against what other people's readers found in them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import roiextractors_core as roi
from roiextractors_core.errors import CorruptRecordingError, IncompleteRecordingWarning, SourceNotFoundError

BRUKER = "bruker/NCCR32_2022_11_03_IntoTheVoid_t_series-005"


def entries(prefix: str) -> list[dict[str, Any]]:
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "recordings"
    path = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", beside)) / "EXPECTED.json"
    if not path.is_file():
        return []
    return [entry for entry in json.loads(path.read_text(encoding="utf-8")) if entry["path"].startswith(prefix)]


def digest(frame: np.ndarray) -> str:
    little = np.ascontiguousarray(frame.astype(frame.dtype.newbyteorder("<")))
    return hashlib.sha256(little.tobytes()).hexdigest()[:32]


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["id"]) for entry in entries("ome_tiff/companion/")])
def test_a_file_of_the_companion_set_is_one_plane_of_the_whole(recordings: Path, entry: dict[str, Any]) -> None:
    # tifffile, the oracle, reads one file as a movie of its own, for it does not follow the companion; the XML
    # there puts the five pages at five Z of one time.
    path = recordings / entry["path"]
    page = tifffile.imread(path)
    with roi.open(path) as recording:
        assert recording.provenance.format == "ometiff"
        assert recording.get_frame_shape() == tuple(entry["shape"]) == page.shape
        assert str(recording.dtype) == entry["dtype"]
        assert recording.shape == (1, 24, 18, 5)
        plane = int(path.name[len("multifile-Z")]) - 1
        assert np.array_equal(recording[0, :, :, plane], page)
        assert recording.metadata.start_time.isoformat() == "2010-03-02T15:08:59"


def test_the_companion_and_its_folder_open_the_same(recordings: Path) -> None:
    folder = recordings / "ome_tiff" / "companion"
    whole = np.stack([tifffile.imread(folder / f"multifile-Z{k}.ome.tiff") for k in range(1, 6)], axis=-1)
    for path in (folder / "multifile.companion.ome", folder, sorted(folder.glob("*.tiff"))):
        with roi.open(path) as recording:
            assert np.array_equal(recording.get_series(), whole[None])


def test_the_companion_set_with_a_file_missing_says_which(recordings: Path, tmp_path: Path) -> None:
    shutil.copytree(recordings / "ome_tiff" / "companion", tmp_path / "c", copy_function=shutil.copyfile)
    (tmp_path / "c").chmod(0o755)
    (tmp_path / "c" / "multifile-Z4.ome.tiff").unlink()
    words = r"1 sample, but none is complete: multifile-Z4.ome.tiff is missing, from T=0, C=0, Z=3 on"
    with pytest.raises(SourceNotFoundError, match=words):
        roi.open(tmp_path / "c" / "multifile-Z1.ome.tiff")


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["id"]) for entry in entries("ome_tiff/multi-channel")])
def test_every_channel_is_as_tifffile_reads_it(recordings: Path, entry: dict[str, Any]) -> None:
    path = recordings / entry["path"]
    read = tifffile.imread(path)
    assert list(read.shape) == entry["shape"]
    names = roi.streams(path)["channel"]
    assert names == ("1", "2", "3")
    for number, name in enumerate(names):
        with roi.open(path, channel=name) as recording:
            assert recording.shape == (1, *entry["shape"][1:])
            assert str(recording.dtype) == entry["dtype"]
            assert np.array_equal(recording[0], read[number])
            assert recording.metadata.software == "OME Bio-Formats 5.2.2"


@pytest.mark.parametrize("cycle", ["00001_Ch2_000001", "00003_Ch2_000002"])
def test_prairie_view_files_are_read_by_their_master_as_far_as_they_are_there(recordings: Path, cycle: str) -> None:
    # The master names 6,200 files at 2 positions, and says SizeT=1; the folder holds 10 of them.
    entry = next(e for e in entries("bruker/") if "IntoTheVoid_t_series-005" in e["id"])
    path = recordings / BRUKER / f"NCCR32_2022_11_03_IntoTheVoid_t_series-005_Cycle{cycle}.ome.tif"
    with pytest.warns(
        IncompleteRecordingWarning, match=r"describes 3,100 samples; .*Cycle00006_Ch2_000001.ome.tif and 6,189 more"
    ):
        recording = roi.open(path, format="ometiff")
    assert recording.shape == tuple(entry["array_shape"])
    for index, wanted in entry["frames"].items():
        assert digest(recording[int(index)]) == wanted
    assert recording.metadata.channels[0].name == "Ch2"
    assert any("says SizeT=1 and lists every plane 3,100 times" in note for note in recording.get_notes())
    recording.close()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_thorimage_files_that_name_each_other_are_one_movie(recordings: Path, number: int) -> None:
    entry = next(e for e in entries("thorimage/") if e["id"] == "thorimage/single")
    folder = recordings / entry["path"]
    with roi.open(folder / f"ChanA_001_001_001_00{number}.tif", format="ometiff") as recording:
        assert recording.shape == tuple(entry["array_shape"])
        assert digest(recording[0]) == entry["frames"]["0"]
        assert recording.get_sampling_frequency() is None  # its TimeIncrement is 0
        assert recording.get_native_timestamps() is None  # its DeltaT is that of the own page alone


def test_thorimage_stacks_are_found_through_the_file_that_names_the_others(recordings: Path) -> None:
    found = {e["options"]["channel_name"]: e for e in entries("thorimage/") if e["id"].startswith("thorimage/zstack")}
    folder = recordings / "thorimage" / "tiff_zstack_two_channels"
    for number, name in enumerate(("ChanA", "ChanB")):
        with roi.open(folder / "ChanA_0001_0001_0001_0001.tif", format="ometiff", channel=number + 1) as recording:
            assert digest(recording[0]) == found[name]["frames"]["0"]
    with pytest.raises(CorruptRecordingError, match=r"0002_0001.tif contains 1 page, but page 1 is needed for"):
        roi.open(folder / "ChanA_0001_0001_0002_0001.tif", format="ometiff", channel=1)


def test_metadata_of_micromanager_without_its_tiffs_is_understood_and_says_what_is_missing(recordings: Path) -> None:
    path = recordings / "ome_xml" / "MMStack.ome.xml"
    words = r"describes 2 samples, but none is complete: image_stack_tpzc_50tp_2p_5z_3c_512k_1_MMStack_2-Pos000_000.ome.tif is missing"
    names = tuple(f"image_stack_tpzc_50tp_2p_5z_3c_512k_1_MMStack_2-Pos00{k}_000" for k in range(2))
    assert roi.streams(path)["series"] == names
    with pytest.raises(SourceNotFoundError, match=words):
        roi.open(path, series=names[0], channel="Cy5")
