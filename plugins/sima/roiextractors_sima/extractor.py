"""Reads the ROIs and signals of SIMA."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from roiextractors_core import ChannelMetadata, RecordingMetadata, RoiMasks, RoiProperty, SegmentationExtractor
from roiextractors_core.errors import (
    CorruptRecordingError,
    RecordingError,
    RoiExtractorsWarning,
    StreamChoiceError,
    UnsupportedRecordingError,
    printable,
)
from roiextractors_core.io import PickledArray, choose_stream, warn

from .folder import Dataset, Pickled, Signals, frame_shape, open_dataset, read_rows
from .rois import RoiSet, Shape, as_text, frame_of, roi_set

__all__ = ["SimaSegmentationExtractor"]

_IMAGES = {"mean": "time_averages.pkl", "standard_deviation": "time_std.pkl", "kurtosis": "time_kurtosis.pkl"}


class SimaSegmentationExtractor(SegmentationExtractor):
    """One set of ROIs of a ``.sima`` folder, with the signals that were extracted with it.

    Parameters
    ----------
    folder_path : str or os.PathLike
        The folder with ``dataset.pkl``.
    rois : str or int, optional
        One of several sets of ROIs, by its label.
    channel : str or int, optional
        One of several channels with signals, by its name or its number from 0, as SIMA counts them.
    signals : str or int, optional
        One of several extractions of the same ROIs in the same channel, by its label.
    sequence : str or int, optional
        One of several imaging sequences, from 0; SIMA also calls them cycles.
    sampling_frequency : float, optional
        Samples a second (Hz); the folder has none.

    Raises
    ------
    StreamChoiceError
        There are several, and none was named; or the named one does not exist.
    UnsupportedRecordingError
        There are no ROIs, or a pickle contains something other than plain data.
    CorruptRecordingError
        A file is damaged, or the files contradict each other.

    References
    ----------
    SIMA 1.3 (Kaifosh et al. 2014, Front. Neuroinform. 8:80): ``sima.imaging.ImagingDataset``, ``sima.ROI``, ``sima.extract``.
    """

    def __init__(
        self,
        folder_path: str | os.PathLike[str],
        *,
        rois: str | int | None = None,
        channel: str | int | None = None,
        signals: str | int | None = None,
        sequence: str | int | None = None,
        sampling_frequency: float | None = None,
    ) -> None:
        super().__init__(sampling_frequency=sampling_frequency)
        self._dataset = open_dataset(os.fspath(folder_path))
        self._choice = _Choice(self._dataset, channel)
        try:
            self._label, self._rois = self._choice.rois(rois)
            self._signals_label, self._signals = self._choice.signals(self._rois, signals)
            self._sequence = self._choice.sequence(self._signals, sequence)
        except BaseException:
            self._choice.close()
            raise
        self._images = self._open_images()
        for words in self._choice.sentences:
            warn(words, RoiExtractorsWarning)

    def get_frame_shape(self) -> tuple[int, int]:
        return self._choice.shape[1:]

    def get_num_planes(self) -> int:
        return self._choice.shape[0]

    def get_roi_ids(self) -> list[str]:
        """Return SIMA's ids where every ROI has its own, else numbers from 0."""
        return list(self._rois.ids or map(str, range(len(self._rois))))

    def get_num_samples(self) -> int:
        return 0 if self._signals is None else int(self._signals.traces["raw"][self._sequence].shape[1])

    def get_masks(self, roi_indices: np.ndarray) -> RoiMasks:
        return self._rois.masks[roi_indices]

    def get_trace_names(self) -> tuple[str, ...]:
        """Return ``raw``, which SIMA divides by the time average of the pixels, and what was derived from it."""
        return () if self._signals is None else tuple(self._signals.traces)

    def get_trace(self, name: str, start_sample: int, end_sample: int, roi_indices: np.ndarray) -> np.ndarray:
        self.check_open()
        if self._signals is None or self._choice.file is None:
            raise UnsupportedRecordingError(f"{self._dataset.name} has no signals of these ROIs")
        array = self._signals.traces[name][self._sequence]
        return read_rows(self._choice.file, array, roi_indices, slice(start_sample, end_sample)).T

    def get_image_names(self) -> tuple[str, ...]:
        return tuple(self._images)

    def get_image(self, name: str = "correlation") -> np.ndarray:
        self.check_open()
        if name not in self._images:
            return super().get_image(name)
        array, channel = self._images[name]
        image = array.read()
        planes_last = np.moveaxis(image if channel is None else image[..., channel], 0, -1)
        return np.ascontiguousarray(planes_last if self.is_volumetric else planes_last[..., 0])

    def get_own_properties(self) -> Mapping[str, RoiProperty]:
        """Return the labels and tags that the ROIs have."""
        described = {
            "label": (self._rois.labels, "label of the ROI in SIMA"),
            "tags": (self._rois.tags, "tags of the ROI in SIMA, joined by commas"),
        }
        return {key: RoiProperty(np.array(values), words) for key, (values, words) in described.items() if any(values)}

    def get_metadata(self) -> RecordingMetadata:
        facts, dataset = self._dataset.facts, self._dataset
        vendor = {
            "rois": self._label,
            "signals": self._signals_label,
            "num_frames": facts.get("num_frames"),
            "num_sequences": facts.get("num_sequences"),
            "channel_names": list(dataset.channels),
            "savedir": as_text(facts.get("savedir")),
        }
        version = as_text(facts.get("__version__"))
        channel = self._choice.channel
        return RecordingMetadata(
            software=f"SIMA {version}" if version else "SIMA",
            channels=() if channel is None else (ChannelMetadata(dataset.channels[channel]),),
            vendor={key: value for key, value in vendor.items() if isinstance(value, str | int | list) and value != ""},
        )

    def get_notes(self) -> tuple[str, ...]:
        return (*self._choice.sentences, *self._choice.remarks)

    @classmethod
    def get_streams(cls, file_path: str | os.PathLike[str], **options: Any) -> dict[str, tuple[str, ...]]:
        """Return the sets of ROIs, channels, extractions and sequences that can be chosen."""
        dataset = open_dataset(os.fspath(file_path))
        streams = {}
        if len(dataset.with_signals) > 1:
            streams["channel"] = tuple(dataset.channels[k] for k in dataset.with_signals)
        first = streams["channel"][0] if streams else None
        choice = _Choice(dataset, options.get("channel", first))
        try:
            if len(choice.labels) > 1:
                streams["rois"] = choice.labels
            _, rois = choice.rois(options.get("rois", choice.labels[-1] if choice.labels else None))
            found = choice.extractions(rois)
            if len(found) > 1:
                streams["signals"] = found
            _, signals = choice.signals(rois, options.get("signals", found[-1] if found else None))
            count = 1 if signals is None else len(signals.traces["raw"])
            if count > 1:
                streams["sequence"] = tuple(map(str, range(count)))
        finally:
            choice.close()
        return streams

    def close(self) -> None:
        self._choice.close()
        super().close()

    def _open_images(self) -> dict[str, tuple[PickledArray, int | None]]:
        """Return the images, each an array and the channel in it, if any; those that do not fit are left out."""
        images: dict[str, tuple[PickledArray, int | None]] = {}
        shape, channels = self._choice.shape, self._dataset.channels
        for name, file in _IMAGES.items():
            array = self._open_image(file)
            if array is None:
                continue
            if self._choice.channel is not None:
                images[name] = array, self._choice.channel
            elif len(channels) == array.shape[3] == 1:
                images[name] = array, 0
            else:
                images |= {f"{name}_{channels[k]}": (array, k) for k in range(array.shape[3])}
        mean = None if self._signals is None else self._signals.mean_frame
        if "mean" not in images and mean is not None and mean.shape == shape:
            images["mean"] = mean, None
        return images

    def _open_image(self, file: str) -> PickledArray | None:
        try:
            pickled = self._dataset.open(file)
        except RecordingError as error:
            self._choice.sentences.append(f"{self._dataset.name}: the image in {file} is left out: {error}")
            return None
        if pickled is None:
            return None
        self._choice.opened.append(pickled)
        array, shape = pickled.value, (*self._choice.shape, len(self._dataset.channels))
        if isinstance(array, list):  # of versions before 1.0, which SIMA itself does not use either
            return None
        if not isinstance(array, PickledArray) or array.shape != shape or array.dtype.kind not in "biuf":
            self._choice.sentences.append(
                f"{self._dataset.name}: the image in {file} is left out: got {printable(array)[:80]}, expected numbers of shape {shape}"
            )
            return None
        return array


