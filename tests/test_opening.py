"""Opening by one call: what is found, what is refused, and in which words."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.cli.catalogue import catalogue_text
from roiextractors_core.registry.catalogue import CATALOGUE
from roiextractors_core.registry.registry import Registry

PLUGINS = Path(__file__).resolve().parents[1] / "plugins"
STACK = np.random.default_rng(0).integers(0, 999, (50, 7, 9)).astype("<u2")


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    np.save(tmp_path / "movie.npy", STACK)
    return tmp_path / "movie.npy"


@pytest.fixture
def recording(movie: Path) -> Any:
    return roi.open(movie, sampling_frequency=10.0)


INDICES = [
    3, -1, slice(2, 9), slice(None, None, -3), [3, 3, 1], (slice(None), 2), (Ellipsis, 3), ([1, 2], [3, 4], [5, 6]), (0, 0, 0),
    slice(3, 3), (None, 4), (slice(2, 40, 7), slice(6, 1, -2), [0, 8]), np.arange(50) % 2 == 0, (slice(1, 3), np.arange(63).reshape(7, 9) > 40),
    (np.array([[1, 2], [3, 4]]), slice(None), 0), (slice(None), np.int64(2), -1), [],
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing_gives_what_numpy_gives(recording: Any, index: Any) -> None:
    if isinstance(index, list) and not index:
        np.testing.assert_array_equal(recording[index], STACK[np.array(index, int)])
        return
    np.testing.assert_array_equal(recording[index], STACK[index])


@pytest.mark.parametrize("index", [50, -51, (0, 7), (0, 0, 9), [0, 50], (0, 0, 0, 0)])
def test_an_index_outside_is_an_index_error(recording: Any, index: Any) -> None:
    with pytest.raises(IndexError):
        recording[index]


@pytest.mark.parametrize(
    ("start", "end", "length"),
    [(None, None, 50), (0, 0, 0), (None, 0, 0), (50, 50, 0), (np.int64(2), np.uint8(5), 3), (49, None, 1)],
)
def test_a_range_is_exclusive_at_its_end(recording: Any, start: Any, end: Any, length: int) -> None:
    series = recording.get_series(start, end)
    assert series.shape == (length, 7, 9)
    assert series.dtype == np.uint16


@pytest.mark.parametrize(("start", "end"), [(0, 51), (-1, 3), (5, 3), (51, 52)])
def test_a_range_outside_is_refused_with_the_number_of_samples(recording: Any, start: int, end: int) -> None:
    with pytest.raises(roi.RangeError, match="there are 50 samples"):
        recording.get_series(start, end)


@pytest.mark.parametrize("bound", [2.0, "2", True, np.float32(1)])
def test_a_bound_that_is_no_integer_is_a_type_error(recording: Any, bound: Any) -> None:
    with pytest.raises(TypeError, match="must be a whole number"):
        recording.get_series(0, bound)


def test_samples_come_in_any_order_with_repeats(recording: Any) -> None:
    np.testing.assert_array_equal(recording.get_samples([9, 3, 3, 49]), STACK[[9, 3, 3, 49]])
    with pytest.raises(roi.RangeError, match="sample index -1"):
        recording.get_samples([-1])


def test_a_result_belongs_to_the_caller(recording: Any) -> None:
    first = recording.get_series(0, 2)
    first[:] = 0
    np.testing.assert_array_equal(recording.get_series(0, 2), STACK[:2])


def test_views_compose_in_data_and_in_clock(tmp_path: Path) -> None:
    volume = np.arange(10 * 7 * 9 * 5, dtype=np.int32).reshape(10, 7, 9, 5)
    np.save(tmp_path / "volume.npy", volume)
    view = (
        roi.open(tmp_path / "volume.npy", sampling_frequency=2.0)
        .select_plane(2)
        .slice_samples(2, 8)
        .slice_field_of_view(1, 5, 2, 6)
    )
    np.testing.assert_array_equal(np.asarray(view), volume[2:8, 1:5, 2:6, 2])
    np.testing.assert_allclose(view.get_timestamps(), np.arange(2, 8) / 2)
    again = pickle.loads(pickle.dumps(view.slice_samples(1, 3)))
    np.testing.assert_array_equal(np.asarray(again), volume[3:5, 1:5, 2:6, 2])
    np.testing.assert_allclose(again.get_timestamps(), [1.5, 2.0])


def test_times_of_the_user_come_before_native_before_computed(recording: Any) -> None:
    assert recording.times_source == "computed"
    recording.get_timestamps()
    assert not recording.has_time_vector()
    recording.set_times(np.arange(50) + 100.0)
    assert recording.times_source == "user"
    np.testing.assert_allclose(recording.slice_samples(3, 5).get_timestamps(), [103, 104])
    np.testing.assert_allclose(pickle.loads(pickle.dumps(recording)).get_timestamps(0, 2), [100, 101])
    with pytest.raises(roi.TimesError, match="expected 50 times, one per sample"):
        recording.set_times([1.0])


def test_a_concatenation_is_monotonic_and_keeps_gaps(recording: Any) -> None:
    both = roi.concatenate([recording, recording])
    np.testing.assert_allclose(both.get_timestamps(48, 52), [4.8, 4.9, 5.0, 5.1])
    np.testing.assert_array_equal(both[45:55], np.concatenate([STACK[45:], STACK[:5]]))
    gap = roi.concatenate([recording.slice_samples(0, 10), recording.slice_samples(20, 30)])
    np.testing.assert_allclose(gap.get_timestamps(8, 12), [0.8, 0.9, 2.0, 2.1])
    assert roi.stack_planes([recording, recording]).shape == (50, 7, 9, 2)


class FieldExtractor(roi.ImagingExtractor):
    """As the field's guide writes one."""

    def __init__(self, file_path: str, sampling_frequency: float | None = None) -> None:
        roi.ImagingExtractor.__init__(self)
        self.is_volumetric = True
        self.sampling_frequency = sampling_frequency or 5.0
        self._data = self._load_data(file_path)

    def _load_data(self, file_path: str) -> np.ndarray:
        return np.load(file_path)

    def get_num_samples(self) -> int:
        return len(self._data)

    def get_sampling_frequency(self) -> float:
        return self.sampling_frequency

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        return self._data[start_sample:end_sample]

    def get_image_shape(self) -> tuple[int, int]:
        return self._data.shape[1:]

    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        times = np.arange(len(self._data)) * 0.2 + 1
        start = start_sample or 0
        end = end_sample or len(times)
        return times[start:end]


