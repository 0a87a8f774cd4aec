"""The reading kit for plugin authors: one-file sources, units, XML without a DOCTYPE."""

from __future__ import annotations

import pickle
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.io import (
    parse_xml,
    regular_rate,
    silenced,
    single_file,
    to_micrometres,
    to_seconds,
    warn,
    xml_parser,
    xml_problems,
)


def test_a_list_of_one_file_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "movie.raw"
    assert single_file(str(path)) == single_file([path]) == path


@pytest.mark.parametrize("files", [[], ["a.raw", "b.raw"]])
def test_any_other_number_of_files_is_refused_with_the_way_out(files: list[str]) -> None:
    with pytest.raises(roi.SourceKindError, match=f"expected one file, got {len(files)}; open each of them and join"):
        single_file(files)
    with pytest.raises(roi.SourceKindError, match="open the folder instead"):
        single_file(files, hint="open the folder instead")


def test_a_folder_is_refused_where_a_file_is_expected(tmp_path: Path) -> None:
    with pytest.raises(roi.SourceKindError, match="is a folder; open the file inside it"):
        single_file(tmp_path)
    assert single_file(tmp_path, may_be_folder=True) == tmp_path


@pytest.mark.parametrize(
    ("value", "unit", "micrometres"),
    [
        (2, "um", 2.0),
        ("1.5", "\u00b5m", 1.5),
        (1.5, "\u03bcm", 1.5),
        (3, "\\u00b5m", 3.0),
        (3, "microns", 3.0),
        (3, "Micron", 3.0),
        (2, " mm ", 2000.0),
        (0.002, "millimetres", 2.0),
        (500, "nm", 0.5),
        (1, "inch", 25400.0),
        (2, "Mm", None),
        (2, "pixel", None),
        (2, "", None),
        (2, None, None),
        ("two", "um", None),
        (float("nan"), "um", None),
        (float("inf"), "um", None),
        (None, "um", None),
        (10**400, "um", None),
    ],
)
def test_lengths_in_micrometres(value: object, unit: str | None, micrometres: float | None) -> None:
    assert to_micrometres(value, unit) == (None if micrometres is None else pytest.approx(micrometres))


@pytest.mark.parametrize(
    ("value", "unit", "seconds"),
    [
        (2, "s", 2.0),
        (40, "ms", 0.04),
        (40, "msec", 0.04),
        (40, "milliseconds", 0.04),
        (7, "\u00b5s", 7e-6),
        (2, "min", 120.0),
        (2, "Hours", 7200.0),
        (2, "frames", None),
        (2, "S", None),
    ],
)
def test_durations_in_seconds(value: object, unit: str, seconds: float | None) -> None:
    assert to_seconds(value, unit) == (None if seconds is None else pytest.approx(seconds))


def test_regular_times_have_a_rate_across_missing_samples_and_rounding() -> None:
    numbers = np.array([0, 1, 4, 5, 9])
    assert regular_rate(numbers / 20 + 3, numbers) == pytest.approx(20)
    assert regular_rate(numbers / 20) is None
    rounded = np.round(np.arange(100) / 30, 3)
    assert regular_rate(rounded) is None
    assert regular_rate(rounded, resolution=1e-3) == pytest.approx(30)
    assert regular_rate(rounded, jitter=0.1) == pytest.approx(30, rel=0.02)


@pytest.mark.parametrize("times", [[], [1.0], [2.0, 1.0, 0.0], [1.0, 1.0], [0.0, 1.0, np.nan], [0.0, np.inf, np.inf]])
def test_few_or_senseless_times_have_no_rate(times: list[float]) -> None:
    assert regular_rate(np.array(times)) is None


def test_a_document_becomes_elements_with_their_texts() -> None:
    root = parse_xml([b"<a x='1'><b>one", b" &amp; two</b>", b"<c/></a>"], "a.xml")
    assert (root.tag, root.attrib, [(child.tag, child.text) for child in root]) == (
        "a",
        {"x": "1"},
        [("b", "one & two"), ("c", None)],
    )


def test_a_doctype_is_refused_before_any_entity_is_seen() -> None:
    with pytest.raises(roi.UnsupportedRecordingError, match=r"a\.xml contains a DOCTYPE"):
        parse_xml(b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "a.xml")
    with pytest.raises(roi.UnsupportedRecordingError, match="contains a DOCTYPE"):
        xml_parser("b.xml").Parse(b"<!DOCTYPE a SYSTEM 'file:///etc/hostname'><a/>", True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<a><b></a>", "is not well-formed XML: mismatched tag at line 1, column 8; copy it again"),
        (b"<a>", "no element found"),
        (b"", "no element found"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "in an encoding that cannot be read|unknown encoding"),
        (b"<a>" * 300 + b"</a>" * 300, "or more than 256 levels"),
        (b"<a>" + b"<b/>" * 50 + b"</a>", "more than 40 XML elements"),
    ],
)
def test_a_damaged_or_overgrown_document_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(roi.CorruptRecordingError, match=words):
        parse_xml(data, "a.xml", max_elements=40 if b"<b/>" in data else 10_000, advice="copy it again")


def test_an_error_of_ours_passes_through_the_parser() -> None:
    with pytest.raises(roi.TruncatedRecordingError, match="cut"), xml_problems("a.xml"):
        raise roi.TruncatedRecordingError("cut")


def test_a_warning_points_at_the_callers_line_and_can_be_silenced_for_one_thread() -> None:
    with pytest.warns(roi.IncompleteRecordingWarning, match="half of it") as record:
        warn("half of it")
    assert record[0].filename == __file__
    with silenced():
        warn("half of it")  # an error if it were issued: the tests turn warnings into errors
        seen: list[str] = []

        def elsewhere() -> None:
            with pytest.warns(roi.RoiExtractorsWarning, match="another thread"):
                warn("another thread", roi.RoiExtractorsWarning)
            seen.append("warned")

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert seen == ["warned"]


def test_unpickling_in_threads_leaves_the_filters_of_the_process_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.zeros((4, 8, 8), np.uint16))
    pickled = pickle.dumps(roi.open(tmp_path / "m.npy"))
    before, switch = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: [pickle.loads(pickled).close() for _ in range(200)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert list(warnings.filters) == before
