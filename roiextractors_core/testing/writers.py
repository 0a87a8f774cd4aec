"""The tests that a plugin with a writer inherits.

::

    from roiextractors_core.testing import WriterTests

    class TestWritingNpy(WriterTests):
        format = "npy"
        target_name = "movie.npy"
        dtypes = {"uint16": "uint16", "float32": "float32"}
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import roiextractors_core as roi

from ..errors import RoiExtractorsError, SourceKindError, UnknownOptionError, counted
from ..imaging.extractor import ImagingExtractor
from ..imaging.in_memory import NumpyImagingExtractor
from ..io import blocks
from ..metadata import ChannelMetadata, RecordingMetadata
from ..registry.registry import default_registry
from ..registry.spec import FormatSpec
from .conformance.judging import fail

__all__ = ["WriterTests"]

_SAMPLES, _ROWS, _COLUMNS, _PLANES, _RATE = 23, 14, 11, 3, 7.3
_SMALL_BLOCK = 2000  # bytes: some six samples, so that every recording here takes several blocks

METADATA = RecordingMetadata(
    start_time=datetime(2026, 3, 4, 5, 6, 7, 89000),
    pixel_size=(0.5, 0.7),
    plane_spacing=12.5,
    channels=(ChannelMetadata("Green", 510.0, 920.0),),
    device="2p-RAM",
    software="Acquisition 2023.0.0",
    vendor={"laser": {"power": 12.25}, "names": ["a", "b"]},
)


class StoppedError(Exception):
    """Raised in the middle of a write by the tests."""


class WriterTests:
    """Tests of a format's writer: pixels, times, metadata, existing targets, interruptions and progress.

    Attributes
    ----------
    format : str
        The format's name.
    target_name : str
        What to write, ``"movie.xyz"``.
    dtypes : mapping of str to str
        Each dtype of recordings to test, and the dtype that the format gives back.
    write_options, open_options : mapping
        Options of ``convert`` and of ``open``.
    writes_volumes : bool
        Whether the format stores planes.
    keeps_rate, keeps_times, keeps_metadata : bool
        Whether the sampling rate, irregular times and all of the metadata come back.
    """

    format: ClassVar[str] = ""
    target_name: ClassVar[str] = ""
    dtypes: ClassVar[Mapping[str, str]] = {"uint16": "uint16"}
    write_options: ClassVar[Mapping[str, Any]] = {}
    open_options: ClassVar[Mapping[str, Any]] = {}
    writes_volumes: ClassVar[bool] = True
    keeps_rate: ClassVar[bool] = True
    keeps_times: ClassVar[bool] = True
    keeps_metadata: ClassVar[bool] = True

    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blocks, "MAX_BLOCK_BYTES", _SMALL_BLOCK)

    def test_the_format_declares_its_writer(self) -> None:
        spec = self._spec()
        parameters = list(inspect.signature(spec.load_writer()).parameters.values())
        keywords = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
        if not {"target", "progress"} <= set(keywords):
            fail(
                f"{spec.writer} takes the keywords {list(keywords)}",
                "declare write(recording, partial, *, target, progress)",
            )
        required = [k for k, p in keywords.items() if k not in ("target", "progress") and p.default is p.empty]
        if required:
            fail(f"the option {required[0]!r} of {spec.writer} has no default", "give every option a default")
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            fail(f"{spec.writer} takes any option", "name the options, so that a misspelt one is refused")

    def test_the_pixels_and_the_dtype_are_the_same(self, tmp_path: Path) -> None:
        for dtype, expected_dtype in self.dtypes.items():
            for planes in self._planes():
                recording = _make(planes, dtype=dtype)
                written = self._write(recording, _folder(tmp_path, f"{dtype}-{planes}"))
                with self._open(written) as reopened:
                    _compare_pixels(reopened, recording, expected_dtype)

    def test_a_view_is_written_as_it_is_seen(self, tmp_path: Path) -> None:
        recording = _make(1, dtype=next(iter(self.dtypes)))
        view = recording.slice_samples(5, 20).slice_field_of_view(2, 9, 1, 10)
        with self._open(self._write(view, tmp_path)) as reopened:
            _compare_pixels(reopened, view, next(iter(self.dtypes.values())))

    def test_the_rate_and_the_times_are_the_same(self, tmp_path: Path) -> None:
        if not self.keeps_rate:
            pytest.skip("the format stores no sampling rate: keeps_rate is False")
        for clock in ("computed", "native", "sliced") if self.keeps_times else ("computed",):
            recording: ImagingExtractor = _make(1, dtype=next(iter(self.dtypes)), clock=clock)
            if clock == "sliced":
                recording = recording.slice_samples(5)
            with self._open(self._write(recording, _folder(tmp_path, clock))) as reopened:
                _compare_times(reopened, recording)

    def test_the_metadata_is_the_same(self, tmp_path: Path) -> None:
        if not self.keeps_metadata:
            pytest.skip("the format stores no metadata: keeps_metadata is False")
        for planes in self._planes():
            recording = _make(planes, dtype=next(iter(self.dtypes)))
            with self._open(self._write(recording, _folder(tmp_path, str(planes)))) as reopened:
                _compare_metadata(reopened.metadata)

    def test_an_existing_target_is_replaced_only_with_overwrite(self, tmp_path: Path) -> None:
        first, second = self._recording(), self._recording(seed=9)
        written = self._write(first, tmp_path)
        before = _contents(tmp_path)
        try:
            self._write(second, tmp_path)
        except SourceKindError:
            pass
        else:
            fail("an existing target was replaced without overwrite=True", "leave the target to convert")
        if _contents(tmp_path) != before:
            fail("a refused write changed the target", "write to `partial`, never to `target`")
        self._write(second, tmp_path, overwrite=True)
        with self._open(written) as reopened:
            _compare_pixels(reopened, second, next(iter(self.dtypes.values())))

    def test_an_interrupted_write_leaves_nothing(self, tmp_path: Path) -> None:
        for words, recording, options in self._interruptions():
            with _expect_stop():
                self._write(recording, tmp_path, **options)
            left = sorted(_contents(tmp_path))
            if left:
                fail(
                    f"{words} left {left[0]}",
                    "write to `partial` or into its folder alone, and let errors pass",
                )

    def test_an_interrupted_replacement_leaves_the_old_one(self, tmp_path: Path) -> None:
        self._write(self._recording(), tmp_path)
        before = _contents(tmp_path)
        for words, recording, options in self._interruptions():
            with _expect_stop():
                self._write(recording, tmp_path, overwrite=True, **options)
            if _contents(tmp_path) != before:
                fail(f"{words} changed the target that was to be replaced", "write to `partial`, never to `target`")

    def test_only_the_target_appears(self, tmp_path: Path) -> None:
        written = self._write(self._recording(), tmp_path)
        strange = [path.name for path in tmp_path.iterdir() if not path.name.startswith(written.name)]
        if not written.exists() or strange:
            fail(f"the folder of the target contains {strange or 'nothing'}", "name every file after the target")

    def test_progress_is_reported(self, tmp_path: Path) -> None:
        calls: list[tuple[int, int]] = []
        recording = self._recording()
        self._write(recording, tmp_path, progress=lambda done, total: calls.append((done, total)))
        advice = "call progress(done, total) in bytes of pixels, or read with read_blocks(recording, progress=progress)"
        if not calls:
            fail("progress was never called", advice)
        if calls != sorted(calls) or len({total for _, total in calls}) > 1:
            fail(f"progress went from {calls[0]} by {calls[1:4]}", advice)
        if calls[-1] != (recording.nbytes, recording.nbytes):
            fail(f"the last call was progress{calls[-1]}, expected {(recording.nbytes, recording.nbytes)}", advice)

    def test_the_recording_is_not_changed(self, tmp_path: Path) -> None:
        recording = self._recording()
        before = recording.get_series()
        self._write(recording, tmp_path)
        if not np.array_equal(recording.get_series(), before):
            fail("writing changed the pixels of the recording", "copy a block before you change it")

    def test_the_files_that_are_read_are_unchanged(self, tmp_path: Path) -> None:
        folder = _folder(tmp_path, "source")
        # With its rate and metadata, without which some formats cannot be written
        source = roi.convert(self._recording(), folder / "source.npy")
        before = _contents(folder)
        with roi.open(source) as recording:
            target = _folder(tmp_path, "target")
            for overwrite in (False, True):
                self._write(recording, target, overwrite=overwrite)
                if _contents(folder) != before:
                    fail("writing changed the files that the recording reads", "write to `partial` and next to it only")

    def test_an_unknown_option_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownOptionError):
            self._write(self._recording(), tmp_path, an_option_that_no_writer_has=1)
        if _contents(tmp_path):
            fail("a refused option left a file", "leave the check of options to convert")

    # What the tests share

    def _spec(self) -> FormatSpec:
        spec = default_registry().get(self.format)
        if spec is None or not spec.writer:
            fail(
                f"no installed format {self.format!r} declares a writer",
                "set `format`, and declare FormatSpec(writer=...)",
            )
        if not self.target_name:
            fail("target_name is empty", 'set `target_name`, for example "movie.xyz"')
        return spec

    def _write(self, recording: ImagingExtractor, folder: Path, **more: Any) -> Path:
        spec = self._spec()
        with warnings.catch_warnings():
            if not self.keeps_times:  # a writer may say that the times of a slice are lost
                warnings.simplefilter("ignore", roi.RoiExtractorsWarning)
            return roi.convert(recording, folder / self.target_name, format=spec.name, **{**self.write_options, **more})

    @contextmanager
    def _open(self, path: Path) -> Iterator[ImagingExtractor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", roi.RoiExtractorsWarning)
            try:
                reopened = roi.open(path, **self.open_options)
            except RoiExtractorsError as error:
                fail(f"the written {path.name} does not open: {error}", "write what the extractor reads")
        with reopened:
            if reopened.provenance.format != self.format:
                fail(f"the written {path.name} opens as {reopened.provenance.format}", "write the format's evidence")
            yield reopened

    def _planes(self) -> tuple[int, ...]:
        return (1, _PLANES) if self.writes_volumes else (1,)

    def _recording(self, *, seed: int = 0) -> NumpyImagingExtractor:
        return _make(1, dtype=next(iter(self.dtypes)), seed=seed)

    def _interruptions(self) -> Iterator[tuple[str, ImagingExtractor, dict[str, Any]]]:
        recording = self._recording()
        yield "an error while the last sample was read", _StopsReading(recording.get_series()), {}
        yield "an error in progress", recording, {"progress": _StopsProgress()}


class _StopsReading(NumpyImagingExtractor):
    """A recording that raises when its last sample is read."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array, sampling_frequency=_RATE, metadata=METADATA)

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> np.ndarray:
        self._stop_at(self.resolve_range(start_sample, end_sample)[1])
        return super().get_series(start_sample, end_sample)

    def get_block(self, samples: Any, rows: slice, columns: slice, planes: slice | None = None) -> np.ndarray:
        self._stop_at(samples.stop if isinstance(samples, slice) else max(samples) + 1)
        return super().get_block(samples, rows, columns, planes)

    def _stop_at(self, end: int) -> None:
        if end == len(self):
            raise StoppedError


