"""Opens recordings of the UCLA Miniscope: the videos of one device as one, with the times of its own clock."""
