"""A source looks once, at little, and says first what is wrong with a path."""

from __future__ import annotations

import fnmatch
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from roiextractors_core.errors import (
    CorruptRecordingError,
    EmptySourceError,
    MissingDependencyError,
    SourceKindError,
    SourceNotFoundError,
    SourcePermissionError,
    UnsupportedRecordingError,
)
from roiextractors_core.io import PositionedFile, Source
from roiextractors_core.io.source import looks_like

BIG_OR_SMALL = [("<", False), (">", False), ("<", True), (">", True)]


def write(path: Path, content: bytes | str = b"content") -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def tiff(path: Path, tags: dict[int, tuple[int, int, bytes]], order: str = "<", big: bool = False) -> Path:
    """Write one TIFF directory: tag to (type, count, value bytes); long values stand behind the table."""
    entries, field = sorted(tags.items()), 8 if big else 4
    start = 16 if big else 8
    table = (8 if big else 2) + len(entries) * (20 if big else 12) + field
    behind, body = start + table, b""
    rows = b""
    for code, (kind, count, value) in entries:
        if len(value) <= field:
            shown = value.ljust(field, b"\0")
        else:
            shown = struct.pack(order + ("Q" if big else "I"), behind + len(body))
            body += value
        rows += struct.pack(order + ("HHQ" if big else "HHI"), code, kind, count) + shown
    if big:
        head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HHHQ", 43, 8, 0, start)
        count_field = struct.pack(order + "Q", len(entries))
    else:
        head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, start)
        count_field = struct.pack(order + "H", len(entries))
    return write(path, head + count_field + rows + bytes(field) + body)


