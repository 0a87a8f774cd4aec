"""Recordings written in another format: the same pixels, times and metadata, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.interop.convert import writable_formats
from roiextractors_core.io import Sidecar
from roiextractors_core.registry.registry import Registry
from roiextractors_core.testing import NoiseImagingExtractor, WriterTests

SUFFIXES = sorted(suffix for spec in writable_formats() for suffix in spec.writer_extensions if suffix != ".mmap")
LOSSLESS = [suffix for suffix in SUFFIXES if suffix != ".mp4"]  # a movie to look at; plugins/video tests it
METADATA = roi.RecordingMetadata(
    start_time=datetime(2026, 3, 4, 5, 6, 7, 89000),
    pixel_size=(0.5, 0.7),
    plane_spacing=12.5,
    channels=(roi.ChannelMetadata("Green", 510.0, 920.0),),
    device="2p-RAM",
    software="ScanImage 2023.0.0",
    vendor={"laser": {"power": 12.25}, "names": ["a", "b"]},
)


def made(planes: int, clock: str, dtype: str = "uint16") -> roi.NumpyImagingExtractor:
    rng = np.random.default_rng(planes)
    shape = (23, 14, 11) if planes == 1 else (23, 14, 11, planes)
    times = np.cumsum(rng.random(23)) - 0.1 if clock == "native" else None
    data = rng.integers(0, 200, shape).astype(dtype)
    return roi.NumpyImagingExtractor(data, sampling_frequency=7.3, times=times, metadata=METADATA)


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("clock", ["computed", "native"])
@pytest.mark.parametrize("suffix", LOSSLESS)
def test_the_result_opens_and_is_the_same(tmp_path: Path, suffix: str, clock: str, planes: int) -> None:
    recording = made(planes, clock)
    target = tmp_path / f"written{suffix}"
    told: list[tuple[int, int]] = []
    written = _converted(recording, target, progress=lambda done, total: told.append((done, total)))
    with _opened(written) as found:
        np.testing.assert_array_equal(found.get_series(), recording.get_series())
        assert found.dtype == recording.dtype
        assert found.get_sampling_frequency() == pytest.approx(7.3, rel=1e-12)
        np.testing.assert_allclose(found.get_timestamps(), recording.get_timestamps(), rtol=1e-12)
        assert found.times_source == ("native" if clock == "native" else "computed")
        assert found.metadata.replaced(start_time=None).to_dict() == METADATA.replaced(start_time=None).to_dict()
        assert found.metadata.start_time is not None
        assert found.metadata.start_time.replace(tzinfo=None) == METADATA.start_time
    assert told[-1] == (recording.nbytes, recording.nbytes)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {target.name} | ({f"{target.name}.json"} if suffix == ".npy" else set())


def _converted(recording: Any, target: Path, **options: Any) -> Path:
    try:
        return roi.convert(recording, target, **options)
    except (roi.MissingDependencyError, roi.FormatNotInstalledError) as error:
        pytest.skip(str(error))


def _opened(path: Path) -> Any:
    try:
        return roi.open(path)
    except roi.FormatNotInstalledError as error:
        pytest.skip(str(error))


def test_a_slice_keeps_its_place_in_time(tmp_path: Path) -> None:
    recording = made(1, "computed")
    roi.convert(recording.slice_samples(5, 20).slice_field_of_view(2, 9), tmp_path / "part.npy")
    found = roi.open(tmp_path / "part.npy")
    np.testing.assert_array_equal(found.get_series(), recording[5:20, 2:9])
    np.testing.assert_array_equal(found.get_timestamps(), recording.get_timestamps(5, 20))


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
@pytest.mark.parametrize("dtype", ["bool", "int64", "float16", "float64"])
def test_any_dtype_is_kept_where_the_format_has_it(tmp_path: Path, suffix: str, dtype: str) -> None:
    recording = made(1, "computed", dtype)
    with _opened(_converted(recording, tmp_path / f"a{suffix}")) as found:
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found.get_series(), recording.get_series())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interruption_leaves_nothing_and_no_half_file(tmp_path: Path, suffix: str) -> None:
    class Interrupted(roi.NumpyImagingExtractor):
        def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
            raise KeyboardInterrupt

        def get_block(self, *args: Any, **kwargs: Any) -> np.ndarray:
            raise KeyboardInterrupt

    recording = Interrupted(np.ones((9, 8, 7), np.uint8), sampling_frequency=2.0, metadata=METADATA)
    try:
        roi.convert(recording, tmp_path / f"a{suffix}")
    except roi.MissingDependencyError as error:
        pytest.skip(str(error))
    except KeyboardInterrupt:
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_existing_target_is_replaced_only_when_that_is_asked_for_and_only_at_the_end(tmp_path: Path) -> None:
    recording = made(1, "native")
    target = roi.convert(recording, tmp_path / "a.npy")
    before = target.read_bytes()
    with pytest.raises(roi.SourceKindError, match=r"a\.npy already exists; pass overwrite"):
        roi.convert(recording.slice_samples(0, 3), target)
    assert target.read_bytes() == before
    roi.convert(recording.slice_samples(0, 3), target, overwrite=True)
    assert roi.open(target).shape == (3, 14, 11)


def test_a_recording_is_never_written_over_itself(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4, 5)))
    with roi.open(tmp_path / "a.npy") as recording:
        with pytest.raises(roi.SourceKindError, match=r"a\.npy is the recording itself"):
            roi.convert(recording, tmp_path / "a.npy", overwrite=True)
    assert np.load(tmp_path / "a.npy").shape == (3, 4, 5)


@pytest.mark.parametrize(("name", "words"), [("a.mov", r"'\.mov'.*\.npy"), ("no/a.npy", "folder .*no does not exist")])
def test_a_target_that_cannot_be_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(roi.SourceKindError, match=words):
        roi.convert(made(1, "native"), tmp_path / name)


def test_memory_is_bounded_by_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr("roiextractors_core.io.blocks.MAX_BLOCK_BYTES", 1 << 20)
    recording = NoiseImagingExtractor((2000, 128, 128), "uint16", 3)
    tracemalloc.start()
    roi.convert(recording, tmp_path / "a.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert recording.nbytes > 60 << 20
    assert peak < 24 << 20


# Which writer


def registry(*specs: roi.FormatSpec) -> Registry:
    made = Registry(entry_points=lambda: [], environment={"ROIEXTRACTORS_CONFIG": "/nowhere"})
    for spec in specs:
        made.register(spec)
    return made


def writing(name: str, *suffixes: str, writer: str = "roiextractors_core.interop.npy_writer:write") -> roi.FormatSpec:
    extractor = "roiextractors_core.npy:NpyImagingExtractor"
    return roi.FormatSpec(name, name.title(), extractor, (".x",), writer=writer, writer_extensions=suffixes)


def failing_writer(recording: Any, partial: Path, *, target: Path, progress: Any, loud: bool = False) -> None:
    partial.write_bytes(b"half of it")
    raise RuntimeError("the disk of the library is full")


def silent_writer(recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
    """Write nothing."""


def greedy_writer(recording: Any, partial: Path) -> None:
    """Take none of the keywords."""


class SeveralExtractor(roi.NumpyImagingExtractor):
    """A file of two channels, the second of which has two planes to choose from."""

    def __init__(self, file_path: Path, *, channel: str | None = None, plane: int | None = None) -> None:
        name = Path(file_path).name
        if channel is None:
            raise roi.StreamChoiceError.for_option(name, "channel", ("green", "red"))
        if channel == "red" and plane is None:
            raise roi.StreamChoiceError.for_option(name, "plane", (0, 1))
        super().__init__(np.full((3, 4, 5), {"green": 7}.get(channel, plane)), 2.0)


class SeveralWriter:
    """Writes the names of what it was passed."""

    takes_several = True

    def __call__(self, recording: Any, partial: Path, *, target: Path, progress: Any) -> None:
        named = {name: int(one[0, 0, 0]) for name, one in recording.items()} if isinstance(recording, dict) else None
        partial.write_text(json.dumps(named))


several_writer = SeveralWriter()


@pytest.fixture
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "conversion_writers", sys.modules[__name__])


def test_two_formats_that_write_one_suffix_are_an_error_that_names_format(tmp_path: Path) -> None:
    both = registry(writing("one", ".x"), writing("two", ".x"))
    with pytest.raises(roi.AmbiguousFormatError, match=r"\.x is written by 'one' and 'two'.*format='one'"):
        roi.convert(made(1, "native"), tmp_path / "a.x", registry=both)
    assert roi.convert(made(1, "native"), tmp_path / "a.x", format="two", registry=both).is_file()
    both.prefer("two", over="one")
    assert roi.convert(made(1, "native"), tmp_path / "b.x", registry=both).is_file()


def test_the_longest_suffix_chooses_the_writer_without_regard_to_case(tmp_path: Path) -> None:
    broken = writing("broken", ".x", writer="not_a_module:write")
    found = registry(broken, writing("whole", ".y.x"))
    assert roi.convert(made(1, "native"), tmp_path / "a.Y.X", registry=found).is_file()
    with pytest.raises(roi.MissingDependencyError, match="Broken cannot be written"):
        roi.convert(made(1, "native"), tmp_path / "a.x", registry=found)


def test_a_writer_that_the_catalogue_knows_is_named_with_what_to_install(tmp_path: Path) -> None:
    for name, target, format in (("nwb", "a.nwb", None), ("omezarr", "a.zarr", None), ("suite2p", "a", "suite2p")):
        with pytest.raises(roi.FormatNotInstalledError, match=f"python -m pip install .*{name}"):
            roi.convert(made(1, "native"), tmp_path / target, format=format, registry=registry())
    assert list(tmp_path.iterdir()) == []


def test_a_format_without_a_writer_and_an_unknown_one_are_refused_with_the_list(tmp_path: Path) -> None:
    reader = roi.FormatSpec("reader", "Reader", "a.b:C", (".x",))
    with pytest.raises(roi.UnknownFormatError, match=r"Reader can be read but not written.*'npy'"):
        roi.convert(made(1, "native"), tmp_path / "a.x", format="reader", registry=registry(reader))
    with pytest.raises(roi.UnknownFormatError, match=r"no format 'np' to write; did you mean 'npy'"):
        roi.convert(made(1, "native"), tmp_path / "a.x", format="np", registry=registry())


@pytest.mark.usefixtures("_importable")
def test_an_option_that_the_writer_does_not_take_is_refused_with_the_list(tmp_path: Path) -> None:
    with pytest.raises(roi.UnknownOptionError, match=r"NumPy array has no option 'start_time'. It takes none"):
        roi.convert(made(1, "native"), tmp_path / "a.npy", start_time="2026-01-01")
    loud = registry(writing("loud", ".x", writer="conversion_writers:failing_writer"))
    with pytest.raises(roi.UnknownOptionError, match=r"no option 'lound'; did you mean 'loud'.*'loud'"):
        roi.convert(made(1, "native"), tmp_path / "a.x", lound=True, registry=loud)


@pytest.mark.usefixtures("_importable")
@pytest.mark.parametrize(
    ("writer", "kind", "words"),
    [
        ("failing_writer", roi.PluginError, "failed in conversion_writers:failing_writer: RuntimeError: the disk"),
        ("silent_writer", roi.PluginError, "ended without writing a.x"),
        ("greedy_writer", roi.DeclarationError, "must take the keyword 'target'"),
        ("no_writer", roi.DeclarationError, "has no function no_writer"),
    ],
)
def test_a_faulty_writer_is_named_and_leaves_nothing(
    tmp_path: Path, writer: str, kind: type[Exception], words: str
) -> None:
    found = registry(writing("faulty", ".x", writer=f"conversion_writers:{writer}"))
    with pytest.raises(kind, match=words):
        roi.convert(made(1, "native"), tmp_path / "a.x", registry=found)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_callers_own_progress_passes_as_it_is(tmp_path: Path) -> None:
    def progress(done: int, total: int) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        roi.convert(made(1, "native"), tmp_path / "a.npy", progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_opened_and_closed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(60).reshape(3, 4, 5))
    target = roi.convert(tmp_path / "a.npy", tmp_path / "b.npy")
    np.testing.assert_array_equal(np.load(target), np.load(tmp_path / "a.npy"))


# Several recordings


@pytest.fixture
def several(_importable: None) -> Registry:
    extractor = "conversion_writers:SeveralExtractor"
    written = {"writer": "conversion_writers:several_writer", "writer_extensions": (".s",)}
    return registry(roi.FormatSpec("several", "Several", extractor, (".s",), **written))


def numbers(*values: int) -> list[roi.NumpyImagingExtractor]:
    return [roi.NumpyImagingExtractor(np.full((3, 4, 5), value), 2.0) for value in values]


def test_a_format_of_several_recordings_gets_all_of_a_path_and_those_of_a_list_or_dict(
    tmp_path: Path, several: Registry
) -> None:
    (tmp_path / "source.s").write_text("x")
    one, two = numbers(1, 2)
    channels = [
        roi.NumpyImagingExtractor(
            np.full((3, 4, 5), k), metadata=roi.RecordingMetadata(channels=(roi.ChannelMetadata(name),))
        )
        for k, name in enumerate(("Green", "Red"))
    ]
    for given, expected in (
        (tmp_path / "source.s", {"green": 7, "red plane 0": 0, "red plane 1": 1}),
        ([one, two], {"1": 1, "2": 2}),
        (channels, {"Green": 0, "Red": 1}),
        ([channels[0], channels[0]], {"1": 0, "2": 0}),
        ({"a": two, "b": one}, {"a": 2, "b": 1}),
        ({"a": one}, {"a": 1}),
        (one, None),
    ):
        path = roi.convert(given, tmp_path / "a.s", registry=several, overwrite=True)
        assert json.loads(path.read_text()) == expected


def test_a_format_of_one_recording_refuses_several(tmp_path: Path) -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match=r"NumPy array stores one recording, got 2 \('a' and 'b'\)"):
        roi.convert(dict(zip("ab", numbers(1, 2), strict=True)), tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []
    assert np.load(roi.convert({"a": numbers(5)[0]}, tmp_path / "a.npy"))[0, 0, 0] == 5  # one, under a name


def test_a_list_of_recordings_and_paths_and_an_empty_dict_are_refused(tmp_path: Path, several: Registry) -> None:
    with pytest.raises(roi.SourceKindError, match="contains recordings and paths"):
        roi.convert([*numbers(1), tmp_path / "a.npy"], tmp_path / "a.s", registry=several)
    with pytest.raises(roi.SourceKindError, match="dict of recordings is empty"):
        roi.convert({}, tmp_path / "a.s", registry=several)


def test_recordings_of_two_kinds_are_refused(tmp_path: Path, several: Registry) -> None:
    rois = roi.NumpySegmentationExtractor(np.ones((4, 5, 2), np.float32), np.zeros((9, 2)))
    with pytest.raises(roi.UnsupportedRecordingError, match="'b' is of kind 'segmentation', the first of 'imaging'"):
        roi.convert({"a": numbers(1)[0], "b": rois}, tmp_path / "a.s", registry=several)


def test_none_of_several_recordings_is_a_target(tmp_path: Path, several: Registry) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4, 5)))
    (tmp_path / "a.npy").rename(tmp_path / "a.s")
    with (
        roi.open(tmp_path / "a.s", format="npy") as opened,
        pytest.raises(roi.SourceKindError, match="recording b is read"),
    ):
        roi.convert({"a": numbers(1)[0], "b": opened}, tmp_path / "a.s", registry=several, overwrite=True)


def test_a_folder_of_other_content_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.npy").mkdir()
    (tmp_path / "a.npy" / "thesis.txt").write_text("years")
    with pytest.raises(roi.SourceKindError, match="folder with other content, not NumPy array"):
        roi.convert(made(1, "native"), tmp_path / "a.npy", overwrite=True)
    assert (tmp_path / "a.npy" / "thesis.txt").read_text() == "years"


def test_a_writer_is_checked_as_it_is_declared() -> None:
    for fields, words in (
        ({"writer": "no_colon"}, "writer must be 'package.module:function'"),
        ({"writer_extensions": (".x",)}, "writer_extensions must be empty without a writer"),
        ({"writer": "a.b:c", "writer_extensions": ("x",)}, "suffixes that begin with a dot"),
    ):
        with pytest.raises(roi.DeclarationError, match=words):
            roi.FormatSpec("a", "A", "a.b:C", (".x",), **fields)
    spec = roi.FormatSpec("a", "A", "a.b:C", (".x",), writer="a.b:c", writer_extensions=(".X",))
    assert spec.writer_extensions == (".x",)
    assert roi.FormatSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


# The file next to a .npy


def test_a_companion_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4, 5)))
    for text in ("{}", "not json", '{"fps": 30}'):
        (tmp_path / "a.npy.json").write_text(text)
        assert roi.open(tmp_path / "a.npy").get_sampling_frequency() is None


def test_a_companion_of_another_shape_is_noted_and_not_used(tmp_path: Path) -> None:
    roi.convert(made(1, "native"), tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.ones((3, 4, 5)))
    with pytest.warns(roi.RoiExtractorsWarning, match="a.npy.json was not used"):
        found = roi.open(tmp_path / "a.npy")
    assert found.times_source is None
    assert found.provenance.notes == (
        "a.npy.json was not used: it describes a recording of shape (23, 14, 11), but this one has shape (3, 4, 5)",
    )


@pytest.mark.parametrize("change", ["pixels", "dtype"])
def test_a_companion_of_an_earlier_movie_of_the_same_shape_is_left_out_with_a_warning(
    tmp_path: Path, change: str
) -> None:
    recording = made(1, "native")
    roi.convert(recording, tmp_path / "a.npy")
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert roi.open(tmp_path / "copy" / "a.npy").times_source == "native"
    pixels = recording.get_series()
    other = f"{'u' if pixels.dtype.kind == 'i' else 'i'}{pixels.itemsize}"
    np.save(tmp_path / "a.npy", pixels[::-1] if change == "pixels" else pixels.view(other))
    words = f"a.npy.json was not used: it was written for a file with .*{change}, so a.npy was saved again since"
    with pytest.warns(roi.RoiExtractorsWarning, match=words) as caught:
        found = roi.open(tmp_path / "a.npy")
    assert found.times_source is None
    assert found.get_sampling_frequency() is None
    assert str(caught[0].message) in found.get_notes()


def test_a_companion_without_a_checksum_is_used_by_its_shape(tmp_path: Path) -> None:
    roi.convert(made(1, "native"), tmp_path / "a.npy")
    beside = tmp_path / "a.npy.json"
    told = json.loads(beside.read_text(encoding="utf-8"))
    assert set(told["roiextractors"].pop("file")) == {"size", "dtype", "crc32"}
    beside.write_text(json.dumps(told), encoding="utf-8")
    with roi.open(tmp_path / "a.npy") as found:
        assert found.times_source == "native"
        assert {Path(path).name for path in found.get_paths()} == {"a.npy", "a.npy.json"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 7}, "version 7"),
        ({"times": [1.0, 2.0]}, "2 times for 23 samples"),
        ({"sampling_frequency": "fast"}, "could not convert string to float"),
        ({"metadata": {"start_time": "yesterday"}}, "Invalid isoformat"),
        ({"metadata": 5}, "cannot be used"),
    ],
)
def test_a_companion_that_contradicts_itself_is_an_error_in_words(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    roi.convert(made(1, "native"), tmp_path / "a.npy")
    beside = tmp_path / "a.npy.json"
    told = json.loads(beside.read_text(encoding="utf-8"))
    told["roiextractors"] |= change
    beside.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(roi.CorruptRecordingError, match=words):
        roi.open(tmp_path / "a.npy")


def test_a_truncated_companion_is_an_error_in_words(tmp_path: Path) -> None:
    roi.convert(made(1, "native"), tmp_path / "a.npy")
    beside = tmp_path / "a.npy.json"
    beside.write_bytes(beside.read_bytes()[:-200])
    with pytest.raises(roi.CorruptRecordingError, match=r"a\.npy\.json cannot be used: the text is truncated"):
        roi.open(tmp_path / "a.npy")


def test_a_nul_character_in_a_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(roi.SourceKindError, match="is not the name of a file or folder"):
        roi.convert(made(1, "native"), tmp_path / "a\0b.npy")


def test_the_long_integers_in_headers_of_python_2_are_read(tmp_path: Path) -> None:
    pixels = np.arange(60, dtype="<u2").reshape(3, 4, 5)
    np.save(tmp_path / "new.npy", pixels)
    content = (tmp_path / "new.npy").read_bytes()
    (tmp_path / "old.npy").write_bytes(content.replace(b"(3, 4, 5), }   ", b"(3L, 4L, 5L), }"))
    np.testing.assert_array_equal(roi.open(tmp_path / "old.npy"), pixels)


def test_metadata_is_the_same_after_json() -> None:
    assert roi.RecordingMetadata.from_dict(json.loads(json.dumps(METADATA.to_dict()))) == METADATA
    assert roi.RecordingMetadata.from_dict({}) == roi.RecordingMetadata()
    companion = Sidecar.of(made(3, "native"))
    again = Sidecar.from_json(companion.to_json(), where="here")
    assert again is not None
    assert again.times is not None
    assert again.times.tobytes() == (companion.times.tobytes() if companion.times is not None else b"")


class TestWritingNpy(WriterTests):
    format = "npy"
    target_name = "movie.npy"
    dtypes = {name: name for name in ("uint16", "bool", "int64", "float16", "float64", "complex64")}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "sparse file"])
def test_a_pipe_or_a_device_in_place_of_the_json_file_is_not_read(tmp_path: Path, kind: str) -> None:
    roi.convert(roi.NumpyImagingExtractor(np.ones((5, 4, 3)), 10.0), tmp_path / "a.npy")
    beside = tmp_path / "a.npy.json"
    if kind == "sparse file":
        os.truncate(beside, 1 << 40)
        with roi.open(tmp_path / "a.npy") as recording:
            assert any("a.npy.json was ignored" in note for note in recording.get_notes())
        return
    beside.unlink()
    os.mkfifo(beside) if kind == "pipe" else beside.symlink_to("/dev/zero")
    with pytest.raises(roi.SourceReadError, match=rf"a\.npy\.json could not be read: it is a {kind}"):
        roi.open(tmp_path / "a.npy")
