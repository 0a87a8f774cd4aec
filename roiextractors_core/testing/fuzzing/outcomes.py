"""How a case can end, and many of them counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["CLOCK", "DEFECTS", "Defect", "RIGHT", "Report", "SECONDS", "is_settled"]

SECONDS = 5.0
CLOCK = 120.0  # seconds of the clock, where those of the processor count: a busy machine is twenty times as slow
RIGHT = (
    "same pixels",
    "changed pixels, as in the file",
    "fewer samples, reported",
    "other pixels, right by another reader",
    "same contents",
    "changed values, as in the file",
    "fewer contents, reported",
    "other values, right by another reader",
)
DEFECTS = ("foreign exception", "hang", "crash", "memory", "wrong pixels", "wrong values", "reads that disagree")


@dataclass(frozen=True, slots=True)
class Defect:
    """One case that came out wrong."""

    case: int
    seed: str
    outcome: str
    words: str
    place: str = ""

    def __str__(self) -> str:
        return f"case {self.case} ({self.seed}): {self.outcome}: {self.words}"


@dataclass
class Report:
    """The outcomes of many cases, counted."""

    format: str
    counts: Counter[str] = field(default_factory=Counter)
    defects: list[Defect] = field(default_factory=list)
    unjudged: list[Defect] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        lines = [f"{self.format}: {self.cases:,} cases in {self.seconds:.0f} s, {len(self.defects)} defects"]
        lines += [f"  {count:>7,}  {outcome}" for outcome, count in sorted(self.counts.items(), key=_rank)]
        return "\n".join(lines)


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    outcome = item[0]
    if outcome.startswith(RIGHT):
        return 0, outcome
    if outcome.startswith(DEFECTS):
        return 3, outcome
    return (1, outcome) if outcome.endswith("Error") else (2, outcome)


def is_settled(outcome: str) -> bool:
    """Return whether an outcome is right: pixels that were judged so, or an error of our own."""
    return outcome.startswith(RIGHT) or (outcome.endswith("Error") and not outcome.startswith(DEFECTS))
