"""Opens the recordings of ScanImage 3.8 to 2023: BigTIFF, 5.x, and the classic headers."""
