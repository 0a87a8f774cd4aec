"""The fuzzer finds planted defects; and changed copies of every format's recordings open rightly, or say what is wrong."""

from __future__ import annotations

import importlib.util
import io
import random
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.registry.registry import default_registry
from roiextractors_core.testing import ImagingExtractorTests
from roiextractors_core.testing.fuzzing import (
    FuzzTests,
    Seed,
    fuzz,
    require_no_defects,
    seeds_of_tests,
    seeds_of_writers,
)
from roiextractors_core.testing.fuzzing.__main__ import main
from roiextractors_core.testing.fuzzing.contents import Lines, contents_of, judge_contents
from roiextractors_core.testing.fuzzing.costly import costly_change
from roiextractors_core.testing.fuzzing.mutations import anatomy_of, draw_change
from roiextractors_core.testing.fuzzing.oracles import PixelMap, judge

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = sorted(
    path.parent.name for path in ROOT.glob("plugins/*/tests") if path.parent.name != "napari"
)  # reads nothing
NEEDS = {"bioio": ("bioio",), "lif": ("liffile",), "nd2": ("nd2",), "czi": ("pylibCZIrw",)}  # other people's libraries
HOW_OFTEN = pytest.mark.parametrize(
    ("cases", "costly"), [pytest.param(30, 2, id="few"), pytest.param(2000, 40, id="many", marks=pytest.mark.long)]
)
# Frames in FFV1 without checksums are decoded to something that depends on the frames before: damage in them cannot be seen
LIMITS = {"video": ("reads that disagree",), "miniscope": ("reads that disagree",)}


def makers_of(plugin: str) -> list[Path]:
    """Return the files of a plugin's tests that make recordings for the conformance tests."""
    tests = sorted((ROOT / "plugins" / plugin / "tests").glob("test_*.py"))
    kits = ("ImagingExtractorTests", "SegmentationExtractorTests")
    return [path for path in tests if any(kit in path.read_text(encoding="utf-8") for kit in kits)]


@pytest.mark.thorough
@HOW_OFTEN
@pytest.mark.parametrize("format", ["npy", "tiff"])
def test_changed_copies_of_what_the_core_writes(format: str, cases: int, costly: int, tmp_path: Path) -> None:
    if default_registry().get(format) is None:
        pytest.skip(f"{format} is not installed")
    seeds = seeds_of_writers(format, tmp_path / "seeds")
    require_no_defects(fuzz(seeds, cases=cases))
    require_no_defects(fuzz(seeds, cases=costly, costly=True))


@pytest.mark.thorough
@HOW_OFTEN
@pytest.mark.parametrize("plugin", [plugin for plugin in PLUGINS if makers_of(plugin)])
def test_changed_copies_of_what_the_conformance_tests_make(
    plugin: str, cases: int, costly: int, tmp_path: Path
) -> None:
    pytest.importorskip(f"roiextractors_{plugin}")
    if plugin in NEEDS and not any(importlib.util.find_spec(package) for package in NEEDS[plugin]):
        pytest.skip(f"none of {', '.join(NEEDS[plugin])} is installed")
    seeds = seeds_of_tests(makers_of(plugin), tmp_path / "seeds")
    for format in sorted({seed.format for seed in seeds}):
        some, known = [seed for seed in seeds if seed.format == format], LIMITS.get(format, ())
        report = fuzz(some, cases=cases)
        assert report.cases == cases
        require_no_defects(report, known=known)
        require_no_defects(fuzz(some, cases=costly, costly=True), known=known)


# What the fuzzer sees


