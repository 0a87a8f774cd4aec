"""Opens the regions of neurofinder: ``regions.json``, submissions, and the folders of its datasets."""
