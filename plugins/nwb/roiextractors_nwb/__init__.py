"""NWB movies and ROIs for roiextractors-core."""
