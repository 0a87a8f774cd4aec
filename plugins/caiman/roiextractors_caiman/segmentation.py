"""Reads the analyses that CaImAn saves as .hdf5: components, their traces, the background and the evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from roiextractors_hdf5.contents import open_hdf5

from roiextractors_core import Background, RecordingMetadata, RoiMasks, RoiProperty, SegmentationExtractor
from roiextractors_core.errors import ChoiceError, RoiExtractorsWarning, UnsupportedRecordingError, printable
from roiextractors_core.io import single_file, warn

from .analysis import ComponentMatrix, read_params
from .analysis_file import AnalysisFile

__all__ = ["CaimanSegmentationExtractor"]

_MAX_LENGTH = 1 << 40


class CaimanSegmentationExtractor(SegmentationExtractor):
    """An analysis of CaImAn: ``cnmf.save("analysis.hdf5")``.

    Parameters
    ----------
    file_path : str or os.PathLike, or a list of them
        A list is the planes of one recording that were analysed one by one; the result is a volume.
    dims : tuple of int, optional
        ``(rows, columns)`` or ``(rows, columns, planes)`` of the field of view, if the file does not contain it or is wrong.
    sampling_frequency : float, optional
        Samples a second (Hz); overrides the file's (``params/data/fr``).

    Raises
    ------
    UnsupportedRecordingError
        The file is not an analysis of CaImAn, or contains no components.
    CorruptRecordingError, TruncatedRecordingError
        The file is damaged, or its parts contradict each other.

    Notes
    -----
    Pixels are counted down a column first (order F), and volumes plane after plane.

    The traces are ``"raw"`` (C + YrA), ``"dff"`` (F_dff), ``"denoised"`` (C) and ``"deconvolved"`` (S), each where the file has it.
    The background components are ``"background0"``, ``"background1"``, ..., with the traces f and the masks b.

    The image ``"correlation"`` is Cn. ``"mean"`` is not stored: it is computed as the mean over time of the movie that CaImAn models, A
    times the mean of C, plus the background (b times the mean of f, or b0 of one-photon analyses).  roiextractors gives the sum of the
    columns of b under this name, which is not in the units of the movie.

    The properties are ``is_accepted`` and ``is_rejected`` (``idx_components`` and ``idx_components_bad``; absent if the components were
    not evaluated), ``snr``, ``r_values``, ``cnn_preds``, and CaImAn's ``bl``, ``c1``, ``g``, ``neurons_sn``, ``lam`` and ``ecc``
    where they are one number a component.

    References
    ----------
    CaImAn: ``Estimates``, and ``save_dict_to_hdf5`` and ``load_CNMF``, https://github.com/flatironinstitute/CaImAn.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        dims: Sequence[int] | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        paths = [file_path] if isinstance(file_path, str | os.PathLike) else list(file_path)
        given = _checked_dims(dims)
        self._files = [AnalysisFile(single_file(path), given) for path in paths] or [AnalysisFile(single_file(paths))]
        _check_planes(self._files)
        # Where the components of each file begin among all
        self._starts = np.cumsum([0, *(file.num_rois for file in self._files)])
        for words in self.get_notes():
            warn(words, RoiExtractorsWarning)

    def get_frame_shape(self) -> tuple[int, int]:
        """Return ``(rows, columns)``."""
        return self._files[0].found.dims[0], self._files[0].found.dims[1]

    def get_num_planes(self) -> int:
        """Return the number of planes; 1 for a planar movie."""
        dims = self._files[0].found.dims
        return dims[2] if len(dims) == 3 else len(self._files)

    def get_roi_ids(self) -> list[str]:
        """Return ``"0"``, ``"1"``, ...: the positions of the components, as CaImAn counts them; of several files, one after the other."""
        return [str(k) for k in range(self._starts[-1])]

    def get_num_samples(self) -> int:
        """Return the number of samples of the traces; 0 without traces."""
        return self._files[0].found.num_samples

    def get_sampling_frequency(self) -> float | None:
        """Return the rate in the parameters (Hz), or None."""
        return self._files[0].found.rate

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        """Return the spatial components; reads only their columns."""
        parts = [(plane, file.found.components, inside) for plane, file, _, inside in self._files_of(roi_indices)]
        masks = self._read_masks(parts, "component")
        places = [where for _, _, where, _ in self._files_of(roi_indices)]
        return masks if len(places) == 1 else masks[np.argsort(np.concatenate(places))]

    def get_trace_names(self) -> tuple[str, ...]:
        """Return those of ``"raw"``, ``"dff"``, ``"denoised"`` and ``"deconvolved"`` that every file contains."""
        return tuple(name for name in self._files[0].found.traces if all(name in f.found.traces for f in self._files))

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        """Return ``(samples, rois)``; reads only these samples of these components."""
        parts = [
            (where, file.read_trace(name, start_sample, end_sample, inside))
            for _, file, where, inside in self._files_of(roi_indices)
        ]
        if len(parts) == 1:
            return parts[0][1]
        dtype = np.result_type(*(part for _, part in parts))
        result = np.empty((end_sample - start_sample, len(roi_indices)), dtype, "F")
        for where, part in parts:
            result[:, where] = part
        return result

    def get_background(self) -> Background | None:
        """Return the background components with their masks, and their traces as ``"background"``; None without any."""
        backgrounds = [(plane, file.found.background) for plane, file in enumerate(self._files)]
        parts = [(plane, matrix, np.arange(matrix.columns)) for plane, matrix in backgrounds if matrix is not None]
        if not parts:
            return None
        masks = self._read_masks(parts, "background component")
        traces = {}
        if all(self._files[plane].found.background_traces for plane, _, _ in parts):
            tables = [self._files[plane].read_background_traces() for plane, _, _ in parts]
            traces["background"] = tables[0] if len(tables) == 1 else np.concatenate(tables, axis=1)
        return Background(tuple(f"background{k}" for k in range(len(masks))), masks, traces)

    def get_image_names(self) -> tuple[str, ...]:
        """Return ``"correlation"`` and ``"mean"``, where they are stored or can be computed."""
        names = self._files[0].image_names
        return tuple(name for name in names if all(name in file.image_names for file in self._files))

    def get_image(self, name: str = "correlation") -> np.ndarray:
        """Return ``(rows, columns)``, for volumes ``(rows, columns, planes)``."""
        if name not in self.get_image_names():
            return super().get_image(name)
        images = [file.read_image(name) for file in self._files]
        return images[0] if len(images) == 1 else np.stack(images, axis=-1)

    def get_own_properties(self) -> dict[str, RoiProperty]:
        """Return the evaluation of the components, and what else is one number a component; of several files, the plane too."""
        all_of = [file.found.properties for file in self._files]
        found = {
            name: RoiProperty(np.concatenate([own[name][0] for own in all_of]), words)
            for name, (_, words) in all_of[0].items()
            if all(name in own for own in all_of)
        }
        if len(self._files) > 1:
            planes = np.repeat(np.arange(len(self._files)), np.diff(self._starts))
            found["plane"] = RoiProperty(planes, "the plane of the component: the position of its file, from 0")
        return found

    def get_metadata(self) -> RecordingMetadata:
        """Return CaImAn's version, and its parameters as ``vendor``."""
        with open_hdf5(self._files[0].path) as file:
            params = read_params(file)
        version = params.get("data", {}).get("caiman_version", "")
        return RecordingMetadata(
            software=f"CaImAn {version}".rstrip() if isinstance(version, str) else "CaImAn", vendor=params
        )

    def get_notes(self) -> tuple[str, ...]:
        """Return what was left out."""
        return tuple(words for file in self._files for words in file.found.doubts)

    def close(self) -> None:
        """Release the files."""
        for file in self._files:
            file.close()
        super().close()

    def _files_of(self, rois: np.ndarray) -> Iterator[tuple[int, AnalysisFile, np.ndarray, np.ndarray]]:
        """Yield plane and file, the places of its components among those asked for, and their positions in the file."""
        if len(self._files) == 1:
            yield 0, self._files[0], np.arange(len(rois)), rois
            return
        owners = np.searchsorted(self._starts, rois, side="right") - 1
        for plane, file in enumerate(self._files):
            where = np.flatnonzero(owners == plane)
            yield plane, file, where, rois[where] - self._starts[plane]

    def _read_masks(self, parts: Sequence[tuple[int, ComponentMatrix, np.ndarray]], noun: str) -> RoiMasks:
        """Return the masks of columns, given as plane, matrix and positions."""
        counts, pixels, weights = [], [], []
        size = self._files[0].found.dims[0] * self._files[0].found.dims[1]
        for plane, matrix, chosen in parts:
            offsets, part, values = self._files[plane].read_columns(matrix, chosen, noun)
            counts.append(np.diff(offsets))
            # In order F, the pixels of a plane follow those of the planes before it
            pixels.append(part + plane * size)
            weights.append(values)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
        return RoiMasks.from_columns(
            self.get_mask_shape(), offsets, np.concatenate(pixels), np.concatenate(weights), order="F"
        )


