"""How EXTRACT, CNMF-E and CIAtah name what they save in MATLAB files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from roiextractors_core.errors import CorruptRecordingError, UnsupportedRecordingError, counted, listed, printable

from .values import MAX_PIXELS, MatValue, MatView

__all__ = [
    "CIATAH_LAYOUTS",
    "CNMFE_LAYOUTS",
    "EXTRACT_LAYOUTS",
    "Layout",
    "Segmentation",
    "Table",
    "find_variables",
    "no_layout",
    "read_segmentation",
    "read_settings",
]

_MAX_SETTINGS = 400
_MAX_VARIABLES = 200
_MAX_SETTING = 64  # numbers in one
_MAX_BACKGROUNDS = 4  # of CNMF; one by default
_OBJECT_ADVICE = "in MATLAB: results = neuron.obj2struct(); save('results.mat', 'results', '-v7.3')"


@dataclass(frozen=True, slots=True)
class Table:
    """Where traces are, and whether they are ``(rois, samples)`` in MATLAB."""

    path: str
    rois_first: bool


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What a MATLAB file contains.

    Attributes
    ----------
    frame_shape : tuple of int
        ``(rows, columns)``.
    num_rois, num_samples : int
    masks : str
        The path of the masks.
    rois_axis : int
        Of a stack of images: 0 or 2; -1 for a matrix of pixels by ROIs.
    traces, images, properties
        By name: a table, a path, and values with their description.
    roi_ids : tuple of str
        Empty where the file has none.
    rate : float or None
        Hz.
    software : str
    settings : tuple of str
        Paths of the settings of the analysis.
    background : str
        The path of a matrix of pixels by background components; empty without one.
    background_traces : Table or None
    decisions : str
        The variable of CIAtah's manual decisions about these ROIs; empty if there are none.
    doubts : tuple of str
        What was left out, for the user.
    """

    frame_shape: tuple[int, int]
    num_rois: int
    num_samples: int
    masks: str
    rois_axis: int
    traces: Mapping[str, Table]
    images: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    roi_ids: tuple[str, ...] = ()
    rate: float | None = None
    software: str = ""
    settings: tuple[str, ...] = ()
    background: str = ""
    background_traces: Table | None = None
    decisions: str = ""
    doubts: tuple[str, ...] = ()


