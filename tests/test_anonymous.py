"""``--anonymous``: no name of a folder, file, person or computer in the output, and all that explains a fault remains."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import roiextractors_core as roi
from roiextractors_core.cli.anonymous import Anonymizer
from roiextractors_core.cli.facts import every_channel, facts_of

sys.path.insert(0, str(Path(__file__).parent))
from planted.processes import command as run

PLANTED = ("annika", "zwettler", "mouse77", "kolibri", "20240131", "brunhild", "wuschel")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "annika" / "Zwettler Group" / "mouse77_20240131"
    folder.mkdir(parents=True)
    return folder


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    names = {"USER": "annika", "LOGNAME": "annika", "HOME": str(folder.parents[1]), "HOSTNAME": "kolibri-pc"}
    done = run(*words, folder=folder, environment={**os.environ, **names})
    said = (done.stdout + done.stderr).lower()
    assert not [name for name in PLANTED if name in said], said
    return done


def write_movie(path: Path) -> Path:
    np.save(path, np.zeros((5, 4, 6), np.uint16))
    return path


def test_info_keeps_format_shape_rate_and_evidence(folder: Path) -> None:
    write_movie(folder / "annika_wuschel_007.npy")
    options = ("annika_wuschel_007.npy", "--anonymous", "--sampling-frequency", "12.5")
    (facts,) = json.loads(command(folder, "info", *options, "--json").stdout)
    assert (facts["format"], facts["shape"], facts["sampling_frequency"]) == ("npy", [5, 4, 6], 12.5)
    assert facts["evidence"] == "the bytes at the start are 93 4e 55 4d 50 59"
    assert facts["paths"][0].endswith("/aaaaaa/Aaaaaaaa Aaaaa/aaaaa00_00000000/aaaaaa_aaaaaaa_000.npy")
    shown = command(folder, "info", *options).stdout
    assert shown.startswith("aaaaaa_aaaaaaa_000.npy\n")
    assert "5 samples x 4 rows x 6 columns" in shown
    assert "12.5 Hz" in shown
    assert not list(folder.glob("*.png"))


@pytest.mark.thorough
@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize("verb", ["info", "explain"])
def test_messages_on_what_does_not_open_contain_no_name(folder: Path, verb: str, as_json: tuple[str, ...]) -> None:
    (folder / "annika_wuschel.tif").write_bytes(b"Brunhild Zwettler, 31.01.2024")
    (folder / "wuschel").mkdir()
    write_movie(folder / "wuschel" / "annika_1.npy")
    write_movie(folder / "wuschel" / "annika_2.npy")
    for name in ("annika_wuschel.tif", "wuschel", "brunhild_lost.tif", str(folder / "annika_wuschel.tif"), ".."):
        done = command(folder, verb, name, "--anonymous", *as_json)
        assert done.stdout + done.stderr
        if as_json and done.stdout:
            json.loads(done.stdout)
    if not as_json:
        assert "could not identify the format of" in command(folder, verb, "wuschel", "--anonymous").stderr


def test_a_word_that_is_not_understood_is_replaced_too(folder: Path) -> None:
    write_movie(folder / "annika.npy")
    assert "unexpected extra argument" in command(folder, "explain", "annika.npy", "brunhild", "--anonymous").stderr


@pytest.mark.thorough
def test_people_in_the_metadata_of_a_file_are_replaced(folder: Path) -> None:
    path = folder / "annika.ome.tif"
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Experimenter ID="Experimenter:0" FirstName="Brunhild" LastName="Wuschel"/>'
        '<Image ID="Image:0" Name="wuschel"><AcquisitionDate>2024-01-31T10:11:12</AcquisitionDate>'
        "<Description>Brunhild trained mouse77</Description>"
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="16" SizeY="12" SizeC="2" SizeZ="1" SizeT="3"'
        ' TimeIncrement="0.1"><Channel ID="Channel:0:0" Name="GCaMP6 Brunhild"/><Channel ID="Channel:0:1" Name="Red"/>'
        "<TiffData/></Pixels></Image></OME>"
    )
    tifffile.imwrite(path, np.zeros((6, 12, 16), np.uint16), description=xml, metadata=None, photometric="minisblack")
    facts = json.loads(command(folder, "info", path.name, "--anonymous", "--json").stdout)
    assert [one["stream"]["channel"] for one in facts] == ["GCaMP6 Aaaaaaaa", "Red"]
    assert {one["metadata"]["start_time"] for one in facts} == {"2024"}
    assert {one["sampling_frequency"] for one in facts} == {10.0}
    text = command(folder, "info", path.name, "--anonymous").stdout
    assert re.search(r"^start +2024$", text, re.MULTILINE)


@pytest.mark.thorough
def test_plugins_that_fail_are_listed_without_the_folders_of_their_files(folder: Path) -> None:
    records = json.loads(command(folder, "plugins", "--json", "--anonymous").stdout)
    plain = json.loads(command(folder, "plugins", "--json").stdout)
    assert [(r["name"], r["version"], r["status"]) for r in records] == [
        (r["name"], r["version"], r["status"]) for r in plain
    ]


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ('File "/srv/kolibri/x y/lib/python3.11/site-packages/pkg/mod.py", line 3', 'pkg/mod.py", line 3'),
        ("see C:\\Users\\Brunhild\\wuschel 01.tif", "see C:\\Users\\Aaaaaaaa\\aaaaaaa"),
        ("\\\\kolibri\\share\\brunhild.nd2 is gone", "\\\\aaaaaaa\\aaaaa\\aaaaaaaa.nd2 is gone"),
        ("file:///srv/brunhild/a.tif", "file:///aaa/aaaaaaaa/a.tif"),
        ("by brunhild@kolibri.org on 2024-01-31 10:11:12.5", "by aaaaaaaa@aaaaaaa.aaa on 2024"),
        ("on 1/31/2024 10:11:12 PM", "on 2024"),
        (
            "the channels 'Green' and 'Brunhild 3'; the sample's rate",
            "the channels 'Green' and 'Aaaaaaaa 3'; the sample's rate",
        ),
        (
            "https://roiextractors-core.readthedocs.io/en/latest/",
            "https://roiextractors-core.readthedocs.io/en/latest/",
        ),
        ("tifffile 2024.8.30 read 20 of 54,000 rows/columns", "tifffile 2024.8.30 read 20 of 54,000 rows/columns"),
    ],
)
def test_messages_keep_what_is_not_a_name(text: str, public: str) -> None:
    replaced = Anonymizer().text(text)
    assert public in replaced
    assert not [name for name in PLANTED if name in replaced.lower()]
    assert Anonymizer().text(replaced) == replaced


def test_vendors_metadata_keep_keys_numbers_and_technical_words() -> None:
    header = {
        "Operator": "Brunhild Zwettler",
        "subject": {"id": "W7", "date_of_birth": "2023-05-06", "weight": 21.5},
        "Comment": "Wuschel had a bad day",
        "scanMode": "resonant",
        "gain": "3.5",
        "file": "D:\\kolibri\\20240131.raw",
        "tags": ["Wuschel", 3],
    }
    public: Any = Anonymizer().plain({"vendor": header})["vendor"]
    assert list(public) == list(header)
    assert public["Operator"] == "Aaaaaaaa Aaaaaaaa"
    assert public["subject"] == {"id": "A0", "date_of_birth": "0000-00-00", "weight": 21.5}
    assert (public["scanMode"], public["gain"], public["tags"]) == ("resonant", "3.5", ["Aaaaaaa", 3])
    assert public["file"] == "D:\\aaaaaaa\\00000000.raw"
    assert "had" not in public["Comment"]


@pytest.mark.parametrize(
    "name",
    [
        "bruker/NCCR32_2022_11_03_IntoTheVoid_t_series-005",
        "femtonics/p29.mesc",
        "leica/LeicaLASX_xz-plane_example.lif",
        "nikon/cluster.nd2",
        "nwb/onephoton_movie.nwb",
        "olympus/test.oib",
        "scanimage/scanimage_5_7_two_channels.tif",
    ],
)
def test_real_recordings_lose_their_names_and_keep_format_evidence_and_numbers(
    recordings: Path, tmp_path: Path, name: str
) -> None:
    source = recordings / name
    place = tmp_path / "home" / "Zwettler Group" / "kolibri"
    place.mkdir(parents=True)
    link = place / f"mouse77_20240131{'' if source.is_dir() else source.suffix}"
    link.symlink_to(source, target_is_directory=source.is_dir())
    anonymizer = Anonymizer([str(link)])
    explained = roi.explain(link).to_dict()
    seen = [(explained, anonymizer.plain(explained))]
    assert seen[0][1]["best"]["format"] == explained["best"]["format"]
    for chosen, recording in every_channel(str(link), None, {}):
        anonymizer.learn(recording.metadata.to_dict())
        facts = facts_of(recording, chosen)
        public = anonymizer.plain(facts)
        kept = (
            "format",
            "plugin",
            "shape",
            "axes",
            "dtype",
            "sampling_frequency",
            "first_and_last_time",
            "median_rate",
        )
        assert {key: public[key] for key in kept} == {key: facts[key] for key in kept}
        assert re.sub(r"\S*[Aa0]{2}\S*", "", public["evidence"]).split()[:3] == facts["evidence"].split()[:3]
        seen.append((facts, public))
    said = json.dumps([public for _, public in seen]).lower()
    for planted in (*PLANTED, "nccr", "intothevoid", "moser", "onephoton_movie"):
        assert planted not in said
    starts = [facts["metadata"]["start_time"] for facts, _ in seen[1:]]
    assert [public["metadata"]["start_time"] for _, public in seen[1:]] == [s if s is None else s[:4] for s in starts]


def test_a_person_of_the_metadata_is_replaced_in_messages() -> None:
    anonymizer = Anonymizer()
    anonymizer.learn({"vendor": {"experimenter": ["Zwettler, Brunhild"], "comment": "the frames of Wuschel are dark"}})
    assert anonymizer.text("the frames by brunhild are dark: Wuschel") == "the frames by aaaaaaaa are dark: Aaaaaaa"


def test_parts_of_a_name_are_replaced_but_not_those_of_the_microscope() -> None:
    anonymizer = Anonymizer(["/data/mouse77_Cycle00001_Ch2_000001.ome.tif"])
    assert (
        anonymizer.text("the sequence mouse77_* of Ch2 in Cycle00001") == "the sequence aaaaa00_* of Ch2 in Cycle00001"
    )
