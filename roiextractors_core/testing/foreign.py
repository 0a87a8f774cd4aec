"""Files and folders of other formats, which a plugin must not claim."""

from __future__ import annotations

import base64
import functools
import gzip
import io
import json
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..io.source import Source
from ..registry.detection import matching
from ..registry.evidence import Evidence
from ..registry.hook import API_NUMBERS
from ..registry.registry import Registry
from ..registry.spec import FormatSpec

__all__ = [
    "CONTAINERS",
    "USUAL_SUFFIXES",
    "Claim",
    "Foreign",
    "common_name_claims",
    "foreign_claims",
    "foreign_sources",
    "random_claims",
]

CONTAINERS = frozenset({"tiff", "hdf5", "npy", "zip", "gzip", "png", "jpeg", "riff", "mp4", "xml", "json", "matlab"})
"""Families that are containers: a general format for one of them may well take all of its files."""

USUAL_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "tiff": (".tif", ".tiff"),
    "hdf5": (".h5", ".hdf5"),
    "npy": (".npy",),
    "zip": (".zip",),
    "gzip": (".gz",),
    "png": (".png",),
    "jpeg": (".jpg",),
    "riff": (".avi",),
    "mp4": (".mp4",),
    "xml": (".xml",),
    "json": (".json",),
    "text": (".txt", ".csv"),
    "matlab": (".mat",),
    "pickle": (".pkl",),
    "dicom": (".dcm",),
}
"""What files of a family are called; a suffix that many share says nothing by itself."""

