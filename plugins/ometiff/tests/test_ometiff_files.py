"""Recordings of several files: how they are named, found, missed, and kept inside their folder."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    IncompleteRecordingWarning,
    SourceKindError,
    SourceNotFoundError,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)

MOVIE = np.random.default_rng(5).integers(0, 4000, (6, 10, 12)).astype(np.uint16)


def names_of(count: int = 6) -> list[str]:
    return [f"s_{k + 1}.ome.tif" for k in range(count)]


def write_set(ome: Any, folder: Path, *, named: bool = True, uuids: bool = True, movie: np.ndarray = MOVIE) -> None:
    """One page a file, each with the whole XML."""
    names = names_of(len(movie))
    data = [
        ome.data(name if named else None, f"u{k}" if uuids else "", IFD=0, FirstT=k) for k, name in enumerate(names)
    ]
    image = ome.pixels("XYZCT", t=len(movie), frame=movie[0], data=data)
    for k, name in enumerate(names):
        ome.tiff(folder / name, [movie[k]], ome.xml(image, uuid=f"u{k}" if uuids else ""))


def write_master(ome: Any, folder: Path, master: str) -> None:
    """A master that describes all, and files that refer to it."""
    data = [ome.data(name, f"u{k}", IFD=0, FirstT=k) for k, name in enumerate(names_of())]
    whole = ome.xml(ome.pixels("XYZCT", t=6, frame=MOVIE[0], data=data), uuid="u0" if master in names_of() else "m")
    for k, name in enumerate(names_of()):
        part = ome.binary_only(master, uuid="u0" if master in names_of() else "m", own=f"u{k}")
        ome.tiff(folder / name, [MOVIE[k]], whole if name == master else part)
    if master not in names_of():
        (folder / master).write_text(whole, encoding="utf-8")


@pytest.mark.parametrize("name", names_of())
@pytest.mark.parametrize("uuids", [False, True])
def test_any_file_of_a_set_opens_the_whole(ome: Any, tmp_path: Path, name: str, uuids: bool) -> None:
    write_set(ome, tmp_path, uuids=uuids)
    with roi.open(tmp_path / name) as recording:
        assert recording.provenance.format == "ometiff"
        assert np.array_equal(recording.get_series(), MOVIE)
        assert np.array_equal(recording[[4, 1, 1], 2:7, 3:], MOVIE[[4, 1, 1], 2:7, 3:])


@pytest.mark.parametrize("master", ["s.companion.ome", "s_1.ome.tif"])
def test_a_file_of_pixels_alone_follows_its_master(ome: Any, tmp_path: Path, master: str) -> None:
    write_master(ome, tmp_path, master)
    for name in (*names_of(), master):
        with roi.open(tmp_path / name) as recording:
            assert np.array_equal(recording.get_series(), MOVIE)
            told = [note for note in recording.get_notes() if f"is a part of the recording that {master}" in note]
            assert bool(told) == (name != master)


def test_a_master_that_is_not_there_is_named(ome: Any, tmp_path: Path) -> None:
    write_master(ome, tmp_path, "s.companion.ome")
    (tmp_path / "s.companion.ome").unlink()
    words = r"s_2.ome.tif contains only pixels; its metadata should be in s.companion.ome, which is not in the folder"
    with pytest.raises(SourceNotFoundError, match=words):
        roi.open(tmp_path / "s_2.ome.tif")
    with roi.open(tmp_path / "s_2.ome.tif", format="tiff") as recording:
        assert np.array_equal(recording.get_series(), MOVIE[1:2])


def test_a_master_under_another_name_is_known_by_its_uuid(ome: Any, tmp_path: Path) -> None:
    write_master(ome, tmp_path, "s.companion.ome")
    (tmp_path / "s.companion.ome").rename(tmp_path / "renamed.ome")
    with roi.open(tmp_path / "s_2.ome.tif") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


@pytest.mark.thorough
def test_a_master_without_a_uuid_is_found_in_another_case(ome: Any, tmp_path: Path) -> None:
    write_master(ome, tmp_path, "s.companion.ome")
    text = (tmp_path / "s.companion.ome").read_text(encoding="utf-8")
    (tmp_path / "S.Companion.OME").write_text(re.sub(r' UUID="[^"]*"', "", text, count=1), encoding="utf-8")
    (tmp_path / "s.companion.ome").unlink()
    with roi.open(tmp_path / "s_2.ome.tif") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


def test_masters_do_not_lead_in_circles(ome: Any, tmp_path: Path) -> None:
    for name, other in (("a.ome.tif", "b.ome.tif"), ("b.ome.tif", "a.ome.tif")):
        ome.tiff(tmp_path / name, MOVIE[:1], ome.binary_only(other, uuid=other, own=name))
    words = r"a.ome.tif says that its metadata is in b.ome.tif, but that names yet another file"
    with pytest.raises(CorruptRecordingError, match=words):
        roi.open(tmp_path / "a.ome.tif")


def test_files_without_names_are_found_by_their_uuids(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path, named=False)
    with roi.open(tmp_path / "s_3.ome.tif") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


def test_files_that_were_all_renamed_are_found_by_their_uuids(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path)
    for name in names_of():
        (tmp_path / name).rename(tmp_path / f"mouse_{name}")
    with roi.open(tmp_path / "mouse_s_3.ome.tif") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)
        assert (
            "s_1.ome.tif is missing; mouse_s_1.ome.tif has the right UUID and is read instead" in recording.get_notes()
        )


def test_a_copy_in_the_same_folder_is_read_itself(ome: Any, tmp_path: Path) -> None:
    data = ome.data("a.ome.tif", "one", IFD=0, PlaneCount=3)
    for name, frames in (("a.ome.tif", MOVIE[:3]), ("copy.ome.tif", MOVIE[3:])):
        ome.tiff(tmp_path / name, frames, ome.xml(ome.pixels("XYZCT", t=3, frame=MOVIE[0], data=data), uuid="one"))
    with roi.open(tmp_path / "copy.ome.tif") as recording:
        assert np.array_equal(recording.get_series(), MOVIE[3:])


def test_names_win_where_all_files_were_given_one_uuid(ome: Any, tmp_path: Path) -> None:
    data = [ome.data(name, "same", IFD=0, FirstT=k) for k, name in enumerate(names_of())]
    image = ome.pixels("XYZCT", t=6, frame=MOVIE[0], data=data)
    for name, frame in zip(names_of(), MOVIE, strict=True):
        ome.tiff(tmp_path / name, [frame], ome.xml(image, uuid="same"))
    with roi.open(tmp_path / "s_4.ome.tif") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


def test_a_single_file_that_was_renamed_is_itself(ome: Any, tmp_path: Path) -> None:
    data = ome.data("original.ome.tif", IFD=0, PlaneCount=6)
    ome.tiff(tmp_path / "new.tif", MOVIE, ome.xml(ome.pixels("XYZCT", t=6, frame=MOVIE[0], data=data)))
    with roi.open(tmp_path / "new.tif") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)
        assert recording.get_notes() == ("new.tif calls itself original.ome.tif: it was renamed",)


def test_names_in_other_capitals_are_the_same_names(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path, uuids=False)
    (tmp_path / "s_5.ome.tif").rename(tmp_path / "S_5.OME.TIF")
    with roi.open(tmp_path / "s_1.ome.tif") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../secret.tif", "a/../../secret.tif", "C:\\data\\secret.tif", "..\\secret.tif", "", "\\\\host\\x"],
)
def test_names_that_lead_out_of_the_folder_are_refused(ome: Any, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    ome.tiff(tmp_path / "secret.tif", MOVIE[:1])
    data = ome.data("a.ome.tif", IFD=0) + ome.data(name, "x", IFD=0, FirstT=1)
    path = ome.tiff(folder / "a.ome.tif", MOVIE[:1], ome.xml(ome.pixels("XYZCT", t=2, frame=MOVIE[0], data=data)))
    words = r"a.ome.tif names the file '.*', which is an absolute path or leads out of its folder"
    with pytest.raises(UnsupportedRecordingError, match=words):
        roi.open(path)


def test_a_master_outside_the_folder_is_refused(ome: Any, tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    write_master(ome, tmp_path, "s.companion.ome")
    path = ome.tiff(folder / "a.ome.tif", MOVIE[:1], ome.binary_only("../s.companion.ome", uuid="m", own="a"))
    with pytest.raises(
        UnsupportedRecordingError, match=r"'../s.companion.ome', which is an absolute path or leads out of its folder"
    ):
        roi.open(path)


def test_a_folder_below_is_inside(ome: Any, tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    data = [ome.data(f"pages/{k}.tif", IFD=0, FirstT=k) for k in range(6)]
    for k, frame in enumerate(MOVIE):
        ome.tiff(tmp_path / "pages" / f"{k}.tif", [frame])
    xml = ome.xml(ome.pixels("XYZCT", t=6, frame=MOVIE[0], data=data))
    (tmp_path / "m.companion.ome").write_text(xml, encoding="utf-8")
    with roi.open(tmp_path / "m.companion.ome") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


def test_whole_samples_from_the_start_are_read_where_files_lack(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path)
    for name in ("s_4.ome.tif", "s_6.ome.tif"):
        (tmp_path / name).unlink()
    words = "describes 6 samples; s_4.ome.tif and 1 more of its 6 files are missing, from T=3, C=0, Z=0 on; the 3 complete samples"
    with pytest.warns(IncompleteRecordingWarning, match=words):
        recording = roi.open(tmp_path / "s_1.ome.tif")
    assert np.array_equal(recording.get_series(), MOVIE[:3])
    assert words in recording.get_notes()[0]
    recording.close()


def test_a_first_file_that_is_not_there_is_named(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path)
    (tmp_path / "s_1.ome.tif").unlink()
    with pytest.raises(SourceNotFoundError, match=r"none is complete: s_1.ome.tif is missing, from T=0, C=0, Z=0 on"):
        roi.open(tmp_path / "s_2.ome.tif")


def test_xml_whose_tiffs_are_elsewhere_says_so(ome: Any, tmp_path: Path) -> None:
    write_master(ome, tmp_path, "s.companion.ome")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(tmp_path / "s.companion.ome", alone)
    with pytest.raises(SourceNotFoundError, match=r"s_1.ome.tif and 5 more of its 6 files are missing"):
        roi.open(alone / "s.companion.ome")


def test_xml_that_names_no_file_says_so(ome: Any, tmp_path: Path) -> None:
    (tmp_path / "s.companion.ome").write_text(ome.xml(ome.pixels("XYZCT", t=6, frame=MOVIE[0])), encoding="utf-8")
    with pytest.raises(UnsupportedRecordingError, match="does not say which TIFF file contains its planes"):
        roi.open(tmp_path / "s.companion.ome")


def test_files_of_different_lengths_make_one_recording(ome: Any, tmp_path: Path) -> None:
    movie = ome.frames(7, 1, 3, 10, 12)
    edges = [(0, 2), (2, 3), (3, 7)]
    data = [
        ome.data(f"{k}.ome.tif", f"u{k}", IFD=0, FirstT=a, PlaneCount=3 * (b - a)) for k, (a, b) in enumerate(edges)
    ]
    image = ome.pixels("XYZCT", t=7, z=3, frame=movie[0, 0, 0], data=data)
    for k, (a, b) in enumerate(edges):
        ome.tiff(tmp_path / f"{k}.ome.tif", movie[a:b, 0].reshape(-1, 10, 12), ome.xml(image, uuid=f"u{k}"))
    with roi.open(tmp_path / "1.ome.tif") as recording:
        assert np.array_equal(np.moveaxis(recording.get_series(), 3, 1), movie[:, 0])
        assert np.array_equal(recording[[6, 0, 2], 3:5, :, 1], movie[[6, 0, 2], 0, 1, 3:5])


def test_a_file_that_ends_early_cuts_the_recording_there(ome: Any, tmp_path: Path) -> None:
    data = [ome.data(name, IFD=0, FirstT=3 * k, PlaneCount=3) for k, name in enumerate(("a.ome.tif", "b.ome.tif"))]
    xml = ome.xml(ome.pixels("XYZCT", t=6, frame=MOVIE[0], data=data))
    ome.tiff(tmp_path / "a.ome.tif", MOVIE[:3], xml)
    ome.tiff(tmp_path / "b.ome.tif", MOVIE[3:4], xml)
    words = r"b.ome.tif contains 1 page, but page 1 is needed for T=4, C=0, Z=0; the 4 complete samples"
    with pytest.warns(IncompleteRecordingWarning, match=words):
        recording = roi.open(tmp_path / "a.ome.tif")
    assert np.array_equal(recording.get_series(), MOVIE[:4])
    recording.close()


def test_one_page_is_taken_of_files_that_hold_more(ome: Any, tmp_path: Path) -> None:
    data = [ome.data(name, IFD=0, FirstT=k) for k, name in enumerate(names_of())]
    xml = ome.xml(ome.pixels("XYZCT", t=6, frame=MOVIE[0], data=data))
    for name, frame in zip(names_of(), MOVIE, strict=True):
        ome.tiff(tmp_path / name, [frame, np.zeros((2, 2), np.uint8)], xml)
    with roi.open(tmp_path / "s_1.ome.tif") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


def test_a_file_with_pages_of_another_size_is_named(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path)
    ome.tiff(tmp_path / "s_5.ome.tif", [MOVIE[4][:4]])
    with roi.open(tmp_path / "s_1.ome.tif") as recording:
        assert np.array_equal(recording[:4], MOVIE[:4])
        with pytest.raises(CorruptRecordingError, match=r"s_5.ome.tif: page 0 .* has 4 rows of 12 columns"):
            recording.get_series()
    edges = {"a.ome.tif": MOVIE[:3], "b.ome.tif": MOVIE[3:, :4]}
    data = [ome.data(name, IFD=0, FirstT=3 * k, PlaneCount=3) for k, name in enumerate(edges)]
    for name, frames in edges.items():
        ome.tiff(tmp_path / name, frames, ome.xml(ome.pixels("XYZCT", t=6, frame=MOVIE[0], data=data)))
    with pytest.raises(
        CorruptRecordingError, match=r"b.ome.tif has pages of 4 rows of 12 columns, 1 x uint16, but a.ome.tif of 10"
    ):
        roi.open(tmp_path / "a.ome.tif")


def test_a_file_that_is_no_tiff_is_named(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path)
    (tmp_path / "s_3.ome.tif").write_bytes(b"this was a page once")
    with (
        roi.open(tmp_path / "s_1.ome.tif") as recording,
        pytest.raises(CorruptRecordingError, match=r"s_3.ome.tif is not TIFF"),
    ):
        recording.get_series()


def test_a_file_that_is_cut_is_named(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path)
    os.truncate(tmp_path / "s_3.ome.tif", (tmp_path / "s_3.ome.tif").stat().st_size - 7)
    with roi.open(tmp_path / "s_1.ome.tif") as recording:
        assert np.array_equal(recording[3:], MOVIE[3:])
        with pytest.raises(TruncatedRecordingError, match=r"s_3.ome.tif"):
            recording.get_series()


def test_a_folder_of_one_recording_opens(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path)
    assert roi.explain(tmp_path).best.spec.name == "ometiff"
    with roi.open(tmp_path) as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


def test_a_folder_of_several_recordings_names_them(ome: Any, tmp_path: Path) -> None:
    for name in ("a.ome.tif", "b.ome.tif"):
        ome.simple(tmp_path / name, MOVIE[:, None, None])
    words = "contains several recordings, among them 'a.ome.tif' and 'b.ome.tif'; open one of these files"
    with pytest.raises(ChoiceError, match=words):
        roi.open(tmp_path)


def test_other_tiffs_in_the_folder_are_left_out_and_told(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path)
    ome.tiff(tmp_path / "sketch.tif", MOVIE[:1])
    with roi.open(tmp_path) as recording:
        assert np.array_equal(recording.get_series(), MOVIE)
        assert recording.get_notes() == ("sketch.tif in the folder is not named by s_1.ome.tif and is left out",)


def test_a_folder_without_ome_says_so(ome: Any, tmp_path: Path) -> None:
    ome.tiff(tmp_path / "sketch.tif", MOVIE[:1])
    assert roi.explain(tmp_path).best.spec.name == "tiff"
    with pytest.raises(SourceKindError, match="contains no OME-TIFF"):
        roi.open(tmp_path, format="ometiff")


def test_the_list_of_the_files_is_the_recording(ome: Any, tmp_path: Path) -> None:
    write_set(ome, tmp_path)
    with roi.open([tmp_path / name for name in names_of()[:3]]) as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


def test_a_list_of_several_recordings_is_refused(ome: Any, tmp_path: Path) -> None:
    paths = [ome.simple(tmp_path / name, MOVIE[:, None, None]) for name in ("a.ome.tif", "b.ome.tif")]
    with pytest.raises(
        ChoiceError,
        match=r"'b.ome.tif' is not part of any image that a.ome.tif describes; open each recording by itself",
    ):
        roi.open(paths)


def images_in_one_file(ome: Any, path: Path, names: tuple[str, str]) -> tuple[Path, np.ndarray, np.ndarray]:
    """A movie and a stack of another size and type in one file."""
    movie, stack = MOVIE[:5], ome.frames(4, 6, 7, dtype="uint8")
    images = [
        ome.pixels("XYZCT", t=5, frame=movie[0], data=ome.data(IFD=0, PlaneCount=5), name=names[0]),
        ome.pixels("XYZCT", z=4, frame=stack[0], data=ome.data(IFD=5, PlaneCount=4), name=names[1], number=1),
    ]
    return ome.tiff(path, [*movie, *stack], ome.xml(*images)), movie, stack


def test_images_of_different_sizes_in_one_file_are_series(ome: Any, tmp_path: Path) -> None:
    path, movie, stack = images_in_one_file(ome, tmp_path / "two.ome.tif", ("movie", "stack"))
    assert roi.streams(path) == {"series": ("movie", "stack")}
    with pytest.raises(roi.StreamChoiceError, match=r"has the seriess? 'movie' and 'stack'; choose one"):
        roi.open(path)
    for chosen in ("movie", "Image:0", 0, "0"):
        with roi.open(path, series=chosen) as recording:
            assert np.array_equal(recording.get_series(), movie)
    assert roi.streams(path, series="stack") == {"series": ("movie", "stack"), "plane": ("0", "1", "2", "3")}
    with roi.open(path, series="stack") as recording:
        assert recording.shape == (1, 6, 7, 4)
        assert np.array_equal(np.moveaxis(recording[0], 2, 0), stack)


def test_images_of_the_same_name_are_numbered(ome: Any, tmp_path: Path) -> None:
    path, movie, _ = images_in_one_file(ome, tmp_path / "two.ome.tif", ("same", "same"))
    assert roi.streams(path)["series"] == ("0", "1")
    with roi.open(path, series="0") as recording:
        assert np.array_equal(recording.get_series(), movie)


def test_positions_of_the_stage_in_files_of_their_own_are_series(ome: Any, tmp_path: Path) -> None:
    movies = ome.frames(2, 4, 10, 12)
    images = [
        ome.pixels(
            "XYZCT",
            t=4,
            frame=movies[k, 0],
            data=[ome.data(f"Pos{k}.ome.tif", f"p{k}", IFD=t, FirstT=t) for t in range(4)],
            name=f"Pos{k}",
            number=k,
            inside=f'<StageLabel Name="Pos{k}" X="{k * 256}.0" XUnit="µm"/>',
        )
        for k in range(2)
    ]
    for k in range(2):
        ome.tiff(tmp_path / f"Pos{k}.ome.tif", movies[k], ome.xml(*images, uuid=f"p{k}"))
    for place in (tmp_path, tmp_path / "Pos1.ome.tif"):
        for k in range(2):
            with roi.open(place, series=f"Pos{k}") as recording:
                assert np.array_equal(recording.get_series(), movies[k])
                assert recording.metadata.vendor["StageLabel"]["X"] == f"{k * 256}.0"


def test_series_are_listed_though_the_files_of_the_first_lack(ome: Any, tmp_path: Path) -> None:
    images = [
        ome.pixels("XYZCT", frame=MOVIE[0], data=ome.data(f"{k}.ome.tif", f"u{k}"), name=f"Pos{k}", number=k)
        for k in range(2)
    ]
    ome.tiff(tmp_path / "1.ome.tif", MOVIE[:1], ome.xml(*images, uuid="u1"))
    assert roi.streams(tmp_path / "1.ome.tif") == {"series": ("Pos0", "Pos1")}
    with roi.open(tmp_path / "1.ome.tif", series="Pos1") as recording:
        assert np.array_equal(recording[0], MOVIE[0])
    with pytest.raises(SourceNotFoundError, match=r"0.ome.tif is missing"):
        roi.open(tmp_path / "1.ome.tif", series="Pos0")


def test_a_folder_is_known_by_its_companion_alone(ome: Any, tmp_path: Path) -> None:
    data = [ome.data(f"{k}.page", IFD=0, FirstT=k) for k in range(6)]
    for k, frame in enumerate(MOVIE):
        ome.tiff(tmp_path / f"{k}.page", [frame])
    xml = ome.xml(ome.pixels("XYZCT", t=6, frame=MOVIE[0], data=data))
    (tmp_path / "m.companion.ome").write_text(xml, encoding="utf-8")
    with roi.open(tmp_path) as recording:
        assert np.array_equal(recording.get_series(), MOVIE)
    assert roi.explain(tmp_path / "0.page").best.spec.name == "tiff"


def test_a_folder_of_big_tiffs_is_known(ome: Any, tmp_path: Path) -> None:
    ome.simple(tmp_path / "m.ome.btf", MOVIE[:, None, None], big=True)
    with roi.open(tmp_path) as recording:
        assert np.array_equal(recording.get_series(), MOVIE)
