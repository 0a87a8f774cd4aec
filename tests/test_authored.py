"""Classes written for roiextractors, or against its habits, do not trip over the base class."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core import BlockImagingExtractor, ImagingExtractor
from roiextractors_core.errors import ClosedRecordingError, DeclarationError, RangeError, RecordingError, TimesError

ROOT = Path(__file__).parents[1]
ARRAYS = ("series", "part", "samples 0 2", "sliced", "field")
PLANAR = np.random.default_rng(1).integers(0, 4096, (9, 4, 6)).astype(np.uint16)
VOLUMES = np.random.default_rng(2).integers(0, 4096, (9, 4, 6, 3)).astype(np.uint16)


class Migrant(ImagingExtractor):
    """Returns slices of its own array, as the guide of roiextractors shows."""

    def __init__(self, data: np.ndarray = PLANAR) -> None:
        super().__init__()
        self._data = data
        self.settle()

    def settle(self) -> None:
        """Do what a constructor does."""

    def get_image_shape(self) -> tuple[int, int]:
        return self._data.shape[1:3]

    def get_num_samples(self) -> int:
        return len(self._data)

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        return self._data[start_sample:end_sample]


# Planes


class Guarded(Migrant):
    """As roiextractors' own classes guard themselves."""

    def get_num_planes(self) -> int:
        if not self.is_volumetric:
            raise NotImplementedError("this recording is not volumetric")
        return self._data.shape[3]


class GuardedVolume(Guarded):
    def settle(self) -> None:
        self.is_volumetric = True


def test_a_guard_that_asks_is_volumetric_does_not_recurse() -> None:
    planar = Guarded()
    assert (planar.is_volumetric, planar.shape, planar.get_num_planes()) == (False, PLANAR.shape, 1)
    assert planar.get_volume_shape() == (4, 6, 1)
    volume = GuardedVolume(VOLUMES)
    assert (volume.is_volumetric, volume.shape, volume.get_num_planes()) == (True, VOLUMES.shape, 3)
    with pytest.raises(RangeError, match="planar"):
        planar.select_plane(0)


def test_an_override_that_builds_on_its_parent_counts_the_planes() -> None:
    class Counts(Migrant):
        def get_num_planes(self) -> int:
            return 3

    class Builds(Counts):
        def get_num_planes(self) -> int:
            return super().get_num_planes()

    assert (Builds(VOLUMES).shape, Builds(VOLUMES).get_num_planes()) == (VOLUMES.shape, 3)


def test_planar_parts_of_a_stack_are_not_asked_for_planes() -> None:
    class Refuses(Migrant):
        def get_num_planes(self) -> int:
            raise NotImplementedError("planar")

        is_volumetric = False

    stack = roi.stack_planes([Refuses(), Refuses()])
    assert stack.shape == (9, 4, 6, 2)
    np.testing.assert_array_equal(stack[..., 1], PLANAR)


def test_volumes_of_a_class_that_says_nothing_of_planes_are_volumes() -> None:
    e = Migrant(VOLUMES)
    assert (e.shape, e.is_volumetric, e.get_num_planes()) == (VOLUMES.shape, True, 3)
    np.testing.assert_array_equal(e[2:4, ..., 1], VOLUMES[2:4, ..., 1])


def test_an_axis_of_one_channel_is_dropped() -> None:
    e = Migrant(PLANAR[..., None])
    assert (e.shape, e.is_volumetric, e.get_series(1, 3).shape) == (PLANAR.shape, False, (2, 4, 6))
    np.testing.assert_array_equal(e[2:4, 1:], PLANAR[2:4, 1:])


def test_an_author_who_states_the_dtype_has_no_pixel_read_for_the_shape() -> None:
    class Counts(Migrant):
        reads = 0

        def get_dtype(self) -> np.dtype[Any]:
            return np.dtype(np.uint16)

        def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
            self.reads += 1
            return self._data[start_sample:end_sample]

    e = Counts()
    assert (e.shape, repr(e)[:7], e.reads) == (PLANAR.shape, "<Counts", 0)


