"""Reads the segmentations that MATLAB programs save: EXTRACT, CNMF-E and CIAtah's analysis files."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from roiextractors_core import Background, RecordingMetadata, RoiMasks, RoiProperty, SegmentationExtractor
from roiextractors_core.errors import (
    ChoiceError,
    CorruptRecordingError,
    RoiExtractorsError,
    RoiExtractorsWarning,
    listed,
    printable,
)
from roiextractors_core.io import choose_stream, folder_names, single_file, warn

from .layouts import (
    CIATAH_LAYOUTS,
    CNMFE_LAYOUTS,
    EXTRACT_LAYOUTS,
    Layout,
    find_variables,
    no_layout,
    read_segmentation,
    read_settings,
)
from .values import Columns, open_heads, open_mat

__all__ = [
    "CiatahSegmentationExtractor",
    "CnmfeSegmentationExtractor",
    "ExtractSegmentationExtractor",
    "MatlabSegmentationExtractor",
]


class MatlabSegmentationExtractor(SegmentationExtractor):
    """What the segmentations in MATLAB files have in common.

    Parameters
    ----------
    file_path : str or os.PathLike
        A MATLAB file of version 5 to 7.3.
    variable : str, optional
        The variable, if several contain such a segmentation.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the file's, of which only CNMF-E's may contain one.

    Raises
    ------
    UnsupportedRecordingError
        The file is not a MATLAB file, does not contain such a segmentation, or contains it as an object of a MATLAB class.
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged, or its parts contradict each other.
    """

    layouts: ClassVar[tuple[Layout, ...]] = ()

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        variable: str | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._path = single_file(file_path)
        if variable is not None and (not isinstance(variable, str) or not variable or "/" in variable):
            raise ChoiceError(
                f"variable must be the name of a variable of the file, got {printable(repr(variable))[:60]}"
            )
        names = (variable,) if variable is not None else find_in_file(self._path, self.layouts)
        chosen = names[choose_stream(os.path.basename(self._path), "variable", names, None)]
        self._file = open_mat(self._path, frozenset((chosen,) if chosen else ("", "options")))
        with self._file.open_view() as view:
            self._name = view.name
            self._found = read_segmentation(view, self.layouts, chosen)
        self._decisions, self._decision_notes = self._read_decisions()
        for words in self._found.doubts:
            warn(words, RoiExtractorsWarning)

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the variables with a segmentation, where there are several."""
        names = find_in_file(single_file(file_path), cls.layouts)
        return {"variable": names} if len(names) > 1 else {}

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._found.frame_shape

    def get_roi_ids(self) -> list[str]:
        """Return the ids that CNMF-E gives to neurons, else ``"0"``, ``"1"``, ..."""
        return list(self._found.roi_ids) or [str(k) for k in range(self._found.num_rois)]

    def get_num_samples(self) -> int:
        """Return the number of samples of the traces; 0 without traces."""
        return self._found.num_samples

    def get_sampling_frequency(self) -> float | None:
        """Return CNMF-E's rate (Hz), if it was set; the other programs do not save one."""
        return self._found.rate

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the masks; reads only those of these ROIs where the file allows it."""
        return self._masks(self._found.masks, roi_indices, self._found.rois_axis, "ROI")

    def get_trace_names(self) -> tuple[str, ...]:
        """Return the names of the traces in the file."""
        return tuple(self._found.traces)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)``; reads only these samples of these ROIs where the file allows it."""
        table = self._found.traces[name]
        return self._file.table(table.path, start_sample, end_sample, roi_indices, rois_first=table.rois_first)

    def get_background(self) -> Background | None:
        """Return CNMF-E's background components, if they are matrices for the whole field of view; else None."""
        found = self._found
        if not found.background:
            return None
        with self._file.open_view() as view:
            value = view.value(found.background)
        every = np.arange(value.shape[1] if value else 0)
        traces = {}
        if found.background_traces is not None:
            path = found.background_traces.path
            traces["background"] = self._file.table(path, 0, found.num_samples, every, rois_first=True)
        masks = self._masks(found.background, every, -1, "background component")
        return Background(tuple(f"background{k}" for k in every), masks, traces)

    def get_image_names(self) -> tuple[str, ...]:
        """Return the names of the images in the file."""
        return tuple(self._found.images)

    def get_image(self, name: str = "correlation") -> np.ndarray:
        """Return ``(rows, columns)``."""
        if name not in self._found.images:
            return super().get_image(name)
        with self._file.open_view() as view:
            return view.numbers(self._found.images[name])

    def get_own_properties(self) -> dict[str, RoiProperty]:
        """Return what the file, and CIAtah's manual decisions beside it, say about each ROI."""
        return {name: RoiProperty(values, words) for name, (values, words) in self._file_properties().items()}

    def get_metadata(self) -> RecordingMetadata:
        """Return the program and its version, and the settings of the analysis as ``vendor``."""
        with self._file.open_view() as view:
            settings = read_settings(view, self._found.settings)
        return RecordingMetadata(software=self._found.software, vendor=settings)

    def get_notes(self) -> tuple[str, ...]:
        """Return what was left out, and which file of decisions was read."""
        return (*self._found.doubts, *self._decision_notes)

    def get_paths(self) -> tuple[str, ...]:
        """Return the file, and the file of manual decisions."""
        return (*super().get_paths(), *((os.path.abspath(self._decisions),) if self._decisions else ()))

    def close(self) -> None:
        """Release the file."""
        self._file.close()
        super().close()

    def _masks(self, path: str, chosen: np.ndarray, rois_axis: int, noun: str) -> RoiMasks:
        rows, columns = self._found.frame_shape
        with self._file.open_view() as view:
            if rois_axis < 0:
                found = view.columns(path, chosen)
            else:
                found = view.images(path, chosen, rois_axis=rois_axis)
        self._check(found, chosen, rows * columns, noun)
        pixels = found.pixels.astype(np.int64, copy=False)
        if rois_axis < 0:  # a matrix counts pixels down a column first
            return RoiMasks.from_columns((rows, columns), found.offsets, pixels, found.weights, order="F")
        return RoiMasks((rows, columns), found.offsets, pixels, found.weights)

    def _check(self, found: Columns, chosen: np.ndarray, size: int, noun: str) -> None:
        bad = ~np.isfinite(found.weights)
        bad |= (found.pixels < 0) | (found.pixels >= size)
        if bad.any():
            first = int(bad.argmax())
            k = int(chosen[np.searchsorted(found.offsets, first, side="right") - 1])
            raise CorruptRecordingError(
                f"{self._name}: {noun} {k} has the weight {found.weights[first]} at pixel {found.pixels[first]:,}, expected a finite "
                f"number at one of the {size:,} pixels of the frame"
            )

    def _file_properties(self) -> dict[str, tuple[np.ndarray, str]]:
        found = dict(self._found.properties)
        if self._valid is not None:
            found["is_accepted"] = (self._valid == 1, f"accepted by hand in CIAtah ({self._found.decisions})")
            if not np.isin(self._valid, (0, 1)).all():
                words = "decisions by hand in CIAtah: 1 accepted, 0 rejected, others undecided"
                found["manual_decision"] = (self._valid, words)
        return found

    # CIAtah's manual decisions

    _valid: np.ndarray | None = None

    def _read_decisions(self) -> tuple[str, tuple[str, ...]]:
        """Read the decisions beside an analysis file; return the path and what to say about it."""
        variable = self._found.decisions
        stem, suffix = os.path.splitext(os.path.basename(self._path))
        if not variable or suffix.lower() != ".mat":
            return "", ()
        folder = os.path.dirname(self._path)
        base = stem.removesuffix("_pcaicaAnalysis") + "_ICdecisions" if variable == "valid" else f"{stem}Sorted"
        pattern = f"{_literal(base)}*.mat"
        names = sorted(name for name in folder_names(folder or ".") if fnmatch.fnmatchcase(name, pattern))
        if not names:
            return "", ()
        if len(names) > 1:
            # One file for each person who sorted
            return "", (f"{self._name} has manual decisions in several files; none of them is used: {listed(names)}",)
        path = os.path.join(folder, names[0])
        try:
            self._valid = _decisions(path, variable, self._found.num_rois)
        except (RoiExtractorsError, OSError) as error:  # an optional file must not prevent the ROIs from being read
            words = f"the manual decisions beside {self._name} are left out: {printable(error)}"
            warn(words, RoiExtractorsWarning)
            return "", (words,)
        return path, (f"manual decisions are from {printable(names[0])}",)


