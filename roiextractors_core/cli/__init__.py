"""The `roiextractors` command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command, or print in one line what to install for it."""
    try:
        from .app import run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        print("the command needs typer and rich: python -m pip install typer rich", file=sys.stderr)
        raise SystemExit(2) from None
    run()
