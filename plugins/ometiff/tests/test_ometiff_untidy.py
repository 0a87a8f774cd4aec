"""Sets that contain another recording's files, and OME-XML that contradicts the pages."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.registry import Registry


def write_set(ome: Any, folder: Path, first: int, *, written_as: str = "rec") -> list[Path]:
    """Write four files of one frame each whose pixels are ``first`` plus their number, which call themselves rec_T0 to rec_T3."""
    folder.mkdir(exist_ok=True)
    frames = [np.full((6, 7), first + t, np.uint16) for t in range(4)]
    uuids = [f"{first:08d}-0000-0000-0000-00000000000{t}" for t in range(4)]
    data = "".join(
        ome.data(f"rec_T{t}.ome.tif", uuids[t], IFD=0, FirstT=t, FirstC=0, FirstZ=0, PlaneCount=1) for t in range(4)
    )
    xml = [ome.xml(ome.pixels("XYZCT", t=4, frame=frames[0], data=data), uuid=uuid) for uuid in uuids]
    return [ome.tiff(folder / f"{written_as}_T{t}.ome.tif", [frames[t]], xml[t]) for t in range(4)]


def test_a_file_of_another_recording_under_the_same_name_is_refused_by_name(ome: Any, tmp_path: Path) -> None:
    own, other = write_set(ome, tmp_path / "own", 0), write_set(ome, tmp_path / "other", 500)
    shutil.copy(other[2], own[2])
    with pytest.raises(roi.CorruptRecordingError, match=r"rec_T2\.ome\.tif .* another recording.*allow_missing=True"):
        roi.open(own[0])
    with pytest.warns(roi.IncompleteRecordingWarning, match=r"rec_T2\.ome\.tif belongs to another recording") as seen:
        found = roi.open(own[0], allow_missing=True, sampling_frequency=2.0)
    assert found.get_series()[:, 0, 0].tolist() == [0, 1, 3]
    assert found.get_timestamps().tolist() == [0.0, 0.5, 1.5]
    assert found.get_missing_samples().tolist() == [2]
    assert str(seen[0].message) in found.get_notes()


def test_a_renamed_set_whose_old_names_belong_to_another_recording_is_found_by_its_uuids(
    ome: Any, tmp_path: Path
) -> None:
    kept = write_set(ome, tmp_path, 0, written_as="kept")
    write_set(ome, tmp_path, 700)
    found = roi.open(kept[0])
    assert found.get_series()[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert set(found.get_paths()) == {str(path) for path in kept}


def test_samples_behind_a_missing_file_are_read_when_allowed(ome: Any, tmp_path: Path) -> None:
    paths = write_set(ome, tmp_path, 0)
    paths[1].unlink()
    with pytest.warns(
        roi.IncompleteRecordingWarning,
        match=r"to read the 2 complete ones after them as well: open\(.*allow_missing=True",
    ):
        found = roi.open(paths[0])
    assert (len(found), found.get_missing_samples().tolist()) == (1, [1, 2, 3])
    with pytest.warns(roi.IncompleteRecordingWarning, match="the 3 complete samples are read"):
        found = roi.open(paths[0], allow_missing=True)
    assert found.get_series()[:, 0, 0].tolist() == [0, 2, 3]
    assert found.get_missing_samples().tolist() == [1]


@pytest.mark.parametrize("data", ['<TiffData IFD="0" PlaneCount="8"/>', "<TiffData/>"])
def test_twice_as_many_pages_as_described_are_a_warning(ome: Any, tmp_path: Path, data: str) -> None:
    frames = list(ome.frames(8, 6, 7))
    path = ome.tiff(tmp_path / "p.ome.tif", frames, ome.xml(ome.pixels("XYZCT", t=4, frame=frames[0], data=data)))
    with pytest.warns(roi.RoiExtractorsWarning, match=r"4 planes, .* 8 pages, 2 times .*format='tiff'") as seen:
        found = roi.open(path)
    assert len(found) == 4
    assert str(seen[0].message) in found.get_notes()


def test_some_more_pages_than_described_are_a_note(ome: Any, tmp_path: Path) -> None:
    frames = list(ome.frames(8, 6, 7))
    path = ome.tiff(tmp_path / "p.ome.tif", frames, ome.xml(ome.pixels("XYZCT", t=6, frame=frames[0])))
    assert any("6 planes" in note and "8 pages" in note for note in roi.open(path).get_notes())


def test_a_page_that_is_given_for_two_planes_is_a_warning(ome: Any, tmp_path: Path) -> None:
    frames = list(ome.frames(4, 6, 7))
    data = "".join(ome.data(IFD=ifd, FirstT=t, PlaneCount=1) for t, ifd in enumerate((0, 1, 1, 3)))
    path = ome.tiff(tmp_path / "p.ome.tif", frames, ome.xml(ome.pixels("XYZCT", t=4, frame=frames[0], data=data)))
    with pytest.warns(roi.RoiExtractorsWarning, match=r"1 page for several planes, the first page 1"):
        found = roi.open(path)
    np.testing.assert_array_equal(found.get_series(), np.stack(frames)[[0, 1, 1, 3]])


def test_a_camera_beyond_the_channels_is_refused_with_the_format_that_reads_its_pages(ome: Any, tmp_path: Path) -> None:
    frames = list(ome.frames(2, 6, 7))
    data = "".join(ome.data(IFD=k, FirstC=k, FirstT=0, FirstZ=0, PlaneCount=1) for k in range(2))
    path = ome.tiff(tmp_path / "p.ome.tif", frames, ome.xml(ome.pixels("XYCZT", frame=frames[0], data=data)))
    with pytest.raises(roi.CorruptRecordingError, match=r"FirstC=1, and SizeC is 1; .*format='tiff'"):
        roi.open(path)
    assert len(roi.open(path, format="tiff")) == 2


def test_one_volume_that_may_be_a_movie_is_a_note(ome: Any, tmp_path: Path) -> None:
    frames = list(ome.frames(8, 6, 7))
    path = ome.tiff(tmp_path / "p.ome.tif", frames, ome.xml(ome.pixels("XYZCT", z=8, frame=frames[0])))
    found = roi.open(path)
    assert found.shape == (1, 6, 7, 8)
    assert any("SizeT=1 and SizeZ=8" in note and "format='tiff'" in note for note in found.get_notes())


@pytest.mark.parametrize("element", ["AcquiredDate", "CreationDate", "AcquisitionDate"])
def test_the_start_time_is_read_from_elements_of_old_schemas(ome: Any, tmp_path: Path, element: str) -> None:
    inside = f"<{element}>2011-03-04T05:06:07.25</{element}>"
    path = ome.tiff(
        tmp_path / "p.ome.tif",
        [frame := np.ones((6, 7), np.uint16)],
        ome.xml(ome.pixels("XYZCT", frame=frame, inside=inside)),
    )
    assert str(roi.open(path).metadata.start_time) == "2011-03-04 05:06:07.250000"


def test_objective_modality_bit_depth_and_laser_are_read(ome: Any, tmp_path: Path) -> None:
    frame = np.ones((6, 7), np.uint16)
    instrument = (
        '<Instrument ID="Instrument:0"><Laser ID="LightSource:0" Wavelength="920" WavelengthUnit="nm"/>'
        '<Objective ID="Objective:0" Manufacturer="Nikon" Model="16x" NominalMagnification="16" LensNA="0.8"/></Instrument>'
    )
    channels = '<Channel ID="Channel:0:0" AcquisitionMode="MultiPhotonMicroscopy"><LightSourceSettings ID="LightSource:0"/></Channel>'
    image = ome.pixels(
        "XYZCT",
        frame=frame,
        channels=channels,
        more='SignificantBits="12"',
        inside='<InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:0"/>',
    )
    metadata = roi.open(ome.tiff(tmp_path / "p.ome.tif", [frame], ome.xml(instrument + image))).metadata
    assert metadata.objective == roi.ObjectiveMetadata("Nikon 16x", 16.0, 0.8)
    assert (metadata.modality, metadata.bit_depth) == ("two-photon", 12)
    assert metadata.channels[0].laser_lines == (920.0,)


def test_files_of_a_more_special_format_beside_an_ome_tiff_are_said_not_to_be_used(ome: Any, tmp_path: Path) -> None:
    path = write_set(ome, tmp_path, 0)[0]
    registry = Registry(entry_points=tuple)
    extractor = "roiextractors_ometiff.extractor:OmeTiffImagingExtractor"
    evidence = roi.Magic(b"II*\0") | roi.Magic(b"MM\0*")
    registry.register(
        roi.FormatSpec("ometiff", "OME-TIFF", extractor, (".ome.tif",), evidence=evidence, specializes=("tiff",))
    )
    registry.register(
        roi.FormatSpec("rig", "Rig", "no:Rig", (".rig",), specializes=("ometiff", "tiff"), companions=("Rig.xml",))
    )
    (tmp_path / "Rig.xml").write_text("<Rig/>")
    with pytest.warns(roi.RoiExtractorsWarning, match=r"is read as OME-TIFF; Rig\.xml beside it .*not used") as seen:
        recording = roi.open(path, registry=registry)
    assert str(seen[0].message) in recording.get_notes()


def test_the_damage_of_a_file_of_which_no_page_is_used_is_a_note_too(ome: Any, tmp_path: Path) -> None:
    frames = np.arange(4 * 6 * 7, dtype=np.uint16).reshape(4, 6, 7) + 1
    names, uuids = ["a.ome.tif", "b.ome.tif"], [f"0000000{k}-0000-0000-0000-000000000000" for k in (1, 2)]
    data = "".join(
        ome.data(name, uuid, IFD=0, FirstT=t, FirstC=0, FirstZ=0, PlaneCount=2)
        for t, (name, uuid) in enumerate(zip(names, uuids, strict=True))
    )
    for k, name in enumerate(names):
        pixels = ome.pixels("XYZCT", t=2, z=2, frame=frames[0], data=data)
        ome.tiff(tmp_path / name, list(frames[2 * k : 2 * k + 2]), ome.xml(pixels, uuid=uuids[k]))
    last = tmp_path / names[1]
    last.write_bytes(last.read_bytes()[:-20])
    with pytest.warns(roi.IncompleteRecordingWarning) as seen:
        recording = roi.open(tmp_path / names[0])
    assert (len(recording), recording.get_missing_samples().tolist()) == (1, [1])
    assert any("b.ome.tif ends at byte" in str(one.message) for one in seen)
    assert {str(one.message) for one in seen} <= set(recording.get_notes())
