"""The parser of ScanImage's own text."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from roiextractors_scanimage.header import (
    epoch_of,
    frame_number_of,
    parse_header,
    parse_moment,
    parse_value,
    stamp_of,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("58.2068", 58.2068),
        ("6.00111e+06", 6001110.0),
        (".5", 0.5),
        ("Inf", math.inf),
        ("-Inf", -math.inf),
        ("true", True),
        ("false", False),
        ("''", ""),
        ("'5.7'", "5.7"),
        ("'it''s'", "it's"),
        ("'$scim_colorMap(''gray'',8,5)'", "$scim_colorMap('gray',8,5)"),
        ("'C:\\Users\\x y\\z;1'", "C:\\Users\\x y\\z;1"),
        ("[]", []),
        ("{}", []),
        ("[1 4]", [1, 4]),
        ("[1,4]", [1, 4]),
        ("[1;2]", [1, 2]),
        ("[1 -2]", [1, -2]),
        ("[true false]", [True, False]),
        ("[Inf Inf]", [math.inf, math.inf]),
        ("[-9 -9;9 -9;9 9;-9 9]", [[-9, -9], [9, -9], [9, 9], [-9, 9]]),
        ("{[-1 1] [-1 1]}", [[-1, 1], [-1, 1]]),
        ("{'Channel 1' 'Channel 2'}", ["Channel 1", "Channel 2"]),
        ("{'a;b';'c}'}", ["a;b", "c}"]),
        ("{[]}", [[]]),
        ("{'' ''}", ["", ""]),
        ("[2023  9 22 12 46 9.383]", [2023, 9, 22, 12, 46, 9.383]),
    ],
)
def test_a_matlab_literal_becomes_its_python_value(text: str, value: Any) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "zeros(0,2)",
        "@scanimage.util.defaultPowerFunction",
        "[scanimage.types.BeamAdjustTypes.None scanimage.types.BeamAdjustTypes.None]",
        "<nonscalar struct/object>",
        "[1 - 2]",
        "[1 2",
        "1]",
        "[1] [2]",
        "'a'b'",
        "__import__('os').system('true')",
        "[[1 2}",
        "1+2i",
        "",
    ],
)
def test_what_is_no_literal_stays_text(text: str) -> None:
    assert parse_value(text) == text


def test_a_nan_is_a_nan() -> None:
    assert math.isnan(parse_value("NaN"))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 100 + "}" * 100, "9" * 100_000, "[" + "1e9999 " * 10, "'" * 99_999]
)
def test_hostile_text_neither_hangs_nor_falls_over(text: str) -> None:
    assert isinstance(parse_value(text), str | list)


def test_a_header_is_read_whatever_its_line_ends(header_text: Callable[..., str]) -> None:
    for end in ("\n", "\r\n", "\r"):
        header = parse_header(header_text(end=end).encode())
        assert header.dialect == "SI"
        assert header.get("SI.hRoiManager.scanFrameRate") == 30.5
        assert header.text("SI.acqState") == "grab"


def test_the_three_dialects_are_told_apart_and_looked_up_by_one_name() -> None:
    before_2015 = parse_header(b"scanimage.SI4.channelsSave = [1;2]\nscanimage.SI4.scanFrameRate = 29.5\n")
    five = parse_header(b"Frame Number = 5\nscanimage.SI5.channelsSave = [1;2]\n")
    five_one = parse_header(b"scanimage.SI.hChannels.channelSave = [1;2]\n")
    oldest = parse_header(b"state.configPath='C:\\x'\rstate.acq.frameRate=3.90625\r")
    assert [h.dialect for h in (before_2015, five, five_one, oldest)] == ["SI4", "SI4", "SI", "state"]
    assert before_2015.numbers("SI4.channelsSave") == five.numbers("SI4.channelsSave") == (1.0, 2.0)
    assert five_one.numbers("SI.hChannels.channelSave") == (1.0, 2.0)
    assert five.frame == {"Frame Number": "5"}
    assert oldest.rate("state.acq.frameRate") == 3.90625
    assert parse_header(b"ImageJ=1.53t\nimages=3\n").dialect == ""


def test_values_are_asked_for_by_kind() -> None:
    header = parse_header(
        "SI.a = Inf\nSI.b = 0\nSI.c = 2.5\nSI.d = NaN\nSI.e = '5.7'\nSI.f = 1\nSI.g = [1 'x']\nSI.h = [3]\nSI.i = 8\n"
    )
    assert header.number("SI.a") == math.inf
    assert header.rate("SI.a", "SI.b", "SI.c") == 2.5
    assert header.number("SI.d") is None
    assert header.count("SI.a", "SI.b", "SI.c", "SI.i") == 8
    assert header.text("SI.e") == "5.7"
    assert header.text("SI.missing") == ""
    assert [header.flag(f"SI.{k}") for k in "bfe"] == [False, True, None]
    assert header.numbers("SI.g") == ()
    assert header.number("SI.h") == 3.0


def test_text_behind_a_nul_and_in_another_encoding_does_no_harm() -> None:
    header = parse_header("SI.hX.name = 'Gerät µ'\n".encode("cp1252") + b"\0\0SI.hX.late = 1\n")
    assert header.get("SI.hX.name") == "Gerät µ"
    assert "SI.hX.late" not in header


def test_a_line_break_inside_a_value_goes_on_with_that_value() -> None:
    assert parse_header("SI.note = 'one\ntwo'\nSI.next = 1\n").get("SI.note") == "one\ntwo"


def test_the_json_that_took_the_place_of_lines_for_a_while_is_read_alike() -> None:
    text = json.dumps({"SI": {"hChannels": {"channelSave": [1, 2]}, "acqState": "it's"}, "FrameHeader": {"epoch": []}})
    header = parse_header(text)
    assert header.numbers("SI.hChannels.channelSave") == (1.0, 2.0)
    assert header.text("SI.acqState") == "it's"
    assert frame_number_of(b'{"frameNumbers": 17, "frameTimestamps_sec": 0.25}') == 17
    assert stamp_of(b'{"frameNumbers": 17, "frameTimestamps_sec": 0.25}') == 0.25


def test_unreadable_regions_are_left_out() -> None:
    assert parse_header("SI.a = 1\n", regions=b'{"RoiGroups": ').roi_groups == {}
    assert parse_header("SI.a = 1\n", regions="[" * 100_000).roi_groups == {}
    assert parse_header("SI.a = 1\n", regions='{"RoiGroups": {"a": 1}}').to_dict()["RoiGroups"] == {"a": 1}


def test_what_a_page_states_is_found() -> None:
    page = (
        b"frameNumbers = 66000\nframeTimestamps_sec = 2200.125000000\nacqTriggerTimestamps_sec = -1.0\n"
        b"epoch = [2023  9 22 12 46 9.383]\nI2CData = {}\n" + b" " * 1500
    )
    assert frame_number_of(page) == 66_000
    assert stamp_of(page) == 2200.125
    assert epoch_of(page) == datetime(2023, 9, 22, 12, 46, 9, 383_000)
    old = b"Frame Number =                5\nFrame Timestamp(s) =               0.133179812\n"
    assert (frame_number_of(old), stamp_of(old), epoch_of(old)) == (5, 0.133179812, None)


@pytest.mark.parametrize(
    "page", [b"", b"frameTimestamps_sec = ", b"frameTimestamps_sec = NaN", b"frameTimestamps_sec = 1.2.3"]
)
def test_a_page_without_a_time_gives_none(page: bytes) -> None:
    assert stamp_of(page) is None


def test_long_blank_pages_are_searched_in_no_time() -> None:
    assert stamp_of(b"\n" * 1_000_000) is None
    assert frame_number_of(b" \n" * 500_000 + b"frameNumbers = 3") == 3


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("[2023  9 22 12 46 9.383]", datetime(2023, 9, 22, 12, 46, 9, 383_000)),
        ("10/9/2017 16:57:07.967", datetime(2017, 10, 9, 16, 57, 7, 967_000)),
        ("18-05-2015 11:58:43.788", datetime(2015, 5, 18, 11, 58, 43, 788_000)),
        ("[2015 6 3 17 2 59.9999999]", datetime(2015, 6, 3, 17, 3, 0)),
        ("[2023 13 22 12 46 9.383]", None),
        ("[]", None),
        ("yesterday", None),
    ],
)
def test_a_moment_is_read_in_each_spelling(text: str, moment: datetime | None) -> None:
    assert parse_moment(text) == moment


@pytest.mark.thorough
def test_the_header_of_a_real_movie_is_read_whole(recordings: Path) -> None:
    with gzip.open(recordings / "scanimage" / "headers_2022_1466_frames.json.gz", "rt", encoding="utf-8") as file:
        found = json.load(file)
    text, _, regions = found["metadata"].partition("\n\n{")
    header = parse_header(text, regions="{" + regions, page=found["descriptions"][0])
    pages = [page.encode() for page in found["descriptions"]]
    assert header.dialect == "SI"
    assert header.text("SI.acqState") == "loop"
    assert header.number("SI.hStackManager.framesPerSlice") == 6_001_110.0
    assert header.texts("SI.hChannels.channelName")[:2] == ("Channel 1", "Channel 2")
    assert set(header.roi_groups) == {"imagingRoiGroup", "photostimRoiGroups", "integrationRoiGroup"}
    assert [frame_number_of(page) for page in pages] == list(range(1, 1467))
    assert [stamp_of(pages[0]), stamp_of(pages[-1])] == [0.0, 25.172824185]
    assert {epoch_of(page) for page in pages} == {datetime(2025, 4, 25, 17, 12, 48, 213_000)}
    assert all(line.split(" = ")[0] in header.to_dict() for line in text.split("\n") if " = " in line)