SPEC = """
from roiextractors_core.npy import NpyImagingExtractor


class Broken(NpyImagingExtractor):
    def {method}(self, *arguments):
        found = super().{method}(*arguments)
        {body}
        return found
"""
BODIES = {
    "wrong pixels": "found = found + found.dtype.type(1)",
    "reads that disagree": "found = found[:, ::-1].copy()",
    "foreign exception KeyError": "raise KeyError('x')",
    "hang": "import time; time.sleep(7 if self._file.size == 1088 else 60)",
    "crash": "import os; os._exit(3)",
    "memory": "found2 = bytearray(1 << 30); found = found + found2[0]",
}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Register a format that is broken in one way, in the process that opens as well."""
    made: list[str] = []

    def registered(body: str, kind: str = "imaging") -> Seed:
        if kind == "segmentation":
            method = "get_masks" if "masks" in body else "get_trace"
            header = (
                b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (40, 3), }".ljust(127) + b"\n"
            )
            (tmp_path / "broken_format.py").write_text(ROIS.format(body=body, method=method, header=header))
        else:
            (tmp_path / "broken_format.py").write_text(
                SPEC.format(body=body, method="_part" if "type(1)" in body else "get_series")
            )
        (tmp_path / "broken_format-1.0.dist-info").mkdir()
        (tmp_path / "broken_format-1.0.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: broken-format\nVersion: 1.0\n"
        )
        (tmp_path / "broken_format-1.0.dist-info" / "entry_points.txt").write_text(
            "[roiextractors_core]\nbroken_format = broken_format_hooks\n"
        )
        (tmp_path / "broken_format_hooks.py").write_text(
            "from roiextractors_core import FormatSpec, Name, hookimpl\n\n\n@hookimpl\ndef roiextractors_formats():\n"
            '    yield FormatSpec(name="broken", title="Broken", extractor="broken_format:Broken", extensions=(".broken",), '
            f'evidence=Name("*.broken"), kind={kind!r}, api=1)\n'
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        default_registry().refresh()
        made.append(body)
        folder = tmp_path / "seed" / "recording"
        folder.mkdir(parents=True)
        if kind == "segmentation":
            traces = np.random.default_rng(2).integers(0, 60000, (40, 3)).astype(np.float32)
            with (folder / "rois.broken").open("wb") as stream:
                np.save(stream, traces)
            rois = roi.NumpySegmentationExtractor(roi.RoiMasks((8, 10), [0, 1, 2, 3], [0, 1, 2]), {"raw": traces})
            return Seed("rois", "broken", folder, "rois.broken", {}, contents_of(rois))
        expected = np.random.default_rng(1).integers(0, 60000, (6, 8, 10)).astype(np.uint16)
        with (folder / "movie.broken").open("wb") as stream:
            np.save(stream, expected)
        return Seed("movie", "broken", folder, "movie.broken", {}, expected)

    yield registered
    monkeypatch.undo()
    default_registry().refresh()


@pytest.mark.quick(1)
@pytest.mark.parametrize("outcome", BODIES)
def test_a_planted_defect_is_found(broken: Any, outcome: str, tmp_path: Path) -> None:
    cases = {"hang": 1, "crash": 2}.get(outcome, 24)
    report = fuzz([broken(BODIES[outcome])], cases=cases, keep=tmp_path / "kept")
    assert {defect.outcome for defect in report.defects} == {outcome}, report
    assert report.cases == cases
    with pytest.raises(pytest.fail.Exception, match="came out wrong"):
        require_no_defects(report)
    assert any((tmp_path / "kept").iterdir())


ROIS = """
import numpy as np

from roiextractors_core import CorruptRecordingError, RoiMasks, SegmentationExtractor


class Sound(SegmentationExtractor):
    def __init__(self, file_path):
        super().__init__()
        with open(file_path, "rb") as stream:
            content = stream.read()
        if len(content) != 128 + 40 * 3 * 4 or content[:128] != {header!r}:
            raise CorruptRecordingError("not the file that it was")
        self._traces = np.frombuffer(content, np.float32, offset=128).reshape(40, 3)

    def get_frame_shape(self):
        return 8, 10

    def get_roi_ids(self):
        return ["0", "1", "2"]

    def get_num_samples(self):
        return 40

    def get_masks(self, roi_indices):
        return RoiMasks((8, 10), [0, 1, 2, 3], [0, 1, 2])[roi_indices]

    def get_trace_names(self):
        return ("raw",)

    def get_trace(self, name, start_sample, end_sample, roi_indices):
        return self._traces[start_sample:end_sample, roi_indices]


