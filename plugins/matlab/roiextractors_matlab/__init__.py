"""Opens the segmentations that MATLAB programs save: EXTRACT, CNMF-E and CIAtah."""
