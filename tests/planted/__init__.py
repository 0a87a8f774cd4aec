"""Sound extractors of a made-up format, and extractors that each break one rule of the kit."""