def test_an_extractor_written_for_the_fields_base_class_works(tmp_path: Path) -> None:
    volume = np.arange(10 * 3 * 4 * 2).reshape(10, 3, 4, 2)
    np.save(tmp_path / "v.npy", volume)
    old = FieldExtractor(str(tmp_path / "v.npy"))
    assert old.shape == (10, 3, 4, 2)
    assert old.get_volume_shape() == (3, 4, 2)
    assert old.times_source == "native"
    np.testing.assert_allclose(old.get_timestamps(2, 4), [1.4, 1.6])
    assert old.get_timestamps(0, 0).shape == (0,)
    np.testing.assert_allclose(old.slice_samples(3).get_timestamps(0, 2), [1.6, 1.8])
    np.testing.assert_array_equal(old.select_plane(1)[4], volume[4, ..., 1])


def test_the_users_rate_wins_over_what_the_file_says(tmp_path: Path) -> None:
    registry = Registry(entry_points=list)
    registry.register(
        roi.FormatSpec(name="old", title="Old", extractor=f"{__name__}:FieldExtractor", extensions=(".old",))
    )
    sys.modules.setdefault(__name__, sys.modules[FieldExtractor.__module__])
    np.save(tmp_path / "v.npy", np.zeros((3, 2, 2, 2)))
    (tmp_path / "v.npy").rename(tmp_path / "v.npy.old")
    (tmp_path / "v.npy.old").rename(tmp_path / "v.old")
    assert (
        roi.open(tmp_path / "v.old", registry=registry, format="old", sampling_frequency=7.5).get_sampling_frequency()
        == 7.5
    )


