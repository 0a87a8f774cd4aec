"""HDF5 movies for roiextractors-core, and the fast reading of one dataset on which other plugins stand."""
