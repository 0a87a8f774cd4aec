"""Opens the memory-mapped movies of CaImAn."""