class Listings:
    """Counts how often folders are listed, by whichever call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folders: list[str] = []
        for name in ("listdir", "scandir"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real: Any) -> Any:
        def call(path: Any = ".") -> Any:
            self.folders.append(str(path))
            return real(path)

        return call


# What is wrong with a path


def test_links_to_nothing_and_pointers_say_what_to_download(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to("../.git/annex/objects/x/MD5E-s1--a.tif")
    with pytest.raises(SourceNotFoundError, match=r"a\.tif is a link to .*, which does not exist; download it first"):
        Source(tmp_path / "a.tif")
    with pytest.raises(SourceNotFoundError, match=r"a\.tif is a link to .*, which does not exist"):
        PositionedFile(tmp_path / "a.tif").read(0, 1)
    write(tmp_path / "b.nd2", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    write(tmp_path / "c.nd2", "/annex/objects/MD5E-s9--c.nd2\n")
    assert "git lfs pull" in looks_like(Source(tmp_path / "b.nd2"))
    assert "git annex get" in looks_like(Source(tmp_path / "c.nd2"))


def test_a_missing_path_is_a_file_not_found_error_that_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "recording_00001.tif")
    with pytest.raises(
        SourceNotFoundError, match=r"recording_0001\.tif does not exist; did you mean 'recording_00001\.tif'\?"
    ):
        Source(tmp_path / "recording_0001.tif")
    with pytest.raises(FileNotFoundError, match=r"zzz does not exist; its folder contains 1 other item"):
        Source(tmp_path / "zzz")
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist either"):
        Source(tmp_path / "nowhere" / "x.tif")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Source(tmp_path / "recording_00001.tif" / "below")


def test_an_empty_file_an_empty_folder_and_an_empty_list_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(EmptySourceError, match=r"empty\.tif is empty \(0 bytes\)"):
        Source(write(tmp_path / "empty.tif", b""))
    (tmp_path / "folder").mkdir()
    with pytest.raises(EmptySourceError, match=r"the folder .*folder is empty"):
        Source(tmp_path / "folder")
    with pytest.raises(EmptySourceError, match="an empty list of files was given"):
        Source([])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/x.tif",
        "s3://bucket/x.tif",
        "S3://bucket/x.tif",
        "gs://b/x",
        "file:///tmp/x.tif",
        "abfs+x://y/z",
        Path("https://example.org/x.tif"),
        Path("s3://bucket/x.tif"),
    ],
)
def test_a_url_is_refused_by_a_sentence_and_not_taken_for_a_path(url: Any) -> None:
    with pytest.raises(SourceKindError, match=r"is a URL, but only local files can be opened"):
        Source(url)


@pytest.mark.parametrize("path", [None, 3, b"bytes", {"a": 1}, {"a.tif"}, [3], [None]])
def test_what_is_no_path_is_refused_with_its_type(path: Any) -> None:
    with pytest.raises(SourceKindError, match=r"expected a path.*, got (NoneType|int|bytes|dict|set)"):
        Source(path)


@pytest.mark.parametrize("path", ["", "nul\0inside"])
def test_an_empty_path_and_one_with_nul_are_refused(path: str) -> None:
    with pytest.raises(SourceKindError, match="is not a valid path: it is empty or contains a NUL character"):
        Source(path)


def test_a_list_names_files_and_not_folders(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tif")
    with pytest.raises(SourceKindError, match="a list must contain only files"):
        Source([file, tmp_path])
    with pytest.raises(EmptySourceError, match=r"b\.tif is empty"):
        Source([file, write(tmp_path / "b.tif", b"")])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceKindError, match="pipe is neither a file nor a folder"):
        Source(tmp_path / "pipe")


@pytest.mark.skipif(os.name == "nt", reason="permissions are another matter on Windows")
def test_a_forbidden_folder_is_a_permission_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x")

    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(SourcePermissionError, match="no permission to list"):
        Source(tmp_path)


def test_names_out_of_the_file_system_are_printed_safely(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows refuses such names")
    with pytest.raises(SourceNotFoundError) as caught:
        Source(tmp_path / "red\x1b[31m.tif")
    assert str(caught.value).isprintable()


# What a source is


def test_a_path_may_be_text_a_path_or_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = write(tmp_path / "a.tif"), write(tmp_path / "b.tif")
    monkeypatch.chdir(tmp_path)
    assert Source("a.tif").value == str(first)
    assert Source(first).paths == (first,)
    both = Source((str(second), first))
    assert both.value == [str(second), str(first)]
    assert (both.is_list, both.path, both.name) == (True, second, "b.tif")
    assert Source([first]).value == [str(first)]


@pytest.mark.parametrize(
    ("name", "suffixes"),
    [
        ("a.TIF", (".tif",)),
        ("a.b.OME.Tiff", (".b.ome.tiff", ".ome.tiff", ".tiff")),
        ("bare", ()),
        (".tif", (".tif",)),
    ],
)
def test_suffixes_are_lower_case_and_the_longest_comes_first(
    tmp_path: Path, name: str, suffixes: tuple[str, ...]
) -> None:
    assert Source(write(tmp_path / name)).suffixes == suffixes


def test_the_head_grows_on_demand_and_never_beyond_its_limit(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192
    source = Source(write(tmp_path / "x", content))
    assert source.head(10) == content[:10]
    assert source.head(9000) == content[:9000]
    assert len(source.head(1 << 40)) == 1 << 20
    assert source.read_at(2_000_000, 5) == content[2_000_000:2_000_005]
    assert len(source.read_at(0, 1 << 40)) == 1 << 20
    assert source.read_at(len(content), 5) == source.read_at(-1, 5) == b""


def test_a_folder_has_no_bytes(tmp_path: Path) -> None:
    write(tmp_path / "x")
    source = Source(tmp_path)
    assert (source.head(), source.read_at(0, 4), source.size, source.json, source.xml_root, source.tiff) == (
        b"",
        b"",
        0,
        None,
        None,
        None,
    )
    assert source.members == ("x",)


# Neighbours


def test_a_folder_is_listed_once_whatever_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.tif", "b.tif", "meta.json"):
        write(tmp_path / name, "{}")
    seen = Listings(monkeypatch)
    source = Source(tmp_path)
    for pattern in ("*.tif", "*.xml", "META.json", "nothing", "c?.tif", "*.TIF"):
        source.matching(pattern)
        source.related(pattern)
    assert source.members == ("a.tif", "b.tif", "meta.json")
    assert seen.folders == [str(tmp_path)]


def test_a_file_lists_its_neighbours_only_when_they_matter_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a.tif")
    write(tmp_path / "a.xml")
    seen = Listings(monkeypatch)
    source = Source(file)
    assert source.head(4) == b"cont"
    assert source.matching("a.xml", beside=True) == "a.xml"
    assert seen.folders == []
    assert source.matching("*.XML", beside=True) == "a.xml"
    assert source.matching("b*.xml", beside=True) is None
    assert source.related("A.XML") is not None
    assert seen.folders == [str(tmp_path)]


def test_folders_below_are_listed_once_each_and_not_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (tmp_path / f"{number:03d}").mkdir()
    write(tmp_path / "007" / "found.csv")
    seen = Listings(monkeypatch)
    source = Source(tmp_path)
    for _ in range(3):
        assert source.matching("*/found.*") == "007/found.csv"
        assert source.matching("*/nowhere.*") is None
    below = [folder for folder in seen.folders if folder != str(tmp_path)]
    assert len(below) == len(set(below)) <= 256
    assert len(seen.folders) - len(below) <= 2  # its names, and which of them are folders


def test_only_folders_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        write(tmp_path / f"{number:03d}.tif")
    (tmp_path / "Xa").mkdir()
    write(tmp_path / "Xa" / "found.csv")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "Xa")
    seen = Listings(monkeypatch)
    assert Source(tmp_path).matching("x*/found.*") == "Xa/found.csv"
    assert Source(tmp_path).matching("e*/*.CSV") == "elsewhere/found.csv"
    assert Source(tmp_path).matching("0*/found.*") is None
    assert not [folder for folder in seen.folders if folder.endswith(".tif")]


def test_names_are_found_without_regard_to_case_and_one_level_down(tmp_path: Path) -> None:
    (tmp_path / "Miniscope").mkdir()
    write(tmp_path / "Miniscope" / "0.AVI")
    write(tmp_path / "metaData.json", '{"a": 1}')
    source = Source(tmp_path)
    assert source.matching("miniscope/*.avi") == "Miniscope/0.AVI"
    assert source.matching("*/*.avi") == "Miniscope/0.AVI"
    assert source.matching("metadata.JSON") == "metaData.json"
    related = source.related("metadata.json")
    assert related is not None
    assert related.json == {"a": 1}
    assert source.related("metadata.json") is related
    assert source.related("*.none") is None
    assert Source(tmp_path / "metaData.json").matching("*.json") is None


def test_an_empty_file_beside_is_no_related_source(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", b"")
    assert Source(write(tmp_path / "a.tif")).related("*.xml") is None


def test_brackets_in_the_files_own_name_are_no_pattern(tmp_path: Path) -> None:
    file = write(tmp_path / "cell[1]*.tif") if os.name != "nt" else write(tmp_path / "cell[1].tif")
    assert Source(file).matching(file.name.replace("[", "[[]").replace("*", "[*]"), beside=True) == file.name


# TIFF


@pytest.mark.parametrize(("order", "big"), BIG_OR_SMALL)
def test_the_first_tiff_directory_is_read_in_every_flavour(tmp_path: Path, order: str, big: bool) -> None:
    path = tiff(
        tmp_path / "x.tif",
        {
            256: (3, 1, struct.pack(order + "H", 512)),
            258: (3, 5, struct.pack(order + "5H", 8, 8, 8, 8, 8)),
            273: (4, 2, struct.pack(order + "2I", 70_000, 140_000)),
            305: (2, 12, b"Some program"),
            306: (2, 3, b"ab\0"),
            50000: (8, 2, struct.pack(order + "2h", -3, 4)),
            50001: (7, 9, b"\x01\x02binary\xff"),
        },
        order,
        big,
    )
    directory = Source(path).tiff
    assert directory is not None
    assert (directory.byteorder, directory.big, directory.offset) == (order, big, 16 if big else 8)
    assert directory.codes == (256, 258, 273, 305, 306, 50000, 50001)
    assert directory.value(256) == (512,)
    assert directory.value(258) == (8, 8, 8, 8, 8)
    assert directory.value(273) == (70_000, 140_000)
    assert directory.value(50000) == (-3, 4)
    assert directory.value(50001) == b"\x01\x02binary\xff"
    assert directory.text(305) == "Some program"
    assert directory.text(306) == "ab"
    assert directory.text(256) is None
    assert directory.value(999) is None
    assert directory.text(999) is None


@pytest.mark.parametrize(
    "content",
    [
        b"II*\0",
        b"II*\0\xff\xff\xff\x7f",
        b"II*\0\x08\0\0\0",
        b"II*\0\x08\0\0\0\0\0",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\x02\0" + bytes(12),
        b"II+\0\x08\0\0\0" + bytes(7),
        b"II+\0\x04\0\0\0" + bytes(60),
        b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 8,
        b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, 10**12),
        b"IIII" + bytes(60),
        b"not TIFF at all",
    ],
)
def test_what_only_begins_as_tiff_has_no_directory(tmp_path: Path, content: bytes) -> None:
    assert Source(write(tmp_path / "x.tif", content)).tiff is None


def test_a_tag_that_claims_a_terabyte_costs_64_kib(tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.tif", {270: (2, 1, b"")}, "<", True)
    content = bytearray(path.read_bytes())
    struct.pack_into("<HHQQ", content, 24, 270, 2, 10**12, 16)
    path.write_bytes(bytes(content) + b"A" * 200_000)
    directory = Source(path).tiff
    assert directory is not None
    value = directory.value(270)
    assert isinstance(value, bytes)
    assert len(value) == 1 << 16


# JSON, XML, HDF5


@pytest.mark.parametrize("text", ['{"a": 1}', ' \n{"a": 1}', '\ufeff{"a": 1}'])
def test_json_is_parsed(tmp_path: Path, text: str) -> None:
    assert Source(write(tmp_path / "x", text)).json == {"a": 1}


@pytest.mark.parametrize(
    "content",
    ["{", "text", "[" * 100_000, "{" + '"a":{' * 50_000, b"{\xff\xfe}", "7", "1" * 10_000, "[" + "1" * 10_000 + "]"],
)
def test_what_is_no_json_document_is_none(tmp_path: Path, content: bytes | str) -> None:
    assert Source(write(tmp_path / "x.json", content)).json is None


def test_a_large_json_document_is_read_whole_and_a_huge_one_not_at_all(tmp_path: Path) -> None:
    data = {str(n): "x" * 100 for n in range(20_000)}
    assert Source(write(tmp_path / "large.json", json.dumps(data))).json == data
    assert Source(write(tmp_path / "huge.json", json.dumps({"a": "x" * (4 << 20)}))).json is None


@pytest.mark.parametrize(
    ("content", "root"),
    [
        (b"<PVScan version='5'/>", "PVScan"),
        (b"<?xml version='1.0' encoding='utf-8'?>\n<!-- a -->\n<OME xmlns='http://x'><a/></OME>", "OME"),
        (b"\xef\xbb\xbf<ThorImageExperiment>", "ThorImageExperiment"),
        (b"<ome:OME xmlns:ome='x'>", "OME"),
        ("<?xml version='1.0' encoding='utf-16'?><Data/>".encode("utf-16"), "Data"),
        (b"<?xml version='1.0' encoding='shift_jis'?><Data name='\x83e'/>", "Data"),
        (b"<?xml version='1.0' encoding='rot13'?><Data/>", "Data"),
        (b"<?xml version='1.0' encoding='no-such'?><Data/>", "Data"),
        (b"<unfinished", None),
        (b"no xml", None),
        (b"< not xml either", None),
        (b"", None),
    ],
)
def test_the_root_of_an_xml_document(tmp_path: Path, content: bytes, root: str | None) -> None:
    assert Source(write(tmp_path / "x.xml", content or b" ")).xml_root == root


def test_a_doctype_is_refused_before_it_can_declare_entities(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE lolz [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><lolz>&b;</lolz>'
    with pytest.raises(UnsupportedRecordingError, match="contains a DOCTYPE, which is refused"):
        _ = Source(write(tmp_path / "x.xml", bomb)).xml_root


def test_hdf5_is_known_by_its_signature_behind_a_user_block_too(tmp_path: Path) -> None:
    signature = b"\x89HDF\r\n\x1a\n"
    assert Source(write(tmp_path / "a", signature + bytes(100))).is_hdf5
    assert Source(write(tmp_path / "b", bytes(2048) + signature)).is_hdf5
    assert not Source(write(tmp_path / "c", bytes(700) + signature)).is_hdf5
    assert not Source(write(tmp_path / "d", b"\x89HDF")).is_hdf5
    assert Source(write(tmp_path / "e", b"text")).hdf5 is None


def test_a_damaged_hdf5_file_is_corrupt_and_says_so(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    source = Source(write(tmp_path / "x.h5", b"\x89HDF\r\n\x1a\n" + bytes(3000)))
    with pytest.raises(CorruptRecordingError, match=r"x\.h5 cannot be opened as HDF5"):
        _ = source.hdf5


def test_without_h5py_the_content_is_not_looked_at_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    source = Source(write(tmp_path / "x.h5", b"\x89HDF\r\n\x1a\n" + bytes(3000)))
    with pytest.raises(MissingDependencyError, match="h5py is not installed"):
        _ = source.hdf5


def test_the_hdf5_file_is_opened_once_and_closed_with_the_source(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = [1, 2]
    with Source(tmp_path / "x.h5") as source:
        opened = source.hdf5
        assert source.hdf5 is opened
        assert list(opened) == ["data"]
    assert not opened.id.valid


def test_closing_releases_the_files_of_the_neighbours_too(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list a process's descriptors in /proc")
    write(tmp_path / "meta.json", "{}")

    def held() -> int:
        return sum(str(tmp_path) in os.readlink(entry) for entry in folder.iterdir() if entry.is_symlink())

    with Source(write(tmp_path / "a.tif")) as source:
        source.head()
        related = source.related("meta.json")
        assert related is not None
        assert related.json == {}
    assert held() == 0


@pytest.mark.parametrize(
    "pattern",
    [
        "*_mmSTACK*.tif",
        "*[0-9].tif",
        "[!a]*.txt",
        "[]]x.txt",
        "[!]a]*",
        "[a*",
        "?_MM[A-Z]tack_1*",
        "*_MMStack*.raw",
        "Σ*",
        "*",
    ],
)
def test_a_glob_finds_what_fnmatch_finds(tmp_path: Path, pattern: str) -> None:
    for name in ("a_MMStack_1.tif", "]x.txt", "[a.csv", "aΣ.txt", "ΣΣ"):
        (tmp_path / name).write_bytes(b"1")
    source = Source(tmp_path)
    wanted = next((n for n in source.members if fnmatch.fnmatchcase(n.lower(), pattern.lower())), None)
    assert source.matching(pattern) == wanted
