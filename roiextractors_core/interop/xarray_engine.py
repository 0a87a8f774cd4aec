"""``xarray.open_dataset(path, engine="roiextractors")``, through xarray's entry point."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import xarray
from xarray.backends import BackendEntrypoint

from ..errors import RoiExtractorsError
from ..factory import open as open_recording
from ..registry.detection import explain
from ..registry.evidence import Strength

__all__ = ["RoiExtractorsEntrypoint"]


class RoiExtractorsEntrypoint(BackendEntrypoint):
    """Opens a recording as a lazy dataset with one variable; with ``chunks=``, xarray makes it a dask array."""

    description = "Opens optical-physiology recordings with roiextractors-core"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "format")  # the others are the extractor's own

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        format: str | None = None,
        **options: Any,
    ) -> xarray.Dataset:
        """Open a recording.

        Parameters
        ----------
        filename_or_obj : str, os.PathLike or list of them
        drop_variables : str or iterable of str, optional
            Coordinates, or the imaging itself, to leave out.
        format : str, optional
        **options
            As for ``roiextractors_core.open``: ``channel=``, ``sampling_frequency=``, ...

        Returns
        -------
        xarray.Dataset
            With the variable ``imaging`` over ``time, y, x[, z]``; closing it closes the recording.
        """
        recording = open_recording(filename_or_obj, format=format, **options)
        imaging = recording.to_xarray(chunks=None, name="imaging").to_dataset(promote_attrs=True)
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        dataset: xarray.Dataset = imaging.drop_vars(dropped, errors="ignore")
        dataset.set_close(recording.close)
        return dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return whether a format recognises the content; plain containers are left to other engines."""
        try:
            best = explain(filename_or_obj, kind="imaging").best
        except (RoiExtractorsError, OSError, TypeError):
            return False
        return best is not None and best.strength is Strength.CONTENT and not best.spec.is_container
