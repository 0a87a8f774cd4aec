"""NWB imaging for roiextractors-core."""
