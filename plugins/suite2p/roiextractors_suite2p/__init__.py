"""Opens the movies that suite2p keeps: registered and raw frames, both channels, all planes."""