def test_a_class_without_a_method_cannot_be_made_and_the_error_names_it() -> None:
    class Incomplete(roi.ImagingExtractor):
        def get_num_samples(self) -> int:
            return 1

        def get_image_shape(self) -> tuple[int, int]:
            return 1, 1

    with pytest.raises(TypeError, match="get_series"):
        Incomplete()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda p: roi.open(p / "movi.npy"), FileNotFoundError, "did you mean 'movie.npy'"),
        (lambda p: roi.open("https://a.b/c.tif"), ValueError, "is a URL"),
        (lambda p: roi.open(p / "movie.npy", bogus=1), TypeError, "takes no option 'bogus'"),
        (lambda p: roi.open(p / "movie.npy", format="npx"), ValueError, "did you mean 'npy'"),
        (lambda p: roi.open(p / "movie.npy", sampling_frequency=-1), ValueError, "above 0 Hz"),
        (lambda p: roi.open(p / "movie.npy").get_timestamps(), ValueError, "pass open"),
        (lambda p: roi.open(p), ValueError, "could not identify the format"),
        (lambda p: roi.open([]), ValueError, "empty list"),
    ],
)
def test_a_wrong_call_says_what_to_do(movie: Path, call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        call(movie.parent)
    assert isinstance(caught.value, roi.RoiExtractorsError)


def test_an_empty_file_and_a_text_file_called_tif_are_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("hello\n")
    with pytest.raises(roi.EmptySourceError, match="is empty"):
        roi.open(tmp_path / "empty.tif")
    with pytest.raises(roi.UnknownFormatError, match="looks like text: 'hello'"):
        roi.open(tmp_path / "text.tif")


def test_a_cut_file_is_explained_by_the_one_format_that_bears_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "cut.npy").write_bytes(b"\x93NUM")
    words = r"could not identify the format of .* Its suffix is that of NumPy array, whose plugin says: cut\.npy is not a .npy file"
    with pytest.raises(roi.UnknownFormatError, match=words):
        roi.open(tmp_path / "cut.npy")


RIG = """
import pathlib
import numpy as np
import roiextractors_core as roi

class Rig(roi.ImagingExtractor):
    def __init__(self, folder_path):
        super().__init__()
        folder = pathlib.Path(folder_path)
        if not (folder / "header.ini").is_file():
            raise roi.CorruptRecordingError(f"{folder.name} lacks its header.ini")
        self._frames = np.fromfile(folder / "chunk_0.bin", "<u2").reshape(-1, 2, 3)

    def get_image_shape(self):
        return 2, 3

    def get_num_samples(self):
        return len(self._frames)

    def get_series(self, start_sample=None, end_sample=None):
        return self._frames[start_sample:end_sample]
"""


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/a_rig_for_tests.py").write_text(RIG)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    for name in ("rec.rig", "unlike.rig", "movie"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "chunk_0.bin").write_bytes(bytes(24))
        (tmp_path / name / "times.csv").write_text("frame,time\n")
        (tmp_path / name / "sub/preview.dat").write_bytes(b"\1\2" * 9)
    (tmp_path / "rec.rig/header.ini").write_text("[Rig]\n")
    np.save(tmp_path / "rec.rig/mean.npy", STACK)
    registry = Registry(entry_points=list)
    extractor = "a_rig_for_tests:Rig"
    evidence = roi.Text("[Rig]", file="header.ini")
    registry.register(roi.FormatSpec("rig", "Rig movie", extractor, extensions=(".rig",), evidence=evidence))
    registry.register(roi.FormatSpec("by-suffix", "bytes", "no_such_module:Class", extensions=(".other",)))
    return registry


@pytest.mark.parametrize("member", ["header.ini", "chunk_0.bin", "times.csv", "sub/preview.dat"])
def test_a_member_of_a_folder_that_a_format_claims_names_the_folder_to_open(
    rig: Any, tmp_path: Path, member: str
) -> None:
    folder = tmp_path / "rec.rig"
    assert roi.open(folder, registry=rig).shape == (2, 2, 3)
    for call in (roi.open, roi.streams):
        with pytest.raises(roi.UnknownFormatError) as caught:
            call(folder / member, registry=rig)
        assert f"part of {folder}, which is Rig movie; open the folder: open({str(folder)!r})" in str(caught.value)
        assert str(caught.value).startswith(f"{Path(member).name} is part of")


@pytest.mark.parametrize(
    "evidence",
    [roi.JsonKey("rig", file="h.json"), roi.XmlRoot("Rig", file="h.xml"), roi.Magic(b"RIG", file="*_1")],
)
def test_a_recording_in_a_folder_of_another_format_is_no_tie(rig: Any, tmp_path: Path, evidence: Any) -> None:
    for name, text in (("h.json", '{"rig": 1}'), ("h.xml", "<Rig/>"), ("chunk_1", "RIG")):
        (tmp_path / "movie" / name).write_text(text)
    np.save(tmp_path / "movie/mean.npy", STACK)
    rig.register(roi.FormatSpec("other-rig", "Other rig", "no_such_module:Class", evidence=evidence))
    assert roi.explain(tmp_path / "movie", registry=rig).best.spec.name == "other-rig"
    assert roi.open(tmp_path / "movie/mean.npy", registry=rig).shape == STACK.shape