class _Choice:
    """What of a dataset is read: a set of ROIs, a channel, and the signals of these ROIs in it.

    Attributes
    ----------
    shape : tuple of int
        Planes, rows and columns.
    labels : tuple of str
        Of the sets of ROIs, the oldest first, and of extractions whose ROIs are in no set.
    channel : int or None
    file : Pickled or None
        The file of the signals.
    opened : list of Pickled
    sentences, remarks : list of str
        What the user is warned of, and what is only noted.
    """

    def __init__(self, dataset: Dataset, channel: str | int | None) -> None:
        self._dataset = dataset
        self.sentences: list[str] = []
        self.remarks: list[str] = []
        self.opened: list[Pickled] = []
        self.channel = self._chosen_channel(channel)
        self.file: Pickled | None = None
        self._extractions: dict[str, Signals] = {}
        try:
            self._read()
        except BaseException:
            self.close()
            raise
        self.labels = tuple(self._sets)

    def _read(self) -> None:
        pickled_sets = self._dataset.roi_sets()
        if self.channel is not None and self.channel in self._dataset.with_signals:
            self.file, self._extractions = self._dataset.signals(self.channel)
            self.opened.append(self.file)
        self.shape = self._frame(pickled_sets)
        self._sets = {
            label: roi_set(pickled, self.shape, f"rois.pkl: {printable(label)[:60]!r}")
            for label, pickled in pickled_sets.items()
        }
        self._of_signals = {
            label: roi_set(signals.rois, self.shape, f"{self._file_name}: {printable(label)[:60]!r}")
            for label, signals in self._extractions.items()
        }
        self._add_sets_of_signals()
        # The masks take a fraction of the memory of the lists that they were made from
        self._extractions = {label: replace(signals, rois=None) for label, signals in self._extractions.items()}
        if self.file is not None:
            self.file.value = None

    @property
    def _file_name(self) -> str:
        return "" if self.file is None else self.file.name

    def _chosen_channel(self, given: str | int | None) -> int | None:
        dataset = self._dataset
        if not dataset.with_signals:
            if given is not None and str(given) not in (*dataset.channels, *map(str, range(len(dataset.channels)))):
                raise StreamChoiceError.for_option(dataset.name, "channel", dataset.channels, seen=given)
            return None if given is None else choose_stream(dataset.name, "channel", dataset.channels, given)
        names = [dataset.channels[k] for k in dataset.with_signals]
        numbers = [str(k) for k in dataset.with_signals]
        if given is not None and str(given) not in (*names, *numbers):
            raise StreamChoiceError.for_option(dataset.name, "channel", names, seen=given)
        return dataset.with_signals[choose_stream(dataset.name, "channel", names, given, identifiers=numbers)]

    def _frame(self, pickled_sets: Mapping[str, Any]) -> Shape:
        """Return planes, rows and columns by ``dataset.pkl``, else by the signals or the ROIs."""
        of_signals = [
            (frame_shape(signals.mean_frame.shape, f"{label}: mean_frame"), label)
            for label, signals in self._extractions.items()
            if signals.mean_frame is not None
        ]
        stated = self._dataset.shape
        for shape, label in of_signals:
            if stated is not None and shape != stated:
                raise CorruptRecordingError(
                    f"{self._dataset.name}: dataset.pkl says that a frame has planes, rows and columns "
                    f"{stated}, but the mean frame of the "
                    f"signals {printable(label)[:60]!r} has {shape}"
                )
        listed = [*pickled_sets.values(), *(signals.rois for signals in self._extractions.values())]
        shape = stated or next((shape for shape, _ in of_signals), None)
        shape = shape or next(filter(None, (frame_of(rois, self._dataset.name) for rois in listed)), None)
        if not listed:
            raise UnsupportedRecordingError(
                f"{self._dataset.name} contains no ROIs (rois.pkl) and no signals (signals_0.pkl); it was not segmented"
            )
        if shape is None:
            raise CorruptRecordingError(f"{self._dataset.name}: none of its files states the size of a frame")
        return frame_shape(shape, self._dataset.name) or shape

    def _add_sets_of_signals(self) -> None:
        """Offer the ROIs of extractions too: a set may have been edited or deleted since."""
        for label, rois in self._of_signals.items():
            if any(rois.is_same(known) for known in self._sets.values()):
                continue
            free = label if label not in self._sets else f"{label} (of the signals)"
            self._sets[free] = rois

    def rois(self, given: str | int | None) -> tuple[str, RoiSet]:
        """Return the label and the ROIs of the named set, or of the only one."""
        label = self.labels[choose_stream(self._dataset.name, "rois", self.labels, given)]
        return label, self._sets[label]

    def extractions(self, rois: RoiSet) -> tuple[str, ...]:
        """Return the labels of the extractions of these ROIs."""
        return tuple(label for label, theirs in self._of_signals.items() if theirs.is_same(rois))

    def signals(self, rois: RoiSet, given: str | int | None) -> tuple[str, Signals | None]:
        """Return the label and the signals of the named extraction, or of the only one; no signals if there is none."""
        labels = self.extractions(rois)
        if not labels:
            if given is not None:
                raise StreamChoiceError.for_option(self._dataset.name, "signals", labels, seen=given)
            if self._extractions:
                self.remarks.append(f"{self._dataset.name}: the signals in {self._file_name} belong to other ROIs")
            return "", None
        label = labels[choose_stream(self._dataset.name, "signals", labels, given)]
        return label, self._extractions[label]

    def sequence(self, signals: Signals | None, given: str | int | None) -> int:
        """Return the number of the named sequence, or of the only one."""
        count = 1 if signals is None else len(signals.traces["raw"])
        return choose_stream(self._dataset.name, "sequence", tuple(map(str, range(count))), given)

    def close(self) -> None:
        for pickled in self.opened:
            pickled.close()
