"""`python -m roiextractors_core`: the command `roiextractors`."""

from .cli import main

__all__: list[str] = []

main()
