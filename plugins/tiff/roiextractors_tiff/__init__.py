"""TIFF recordings for roiextractors-core."""
