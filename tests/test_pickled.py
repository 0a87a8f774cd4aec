"""The restricted reading of pickles: right values, and nothing run, allocated or endless."""

from __future__ import annotations

import pickle
import random
import struct
import time
import tracemalloc
import warnings
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import (
    CorruptRecordingError,
    RoiExtractorsError,
    RoiExtractorsWarning,
    TruncatedRecordingError,
    UnsupportedRecordingError,
)
from roiextractors_core.io import (
    PickledArray,
    PickledObject,
    PositionedFile,
    pickled,
    read_pickle,
    read_pickled_npy,
    texts_of_pickled_npy,
)

HEADER = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
DTYPE_O = (
    b"cnumpy\ndtype\n(X\x02\x00\x00\x00O8\x89\x88tR(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
)
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
DTYPE_F8 = (
    b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8\x89\x88tR(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def npy(body: bytes, header: bytes = HEADER) -> bytes:
    text = header.ljust(118 - len(header) % 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def saved(value: Any, protocol: int) -> bytes:
    """Pickle as numpy.save did over the years: the protocol changed, and the names of numpy's modules."""
    held = np.empty((), object)
    held[()] = value
    return npy(pickle.dumps(held, protocol=protocol))


def holding(value: bytes) -> bytes:
    """Wrap the opcodes of one value in those of the array that numpy.save writes."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    return npy(b"\x80\x03" + array + b"(K\x01)" + DTYPE_O + b"\x89](" + value + b"etb.")


def read(tmp_path: Path, content: bytes) -> Any:
    path = tmp_path / "ops.npy"
    path.write_bytes(content)
    return read_pickled_npy(PositionedFile(path))


def plain(value: Any) -> Any:
    """Undo the keeping of arrays in the file."""
    if isinstance(value, PickledArray):
        return [plain(v) for v in value.read().ravel()] if value.dtype.hasobject else value.read()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value)(plain(item) for item in value) if isinstance(value, list | tuple) else value


VALUES: dict[str, Any] = {
    "numbers": [0, 255, 65_535, -1, 2**31, -(2**63), 2**70, 1.5, float("inf"), True, False, None],
    "texts": ["", "µm", "C:\\data", "x" * 300, "x" * 10_000],
    "bytes": [b"", b"ab\xff", b"x" * 300],
    "containers": {"tuple": (1, (2,), (), (1, 2, 3), (1, 2, 3, 4)), "list": [[], [1]], "dict": {1: {"a": {}}}},
    "shared": [[1, 2]] * 3,
    "scalars": [np.float64(2.5), np.int32(-7), np.uint8(200), np.bool_(True), np.str_("abc"), np.complex128(1 + 2j)],
    "complex": 3 - 4j,
    "time": datetime(2024, 2, 29, 23, 59, 58, 123_456),
    "zoned": datetime(2024, 2, 29, 1, 2, 3, 4, timezone(timedelta(hours=-5, minutes=-30))),
    "utc": datetime(2024, 2, 29, 1, 2, 3, 4, UTC),
    "duration": timedelta(days=3, microseconds=7),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_values_come_out_as_they_were_saved(tmp_path: Path, protocol: int) -> None:
    (found,) = read(tmp_path, saved(VALUES, protocol))
    long_text = VALUES["texts"][-1]
    wanted = {**VALUES, "texts": VALUES["texts"][:-1]}
    found = plain(found)
    assert len(found["texts"].pop()) == len(long_text)
    assert found == wanted
    assert [type(v) for v in found["scalars"]] == [float, int, int, bool, str, complex]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_sets_paths_and_ordered_dictionaries_come_out_plain(tmp_path: Path, protocol: int) -> None:
    value = {
        "set": {1},
        "frozen": frozenset({"a"}),
        "ordered": OrderedDict(a=1, b=[2]),
        "posix": PurePosixPath("/data/mouse/x.tif"),
        "windows": PureWindowsPath("C:/data/x.tif"),
        "array": bytearray(b"abc"),
    }
    (found,) = read(tmp_path, saved(value, protocol))
    assert found == {
        "set": [1],
        "frozen": ["a"],
        "ordered": {"a": 1, "b": [2]},
        "posix": "/data/mouse/x.tif",
        "windows": "C:\\data\\x.tif",
        "array": b"abc",
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">i2", "u1", "?", "<c8", "<U5", "S3", "<f8"])
def test_arrays_stay_in_the_file_until_they_are_read(tmp_path: Path, protocol: int, dtype: str) -> None:
    rng = np.random.default_rng(4)
    big = rng.integers(0, 255, (70, 90)).astype(dtype)
    arrays = {
        "big": big,
        "fortran": np.asfortranarray(big),
        "small": big[:2, :3].copy(),
        "none": big[:0],
        "one": big[0, 0:1].reshape(()),
    }
    (found,) = read(tmp_path, saved(arrays, protocol))
    for name, array in arrays.items():
        assert isinstance(found[name], PickledArray)
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(found[name].read(), array)
        assert found[name].read().flags.writeable
    assert repr(found["big"]) == f"<array (70, 90) of {big.dtype}>"


def test_arrays_of_objects_hold_their_objects(tmp_path: Path) -> None:
    value = np.empty(2, object)
    value[:] = [{"a": np.arange(3)}, "text"]
    path = tmp_path / "ops1.npy"
    np.save(path, value, allow_pickle=True)
    first, second = read_pickled_npy(PositionedFile(path))
    assert first["a"].read().tolist() == [0, 1, 2]
    assert second == "text"


def test_only_the_start_of_a_large_file_is_looked_at(tmp_path: Path) -> None:
    value = {"nplanes": 1, "nchannels": 2, "regPC": np.zeros((60, 512, 512), np.float32), "Ly": 512}
    path = tmp_path / "ops.npy"
    path.write_bytes(saved(value, 4))
    file, sizes = PositionedFile(path), []

    def noting(offset: int, count: int) -> bytes:
        sizes.append(count)
        return file.read(offset, count)

    assert {"nplanes", "nchannels"} <= texts_of_pickled_npy(noting, 1 << 20)
    assert sum(sizes) < 1 << 20
    tracemalloc.start()
    started = time.perf_counter()
    (found,) = read_pickled_npy(file)
    took, peak = time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["Ly"] == 512
    assert peak < 4 << 20
    assert took < 1


def rois(count: int) -> np.ndarray:
    """A list of ROIs as segmentations save it."""
    array = np.empty(count, object)
    array[:] = [
        {
            "ypix": np.arange(k, k + 9, dtype=np.int32),
            "lam": np.full(9, 1 / 9, np.float32),
            "med": [np.int32(k), np.int64(1000)],
            **{f"number {n}": np.float32(k + n) for n in range(12)},
            "overlap": np.arange(9) > 4,
        }
        for k in range(count)
    ]
    return array


@pytest.mark.parametrize("protocol", [pytest.param(2, marks=pytest.mark.thorough), 4])
@pytest.mark.thorough
def test_a_long_list_is_read_if_its_length_is_known(tmp_path: Path, protocol: int) -> None:
    array = rois(7000)
    content = npy(pickle.dumps(array, protocol=protocol), HEADER.replace(b"()", b"(7000,)"))
    with pytest.raises(CorruptRecordingError, match="has over 1,000,000 pickle opcodes"):
        read(tmp_path, content)
    found = read_pickled_npy(PositionedFile(tmp_path / "ops.npy"), num_objects=7000)
    for k in (0, 1, 255, 256, 999, 1000, 6999):
        np.testing.assert_equal(plain(found[k]), array[k])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_frequent_opcodes_have_the_effects_of_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    """Also of damaged files; with the large margin, all opcodes go through the functions of the standard library."""
    content, rng = saved([*rois(3), VALUES], protocol), random.Random(protocol)
    for number in range(40):
        damaged = bytearray(content)
        for _ in range(min(number, 2)):
            damaged[rng.randrange(128, len(damaged))] = rng.randrange(256)
        outcomes = []
        for margin in (5, 1 << 40):
            monkeypatch.setattr(pickled, "_MARGIN", margin)
            try:
                outcomes.append(repr(plain(read(tmp_path, bytes(damaged)))))
            except RoiExtractorsError as error:
                outcomes.append(type(error).__name__)
        assert outcomes[0] == outcomes[1]


# What is refused


class Runs:
    """Runs something when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_code_is_named_and_never_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(
        UnsupportedRecordingError, match=r"names .*(getattr|Path).*, which is not an array.* it was not imported"
    ):
        read(tmp_path, saved({"Ly": 3, "x": Runs(marker)}, protocol))
    assert not marker.exists()


REFUSED: list[tuple[bytes, str]] = [
    (b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R", "names os.system near byte"),
    (b"\x8c\x02os\x8c\x06system\x93X\x02\x00\x00\x00ls\x85R", "names os.system near byte"),
    (b"cbuiltins\neval\n", "names builtins.eval"),
    (b"cnumpy\nload\n", "names numpy.load"),
    (b"cnumpy.core.multiarray\nfromfile\n", "names numpy.core.multiarray.fromfile"),
    (b"cnumpy\nndarray.tofile\n", "names numpy.ndarray.tofile"),
    (b"c_codecs\ndecode\n", "names _codecs.decode"),
    (b"cpathlib\nPath\n", "names pathlib.Path"),
    (b"cos\x1b[31m\nx\n", r"names os\x1b[31m.x"),
    (b"(ios\nsystem\n", "opcode INST"),
    (b"(cnumpy\nndarray\no", "opcode OBJ"),
    (b"cnumpy\nndarray\n)\x81", "opcode NEWOBJ"),
    (b"cnumpy\nndarray\n)}\x92", "opcode NEWOBJ_EX"),
    (b"\x82\x01", "opcode EXT1"),
    (b"\x83\x01\x00", "opcode EXT2"),
    (b"\x84\x01\x00\x00\x00", "opcode EXT4"),
    (b"Pname\n", "opcode PERSID"),
    (b"K\x01Q", "opcode BINPERSID"),
    (b"\x97", "opcode NEXT_BUFFER"),
    (b"\x98", "opcode READONLY_BUFFER"),
    (b"0", "opcode POP"),
    (b"2", "opcode DUP"),
    (b"I12\n", "opcode INT"),
    (b"L" + b"9" * 50, "opcode LONG"),
    (b"\xfe", "the byte fe, which is not a pickle opcode"),
    (b"cnumpy\nndarray\nK\x01\x85R", "numpy.ndarray got impossible arguments"),
    (b"X\x02\x00\x00\x00lsK\x01\x85R", "a str is in an impossible place"),
    (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85C\x01b\x87R",
        "_reconstruct got impossible arguments",
    ),
    (b"cnumpy\ndtype\nX\x03\x00\x00\x00V16\x85R", "the dtype 'V16' in a pickle is not supported"),
    (b"cnumpy\ndtype\nX\x02\x00\x00\x00i3\x85R", "numpy.dtype got impossible arguments"),
    (b"cnumpy\ndtype\nX\x05\x00\x00\x00(2,)i\x85R", "the dtype '(2,)i'"),
    (b"cdatetime\ndatetime\nC\x0a" + b"\xff" * 10 + b"\x85R", "datetime.datetime got impossible arguments"),
    (b"cdatetime\ntimedelta\nJ\xff\xff\xff\x7fK\x00K\x00\x87R", "datetime.timedelta got impossible arguments"),
    (b"c_codecs\nencode\nX\x02\x00\x00\x00\xe2\x82\x85R", "'utf-8' codec can't decode"),
    (
        b"c_codecs\nencode\nX\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1\x86R",
        "_codecs.encode got impossible arguments",
    ),
    (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R", "_codecs.encode got impossible arguments"),
    (b"h\x07", "is damaged near byte"),
    (b"(((K\x01t", "is damaged near byte"),
    (b"K\x01K\x02].", "values left"),
    (b"}]K\x01s", "a list is in an impossible place"),
    (b"}(K\x01u", "is damaged near byte"),
    (b"K\x01K\x02a", "is damaged near byte"),
    (b"K\x01Nb", "a NoneType is in an impossible place"),
    (b"\x8b\xff\xff\xff\xff", "opcode LONG4"),
    (b"\x8b\xff\xff\xff\x7f", "opcode LONG4"),
    (b"c" + b"x" * 1000, "a name has over 400 letters"),
    (ARRAY + b"}b", "a dict is in an impossible place"),
    (ARRAY + b"(K\x01K\x01\x85" + DTYPE_F8 + b"\x89K\x08tb", "a int is in an impossible place"),
    (b"cnumpy\ndtype\n}b", "is in an impossible place"),
    (b"])b", "a list is in an impossible place"),
    (b"cnumpy.core.multiarray\nscalar\n" + DTYPE_O + b"C\x08" + bytes(8) + b"\x86R", "scalar got impossible"),
    (b"cnumpy.core.multiarray\nscalar\n" + DTYPE_F8 + b"C\x04" + bytes(4) + b"\x86R", "scalar got impossible"),
    (
        b"cnumpy._core.numeric\n_frombuffer\n(C\x08" + bytes(8) + DTYPE_F8 + b"K\x02\x85X\x01\x00\x00\x00CtR",
        "_frombuffer got impossible",
    ),
    (DTYPE_F8[:-1] + b"0", "opcode POP"),
    (
        b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8\x89\x88tR(K\x03X\x01\x00\x00\x00|NK\x01\x85Ntb",
        "structured arrays in a pickle are not supported",
    ),
]


@pytest.mark.parametrize(("body", "words"), REFUSED)
def test_what_is_no_plain_value_is_refused_by_its_name(tmp_path: Path, body: bytes, words: str) -> None:
    with pytest.raises((UnsupportedRecordingError, CorruptRecordingError)) as caught:
        read(tmp_path, holding(body))
    assert words in str(caught.value)


# Files that are a pickle alone, with the strings of Python 2 and with objects of classes that the caller names


def read_alone(tmp_path: Path, content: bytes, **options: Any) -> Any:
    path = tmp_path / "rois.pkl"
    path.write_bytes(content)
    return read_pickle(PositionedFile(path), **options)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_alone_comes_out_as_it_was_saved(tmp_path: Path, protocol: int) -> None:
    value = {**VALUES, "texts": VALUES["texts"][:-1], "array": np.arange(6000.0).reshape(60, 100)}
    found = plain(read_alone(tmp_path, pickle.dumps(value, protocol=protocol)))
    np.testing.assert_array_equal(found.pop("array"), value.pop("array"))
    assert found == value
    assert read_alone(tmp_path, pickle.dumps(7, protocol=protocol)) == 7


# As Python 2 with numpy pickles {"raw": [numpy.arange(3.0)], u"label": "caf\xe9"}, protocol 2; the standard library is the oracle
OF_PYTHON_2 = (
    b"\x80\x02}q\x01(U\x03rawq\x02]q\x03cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85q\x06U\x01b\x87q\x07R"
    b"q\x08(K\x01K\x03\x85q\tcnumpy\ndtype\nq\nU\x02f8K\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\rb\x89"
    b"U\x18\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x00@tq\x0ebaX\x05\x00\x00\x00label"
    b"q\x0fU\x04caf\xe9q\x10u."
)


def test_the_strings_of_python_2_are_texts_and_the_bytes_of_arrays(tmp_path: Path) -> None:
    found = read_alone(tmp_path, OF_PYTHON_2)
    assert found["label"] == "café"
    np.testing.assert_array_equal(found["raw"][0].read(), [0.0, 1.0, 2.0])
    oracle = pickle.loads(OF_PYTHON_2, encoding="latin1")
    assert oracle["label"] == found["label"]
    np.testing.assert_array_equal(oracle["raw"][0], found["raw"][0].read())
    values = np.arange(1000.0)
    long = OF_PYTHON_2.replace(b"K\x03\x85", b"M\xe8\x03\x85").replace(
        b"U\x18" + np.arange(3.0).tobytes(), b"T" + struct.pack("<i", 8000) + values.tobytes()
    )
    array = read_alone(tmp_path, long)["raw"][0]
    np.testing.assert_array_equal(array.read(), values)
    assert long[array.offset :][:8000] == values.tobytes()


def test_texts_of_both_pythons_are_texts(tmp_path: Path) -> None:
    made = b"cfuture.types.newstr\nnewstr\nX\x04\x00\x00\x00Blue\x85\x81"
    assert read_alone(tmp_path, b"\x80\x02" + made + b".") == "Blue"
    assert read_alone(tmp_path, b"\x80\x02" + made + b"}b.") == "Blue"
    assert read_alone(tmp_path, b"\x80\x02}" + made + b"K\x01s.") == {"Blue": 1}


class Thing:
    """Has attributes, which a pickle restores by BUILD."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_objects_of_named_classes_are_plain_data(tmp_path: Path, protocol: int) -> None:
    name = f"{Thing.__module__}.Thing"
    content = pickle.dumps([Thing([1, 2]), Thing], protocol=protocol)
    thing, kind = read_alone(tmp_path, content, classes=(name,))
    assert isinstance(thing, PickledObject)
    assert (thing.name, thing.arguments, thing.state) == (name, (), {"numbers": [1, 2]})
    assert (kind.name, kind.arguments) == (name, None)
    with pytest.raises(UnsupportedRecordingError, match=r"names .*Thing.*it was not imported"):
        read_alone(tmp_path, content)


THING = b"ca.b\nThing\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"cnumpy\nndarray\n)\x81", "made of something that is not one of the known classes"),
        (b"X\x02\x00\x00\x00ls)\x81", "made of something that is not one of the known classes"),
        (THING + b")\x81)\x81", "made of something that is not one of the known classes"),
        (THING + b"K\x01\x81", "a int is in an impossible place"),
        (THING + b"}b", "the state of a.b.Thing is in an impossible place"),
        (THING + b")\x81}b}b", "the state of a.b.Thing is in an impossible place"),
        (THING + b")}\x92", "opcode NEWOBJ_EX"),
        (b"}" + THING + b")\x81K\x01s", "a PickledObject is in an impossible place"),
        (b"cfuture.types.newstr\nnewstr\nK\x01\x85\x81", "a int is in an impossible place"),
        (b"T\xff\xff\xff\xff", "a string has -1 bytes"),
        (b"T\xff\xff\xff\x7f", "is truncated"),
        (THING + b")\x81q\x00h\x00b", "nested over 100 levels deep"),
        (THING + b")\x81q\x00]h\x00ab", "nested over 100 levels deep"),
        ((THING + b")\x81") * 120 + b"b" * 119, "nested over 100 levels deep"),
        (b"S'text'\n", "opcode STRING"),
    ],
)
def test_an_object_that_cannot_be_is_refused(tmp_path: Path, body: bytes, words: str) -> None:
    with pytest.raises((UnsupportedRecordingError, CorruptRecordingError)) as caught:
        read_alone(tmp_path, b"\x80\x02" + body + b".", classes=("a.b.Thing",))
    assert words in str(caught.value)


@pytest.mark.parametrize("body", [body for body, _ in REFUSED])
def test_what_is_refused_in_an_array_is_refused_alone(tmp_path: Path, body: bytes) -> None:
    with pytest.raises((UnsupportedRecordingError, CorruptRecordingError)):
        read_alone(tmp_path, b"\x80\x03](" + body + b"e.", classes=("a.b.Thing",))


def test_a_long_pickle_is_read_if_its_length_is_expected(tmp_path: Path) -> None:
    content = pickle.dumps([list(range(3)) for _ in range(30)], protocol=2)
    assert len(read_alone(tmp_path, content, max_opcodes=1000)) == 30
    with pytest.raises(CorruptRecordingError, match="over 100 pickle opcodes"):
        read_alone(tmp_path, content, max_opcodes=100)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_long_runs_of_empty_rows_are_lists_of_their_own(tmp_path: Path, protocol: int) -> None:
    value: list[Any] = [[] for _ in range(1000)]
    value[700] = [1, 2]
    value += [value[600], value[999], value[3]]  # by their places in the memo
    found = read_alone(tmp_path, pickle.dumps(value, protocol=protocol))
    assert found == value
    assert [found[-3] is found[600], found[-2] is found[999], found[-1] is found[3]] == [True] * 3
    assert len({id(row) for row in found[:1000]}) == 1000
    with pytest.raises(CorruptRecordingError, match="over 400 pickle opcodes"):
        read_alone(tmp_path, pickle.dumps(value, protocol=protocol), max_opcodes=400)


HUGE = b"\x8a\x06" + (1 << 40).to_bytes(6, "little")
SHARED = b"](K\x01K\x02eq\x00" + b"".join(b"](h%ch%ceq%c" % (k, k, k + 1) for k in range(100))

BOMBS: dict[str, bytes] = {
    "a shape that needs terabytes": ARRAY + b"(K\x01" + HUGE + b"\x85" + DTYPE_F8 + b"\x89C\x04abcdtb",
    "a shape whose product overflows": ARRAY + b"(K\x01(" + HUGE * 8 + b"t" + DTYPE_F8 + b"\x89C\x00tb",
    "a negative shape": ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE_F8 + b"\x89C\x08abcdefghtb",
    "a hundred dimensions": ARRAY + b"(K\x01(" + b"K\x01" * 100 + b"t" + DTYPE_F8 + b"\x89C\x08abcdefghtb",
    "objects as the bytes of numbers": ARRAY + b"(K\x01K\x01\x85" + DTYPE_F8 + b"\x89]K\x01atb",
    "bytes as objects": ARRAY + b"(K\x01K\x01\x85" + DTYPE_O + b"\x89C\x08abcdefghtb",
    "bytes of a length beyond the file": b"\x8e" + struct.pack("<Q", 1 << 60),
    "an array of bytes beyond the file": b"\x96" + struct.pack("<Q", 1 << 40),
    "a text of a length beyond the file": b"\x8d" + struct.pack("<Q", (1 << 64) - 1),
    "a frame beyond the file": b"\x95" + struct.pack("<Q", 1 << 62) + b"\xfe",
    "a list of itself": b"]q\x00h\x00a",
    "a dictionary in its own list": b"}q\x00K\x01]q\x01h\x00as",
    "a billion laughs": SHARED,
    "a deep list": b"]" * 5000 + b"a" * 4999,
    "a deep tuple": b"K\x01" + b"\x85" * 60_000,
    "a deep tuple as a key": b"}K\x01" + b"\x85" * 60_000 + b"K\x01s",
    "marks without end": b"(" * 1_000_000,
    "lists without end": b"]" * 1_000_000,
    "one list in sets without end": b"]("
    + b"K\x01" * 40_000
    + b"eq\x00cbuiltins\nset\nq\x01"
    + b"h\x01h\x00\x85R" * 40_000,
    "one text in bytes without end": b"X\x00\x10\x00\x00"
    + b"x" * 4096
    + b"X\x06\x00\x00\x00latin1\x86q\x00c_codecs\nencode\nq\x01"
    + b"h\x01h\x00R" * 60_000,
    "one path without end": b"("
    + (b"X\x00\x10\x00\x00" + b"x" * 4096) * 60
    + b"tq\x00cpathlib\nPosixPath\nq\x01"
    + b"h\x01h\x00R" * 60_000,
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", list(BOMBS))
def test_bombs_are_refused_in_little_time_and_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "ops.npy"
    path.write_bytes(holding(BOMBS[name]))
    is_long = path.stat().st_size > 900_000  # following memory would take ten times the time
    tracemalloc.start() if not is_long else None
    try:
        with pytest.raises((CorruptRecordingError, UnsupportedRecordingError)):
            read_pickled_npy(PositionedFile(path))
        peak = tracemalloc.get_traced_memory()[1] if not is_long else 0
    finally:
        tracemalloc.stop()
    assert peak < 150 << 20


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["a deep tuple", "marks without end", "lists without end", "a deep list"])
def test_bombs_are_refused_where_a_long_list_is_expected(tmp_path: Path, name: str) -> None:
    path = tmp_path / "stat.npy"
    path.write_bytes(holding(BOMBS[name]))
    started = time.process_time()
    with pytest.raises(CorruptRecordingError):
        read_pickled_npy(PositionedFile(path), num_objects=100_000)
    assert time.process_time() - started < 10


def test_far_places_of_the_memo_take_no_room(tmp_path: Path) -> None:
    (found,) = read(tmp_path, holding(b"K\x07r\xff\xff\xff\xffr\xfe\xff\xff\xff"))
    assert found == 7


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", TruncatedRecordingError, "ends at byte 0"),
        (b"\x93NUMPY\x01\x00", TruncatedRecordingError, "ends at byte 8"),
        (b"II*\0" + bytes(100), CorruptRecordingError, "is not a .npy file"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", CorruptRecordingError, "claims a header of 4,294,967,295 bytes"),
        (npy(b"", b"__import__('os').system('ls')"), CorruptRecordingError, "header of .* is not that of a .npy file"),
        (npy(b"", b"(" * 100), CorruptRecordingError, "header of .* is not that of a .npy file"),
        (
            npy(b"", b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"),
            UnsupportedRecordingError,
            "contains numbers",
        ),
        (npy(b"", b"{'descr': '|O', 'shape': (1000000000000,)}"), UnsupportedRecordingError, "over 1,000,000 objects"),
        (npy(b"\x80\x03K\x01."), CorruptRecordingError, "its pickle contains something else"),
        (npy(b"\x80\x01K\x01."), UnsupportedRecordingError, "a pickle of protocol 1"),
        (npy(b"\x80\x03."), CorruptRecordingError, "ends with 0 values left"),
        (npy(b"\x80\x03K"), TruncatedRecordingError, "is truncated"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, content: bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        read(tmp_path, content)


def test_an_array_is_told_that_its_file_was_cut_since(tmp_path: Path) -> None:
    path = tmp_path / "ops.npy"
    content = saved({"a": np.zeros(10_000)}, 4)
    path.write_bytes(content)
    (found,) = read_pickled_npy(PositionedFile(path))
    path.write_bytes(content[:5000])
    with pytest.raises(TruncatedRecordingError, match=r"has 5,000 bytes, but had 80,3\d\d"):
        found["a"].read()


def outcome_is_known(call: Callable[[], object]) -> bool:
    """Whether a call returns, or raises one of this library's errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RoiExtractorsWarning)
        try:
            call()
        except RoiExtractorsError:
            return False
    return True


@pytest.mark.thorough
def test_random_bytes_are_no_pickle(tmp_path: Path) -> None:
    rng = random.Random(7)
    path = tmp_path / "ops.npy"
    for _ in range(300):
        path.write_bytes(holding(rng.randbytes(rng.randrange(1, 200))))
        outcome_is_known(lambda: read_pickled_npy(PositionedFile(path)))
        roi.explain(path)
