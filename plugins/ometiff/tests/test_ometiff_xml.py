"""OME-XML as it comes: its encodings, prefixes and long texts, what is refused, and what is damaged."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_ometiff.document import read_document, root_attributes

import roiextractors_core as roi
from roiextractors_core.errors import CorruptRecordingError, TruncatedRecordingError, UnsupportedRecordingError

MOVIE = np.random.default_rng(5).integers(0, 4000, (4, 10, 12)).astype(np.uint16)


@pytest.fixture
def xml(ome: Any) -> str:
    return str(ome.xml(ome.pixels("XYZCT", t=4, frame=MOVIE[0], name="µ-slide", data=ome.data(IFD=0, PlaneCount=4))))


def written(ome: Any, folder: Path, text: str | bytes) -> Path:
    return Path(ome.tiff(folder / "m.ome.tif", MOVIE, text))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-8"),
        lambda text: b"\xef\xbb\xbf" + text.encode("utf-8"),
        lambda text: b"\n  " + text.encode("utf-8"),
        lambda text: text.partition("?>")[2].encode("utf-8"),
        lambda text: text.encode("utf-8") + b"\0left over from a longer text",
        lambda text: text.encode("utf-8") + b"\n <junk",
        lambda text: text.replace("UTF-8", "ISO-8859-1").encode("iso-8859-1"),
        lambda text: (
            text.replace("<OME ", "<ome:OME ").replace("</OME", "</ome:OME").replace("xmlns=", "xmlns:ome=").encode()
        ),
        lambda text: text.replace("2016-06", "2008-02").encode("utf-8"),
    ],
    ids=["plain", "mark", "space", "no_declaration", "nul", "junk", "latin1", "prefix", "old"],
)
def test_xml_is_read_as_it_comes(ome: Any, tmp_path: Path, xml: str, change: Any) -> None:
    path = written(ome, tmp_path, change(xml))
    assert roi.explain(path).best.spec.name == "ometiff"
    with roi.open(path) as recording:
        assert np.array_equal(recording.get_series(), MOVIE)
        assert recording.metadata.vendor["Image"]["Name"] == "µ-slide"


def test_text_in_another_encoding_than_it_claims_is_read_and_told(ome: Any, tmp_path: Path, xml: str) -> None:
    with roi.open(written(ome, tmp_path, xml.encode("iso-8859-1"))) as recording:
        assert np.array_equal(recording.get_series(), MOVIE)
        assert (
            "its OME-XML is not in the encoding that it declares; it was read as ISO 8859-1" in recording.get_notes()[0]
        )
        assert recording.metadata.vendor["Image"]["Name"] == "µ-slide"


@pytest.mark.parametrize("claim", ["UTF-88", "shift_jis", "utf-7"])
def test_an_encoding_that_is_not_known_is_read_and_told(ome: Any, tmp_path: Path, xml: str, claim: str) -> None:
    with roi.open(written(ome, tmp_path, xml.replace("UTF-8", claim).encode("iso-8859-1"))) as recording:
        assert np.array_equal(recording.get_series(), MOVIE)
        assert "was read as ISO 8859-1" in recording.get_notes()[0]


def test_a_companion_in_utf16_is_read(ome: Any, tmp_path: Path) -> None:
    ome.tiff(tmp_path / "p.tif", MOVIE)
    text = ome.xml(ome.pixels("XYZCT", t=4, frame=MOVIE[0], data=ome.data("p.tif", IFD=0, PlaneCount=4)))
    path = tmp_path / "m.companion.ome"
    path.write_bytes(text.replace("UTF-8", "UTF-16").encode("utf-16"))
    with roi.open(path, format="ometiff") as recording:
        assert np.array_equal(recording.get_series(), MOVIE)


def test_a_long_comment_before_the_root_does_not_hide_it(ome: Any, tmp_path: Path, xml: str) -> None:
    comments = "".join(f"<!-- remark {k} of the microscope > -->" for k in range(500))
    path = written(ome, tmp_path, xml.replace("<OME ", f"{comments}<OME "))
    assert roi.explain(path).best.spec.name == "ometiff"


@pytest.mark.parametrize("text", ["<!--" * 16000, "<!-- -->" * 8000, "<?x?>" * 12000, " " * 60000, "<OME " * 12000])
def test_detection_takes_no_time_on_text_made_to_take_it(ome: Any, tmp_path: Path, text: str) -> None:
    path = written(ome, tmp_path, text)
    began = time.perf_counter()
    assert roi.explain(path).best.spec.name == "tiff"
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize(
    "text",
    [
        "a letter about http://www.openmicroscopy.org/Schemas/OME/2016-06",
        '<html><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"/></html>',
        '<!-- <OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"/> --><note/>',
        "ImageJ=1.54f\nimages=4\n",
        '{"shape": [4, 10, 12]}',
    ],
)
def test_text_that_is_not_ome_is_not_claimed(ome: Any, tmp_path: Path, text: str) -> None:
    path = written(ome, tmp_path, text)
    assert roi.explain(path).best.spec.name == "tiff"
    with pytest.raises((UnsupportedRecordingError, CorruptRecordingError)):
        roi.open(path, format="ometiff")


def test_a_document_type_is_refused(ome: Any, tmp_path: Path, xml: str) -> None:
    laughs = '<!DOCTYPE OME [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    path = written(ome, tmp_path, xml.replace("<OME ", f"{laughs}<OME ").replace("µ-slide", "&b;"))
    with pytest.raises(UnsupportedRecordingError, match="contains a DOCTYPE, which is refused"):
        roi.open(path, format="ometiff")
    companion = tmp_path / "m.companion.ome"
    companion.write_text(
        '<?xml version="1.0"?><!DOCTYPE OME SYSTEM "file:///etc/passwd"><OME>&x;</OME>', encoding="utf-8"
    )
    with pytest.raises(UnsupportedRecordingError, match="contains a DOCTYPE, which is refused"):
        roi.open(companion, format="ometiff")


def test_an_entity_without_a_declaration_is_an_error(ome: Any, tmp_path: Path, xml: str) -> None:
    with pytest.raises(CorruptRecordingError, match=r"its OME-XML is not well-formed: undefined entity at line 1"):
        roi.open(written(ome, tmp_path, xml.replace("µ-slide", "&secret;")))


def test_cut_xml_is_told_with_its_place(ome: Any, tmp_path: Path, xml: str) -> None:
    for length in range(400, len(xml) - 1, 37):
        path = written(ome, tmp_path, xml.encode("utf-8")[:length])
        with pytest.raises(
            CorruptRecordingError, match=r"m.ome.tif: its OME-XML is (truncated|not well-formed): .* at line 1, column"
        ):
            roi.open(path, format="ometiff")
    with pytest.raises(TruncatedRecordingError, match="its OME-XML is truncated: no element found"):
        roi.open(written(ome, tmp_path, xml[: xml.index("<TiffData")]))


def test_another_root_is_told(ome: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedRecordingError, match=r"contains XML whose root is 'note', expected OME"):
        roi.open(written(ome, tmp_path, "<note><to>lab</to></note>"), format="ometiff")


def test_xml_without_an_image_is_told(ome: Any, tmp_path: Path) -> None:
    with pytest.raises(CorruptRecordingError, match="its OME-XML does not describe an image"):
        roi.open(written(ome, tmp_path, ome.xml()))


def test_pixels_in_the_xml_itself_are_refused(ome: Any, tmp_path: Path) -> None:
    binary = '<BinData BigEndian="false" Length="240">AAAA</BinData>'
    path = tmp_path / "m.ome"
    path.write_text(ome.xml(ome.pixels("XYZCT", frame=MOVIE[0], data=binary)), encoding="utf-8")
    with pytest.raises(UnsupportedRecordingError, match=r"has its pixels in the XML itself \(BinData\)"):
        roi.open(path)


def test_a_tiff_without_a_description_is_told(ome: Any, tmp_path: Path) -> None:
    with pytest.raises(
        UnsupportedRecordingError, match="TIFF without an ImageDescription, and therefore without OME-XML"
    ):
        roi.open(written(ome, tmp_path, ""), format="ometiff")


def test_a_description_beyond_the_end_of_the_file_is_told(ome: Any, tmp_path: Path, xml: str) -> None:
    path = written(ome, tmp_path, xml)
    data = bytearray(path.read_bytes())
    length = len(xml.encode("utf-8")) + 1
    at = data.index(length.to_bytes(4, "little"))
    data[at : at + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(TruncatedRecordingError, match=r"its OME-XML should take 1,073,741,824 bytes from byte"):
        roi.open(path, format="ometiff")


def test_many_planes_are_read_in_pieces(ome: Any, tmp_path: Path) -> None:
    count = 20_000
    data = [ome.data("p.ome.tif", "u", IFD=0, FirstT=t, PlaneCount=1) for t in range(count)]
    times = [f'<Plane TheT="{t}" TheC="0" TheZ="0" DeltaT="{t / 16}"/>' for t in range(count)]
    text = ome.xml(ome.pixels("XYZCT", t=count, frame=MOVIE[0], data=data, planes="".join(times)))
    path = tmp_path / "m.companion.ome"
    path.write_text(text, encoding="utf-8")
    assert path.stat().st_size > 3 << 20
    image = read_document(str(path)).images[0]
    assert image.blocks.shape == (count, 6)
    assert np.array_equal(image.blocks[:, 2], np.arange(count))
    assert np.array_equal(image.planes[:, 3], np.arange(count) / 16)
    assert [reference.file_name for reference in image.references] == ["p.ome.tif"]


def test_the_root_is_found_in_utf_16_and_behind_a_long_comment(ome: Any, tmp_path: Path) -> None:
    text = ome.xml(ome.pixels("XYZCT", t=4, frame=MOVIE[0]), uuid="1-2")
    long = text.replace("<OME ", f"<!--{'x' * 40_000}--><OME ")
    for name, content in (("wide", text.replace("UTF-8", "UTF-16").encode("utf-16")), ("long", long.encode())):
        (tmp_path / f"{name}.companion.ome").write_bytes(content)
        assert root_attributes(str(tmp_path / f"{name}.companion.ome"))["UUID"] == "urn:uuid:1-2"
    damaged = text.encode()[: text.index("<Pixels")] + b"<\xff\xff"  # what follows the root is damaged
    (tmp_path / "cut.companion.ome").write_bytes(damaged)
    assert root_attributes(str(tmp_path / "cut.companion.ome"))["UUID"] == "urn:uuid:1-2"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="lists the open files by /proc")
def test_an_error_that_is_kept_keeps_no_file_open(ome: Any, tmp_path: Path, xml: str) -> None:
    path = tmp_path / "cut.companion.ome"
    path.write_text(xml[: len(xml) // 2])
    with pytest.raises(TruncatedRecordingError) as kept:
        read_document(str(path))
    links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert str(path) not in links, kept.value
