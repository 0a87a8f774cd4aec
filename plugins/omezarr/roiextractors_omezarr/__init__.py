"""OME-Zarr images as recordings."""
