"""What bioio reads, as recordings."""
