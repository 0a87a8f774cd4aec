"""A recording as somebody else's object, picture or file; each module is imported by what uses it, none by this package."""

__all__ = ["convert", "preview", "projections", "quicklook", "to_dask", "to_xarray", "xarray_engine"]