def test_a_member_that_is_a_recording_itself_is_opened(rig: Any, tmp_path: Path) -> None:
    assert roi.open(tmp_path / "rec.rig/mean.npy", registry=rig).shape == STACK.shape


@pytest.mark.parametrize("member", ["times.csv", "sub/preview.dat"])
def test_no_folder_is_named_where_no_format_claims_it(rig: Any, tmp_path: Path, member: str) -> None:
    for name in ("unlike.rig", "movie"):
        with pytest.raises(roi.UnknownFormatError) as caught:
            roi.open(tmp_path / name / member, registry=rig)
        assert "open the folder" not in str(caught.value)


def test_a_member_that_a_format_takes_by_its_suffix_and_cannot_read_names_the_folder(rig: Any, tmp_path: Path) -> None:
    (tmp_path / "rec.rig/chunk_0.bin").rename(tmp_path / "rec.rig/chunk_0.rig")
    with pytest.raises(
        roi.SourceKindError, match=r"^chunk_0.rig is part of .*rec.rig, which is Rig movie; open the folder: open\("
    ) as caught:
        roi.open(tmp_path / "rec.rig/chunk_0.rig", registry=rig)
    assert "lacks its header.ini" in str(caught.value.__cause__)
    with pytest.raises(roi.CorruptRecordingError, match=r"lacks its header\.ini"):
        roi.open(tmp_path / "rec.rig/chunk_0.rig", format="rig", registry=rig)


def test_a_folder_in_a_folder_that_a_format_claims_names_the_one_to_open(rig: Any, tmp_path: Path) -> None:
    folder = tmp_path / "rec.rig"
    (folder / "sub/deeper").mkdir()
    (folder / "sub/deeper/notes.dat").write_bytes(b"notes")
    for part in ("sub", "sub/deeper", "sub/deeper/notes.dat"):
        with pytest.raises(roi.UnknownFormatError) as caught:
            roi.open(folder / part, registry=rig)
        name = Path(part).name
        words = f"{name} is part of {folder}, which is Rig movie; open the folder: open({str(folder)!r})"
        assert str(caught.value) == words or part.count("/") == 2
    with pytest.raises(roi.UnknownFormatError) as caught:
        roi.open(tmp_path / "movie/sub", registry=rig)
    assert "open the folder" not in str(caught.value)


def test_a_folder_that_is_a_damaged_recording_is_explained_and_not_its_parent(rig: Any, tmp_path: Path) -> None:
    (tmp_path / "rec.rig/part.rig").mkdir()
    (tmp_path / "rec.rig/part.rig/header.ini").write_text("[Rig]\n")
    with pytest.raises(FileNotFoundError, match="chunk_0") as caught:
        roi.open(tmp_path / "rec.rig/part.rig", registry=rig)
    assert "part of" not in str(caught.value)


def test_a_folder_with_the_suffix_of_a_format_is_explained_by_its_plugin(rig: Any, tmp_path: Path) -> None:
    words = "could not identify .* Its suffix is that of Rig movie, whose plugin says: unlike.rig lacks its header.ini"
    with pytest.raises(roi.UnknownFormatError, match=words):
        roi.open(tmp_path / "unlike.rig", registry=rig)
    with pytest.raises(roi.UnknownFormatError) as caught:
        roi.open(tmp_path / "movie", registry=rig)
    assert "whose plugin says" not in str(caught.value)


def test_a_file_without_its_suffix_is_opened_by_its_content(movie: Path) -> None:
    movie.rename(movie.with_suffix(".dat"))
    assert roi.open(movie.with_suffix(".dat")).shape == (50, 7, 9)


def test_a_npy_file_that_would_need_unpickling_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, {}, {}], object), allow_pickle=True)
    with pytest.raises(roi.UnsupportedRecordingError, match="unpickling"):
        roi.open(tmp_path / "objects.npy")


@pytest.mark.parametrize("place", range(20))
def test_a_cut_npy_file_is_an_error_and_not_garbage(movie: Path, place: int) -> None:
    content = movie.read_bytes()
    movie.write_bytes(content[: 1 + place * (len(content) - 2) // 19])
    with pytest.raises(roi.RoiExtractorsError):
        roi.open(movie, format="npy")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">u2", "<i4", "<f8", "u1", ">f4"])