def test_volumes_of_a_class_that_says_it_is_planar_are_one_clear_sentence() -> None:
    class Denies(Migrant):
        def settle(self) -> None:
            self.is_volumetric = False

    with pytest.raises(
        RecordingError, match=r"Denies.get_series\(0, 9\) returned volumes .* set self.is_volumetric = True"
    ):
        Denies(VOLUMES).get_series()


def test_an_image_shape_of_three_axes_is_volumetric() -> None:
    class ThreeAxes(Migrant):
        def get_image_shape(self) -> Any:
            return self._data.shape[1:]

    e = ThreeAxes(VOLUMES)
    assert (e.is_volumetric, e.shape, e.get_num_planes()) == (True, VOLUMES.shape, 3)
    np.testing.assert_array_equal(e[2:4, ..., 1], VOLUMES[2:4, ..., 1])


def test_planes_are_selected_by_range_and_views_of_them_compose() -> None:
    volume = roi.NumpyImagingExtractor(VOLUMES, sampling_frequency=10.0)
    part = volume.select_planes(1, 3)
    assert (part.shape, part.is_volumetric, part.get_num_planes()) == ((9, 4, 6, 2), True, 2)
    np.testing.assert_array_equal(part[...], VOLUMES[..., 1:3])
    np.testing.assert_array_equal(part.slice_samples(2, 5).select_plane(1)[...], VOLUMES[2:5, ..., 2])
    np.testing.assert_array_equal(part.select_planes(1)[:, 1:3], VOLUMES[:, 1:3, :, 2:])
    np.testing.assert_array_equal(volume.depth_slice(start_plane=0, end_plane=2)[...], VOLUMES[..., :2])
    again = pickle.loads(pickle.dumps(part.slice_field_of_view(1, 3, 2, 5).select_planes(1, 2)))
    np.testing.assert_array_equal(again[...], VOLUMES[:, 1:3, 2:5, 2:3])
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(part.select_plane(0).slice_samples(3)))[...], VOLUMES[3:, ..., 1]
    )
    assert part.get_timestamps(1, 2).tolist() == [0.1]
    for start, end, message in ((1, 1, "empty"), (0, 4, "outside"), (2, 1, "2")):
        with pytest.raises(RangeError, match=message):
            volume.select_planes(start, end)
    with pytest.raises(RangeError, match="planar"):
        roi.NumpyImagingExtractor(PLANAR).select_planes(0, 1)


def test_positions_of_the_planes_follow_a_range_of_planes() -> None:
    class Placed(roi.NumpyImagingExtractor):
        def get_metadata(self) -> roi.RecordingMetadata:
            return roi.RecordingMetadata(plane_positions=(0.0, 5.0, 10.0), plane_spacing=5.0)

    part = Placed(VOLUMES).select_planes(1, 3)
    assert (part.metadata.plane_positions, part.metadata.plane_spacing) == ((5.0, 10.0), 5.0)
    assert (part.select_plane(1).metadata.plane_positions, part.select_plane(1).metadata.plane_spacing) == (
        (10.0,),
        None,
    )


@pytest.mark.parametrize("rates", [(10.0, 20.0), (None, 10.0, 10.1)])
def test_planes_of_different_rates_are_not_stacked(rates: tuple[float | None, ...]) -> None:
    parts = [roi.NumpyImagingExtractor(PLANAR, sampling_frequency=rate) for rate in rates]
    with pytest.raises(DeclarationError, match=r"rates differ: 10 Hz and .* sampling_frequency="):
        roi.stack_planes(parts)
    assert roi.stack_planes([parts[0], parts[0]]).get_sampling_frequency() == rates[0]


# Attributes that a constructor sets


class DtypeOfItself(Migrant):
    def get_dtype(self) -> np.dtype[Any]:
        return self.dtype


def test_a_dtype_that_asks_for_itself_does_not_recurse() -> None:
    e = DtypeOfItself()
    assert (e.dtype, e.get_dtype(), e[2:4].dtype) == (np.uint16, np.uint16, np.uint16)


class Shadows(DtypeOfItself):
    def settle(self) -> None:
        self.dtype = np.dtype(">u2")
        self.shape = self._data.shape[1:]
        self.metadata = {"lab": "ours"}
        self.name = "mine"
        self.size = self.ndim = self.nbytes = self.clock = self.times_source = -1


