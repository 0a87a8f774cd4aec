"""Zeiss CZI files, as recordings."""
