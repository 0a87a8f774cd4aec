"""OME-TIFF recordings for roiextractors-core."""
