"""Opens Olympus FluoView recordings with roiextractors-core."""
