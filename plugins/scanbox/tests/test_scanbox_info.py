"""Info files: what is recognised, what is damaged, what is hostile."""

from __future__ import annotations

import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roiextractors_scanbox.hooks import roiextractors_formats
from roiextractors_scanbox.mat_file import read_variable

import roiextractors_core as roi
from roiextractors_core.errors import CorruptRecordingError, RecordingError, UnsupportedRecordingError
from roiextractors_core.io import PositionedFile, Source

Write = Callable[..., Path]
Info = Callable[..., dict[str, Any]]
FRAMES = np.random.default_rng(2).integers(0, 65536, (4, 6, 8, 1)).astype(np.uint16)


def finding(path: Path) -> bool | None:
    (spec,) = roiextractors_formats()
    assert spec.evidence is not None
    with Source(path) as source:
        return spec.evidence.check(source).answer


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [True, False])
def test_info_of_either_byte_order_is_read(
    tmp_path: Path, write_mat: Write, write_sbx: Write, version_2: Info, order: str, compressed: bool
) -> None:
    write_mat(tmp_path / "m.mat", order=order, compressed=compressed, other=np.arange(9.0), info=version_2(6, 8))
    with roi.open(write_sbx(tmp_path / "m.sbx", FRAMES)) as recording:
        np.testing.assert_array_equal(recording.get_series(), FRAMES[..., 0])
        assert recording.metadata.vendor["objective"] == "Nikon 16x/0.8w/WD3.0"


def test_info_is_found_under_any_name_and_pixels_beside_it(
    tmp_path: Path, write_mat: Write, write_sbx: Write, version_2: Info
) -> None:
    write_mat(tmp_path / "m.mat", info=version_2(6, 8))
    assert finding(tmp_path / "m.mat") is True
    assert finding(write_sbx(tmp_path / "m", FRAMES)) is True
    assert finding(write_sbx(tmp_path / "m.raw", FRAMES)) is True
    assert finding(write_sbx(tmp_path / "n.sbx", FRAMES)) is False
    assert finding(write_sbx(tmp_path / "m.tif", FRAMES, cut=8)) is False
    assert finding(write_sbx(tmp_path / "m.sbx", FRAMES)) is True
    assert finding(tmp_path / "m.raw") is False, "the pixels are in m.sbx"
    (tmp_path / "m.mat").rename(tmp_path / "renamed")
    assert finding(tmp_path / "renamed") is True


@pytest.mark.parametrize("name", ["m_eye", "m_ball", "m_quadrature", "m_realtime"])
def test_other_files_of_a_session_are_not_claimed(tmp_path: Path, write_mat: Write, name: str) -> None:
    path = write_mat(tmp_path / f"{name}.mat", data=np.zeros((4, 4), "u1"), time=np.arange(4.0), abs_time=3.0)
    assert finding(path) is False
    with pytest.raises(
        UnsupportedRecordingError, match=r"without the info of a Scanbox recording: no variable 'info' with"
    ):
        roi.open(path, format="scanbox")


def test_an_info_of_something_else_is_not_claimed(tmp_path: Path, write_mat: Write) -> None:
    for value in ({"date": "today"}, np.zeros((3, 3)), "text", [], None):
        assert finding(write_mat(tmp_path / "x.mat", info=value)) is False


@pytest.mark.thorough
def test_a_cut_or_damaged_info_is_an_error_whatever_was_hit(
    tmp_path: Path, write_mat: Write, write_sbx: Write, version_3: Info
) -> None:
    path = tmp_path / "m.mat"
    write_sbx(tmp_path / "m.sbx", FRAMES)
    rng = np.random.default_rng(5)
    for compressed in (True, False):
        whole = write_mat(path, compressed=compressed, info=version_3(6, 8)).read_bytes()
        for size in range(129, len(whole), 97):
            path.write_bytes(whole[:size])
            with pytest.raises(RecordingError):
                roi.open(path, format="scanbox")
        for place in rng.integers(128, len(whole), 400).tolist():
            damaged = bytearray(whole)
            damaged[place] ^= int(rng.integers(1, 256))
            path.write_bytes(damaged)
            try:
                roi.open(path, format="scanbox").close()
            except roi.RoiExtractorsError:
                continue


def test_values_nested_without_end_are_refused(tmp_path: Path, element: Callable[..., bytes], write_mat: Write) -> None:
    inner = b""
    for level in range(200):
        name = element(1, b"info" if level == 199 else b"")
        head = element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<ii", 1, 1)) + name
        inner = element(14, head + inner)
    path = write_mat(tmp_path / "m.mat")
    path.write_bytes(path.read_bytes() + inner)
    assert finding(path) is False
    with pytest.raises(CorruptRecordingError, match=r"m\.mat nests its values more than 24 levels deep"):
        roi.open(path, format="scanbox")