_HDF5 = (
    b"c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvfCa|LNVe$!3nh{EOK<O1sFmXn(oCH){5NbZUx{x4OSCH!eXaHu92MdJeU>F4>5qP*d27u@YC?A$ePcWgXOUo}x%}mdO"
    b"r$-M8?PX+Og_y+%<3mz1BO^qB8LAFJ3xJghaKO^41DIq5@<8HDOiYZBbPO?vnb826vL(=Lo-iom0T!-IX#NiN^LGK|bXfjWU>;4g<NyHD3NKR"
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file, or a folder of files, of some other format.

    Attributes
    ----------
    name : str
        ``"png"``; also the file's name.
    family : str
        What it is one of: ``"tiff"`` for all flavours of TIFF.
    content : bytes or mapping
        The file's bytes, or name to bytes of the folder's files.
    """

    name: str
    family: str
    content: bytes | Mapping[str, bytes]

    def write(self, folder: Path, suffix: str = "") -> Path:
        """Write it into a folder under its name and a suffix, and return where.

        Parameters
        ----------
        folder : pathlib.Path
            Existing.
        suffix : str
            With its dot.
        """
        target = folder / f"{self.name}{suffix}"
        if isinstance(self.content, bytes):
            target.write_bytes(self.content)
            return target
        for name, content in self.content.items():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return target


@dataclass(frozen=True, slots=True)
class Claim:
    """A foreign source that a format took for its own.

    Attributes
    ----------
    foreign : Foreign
    suffix : str
        The suffix that the file bore.
    basis : str
        What the format's evidence answered.
    """

    foreign: Foreign
    suffix: str
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as plain data."""
        return {
            "name": self.foreign.name,
            "family": self.foreign.family,
            "suffix": self.suffix,
            "basis": self.basis,
        }

    def __str__(self) -> str:
        borne = f", named {self.foreign.name}{self.suffix}" if self.suffix else ""
        return f"{self.foreign.name} (of the family {self.foreign.family!r}{borne}): {self.basis}"


def foreign_claims(
    spec: FormatSpec,
    folder: Path,
    *,
    own: Collection[str] = (),
    sources: Iterable[Foreign] | None = None,
) -> tuple[Claim, ...]:
    """Return which foreign sources a format claims, under a neutral name, their usual suffixes and the format's own.

    A format without content evidence is known by its suffix alone, so its own suffixes are not tried.

    Parameters
    ----------
    spec : FormatSpec
    folder : pathlib.Path
        Existing and empty; the sources are written there.
    own : collection of str
        Names or families that really are this format.
    sources : iterable of Foreign, optional
        All of :func:`foreign_sources` when left out.
    """
    registry = Registry(entry_points=lambda: (), environment={})
    looked_at = replace(spec, name="the-format-that-is-looked-at", specializes=(), api=max(API_NUMBERS))
    registry.register(looked_at)
    by_content = spec.evidence is not None and spec.evidence.has_content()
    own_suffixes = spec.extensions if by_content else ()
    found = []
    for foreign in foreign_sources() if sources is None else sources:
        if foreign.name in own or foreign.family in own:
            continue
        suffixes = dict.fromkeys(("", *own_suffixes, *USUAL_SUFFIXES.get(foreign.family, ())))
        for suffix in suffixes if isinstance(foreign.content, bytes) else ("",):
            with Source(foreign.write(folder, suffix)) as source:
                claims = [
                    m.finding.basis for m in matching(source, registry.snapshot()) if m.spec.name == looked_at.name
                ]
            if claims:
                found.append(Claim(foreign, suffix, claims[0]))
                break
    return tuple(found)


def random_claims(spec: FormatSpec, folder: Path) -> tuple[str, ...]:
    """Return the answers of a format's evidence that say yes to random bytes, or to nearly empty text.

    Such evidence takes every file for its own, and ties with the format that the file really has.

    Parameters
    ----------
    spec : FormatSpec
    folder : pathlib.Path
        Existing; the files are written there.
    """
    if spec.evidence is None:
        return ()
    contents = [random.Random(seed).randbytes(8192) for seed in range(5)]
    claims = []
    for number, content in enumerate([*contents, b"\n", b" \n\t\n", b"a"]):
        path = folder / f"random_{number}"  # no suffix: the name is not what is tested
        path.write_bytes(content)
        with Source(path) as source:
            finding = spec.evidence.check(source)
        if finding.answer is True:
            words = f"{len(content):,} random bytes" if len(content) > 100 else f"the text {content.decode()!r}"
            claims.append(f"{words}: {finding.basis}")
    return tuple(claims)


def common_name_claims(spec: FormatSpec, folder: Path, *, names: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the answers of a format's evidence that say yes to one file of a common name, whatever is in it.

    Parameters
    ----------
    spec : FormatSpec
    folder : pathlib.Path
        Existing; the files are written there.
    names : iterable of str
        Names to try beside those that the evidence states.
    """
    if spec.evidence is None:
        return ()
    stated = (*_names_of(spec.evidence.to_dict()), *names)
    claims = []
    for number, name in enumerate(name for name in dict.fromkeys(stated) if is_common_name(name)):
        other = f"m0use77q{Path(name).suffix}"  # evidence of the suffix alone is judged by the foreign files
        by_suffix = _claims_of_one_file(spec.evidence, folder / f"other_{number}", other)
        by_name = _claims_of_one_file(spec.evidence, folder / f"one_file_{number}", name)
        claims += [f"{words} {name!r}: {basis}" for words, basis in by_name.items() if words not in by_suffix]
    return tuple(claims)


def _claims_of_one_file(evidence: Evidence, folder: Path, name: str) -> dict[str, str]:
    """Return the answers that say yes to a file of a name, alone in a new folder, and to that folder."""
    folder.mkdir()
    (folder / name).write_bytes(_NEUTRAL.get(Path(name).suffix.lower(), b"frame,time\n0,0.0\n1,0.033\n"))
    claims = {}
    for given, words in ((folder, "a folder with a file"), (folder / name, "a file")):
        with Source(given) as source:
            finding = evidence.check(source)
        if finding.answer is True:
            claims[words] = finding.basis
    return claims


def is_common_name(name: str) -> bool:
    """Return whether programs of many kinds give their files this name: ``data.bin``, ``settings_1.xml``."""
    return Path(name).name == name and Path(name).stem.lower().strip("0123456789_-. ") in _COMMON_NAMES


def _names_of(evidence: Any) -> Iterator[str]:
    """Yield the names, without wildcards, that evidence states."""
    if isinstance(evidence, Mapping):
        for value in evidence.values():
            yield from _names_of(value)
    elif isinstance(evidence, list | tuple):
        for value in evidence:
            yield from _names_of(value)
    elif isinstance(evidence, str) and not set("*?[{:/\\\0") & set(evidence) and "." in evidence:
        yield evidence


_COMMON_NAMES = frozenset(
    [
        "acquisition",
        "attributes",
        "config",
        "configuration",
        "data",
        "description",
        "experiment",
        "frame",
        "frames",
        "header",
        "image",
        "images",
        "imaging",
        "index",
        "info",
        "log",
        "manifest",
        "meta",
        "metadata",
        "movie",
        "notes",
        "output",
        "parameters",
        "params",
        "properties",
        "raw",
        "readme",
        "recording",
        "results",
        "run",
        "scan",
        "session",
        "settings",
        "stack",
        "sync",
        "test",
        "times",
        "timestamps",
        "video",
    ]
)
_NEUTRAL: Mapping[str, bytes] = {
    ".json": b'{"name": "lab"}\n',
    ".xml": b'<?xml version="1.0"?>\n<note><to>lab</to></note>\n',
    ".yaml": b"name: lab\n",
    ".yml": b"name: lab\n",
    ".ini": b"[camera]\nexposure = 20\n",
}


@functools.cache
def foreign_sources() -> tuple[Foreign, ...]:
    """Return the kit's foreign files and folders."""
    return (*_files(), *_folders())


def _files() -> Iterable[Foreign]:
    yield from _plain_files()
    yield from _documents()
    yield from _containers()
    yield from _pictures()
    yield from _programs()


def _plain_files() -> Iterable[Foreign]:
    noise = random.Random(20)
    yield Foreign("one_byte", "bytes", b"\0")
    yield Foreign("zeros", "bytes", bytes(4096))
    yield Foreign("ones", "bytes", b"\xff" * 4096)
    yield Foreign("counting", "bytes", bytes(range(256)) * 16)
    for number in range(3):
        yield Foreign(f"noise_{number}", "bytes", noise.randbytes(5000))


def _documents() -> Iterable[Foreign]:
    yield Foreign("letter", "text", b"Dear microscope,\n\nthe recording of Tuesday is on the other disk.\n" * 40)
    yield Foreign("blank", "text", b" \n\n\t\n")
    yield Foreign("table", "text", b"frame,time\n0,0.0\n1,0.033\n2,0.067\n")
    yield Foreign("settings", "text", b"[camera]\nexposure = 20\nbinning = 2\n")
    yield Foreign("script", "text", b'#!/usr/bin/env python\nprint("not a recording")\n')
    yield Foreign("latin1", "text", "Größe: 512 µm\n".encode("latin-1") * 20)
    yield Foreign("utf16", "text", "exported by a program for Windows\r\n".encode("utf-16"))
    yield Foreign("page", "xml", b'<?xml version="1.0"?>\n<note xmlns="urn:x"><to>lab</to></note>\n')
    yield Foreign("web", "text", b"<!DOCTYPE html><html><head><title>lab</title></head><body></body></html>")
    yield Foreign("keys", "json", json.dumps({"name": "lab", "frames": 3, "list": [1, 2]}).encode())
    yield Foreign("list", "json", b"[1, 2, 3]")


def _containers() -> Iterable[Foreign]:
    yield Foreign("zip", "zip", _zip({"notes.txt": b"nothing here"}))
    yield Foreign("gzip", "gzip", gzip.compress(b"nothing here" * 50, mtime=0))
    for protocol in (0, 2, 4):
        yield Foreign(f"pickle_{protocol}", "pickle", pickle.dumps({"frames": [1, 2, 3]}, protocol=protocol))
    yield Foreign("hdf5", "hdf5", zlib.decompress(base64.b85decode(_HDF5)))
    yield Foreign("npy", "npy", _npy(np.arange(24, dtype=np.uint16).reshape(2, 3, 4)))
    yield Foreign("npy_table", "npy", _npy(np.zeros(4, dtype=[("x", "<f4"), ("y", "<f4")])))
    yield Foreign("npz", "zip", _zip({"frames.npy": _npy(np.zeros((2, 3, 4)))}))
    yield Foreign("matlab", "matlab", b"MATLAB 5.0 MAT-file, made by nobody".ljust(124) + b"\x00\x01IM" + bytes(64))
    yield Foreign("office", "ole", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(1016))
    yield Foreign("pdf", "pdf", b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n")


def _pictures() -> Iterable[Foreign]:
    yield Foreign("png", "png", _png(8, 8))
    yield Foreign("jpeg", "jpeg", bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb004300") + b"\x10" * 64)
    yield Foreign("gif", "gif", b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\0\0\0\0\x01\0\x01\0\0;")
    yield Foreign("bmp", "bmp", b"BM" + struct.pack("<IIIIiiHH", 58, 0, 54, 40, 1, 1, 1, 24) + bytes(28))
    yield Foreign("tiff_little", "tiff", _tiff("<"))
    yield Foreign("tiff_big", "tiff", _tiff(">"))
    yield Foreign("bigtiff", "tiff", _bigtiff())
    yield Foreign("avi", "riff", _riff(b"AVI ", b"LIST" + struct.pack("<I", 4) + b"hdrl"))
    yield Foreign("wav", "riff", _riff(b"WAVE", b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)))
    yield Foreign("mp4", "mp4", struct.pack(">I", 24) + b"ftypisom" + bytes(4) + b"isommp42" + bytes(64))
    yield Foreign("dicom", "dicom", bytes(128) + b"DICM" + bytes(64))


def _programs() -> Iterable[Foreign]:
    yield Foreign("elf", "program", b"\x7fELF\x02\x01\x01" + bytes(57))
    yield Foreign("exe", "program", b"MZ\x90\x00" + bytes(60))
    yield Foreign("sqlite", "sqlite", b"SQLite format 3\0" + bytes(84))


def _folders() -> Iterable[Foreign]:
    array = json.dumps({"zarr_format": 2, "shape": [2, 3, 4], "chunks": [1, 3, 4], "dtype": "<u2"}).encode()
    yield Foreign("folder_of_text", "folder", {"README.txt": b"see the other folder\n", "notes.md": b"# notes\n"})
    yield Foreign("folder_of_documents", "folder", {"a.json": b'{"a": 1}', "a.xml": b"<note/>", "a.csv": b"a,b\n1,2\n"})
    yield Foreign("folder_of_pictures", "folder", {f"{n:03}.png": _png(4, 4) for n in range(3)})
    yield Foreign("folder_of_noise", "folder", {"data.bin": random.Random(3).randbytes(400), "data.raw": bytes(400)})
    yield Foreign("folder_of_tiff", "tiff", {f"frame_{n}.tif": _tiff("<") for n in range(2)})
    yield Foreign("folder_of_zarr", "zarr", {".zgroup": b'{"zarr_format": 2}', "0/.zarray": array})
    yield Foreign("folder_in_folder", "folder", {"session/day_1/notes.txt": b"nothing yet\n"})


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _zip(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def _png(rows: int, columns: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(b"".join(b"\0" + bytes(range(columns)) for _ in range(rows)))
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _riff(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + kind + body


_TAGS: Mapping[int, int] = {256: 4, 257: 3, 258: 8, 259: 1, 262: 1, 277: 1, 278: 3, 279: 12}
"""A page of 3 rows and 4 columns of 8 bits, in one strip; where the strip begins (273) is added by the flavour."""


def _tiff(order: str) -> bytes:
    tags: dict[int, int] = {**_TAGS, 273: 8}
    table = b"".join(_tiff_entry(order, code, tags[code]) for code in sorted(tags))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return (
        mark + struct.pack(order + "I", 20) + bytes(range(12)) + struct.pack(order + "H", len(tags)) + table + bytes(4)
    )


def _tiff_entry(order: str, code: int, value: int) -> bytes:
    return struct.pack(order + "HHII", code, 4, 1, value)


def _bigtiff() -> bytes:
    tags: dict[int, int] = {**_TAGS, 273: 16}
    table = b"".join(struct.pack("<HHQQ", code, 16, 1, tags[code]) for code in sorted(tags))
    head = b"II+\0" + struct.pack("<HHQ", 8, 0, 28)
    return head + bytes(range(12)) + struct.pack("<Q", len(tags)) + table + bytes(8)