def test_npy_arrays_of_every_order_read_the_same(tmp_path: Path, order: Any, dtype: str) -> None:
    stored = np.asarray(STACK.astype(dtype), order=order)
    np.save(tmp_path / "a.npy", stored)
    found = roi.open(tmp_path / "a.npy")
    np.testing.assert_array_equal(found.get_series(), STACK.astype(dtype))
    assert found.get_series().dtype.isnative
    np.testing.assert_array_equal(found[3:9, 2:4, 1:3], STACK[3:9, 2:4, 1:3].astype(dtype))
    np.testing.assert_array_equal(found.get_samples([7, 1]), STACK[[7, 1]].astype(dtype))


def test_reading_after_close_is_an_error(movie: Path) -> None:
    with roi.open(movie) as recording:
        recording.get_series(0, 1)
    with pytest.raises(roi.ClosedRecordingError, match="open it again"):
        recording.get_series(0, 1)


def test_a_recording_pickles_into_a_fresh_process(recording: Any, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(pickle.dumps(recording))
    code = f"import pickle; print(int(pickle.load(open({str(tmp_path / 'p')!r}, 'rb')).get_series().sum()))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", code], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == int(STACK.sum())


def test_importing_the_core_imports_no_plugin_system_and_discovery_no_reading_library() -> None:
    code = (
        "import sys, roiextractors_core as roi\n"
        "assert 'pluggy' not in sys.modules and 'importlib_metadata' not in sys.modules\n"
        "names = [spec.name for spec in roi.formats()]\n"
        "assert 'npy' in names\n"
        "wrong = [m for m in sys.modules if m.partition('.')[0] in ('tifffile', 'h5py', 'zarr', 'av', 'imagecodecs') or m.endswith('.extractor')]\n"
        "assert not wrong, wrong\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Point:
    """An entry point of a plugin that is made up."""

    def __init__(self, name: str, loaded: Any) -> None:
        self.name = name
        self.value = f"{name}.hooks"
        self.group = "roiextractors_core"
        self._loaded = loaded

    def load(self) -> Any:
        return self._loaded()


def plugin(*specs: Any) -> Any:
    def loaded() -> Any:
        class Hooks:
            @staticmethod
            @roi.hookimpl
            def roiextractors_formats() -> Any:
                return specs

        return Hooks

    return loaded


def raising(error: BaseException) -> Any:
    def loaded() -> Any:
        raise error

    return loaded


def spec(name: str, **values: Any) -> roi.FormatSpec:
    return roi.FormatSpec(**{"name": name, "title": name, "extractor": "a.b:C", "extensions": (f".{name}",), **values})


def misspelt() -> Any:
    class Hooks:
        @staticmethod
        @roi.hookimpl
        def roiextractors_format() -> Any:
            return ()

    return Hooks


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (raising(ImportError("no module")), "importing it raised ImportError: no module"),
        (raising(SystemExit(3)), "raised SystemExit"),
        (misspelt, "there is no hook 'roiextractors_format'"),
        (plugin(), "declares no format"),
        (plugin(spec("one"), spec("two", api=99)), "needs API number 99"),
        (plugin(spec("one"), spec("npy")), "'npy' is already taken"),
        (plugin(spec("one"), "two"), "must yield FormatSpec values"),
        (object, "has no hook"),
    ],
)
def test_a_broken_plugin_does_not_harm_the_others(broken: Any, reason: str) -> None:
    points = [Point("broken", broken), Point("sound", plugin(spec("sound")))]
    registry = Registry(entry_points=lambda: points)
    assert [s.name for s in registry.formats()] == ["npy", "sound"]
    record = next(r for r in registry.plugins() if r.name == "broken")
    assert record.status == "failed"
    assert reason in record.reason
    assert Registry(entry_points=lambda: points[::-1]).formats() == registry.formats()


def test_a_plugin_is_blocked_in_code_by_environment_and_by_config(tmp_path: Path) -> None:
    points = [Point("sound", plugin(spec("sound")))]
    (tmp_path / "config.toml").write_text('block = ["sound"]\n')
    for environment in ({"ROIEXTRACTORS_BLOCK": "Sound"}, {"ROIEXTRACTORS_CONFIG": str(tmp_path / "config.toml")}):
        assert len(Registry(entry_points=lambda: points, environment=environment).formats()) == 1
    registry = Registry(entry_points=lambda: points, environment={})
    registry.block("sound")
    assert len(registry.formats()) == 1
    registry.unblock("sound")
    assert len(registry.formats()) == 2


