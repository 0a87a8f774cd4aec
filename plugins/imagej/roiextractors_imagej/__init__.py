"""Opens ROIs that were drawn in ImageJ or Fiji: ``.roi`` files and the ``RoiSet.zip`` of the ROI Manager."""
