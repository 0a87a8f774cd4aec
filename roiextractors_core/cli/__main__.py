"""`python -m roiextractors_core.cli`: the same command."""

from . import main

__all__: list[str] = []

main()