class ExtractSegmentationExtractor(MatlabSegmentationExtractor):
    """The output of EXTRACT: the variable ``output`` or one of another name, or CIAtah's ``extractAnalysisOutput``.

    Parameters
    ----------
    file_path : str or os.PathLike
        A MATLAB file of version 5 to 7.3.
    variable : str, optional
        The variable with the field ``spatial_weights``, if several have it.
    sampling_frequency : float, optional
        Samples a second (Hz); the file contains none.

    Raises
    ------
    UnsupportedRecordingError, CorruptRecordingError, TruncatedRecordingError
        As in :class:`MatlabSegmentationExtractor`.

    Notes
    -----
    The trace is ``"dff"`` if EXTRACT preprocessed the movie (``config.preprocess``), else ``"raw"``. The images are ``"summary_image"``,
    ``"f_per_pixel"`` and ``"max_image"``. The property ``is_bad`` is from ``info.cellcheck``.

    References
    ----------
    ``extractor.m`` and ``EXTRACT_output_to_nwb.m`` of https://github.com/schnitzer-lab/EXTRACT-public.
    """

    layouts = EXTRACT_LAYOUTS


class CnmfeSegmentationExtractor(MatlabSegmentationExtractor):
    """The results of CNMF-E in MATLAB: a structure made by ``neuron.obj2struct()``, or its fields as variables.

    Parameters
    ----------
    file_path : str or os.PathLike
        A MATLAB file of version 5 to 7.3.
    variable : str, optional
        The variable with the fields ``A`` and ``C``, if several have them.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the file's ``Fs``.

    Raises
    ------
    UnsupportedRecordingError, CorruptRecordingError, TruncatedRecordingError
        As in :class:`MatlabSegmentationExtractor`. A ``neuron`` that was saved as an object of the class Sources2D can be read by
        MATLAB alone; the message says how to save it as a structure.

    Notes
    -----
    The traces are ``"raw"`` (C_raw), ``"denoised"`` (C), ``"deconvolved"`` (S) and ``"dff"`` (C_df). The images are ``"correlation"``
    (Cn) and ``"peak_to_noise_ratio"`` (PNR). Pixels are counted down a column first; the frame is d1 x d2 of the options.

    References
    ----------
    ``Sources2D.m`` of https://github.com/zhoupc/CNMF_E.
    """

    layouts = CNMFE_LAYOUTS