def _checked_dims(dims: Any) -> tuple[int, ...] | None:
    if dims is None:
        return None
    values = list(dims) if isinstance(dims, list | tuple | np.ndarray) else []
    is_right = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and 0 < n < _MAX_LENGTH for n in values)
    if len(values) not in (2, 3) or not is_right:
        raise ChoiceError(f"dims must be two or three positive integers, got {printable(repr(dims))[:60]}")
    return tuple(int(n) for n in values)


def _check_planes(files: Sequence[AnalysisFile]) -> None:
    """Refuse files that are not the planes of one recording."""
    first = files[0]
    for file in files[1:]:
        for what, values in (
            ("the frame size", [(f.found.dims[0], f.found.dims[1]) for f in (first, file)]),
            ("the number of samples", [f.found.num_samples for f in (first, file)]),
            ("the rate", [f.found.rate for f in (first, file)]),
        ):
            if values[0] != values[1]:
                raise UnsupportedRecordingError(
                    f"{first.name} and {file.name} are not planes of one recording: {what} is {values[0]} in "
                    f"one and {values[1]} in the other; open each alone"
                )
    for file in files if len(files) > 1 else ():
        if len(file.found.dims) == 3:
            raise UnsupportedRecordingError(f"{file.name} is the analysis of a volume; open it alone")
