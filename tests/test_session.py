"""``roi.register``: a class of a notebook or a script is a format for the session."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import DeclarationError, RecordingError


class Rig(roi.ImagingExtractor):
    """Frames of 4 x 6 pixels of one byte after a signature."""

    def __init__(self, file_path: Any, *, sampling_frequency: float | None = None) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._frames = np.frombuffer(Path(file_path).read_bytes()[4:], np.uint8).reshape(-1, 4, 6)

    def get_image_shape(self) -> tuple[int, int]:
        return 4, 6

    def get_num_samples(self) -> int:
        return len(self._frames)

    def get_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        return self._frames[start_sample:end_sample]


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    (tmp_path / "movie.rig").write_bytes(b"RIG1" + bytes(range(48)))
    return tmp_path / "movie.rig"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    for name in ("my-rig", "npy"):
        roi.default_registry().unregister(name)


def test_a_registered_class_opens_by_suffix_by_content_and_by_name(movie: Path) -> None:
    assert roi.register(Rig, name="my-rig", extensions=(".rig",), evidence=roi.Magic(b"RIG1")) is Rig
    recording = roi.open(movie, sampling_frequency=20.0)
    assert (type(recording), recording.shape, recording.provenance.format) == (Rig, (2, 4, 6), "my-rig")
    assert recording.provenance.plugin == "this session"
    bare = movie.rename(movie.with_suffix(""))
    assert roi.open(bare).shape == roi.open(bare, format="my-rig").shape == (2, 4, 6)
    spec = roi.default_registry().get("my-rig")
    assert spec is not None
    assert (spec.title, spec.to_dict()["extractor"], "extractor_class" in spec.to_dict()) == (
        "Rig",
        f"{__name__}:Rig",
        False,
    )
    assert spec in roi.formats()


def test_it_is_a_decorator_too_and_the_cell_may_run_again(movie: Path) -> None:
    for rows in (4, 8):

        @roi.register(name="my-rig", title="Our rig", extensions=(".rig",), streams=())
        class Local(Rig):
            num_rows = rows

            def get_image_shape(self) -> tuple[int, int]:
                return self.num_rows, 24 // self.num_rows

        recording = roi.open(movie)
        assert (type(recording), recording.get_image_shape()[0]) == (Local, rows)


def test_a_name_that_is_taken_says_how_to_replace_it(movie: Path) -> None:
    roi.register(Rig, name="my-rig", extensions=(".rig",))

    class Other(Rig):
        pass

    with pytest.raises(DeclarationError, match=r"'my-rig' is already taken \(Rig\); pass replace=True"):
        roi.register(Other, name="my-rig", extensions=(".rig",))
    roi.register(Other, name="my-rig", extensions=(".rig",), replace=True)
    assert type(roi.open(movie)) is Other
    roi.default_registry().unregister("my-rig")
    with pytest.raises(DeclarationError, match="replace=True"):
        roi.register(Rig, name="npy", extensions=(".rig",))
    roi.register(Rig, name="npy", extensions=(".rig",), replace=True)
    assert type(roi.open(movie)) is Rig
    roi.default_registry().unregister("npy")
    spec = roi.default_registry().get("npy")
    assert spec is not None
    assert spec.title == "NumPy array"


@pytest.mark.parametrize(
    ("given", "declared", "message"),
    [
        (dict, {"extensions": (".rig",)}, "subclass of ImagingExtractor"),
        (Rig("/dev/null"), {"extensions": (".rig",)}, "subclass of ImagingExtractor"),
        (Rig, {}, "at least one suffix, or evidence"),
        (Rig, {"extensions": ("rig",)}, "begin with a dot"),
    ],
)
def test_what_cannot_be_a_format_is_refused(given: Any, declared: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        roi.register(given, name="my-rig", **declared)


def test_a_recording_pickles_by_reference_or_says_why_it_cannot(movie: Path) -> None:
    roi.register(Rig, name="my-rig", extensions=(".rig",))
    again = pickle.loads(pickle.dumps(roi.open(movie, sampling_frequency=5.0)))
    assert (type(again), again.get_sampling_frequency()) == (Rig, 5.0)

    @roi.register(name="my-rig", extensions=(".rig",), replace=True)
    class Inside(Rig):
        pass

    with pytest.raises(RecordingError, match=r"Inside is defined inside a function.* at the top of a module"):
        pickle.dumps(roi.open(movie))
