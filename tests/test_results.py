"""Results of analyses that somebody opens as a movie: the error says what they are."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

import roiextractors_core as roi


def refused(path: Path, words: str, **options: Any) -> None:
    kinds = (roi.UnknownFormatError, roi.UnsupportedRecordingError, roi.SourceKindError)
    with pytest.raises(kinds, match=words) as caught:
        roi.open(path, **options)
    assert "not a movie" in str(caught.value) or "open" in str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"extractAnalysisOutput": {"filters": np.ones((4, 5, 2)), "traces": np.ones((2, 9))}},
            "EXTRACT through CIAtah",
        ),
        ({"cellmaxAnalysisOutput": {"cellImages": np.ones((4, 5, 2))}}, "CELLMax through CIAtah"),
        ({"neuron": {"A": np.ones((20, 2)), "C": np.ones((2, 9))}}, "CNMF-E"),
        ({"A": np.ones((20, 2)), "x": 1.0, "C": np.ones((2, 9)), "C_raw": np.ones((2, 9))}, "CNMF-E .*A, C, C_raw"),
        ({"output": {"spatial_weights": np.ones((4, 5, 2)), "info": 1.0}}, "EXTRACT"),
        ({"F": np.ones((3, 9)), "Fneu": np.ones((3, 9)), "spks": np.ones((3, 9)), "ops": {"Ly": 1.0}}, "Fall.mat"),
    ],
)
def test_results_in_a_file_of_matlab_are_not_a_movie(
    tmp_path: Path, variables: dict[str, Any], words: str, compressed: bool
) -> None:
    scipy.io.savemat(tmp_path / "found.mat", variables, do_compression=compressed)
    refused(tmp_path / "found.mat", f"(looks like .*{words}.*|contains a segmentation, )not a movie")


def test_other_variables_of_matlab_are_not_results(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "found.mat", {"movie": np.ones((3, 4, 5)), "A": 1.0})
    with pytest.raises(roi.RoiExtractorsError) as caught:
        roi.open(tmp_path / "found.mat")
    assert "results of" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 3, 128, 131, 136, 150, 180, 200])
def test_a_truncated_file_of_matlab_is_no_surprise(tmp_path: Path, length: int) -> None:
    scipy.io.savemat(tmp_path / "found.mat", {"neuron": {"A": np.ones((20, 2))}})
    content = (tmp_path / "found.mat").read_bytes()
    (tmp_path / "cut.mat").write_bytes(content[:length] + bytes(range(1, 40)) * (length > 150))
    with pytest.raises(roi.RoiExtractorsError):
        roi.open(tmp_path / "cut.mat")


def test_regions_and_archives_are_not_a_movie(tmp_path: Path) -> None:
    region = b"Iout" + struct.pack(">hBB", 227, 1, 0) + bytes(60)
    (tmp_path / "one.roi").write_bytes(region)
    refused(tmp_path / "one.roi", r"(a region of interest of ImageJ|contains a segmentation), not a movie")
    with zipfile.ZipFile(tmp_path / "RoiSet.zip", "w") as archive:
        archive.writestr("0001-0002.roi", region)
    refused(tmp_path / "RoiSet.zip", r"(a set of regions of interest of ImageJ|contains a segmentation), not a movie")
    np.savez(tmp_path / "cnmf.npz", A=np.ones(3))
    refused(tmp_path / "cnmf.npz", r"a set of NumPy arrays \(\.npz\)")
    (tmp_path / "bdv.xml").write_text('<?xml version="1.0"?>\n<SpimData version="0.2"></SpimData>')
    refused(tmp_path / "bdv.xml", "the description of a BigDataViewer dataset")


def test_folders_of_results_say_where_the_movie_is(tmp_path: Path) -> None:
    found = tmp_path / "neurofinder.00.00"
    for name in ("images", "regions"):
        (found / name).mkdir(parents=True)
    (found / "regions" / "regions.json").write_text(json.dumps([{"coordinates": [[1, 2], [3, 4]]}]))
    refused(found / "regions" / "regions.json", r"(regions of Neurofinder|contains a segmentation), not a movie")
    refused(found, r"its movie is in the folder 'images': open that folder")
    for names, folder, words in (
        (("A.zarr", "C.zarr", "b.zarr"), "minian", "results of minian|contains a segmentation"),
        (("sequences.pkl", "dataset.pkl"), "m.sima", "dataset of SIMA|contains a segmentation"),
        (
            ("stat.npy", "F.npy", "iscell.npy"),
            "roi",
            "ROIs and traces .*without the registered movie|contains a segmentation",
        ),
    ):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_bytes(b"\x80\x04.")
        refused(tmp_path / folder, words)


def test_traces_and_objects_of_numpy_are_not_a_movie(tmp_path: Path) -> None:
    for name in ("F", "Fneu_chan2", "spks", "iscell"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / f"{name}.npy", np.ones((5, 100), np.float32))
        refused(tmp_path / name / f"{name}.npy", "traces|classification")
    assert roi.open(tmp_path / "F" / "F.npy", dimension_order="YX").shape == (1, 5, 100)
    for name, words in (("x_seg", "Cellpose"), ("x_proc", "Facemap"), ("a", "Python objects")):
        np.save(tmp_path / f"{name}.npy", np.array({"masks": 1}, dtype=object), allow_pickle=True)
        with pytest.raises(roi.UnsupportedRecordingError, match=words):
            roi.open(tmp_path / f"{name}.npy")
