"""Reads the ROIs and signals of SIMA."""