def test_attributes_that_a_constructor_sets_are_what_it_set_and_the_recording_still_works(tmp_path: Path) -> None:
    e = Shadows()
    assert (e.dtype, e.shape, e.metadata, e.name, e.size) == (np.dtype(">u2"), (4, 6), {"lab": "ours"}, "mine", -1)
    e.override_sampling_frequency(10.0)
    assert e.get_timestamps(1, 3).tolist() == [0.1, 0.2]
    np.testing.assert_array_equal(e[2:5, 1:3], PLANAR[2:5, 1:3])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(e))[...], PLANAR)
    view = e.slice_samples(2, 5)
    assert (view.shape, view.dtype, view.metadata.pixel_size) == ((3, 4, 6), np.uint16, None)
    assert roi.concatenate([e, e]).shape == (18, 4, 6)
    assert repr(e).startswith("<Shadows: 9 samples of 4 rows x 6 columns, uint16")
    np.testing.assert_array_equal(np.load(roi.convert(e, tmp_path / "movie.npy")), PLANAR)
    assert roi.projections(e).mean.shape == (4, 6)


def test_shadowed_attributes_do_not_mislead_other_libraries() -> None:
    pytest.importorskip("dask")
    pytest.importorskip("xarray")
    assert Shadows().to_dask().shape == PLANAR.shape
    assert Shadows().to_xarray().shape == PLANAR.shape


class Times(Migrant):
    def settle(self) -> None:
        self._times = np.arange(9) * 0.5 + 1


def test_setting_the_times_of_roiextractors_sets_the_times() -> None:
    e = Times()
    assert (e.times_source, e.has_time_vector(), e.get_timestamps(2, 4).tolist()) == ("user", True, [2.0, 2.5])
    assert pickle.loads(pickle.dumps(e)).get_timestamps(0, 1).tolist() == [1.0]
    assert e.slice_samples(2, 5).get_timestamps().tolist() == [2.0, 2.5, 3.0]
    e._times = None
    assert (e.times_source, e.has_time_vector()) == (None, False)
    e._times = [1, 2, 3]
    with pytest.raises(TimesError, match="3"):
        e.get_timestamps()


def test_a_bare_attribute_is_the_rate() -> None:
    class Bare(Migrant):
        def settle(self) -> None:
            self.sampling_frequency = 25.0

    class ByClass(Migrant):
        sampling_frequency = 12.5

    assert (Bare().get_sampling_frequency(), ByClass().get_sampling_frequency()) == (25.0, 12.5)
    assert Bare().get_timestamps(1, 2).tolist() == [0.04]
    e = Bare()
    e.override_sampling_frequency(50.0)
    assert e.get_sampling_frequency() == 50.0


# Methods


def test_native_times_may_be_a_method_without_parameters() -> None:
    class Plain(Migrant):
        def get_native_timestamps(self) -> list[float]:  # type: ignore[override]
            return [0.5 * k for k in range(9)]

    e = Plain()
    assert (e.times_source, e.get_timestamps(2, 4).tolist()) == ("native", [1.0, 1.5])
    assert e.get_native_timestamps(7).tolist() == [3.5, 4.0]
    assert e.slice_samples(4, 6).get_native_timestamps(1, 2).tolist() == [2.5]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda e: e.get_series(0, 10), RangeError),
        (lambda e: e.get_series(-2), RangeError),
        (lambda e: e.get_series(5, 3), RangeError),
        (lambda e: e.get_series(0.5), TypeError),
        (lambda e: e.get_samples([9]), RangeError),
        (lambda e: e.get_samples([-1]), RangeError),
    ],
)
def test_ranges_are_checked_before_the_authors_method_sees_them(call: Callable[[Any], Any], error: type) -> None:
    class Crashes(Migrant):
        def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
            assert 0 <= start_sample < end_sample <= 9, "a reader in C would end the interpreter here"  # type: ignore[operator]
            return self._data[start_sample:end_sample]

        def get_samples(self, sample_indices: Any) -> np.ndarray:
            assert set(sample_indices) <= set(range(9)), "the same"
            return self._data[sample_indices]

    e = Crashes()
    with pytest.raises(error):
        call(e)
    assert e.get_series(0, 0).shape == (0, 4, 6)
    np.testing.assert_array_equal(e.get_samples([3, 1]), PLANAR[[3, 1]])


