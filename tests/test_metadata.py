"""Metadata and provenance are values that do not change and that JSON takes."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, date, datetime
from enum import IntEnum
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

from roiextractors_core.errors import UnsupportedRecordingError
from roiextractors_core.metadata import ChannelMetadata, ObjectiveMetadata, Provenance, RecordingMetadata, as_plain


class Mode(IntEnum):
    FAST = 2


FULL = RecordingMetadata(
    start_time=datetime(2024, 3, 21, 9, 5, 7, 250_000, tzinfo=UTC),
    pixel_size=(0.5, 0.25),
    plane_spacing=12.0,
    plane_positions=(0.0, 12.0),
    channels=(
        ChannelMetadata(
            "Green",
            525.0,
            920.0,
            detection_band=(500.0, 550.0),
            laser_lines=(920.0,),
            laser_power=12.5,
            exposure_time=0.02,
        ),
    ),
    objective=ObjectiveMetadata("XLUMPlanFl", 20.0, 1.0),
    zoom=2.5,
    bit_depth=14,
    modality="two-photon",
    device="Bergamo",
    software="ScanImage 2023",
    vendor={"SI.x": np.int16(3), "nan": float("nan"), "raw": b"\xff\x00a", "deep": {"list": [1, (2, 3)], 5: None}},
)


def test_what_a_file_does_not_say_is_none_or_empty() -> None:
    assert RecordingMetadata().to_dict() == {
        "start_time": None,
        "pixel_size": None,
        "plane_spacing": None,
        "plane_positions": [],
        "channels": [],
        "objective": None,
        "zoom": None,
        "bit_depth": None,
        "modality": None,
        "device": None,
        "software": None,
        "vendor": {},
    }


def test_everything_becomes_plain_data_that_json_takes() -> None:
    told = json.loads(json.dumps(FULL.to_dict(), allow_nan=False))
    assert told["start_time"] == "2024-03-21T09:05:07.250000+00:00"
    assert told["pixel_size"] == [0.5, 0.25]
    assert told["channels"] == [
        {
            "name": "Green",
            "emission_wavelength": 525.0,
            "excitation_wavelength": 920.0,
            "detection_band": [500.0, 550.0],
            "laser_lines": [920.0],
            "laser_power": 12.5,
            "exposure_time": 0.02,
        }
    ]
    assert told["objective"] == {"name": "XLUMPlanFl", "magnification": 20.0, "numerical_aperture": 1.0}
    assert (told["zoom"], told["bit_depth"], told["modality"]) == (2.5, 14, "two-photon")
    assert told["vendor"] == {"SI.x": 3, "nan": "nan", "raw": "\\xff\x00a", "deep": {"list": [1, [2, 3]], "5": None}}


def test_the_value_does_not_change_from_outside() -> None:
    header: dict[str, Any] = {"a": 1}
    found = RecordingMetadata(vendor=header)
    header["a"] = 2
    assert found.vendor["a"] == 1
    with pytest.raises(TypeError):
        found.vendor["a"] = 3  # type: ignore[index]
    with pytest.raises(AttributeError):
        found.device = "x"  # type: ignore[misc]


@pytest.mark.parametrize("value", [FULL, RecordingMetadata(), FULL.channels[0], Provenance("npy", options={"a": 1})])
def test_it_survives_pickling_and_copying(value: Any) -> None:
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):
        assert again.__class__ is value.__class__
        if hasattr(value, "to_dict"):
            assert again.to_dict() == value.to_dict()
        else:
            assert again == value


def test_a_copy_with_some_fields_changed_leaves_the_first() -> None:
    other = FULL.replaced(device="Other", vendor={"b": 2})
    assert (other.device, dict(other.vendor), other.pixel_size) == ("Other", {"b": 2}, (0.5, 0.25))
    assert FULL.device == "Bergamo"


def test_provenance_is_plain_data() -> None:
    found = Provenance(
        "npy", "roiextractors-core", "0.1.0", ("/a/b.npy",), {"path": PurePosixPath("/x")}, "magic", ("cut",)
    )
    assert json.loads(json.dumps(found.to_dict())) == {
        "format": "npy",
        "plugin": "roiextractors-core",
        "version": "0.1.0",
        "paths": ["/a/b.npy"],
        "options": {"path": "/x"},
        "evidence": "magic",
        "notes": ["cut"],
    }


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.float64("inf"), "inf"),
        (float("-inf"), "-inf"),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([1.0, np.nan]), [1.0, "nan"]),
        (np.datetime64("2024-01-02T03:04:05"), "2024-01-02T03:04:05"),
        (date(2024, 1, 2), "2024-01-02"),
        (Mode.FAST, 2),
        ({3}, [3]),
        (1 + 2j, "(1+2j)"),
        (b"\xb5m", "\\xb5m"),
        ("lone \udcff", "lone \udcff"),
    ],
)
def test_each_kind_of_value_has_its_plain_form(value: Any, plain: Any) -> None:
    assert as_plain(value) == plain
    json.dumps(as_plain(value), allow_nan=False)


@pytest.mark.parametrize("depth", [150, 1_000, 100_000])
def test_metadata_of_any_depth_serialise_or_are_refused(depth: int) -> None:
    vendor: Any = {"a": 1}
    for _ in range(depth):
        vendor = {"a": vendor}
    metadata = RecordingMetadata(vendor=vendor)
    if depth < 200:
        assert RecordingMetadata.from_dict(json.loads(json.dumps(metadata.to_dict()))) == metadata
        return
    with pytest.raises(UnsupportedRecordingError, match="nested deeper than 200 levels"):
        metadata.to_dict()


def test_metadata_are_a_mapping_of_their_fields_too() -> None:
    metadata = RecordingMetadata(
        device="Scope", channels=(ChannelMetadata("green", emission_wavelength=525.0),), vendor={"SI.x": 1}
    )
    assert (metadata["device"], metadata["vendor"]["SI.x"], metadata["start_time"]) == ("Scope", 1, None)
    assert metadata["channels"][0]["emission_wavelength"] == 525.0
    assert dict(metadata)["device"] == metadata.get("device") == "Scope"
    assert "zoom" in metadata
    assert "SI.x" not in metadata
    assert list(metadata.keys()) == list(metadata.to_dict())
    assert metadata.get("nothing", 3) == 3
    assert {**metadata}["device"] == "Scope"
    assert json.loads(json.dumps(metadata.to_dict()))["channels"][0]["name"] == "green"
    assert as_plain({"m": metadata})["m"] == metadata.to_dict()
    with pytest.raises(KeyError, match=r"'SI\.x' is not a field.*'start_time'.*metadata\['vendor'\]"):
        metadata["SI.x"]
    assert Provenance(format="npy")["format"] == "npy"
    assert metadata != dict(metadata)
    assert not hasattr(metadata, "__dict__")