class _Finder:
    """Collects what a variable contains, and checks that its parts agree."""

    def __init__(self, view: MatView, variable: str) -> None:
        self.view, self.variable = view, variable
        self.doubts: list[str] = []

    def path(self, field_name: str) -> str:
        return f"{self.variable}/{field_name}" if self.variable else field_name

    def where(self, field_name: str) -> str:
        return f"{self.view.name}: {printable(self.path(field_name))}"

    def value(self, field_name: str) -> MatValue | None:
        return self.view.value(self.path(field_name))

    def stack(self, field_name: str, rois_axis: int = 2) -> tuple[tuple[int, int], int]:
        """Return the shape of a frame and the number of images in a stack."""
        value = self.value(field_name)
        if value is None:
            raise UnsupportedRecordingError(f"{self.where(field_name)} is missing, so there are no masks of ROIs")
        if value.kind == "object":
            raise UnsupportedRecordingError(
                f"{self.where(field_name)} is a MATLAB object{_of_class(value)}, which only MATLAB can read "
                "(EXTRACT saves one when "
                f"use_sparse_arrays is set); in MATLAB: {self.variable or 'output'}.{field_name} = full(...), then save it again with '-v7.3'"
            )
        if value.kind != "numbers" or len(value.shape) not in (2, 3) or (rois_axis == 0 and len(value.shape) != 3):
            raise CorruptRecordingError(
                f"{self.where(field_name)} has the shape {value.shape} ({value.kind}), expected numbers of rows, columns and ROIs"
            )
        shape = value.shape if len(value.shape) == 3 else (*value.shape, 0 if value.is_empty else 1)
        frame = (shape[1], shape[2]) if rois_axis == 0 else (shape[0], shape[1])
        if math.prod(frame) > MAX_PIXELS:
            raise CorruptRecordingError(f"{self.where(field_name)} claims frames of {frame[0]:,} x {frame[1]:,} pixels")
        return frame, shape[rois_axis]

    def tables(
        self,
        names: Mapping[str, str],
        num_rois: int,
        *,
        rois_first: bool,
        required: Sequence[str] = (),
        longer: Sequence[str] = (),
    ) -> tuple[dict[str, Table], int]:
        """Return the traces that fit the ROIs, and their number of samples; others are left out with a sentence.

        The first of them decides on the number of samples. Those in ``longer`` may have traces of the background after the ROIs.
        """
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, field_name in names.items():
            value = self.value(field_name)
            if value is None or value.kind not in ("numbers", "sparse") or value.is_empty or len(value.shape) != 2:
                continue
            # CIAtah writes NaN for what an analysis does not have
            if value.shape == (1, 1) and num_rois != 1:
                continue
            shapes[name] = (field_name, value.shape)
        tables: dict[str, Table] = {}
        count = 0
        for name, (field_name, shape) in shapes.items():
            first = _orientation(shape, num_rois, rois_first)
            if first is None and name in longer and num_rois < shape[0] <= num_rois + _MAX_BACKGROUNDS:
                first = rois_first
            samples = 0 if first is None else shape[1] if first else shape[0]
            if first is None:
                words = f"{self.where(field_name)} has the shape {shape}, which does not fit {num_rois} ROIs"
                if name in required:
                    raise CorruptRecordingError(f"{words}: the masks and the traces are not from the same analysis")
                self.doubts.append(f"{words}; it is left out")
            elif count and samples != count:
                self.doubts.append(
                    f"{self.where(field_name)} has {counted(samples, 'sample')}, expected {count:,}; it is left out"
                )
            else:
                count = samples
                tables[name] = Table(self.path(field_name), first)
        return tables, count

    def images(self, names: Mapping[str, str], frame: tuple[int, int]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, field_name in names.items():
            value = self.value(field_name)
            if value is None or value.kind != "numbers" or value.is_empty or (1, 1) == value.shape != frame:
                continue
            if value.shape == frame:
                found[name] = self.path(field_name)
            else:
                self.doubts.append(
                    f"{self.where(field_name)} has the shape {value.shape}, expected {frame}; the image is left out"
                )
        return found

    def per_roi(self, field_name: str, num_rois: int) -> np.ndarray | None:
        """Return one number for each ROI, or None."""
        value = self.value(field_name)
        if (
            value is None
            or value.kind != "numbers"
            or value.shape not in ((num_rois, 1), (1, num_rois))
            or not num_rois
        ):
            return None
        return self.view.numbers(value.path).reshape(-1)


class Layout:
    """One way to save a segmentation.

    Parameters
    ----------
    variables : tuple of str
        The names of the variable; an empty one means that the fields are variables themselves.
    mark : str
        A field that shows the layout.
    others : tuple of str
        More fields that must be there.
    """

    def __init__(self, variables: tuple[str, ...], mark: str, others: tuple[str, ...] = ()) -> None:
        self.variables, self.mark, self.others = variables, mark, others

    def matches(self, view: MatView, variable: str) -> bool:
        """Return whether a variable has this layout."""
        return all(
            view.value(f"{variable}/{name}" if variable else name) is not None for name in (self.mark, *self.others)
        )

    def read(self, view: MatView, variable: str) -> Segmentation:
        """Return what the variable contains."""
        raise NotImplementedError


class _Extract(Layout):
    def read(self, view: MatView, variable: str) -> Segmentation:
        finder = _Finder(view, variable)
        frame, num_rois = finder.stack("spatial_weights")
        name = _extract_name(finder)
        tables, samples = finder.tables({name: "temporal_weights"}, num_rois, rois_first=False, required=(name,))
        version = view.text(finder.path("info/version"))
        return Segmentation(
            frame_shape=frame,
            num_rois=num_rois,
            num_samples=samples,
            masks=finder.path("spatial_weights"),
            rois_axis=2,
            traces=tables,
            images=_extract_images(finder, frame),
            properties=_extract_properties(finder, num_rois),
            software=f"EXTRACT {printable(version)}".rstrip(),
            settings=(finder.path("config"),),
            doubts=tuple(finder.doubts),
        )


class _Ciatah(Layout):
    """An analysis file of CIAtah: a stack of images, and traces ``(rois, samples)``."""

    def __init__(
        self,
        variable: str,
        mark: str,
        traces: Mapping[str, str],
        software: str,
        decisions: str,
        images: Mapping[str, str],
    ) -> None:
        super().__init__((variable,), mark)
        self.traces, self.software, self.decisions, self.image_names = traces, software, decisions, images

    def read(self, view: MatView, variable: str) -> Segmentation:
        finder = _Finder(view, variable)
        is_last = view.text(finder.path("imageSaveDimOrder")) != "zxy"
        frame, num_rois = finder.stack(self.mark, 2 if is_last else 0)
        names = dict(self.traces)
        if self.software == "EXTRACT":
            names = {_extract_name(finder): "traces"}
        required = tuple(names)[:1]
        longer = ("dff",) if self.software == "CNMF" else ()
        tables, samples = finder.tables(names, num_rois, rois_first=True, required=required, longer=longer)
        images = {**finder.images(self.image_names, frame), **_extract_images(finder, frame)}
        return Segmentation(
            frame_shape=frame,
            num_rois=num_rois,
            num_samples=samples,
            masks=finder.path(self.mark),
            rois_axis=2 if is_last else 0,
            traces=tables,
            images=images,
            properties=_extract_properties(finder, num_rois),
            software=f"{self.software}, through CIAtah",
            settings=tuple(finder.path(key) for key in ("config", "params", "movieList", "file", "movieFilename")),
            decisions=self.decisions,
            doubts=tuple(finder.doubts),
        )


class _Cnmfe(Layout):
    def matches(self, view: MatView, variable: str) -> bool:
        value = view.value(variable) if variable else None
        if value is not None and value.kind == "object":
            return variable in self.variables
        # Variables named A and C are too common to be taken for CNMF-E's without its options
        return super().matches(view, variable) and (bool(variable) or view.value("options") is not None)

    def read(self, view: MatView, variable: str) -> Segmentation:
        finder = _Finder(view, variable)
        whole = view.value(variable) if variable else None
        if whole is not None and whole.kind == "object":
            raise UnsupportedRecordingError(
                f"{view.name}: {printable(variable)} is a MATLAB object{_of_class(whole)}, which only MATLAB "
                "can read; save it as a "
                f"structure, {_OBJECT_ADVICE}"
            )
        matrix = finder.value("A")
        if matrix is None or matrix.kind not in ("numbers", "sparse") or len(matrix.shape) != 2:
            shown = "missing" if matrix is None else f"of the shape {matrix.shape} ({matrix.kind})"
            raise UnsupportedRecordingError(f"{finder.where('A')} is {shown}, expected a matrix of pixels by neurons")
        frame = _cnmfe_frame(finder, matrix)
        num_rois = matrix.shape[1]
        tables, samples = finder.tables(
            {"raw": "C_raw", "denoised": "C", "deconvolved": "S", "dff": "C_df"},
            num_rois,
            rois_first=True,
            required=("denoised",),
        )
        ids = finder.per_roi("ids", num_rois)
        background, background_traces = _cnmfe_background(finder, math.prod(frame), samples)
        return Segmentation(
            frame_shape=frame,
            num_rois=num_rois,
            num_samples=samples,
            masks=finder.path("A"),
            rois_axis=-1,
            traces=tables,
            images=finder.images({"correlation": "Cn", "peak_to_noise_ratio": "PNR"}, frame),
            properties=_cnmfe_properties(finder, num_rois),
            roi_ids=_as_ids(ids),
            rate=_first_rate(finder, ("Fs", "options/Fs")),
            software="CNMF-E",
            settings=(finder.path("options"),),
            background=background,
            background_traces=background_traces,
            doubts=tuple(finder.doubts),
        )


_EXTRACT = _Extract(("output",), "spatial_weights")
_CNMFE = _Cnmfe(("results", "neuron", "neuron_results", ""), "A", ("C",))
_CIATAH_EXTRACT = _Ciatah("extractAnalysisOutput", "filters", {}, "EXTRACT", "validEXTRACT", {})
_CIATAH_CNMFE = _Ciatah(
    "cnmfeAnalysisOutput",
    "extractedImages",
    {"denoised": "extractedSignals", "raw": "extractedSignalsEst", "deconvolved": "extractedPeaks"},
    "CNMF-E",
    "validCNMFE",
    {"correlation": "Cn"},
)
CIATAH_LAYOUTS: tuple[Layout, ...] = (
    _CIATAH_EXTRACT,
    _CIATAH_CNMFE,
    _Ciatah(
        "cnmfAnalysisOutput",
        "extractedImages",
        {"denoised": "extractedSignalsEst", "dff": "extractedSignals", "deconvolved": "extractedPeaks"},
        "CNMF",
        "validCNMF",
        {"correlation": "Cn"},
    ),
    _Ciatah("pcaicaAnalysisOutput", "IcaFilters", {"raw": "IcaTraces"}, "PCA-ICA", "valid", {}),
    _Ciatah(
        "cellmaxAnalysisOutput",
        "cellImages",
        {"raw": "cellTraces", "scaled_probability": "scaledProbability"},
        "CELLMax",
        "validCellMax",
        {},
    ),
    _Ciatah(
        "emAnalysisOutput",
        "cellImages",
        {"raw": "cellTraces", "scaled_probability": "scaledProbability"},
        "CELLMax",
        "validCellMax",
        {},
    ),
    _Ciatah("roiAnalysisOutput", "filters", {"raw": "traces", "demixed": "tracesDemix"}, "ROIs", "validROI", {}),
)
EXTRACT_LAYOUTS: tuple[Layout, ...] = (_EXTRACT, _CIATAH_EXTRACT)
CNMFE_LAYOUTS: tuple[Layout, ...] = (_CNMFE, _CIATAH_CNMFE)


def find_variables(view: MatView, layouts: Sequence[Layout]) -> tuple[str, ...]:
    """Return the variables that have one of the layouts: those of the programs' own names, else those of any name.

    Parameters
    ----------
    view : MatView
    layouts : sequence of Layout
    """
    known = [name for layout in layouts for name in layout.variables if name and layout.matches(view, name)]
    # A workspace often contains the object besides the structure that was made of it
    structures = [name for name in known if not _is_object(view, name)]
    if known:
        return tuple(structures or known[:1])
    if any("" in layout.variables and layout.matches(view, "") for layout in layouts):
        return ("",)
    names = [name for name in view.fields("")[:_MAX_VARIABLES] if not name.startswith("#")]
    return tuple(name for name in names if layouts[0].matches(view, name))


def _is_object(view: MatView, name: str) -> bool:
    value = view.value(name)
    return value is not None and value.kind == "object"


def read_segmentation(view: MatView, layouts: Sequence[Layout], variable: str) -> Segmentation:
    """Return what a variable contains.

    Raises
    ------
    UnsupportedRecordingError
        It has none of the layouts, or is an object.
    CorruptRecordingError
        Its parts contradict each other.
    """
    own = [layout for layout in layouts if variable in layout.variables]
    for layout in own or layouts:
        if layout.matches(view, variable):
            found = layout.read(view, variable)
            if not view.num_missing:
                return found
            lost = (
                f"{view.name} is truncated: it lacks {view.num_missing:,} bytes that its header states; parts of the analysis may be "
                "missing"
            )
            return replace(found, doubts=(lost, *found.doubts))
    raise no_layout(view, layouts, variable)


def _orientation(shape: tuple[int, ...], num_rois: int, preferred: bool) -> bool | None:
    """Return whether a table is ``(rois, samples)``; None if neither side fits. A square one is as the program saves it."""
    fits = {True: shape[0] == num_rois, False: shape[1] == num_rois}
    if fits[preferred]:
        return preferred
    return (not preferred) if fits[not preferred] else None


def _of_class(value: MatValue) -> str:
    return f" of class {printable(value.class_name)}" if value.class_name else ""


def _extract_name(finder: _Finder) -> str:
    # EXTRACT divides by the mean fluorescence in its preprocessing; without it, traces are in the units of the movie
    return "dff" if finder.view.scalar(finder.path("config/preprocess")) else "raw"


def _extract_images(finder: _Finder, frame: tuple[int, int]) -> dict[str, str]:
    names = {"summary_image": "summary_image", "f_per_pixel": "F_per_pixel", "max_image": "max_image"}
    return finder.images({name: f"info/{field_name}" for name, field_name in names.items()}, frame)


def _extract_properties(finder: _Finder, num_rois: int) -> dict[str, tuple[np.ndarray, str]]:
    bad = finder.per_roi("info/cellcheck/is_bad", num_rois)
    if bad is None:
        return {}
    return {"is_bad": (bad != 0, "EXTRACT's quality metrics suggest rejecting the cell (info.cellcheck.is_bad)")}


def _cnmfe_frame(finder: _Finder, matrix: MatValue) -> tuple[int, int]:
    rows, columns = (finder.view.scalar(finder.path(f"options/{key}")) for key in ("d1", "d2"))
    pixels = matrix.shape[0]
    if rows and columns and rows == int(rows) > 0 and columns == int(columns) > 0:
        frame = (int(rows), int(columns))
        if math.prod(frame) != pixels and not matrix.is_empty:
            raise CorruptRecordingError(
                f"{finder.where('A')} has {pixels:,} pixels, but options.d1 and d2 are {frame[0]:,} and "
                f"{frame[1]:,}, a product of {math.prod(frame):,}"
            )
        return frame
    for name in ("Cn", "PNR"):
        image = finder.value(name)
        if image is not None and image.kind == "numbers" and len(image.shape) == 2 and math.prod(image.shape) == pixels:
            return image.shape[0], image.shape[1]
    raise UnsupportedRecordingError(
        f"{finder.view.name} does not state the size of the field of view, which has {pixels:,} pixels: options.d1 and options.d2 are "
        "missing, and there is no image Cn; set them in MATLAB and save the file again"
    )


def _cnmfe_properties(finder: _Finder, num_rois: int) -> dict[str, tuple[np.ndarray, str]]:
    tags = finder.per_roi("tags", num_rois)
    if tags is None:
        return {}
    words = "CNMF-E's flags of bad neurons, in bits: 1 few pixels, 2 silent, 4 noisy trace, 8 deconvolution failed or low PNR"
    return {"tags": (tags, words)}


def _cnmfe_background(finder: _Finder, pixels: int, samples: int) -> tuple[str, Table | None]:
    matrix, traces = finder.value("b"), finder.value("f")
    # Of analyses in patches, b and f are cell arrays with one entry a patch
    if matrix is None or matrix.kind not in ("numbers", "sparse") or matrix.is_empty or len(matrix.shape) != 2:
        return "", None
    if matrix.shape[0] != pixels:
        return "", None
    if traces is None or traces.kind != "numbers" or traces.shape != (matrix.shape[1], samples):
        return matrix.path, None
    return matrix.path, Table(traces.path, True)


def _as_ids(values: np.ndarray | None) -> tuple[str, ...]:
    if values is None or not np.isfinite(values).all() or (values != np.floor(values)).any():
        return ()
    ids = tuple(str(int(value)) for value in values.tolist())
    return ids if len(set(ids)) == len(ids) else ()


def _first_rate(finder: _Finder, names: Sequence[str]) -> float | None:
    for name in names:
        rate = finder.view.scalar(finder.path(name))
        if rate is not None and 0 < rate < math.inf:  # CNMF-E's default is NaN
            return rate
    return None


def read_settings(view: MatView, paths: Sequence[str]) -> dict[str, Any]:
    """Return the text and the few numbers at paths and in structures there, three levels deep.

    Parameters
    ----------
    view : MatView
    paths : sequence of str
    """
    found: dict[str, Any] = {}
    pending = [(path, path.rpartition("/")[2], found, 0) for path in paths]
    for _ in range(_MAX_SETTINGS):
        if not pending:
            break
        path, label, target, level = pending.pop(0)
        value = view.value(path)
        if value is None:
            continue
        if value.kind == "struct" and level < 3:
            below: dict[str, Any] = {}
            target[printable(label)] = below
            pending += [(f"{path}/{name}", name, below, level + 1) for name in view.fields(path)]
        elif value.kind == "text":
            target[printable(label)] = printable(view.text(path))
        elif value.kind == "numbers" and 0 < math.prod(value.shape) <= _MAX_SETTING:
            numbers = view.numbers(path).reshape(-1, order="F").tolist()
            target[printable(label)] = numbers[0] if len(numbers) == 1 else numbers
    return found


def no_layout(view: MatView, layouts: Sequence[Layout], variable: str | None) -> UnsupportedRecordingError:
    """Return an error that says what was expected, and which variables the file has."""
    expected = [f"{name}.{layout.mark}".strip(".") for layout in layouts for name in layout.variables]
    names = [printable(name) for name in view.fields("") if not name.startswith("#")]
    wanted = f"{variable}.{layouts[0].mark}" if variable is not None else listed(expected, limit=4)
    return UnsupportedRecordingError(
        f"{view.name} does not contain {wanted}; its variables are {listed(names, limit=8) if names else 'none'}"
    )