def test_the_more_special_format_comes_first_and_a_tie_names_both(tmp_path: Path) -> None:
    (tmp_path / "x.abc").write_bytes(b"ABCD")
    general = spec("general", evidence=roi.Magic(b"AB"), extensions=(".abc",))
    special = spec("special", evidence=roi.Name("x.*"), specializes=("general",), extensions=(".abc",))
    rival = spec("rival", evidence=roi.Magic(b"ABCD"), extensions=(".abc",))
    only_name = spec("named", extensions=(".abc",))
    registry = Registry(entry_points=lambda: [Point("p", plugin(general, special, only_name))], environment={})
    assert roi.explain(tmp_path / "x.abc", registry=registry).best.spec.name == "special"  # type: ignore[union-attr]
    registry = Registry(entry_points=lambda: [Point("p", plugin(general, rival, only_name))], environment={})
    with pytest.raises(roi.AmbiguousFormatError, match=r"format='general'"):
        roi.open(tmp_path / "x.abc", registry=registry)
    registry.prefer("rival", over="general")
    assert roi.explain(tmp_path / "x.abc", registry=registry).best.spec.name == "rival"  # type: ignore[union-attr]
    json.dumps(roi.explain(tmp_path / "x.abc", registry=registry).to_dict())


def test_a_tie_over_content_that_cannot_be_checked_gives_the_reason(tmp_path: Path) -> None:
    """Two formats that the suffix of a truncated file leaves: to choose between them would not help."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.ones((50, 50))
    content = path.read_bytes()
    specs = [
        spec(
            name,
            evidence=roi.Hdf5Path(name),
            extensions=(".h5",),
            extractor="roiextractors_core.npy:NpyImagingExtractor",
        )
        for name in ("a", "b")
    ]
    registry = Registry(entry_points=lambda: [Point("p", plugin(*specs))], environment={})
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(roi.CorruptRecordingError, match=r"^a\.h5 is not a \.npy file"):
        roi.open(path, registry=registry)


def test_the_catalogue_is_made_from_the_plugins_declarations() -> None:
    assert catalogue_text(PLUGINS, PLUGINS.parent / "catalogue") == CATALOGUE.read_text(encoding="utf-8"), (
        "run: python -m roiextractors_core.cli.catalogue"
    )


def test_the_catalogue_takes_a_plugin_from_another_repository_by_its_declaration_alone(tmp_path: Path) -> None:
    package = tmp_path / "roiextractors-elsewhere" / "roiextractors_elsewhere"
    package.mkdir(parents=True)
    (package.parent / "pyproject.toml").write_text(
        '[project]\nname = "roiextractors-elsewhere"\n'
        '[project.entry-points.roiextractors_core]\nelsewhere = "roiextractors_elsewhere.hooks"\n'
    )
    (package / "__init__.py").touch()
    (package / "hooks.py").write_text(
        "from roiextractors_core import FormatSpec, Magic, hookimpl\n"
        "@hookimpl\ndef roiextractors_formats():\n"
        "    yield FormatSpec(name='elsewhere', title='Elsewhere', extractor='roiextractors_elsewhere.extractor:E',\n"
        "                     extensions=('.els',), evidence=Magic(b'ELSEWHERE'))\n"
    )
    entries = json.loads(catalogue_text(PLUGINS, tmp_path))
    entry = next(entry for entry in entries if entry["format"]["name"] == "elsewhere")
    assert (entry["plugin"], entry["format"]["extensions"]) == ("roiextractors-elsewhere", [".els"])
    assert len(entries) == 1 + len(json.loads(catalogue_text(PLUGINS)))


def test_with_the_core_alone_a_scanimage_file_is_named_with_its_plugin(tmp_path: Path) -> None:
    head = (
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, 40)
        + bytes.fromhex("01030307")
        + struct.pack("<III", 4, 4, 4)
        + b"SI.\0{}\0\0"
    )
    entries = [(256, 3, 1, 8), (257, 3, 1, 8)]
    table = struct.pack("<Q", 2) + b"".join(struct.pack("<HHQQ", *entry) for entry in entries) + bytes(8)
    (tmp_path / "x.tif").write_bytes(head + table)
    with pytest.raises(roi.FormatNotInstalledError, match=r"is ScanImage TIFF.*pip install .*scanimage"):
        roi.open(tmp_path / "x.tif", registry=Registry(entry_points=list, environment={}))


def test_the_real_npy_recording_opens(recordings: Path) -> None:
    found = roi.open(recordings / "npy" / "bulk-water_frame0.npy")
    np.testing.assert_array_equal(found[10:20], np.load(recordings / "npy" / "bulk-water_frame0.npy")[10:20])


def test_a_plugin_that_is_blocked_is_not_asked_and_not_said_to_be_missing(tmp_path: Path) -> None:
    from roiextractors_core.testing import NoiseImagingExtractor

    write_scanimage = pytest.importorskip("roiextractors_scanimage.testing").write_scanimage

    write_scanimage(NoiseImagingExtractor((3, 16, 16), "int16", 1, sampling_frequency=5.0), tmp_path / "movie.tif")
    registry = roi.Registry(environment={"ROIEXTRACTORS_BLOCK": "roiextractors-scanimage"})
    if "roiextractors-scanimage" not in {record.name for record in registry.plugins()}:
        pytest.skip("roiextractors-scanimage is not installed")
    found = roi.explain(tmp_path / "movie.tif", registry=registry)
    assert [entry.plugin for entry in found.not_installed] == []
    assert found.best is None or found.best.spec.name == "tiff"


# Arrays whose axes are not what they seem


@pytest.mark.parametrize(
    ("shape", "words", "is_warning"),
    [
        ((6, 20, 30, 3), "if the last axis is colours or channels: .*dimension_order='TYXC', channel=0", False),
        ((20, 30, 4), "read as 20 samples of 30 x 4; if it is one picture with colours .*dimension_order='YXC'", False),
        ((6, 5, 20, 30), "if axis 1 is planes or channels: .*dimension_order='TZYX'.*'TCYX' with channel=0", True),
        ((6, 20, 30, 5), r"read as \(samples, rows, columns, planes\); if the axes are in another order", False),
        ((20, 300), "a two-dimensional array.* one frame, not as traces", False),
    ],
)
def test_the_axes_of_an_array_are_said_where_they_are_in_doubt(
    tmp_path: Path, shape: tuple[int, ...], words: str, is_warning: bool
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint16))
    expected = pytest.warns(roi.RoiExtractorsWarning, match=words) if is_warning else contextlib.nullcontext()
    with expected:
        recording = roi.open(tmp_path / "a.npy")
    assert re.search(words, recording.get_notes()[0])


def test_colours_of_bytes_are_a_warning_that_the_axes_silence(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((6, 20, 30, 3), np.uint8))
    with pytest.warns(roi.RoiExtractorsWarning, match="colours or channels: .*'TYXC', channel=0"):
        roi.open(tmp_path / "a.npy").close()
    with roi.open(tmp_path / "a.npy", dimension_order="TYXZ") as recording:
        assert (recording.shape, recording.get_notes()) == ((6, 20, 30, 3), ())


def test_samples_of_zeros_at_the_end_of_an_array_count_as_missing(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(1, 9, (7, 20, 30)).astype(np.uint16)
    frames[5:] = 0
    frames[4, 9:] = 0
    np.save(tmp_path / "a.npy", frames)
    with pytest.warns(roi.IncompleteRecordingWarning, match="ends in zeros: after the first 4 of 7 samples") as caught:
        recording = roi.open(tmp_path / "a.npy")
    with recording:
        np.testing.assert_array_equal(recording.get_series(), frames)
        assert recording.get_missing_samples().tolist() == [4, 5, 6]
        assert recording.keeps_missing_samples
        assert recording.get_notes() == (str(caught[0].message),)


def test_a_description_beside_an_array_that_is_not_read_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((7, 20, 30), np.uint16))
    (tmp_path / "a.json").write_text('{"fps": 30}')
    with pytest.warns(roi.RoiExtractorsWarning, match=r"'?a\.json'? beside a\.npy may describe it") as caught:
        recording = roi.open(tmp_path / "a.npy")
    with recording:
        assert str(caught[0].message) in recording.get_notes()


def test_an_axis_of_channels_is_named_and_one_channel_read(tmp_path: Path) -> None:
    values = np.arange(4 * 2 * 3 * 5 * 6, dtype=np.int16).reshape(4, 2, 3, 5, 6)
    for order, array in (("TCZYX", values), ("TZYXC", np.moveaxis(values, 1, 4)), ("TCZYX", np.asfortranarray(values))):
        np.save(tmp_path / "a.npy", array)
        assert roi.streams(tmp_path / "a.npy", dimension_order=order) == {"channel": ("0", "1")}
        with pytest.raises(roi.StreamChoiceError, match="channel"):
            roi.open(tmp_path / "a.npy", dimension_order=order)
        for channel in (1, "1"):
            with roi.open(tmp_path / "a.npy", dimension_order=order, channel=channel) as recording:
                np.testing.assert_array_equal(recording.get_series(), np.moveaxis(values[:, 1], 1, 3))
    with pytest.raises(roi.UnsupportedRecordingError, match=r"5 dimensions .*dimension_order='TCZYX', channel=0"):
        roi.open(tmp_path / "a.npy")


def test_the_whole_samples_of_a_cut_array_are_read_where_the_user_says_so(tmp_path: Path) -> None:
    values = np.arange(10 * 5 * 6, dtype=np.int16).reshape(10, 5, 6)
    np.save(tmp_path / "a.npy", values)
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[: -3 * 60 + 7])
    with pytest.raises(
        roi.TruncatedRecordingError, match=r"7 complete samples of 10, open\(\.\.\., allow_missing=True\)"
    ):
        roi.open(tmp_path / "a.npy")
    with pytest.warns(roi.IncompleteRecordingWarning, match="reading 7 of 10 samples"):
        recording = roi.open(tmp_path / "a.npy", allow_missing=True)
    with recording:
        np.testing.assert_array_equal(recording.get_series(), values[:7])
        assert recording.get_missing_samples().tolist() == [7, 8, 9]


def test_bytes_after_an_array_are_told(tmp_path: Path) -> None:
    values = np.arange(10 * 5 * 6, dtype=np.int16).reshape(10, 5, 6)
    with (tmp_path / "a.npy").open("wb") as stream:
        np.save(stream, values)
        np.save(stream, values)
    with pytest.warns(roi.RoiExtractorsWarning, match="contains more than one array; only the first is read"):
        assert len(roi.open(tmp_path / "a.npy")) == 10
    np.save(tmp_path / "a.npy", values)
    with (tmp_path / "a.npy").open("ab") as stream:
        stream.write(values.tobytes())
    with pytest.warns(roi.RoiExtractorsWarning, match="600 bytes after the array .* exactly 2 times the data"):
        roi.open(tmp_path / "a.npy")


def test_a_recording_in_a_folder_beside_the_file_is_not_what_the_file_is_part_of(tmp_path: Path) -> None:
    spec = roi.FormatSpec(name="rig", title="Rig", extractor="rig.x:X", evidence=roi.Member("*/rig.ini"))
    registry = Registry(entry_points=list)
    registry.register(spec)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rig.ini").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "movie.qqq").write_bytes(b"unknown")
    with pytest.raises(roi.UnknownFormatError) as caught:
        roi.open(tmp_path / "mine" / "movie.qqq", registry=registry)
    assert "part of" not in str(caught.value)
    (tmp_path / "mine" / "rig.ini").touch()
    (tmp_path / "other" / "rig.ini").unlink()
    with pytest.raises(roi.UnknownFormatError, match=r"^movie.qqq is part of .*, which is Rig; open the folder"):
        roi.open(tmp_path / "mine" / "movie.qqq", registry=registry)


def test_a_file_beside_images_is_not_part_of_them(tmp_path: Path) -> None:
    spec = roi.FormatSpec(
        name="rig", title="Rig", extractor="rig.x:X", extensions=(".img",), evidence=roi.Member("*.img")
    )
    registry = Registry(entry_points=list)
    registry.register(spec)
    (tmp_path / "frame.img").write_bytes(b"unknown")
    (tmp_path / "letter.qqq").write_bytes(b"unknown")
    (tmp_path / "data.qqq").mkdir()
    (tmp_path / "data.qqq" / "x").write_bytes(b"unknown")
    for name in ("letter.qqq", "data.qqq", "data.qqq/x"):
        with pytest.raises(roi.UnknownFormatError) as caught:
            roi.open(tmp_path / name, registry=registry)
        assert "part of" not in str(caught.value)
