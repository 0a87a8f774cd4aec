"""Femtonics MESc recordings for roiextractors-core."""
