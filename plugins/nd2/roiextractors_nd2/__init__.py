"""Nikon ND2 files, as recordings."""
