"""Which tests of the kit need not run again on another layout of the same format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pytest

__all__ = [
    "costly_rules",
    "costs_once_a_code_path",
    "costs_once_a_format",
    "costs_once_a_format_with",
    "repeated_tests",
]

_COST, _FIXTURE = "_costs_once_a", "_needs_fixture"
_OF_THE_KIT = __name__.rpartition(".")[0]

Rule = TypeVar("Rule", bound=Callable[..., Any])


def costs_once_a_format(rule: Rule) -> Rule:
    """Mark a costly test whose result depends on the declaration and the class, and not on the layout of the recording."""
    setattr(rule, _COST, "format")
    return rule


def costs_once_a_format_with(fixture: str) -> Callable[[Rule], Rule]:
    """Mark a costly test of a format that is skipped without one of the author's fixtures: the first class with it counts."""

    def mark(rule: Rule) -> Rule:
        setattr(rule, _FIXTURE, fixture)
        return costs_once_a_format(rule)

    return mark


def costs_once_a_code_path(rule: Rule) -> Rule:
    """Mark a costly test whose result depends on the code that reads a layout."""
    setattr(rule, _COST, "code path")
    return rule


def costly_rules(tests: type) -> frozenset[str]:
    """Return the names of the kit's costly tests, which start processes, damage files or let the disk fail."""
    return frozenset(name for name in dir(tests) if hasattr(getattr(tests, name), _COST))


def repeated_tests(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the costly tests of the kit that run for an earlier class of the same format, too.

    For a plugin whose tests take long because a format has many layouts, with a class for each: call this in ``conftest.py``
    and mark or deselect what it yields.  Without it, every test runs for every class.

    Parameters
    ----------
    items : iterable of pytest.Item
        The collected tests, in order.

    Yields
    ------
    pytest.Item
        About fifteen tests of every class but the first of its format.  Of a class whose body says ``has_own_code =
        True``, only those whose result depends on the declaration and the extractor's class alone.

    Examples
    --------
    ::

        def pytest_collection_modifyitems(items):
            for item in repeated_tests(items):
                item.add_marker(pytest.mark.slow)
    """
    first: dict[tuple[str, str], type] = {}
    for item in items:
        cost, tests = _cost_of(item), getattr(item, "cls", None)
        if cost is None or tests is None or not _has_fixture(item, tests):
            continue
        rule = (tests.format, item.function.__qualname__)  # type: ignore[attr-defined]
        # Not inherited: a class that takes the fixtures of another one is usually read by the same code
        has_own_code = vars(tests).get("has_own_code", False)
        if first.setdefault(rule, tests) is not tests and not (cost == "code path" and has_own_code):
            yield item


def _cost_of(item: pytest.Item) -> str | None:
    return getattr(getattr(item, "function", None), _COST, None)


def _has_fixture(item: Any, tests: type) -> bool:
    """Return whether a class has a fixture of the author's own that the test needs."""
    name = getattr(item.function, _FIXTURE, None)
    if name is None:
        return True
    owner = next(kind for kind in tests.__mro__ if name in vars(kind))
    return not owner.__module__.startswith(_OF_THE_KIT)