def test_results_are_the_callers_own_and_a_closed_recording_is_refused() -> None:
    e = Migrant(PLANAR.copy())
    series = e.get_series()
    series[:] = 0
    np.testing.assert_array_equal(e.get_series(), PLANAR)
    e.close()
    with pytest.raises(ClosedRecordingError):
        e.get_series()


def test_a_series_of_another_length_is_one_clear_sentence() -> None:
    class Short(Migrant):
        def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
            return self._data[start_sample : min(end_sample or 9, 5)]

    with pytest.raises(
        RecordingError, match=r"Short.get_series\(3, 8\) returned shape \(2, 4, 6\); expected 5 samples"
    ):
        Short().get_series(3, 8)


def test_blocks_are_their_authors_promise_and_are_not_copied() -> None:
    buffers: list[np.ndarray] = []

    class Blocks(BlockImagingExtractor):
        def get_image_shape(self) -> tuple[int, int]:
            return 4, 6

        def get_num_samples(self) -> int:
            return 9

        def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
            buffers.append(PLANAR[samples, rows, columns].copy())
            return buffers[-1].transpose(0, 2, 1).transpose(0, 2, 1)

    series = Blocks().get_series(2, 4)
    assert np.shares_memory(series, buffers[-1])
    np.testing.assert_array_equal(series, PLANAR[2:4])


# roiextractors' own classes


@pytest.mark.thorough
@pytest.mark.skipif(
    not importlib.util.find_spec("roiextractors"), reason="python -m pip install -r tests/roiextractors.txt runs this"
)
def test_roiextractors_own_classes_read_the_same_on_our_base(tmp_path: Path) -> None:
    """Shapes, pixels and times of each combination of class and file, on their base class and on ours."""
    data = Path(os.environ.get("ROIEXTRACTORS_TEST_DATA", ROOT.parent / "shared" / "recordings"))
    found = [str(data)] if data.is_dir() else []
    theirs, ours = (_classes(base, str(tmp_path), *found) for base in ("theirs", "ours"))
    assert len(theirs) >= (43 if found else 15)
    assert [name for name, facts in theirs.items() if isinstance(facts, str)] == []
    for name, facts in theirs.items():
        if (
            name == "NumpyMemmapImagingExtractor"
        ):  # says that it is planar and returns an axis of one channel: dropped here
            facts = {key: [v[0][:3], *v[1:]] if key in ARRAYS else v for key, v in facts.items()}
        assert (name, ours[name]) == (name, facts)


def _classes(*arguments: str) -> dict[str, Any]:
    script = Path(__file__).with_name("roiextractors_classes.py")
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=300, check=True
    )
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _table_of_classes() -> list[tuple[str, str, str]]:
    page = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8").partition("## Which plugin")[2]
    page = page.partition("\n## ")[0]  # the next table is that of another section
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    return [(row[0], row[1], row[2].strip(" `")) for row in rows if len(row) == 3]


def test_the_page_names_every_imaging_class_of_roiextractors() -> None:
    script = Path(__file__).with_name("roiextractors_classes.py").read_text(encoding="utf-8")
    read = re.findall(r"rx\.(\w+)", script)
    named = {name for classes, _, _ in _table_of_classes() for name in re.findall(r"`(\w+)`", classes)}
    assert named >= {*read, "InscopixImagingExtractor", "SampleSlicedImagingExtractor"} - {"VideoStructure"}
    assert len(named) >= 25


@pytest.mark.parametrize(("classes", "call", "plugin"), _table_of_classes())
def test_the_options_on_the_page_exist(classes: str, call: str, plugin: str) -> None:
    options = re.findall(r"(\w+)=", call)
    owners = {spec.name: roi.default_registry().owner(spec.name) for spec in roi.formats()}
    specs = [spec for spec in roi.formats() if owners[spec.name] == plugin]
    if plugin and not specs:
        pytest.skip(f"{plugin} is not installed")
    known = {name for spec in specs for name in inspect.signature(spec.load()).parameters} | {"format"}
    assert set(options) <= known, (classes, plugin)
