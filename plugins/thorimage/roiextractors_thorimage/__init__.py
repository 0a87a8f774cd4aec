"""ThorImage recordings for roiextractors-core."""
