"""Declarations are checked at birth; each kind of evidence answers yes, no or unknown, and says why."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roiextractors_core.errors import DeclarationError
from roiextractors_core.io import Source
from roiextractors_core.registry.evidence import (
    AllOf,
    AnyOf,
    Evidence,
    Hdf5Path,
    JsonKey,
    Magic,
    Member,
    Name,
    Probe,
    Sibling,
    Strength,
    Text,
    TiffTag,
    XmlRoot,
    evidence_fault,
    evidence_from_dict,
)
from roiextractors_core.registry.spec import FormatSpec

YES, NO, UNKNOWN = True, False, None


def spec(**changes: Any) -> FormatSpec:
    values: dict[str, Any] = {"name": "a", "title": "A", "extractor": "package.module:Class", "extensions": (".a",)}
    return FormatSpec(**{**values, **changes})


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes | str], Path]:
    def write(name: str, content: bytes | str = b"content") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def small_tiff(software: bytes, width: int = 512) -> bytes:
    text = software + b"\0"
    table = struct.pack("<HHHIIHHII", 2, 256, 3, 1, width, 305, 2, len(text), 38)
    return b"II*\0" + struct.pack("<I", 8) + table + bytes(4) + text


# Declarations


def test_a_declaration_keeps_what_it_was_given_and_lowers_suffixes() -> None:
    found = spec(extensions=[".TIF", ".Ome.Tiff"], specializes=["tiff"], evidence=Magic(b"x"))
    assert found.extensions == (".tif", ".ome.tiff")
    assert found.specializes == ("tiff",)
    assert (found.api, found.kind, found.clock, found.platforms) == (1, "imaging", "none", ("any",))
    assert hash(found) == hash(spec(extensions=(".tif", ".ome.tiff"), specializes=("tiff",), evidence=Magic(b"x")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Upper"}, r"FormatSpec\('Upper'\): name must be lower-case letters, digits, - and _, got 'Upper'"),
        ({"name": "has space"}, "name must be"),
        ({"name": ""}, "name must be"),
        ({"name": 5}, "name must be"),
        ({"title": " "}, "title must be a name for people"),
        ({"extractor": "package.module"}, r"extractor must be 'package\.module:Class', got 'package\.module'"),
        ({"extractor": "package module:Class"}, "extractor must be"),
        ({"extractor": None}, "extractor must be"),
        ({"extensions": ".tif"}, r"extensions must be a tuple of strings, got '\.tif'"),
        ({"extensions": ("tif",)}, "extensions must be suffixes that begin with a dot"),
        ({"extensions": (".tif/",)}, "extensions must be suffixes"),
        ({"extensions": ("*.tif",)}, "extensions must be suffixes"),
        ({"extensions": (5,)}, "extensions must be a tuple of strings"),
        ({"extensions": {".b", ".a"}}, "extensions must be a tuple of strings"),
        ({"extensions": ()}, "extensions must be at least one suffix, or evidence"),
        ({"evidence": b"magic"}, r"evidence must be Magic\(\.\.\.\)"),
        ({"evidence": Magic}, "evidence must be"),
        ({"specializes": "tiff"}, "specializes must be a tuple of strings"),
        ({"specializes": ("a",)}, "specializes must be names of other formats"),
        ({"api": "1"}, "api must be an integer"),
        ({"api": True}, "api must be an integer"),
        ({"kind": "video"}, "kind must be 'imaging' or 'segmentation'"),
        ({"clock": "atomic"}, "clock must be 'native', 'rate' or 'none'"),
        ({"streams": "channel"}, "streams must be a tuple of strings"),
        ({"description": None}, "description must be a sentence"),
    ],
)
def test_a_declaration_that_cannot_be_right_is_refused_by_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        spec(**changes)


def test_a_declaration_is_frozen() -> None:
    with pytest.raises(AttributeError):
        spec().name = "other"  # type: ignore[misc]


def test_a_declaration_makes_the_round_trip_through_json() -> None:
    first = spec(
        extensions=(".tif",),
        evidence=(Magic(b"\x00\xff", 4) | TiffTag("Software", contains="SI.")) & Member("*.tif"),
        specializes=("tiff",),
        streams=("channel",),
        clock="native",
        metadata=("start_time",),
        platforms=("linux", "windows"),
        description="One sentence.",
    )
    again = FormatSpec.from_dict(json.loads(json.dumps(first.to_dict())))
    assert again == first
    assert spec() == FormatSpec.from_dict(json.loads(json.dumps(spec().to_dict())))


def test_the_class_is_loaded_by_name_and_its_absence_is_a_declaration_error() -> None:
    assert spec(extractor="decimal:Decimal").load().__name__ == "Decimal"
    with pytest.raises(DeclarationError, match=r"format 'a' names 'decimal:Nothing', but decimal has no class Nothing"):
        spec(extractor="decimal:Nothing").load()
    with pytest.raises(DeclarationError, match="has no class getcontext"):
        spec(extractor="decimal:getcontext").load()
    with pytest.raises(ModuleNotFoundError):
        spec(extractor="no_such_module:Class").load()


# Evidence that cannot be right


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Magic(b""), "Magic takes bytes, at least one"),
        (lambda: Magic("text"), "Magic takes bytes"),
        (lambda: Magic(b"x", -1), "an offset of 0 or more"),
        (lambda: Magic(b"x", 1.5), "an offset of 0 or more"),
        (
            lambda: TiffTag("NoSuchTag"),
            r"TiffTag does not know the tag 'NoSuchTag'; pass its code, or one of NewSubfileType",
        ),
        (lambda: TiffTag("Software", matches="("), r"matches='\('\) is not a valid regular expression"),
        (lambda: TiffTag("Software", contains=5), "TiffTag takes text for contains, got 5"),
        (lambda: TiffTag("Software", contains=""), "TiffTag takes text for contains, got ''"),
        (lambda: TiffTag("Software", startswith=b"SI"), "TiffTag takes text for startswith"),
        (lambda: TiffTag("Software", equals=b"SI"), "TiffTag takes text or an integer for equals"),
        (lambda: Hdf5Path(5), "Hdf5Path takes text for path"),
        (lambda: Hdf5Path("/a", equals="x"), "equals= needs attribute="),
        (lambda: Hdf5Path("/a", "b", equals=[1]), "takes text or an integer for equals"),
        (lambda: XmlRoot(""), "XmlRoot takes text for name"),
        (lambda: XmlRoot("a", file=""), "XmlRoot takes text for file"),
        (lambda: JsonKey(None), "JsonKey takes text for key"),
        (lambda: Magic(b"x", file=""), "Magic takes text for file"),
        (lambda: Text(), "Text takes contains=, matches= or both, got neither"),
        (lambda: Text(""), "Text takes text for contains, got ''"),
        (lambda: Text(b"x"), "Text takes text for contains"),
        (lambda: Text("x", file=3), "Text takes text for file"),
        (lambda: Text("x", head=0), "a head of 1 to 65,536 bytes here, got 0"),
        (lambda: Text("x", head=True), "a head of 1 to 65,536 bytes here, got True"),
        (lambda: Text("x", head=1 << 20), "a head of 1 to 65,536"),
        (lambda: Text(matches="x", head=5000), "a head of 1 to 4,096"),
        (lambda: Text(matches="("), r"Text\(matches='\('\) is not a valid regular expression"),
        (lambda: Text(matches="a{99999999999}"), "is not a valid regular expression"),
        (lambda: TiffTag("Software", matches="(a+)+$"), "may take forever"),
        (lambda: Member(b"*.tif"), "Member takes text for glob"),
        (lambda: Sibling(""), "Sibling takes text for glob"),
        (lambda: Name(7), "Name takes text for glob"),
        (lambda: Probe("module"), r"Probe takes 'package\.module:function', got 'module'"),
        (lambda: Probe(len), "Probe takes"),
        (lambda: Magic(b"x") & "y", "evidence can only be joined with evidence, got 'y'"),
        (lambda: Magic(b"x") | None, "evidence can only be joined with evidence"),
        (lambda: evidence_from_dict({"kind": "smell"}), "there is no kind of evidence 'smell'"),
    ],
)
def test_evidence_that_cannot_be_right_is_refused_when_it_is_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        make()


EVERY_KIND = [
    Magic(b"\x01\xfe", 3),
    TiffTag("Software", contains="SI."),
    TiffTag(305),
    TiffTag(256, equals=512),
    Hdf5Path("/a/*", "b", equals="c"),
    XmlRoot("PVScan", file="*.xml"),
    JsonKey("a.b"),
    Magic(b"\x01\xfe", file="chunk_*.bin"),
    Text("[Acme]", matches=r"^version", file="header.ini", head=100),
    Member("*/x.csv"),
    Sibling("{stem}.mat"),
    Name("ops*.npy"),
    Probe("package.module:function"),
    Magic(b"a") & Name("b") & Member("c"),
    Magic(b"a") | Name("b"),
    (Magic(b"a") | Magic(b"b")) & (Name("c") | Name("d")),
]


@pytest.mark.parametrize("evidence", EVERY_KIND, ids=lambda evidence: evidence.kind)
def test_evidence_makes_the_round_trip_through_json(evidence: Evidence) -> None:
    again = evidence_from_dict(json.loads(json.dumps(evidence.to_dict())))
    assert again == evidence
    assert not evidence_fault(again)
    assert hash(again) == hash(evidence)


def test_joined_evidence_is_flat() -> None:
    a, b, c = Magic(b"a"), Magic(b"b"), Magic(b"c")
    assert a & b & c == AllOf((a, b, c))
    assert a | (b | c) == AnyOf((a, b, c))
    assert (a & b) | c == AnyOf((AllOf((a, b)), c))


# Each kind


@pytest.mark.parametrize(
    ("evidence", "answer", "basis"),
    [
        (Magic(b"head"), YES, "the bytes at the start are 68 65 61 64"),
        (Magic(b"ad", 2), YES, "the bytes at byte 2 are 61 64"),
        (Magic(b"x" * 4), NO, "the bytes at the start are 68 65 61 64, expected 78 78 78 78"),
        (Magic(b"end", 9_000), YES, "the bytes at byte 9000 are"),
        (Magic(b"endx", 9_000), NO, "are 65 6e 64, expected"),
        (Magic(b"x", 10_000), NO, "the bytes at byte 10000 are none"),
        (Magic(b"x", 1 << 40), NO, "are none"),
    ],
)
def test_magic(write: Any, evidence: Evidence, answer: bool, basis: str) -> None:
    finding = evidence.check(Source(write("x", b"head".ljust(9_000, b".") + b"end")))
    assert finding.answer is answer
    assert basis in finding.basis
    assert finding.strength is Strength.CONTENT


def test_magic_of_another_file(write: Any, tmp_path: Path) -> None:
    source = write("rec/chunk_2.bin", b"other")
    write("rec/chunk_1.bin", b"ACME")
    (tmp_path / "rec" / "chunk_0.bin.d").mkdir()
    folder, file = Source(tmp_path / "rec"), Source(source)
    assert (
        Magic(b"ACME", file="chunk_*.BIN").check(folder).basis
        == "the bytes at the start of chunk_1.bin are 41 43 4d 45"
    )
    assert Magic(b"ME", 2, file="chunk_1.bin").check(folder).strength is Strength.CONTENT
    assert Magic(b"ACME", file="chunk_2.bin").check(folder).answer is NO
    assert Magic(b"ACME", file="chunk_3.bin").check(folder).basis == "chunk_3.bin does not exist"
    assert Magic(b"ACME", file="*.d").check(folder).answer is NO
    # What is beside a file says less about it than its own bytes
    assert Magic(b"ACME", file="chunk_1.bin").check(file).answer is YES
    assert Magic(b"ACME", file="chunk_1.bin").check(file).strength is Strength.NEIGHBOURS


def test_magic_of_another_file_is_asked_after_the_sources_own_bytes(write: Any) -> None:
    source = Source(write("x"))
    assert (Magic(b"1", file="y") & Magic(b"2")).check(source).basis.startswith("the bytes at the start are")


HEADER = "[Acme µScope]\r\nversion = 2\r\nrate = 30\r\n"


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
@pytest.mark.parametrize(
    ("evidence", "answer", "basis"),
    [
        (Text("[Acme µScope]\nversion"), YES, "the file contains '[Acme µScope]\\nversion'"),
        (
            Text("[acme"),
            NO,
            "the file begins with '[Acme µScope]\\nversion = 2\\nrate = 30\\n' and does not contain '[acme'",
        ),
        (Text(matches=r"^version = \d$"), YES, r"the file matches '^version = \\d$'"),
        (Text(matches=r"(?i)^\[acme"), YES, "the file matches"),
        (Text(matches=r"\Aversion"), NO, "does not match"),
        (Text("rate", matches="^rate = 31"), NO, "does not match"),
        (Text("rate", head=8), NO, "does not contain 'rate'"),
        (Text("rate", file="*.nothing"), NO, "*.nothing does not exist"),
    ],
)
def test_text(write: Any, coding: str, evidence: Evidence, answer: bool, basis: str) -> None:
    content = HEADER.encode(coding)
    finding = evidence.check(Source(write("x", b"\xfe\xff" + content if coding == "utf-16-be" else content)))
    assert finding.answer is answer
    assert finding.basis.isprintable()
    if "head" not in repr(evidence) or evidence.to_dict()["head"] == 4096:
        assert basis in finding.basis


def test_text_of_a_member_of_a_folder(write: Any, tmp_path: Path) -> None:
    write("rec/header.ini", HEADER)
    write("rec/times.csv", "frame;time\n")
    folder = Source(tmp_path / "rec")
    assert Text("[Acme", file="HEADER.ini").check(folder).basis == "header.ini contains '[Acme'"
    assert Text(matches="^frame;time$", file="*.csv").check(folder).strength is Strength.CONTENT
    assert Text("[Acme").check(folder).basis == "a folder is not a document"
    assert Text("[Acme", file="header.ini").check(Source(tmp_path / "rec/times.csv")).strength is Strength.NEIGHBOURS


def test_text_reads_its_head_alone_and_may_cut_a_character(write: Any) -> None:
    content = b"a" * 4095 + "µ".encode() + b"end"
    assert Text("aaa").check(Source(write("x", content))).answer is YES
    assert Text("end").check(Source(write("x", content))).answer is NO
    assert Text("end", head=5000).check(Source(write("x", content))).answer is YES
    assert Text("µ", head=4097).check(Source(write("x", content))).answer is YES
    # UTF-8 that only the cut makes invalid is not taken for Latin-1
    assert Text("Ã", head=4096).check(Source(write("x", "µ".encode() * 4000))).answer is NO
    assert Text("Â").check(Source(write("x", "aÂ".encode("latin-1")))).answer is YES


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(.*)*x", "(?=(a+)+)b", "((a?){20}){20}b", r"(\d+,)+;", "(a+)++b"]
)
def test_a_regular_expression_without_a_bound_for_its_time_is_refused(pattern: str) -> None:
    with pytest.raises(DeclarationError, match="may take forever"):
        Text(matches=pattern)


@pytest.mark.parametrize(
    "pattern", [r"(\d++,)+;", r"(\d{1,3}\.){3}\d+", r"(a|b)*c", "(ab|cd)?e", r"^\s*v\s*=\s*\d+", "(?>a+)+b"]
)
def test_a_regular_expression_with_a_bounded_time_is_kept(pattern: str) -> None:
    assert Text(matches=pattern).matches == pattern


@pytest.mark.parametrize("content", ["a" * 65_536, ("a" * 600 + "\n") * 100], ids=["one line", "lines"])
def test_many_repeats_in_a_row_end_soon(write: Any, content: str) -> None:
    start = time.perf_counter()
    assert Text(matches=".*a.*b").check(Source(write("x", content))).answer is NO
    assert time.perf_counter() - start < 20  # hours, without the bounds


def test_a_folder_has_no_first_bytes(write: Any, tmp_path: Path) -> None:
    write("x")
    assert Magic(b"x").check(Source(tmp_path)).basis == "a folder has no first bytes"


@pytest.mark.parametrize(
    ("evidence", "answer", "basis"),
    [
        (TiffTag("Software"), YES, "the TIFF tag Software is 'SI.LINE = 1'"),
        (TiffTag(305), YES, "the TIFF tag 305"),
        (TiffTag("Software", contains="LINE"), YES, "contains 'LINE'"),
        (TiffTag("Software", startswith="SI."), YES, "starts with 'SI.'"),
        (TiffTag("Software", matches=r"^SI\.\w+ = \d"), YES, "matches"),
        (TiffTag("Software", equals="SI.LINE = 1"), YES, "is 'SI.LINE = 1'"),
        (TiffTag("Software", equals="SI"), NO, "is 'SI.LINE = 1'"),
        (TiffTag("Software", contains="SI.", startswith="X"), NO, "is 'SI.LINE = 1'"),
        (TiffTag("ImageWidth", equals=512), YES, "is (512,)"),
        (TiffTag("ImageWidth", equals=511), NO, "is (512,)"),
        (TiffTag("ImageWidth", equals="512"), NO, "is (512,)"),
        (TiffTag("ImageWidth", contains="5"), NO, "is (512,)"),
        (TiffTag("Artist"), NO, "the TIFF tag Artist is missing"),
    ],
)
def test_tiff_tag(write: Any, evidence: Evidence, answer: bool, basis: str) -> None:
    finding = evidence.check(Source(write("x", small_tiff(b"SI.LINE = 1"))))
    assert finding.answer is answer
    assert basis in finding.basis


def test_tiff_tag_says_no_to_what_is_not_tiff_and_shows_control_characters_escaped(write: Any) -> None:
    assert TiffTag("Software").check(Source(write("x", b"text"))).basis == "this is not TIFF"
    finding = TiffTag("Software").check(Source(write("y", small_tiff(b"a\x1b[2Jb"))))
    assert finding.basis == r"the TIFF tag Software is 'a\\x1b[2Jb'"


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    import numpy as np

    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data/ch0", data=[1, 2, 3])
        file["data"].attrs["kind"] = "imaging"
        file["data"].attrs["bytes"] = np.bytes_("imaging")
        file["data"].attrs["array"] = np.array(["imaging"], dtype=object)
        file["data"].attrs["many"] = [1, 2, 3]
        file["data"].attrs["version"] = 7
        file["outside"] = h5py.ExternalLink("other.h5", "/secret")
        file["dangling"] = h5py.SoftLink("/nowhere")
    return path


@pytest.mark.parametrize(
    ("evidence", "answer"),
    [
        (Hdf5Path("/data/ch0"), YES),
        (Hdf5Path("data"), YES),
        (Hdf5Path("/*/ch0"), YES),
        (Hdf5Path("/"), YES),
        (Hdf5Path("/data/ch1"), NO),
        (Hdf5Path("/data/ch0/deeper"), NO),
        (Hdf5Path("/outside"), NO),
        (Hdf5Path("/dangling"), NO),
        (Hdf5Path("/data", "kind"), YES),
        (Hdf5Path("/data", "kind", equals="imaging"), YES),
        (Hdf5Path("/data", "bytes", equals="imaging"), YES),
        (Hdf5Path("/data", "array", equals="imaging"), YES),
        (Hdf5Path("/data", "version", equals=7), YES),
        (Hdf5Path("/data", "version", equals=8), NO),
        (Hdf5Path("/data", "many", equals=1), NO),
        (Hdf5Path("/data", "many"), YES),
        (Hdf5Path("/data", "kind", equals="other"), NO),
        (Hdf5Path("/data", "none"), NO),
    ],
)
def test_hdf5_path(hdf5: Path, evidence: Evidence, answer: bool) -> None:
    with Source(hdf5) as source:
        finding = evidence.check(source)
        assert finding.answer is answer, finding.basis


def test_hdf5_path_is_no_for_other_files_and_unknown_without_h5py(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Hdf5Path("/a").check(Source(write("x", b"text"))).answer is NO
    monkeypatch.setitem(sys.modules, "h5py", None)
    finding = Hdf5Path("/a").check(Source(write("y", b"\x89HDF\r\n\x1a\n" + bytes(100))))
    assert finding.answer is UNKNOWN
    assert finding.basis == "unknown: h5py is not installed, so the HDF5 content was not checked"


@pytest.mark.parametrize("place", [100, 300, 600, 900])
def test_damage_inside_an_hdf5_file_is_an_answer_and_no_crash(hdf5: Path, place: int) -> None:
    content = bytearray(hdf5.read_bytes())
    content[place : place + 200] = b"\xa5" * 200
    hdf5.write_bytes(content)
    for evidence in (Hdf5Path("/data/ch0"), Hdf5Path("/*/*", "kind"), Hdf5Path("/data", "kind", equals="imaging")):
        with Source(hdf5) as source:
            assert evidence.check(source).answer in (YES, NO, UNKNOWN)


@pytest.mark.parametrize(
    ("evidence", "answer", "basis"),
    [
        (XmlRoot("PVScan"), YES, "the file is XML with the root 'PVScan'"),
        (XmlRoot("OME"), NO, "the file is XML with the root 'PVScan'"),
        (XmlRoot("Other", file="*.XML"), NO, "x.xml is XML with the root 'PVScan'"),
        (XmlRoot("Sidecar", file="companion.*"), YES, "companion.ome is XML with the root 'Sidecar'"),
        (XmlRoot("OME", file="*.nothing"), NO, "*.nothing does not exist"),
        (XmlRoot("OME", file="notes.txt"), NO, "notes.txt is not XML"),
        (XmlRoot("OME", file="bomb.txt"), UNKNOWN, "unknown: bomb.txt contains a DOCTYPE"),
    ],
)
def test_xml_root(write: Any, evidence: Evidence, answer: bool | None, basis: str) -> None:
    write("companion.ome", "<Sidecar/>")
    write("notes.txt", "words")
    write("bomb.txt", "<!DOCTYPE a []><a/>")
    finding = evidence.check(Source(write("x.xml", "<PVScan version='1'>")))
    assert finding.answer is answer
    assert basis in finding.basis


@pytest.mark.parametrize(
    ("evidence", "answer"),
    [
        (JsonKey("frameRate"), YES),
        (JsonKey("ROI.height"), YES),
        (JsonKey("ROI.depth"), NO),
        (JsonKey("frameRate.deeper"), NO),
        (JsonKey("frameRate", file="meta*"), YES),
        (JsonKey("frameRate", file="list.json"), NO),
        (JsonKey("frameRate", file="words.txt"), NO),
    ],
)
def test_json_key(write: Any, evidence: Evidence, answer: bool) -> None:
    write("list.json", "[1, 2]")
    write("words.txt", "words")
    assert (
        evidence.check(Source(write("metaData.json", '{"frameRate": "15FPS", "ROI": {"height": 600}}'))).answer
        is answer
    )


def test_a_document_of_a_folder_is_one_of_its_members(write: Any, tmp_path: Path) -> None:
    write("metaData.json", '{"frameRate": 1}')
    folder = Source(tmp_path)
    assert JsonKey("frameRate", file="metadata.json").check(folder).answer is YES
    assert JsonKey("frameRate").check(folder).basis == "a folder is not a document"
    assert XmlRoot("a").check(folder).answer is NO


def test_member_and_sibling_and_name(write: Any, tmp_path: Path) -> None:
    file = write("Recording_001.dat")
    write("Recording_001.MAT")
    write("sub/x.csv")
    folder, beside = Source(tmp_path), Source(file)
    assert Member("*.dat").check(folder).answer is YES
    assert Member("sub/*.csv").check(folder).basis == "the folder contains sub/x.csv"
    assert Member("*.tif").check(folder).basis == "the folder does not contain *.tif"
    assert Member("*.dat").check(beside).basis == "this is not a folder"
    assert Sibling("{stem}.mat").check(beside).answer is YES
    assert Sibling("{stem}.xml").check(beside).basis == "no Recording_001.xml is beside it"
    assert Name("recording_*.DAT").check(beside).answer is YES
    assert Name("*.tif").check(beside).basis == "the name does not match *.tif"
    assert Member("*").check(folder).strength is Strength.NEIGHBOURS
    assert Sibling("*").check(beside).strength is Strength.NEIGHBOURS
    assert Name("*").check(beside).strength is Strength.NAME


def test_a_stem_with_brackets_is_taken_literally(write: Any) -> None:
    write("cell[1].mat")
    write("other1.mat")
    assert Sibling("{stem}.mat").check(Source(write("cell[1].sbx"))).answer is YES
    assert Sibling("{stem}.mat").check(Source(write("cell[2].sbx"))).answer is NO


PROBES = """
calls = []
def yes(source): calls.append(source.name); return True
def no(source): return False
def unsure(source): return None
def number(source): return 1
def fails(source): raise KeyError("no\\x1bkey")
def leaves(source): raise SystemExit(3)
def long(source): raise ValueError("x" * 100_000)
"""


@pytest.fixture
def probes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path_factory.mktemp("probes")
    (folder / "some_probes.py").write_text(PROBES)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "some_probes", raising=False)
    return folder


@pytest.mark.parametrize(
    ("name", "answer", "basis"),
    [
        ("yes", YES, "the probe some_probes:yes says yes"),
        ("no", NO, "says no"),
        ("unsure", UNKNOWN, "says unknown"),
        ("number", UNKNOWN, "unknown: the probe some_probes:number returned int instead of True, False or None"),
        ("fails", UNKNOWN, "unknown: the probe some_probes:fails raised KeyError: 'no\\x1bkey'"),
        ("leaves", UNKNOWN, "unknown: the probe some_probes:leaves raised SystemExit: 3"),
        ("missing", UNKNOWN, "raised AttributeError"),
    ],
)
def test_a_probe_answers_and_its_failure_is_an_answer(
    write: Any, probes: Any, name: str, answer: bool | None, basis: str
) -> None:
    finding = Probe(f"some_probes:{name}").check(Source(write("x")))
    assert finding.answer is answer
    assert basis in finding.basis
    assert finding.basis.isprintable()


def test_a_probe_of_a_module_that_is_not_there_is_unknown(write: Any) -> None:
    finding = Probe("no_such_module.at_all:function").check(Source(write("x")))
    assert finding.answer is UNKNOWN
    assert "ModuleNotFoundError" in finding.basis


def test_what_a_probe_says_in_its_failure_is_kept_short(write: Any, probes: Any) -> None:
    assert len(Probe("some_probes:long").check(Source(write("x"))).basis) < 500


@pytest.mark.parametrize(
    ("cheaper", "imported"),
    [
        (Magic(b"content"), True),
        (Magic(b"other"), False),
        (Magic(b"content") & Name("y"), False),
        (Magic(b"content") & XmlRoot("a", file="bomb.xml"), False),
    ],
)
def test_a_probe_is_imported_only_when_everything_cheaper_said_yes(
    write: Any, probes: Any, cheaper: Evidence, imported: bool
) -> None:
    write("bomb.xml", "<!DOCTYPE a []><a/>")
    (Probe("some_probes:yes") & cheaper).check(Source(write("x")))
    assert ("some_probes" in sys.modules) is imported


def test_a_probe_beside_cheaper_evidence_is_not_asked_once_that_said_yes(write: Any, probes: Any) -> None:
    finding = (Probe("some_probes:yes") | Magic(b"content")).check(Source(write("x")))
    assert finding.answer is YES
    assert "some_probes" not in sys.modules
    assert (Probe("some_probes:yes") | Magic(b"other")).check(Source(write("x"))).answer is YES


# Three-valued logic


class Says(Evidence):
    """A stand-in whose answer, strength and cost are given."""

    __slots__ = ("answer", "asked", "cost", "strength")

    def __init__(self, answer: bool | None, strength: Strength = Strength.CONTENT, cost: int = 1) -> None:
        self.answer, self.strength, self.cost, self.asked = answer, strength, cost, 0

    def _look(self, source: Source) -> tuple[bool | None, str]:
        self.asked += 1
        return self.answer, f"says {self.answer}"


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        (YES, YES, YES, YES),
        (YES, NO, NO, YES),
        (NO, NO, NO, NO),
        (YES, UNKNOWN, UNKNOWN, YES),
        (NO, UNKNOWN, NO, UNKNOWN),
        (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_and_and_or_are_three_valued_and_do_not_mind_the_order(
    write: Any, left: bool | None, right: bool | None, both: bool | None, either: bool | None
) -> None:
    source = Source(write("x"))
    for a, b in ((left, right), (right, left)):
        for cost in (1, 2):
            assert (Says(a) & Says(b, cost=cost)).check(source).answer is both
            assert (Says(a) | Says(b, cost=cost)).check(source).answer is either
            assert (Says(a) & Says(b, cost=cost)).excludes(source) is (both is NO)
            assert (Says(a) | Says(b, cost=cost)).excludes(source) is (either is NO)


def test_what_excludes_a_source_is_a_no_of_its_check_and_never_that_of_a_probe(write: Any) -> None:
    tiff, folder = write("a.tif", small_tiff(b"SI.CHAN")), write("folder/x.json", '{"key": 1}').parent
    parts = [
        *(
            Magic(b"II*"),
            Magic(b"II+"),
            Magic(b"ab", 5000),
            Magic(b"II*", file="a.tif"),
            TiffTag("Software"),
            Hdf5Path("/a"),
        ),
        *(TiffTag("Software", startswith="X"), XmlRoot("a"), JsonKey("key"), JsonKey("key", file="x.json"), Text("II")),
        *(Member("*.json"), Sibling("{stem}.tif"), Sibling("b.tif"), Name("*.TIF"), Name("b*")),
    ]
    parts += [a & b for a in parts for b in parts] + [a | b for a in parts for b in parts]
    for source in map(Source, (tiff, folder, write("x.json", '{"key": 1}'), write("a.xml", "<a/>"))):
        for part in parts:
            assert part.excludes(source) is (part.check(source).answer is NO), part
    probe, source = Says(NO, cost=Probe.cost), Source(tiff)
    assert not probe.excludes(source)
    assert not (Says(NO) | probe).excludes(source)
    # The unknown answer is the result of the check, as the probe is not asked then
    unsure = Says(UNKNOWN) & AnyOf((Says(NO, cost=0), AllOf((probe, Says(NO, cost=0)))))
    assert unsure.check(source).answer is UNKNOWN
    assert not unsure.excludes(source)


def test_the_cheap_part_is_asked_first_and_may_end_the_search(write: Any) -> None:
    source = Source(write("x"))
    dear, no, yes = Says(YES, cost=9), Says(NO, cost=0), Says(YES, cost=0)
    (dear & no).check(source)
    (dear | yes).check(source)
    assert (dear.asked, no.asked, yes.asked) == (0, 1, 1)


def test_the_strongest_part_counts(write: Any) -> None:
    source = Source(write("x"))
    name, content = Says(YES, Strength.NAME, cost=0), Says(YES, Strength.CONTENT, cost=5)
    assert (name & content).check(source).strength is Strength.CONTENT
    assert (name | content).check(source).strength is Strength.CONTENT
    assert (name | Says(NO, Strength.CONTENT)).check(source).strength is Strength.NAME
    assert (name & content).check(source).basis == "says True and says True"


def test_content_is_known_to_be_looked_at() -> None:
    assert (Name("a") & Magic(b"x")).has_content()
    assert not (Name("a") | Member("b")).has_content()


def test_evidence_that_crashes_is_an_unknown_and_spoils_nothing(write: Any) -> None:
    class Crashes(Evidence):
        __slots__ = ()

        def _look(self, source: Source) -> tuple[bool | None, str]:
            raise ZeroDivisionError("by\x1bzero")

    source = Source(write("x"))
    assert Crashes().check(source).basis == "unknown: ZeroDivisionError: by\\x1bzero"
    assert (Crashes() | Says(YES, cost=5)).check(source).answer is YES
    assert (Crashes() & Says(NO, cost=5)).check(source).answer is NO


def test_nothing_is_asked_twice_of_the_disk(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from roiextractors_core.io import PositionedFile

    source, reads = Source(write("x.tif", small_tiff(b"SI.LINE = 1").ljust(5000, b"."))), []
    real = PositionedFile.read

    def counted(self: PositionedFile, offset: int, count: int) -> bytes:
        reads.append((offset, count))
        return real(self, offset, count)

    monkeypatch.setattr(PositionedFile, "read", counted)
    for number in range(50):
        (Magic(b"II*\0") & TiffTag("Software", contains=f"SI.{number}")).check(source)
        Magic(bytes([number]), 100 + number).check(source)
    assert reads == [(0, 4096)]


def test_the_markers_are_those_of_pluggy() -> None:
    import pluggy

    import roiextractors_core as roi
    from roiextractors_core.registry import hook

    assert type(roi.hookimpl) is pluggy.HookimplMarker
    assert type(hook.hookspec) is pluggy.HookspecMarker
    assert roi.hookimpl.project_name == hook.hookspec.project_name == "roiextractors_core"