class CiatahSegmentationExtractor(MatlabSegmentationExtractor):
    """An analysis file of CIAtah, of any of the methods that it runs.

    Parameters
    ----------
    file_path : str or os.PathLike
        A MATLAB file of version 5 to 7.3 with one of the variables ``extractAnalysisOutput``, ``cnmfeAnalysisOutput``,
        ``cnmfAnalysisOutput``, ``pcaicaAnalysisOutput``, ``cellmaxAnalysisOutput``, ``emAnalysisOutput`` and ``roiAnalysisOutput``.
    variable : str, optional
        One of them, if the file contains several.
    sampling_frequency : float, optional
        Samples a second (Hz); the file contains none.

    Raises
    ------
    UnsupportedRecordingError, CorruptRecordingError, TruncatedRecordingError
        As in :class:`MatlabSegmentationExtractor`.

    Notes
    -----
    ``time.totalTime`` is how long the analysis ran, not the length of the recording, so no rate follows from it.

    If exactly one file of manual decisions is beside the analysis (``..._extractAnalysisSorted_<name>.mat``), its decisions are the property
    ``is_accepted``.

    References
    ----------
    ``loadSignalExtraction.m``, ``saveSignalExtraction.m`` and ``computeManualSortSignals.m`` of https://github.com/bahanonu/ciatah.
    """

    layouts = CIATAH_LAYOUTS


def find_in_file(path: str | os.PathLike[str], layouts: Sequence[Layout]) -> tuple[str, ...]:
    """Return the variables of a file that have one of the layouts, of which only the beginnings are read.

    Raises
    ------
    UnsupportedRecordingError
        There is none, or it is not a MATLAB file.
    """
    with open_heads(path) as view:
        names = find_variables(view, layouts)
        if not names:
            raise no_layout(view, layouts, None)
        return names


def _decisions(path: str, variable: str, num_rois: int) -> np.ndarray | None:
    with open_mat(path, frozenset(("", variable))).open_view() as view:
        value = view.value(variable)
        if value is None or value.kind != "numbers" or value.shape not in ((num_rois, 1), (1, num_rois)):
            shown = "missing" if value is None else f"of the shape {value.shape}"
            raise CorruptRecordingError(
                f"{view.name}: {variable} is {shown}, expected one number for each of the {num_rois} ROIs"
            )
        return view.numbers(variable).reshape(-1)


def _literal(name: str) -> str:
    """Return a name as a pattern that matches it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
