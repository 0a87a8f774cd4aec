"""HDF5 movies for roiextractors-core, and a fast reader of one dataset that other plugins use."""
