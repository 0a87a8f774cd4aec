"""Recordings in napari: a reader that opens whatever the registry of roiextractors-core can open."""