class _StopsProgress:
    """Raises at the second call, or at the last one."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, done: int, total: int) -> None:
        self.calls += 1
        if self.calls == 2 or done >= total:
            raise StoppedError


@contextmanager
def _expect_stop() -> Iterator[None]:
    """Expect the error that a test raised in the middle, as it is or as the cause of another."""
    try:
        yield
    except Exception as error:  # libraries of a writer may wrap the error in one of their own
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, StoppedError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        return
    fail("an error in the middle of a write did not end it", "let errors of the recording and of progress pass")


def _make(planes: int, *, dtype: str, clock: str = "computed", seed: int = 0) -> NumpyImagingExtractor:
    rng = np.random.default_rng([planes, seed])
    shape = (_SAMPLES, _ROWS, _COLUMNS) if planes == 1 else (_SAMPLES, _ROWS, _COLUMNS, planes)
    times = np.cumsum(rng.random(_SAMPLES)) - 0.1 if clock == "native" else None
    data = rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    return NumpyImagingExtractor(data, sampling_frequency=_RATE, times=times, metadata=METADATA)


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def _compare_pixels(reopened: ImagingExtractor, recording: ImagingExtractor, dtype: str) -> None:
    if reopened.shape != recording.shape:
        fail(
            f"the shape came back as {reopened.shape}, expected {recording.shape}",
            "write every sample, row, column, plane",
        )
    if reopened.dtype != np.dtype(dtype):
        fail(f"the dtype came back as {reopened.dtype}, expected {dtype}", "keep the dtype, or say it in `dtypes`")
    wrong = np.flatnonzero((reopened.get_series() != recording.get_series()).reshape(len(recording), -1).any(axis=1))
    if wrong.size:
        fail(
            f"{counted(wrong.size, 'sample')} came back with other pixels, the first is {wrong[0]}",
            "write the pixels unchanged",
        )


def _compare_times(reopened: ImagingExtractor, recording: ImagingExtractor) -> None:
    rate, expected = reopened.get_sampling_frequency(), recording.get_sampling_frequency()
    if rate is None or expected is None or abs(rate - expected) > 1e-9 * expected:
        fail(f"the sampling rate came back as {rate}, expected {expected}", "store the rate as float64")
    times, expected_times = reopened.get_timestamps(), recording.get_timestamps()
    if not np.allclose(times, expected_times, rtol=1e-12, atol=1e-9):
        worst = int(np.abs(times - expected_times).argmax())
        fail(
            f"the time of sample {worst} came back as {times[worst]} s, expected {expected_times[worst]} s",
            "store times that are not a grid from 0 s on (Sidecar.of(recording).times), in seconds",
        )


def _compare_metadata(metadata: RecordingMetadata) -> None:
    start, expected = metadata.start_time, METADATA.start_time
    if start is None or start.replace(tzinfo=None) != expected:  # formats that require a time zone add one
        fail(f"metadata.start_time came back as {start}, expected {expected}", "store the start time")
    pairs = zip(metadata.to_dict().items(), METADATA.to_dict().items(), strict=True)
    for (key, value), (_, original) in pairs:
        if key != "start_time" and value != original:
            fail(
                f"metadata.{key} came back as {value!r}, expected {original!r}", "store Sidecar.of(recording).to_dict()"
            )


def _contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, and every folder as an empty entry."""
    paths = [Path(root) / name for root, folders, files in os.walk(folder) for name in (*folders, *files)]
    return {str(path.relative_to(folder)): b"" if path.is_dir() else path.read_bytes() for path in paths}
