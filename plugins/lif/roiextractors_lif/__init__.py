"""Leica LIF files, as recordings."""