class Broken(Sound):
    def {method}(self, *arguments):
        found = super().{method}(*arguments)
        {body}
        return found
"""
ROI_BODIES = {
    "wrong values": "found = np.nan_to_num(found, nan=1, posinf=2, neginf=3).round(-1)",
    "reads that disagree": "found = found[::-1] if len(found) > 1 else found",
    "masks that disagree": "masks = found; found = RoiMasks((8, 10), [0, 1, 1, 1][: len(masks) + 1], [7]) if len(masks) < 3 else masks",
    "foreign exception KeyError": "raise KeyError('x')",
    "crash": "import os; os._exit(3)",
    "memory": "found2 = bytearray(1 << 30); found = found + found2[0]",
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("outcome", ROI_BODIES)
def test_a_planted_defect_of_a_segmentation_is_found(broken: Any, outcome: str) -> None:
    cases = 2 if outcome == "crash" else 40
    report = fuzz([broken(ROI_BODIES[outcome], "segmentation")], cases=cases)
    assert {defect.outcome for defect in report.defects} == {outcome.replace("masks", "reads")}, report


def test_a_sound_segmentation_has_no_defect(broken: Any) -> None:
    report = fuzz([broken("pass", "segmentation")], cases=60)
    require_no_defects(report)
    assert report.counts["changed values, as in the file"]
    assert report.counts["CorruptRecordingError"]
    assert not report.unjudged


def test_contents_of_a_segmentation_are_judged_array_by_array(tmp_path: Path) -> None:
    traces = np.arange(60, dtype=np.float32).reshape(20, 3)
    right = {"trace raw": traces, "ids": np.array(["a", "b", "c"])}
    np.save(tmp_path / "F.npy", traces.T * 2)

    def judged(is_reported: bool = False, only_values: bool = False, stored: Any = None, **seen: np.ndarray) -> str:
        return judge_contents(
            {name.replace("_", " "): part for name, part in seen.items()},
            right,
            stored or {},
            only_values=only_values,
            is_reported=is_reported,
            was_found={"trace raw": True},
            lines=lambda: Lines([tmp_path / "F.npy"]),
        ).outcome

    ids = right["ids"]
    assert judged(trace_raw=traces, ids=ids) == "same contents"
    assert judged(trace_raw=traces * 2, ids=ids) == "other values, right by another reader"
    assert judged(trace_raw=traces * 3, ids=ids) == "wrong values"
    assert judged(trace_raw=traces * 3, ids=ids, is_reported=True) == "unjudged: other contents, reported"
    assert judged(trace_raw=traces[:7], ids=ids) == "unjudged: fewer contents, not reported"
    assert judged(trace_raw=traces[:7], ids=ids, is_reported=True) == "fewer contents, reported"
    assert judged(ids=ids, is_reported=True) == "fewer contents, reported"
    assert judged(trace_raw=traces, ids=ids[::-1]) == "unjudged: other contents, not reported"
    now = {"trace raw": traces + 1}
    assert judged(trace_raw=traces + 1, ids=ids, stored=now, only_values=True) == "changed values, as in the file"
    assert judged(trace_raw=traces, ids=ids, stored=now, only_values=True) == "wrong values"
    assert judged(trace_raw=traces * 2, ids=ids, stored=now, only_values=True) == "wrong values"


COSTLY = {
    "hang": "import time; deep = lambda n: deep(n - 1) if n else time.sleep(600); _ = self._file.size > 1 << 20 and deep(60)",
    "slow": "import time; _ = self._file.size > 1 << 20 and any(time.process_time() < 0 for _ in range(60_000_000))",
    "memory": "found2 = bytearray(1 << 30 if self._file.size > 1 << 20 else 0)",
}


@pytest.mark.thorough
@pytest.mark.parametrize("outcome", COSTLY)
def test_a_planted_cost_is_found_by_costly_changes_alone(broken: Any, outcome: str) -> None:
    seed = broken(COSTLY[outcome])
    require_no_defects(fuzz([seed], cases=12))
    report = fuzz([seed], cases=2, costly=True, clock=20.0 if outcome == "memory" else 4.0)
    assert {defect.outcome for defect in report.defects} == {outcome.replace("slow", "hang")}, report


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["tiff", "hdf5", "riff", "mat", "zip", "text", "bytes"])
def test_a_costly_change_makes_a_file_larger_or_its_claims(kind: str, tmp_path: Path) -> None:
    seeds = {
        "tiff": b"II*\0\x08\0\0\0\1\0" + bytes([0, 1, 4, 0, 1, 0, 0, 0, 9, 0, 0, 0]) + bytes(4),
        "riff": b"RIFF\x20\0\0\0AVI LIST\4\0\0\0moviidx1\x10\0\0\0" + bytes(16),
        "mat": b"MATLAB 5.0".ljust(126) + b"IM",
        "text": b'<a b="10">text</a>\n' * 10,
        "bytes": bytes(range(256)),
    }
    if kind == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("movie", data=np.zeros((3, 4, 5), np.uint16))
        seeds[kind] = (tmp_path / "a.h5").read_bytes()
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("a.roi", bytes(range(64)))
        seeds[kind] = (tmp_path / "a.zip").read_bytes()
    words = set()
    for k in range(20):
        data = bytearray(seeds[kind])
        words.add(costly_change(data, kind, random.Random(k)))
        assert len(data) > len(seeds[kind]) or kind in ("text", "hdf5")
        assert len(data) < 64 << 20
        assert data != seeds[kind]
    assert len(words) > 2


def test_a_sound_format_has_no_defect(broken: Any) -> None:
    report = fuzz([broken("pass")], cases=60)
    require_no_defects(report)
    assert report.counts["changed pixels, as in the file"]
    assert report.counts["CorruptRecordingError"]


def test_a_number_names_a_case_for_ever(tmp_path: Path) -> None:
    files = {"a.bin": bytes(range(256)) * 8, "b.xml": b'<a b="1">text</a>\n' * 10}
    anatomies = {name: anatomy_of(data) for name, data in files.items()}
    one, other = ([draw_change(files, anatomies, random.Random(k)) for k in range(200)] for _ in range(2))
    assert one == other
    assert len({change.words for change in one}) > 150
    assert all(any(change.content[name] != files[name] for name in change.content) for change in one[:3])


def test_members_of_an_archive_are_changed_with_right_checksums(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.roi", bytes(range(64)))
        archive.writestr("b.roi", bytes(range(64, 128)))
    files = {"a.zip": (tmp_path / "a.zip").read_bytes()}
    anatomies = {name: anatomy_of(data) for name, data in files.items()}
    whole = 0
    for k in range(100):
        change = draw_change(files, anatomies, random.Random(k))
        with suppress(zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, zlib.error):
            with zipfile.ZipFile(io.BytesIO(change.content["a.zip"] or b"")) as archive:
                inside = {name: archive.read(name) for name in archive.namelist()}
            whole += inside != {"a.roi": bytes(range(64)), "b.roi": bytes(range(64, 128))}
    assert whole > 25


def test_pixels_are_found_where_they_are() -> None:
    pixels = np.random.default_rng(2).integers(0, 60000, (4, 6, 8, 3)).astype(np.uint16)
    by_hand = {
        "planes last": pixels.tobytes(),
        "planes first": pixels.transpose(0, 3, 1, 2).tobytes(),
        "big-endian": pixels.transpose(0, 3, 1, 2).astype(">u2").tobytes(),
        "inverted": (~pixels).tobytes(),
        "time last": pixels.transpose(3, 1, 2, 0).tobytes(),
        "two channels": np.stack([pixels + 1, pixels], -1).tobytes(),
    }
    for name, data in by_hand.items():
        files = {"movie": b"head" * 5 + data}
        found = PixelMap.of(files, pixels)
        assert found is not None, name
        np.testing.assert_array_equal(found.read(files, pixels), pixels)
        assert not found.contains("movie", np.array([3]))
    assert PixelMap.of({"movie": b"head" + pixels[0].tobytes()}, pixels) is None
    assert PixelMap.of({"a": pixels.tobytes(), "b": pixels.tobytes()}, pixels) is None


def test_other_readers_judge(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 60000, (4, 6, 8)).astype(np.uint16)
    np.save(tmp_path / "movie.npy", pixels)
    assert judge([tmp_path / "movie.npy"], pixels[1:3]).answer is True
    assert judge([tmp_path / "movie.npy"], pixels[:, ::-1].copy()).answer is False
    (tmp_path / "movie.xyz").write_bytes(pixels.tobytes())
    assert judge([tmp_path / "movie.xyz"], pixels).answer is None
    (tmp_path / "reader.py").write_text(
        "import numpy\n\ndef frames(path, shape):\n    yield numpy.fromfile(path, numpy.uint16).reshape(4, *shape)[1]\n"
    )
    reader = f"{tmp_path / 'reader.py'}:frames"
    assert judge([tmp_path / "movie.xyz"], pixels[1:2], reader=reader).answer is True
    assert judge([tmp_path / "movie.xyz"], pixels[:1], reader=reader).answer is False


@pytest.mark.thorough
def test_the_command_prints_a_table_and_sees_one_case_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "movie.npy", np.arange(600, dtype=np.uint16).reshape(6, 10, 10))
    assert main(["--format", "npy", "--cases", "20", "--seeds", str(tmp_path / "movie.npy")]) == 0
    assert "npy: 20 cases" in capsys.readouterr().out
    assert main(["--format", "npy", "--cases", "1", "--first", "7", "--seeds", str(tmp_path / "movie.npy")]) == 0
    assert "npy: 1 cases" in capsys.readouterr().out


def test_a_seed_is_what_the_recording_gives_of_its_first_stream(tmp_path: Path) -> None:
    seeds = seeds_of_writers("npy", tmp_path / "seeds")
    assert [seed.expected.ndim for seed in seeds] == [3, 4, 3]
    again = Seed.load(_saved(seeds[1], tmp_path / "saved"))
    np.testing.assert_array_equal(again.expected, seeds[1].expected)
    with pytest.raises(roi.RoiExtractorsError, match="--tests"):
        seeds_of_writers("nothing", tmp_path / "none")


def _saved(seed: Seed, place: Path) -> Path:
    place.mkdir()
    seed.save(place)
    return place


class TestTheMixinOnNpy(FuzzTests, ImagingExtractorTests):
    """What a plugin inherits beside the conformance tests."""

    format = "npy"
    claims = ("npy",)
    fuzz_cases = 40

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return np.random.default_rng(5).integers(0, 4000, (24, 80, 112)).astype(np.uint16)

    @pytest.fixture
    def recording(self, tmp_path: Path, expected: np.ndarray) -> Path:
        np.save(tmp_path / "movie.npy", expected)
        return tmp_path / "movie.npy"

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def expected_times(self) -> None:
        return None


@pytest.mark.parametrize("dtype", ["'<f4,'", "',,'", "'<u99999999999999999999'", "'(2,'"])
def test_a_dtype_that_numpy_stumbles_over_is_refused(tmp_path: Path, dtype: str) -> None:
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': (2, 3, 4), }}".ljust(117) + "\n"
    (tmp_path / "movie.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header.encode() + bytes(96))
    with pytest.raises(roi.RecordingError, match=r"dtype|array of"):
        roi.open(tmp_path / "movie.npy")
