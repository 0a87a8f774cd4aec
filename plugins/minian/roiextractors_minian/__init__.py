"""Reads the results of minian."""