def test_a_variable_that_unpacks_without_end_takes_no_memory(
    tmp_path: Path, matrix: Callable[..., bytes], write_mat: Write
) -> None:
    stream = zlib.compressobj(9)
    bomb = stream.compress(struct.pack("<II", 14, 1 << 31) + matrix(1.0, "info")[8:])
    for _ in range(200):
        bomb += stream.compress(bytes(1 << 20))
    bomb += stream.flush()
    path = write_mat(tmp_path / "m.mat")
    path.write_bytes(path.read_bytes() + struct.pack("<II", 15, len(bomb)) + bomb)
    tracemalloc.start()
    try:
        with pytest.raises(
            UnsupportedRecordingError, match="contains a variable that decompresses to more than 67,108,864 bytes"
        ):
            roi.open(path, format="scanbox")
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


def test_other_variables_are_not_unpacked(tmp_path: Path, write_mat: Write, version_2: Info) -> None:
    path = write_mat(tmp_path / "m.mat", data=np.zeros((3000, 1500)), info=version_2(6, 8))
    tracemalloc.start()
    assert finding(path) is True
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_dimensions_that_do_not_fit_their_values_are_named(
    tmp_path: Path, matrix: Callable[..., bytes], write_mat: Write
) -> None:
    path = write_mat(tmp_path / "m.mat")
    wrong = matrix(np.arange(6.0).reshape(2, 3), "info").replace(
        struct.pack("<ii", 2, 3), struct.pack("<ii", 2, 1 << 30)
    )
    path.write_bytes(path.read_bytes() + wrong)
    with pytest.raises(CorruptRecordingError, match=r"an array of dimensions \(2, 1073741824\) in 12 bytes of type 4"):
        read_variable(PositionedFile(path), "info")


def test_info_of_version_7_3_is_read(tmp_path: Path, write_sbx: Write) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    path = tmp_path / "m.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        info = file.create_group("info")
        info.attrs["MATLAB_class"] = np.bytes_("struct")
        config = info.create_group("config")

        def put(group: Any, name: str, value: Any, kind: str = "double") -> None:
            group[name] = value
            group[name].attrs["MATLAB_class"] = np.bytes_(kind)

        for name, value in {
            "resfreq": 7916.0,
            "recordsPerBuffer": 6.0,
            "channels": 2.0,
            "scanbox_version": 2.0,
            "scanmode": 1.0,
        }.items():
            put(info, name, np.full((1, 1), value))
        put(info, "sz", np.array([[6.0], [8.0]]))
        put(info, "objective", np.array([[ord(c)] for c in "16x"], "u2"), "char")
        put(config, "lines", np.full((1, 1), 6.0))
        put(info, "otwave", np.zeros(2, "u8"))
        info["otwave"].attrs["MATLAB_empty"] = 1
        put(file, "#refs#/a", np.array([[ord("x")]], "u2"), "char")
        put(info, "messages", np.array([[file["#refs#/a"].ref]], h5py.ref_dtype), "cell")
        info["elsewhere"] = h5py.ExternalLink("/etc/other.h5", "/x")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64".ljust(124) + b"\x00\x02IM")
    with roi.open(write_sbx(tmp_path / "m.sbx", FRAMES)) as recording:
        np.testing.assert_array_equal(recording.get_series(), FRAMES[..., 0])
        vendor = recording.metadata.vendor
        assert (vendor["objective"], vendor["messages"], vendor["elsewhere"]) == ("16x", ["x"], None)
        assert recording.get_sampling_frequency() == 7916 / 6


def test_declaring_imports_nothing_else() -> None:
    code = (
        "import sys, roiextractors_scanbox.hooks as h; list(h.roiextractors_formats());"
        "print([m for m in sys.modules if m.startswith(('scipy', 'h5py', 'roiextractors_scanbox.'))])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "['roiextractors_scanbox.hooks']"


@pytest.mark.parametrize("place", ["class", "content"])
def test_a_text_whose_type_is_damaged_does_not_end_the_process(tmp_path: Path, place: str) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    path = tmp_path / "m.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["info/note"] = "text" if place == "content" else 1.0
        file["info/note"].attrs["MATLAB_class"] = "double" if place == "class" else np.bytes_("char")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64".ljust(124) + b"\x00\x02IM")
    key = b"MATLAB_class\0\0\0\0" if place == "class" else b""
    content = path.read_bytes()
    # A variable-length type: version 1 and class 9, then whether it is text (1) or a list (0)
    text, damaged = key + b"\x19\x01\x01\x00\x10\x00\x00\x00", key + b"\x19\x92\x01\x00\x10\x00\x00\x00"
    assert text in content
    path.write_bytes(content.replace(text, damaged))
    script = (
        "from roiextractors_core.io import PositionedFile; from roiextractors_scanbox.mat_file import read_variable; "
        f"print(read_variable(PositionedFile({str(path)!r}), 'info'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "{'note': None}"), done.stderr
