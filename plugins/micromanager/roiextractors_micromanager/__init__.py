"""Micro-Manager recordings for roiextractors-core."""
