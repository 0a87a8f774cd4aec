"""The exception tree is as it is drawn, and messages are safe to print."""

from __future__ import annotations

import builtins
import inspect
import pickle
import re

import pytest

from roiextractors_core import errors
from roiextractors_core.errors import StreamChoiceError, listed, printable


def drawn() -> list[tuple[str, str | None, tuple[str, ...]]]:
    """Each class of the drawing with its parent and its standard bases."""
    text = (inspect.getdoc(errors) or "").split("::", 1)[1]
    found, chain = [], []
    for line in text.splitlines():
        body = line.removeprefix("    ")
        match = re.match(r"(?P<lead>[│├└─ ]*)(?P<name>[A-Z]\w+(?:Error|Warning))\b(?:\s+\((?P<bases>[\w, ]+)\))?", body)
        if match is None:
            continue
        depth = len(match["lead"]) // 4
        chain = [*chain[:depth], match["name"]]
        bases = tuple(part.strip() for part in (match["bases"] or "").split(",") if part.strip())
        found.append((match["name"], chain[-2] if len(chain) > 1 else None, bases))
    return found


def defined() -> dict[str, type]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }


def test_the_drawing_names_every_class_and_no_other() -> None:
    assert {name for name, _, _ in drawn()} == set(defined())
    assert set(defined()) == set(errors.__all__)


@pytest.mark.parametrize(("name", "parent", "bases"), drawn())
def test_each_class_hangs_where_it_is_drawn(name: str, parent: str | None, bases: tuple[str, ...]) -> None:
    kind = defined()[name]
    if parent is not None:
        assert kind.__bases__[0].__name__ == parent
    for base in bases:
        assert issubclass(kind, getattr(builtins, base))


def test_every_error_that_has_no_standard_base_of_its_own_has_one_by_descent() -> None:
    for name, kind in defined().items():
        if name not in ("RoiExtractorsError", "SourceError"):
            standard = [base for base in kind.__mro__ if base.__module__ == "builtins"]
            assert set(standard) - {Exception, BaseException, object}, name


@pytest.mark.parametrize("name", sorted(defined()))
def test_every_error_survives_pickling(name: str) -> None:
    again = pickle.loads(pickle.dumps(defined()[name]("what happened")))
    assert type(again) is defined()[name]
    assert str(again) == "what happened"


def test_a_choice_of_streams_keeps_its_option_and_choices_through_pickling() -> None:
    error = StreamChoiceError.for_option("recording.tif", "channel", ["Green", "Red"])
    again = pickle.loads(pickle.dumps(error))
    assert (again.option, again.choices, str(again)) == ("channel", ("Green", "Red"), str(error))


def test_the_sentence_about_streams_says_what_is_there_and_what_to_type() -> None:
    error = StreamChoiceError.for_option("recording.tif", "channel", ["Green", "Red"])
    assert str(error) == "recording.tif has the channels 'Green' and 'Red'; choose one: open(..., channel='Green')"
    asked = StreamChoiceError.for_option("a\x1b.tif", "plane", [0, 1, 2], seen="Blue")
    assert str(asked) == "a\\x1b.tif has the planes 0, 1 and 2, not 'Blue'; choose one: open(..., plane=0)"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("grün 試料 µm", "grün 試料 µm"),
        ("red\x1b[31m", "red\\x1b[31m"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("nul\0", "nul\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("right\u202eleft", "right\\u202eleft"),
        ("lone\udcff", "lone\\udcff"),
        (42, "42"),
    ],
)
def test_what_came_out_of_a_file_is_printable(given: object, shown: str) -> None:
    assert printable(given) == shown
    assert printable(given).isprintable()
    printable(given).encode("utf-8")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], ""),
        (["a"], "'a'"),
        (["a", "b"], "'a' and 'b'"),
        (["a", "b", "c"], "'a', 'b' and 'c'"),
        (range(14), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more"),
    ],
)
def test_lists_read_as_in_a_sentence(values: list[object], shown: str) -> None:
    assert listed(values) == shown
