"""Opens the .mmap movies of CaImAn."""
