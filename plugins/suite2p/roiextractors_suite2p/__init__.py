"""Opens the movies that suite2p saves: registered and raw frames, both channels, all planes."""
