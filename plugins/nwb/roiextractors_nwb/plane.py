"""The metadata of a series or of a table of ROIs: its imaging plane, its device, the session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roiextractors_core.errors import printable
from roiextractors_core.io import to_micrometres
from roiextractors_core.metadata import ChannelMetadata, RecordingMetadata

from .tree import Tree
from .values import moment, positive, texts, whole

__all__ = ["MODALITIES", "metadata_of"]

MODALITIES = {"TwoPhotonSeries": "two-photon", "OnePhotonSeries": "one-photon"}


def metadata_of(tree: Tree, path: str, *, key: str = "series", is_volumetric: bool | None = None) -> RecordingMetadata:
    """Return the metadata of a series or of a table of ROIs, with those of its imaging plane and of the session.

    Parameters
    ----------
    tree : Tree
    path : str
        Of the series or the table.
    key : str
        Under which its own fields are in ``vendor``.
    is_volumetric : bool, optional
        Whether there are planes; by the dimensions of ``data`` if left out.
    """
    volumetric = len(tree.shape(f"{path}/data") or ()) == 4 if is_volumetric is None else is_volumetric
    plane = tree.target(f"{path}/imaging_plane") or ""
    device = tree.target(f"{plane}/device") if plane else None
    device = device or tree.target(f"{path}/device")
    rows, columns, depth = _spacing(tree, plane)
    software = texts(tree.value("general/was_generated_by"))
    kind_facts = tree.attributes(path)  # the schema stores exposure, binning, power, gain and line rate as attributes
    return RecordingMetadata(
        # Times count from this reference, which is the session's start unless stated
        start_time=moment(tree.value("timestamps_reference_time")) or moment(tree.value("session_start_time")),
        pixel_size=(rows, columns) if rows and columns else None,
        plane_spacing=depth if volumetric else None,
        channels=_channels(
            tree, plane, positive(tree.value(f"{path}/exposure_time") or kind_facts.get("exposure_time"))
        ),
        bit_depth=whole(tree.value(f"{path}/bits_per_pixel")) or None,
        modality=MODALITIES.get(tree.kind(path)),
        device=printable(device.rpartition("/")[2]) if device else None,
        software=printable(" ".join(software)) or None,
        vendor=_vendor(tree, path, plane, device, key),
    )


def _spacing(tree: Tree, plane: str) -> tuple[float | None, float | None, float | None]:
    """Return the (row, column, plane) distances in micrometres from grid_spacing, which is (x, y[, z])."""
    values = tree.value(f"{plane}/grid_spacing") if plane else None
    if not isinstance(values, list) or len(values) not in (2, 3):
        return None, None, None
    unit = str(tree.attributes(f"{plane}/grid_spacing").get("unit", "meters"))  # the schema's default
    x, y, z = (to_micrometres(positive(value), unit) for value in [*values, None][:3])
    return y, x, z


def _channels(tree: Tree, plane: str, exposure: float | None) -> tuple[ChannelMetadata, ...]:
    if not plane:
        return ()
    excitation = _wavelength(tree.value(f"{plane}/excitation_lambda"))
    found = []
    for name in tree.groups(plane):
        if tree.kind(f"{plane}/{name}") == "OpticalChannel":
            emission = _wavelength(tree.value(f"{plane}/{name}/emission_lambda"))
            found.append(ChannelMetadata(printable(name), emission, excitation, exposure_time=exposure))
    return tuple(found)


def _vendor(tree: Tree, path: str, plane: str, device: str | None, own: str) -> Mapping[str, Any]:
    root = tree.attributes("")
    found: dict[str, Any] = {key: root[key] for key in ("nwb_version",) if key in root}
    for key in ("identifier", "session_description", "session_start_time"):
        found[key] = tree.value(key)
    found[own] = {"path": path, **tree.attributes(path)}
    if own == "series":
        found[own]["data"] = tree.attributes(f"{path}/data")
        for key in ("dimension", "field_of_view", "format"):
            found[own][key] = tree.value(f"{path}/{key}")
    if plane:
        words = (
            "description",
            "excitation_lambda",
            "imaging_rate",
            "indicator",
            "location",
            "grid_spacing",
            "origin_coords",
            "reference_frame",
        )
        values = {key: tree.value(f"{plane}/{key}") for key in words}
        optical = {name: tree.value(f"{plane}/{name}/description") for name in tree.groups(plane)}
        found["optical_channels"] = {name: text for name, text in optical.items() if text is not None} or None
        found["imaging_plane"] = {"path": plane, **{key: value for key, value in values.items() if value is not None}}
    if device:
        found["device"] = {"path": device, **tree.attributes(device)}
    return {key: value for key, value in found.items() if value is not None}


def _wavelength(value: Any) -> float | None:
    found = positive(value)
    # In nm by the schema; other units are out of this range
    return found if found is not None and 50 < found < 20_000 else None
