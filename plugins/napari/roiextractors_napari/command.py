"""The command ``roiextractors view``, which an entry point adds."""

from __future__ import annotations

from roiextractors_core.cli.arguments import Format, Kind, OnePath, Options, parse_options
from roiextractors_core.errors import MissingDependencyError

__all__ = ["view"]


def view(path: OnePath, option: Options = None, format: Format = None, kind: Kind = None) -> None:
    """Show a recording in napari, reading only what is displayed. Each channel is a layer, and ROIs are labels."""
    try:
        # Here and not at the top: without napari, the command is still listed
        from .window import show
    except ImportError as error:
        raise MissingDependencyError('view needs napari: python -m pip install "napari[all]"') from error
    options = parse_options(option) | ({} if kind is None else {"kind": kind})
    show(path, format=format, **options)
