"""Bruker Prairie View recordings for roiextractors-core."""
