"""Opens the ROIs and traces of the Allen Institute's optical physiology pipelines."""
